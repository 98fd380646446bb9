package proc

import (
	"errors"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The steps of a start, as Error.Step names them.
const (
	StepLookup      = "lookup"        // Argv[0] in PATH
	StepClone       = "clone"         // a process, or the descriptors to start it with
	StepCgroup      = "cgroup"        // being born in CgroupFD
	StepLimit       = "limit"         // Path: the file of its cgroup, "memory.max"
	StepShim        = "shim"          // nines-exec itself
	StepRlimit      = "rlimit"        // Path: its name
	StepNice        = "nice"          //
	StepOOMScoreAdj = "oom_score_adj" //
	StepUser        = "user"          // Path: who
	StepUmask       = "umask"         //
	StepDirectory   = "directory"     //
	StepSignals     = "signals"       // back to default, by the shim
	StepExec        = "exec"          //
	StepListen      = "listen"        // Path: the address, or how many sockets
	StepLog         = "log"           // the pipe that its output goes to
	StepNotify      = "notify"        // what it says ready on: Path, where it is a socket
	StepPrepare     = "prepare"       // evaluating what to start
)

// Error is a start that failed: nothing is left of it.
type Error struct {
	Step string
	Path string // what the step was about: a file, a user, a limit
	Why  string // more than the errno tells; may be empty
	Err  error  // the errno, where there is one
}

// Error is what could not be done, why, and the errno's name:
// "cannot exec /opt/x: no such file (ENOENT)".
func (e *Error) Error() string {
	text := "cannot " + e.act() + ": "
	no, ok := e.errno()
	switch {
	case !ok && e.Why != "" && e.Err != nil:
		return text + e.Why + ": " + e.Err.Error()
	case !ok && e.Err != nil:
		return text + e.Err.Error()
	case e.Why != "":
		text += e.Why
	default:
		text += e.words(no)
	}
	if ok {
		text += " (" + unix.ErrnoName(no) + ")"
	}
	return text
}

func (e *Error) act() string {
	switch e.Step {
	case StepLookup:
		return "find " + e.Path
	case StepClone:
		return "make a process"
	case StepCgroup:
		return "make a process in its cgroup"
	case StepLimit:
		return "set its limit " + e.Path
	case StepShim:
		return "run " + e.Path
	case StepUser:
		return "become " + e.Path
	case StepDirectory:
		return "change to directory " + e.Path
	case StepRlimit:
		return "set rlimit " + e.Path
	case StepNice, StepOOMScoreAdj, StepUmask:
		return "set " + e.Step + " " + e.Path
	case StepSignals:
		return "reset signals"
	case StepListen:
		return "listen on " + e.Path
	case StepLog:
		return "capture its output"
	case StepNotify:
		return strings.TrimSpace("make what it says ready on " + e.Path)
	case StepPrepare:
		return "prepare what to start"
	}
	return "exec " + e.Path
}

// words is the errno in plain words, for this step.
func (e *Error) words(no syscall.Errno) string {
	switch no {
	case unix.ENOENT:
		if e.Step == StepDirectory {
			return "no such directory"
		}
		return "no such file"
	case unix.ENOTDIR:
		if e.Step == StepDirectory {
			return "not a directory"
		}
		return "a part of its path is not a directory"
	case unix.EPERM:
		switch e.Step {
		case StepUser:
			return "only root may become another user"
		case StepRlimit:
			return "a hard limit may only be raised with CAP_SYS_RESOURCE"
		case StepNice:
			return "it may only be lowered with CAP_SYS_NICE"
		}
		return "not permitted"
	case unix.EACCES:
		switch e.Step {
		case StepNice:
			return "it may only be lowered with CAP_SYS_NICE"
		case StepOOMScoreAdj:
			return "it may only be lowered with CAP_SYS_RESOURCE"
		}
		return "permission denied"
	case unix.ENOEXEC:
		return "not an executable format"
	case unix.ETXTBSY:
		return "some process has it open for writing"
	case unix.E2BIG:
		return "its arguments and environment are too long"
	case unix.EAGAIN:
		return "no more processes are allowed just now"
	}
	return no.Error()
}

// Unwrap gives the errno to errors.Is.
func (e *Error) Unwrap() error { return e.Err }

func (e *Error) errno() (syscall.Errno, bool) {
	var no syscall.Errno
	ok := errors.As(e.Err, &no)
	return no, ok
}

// Again says that the machine is at fault and that it may pass: the service
// has not failed.
func (e *Error) Again() bool {
	no, ok := e.errno()
	return ok && passing(no)
}

func passing(no syscall.Errno) bool {
	return no == unix.EAGAIN || no == unix.ENOMEM || no == unix.EMFILE || no == unix.ENFILE
}

// ExitCode is what a shell would exit with: 127 when the program was not
// found, 126 when it is not executable, 1 otherwise.
func (e *Error) ExitCode() int {
	no, _ := e.errno()
	if e.Step != StepLookup && e.Step != StepExec || passing(no) {
		return 1
	}
	// A program that is there but whose interpreter is not was found.
	if (no == unix.ENOENT || no == unix.ENOTDIR) && e.Why == "" || e.Step == StepLookup && no == unix.ENOENT {
		return 127
	}
	return 126
}

// retry calls fn until it is not interrupted.
func retry(fn func() error) error {
	for {
		if err := fn(); err != unix.EINTR {
			return err
		}
	}
}
