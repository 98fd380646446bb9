package main

import (
	"encoding/binary"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// What fuse needs of <linux/fuse.h>.
const (
	fuseInit      = 26
	fuseInterrupt = 36
	fuseInHeader  = 40 // length, opcode, unique, and what is not looked at
	fuseOutHeader = 16 // length, error, unique
)

// fuse mounts a filesystem at a folder, and answers nothing: whoever looks into it
// is in state D until fuse ends, and SIGKILL does not end it either. It writes its
// pid to a file when that is so. Started by `unshare -m`, it is seen by those alone
// who enter its mount namespace: nsenter -t PID -m COMMAND.
func fuse(args []string) {
	dir := arg(args, 0, "")
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	check(err)
	check(unix.Mount("misbehave", dir, "fuse", unix.MS_NOSUID|unix.MS_NODEV, "fd="+strconv.Itoa(fd)+",rootmode=40000,user_id=0,group_id=0"))
	buf := make([]byte, 64<<10)
	read := func() (opcode uint32, unique uint64) {
		for {
			n, err := unix.Read(fd, buf)
			if err == unix.EINTR || err == unix.ENOENT { // ENOENT: it was given up before it was read
				continue
			}
			check(err)
			if n < fuseInHeader {
				fail("a request of the kernel's is too short")
			}
			return binary.NativeEndian.Uint32(buf[4:]), binary.NativeEndian.Uint64(buf[8:])
		}
	}
	answer := func(unique uint64, errno syscall.Errno, body []byte) {
		b := binary.NativeEndian.AppendUint32(nil, uint32(fuseOutHeader+len(body)))
		b = binary.NativeEndian.AppendUint32(b, uint32(-int32(errno)))
		b = binary.NativeEndian.AppendUint64(b, unique)
		_, err := unix.Write(fd, append(b, body...))
		check(err)
	}
	opcode, unique := read()
	if opcode != fuseInit {
		fail("the kernel does not begin with FUSE_INIT")
	}
	init := make([]byte, 64)
	binary.NativeEndian.PutUint32(init, 7)         // version
	binary.NativeEndian.PutUint32(init[4:], 31)    // and its minor number
	binary.NativeEndian.PutUint32(init[20:], 4096) // max_write
	answer(unique, 0, init)

	// Who waits could be interrupted, and would be in state S, until one answer to
	// an interruption has said that there is no such thing.
	first := exec.Command("stat", dir+"/first")
	check(first.Start())
	opcode, unique = read()
	for opcode == fuseInterrupt {
		opcode, unique = read()
	}
	check(first.Process.Kill())
	of := unique
	for opcode != fuseInterrupt {
		opcode, unique = read()
	}
	answer(unique, syscall.ENOSYS, nil)
	answer(of, syscall.ENOENT, nil)
	_ = first.Wait() // it was killed
	check(os.WriteFile(args[1]+".new", []byte(strconv.Itoa(os.Getpid())), 0o666))
	check(os.Rename(args[1]+".new", args[1]))
	say()
	for {
		read() // and nothing else
	}
}
