package entry

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// given is filled in by nines_start, before Go's runtime begins: 0 if it did not
// run, 2 if the signals of signals.Held are blocked in all threads, else 1; the
// ignored signals, the blocked ones, and those that were pending, if it had to take
// them. See given_amd64.s.
var given [4]set

const (
	sigDefault = 0
	sigIgnore  = 1
	setSize    = 8 // of the kernel's sigset_t
)

// action is the kernel's struct sigaction.
type action struct {
	handler, flags, restorer uintptr
	mask                     set
}

// sigaction is rt_sigaction(2). The runtime does not know of it.
func sigaction(sig unix.Signal, new, old *action) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(new)), uintptr(unsafe.Pointer(old)), setSize, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// sigmask sets the mask of this thread and returns the one before.
func sigmask(how int, mask set) set {
	var old set
	// It fails for a wrong address or number only.
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, uintptr(how), uintptr(unsafe.Pointer(&mask)), uintptr(unsafe.Pointer(&old)), setSize, 0, 0)
	return old
}

// asGiven are the signals that were ignored and blocked when we were executed.
// If nines_start did not run, it is what the runtime has left of that.
func asGiven() (ignored, blocked set) {
	if given[0] != 0 {
		return given[1], given[2]
	}
	for sig := unix.Signal(1); sig <= maxSignal; sig++ {
		var old action
		if sigaction(sig, nil, &old) == nil && old.handler == sigIgnore {
			ignored |= setOf(sig)
		}
	}
	return ignored, sigmask(unix.SIG_BLOCK, 0)
}

// RaisePending sends us again what was pending, and blocked, when we were
// executed, and that nines_start had to take; it is called once. Handlers must be
// there. Without nines_start there is nothing left.
func RaisePending() {
	for sig := unix.Signal(1); sig <= maxSignal; sig++ {
		if given[3].has(sig) && sig != unix.SIGCHLD {
			// It cannot fail: we may always signal ourselves.
			_ = unix.Kill(unix.Getpid(), sig)
		}
	}
}

// Mask is the mask of blocked signals that we were executed with, if those of
// signals.Held are blocked in all threads now; else nil.
func Mask() *unix.Sigset_t {
	if given[0] != 2 {
		return nil
	}
	var mask unix.Sigset_t
	*(*set)(unsafe.Pointer(&mask)) = given[2]
	return &mask
}

// Unmask has this goroutine's thread block what we were executed with, and no more,
// to execute another program; the returned function undoes it.
func Unmask() (undo func()) {
	if given[0] != 2 {
		return func() {}
	}
	runtime.LockOSThread()
	before := sigmask(unix.SIG_SETMASK, given[2])
	return func() {
		sigmask(unix.SIG_SETMASK, before)
		runtime.UnlockOSThread()
	}
}

// Mortal has the signals that end a program by default end this one, as if
// nines_start had not seen to it that they do not. It is for a program that has
// nothing to keep.
func Mortal() {
	if given[0] != 2 {
		return
	}
	for _, sig := range []unix.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM} {
		if !given[1].has(sig) {
			// It cannot fail for these.
			_ = sigaction(sig, &action{handler: sigDefault}, nil)
		}
	}
	runtime.LockOSThread() // for as long as it takes
	sigmask(unix.SIG_SETMASK, given[2])
}
