package entry

import (
	"runtime"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"

	"nines/supervisor/wait"
)

// Options say what to run, and how.
type Options struct {
	Argv        []string // the command, not empty
	Env         []string // ours, and the command's
	Group       bool     // -g: a session of its own; signals go to its group
	Subreaper   bool     // -s: orphans below us become our children
	DeathSignal unix.Signal
	Rewrites    []Rewrite
	Success     []int // exit codes that count as 0
	Verbose     bool
	Stderr      int // descriptor
	Parent      int // our parent's pid when the program began
}

// Rewrite passes a signal on as another, or, if To is 0, not at all. The last
// one for a signal counts.
type Rewrite struct{ From, To unix.Signal }

const (
	reapATurn   = 1024 // before signals have their turn
	maxWaiting  = 1024 // signals that wait for the command's exec
	readATurn   = 512  // bytes of the pipe, each a signal
	short       = 50   // milliseconds that a short command runs
	neverPolled = -1   // as a descriptor: poll(2) passes over it
)

// entry is the state of the loop, which alone touches it.
type entry struct {
	Options
	pid     int
	ignored set // as we were given them
	blocked set
	catcher *catcher
	signals int // read end of the catcher's pipe
	term    terminal
	rewrite [maxSignal + 1]unix.Signal

	child   int           // the command's pid; 0: not started, or reaped
	shim    int           // neverPolled: the command was executed
	failed  int           // status to end with if the shim could not execute it
	waiting []unix.Signal // for the exec
	passed  bool          // a job control signal, and no SIGCONT since
	stopped bool          // the command, and we with it
	more    bool          // there is something to reap
	over    bool
	status  int
}

// Run runs the command until it ends and returns the exit status. It is called
// once in a process, by its main goroutine.
func Run(o Options) int {
	// Masks and the parent death signal belong to a thread.
	runtime.LockOSThread()
	e := &entry{Options: o, pid: unix.Getpid(), shim: neverPolled, term: terminal{fd: -1}}
	e.ignored, e.blocked = asGiven()
	if text := e.prepare(); text != "" {
		e.say(text)
		return exitCannotStart
	}
	e.term = openTerminal()
	if err := e.start(); err != nil {
		e.term.takeBack(e.term.group)
		text, status := whyNotStarted(e.Argv[0], err)
		e.say(text)
		return status
	}
	e.note("started " + strconv.Quote(e.Argv[0]) + ", pid " + strconv.Itoa(e.child))
	// Only now those that we were to ignore: until here nobody could want them
	// to reach the command.
	if err := e.catcher.catch(forwardable() & e.ignored); err != nil {
		e.say("cannot catch signals: " + err.Error() + ": some do not reach the command")
	}
	// One thread that takes what the others may have to block.
	sigmask(unix.SIG_SETMASK, 0)
	letGo()
	command := e.child
	if e.turn(short); !e.over {
		reserve()
	}
	for !e.over {
		e.turn(-1)
	}
	e.term.takeBack(command)
	return e.status
}

// prepare does what comes before the command, and says what it cannot.
func (e *entry) prepare() string {
	e.setRewrites()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return "cannot make a pipe: " + err.Error() + ": allow more open files (ulimit -n)"
	}
	e.signals = p[0]
	var err error
	if e.catcher, err = newCatcher(p[1]); err == nil {
		// What is ignored stays so until the command has that from us.
		err = e.catcher.catch(forwardable()&^e.ignored | setOf(unix.SIGCHLD))
	}
	if err != nil {
		return "cannot catch signals: " + err.Error() + ": look for a seccomp filter that forbids rt_sigaction"
	}
	if err := e.deathSignal(); err != nil {
		return "cannot set the parent death signal: " + err.Error() + ": leave -p out"
	}
	if e.Subreaper && e.pid != 1 {
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			return "cannot become a subreaper: " + err.Error() + ": leave -s out"
		}
	}
	e.warn()
	return ""
}

// deathSignal asks for a signal when our parent dies, and is one if it has.
func (e *entry) deathSignal() error {
	if e.DeathSignal == 0 {
		return nil
	}
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(e.DeathSignal), 0, 0, 0); err != nil {
		return err
	}
	if unix.Getppid() != e.Parent {
		e.waiting = append(e.waiting, e.DeathSignal)
	}
	return nil
}

// warn tells somebody who wants to know (-v) that orphans go elsewhere.
func (e *entry) warn() {
	if !e.Verbose || e.pid == 1 {
		return
	}
	var subreaper int32
	if err := unix.Prctl(unix.PR_GET_CHILD_SUBREAPER, uintptr(unsafe.Pointer(&subreaper)), 0, 0, 0); err == nil && subreaper == 1 {
		return
	}
	e.say("is neither PID 1 nor a subreaper: orphans of the command are not reaped here: give -s")
}

func (e *entry) setRewrites() {
	for sig := range e.rewrite {
		e.rewrite[sig] = unix.Signal(sig)
		if e.Group && sig > 0 && jobControl().has(unix.Signal(sig)) {
			e.rewrite[sig] = unix.SIGSTOP
		}
	}
	for _, r := range e.Rewrites {
		e.rewrite[r.From] = r.To
	}
}

// turn waits for something to happen, or so many milliseconds, and deals with
// it.
func (e *entry) turn(timeout int) {
	defer e.survive()
	if e.more || e.shim == neverPolled && len(e.waiting) > 0 {
		timeout = 0
	}
	fds := []unix.PollFd{{Fd: int32(e.signals), Events: unix.POLLIN}, {Fd: int32(e.shim), Events: unix.POLLIN}}
	// Interrupted, or in want of memory: what follows does not block.
	_, _ = unix.Poll(fds, timeout)
	if e.shim != neverPolled && fds[1].Revents != 0 {
		e.shimSpoke()
	}
	e.hear()
	e.reap()
}

// survive keeps a fault from ending the process.
func (e *entry) survive() {
	if r := recover(); r != nil {
		e.say("recovered from a fault of its own: please report it")
		if err, ok := r.(error); ok {
			e.say(err.Error())
		}
	}
}

// hear reads the signals that came.
func (e *entry) hear() {
	var b [readATurn]byte
	n, err := unix.Read(e.signals, b[:])
	if err != nil { // EAGAIN
		n = 0
	}
	if e.shim == neverPolled && len(e.waiting) > 0 {
		waiting := e.waiting
		e.waiting = nil
		for _, sig := range waiting {
			e.forward(sig)
		}
	}
	for _, sig := range b[:n] {
		e.forward(unix.Signal(sig))
	}
	if missed := e.catcher.missed(); missed != 0 {
		for sig := unix.Signal(1); sig <= maxSignal; sig++ {
			if missed.has(sig) {
				e.forward(sig)
			}
		}
	}
}

// forward passes one signal on.
func (e *entry) forward(sig unix.Signal) {
	if sig == unix.SIGCHLD || e.child == 0 {
		return
	}
	if e.shim != neverPolled {
		// The shim is a Go program: it would swallow it.
		if len(e.waiting) < maxWaiting {
			e.waiting = append(e.waiting, sig)
		}
		return
	}
	to := e.rewrite[sig]
	if jobControl().has(sig) {
		e.passed = to != 0
	}
	group := e.Group
	if sig == unix.SIGCONT {
		if !e.Group {
			e.term.handOver(e.child)
		}
		// A terminal has stopped the whole group.
		group = group || e.stopped
		e.passed, e.stopped = false, false
	}
	if to == 0 {
		e.note("dropped " + signalName(sig))
		return
	}
	if e.Verbose {
		e.say("passing " + signalName(sig) + " on as " + signalName(to))
	}
	target := e.child
	if group {
		target = -target
	}
	if err := unix.Kill(target, to); err != nil && err != unix.ESRCH {
		e.say("cannot send " + signalName(to) + " to " + strconv.Itoa(target) + ": " + err.Error())
	}
	if to == unix.SIGSTOP && jobControl().has(sig) {
		// Nothing can ignore it, so not to wait for it: a shell that is
		// between vfork and exec of a stopped child does not stop itself.
		e.stop(sig)
	}
}

// reap takes everything that ended.
func (e *entry) reap() {
	e.more = false
	for range reapATurn {
		pid, raw, ok := wait.Peek()
		if !ok {
			if e.child == 0 {
				e.over = true
			} else if by, stopped := wait.Stopped(e.child); stopped {
				e.commandStopped(by)
			}
			return
		}
		if e.Group && pid == e.child {
			// Before it is reaped: until then no other group can have its number. And
			// not by asking first whether it has ended, then for whatever has: it may
			// end in between.
			if err := unix.Kill(-e.child, unix.SIGTERM); err != nil && err != unix.ESRCH {
				e.say("cannot end the group of the command: " + err.Error())
			}
		}
		wait.Reap(pid)
		if pid == e.child {
			e.commandEnded(unix.WaitStatus(raw))
		} else if e.Verbose {
			e.say("reaped " + strconv.Itoa(pid))
		}
	}
	// A fork bomb must not keep us from ending.
	e.over = e.child == 0
	e.more = true
}

// commandStopped stops us too if it was job control: a shell above waits for us.
func (e *entry) commandStopped(by unix.Signal) {
	if !e.passed && (e.term.fd < 0 || !jobControl().has(by)) {
		return // a debugger, say: who stopped it will continue it, but not us
	}
	e.stop(by)
}

// stop stops us, until SIGCONT.
func (e *entry) stop(by unix.Signal) {
	e.note("stopped with the command by " + signalName(by))
	e.passed, e.stopped = false, true
	// PID 1 takes no notice.
	if err := unix.Kill(e.pid, unix.SIGSTOP); err != nil {
		e.say("cannot stop: " + err.Error())
	}
}

func (e *entry) commandEnded(status unix.WaitStatus) {
	e.child = 0
	switch {
	case e.failed != 0:
		e.status = e.failed
		return
	case status.Signaled():
		e.status = 128 + int(status.Signal())
		e.note("the command was killed by " + signalName(status.Signal()))
	default:
		e.status = status.ExitStatus()
		e.note("the command exited with " + strconv.Itoa(e.status))
	}
	for _, code := range e.Success {
		if code == e.status {
			e.status = 0
		}
	}
}
