package entry

import (
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// ShimFlag as the first argument of nines-init is for Shim.
const ShimFlag = "--exec-as-given"

func format(s set) string { return strconv.FormatUint(uint64(s), 16) }

// Shim is what runs between the fork and the exec of a command for which some
// signals are to be ignored, which Go's fork cannot leave so, or whose
// LISTEN_PID must be its own. args are the signals to ignore and to block, the
// descriptor that reports a failed exec, the program's path and its arguments.
// It returns only if it failed, with the exit status.
func Shim(args, env []string) int {
	// The mask is a thread's, and the command has that of the one that execs.
	runtime.LockOSThread()
	ignored, blocked, report, ok := shimArgs(args)
	if !ok {
		return 2
	}
	unix.CloseOnExec(report)
	env = ownListenPID(env, unix.Getppid(), unix.Getpid())
	// Ignored, or as they were before Go's runtime: no signal may meet one of
	// its handlers from here on, they would swallow it.
	for sig := unix.Signal(1); sig <= maxSignal; sig++ {
		as := action{handler: sigDefault}
		if ignored.has(sig) {
			as.handler = sigIgnore
		}
		// SIGKILL and SIGSTOP refuse. Others cannot.
		_ = sigaction(sig, &as, nil)
	}
	sigmask(unix.SIG_SETMASK, blocked)
	err := syscall.Exec(args[3], args[4:], env)
	errno, ok := err.(syscall.Errno) // errors.As would link reflection
	if !ok {
		errno = unix.EINVAL // a NUL in an argument
	}
	// All of them fit in a byte. If nobody reads it, nobody is there any more.
	_, _ = unix.Write(report, []byte{byte(errno)})
	return exitNotExecutable
}

func shimArgs(args []string) (ignored, blocked set, report int, ok bool) {
	if len(args) < 5 {
		return 0, 0, 0, false
	}
	i, err1 := strconv.ParseUint(args[0], 16, 64)
	b, err2 := strconv.ParseUint(args[1], 16, 64)
	report, err3 := strconv.Atoi(args[2])
	return set(i), set(b), report, err1 == nil && err2 == nil && err3 == nil
}

// ownListenPID is env with a LISTEN_PID of from changed to to.
func ownListenPID(env []string, from, to int) []string {
	if v, ok := getenv(env, "LISTEN_PID"); !ok || v != strconv.Itoa(from) {
		return env
	}
	out := make([]string, 0, len(env))
	for _, v := range env {
		switch {
		case strings.HasPrefix(v, "LISTEN_PID="):
			v = "LISTEN_PID=" + strconv.Itoa(to)
		case strings.HasPrefix(v, "LISTEN_PIDFDID="): // names the same process
			continue
		}
		out = append(out, v)
	}
	return out
}

// shimSpoke reads what the shim reports: nothing and the end of the pipe if
// the command was executed, or an errno.
func (e *entry) shimSpoke() {
	var b [1]byte
	n, err := unix.Read(e.shim, b[:])
	if err == unix.EAGAIN || err == unix.EINTR {
		return
	}
	unix.Close(e.shim)
	e.shim = -1
	if n == len(b) {
		var text string
		text, e.failed = whyNotStarted(e.Argv[0], syscall.Errno(b[0]))
		e.say(text)
	}
}
