package keeper

import (
	"os"
	"os/signal"
	"runtime"

	"golang.org/x/sys/unix"

	"nines/supervisor/signals"
)

// Signals must not get lost while one program becomes another, nor end it. Where
// the program began at nines_start, package signals has them: they are pending in
// the kernel until the loop takes them, and what it has not taken the next program
// takes. What follows is for where that cannot be: processors that have no
// nines_start, a runtime whose table of signals it did not know, a filter that
// forbids signalfd. There they are blocked in the thread that executes the next
// program, and what is pending then nines_start takes, before Go's runtime, which
// unblocks HUP, INT, QUIT and TERM in each of its threads, could die of it. So one
// of those is lost that another thread takes in the microseconds before the exec,
// and one that comes in the fraction of a millisecond between the runtime's start
// and the first line of main ends the program.

func (s kernel) hold() {
	if s.queue != nil {
		return
	}
	runtime.LockOSThread()
	set := signals.Set()
	// A mask can always be set.
	_ = unix.PthreadSigmask(unix.SIG_BLOCK, &set, nil)
}

// settle waits until what a handler took is in its channel: Stop returns when
// the runtime is idle. SIGCHLD has another channel and goes on.
func (s kernel) settle() {
	if s.queue != nil {
		return
	}
	idle := make(chan os.Signal, 1)
	signal.Notify(idle, unix.SIGCHLD)
	signal.Stop(idle)
}

func (s kernel) release() {
	if s.queue != nil {
		return
	}
	set := signals.Set()
	// A mask can always be set.
	_ = unix.PthreadSigmask(unix.SIG_UNBLOCK, &set, nil)
	runtime.UnlockOSThread()
}

// threadMask is the mask of the calling thread.
func threadMask() unix.Sigset_t {
	var set unix.Sigset_t
	// It cannot fail: it only reads.
	_ = unix.PthreadSigmask(unix.SIG_BLOCK, nil, &set)
	return set
}

// fork carries out f, which starts a child, such that the child begins with the
// mask that it would have had from the first keeper.
func (s kernel) fork(f func()) {
	switch {
	case s.mask == nil:
		f()
	case s.queue != nil:
		signals.Fork(s.mask, f)
	default:
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		before := threadMask()
		// A mask can always be set.
		_ = unix.PthreadSigmask(unix.SIG_SETMASK, s.mask, nil)
		defer func() { _ = unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil) }()
		f()
	}
}
