package proc

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// OutputPipe makes the pipe that carries an instance's output; both ends are
// close-on-exec. The write end is given to the service's user (nil: ours), so
// that it can open /dev/stdout again: the permission of an open through
// /proc/self/fd is that of the pipe's inode.
func OutputPipe(c *Credential) (r, w int, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return -1, -1, &Error{Step: StepLog, Err: err}
	}
	if c != nil && (int(c.UID) != os.Geteuid() || int(c.GID) != os.Getegid()) {
		if err := unix.Fchown(p[1], int(c.UID), int(c.GID)); err != nil {
			Close(p[0])
			Close(p[1])
			return -1, -1, &Error{Step: StepLog, Err: err}
		}
	}
	return p[0], p[1], nil
}

// PollPipe hands the read end of a pipe to Go's poller, so that whoever reads it
// holds no thread. The descriptor is the file's from then on, or closed.
func PollPipe(fd int) (*os.File, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fd), "pipe"), nil
}

// Suspended is for how long the machine has been suspended since it booted: by
// what CLOCK_BOOTTIME is ahead of CLOCK_MONOTONIC. Some microseconds of it are
// the time between the two readings.
func Suspended() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic("clock_gettime(CLOCK_BOOTTIME): " + err.Error()) // as in Monotonic
	}
	return time.Duration(ts.Nano() - Monotonic())
}

// ReadyPipe is a pipe that a process says ready on: r does not block, w belongs
// to whom the process will be.
func ReadyPipe(c *Credential) (r, w int, err error) {
	if r, w, err = OutputPipe(c); err == nil {
		if err = unix.SetNonblock(r, true); err != nil {
			closeAll(r, w)
		}
	}
	if err != nil {
		var e *Error
		if errors.As(err, &e) {
			err = e.Err
		}
		return -1, -1, &Error{Step: StepNotify, Err: err}
	}
	return r, w, nil
}

// Close closes a descriptor. Linux releases it whatever close(2) says, and for
// pipes and folders there is nothing to flush, so there is no error to act on.
func Close(fd int) { _ = unix.Close(fd) }

// Monotonic is CLOCK_MONOTONIC in nanoseconds: the same for every process of
// this boot.
func Monotonic() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		// clock_gettime(2): EINVAL or EFAULT only, neither possible here.
		panic("clock_gettime(CLOCK_MONOTONIC): " + err.Error())
	}
	return ts.Nano()
}

// KillMain sends SIGKILL to an unreaped child of ours and to its process group
// (it is a session leader). The caller reaps in the same goroutine, so that the
// pid cannot have been reused.
func KillMain(pid int) error {
	if err := unix.Kill(-pid, unix.SIGKILL); err != nil && err != unix.ESRCH {
		return os.NewSyscallError("kill", err)
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil && err != unix.ESRCH {
		return os.NewSyscallError("kill", err)
	}
	return nil
}
