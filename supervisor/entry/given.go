package entry

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// given is filled in by nines_start, before Go's runtime begins: 1 if it ran,
// the ignored signals, the blocked ones, and those that were pending. See
// given_amd64.s.
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
	if given[0] == 1 {
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
// executed; it is called once. Handlers must be there. Without nines_start there is nothing left.
func RaisePending() {
	for sig := unix.Signal(1); sig <= maxSignal; sig++ {
		if given[3].has(sig) && sig != unix.SIGCHLD {
			// It cannot fail: we may always signal ourselves.
			_ = unix.Kill(unix.Getpid(), sig)
		}
	}
}
