package keeper

import (
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// tasksNeeded is how many tasks must fit beside the threads that Go has made by
// now: our own (threads), those of the log process and of the supervisor as
// they are with two processors, and one service with the clone that starts it.
const tasksNeeded = spareThreads + 8 + 10 + 2

// tasksAdvised leaves services some, and `nines` by exec.
const tasksAdvised = 64

// Fits says, before anything begins, whether there are tasks enough: later, one
// that is refused ends a Go program with a dump that tells nobody what to do.
// It is asked by PID 1, whose limit is a container's.
func Fits() error {
	if ample("/sys/fs/cgroup/pids.max") || ample("/sys/fs/cgroup/pids/pids.max") {
		return nil
	}
	n := room(tasksNeeded)
	if n >= tasksNeeded {
		return nil
	}
	return refusal("cannot begin: the limit of tasks (processes and threads) leaves " + strconv.Itoa(n) + ", and " +
		strconv.Itoa(tasksNeeded) + " are needed to supervise one service: raise it to " + strconv.Itoa(tasksAdvised) +
		" or more (docker run --pids-limit, podPidsLimit, pids.max, ulimit -u), or run one command alone: nines-init -- COMMAND")
}

// ample reports whether a container's own limit is so large that counting, some
// ten milliseconds, can be spared: one above it is not made smaller than that.
func ample(file string) bool {
	b, err := os.ReadFile(file)
	if err != nil {
		return false // no such controller, or not mounted
	}
	text := strings.TrimSpace(string(b))
	n, err := strconv.Atoi(text)
	return text == "max" || err == nil && n >= 4*tasksAdvised
}

// room counts how many tasks can be made now, at most most of them. There is
// no file that tells: the limit may be of a cgroup that is not mounted here,
// or of one above it, or of the user. So they are made: processes that do
// nothing, and are gone again when it returns.
func room(most int) int {
	runtime.LockOSThread() // the mask is a thread's, the parent death signal too
	defer runtime.UnlockOSThread()
	// A handler must not run in a copy of us: it would take the signal as ours.
	var all, before unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &all, &before); err != nil {
		return most // nothing is known: as if there were no limit
	}
	pids := make([]int, 0, most)
	for len(pids) < most {
		pid := forkIdle()
		if pid < 0 {
			break
		}
		pids = append(pids, pid)
	}
	for _, pid := range pids {
		// It cannot fail: it is our child and was not waited for.
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	for _, pid := range pids {
		for {
			if _, err := unix.Wait4(pid, nil, 0, nil); err != unix.EINTR {
				break
			}
		}
	}
	// What was blocked can be unblocked.
	_ = unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil)
	return len(pids)
}

// forkIdle makes a process that waits to be killed. Of a Go program only one
// thread is left in it: it must not run anything that may need another, so it
// makes raw system calls on the stack that is there.
//
//go:norace
//go:nosplit
func forkIdle() int {
	flags, stack := uintptr(unix.SIGCHLD), uintptr(0)
	if runtime.GOARCH == "s390x" { // has them the other way round
		flags, stack = stack, flags
	}
	pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, flags, stack, 0, 0, 0, 0)
	if errno != 0 {
		return -1
	}
	if pid != 0 {
		return int(pid)
	}
	// It lives for moments; should either fail, it is killed all the same.
	_, _, _ = unix.RawSyscall(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0)
	for {
		_, _, _ = unix.RawSyscall6(unix.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
	}
}
