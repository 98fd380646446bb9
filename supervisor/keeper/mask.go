package keeper

import (
	"os"
	"os/signal"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// heldSignals are those that must not get lost while one program becomes
// another: what is forwarded, SIGPWR, and the real-time ones that nobody's
// runtime uses.
//
// They are blocked in the thread that executes the next program, and stay pending
// there until nines_start (package entry) takes them, before Go's runtime, which
// never leaves SIGTERM and its like blocked, could die of them. What remains: one
// that another thread takes in the microseconds before the exec, when all that
// came was looked at, or a HUP, INT, QUIT or TERM that comes in the fraction of a
// millisecond between the runtime's start and the first line of main (SIGPWR, USR1,
// USR2 and the real-time ones stay blocked until main asks for them). Threads other
// than the one cannot be had: Go unblocks those four in each, by a table that the
// linker lets nobody else write to.
func heldSignals() unix.Sigset_t {
	const held uint64 = 0xfffffffc20004a07 // bit N-1 for signal N
	var set unix.Sigset_t
	for sig := range 64 {
		const bits = int(unsafe.Sizeof(set.Val[0])) * 8
		if held>>sig&1 != 0 {
			set.Val[sig/bits] |= 1 << (sig % bits)
		}
	}
	return set
}

func (s kernel) hold() {
	runtime.LockOSThread()
	set := heldSignals()
	// A mask can always be set.
	_ = unix.PthreadSigmask(unix.SIG_BLOCK, &set, nil)
}

// settle waits until what a handler took is in its channel: Stop returns when
// the runtime is idle. SIGCHLD has another channel and goes on.
func (s kernel) settle() {
	idle := make(chan os.Signal, 1)
	signal.Notify(idle, unix.SIGCHLD)
	signal.Stop(idle)
}

func (s kernel) release() {
	set := heldSignals()
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

// childMask has the child that is forked next begin with the mask that it would
// have had from the first keeper. The returned function puts back our own.
func (s kernel) childMask() func() {
	if s.mask == nil {
		return func() {}
	}
	runtime.LockOSThread()
	before := threadMask()
	// A mask can always be set.
	_ = unix.PthreadSigmask(unix.SIG_SETMASK, s.mask, nil)
	return func() {
		_ = unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil)
		runtime.UnlockOSThread()
	}
}
