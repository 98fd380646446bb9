package entry

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	maxSignal   = 64
	minRealTime = 34 // SIGRTMIN of the C libraries, which keep 32 and 33
)

// set is a set of signals as the kernel has it: bit N-1 is signal N.
type set uint64

func setOf(sigs ...unix.Signal) set {
	var s set
	for _, sig := range sigs {
		s |= 1 << (sig - 1)
	}
	return s
}

func (s set) has(sig unix.Signal) bool { return s&setOf(sig) != 0 }

// jobControl are the signals by which a terminal stops a process.
func jobControl() set { return setOf(unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU) }

// forwardable are the signals that are passed on.
func forwardable() set {
	s := ^set(0)
	return s &^ setOf(unix.SIGKILL, unix.SIGSTOP, unix.SIGCHLD, 32, 33) & catchable()
}

// CanForward says whether a signal that we get can be passed on, or rewritten.
func CanForward(sig unix.Signal) bool {
	return sig >= 1 && sig <= maxSignal && forwardable().has(sig)
}

// ParseSignal reads a signal as kill(1) does: 15, TERM, SIGTERM, RTMIN+3.
func ParseSignal(text string) (unix.Signal, bool) {
	if n, err := strconv.ParseUint(text, 10, 8); err == nil {
		return unix.Signal(n), n >= 1 && n <= maxSignal
	}
	name := strings.TrimPrefix(upper(text), "SIG")
	for _, rt := range []struct {
		name string
		at   int
	}{{"RTMIN", minRealTime}, {"RTMAX", maxSignal}} {
		rest, ok := strings.CutPrefix(name, rt.name)
		if !ok {
			continue
		}
		by := 0
		if rest != "" {
			var err error
			if by, err = strconv.Atoi(rest); err != nil || rest[0] != '+' && rest[0] != '-' {
				return 0, false
			}
		}
		n := rt.at + by
		return unix.Signal(n), n >= minRealTime && n <= maxSignal
	}
	switch name { // other names of the same
	case "IOT":
		name = "ABRT"
	case "CLD":
		name = "CHLD"
	case "POLL":
		name = "IO"
	}
	sig := unix.SignalNum("SIG" + name)
	return sig, sig != 0
}

// upper is strings.ToUpper without the tables of all the world's letters.
func upper(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'a' <= c && c <= 'z' {
			b[i] = c - 'a' + 'A'
		}
	}
	return string(b)
}

// signalName is "SIGTERM", and "SIGRTMIN+3" for what has no name.
func signalName(sig unix.Signal) string {
	if name := unix.SignalName(sig); name != "" {
		return name
	}
	if sig >= minRealTime {
		return "SIGRTMIN+" + strconv.Itoa(int(sig)-minRealTime)
	}
	return "signal " + strconv.Itoa(int(sig))
}
