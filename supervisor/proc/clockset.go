package proc

import (
	"errors"
	"fmt"
	"math"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ClockWatch tells when the wall clock is set, and when the machine comes back
// from suspension: then CLOCK_MONOTONIC has stood still and the wall clock has
// not. The kernel tells it (timerfd_create(2), TFD_TIMER_CANCEL_ON_SET): nothing
// is polled.
type ClockWatch struct{ file *os.File }

// WatchClock begins to watch. It holds one descriptor.
func WatchClock() (*ClockWatch, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_REALTIME, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("cannot watch the wall clock: timerfd_create: %w", err)
	}
	// Beyond what any clock shows; the kernel bounds it to what it can count.
	far := unix.ItimerSpec{Value: unix.Timespec{Sec: math.MaxInt64}}
	if err := unix.TimerfdSettime(fd, unix.TFD_TIMER_ABSTIME|unix.TFD_TIMER_CANCEL_ON_SET, &far, nil); err != nil {
		_ = unix.Close(fd) // nothing was written to it
		return nil, fmt.Errorf("cannot watch the wall clock: timerfd_settime: %w", err)
	}
	return &ClockWatch{os.NewFile(uintptr(fd), "timerfd")}, nil
}

// Wait returns nil once the clock was set since the last Wait, and os.ErrClosed
// after Close. It may also return nil for no reason. It waits in the netpoller.
func (w *ClockWatch) Wait() error {
	var b [8]byte
	_, err := w.file.Read(b[:])
	if errors.Is(err, unix.ECANCELED) {
		return nil
	}
	return err
}

// Close ends the watch.
func (w *ClockWatch) Close() error { return w.file.Close() }

// Boottime is the time since the machine was booted, that in which it was
// suspended included.
func Boottime() (time.Duration, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0, os.NewSyscallError("clock_gettime", err)
	}
	return time.Duration(ts.Nano()), nil
}
