package proc

import "golang.org/x/sys/unix"

// Status is how a process ended: by exit with Code, or by Signal ("SIGKILL").
type Status struct {
	Code   int
	Signal string
	Core   bool // it left a core dump
}

func status(ws unix.WaitStatus) Status {
	if ws.Signaled() {
		return Status{Signal: SignalName(int(ws.Signal())), Core: ws.CoreDump()}
	}
	return Status{Code: ws.ExitStatus()}
}
