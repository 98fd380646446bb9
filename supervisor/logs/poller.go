package logs

import (
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// poller waits for many descriptors with one goroutine, which is itself parked
// in Go's netpoller: the epoll descriptor is one that can be polled.
type poller struct {
	file *os.File
	raw  syscall.RawConn

	mu sync.Mutex // so that no number is used that was closed
	fd int        // -1: closed
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd) // nothing was done with it
		return nil, os.NewSyscallError("fcntl", err)
	}
	file := os.NewFile(uintptr(fd), "epoll")
	raw, err := file.SyscallConn()
	if err != nil {
		_ = file.Close() // the first error says it
		return nil, err
	}
	return &poller{file: file, raw: raw, fd: fd}, nil
}

// One shot: after an event there is none until rearm, so that a writer at full
// speed does not wake us at each of its writes while the pipe is being read.
const shot = unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLONESHOT

// add watches fd for one event.
func (p *poller) add(fd int) error { return p.control(unix.EPOLL_CTL_ADD, fd) }

// rearm watches fd for one more event; what is there already is one.
func (p *poller) rearm(fd int) error { return p.control(unix.EPOLL_CTL_MOD, fd) }

func (p *poller) control(op, fd int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	ev := unix.EpollEvent{Events: shot, Fd: int32(fd)}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.fd, op, fd, &ev))
}

// remove must come before close: the keeper holds the same open pipe, so
// closing our descriptor would leave it watched.
func (p *poller) remove(fd int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.fd, unix.EPOLL_CTL_DEL, fd, nil))
}

// run calls ready for descriptors with news until close.
func (p *poller) run(ready func(fd int)) error {
	events := make([]unix.EpollEvent, 256)
	for {
		n, failed := 0, error(nil)
		err := p.raw.Read(func(fd uintptr) bool {
			n, failed = unix.EpollWait(int(fd), events, 0)
			return n > 0 || failed != nil && failed != unix.EINTR
		})
		if err != nil {
			return nil // closed
		}
		if failed != nil {
			return os.NewSyscallError("epoll_wait", failed)
		}
		for _, e := range events[:n] {
			ready(int(e.Fd))
		}
	}
}

func (p *poller) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fd = -1
	return p.file.Close()
}
