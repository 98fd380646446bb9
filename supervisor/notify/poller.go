package notify

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Poller tells which of many descriptors can be read, in one goroutine that is
// parked in Go's netpoller: a descriptor more costs neither a thread nor a
// goroutine. It holds none of them open. Add and Remove are for any goroutine,
// Wait for one.
type Poller struct {
	file *os.File
	raw  syscall.RawConn
	fd   int
}

// NewPoller makes a Poller with nothing to wait for.
func NewPoller() (*Poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err == nil {
		if err = unix.SetNonblock(fd, true); err != nil {
			CloseAll([]int{fd})
		}
	}
	if err != nil {
		return nil, os.NewSyscallError("cannot wait for descriptors: epoll", err)
	}
	file := os.NewFile(uintptr(fd), "epoll")
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &Poller{file: file, raw: raw, fd: fd}, nil
}

// Add has Wait return token for as long as fd can be read, or its other end is
// gone.
func (p *Poller) Add(fd int, token uint32) error {
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: int32(token)}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &ev))
}

// AddHangup has Wait return token, once, when the other end of fd is gone; what
// could be read of it is of no interest. EPERM: it is of a kind that cannot hang
// up, such as a file.
func (p *Poller) AddHangup(fd int, token uint32) error {
	// EPOLLERR and EPOLLHUP are always waited for.
	ev := unix.EpollEvent{Events: unix.EPOLLONESHOT, Fd: int32(token)}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &ev))
}

// Remove has fd waited for no more; it must still be open. That it was not
// waited for is no error.
func (p *Poller) Remove(fd int) error {
	err := unix.EpollCtl(p.fd, unix.EPOLL_CTL_DEL, fd, nil)
	if err == unix.ENOENT {
		err = nil
	}
	return os.NewSyscallError("epoll_ctl", err)
}

// Wait waits until there is something to read, and puts the tokens of that into
// tokens. After Close it returns ErrClosed.
func (p *Poller) Wait(tokens []uint32) (int, error) {
	events := make([]unix.EpollEvent, len(tokens))
	n := 0
	var failed error
	err := p.raw.Read(func(fd uintptr) bool {
		for {
			n, failed = unix.EpollWait(int(fd), events, 0)
			if failed != unix.EINTR {
				// Nothing: the netpoller wakes us at the next thing that comes.
				return failed != nil || n > 0
			}
		}
	})
	if err != nil || failed != nil {
		return 0, either(err, os.NewSyscallError("epoll_wait", failed))
	}
	for i := range n {
		tokens[i] = uint32(events[i].Fd)
	}
	return n, nil
}

// Close ends Wait. The descriptors are their owners'.
func (p *Poller) Close() error { return p.file.Close() }
