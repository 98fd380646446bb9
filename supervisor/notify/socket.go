package notify

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Limits of what a service may send, which are systemd's and the kernel's.
const (
	MaxDatagram    = 4 << 10 // bytes
	maxDatagramFDs = 253     // SCM_MAX_FD
)

// Address is where a Socket is: a path, or with "@" in front a name in Linux's
// abstract namespace, as NOTIFY_SOCKET has it.
type Address string

// MaxAddress is the longest Address: that of sun_path, less the NUL that some
// programs want.
const MaxAddress = 107

// Abstract says whether it is no file.
func (a Address) Abstract() bool { return strings.HasPrefix(string(a), "@") }

// Check says why an address cannot be one.
func (a Address) Check() error {
	switch {
	case len(a) > MaxAddress:
		return errors.New("cannot make a socket at " + string(a) + ": it is longer than " + strconv.Itoa(MaxAddress) + " bytes: name a shorter one, or an abstract one (\"@nines\")")
	case len(a) < 2 || a[0] != '/' && a[0] != '@' || strings.IndexByte(string(a), 0) >= 0:
		return errors.New("cannot make a socket at " + strconv.Quote(string(a)) + ": it is neither an absolute path nor \"@\" and a name")
	}
	return nil
}

// Socket is where services send to: SOCK_DGRAM, with the sender of each message
// as the kernel knows it. It is never connected. Its methods do not wait (see
// Poller), and are for one goroutine at a time.
type Socket struct {
	fd  int
	oob []byte
}

// ListenService binds a socket. A file that is there already is replaced: the
// caller knows that nobody else has it. Of a file, mode is the permissions.
func ListenService(a Address, mode os.FileMode, uid, gid int) (*Socket, error) {
	if err := a.Check(); err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err == nil {
		if err = bind(fd, a, mode, uid, gid); err != nil {
			CloseAll([]int{fd})
		}
	}
	if err != nil {
		return nil, &os.PathError{Op: "cannot make the notify socket", Path: string(a), Err: err}
	}
	return TakeSocket(fd)
}

func bind(fd int, a Address, mode os.FileMode, uid, gid int) error {
	sa := &unix.SockaddrUnix{Name: string(a)}
	if a.Abstract() {
		return unix.Bind(fd, sa)
	}
	// The file has the socket's mode, less the umask, from the beginning: nobody
	// gets in by way of a moment.
	if err := unix.Fchmod(fd, 0o600); err != nil {
		return err
	}
	if err := unix.Unlink(string(a)); err != nil && err != unix.ENOENT {
		return err
	}
	if err := unix.Bind(fd, sa); err != nil {
		return err
	}
	// Nobody else writes in the folder, so the path is what was just made.
	err := unix.Chmod(string(a), uint32(mode.Perm()))
	if err == nil && uid >= 0 {
		err = unix.Lchown(string(a), uid, gid)
	}
	if err != nil {
		_ = unix.Unlink(string(a)) // of no use: the next one replaces it
	}
	return err
}

// TakeSocket takes over a descriptor that ListenService made, here or in an
// earlier process. On an error it is closed.
func TakeSocket(fd int) (*Socket, error) {
	kind, err := socketType(fd)
	if err == nil && kind != unix.SOCK_DGRAM {
		err = unix.EPROTOTYPE
	}
	if err == nil {
		unix.CloseOnExec(fd)
		if err = unix.SetNonblock(fd, true); err == nil {
			err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
		}
	}
	if err != nil {
		CloseAll([]int{fd})
		return nil, connError(fd, err)
	}
	// Before Linux 6.5 there is none (ENOPROTOOPT): then the credentials are what
	// there is.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSPIDFD, 1)
	// More room before senders wait; the kernel says how much it gives.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 8<<20)
	return &Socket{fd: fd, oob: make([]byte, unix.CmsgSpace(maxDatagramFDs*4)+unix.CmsgSpace(4)+unix.CmsgSpace(unix.SizeofUcred))}, nil
}

// Descriptor is its number; it stays the Socket's.
func (s *Socket) Descriptor() int { return s.fd }

// Address is where it is bound; "" where it is not.
func (s *Socket) Address() Address {
	sa, err := unix.Getsockname(s.fd)
	if err != nil {
		return ""
	}
	un, ok := sa.(*unix.SockaddrUnix)
	if !ok {
		return ""
	}
	return Address(un.Name)
}

// Reachable says whether the path still leads to it: what is sent there arrives
// here. Of an abstract one it always does.
func (s *Socket) Reachable() bool {
	a := s.Address()
	if a == "" || a.Abstract() {
		return a != ""
	}
	probe, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return true // nothing is known against it
	}
	defer CloseAll([]int{probe})
	return unix.Connect(probe, &unix.SockaddrUnix{Name: string(a)}) == nil
}

// Close closes it. The file stays.
func (s *Socket) Close() error { return unix.Close(s.fd) }

// Sender is who sent a datagram, as the kernel says.
type Sender struct {
	PID      int    // in our PID namespace; 0: it is in none that we see
	UID, GID uint32 // effective, then
	// Cgroup is the id of its cgroup (v2), also of one that has ended and was
	// reaped meanwhile; 0: this kernel does not tell.
	Cgroup uint64
}

// Datagram is what was sent. Its descriptors are CLOEXEC and the caller's.
type Datagram struct {
	Text   []byte // part of the buffer that was given
	FDs    []int
	Sender Sender
	Lost   bool // more descriptors came with it than this process may open
}

// Look reads the text of the next datagram without taking it, and nothing that
// is beside it. ErrTruncated: it is longer than the buffer.
func (s *Socket) Look(buf []byte) (int, error) {
	n, _, flags, err := s.recv(buf, nil, unix.MSG_PEEK)
	if err == nil && flags&unix.MSG_TRUNC != 0 {
		return 0, ErrTruncated
	}
	return n, err
}

// Drop takes the next datagram, and closes what came with it.
func (s *Socket) Drop() error {
	var one [1]byte
	_, _, _, err := s.recv(one[:], nil, 0)
	return err
}

// Take takes the next datagram. With peek it stays where it is: whoever comes
// next, be it in another process, finds it there until Drop.
func (s *Socket) Take(buf []byte, peek bool) (Datagram, error) {
	flags := 0
	if peek {
		flags = unix.MSG_PEEK
	}
	n, oobn, got, err := s.recv(buf, s.oob, flags)
	if err != nil {
		return Datagram{}, err
	}
	d := Datagram{Text: buf[:n], Lost: got&unix.MSG_CTRUNC != 0}
	if err := s.beside(&d, s.oob[:oobn]); err != nil || got&unix.MSG_TRUNC != 0 {
		CloseAll(d.FDs)
		return Datagram{Sender: d.Sender}, errors.Join(ErrTruncated, err)
	}
	return d, nil
}

func (s *Socket) recv(buf, oob []byte, flags int) (n, oobn, got int, err error) {
	for {
		n, oobn, got, _, err = unix.Recvmsg(s.fd, buf, oob, flags|unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
		switch err {
		case nil:
			return n, oobn, got, nil
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, 0, 0, ErrWouldBlock
		default:
			return 0, 0, 0, os.NewSyscallError("recvmsg", err)
		}
	}
}

// beside reads what came with a datagram. All descriptors in it are in d, also
// on an error.
func (s *Socket) beside(d *Datagram, oob []byte) error {
	for len(oob) > 0 {
		header, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			return os.NewSyscallError("cannot read the control message", err)
		}
		oob = rest
		if header.Level != unix.SOL_SOCKET {
			continue
		}
		switch header.Type {
		case unix.SCM_RIGHTS:
			for ; len(data) >= 4; data = data[4:] {
				d.FDs = append(d.FDs, int(int32(binary.NativeEndian.Uint32(data))))
			}
		case unix.SCM_PIDFD:
			if len(data) < 4 {
				continue
			}
			// Negative: an errno; the kernel could not make one.
			if fd := int(int32(binary.NativeEndian.Uint32(data))); fd >= 0 {
				d.Sender.Cgroup = cgroupOf(fd)
				CloseAll([]int{fd})
			}
		case unix.SCM_CREDENTIALS:
			if len(data) >= unix.SizeofUcred {
				d.Sender.PID = int(int32(binary.NativeEndian.Uint32(data)))
				d.Sender.UID = binary.NativeEndian.Uint32(data[4:])
				d.Sender.GID = binary.NativeEndian.Uint32(data[8:])
			}
		}
	}
	return nil
}

// pidfdInfo begins as struct pidfd_info of <linux/pidfd.h> does; the rest of
// what the request's number says is its size is not looked at.
type pidfdInfo struct {
	mask   uint64
	cgroup uint64
	_      [9]uint64
}

// cgroupOf is the id of the cgroup of a process; of one that has been reaped,
// the one that it was in (Linux 6.15). 0: it is not known.
func cgroupOf(pidfd int) uint64 {
	for _, mask := range []uint64{unix.PIDFD_INFO_CGROUPID, unix.PIDFD_INFO_CGROUPID | unix.PIDFD_INFO_EXIT} {
		info := pidfdInfo{mask: mask}
		_, _, err := unix.Syscall(unix.SYS_IOCTL, uintptr(pidfd), unix.PIDFD_GET_INFO, uintptr(unsafe.Pointer(&info)))
		if err == 0 && info.mask&unix.PIDFD_INFO_CGROUPID != 0 {
			return info.cgroup
		}
	}
	return 0
}

// Newline looks for a newline in what a pipe holds, without waiting: found says
// that there is one, ended that nobody can write to it any more. What has no
// newline is taken out; a newline stays, so that whoever holds the pipe after
// this process finds it too.
func Newline(fd int) (found, ended bool, err error) {
	var scratch [2]int
	if err := unix.Pipe2(scratch[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return false, false, os.NewSyscallError("pipe", err)
	}
	defer CloseAll(scratch[:])
	buf := make([]byte, 4096)
	for {
		n, err := unix.Tee(fd, scratch[1], len(buf), unix.SPLICE_F_NONBLOCK)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return false, false, nil
		case err != nil:
			return false, true, os.NewSyscallError("tee", err)
		case n == 0:
			return false, true, nil
		}
		// What was just put there: it is there as a whole.
		if _, err := unix.Read(scratch[0], buf[:n]); err != nil {
			return false, false, os.NewSyscallError("read", err)
		}
		if bytes.IndexByte(buf[:n], '\n') >= 0 {
			return true, false, nil
		}
		if _, err := unix.Read(fd, buf[:n]); err != nil {
			return false, false, os.NewSyscallError("read", err)
		}
	}
}
