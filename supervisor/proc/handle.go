package proc

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// handle holds on to one process, so that its pid cannot come to name another
// while it is being signalled.
type handle struct {
	pid int
	fd  int // pidfd; -1: the kernel has none for us, then there is a small window
}

// hold takes hold of the process that has this pid and started at this time (0:
// whenever). ESRCH: it has ended.
func hold(pid int, start uint64) (handle, error) {
	h := handle{pid: pid, fd: -1}
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err == unix.EINVAL { // Linux before 5.10
		fd, err = unix.PidfdOpen(pid, 0)
	}
	switch {
	case err == nil:
		h.fd = fd
	case err == unix.ESRCH:
		return h, err
	}
	// Any other error (ENOSYS, EPERM of a seccomp filter, EMFILE) leaves the
	// comparison of start times, just before the signal.
	if start != 0 {
		now, err := StartTime(pid)
		if err == nil && now != start {
			err = unix.ESRCH
		}
		if err != nil {
			h.close()
			return h, err
		}
	}
	return h, nil
}

func (h handle) signal(sig syscall.Signal) error {
	if h.fd < 0 {
		return unix.Kill(h.pid, sig)
	}
	return unix.PidfdSendSignal(h.fd, sig, nil, 0)
}

func (h handle) close() {
	if h.fd >= 0 {
		closeAll(h.fd)
	}
}

// await takes the handle over and returns when the process has ended, the
// context ends, or patience is over, whichever is first. Without a pidfd it
// can only sleep for a moment.
func (h handle) await(ctx context.Context, patience time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if h.fd >= 0 && awaitPidfd(ctx, h.fd) == nil {
		return
	}
	const blind = 2 * time.Millisecond
	t := time.NewTimer(min(blind, patience))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// awaitPidfd parks in the poller; it closes fd. The error says that the poller
// would not have it.
func awaitPidfd(ctx context.Context, fd int) error {
	f := os.NewFile(uintptr(fd), "pidfd")
	defer func() { _ = f.Close() }() // nothing is written to it
	if err := f.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Unix(1, 0)) }) // fails only once f is closed
	defer stop()
	err = conn.Read(func(fd uintptr) bool {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(p, 0)
		return err == nil && n > 0
	})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}
