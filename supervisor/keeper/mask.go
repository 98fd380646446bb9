package keeper

import (
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// heldSignals are those that must not get lost while one program becomes
// another: all but those that a fault raises, that cannot be blocked, and that
// Go's runtime uses.
func heldSignals() unix.Sigset_t {
	var set unix.Sigset_t
	for sig := 1; sig <= 64; sig++ {
		switch unix.Signal(sig) {
		case unix.SIGILL, unix.SIGTRAP, unix.SIGABRT, unix.SIGBUS, unix.SIGFPE, unix.SIGSEGV, unix.SIGSYS,
			unix.SIGKILL, unix.SIGSTOP, unix.SIGPROF, unix.SIGURG, 32, 33, 34:
			continue
		}
		const bits = int(unsafe.Sizeof(set.Val[0])) * 8
		set.Val[(sig-1)/bits] |= 1 << ((sig - 1) % bits)
	}
	return set
}

// onAllThreads changes the mask of every thread: a signal to the process goes to
// whichever thread takes it.
func onAllThreads(how int, set *unix.Sigset_t) error {
	_, _, errno := syscall.AllThreadsSyscall6(unix.SYS_RT_SIGPROCMASK, uintptr(how), uintptr(unsafe.Pointer(set)), 0, 8, 0, 0)
	if errno != 0 {
		return os.NewSyscallError("rt_sigprocmask", errno)
	}
	return nil
}

func (s kernel) hold() error {
	set := heldSignals()
	if err := onAllThreads(unix.SIG_BLOCK, &set); err != nil {
		return err
	}
	// What a handler took before is on its way through the runtime. Stop returns
	// when that is idle; SIGCHLD has another channel and goes on.
	idle := make(chan os.Signal, 1)
	signal.Notify(idle, unix.SIGCHLD)
	signal.Stop(idle)
	return nil
}

func (s kernel) release() {
	set := heldSignals()
	// It did not fail when it blocked them.
	_ = onAllThreads(unix.SIG_UNBLOCK, &set)
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
