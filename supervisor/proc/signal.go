package proc

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The realtime signals as the C libraries number them: 32 and 33 are theirs.
const (
	sigRTMin = 34
	sigRTMax = 64
)

// SignalNumber is the number of a signal: "SIGTERM", "TERM", "SIGRTMIN+3",
// "SIGRTMAX-1", in either case, or a number.
func SignalNumber(name string) (int, bool) {
	name = strings.ToUpper(name)
	if n, err := strconv.Atoi(name); err == nil {
		return n, n >= 1 && n <= sigRTMax
	}
	name = strings.TrimPrefix(name, "SIG")
	for prefix, base := range map[string]int{"RTMIN": sigRTMin, "RTMAX": sigRTMax} {
		rest, ok := strings.CutPrefix(name, prefix)
		if !ok {
			continue
		}
		offset := 0
		if rest != "" {
			var err error
			if offset, err = strconv.Atoi(rest); err != nil || rest[0] != '+' && rest[0] != '-' {
				return 0, false
			}
		}
		n := base + offset
		return n, n >= sigRTMin && n <= sigRTMax
	}
	switch name { // the synonyms of signal(7)
	case "IOT":
		name = "ABRT"
	case "CLD":
		name = "CHLD"
	case "POLL":
		name = "IO"
	}
	n := int(unix.SignalNum("SIG" + name))
	return n, n > 0
}

// SignalName is the name of a signal: "SIGKILL", "SIGRTMIN+3".
func SignalName(n int) string {
	if name := unix.SignalName(syscall.Signal(n)); name != "" {
		return name
	}
	if n == sigRTMin {
		return "SIGRTMIN"
	}
	if n > sigRTMin && n <= sigRTMax {
		return "SIGRTMIN+" + strconv.Itoa(n-sigRTMin)
	}
	return "SIG" + strconv.Itoa(n)
}

// Signal sends a signal to a child of ours that has not been reaped. That it
// has ended is no error.
func Signal(pid int, sig string) error {
	n, err := checkSignal(pid, sig)
	if err != nil {
		return err
	}
	return signalError(pid, sig, unix.Kill(pid, syscall.Signal(n)))
}

// SignalProcess sends a signal to the process that has this pid and started at
// this time, which need not be a child of ours. That it has ended is no error.
func SignalProcess(pid int, start uint64, sig string) error {
	n, err := checkSignal(pid, sig)
	if err != nil {
		return err
	}
	h, err := hold(pid, start)
	if err != nil {
		return signalError(pid, sig, err)
	}
	defer h.close()
	return signalError(pid, sig, h.signal(syscall.Signal(n)))
}

// checkSignal keeps groups (0 and below) and init out of reach: kill(-1) ends
// everything there is.
func checkSignal(pid int, sig string) (int, error) {
	n, ok := SignalNumber(sig)
	if !ok {
		return 0, errors.New("cannot send " + strconv.Quote(sig) + ": no such signal")
	}
	if pid <= 1 || pid == os.Getpid() {
		return 0, errors.New("cannot send " + sig + " to process " + strconv.Itoa(pid) + ": not a process that we started")
	}
	return n, nil
}

func signalError(pid int, sig string, err error) error {
	if err == nil || errors.Is(err, unix.ESRCH) {
		return nil
	}
	return &SignalError{PID: pid, Signal: sig, Err: err}
}

// SignalError is a signal that could not be sent.
type SignalError struct {
	PID    int
	Signal string
	Err    error
}

func (e *SignalError) Error() string {
	return "cannot send " + e.Signal + " to process " + strconv.Itoa(e.PID) + ": " + e.Err.Error()
}

// Unwrap gives the errno to errors.Is.
func (e *SignalError) Unwrap() error { return e.Err }
