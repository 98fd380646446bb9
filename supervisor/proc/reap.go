package proc

import "golang.org/x/sys/unix"

// Status is how a process ended: by exit with Code, or by Signal ("SIGKILL").
type Status struct {
	Code   int
	Signal string
	Core   bool // it left a core dump
}

// Exit is a child that ended and was reaped.
type Exit struct {
	PID    int
	Status Status
}

// Reap appends every child that has ended to dst and returns when none is
// left. It never blocks. Package documentation says whose exits those may be.
func Reap(dst []Exit) []Exit {
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, unix.WNOHANG, nil)
		if err == unix.EINTR {
			continue
		}
		// 0: children, but none has ended. ECHILD: no children. Nothing else
		// can come of these arguments.
		if err != nil || pid <= 0 {
			return dst
		}
		dst = append(dst, Exit{PID: pid, Status: status(ws)})
	}
}

func status(ws unix.WaitStatus) Status {
	if ws.Signaled() {
		return Status{Signal: SignalName(int(ws.Signal())), Core: ws.CoreDump()}
	}
	return Status{Code: ws.ExitStatus()}
}
