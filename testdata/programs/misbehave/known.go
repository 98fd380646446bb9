package main

import (
	"fmt"
	"net"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// known makes what an inspection is to find: a file, a listening and a connected
// TCP socket, a listening unix socket, a mapping of 64 MiB of which 8 are touched,
// a changed word in it, and a thread that stands in read(2), called by knownInner,
// called by knownOuter.
func known(args []string) {
	if len(args) != 1 {
		fail("usage: misbehave known FOLDER")
	}
	dir := args[0]
	f, err := os.OpenFile(dir+"/known.file", os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	check(err)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	check(err)
	u, err := net.Listen("unix", fmt.Sprintf("%s/known.%d.sock", dir, os.Getpid()))
	check(err)
	c, err := net.Dial("tcp4", l.Addr().String())
	check(err)
	const size, touched = 64 << 20, 8 << 20
	m, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	check(err)
	for i := 0; i < touched; i += 4096 {
		m[i] = 1
	}
	copy(m, "the known word")
	var p [2]int
	check(unix.Pipe2(p[:], unix.O_CLOEXEC))
	go knownOuter(p[0])
	fmt.Println("misbehave known", os.Getpid(), l.Addr(), c.LocalAddr())
	defer runtime.KeepAlive([]any{f, l, u, c, m}) // a collected file is a closed one
	forever()
}

//go:noinline
func knownOuter(fd int) {
	runtime.LockOSThread()
	knownInner(fd)
	fmt.Println("read") // so that the call above is none at the end
}

//go:noinline
func knownInner(fd int) {
	var b [1]byte
	_, err := unix.Read(fd, b[:])
	check(err)
}
