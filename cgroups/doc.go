// Package cgroups makes, watches and ends control groups of version 2, and of
// version 2 only. It is a library of its own: it knows nothing of services.
//
// Detect finds where this process stands in the hierarchy and how much of it
// can be used there:
//
//	full   the memory, cpu, io and pids controllers can be given to children
//	core   no (or not all) controllers; kill, freeze and events work
//	none   no cgroup can be made here
//
// Each level below full says why, in words. Open makes the folder that
// everything else goes into, and Tree.Create a group in it. A process is put
// into a group only by being born there (CLONE_INTO_CGROUP, with the
// descriptor that Create returns): moving it later takes a global lock of the
// kernel, and there would be an instant outside.
//
// A group that was killed is never used again: the kernel would kill what is
// born in it (Linux 6.14 and later; see Tree.Create).
//
// A Tree holds one descriptor, a Group none. A goroutine that waits (WaitEmpty,
// Freeze, Remove) is parked in the runtime's poller on the group's
// cgroup.events: there is no polling loop.
//
// A group is empty when its cgroup.events says "populated 0". That cgroup.procs
// lists nothing is not the same: the kernel leaves out processes that are
// dying, which may still hold ports, locks and memory.
package cgroups

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// Error is a failed operation on a cgroup. Err is the errno.
type Error struct {
	Op   string // what could not be done: "create", "kill", …
	Path string
	Err  error
}

func (e *Error) Error() string {
	return "cannot " + e.Op + " cgroup " + e.Path + ": " + errnoText(e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// errnoText is the errno in words and by name: "permission denied (EACCES)".
func errnoText(err error) string {
	var no syscall.Errno
	if !errors.As(err, &no) {
		return err.Error()
	}
	return no.Error() + " (" + unix.ErrnoName(no) + ")"
}

// gone says that the cgroup does not exist (any more): its path does not
// resolve, or a file of it was open when it was removed.
func gone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV)
}

// retry calls fn until it is not interrupted.
func retry(fn func() error) error {
	for {
		if err := fn(); err != unix.EINTR {
			return err
		}
	}
}
