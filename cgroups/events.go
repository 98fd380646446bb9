package cgroups

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// WaitEmpty returns when no process lives in the group or below it, or with
// the context's error.
func (g *Group) WaitEmpty(ctx context.Context) error {
	err := g.await(ctx, func(events []byte) bool { return !flag(events, "populated") })
	if err != nil && !gone(err) {
		return &Error{Op: "wait for the end of", Path: g.Path(), Err: err}
	}
	return nil
}

// await returns nil when done says that the group's events are as wanted. The
// kernel wakes the poller (POLLPRI and POLLERR) whenever cgroup.events
// changes, at most every 10 ms.
func (g *Group) await(ctx context.Context, done func(events []byte) bool) error {
	fd, err := g.t.open(g.name+"/cgroup.events", unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), "cgroup.events")
	defer func() { _ = f.Close() }() // read only: nothing is lost
	// Also tells whether the poller has taken it; if it has not, the Read below
	// would return at the first look.
	if err := f.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() {
		// It fails only when f was closed, and then nobody waits any more.
		_ = f.SetReadDeadline(time.Unix(1, 0))
	})
	defer stop()

	var space [512]byte
	var rerr error
	err = conn.Read(func(fd uintptr) bool {
		var n int
		rerr = retry(func() (err error) {
			n, err = unix.Pread(int(fd), space[:], 0)
			return err
		})
		return rerr != nil || done(space[:n])
	})
	if rerr != nil {
		return rerr
	}
	if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
