package notify

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Errors a caller can act on.
var (
	// ErrClosed: the peer is gone, or this end was closed.
	ErrClosed = errors.New("the connection is closed")
	// ErrWouldBlock: the Try… call found nothing to read, or no room to write.
	ErrWouldBlock = errors.New("the connection is not ready")
	// ErrTruncated: a datagram was longer than the buffer, or its descriptors
	// more than MaxFDs or than the process may open. Its descriptors are closed.
	ErrTruncated = errors.New("the message was cut off")
)

// rawConn is what of syscall.RawConn is used here.
type rawConn interface {
	Control(f func(fd uintptr)) error
	Read(f func(fd uintptr) (done bool)) error
	Write(f func(fd uintptr) (done bool)) error
}

// Conn is one end of a connection. Receive and TryReceive are for one goroutine
// at a time; waiting, sending and closing are for any.
type Conn struct {
	file   *os.File
	raw    rawConn
	stream bool   // SOCK_SEQPACKET: there is an end of the conversation
	oob    []byte // of the one receiver
}

// Pair makes the two ends of a connection, both CLOEXEC.
func Pair() (a, b int, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, -1, os.NewSyscallError("socketpair", err)
	}
	return fds[0], fds[1], nil
}

// NewConn takes over fd, a SOCK_SEQPACKET or SOCK_DGRAM socket of AF_UNIX: it is
// made nonblocking and CLOEXEC, and Close closes it. On an error it is closed.
func NewConn(fd int) (*Conn, error) {
	kind, err := socketType(fd)
	if err == nil {
		unix.CloseOnExec(fd)
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		CloseAll([]int{fd})
		return nil, connError(fd, err)
	}
	file := os.NewFile(uintptr(fd), "notify")
	raw, err := file.SyscallConn()
	if err == nil {
		// Fails if the poller did not take it (ENOSPC: too many watches); then
		// waiting would fail later, in a worse place.
		err = file.SetDeadline(time.Time{})
	}
	if err != nil {
		return nil, connError(fd, errors.Join(err, file.Close()))
	}
	return &Conn{
		file:   file,
		raw:    raw,
		stream: kind == unix.SOCK_SEQPACKET,
		oob:    make([]byte, unix.CmsgSpace(MaxFDs*4)),
	}, nil
}

func socketType(fd int) (int, error) {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return 0, err
	}
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return 0, err
	}
	if domain != unix.AF_UNIX || kind != unix.SOCK_SEQPACKET && kind != unix.SOCK_DGRAM {
		return 0, unix.EPROTOTYPE
	}
	return kind, nil
}

func connError(fd int, err error) error {
	return &os.PathError{Op: "cannot take messages from descriptor", Path: strconv.Itoa(fd), Err: err}
}

// Close closes this end. It does not wait; what was sent stays readable by the
// peer, and goroutines that wait here return ErrClosed.
func (c *Conn) Close() error {
	err := c.file.Close()
	if errors.Is(err, os.ErrClosed) {
		return ErrClosed
	}
	return err
}

// Descriptor is the number of this end's descriptor, which stays the Conn's; -1:
// it was closed.
func (c *Conn) Descriptor() int {
	n := -1
	// It fails if it was closed.
	_ = c.raw.Control(func(fd uintptr) { n = int(fd) })
	return n
}

// CloseWrite tells the peer that nothing more comes; receiving goes on.
func (c *Conn) CloseWrite() error {
	var failed error
	err := c.raw.Control(func(fd uintptr) { failed = unix.Shutdown(int(fd), unix.SHUT_WR) })
	if failed == unix.ENOTCONN {
		failed = ErrClosed
	}
	return either(err, failed)
}

// Send sends one datagram with copies of fds, and waits while the peer's queue
// is full. ETOOMANYREFS (the user has too many descriptors in flight) and
// ENOBUFS are the kernel's and pass: try again later.
func (c *Conn) Send(b []byte, fds []int) error {
	oob, err := rights(b, fds)
	if err != nil {
		return err
	}
	var failed error
	err = c.raw.Write(func(fd uintptr) bool {
		failed = send(int(fd), b, oob)
		return failed != ErrWouldBlock
	})
	return either(err, failed)
}

// TrySend is Send that never waits: it returns ErrWouldBlock instead.
func (c *Conn) TrySend(b []byte, fds []int) error {
	oob, err := rights(b, fds)
	if err != nil {
		return err
	}
	var failed error
	// Not raw.Write: that waits for the lock which WaitWritable holds.
	err = c.raw.Control(func(fd uintptr) { failed = send(int(fd), b, oob) })
	return either(err, failed)
}

func rights(b []byte, fds []int) ([]byte, error) {
	switch {
	case len(b) == 0:
		// It would look like the end of the conversation.
		return nil, os.NewSyscallError("cannot send an empty message", unix.EINVAL)
	case len(b) > MaxMessage:
		return nil, os.NewSyscallError("cannot send a message of "+strconv.Itoa(len(b))+" bytes", unix.EMSGSIZE)
	case len(fds) > MaxFDs:
		return nil, os.NewSyscallError("cannot send "+strconv.Itoa(len(fds))+" descriptors at once", unix.E2BIG)
	case len(fds) == 0:
		return nil, nil
	}
	return unix.UnixRights(fds...), nil
}

func send(fd int, b, oob []byte) error {
	for {
		_, err := unix.SendmsgN(fd, b, oob, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
		switch err {
		case nil:
			return nil
		case unix.EINTR:
		case unix.EAGAIN:
			return ErrWouldBlock
		case unix.EPIPE, unix.ECONNRESET, unix.ENOTCONN, unix.ECONNREFUSED:
			return ErrClosed
		default:
			return os.NewSyscallError("sendmsg", err)
		}
	}
}

// Receive waits for one datagram and puts it into buf, which ought to hold
// MaxMessage. It returns io.EOF when the peer has closed and all that it sent
// was read. After ErrTruncated the next call reads the next message.
func (c *Conn) Receive(buf []byte) (n int, fds []int, err error) {
	var failed error
	err = c.raw.Read(func(fd uintptr) bool {
		n, fds, failed = c.receive(int(fd), buf)
		return failed != ErrWouldBlock
	})
	return n, fds, either(err, failed)
}

// TryReceive is Receive that never waits: it returns ErrWouldBlock instead.
func (c *Conn) TryReceive(buf []byte) (n int, fds []int, err error) {
	var failed error
	err = c.raw.Control(func(fd uintptr) { n, fds, failed = c.receive(int(fd), buf) })
	return n, fds, either(err, failed)
}

func (c *Conn) receive(fd int, buf []byte) (int, []int, error) {
	if len(buf) == 0 {
		return 0, nil, os.NewSyscallError("cannot receive into an empty buffer", unix.EINVAL)
	}
	for {
		n, oobn, flags, _, err := unix.Recvmsg(fd, buf, c.oob, unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
		switch err {
		case nil:
		case unix.EINTR, unix.ECONNRESET:
			// The peer died with messages of ours unread: the kernel says so
			// once, ahead of what the peer had sent. That is not to be lost.
			continue
		case unix.EAGAIN:
			return 0, nil, ErrWouldBlock
		default:
			return 0, nil, os.NewSyscallError("recvmsg", err)
		}
		fds, err := c.descriptors(oobn)
		if err != nil || flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
			CloseAll(fds)
			return 0, nil, errors.Join(ErrTruncated, err)
		}
		if n == 0 && len(fds) == 0 && c.stream && hungUp(fd) {
			return 0, nil, io.EOF
		}
		return n, fds, nil
	}
}

// descriptors returns what came beside the message, and on an error what of it
// is to be closed.
func (c *Conn) descriptors(oobn int) ([]int, error) {
	var all []int
	for rest := c.oob[:oobn]; len(rest) > 0; {
		header, data, next, err := unix.ParseOneSocketControlMessage(rest)
		if err != nil {
			return all, os.NewSyscallError("cannot read the control message", err)
		}
		rest = next
		if header.Level != unix.SOL_SOCKET || header.Type != unix.SCM_RIGHTS {
			continue // credentials, if somebody asked for them
		}
		for ; len(data) >= 4; data = data[4:] {
			all = append(all, int(int32(binary.NativeEndian.Uint32(data))))
		}
	}
	return all, nil
}

// hungUp tells the end of the conversation from an empty datagram, which a
// peer that speaks no nines may send.
func hungUp(fd int) bool {
	return poll(fd, unix.POLLRDHUP)&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
}

// WaitReadable waits until TryReceive would not return ErrWouldBlock.
func (c *Conn) WaitReadable() error {
	return either(c.raw.Read(func(fd uintptr) bool {
		return poll(int(fd), unix.POLLIN|unix.POLLRDHUP) != 0
	}), nil)
}

// WaitWritable waits until there is room again after ErrWouldBlock, or the peer
// is gone. Send must not be called meanwhile by whom it would block; TrySend may.
func (c *Conn) WaitWritable() error {
	return either(c.raw.Write(func(fd uintptr) bool {
		return poll(int(fd), unix.POLLOUT) != 0
	}), nil)
}

// poll asks and does not wait. An error counts as ready: the next call says it.
func poll(fd int, events int16) int16 {
	p := []unix.PollFd{{Fd: int32(fd), Events: events}}
	for {
		n, err := unix.Poll(p, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return unix.POLLERR
		}
		if n == 0 {
			return 0
		}
		return p[0].Revents
	}
}

// CloseAll closes descriptors that came with a message. Their errors are
// dropped: after close(2) nothing can be done about what they held.
func CloseAll(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}

// SameFile says whether two descriptors are one open file, as after dup(2). Where
// the kernel does not tell, they are not.
func SameFile(a, b int) bool {
	const kcmpFile = 0
	pid := uintptr(unix.Getpid())
	order, _, err := unix.Syscall6(unix.SYS_KCMP, pid, pid, kcmpFile, uintptr(a), uintptr(b), 0)
	return err == 0 && order == 0
}

// either returns ErrClosed if the file could not be used (raw: it was closed,
// which os says with an error that nobody outside it can name), else failed.
func either(raw, failed error) error {
	if raw != nil {
		return ErrClosed
	}
	return failed
}
