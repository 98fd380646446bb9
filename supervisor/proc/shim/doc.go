// Package shim is the conversation between the spawner and nines-exec, and
// what nines-exec does.
//
//	spawner                                     nines-exec
//	   │  settings, on a sealed memfd (fd 3)        │
//	   │ ──────────────────────────────────────────▶│  reads them, closes 3
//	   │  the end of a pipe (fd 4, close on exec)   │
//	   │  listening sockets (fd 5 and up), if any   │  moves 4 out of the way, and
//	   │                                            │  the sockets to 3 and up
//	   │                                            │  rlimits, nice, oom_score_adj,
//	   │                                            │  groups, gid, uid, umask, directory
//	   │◀── failure: step, errno, detail ───────────│  if one fails: exit 1
//	   │◀── "about to exec" ────────────────────────│
//	   │◀── end of file ────────────────────────────│  exec succeeded: the pipe closed
//	   │◀── failure, end of file ───────────────────│  or it failed: exit 126 or 127
//
// End of file without "about to exec" and without a failure means that
// nines-exec itself ended: it was killed, or the Go runtime could not go on.
//
// The package is linked into nines-exec, whose start is paid by every service
// that needs it: it imports no fmt, no encoding, no reflection.
package shim

import "syscall"

// The descriptors that nines-exec is started with besides 0, 1 and 2.
const (
	SettingsFD = 3
	StatusFD   = 4 // a stream socket: whoever reads it may be gone, and a pipe would then end the service by SIGPIPE
	ListenFD   = 5 // the first of the listening sockets
)

// Step is what nines-exec was doing. The numbers are part of the format.
type Step uint8

// The steps, in the order in which they are done.
const (
	StepSettings Step = iota + 1 // read them
	StepListen                   // put the listening sockets where the service looks for them
	StepRlimit                   // Detail: the resource
	StepNice
	StepOOMScoreAdj
	StepUser
	StepUmask
	StepDirectory
	StepSignals
	StepExec
)

// Failure is a step that failed.
type Failure struct {
	Step   Step
	Errno  syscall.Errno
	Detail uint32
}

// The status socket carries at most one reached and one failed record, each
// written at once.
const (
	recordReached = 'E'
	recordFailed  = 'F'
	failedSize    = 10
	// StatusMax is the most that can come through the status socket.
	StatusMax = 1 + failedSize
)

// appendFailure appends the record of f.
func appendFailure(b []byte, f Failure) []byte {
	b = append(b, recordFailed, byte(f.Step))
	b = appendUint32(b, uint32(f.Errno))
	return appendUint32(b, f.Detail)
}

// ParseStatus reads all that came through the status socket: whether the exec
// was reached, and what failed, nil if nothing. ok is false when it is neither
// of what nines-exec writes.
func ParseStatus(b []byte) (reached bool, failure *Failure, ok bool) {
	if len(b) > 0 && b[0] == recordReached {
		reached, b = true, b[1:]
	}
	if len(b) == 0 {
		return reached, nil, true
	}
	if len(b) != failedSize || b[0] != recordFailed {
		return reached, nil, false
	}
	f := &Failure{Step: Step(b[1]), Errno: syscall.Errno(uint32At(b[2:])), Detail: uint32At(b[6:])}
	if f.Step < StepSettings || f.Step > StepExec || f.Errno == 0 {
		return reached, nil, false
	}
	return reached, f, true
}
