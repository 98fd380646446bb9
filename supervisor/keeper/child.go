package keeper

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"nines/supervisor/notify"
)

// How long the keeper waits for what a child has announced.
const (
	hangupPatience = 5 * time.Second  // from closing its socket to its exit
	endPatience    = 10 * time.Second // from X_NINES_END to its exit
	sameSaidAgain  = 30 * time.Second // an unchanged complaint is repeated
	messagesATurn  = 64               // read from one child before others have their turn
	messagesHeld   = 1024             // more than a socket holds, by far
	messagesAtEnd  = 4096             // read from a dead one: more than its socket can hold
)

// child is one of the two processes that the keeper keeps, over all its
// generations.
type child struct {
	name       string // for people
	argv       func() []string
	handle     func(m notify.Message, fds []int)
	newOutbox  func() outbox
	generation int
	pid        int   // 0: not running
	link       *link // nil: not running
	out        outbox
	readyAt    time.Time // zero: not ready
	backoff    backoff
	startAt    time.Time // zero: no start is due
	retryAt    time.Time // zero: no send is to be tried again
	killAt     time.Time // zero: it may live
	killWhy    string
	watchdog   time.Duration // 0: none; else WATCHDOG=1 must come within it, from READY on
	barkAt     time.Time     // zero: not armed
	complaint  string        // the last failed start
	complained time.Time     // when that was said
	programs   programs
	replacing  bool // its exit is meant: another program follows
	crashes    int  // exits that were not meant
}

func (c *child) ready() bool { return !c.readyAt.IsZero() }

// start begins a new generation. The last one must be reaped and drained.
func (k *keeper) start(c *child) {
	c.startAt = time.Time{}
	if c.link != nil { // a panic kept it from being closed
		c.link.close()
		c.link = nil
	}
	pid, link, err := k.launch(c)
	if err != nil {
		k.notStarted(c, err)
		return
	}
	c.pid, c.link = pid, link
	c.readyAt, c.killAt, c.retryAt, c.barkAt = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	c.out = c.newOutbox()
	k.note(c.name + " started, pid " + strconv.Itoa(pid) + ", generation " + strconv.Itoa(c.generation))
	k.flush(c)
}

func (k *keeper) launch(c *child) (int, *link, error) {
	ours, theirs, err := notify.Pair()
	if err != nil {
		return 0, nil, err
	}
	defer notify.CloseAll([]int{theirs})
	link, err := newLink(ours, k.wake)
	if err != nil {
		return 0, nil, err
	}
	argv := slices.Clone(c.argv())
	program := c.pick(argv[0])
	argv[0] = program.path
	pid, err := k.sys.spawn(program, argv, childEnv(k.env, c.generation+1, c.crashes, k.tellPulse(c)), theirs)
	if err != nil {
		link.close()
		return 0, nil, err
	}
	c.generation++
	return pid, link, nil
}

func (k *keeper) notStarted(c *child, err error) {
	if k.trialNotStarted(c, err) {
		return
	}
	now := k.sys.now()
	delay := c.backoff.next(0)
	c.startAt = now.Add(delay)
	text := "cannot start " + c.name + ": " + err.Error() + ": " + remedy(err)
	if text == c.complaint && now.Sub(c.complained) < sameSaidAgain {
		return
	}
	c.complaint, c.complained = text, now
	k.say(text)
}

// remedy says what helps against a start that failed.
func remedy(err error) string {
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EACCES), errors.Is(err, unix.ENOEXEC), errors.Is(err, unix.ETXTBSY):
		return "tried again until it is there; install it beside nines-init, or give --supervisor PATH"
	case errors.Is(err, unix.EAGAIN):
		return "tried again; there are too many processes (ulimit -u, pids.max)"
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		return "tried again; there are too many open files (ulimit -n, fs.file-max)"
	}
	return "tried again"
}

// receive handles what the child has sent, at most limit messages.
func (k *keeper) receive(c *child, limit int) {
	l := c.link
	for range limit {
		n, fds, err := l.conn.TryReceive(k.recvBuf)
		switch {
		case err == nil:
			k.message(c, k.recvBuf[:n], fds)
		case errors.Is(err, notify.ErrWouldBlock):
			l.rewatch()
			return
		case errors.Is(err, notify.ErrTruncated):
			k.say("message from " + c.name + " refused: " + err.Error())
		default:
			// The end of the conversation, or a socket beyond use. A living
			// child without one can be neither told nor heard.
			l.eof = true
			k.killLater(c, hangupPatience, "it has closed its socket")
			return
		}
	}
	l.rewatch()
}

func (k *keeper) message(c *child, b []byte, fds []int) {
	defer k.survive("a message")
	k.work += messageWork + len(b)
	// The fields are parts of b, which the next message overwrites: what is
	// kept of them is cloned where it is kept.
	m, err := notify.ParseInPlace(k.fields[:0], b)
	if err != nil {
		notify.CloseAll(fds)
		k.say("message from " + c.name + " refused: " + err.Error())
		return
	}
	if cap(m) <= notify.MaxFields/8 {
		k.fields = m
	}
	c.handle(m, fds)
}

// becameReady notes the first READY=1 of a generation.
func (k *keeper) becameReady(c *child) bool {
	if c.ready() {
		return false
	}
	c.readyAt = k.sys.now()
	c.complaint = ""
	k.note(c.name + " is ready")
	return true
}

func (k *keeper) killLater(c *child, patience time.Duration, why string) {
	if at := k.sys.now().Add(patience); c.killAt.IsZero() || at.Before(c.killAt) {
		c.killAt, c.killWhy = at, why
	}
}

func (k *keeper) kill(c *child) {
	c.killAt = time.Time{}
	k.say(c.name + " (pid " + strconv.Itoa(c.pid) + ") is killed: " + c.killWhy)
	k.signal(c, unix.SIGKILL)
}

// dumpPatience is how long a child has to write down where its threads are.
const dumpPatience = 2 * time.Second

// pat: the child is alive.
func (k *keeper) pat(c *child) {
	if c.watchdog > 0 && (c.ready() || !c.barkAt.IsZero()) {
		c.barkAt = k.sys.now().Add(c.watchdog)
	}
}

// bark: the child has missed its time.
func (k *keeper) bark(c *child) {
	c.barkAt = time.Time{}
	k.say(c.name + " (pid " + strconv.Itoa(c.pid) + ") has not said WATCHDOG=1 for " + c.watchdog.String() + ": it is aborted")
	k.abort(c)
}

// abort ends a child that hangs. SIGABRT makes the Go runtime print where every
// goroutine is; SIGCONT, because a stopped process handles no signal; and if it
// can do neither, SIGKILL.
func (k *keeper) abort(c *child) {
	k.signal(c, unix.SIGABRT)
	k.signal(c, unix.SIGCONT)
	k.killLater(c, dumpPatience, "it did not end after SIGABRT")
}

// signal sends a signal to a child that was not reaped yet: its pid is its own.
func (k *keeper) signal(c *child, sig unix.Signal) {
	if err := k.sys.kill(c.pid, sig); err != nil {
		k.say("cannot send " + unix.SignalName(sig) + " to " + c.name + ": " + err.Error())
	}
}

// ended takes leave of a generation that was reaped: it reads what it had still
// sent and lets go of its socket. It returns how long it had been ready.
func (k *keeper) ended(c *child, status unix.WaitStatus) time.Duration {
	c.pid = 0
	// Until nothing is left. A copy of its end in other hands could go on
	// writing for ever, hence the bound.
	if !c.link.eof {
		k.receive(c, messagesAtEnd)
	}
	c.link.close()
	c.link, c.out = nil, nil
	var ready time.Duration
	if c.ready() {
		ready = k.sys.now().Sub(c.readyAt)
	}
	if ready >= backoffForget && c.programs.trial == nil {
		c.programs.lived()
	}
	c.readyAt, c.killAt, c.retryAt, c.barkAt = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	k.note(c.name + " " + howEnded(status))
	return ready
}

// replaced arranges the next start after an exit that was meant.
func (k *keeper) replaced(c *child) {
	c.replacing = false
	c.startAt = k.sys.now()
}

// again arranges the next start after a crash.
func (k *keeper) again(c *child, pid int, status unix.WaitStatus, ready time.Duration) {
	c.crashes++
	delay := c.backoff.next(ready)
	c.startAt = k.sys.now().Add(delay)
	when := "at once"
	if delay > 0 {
		when = "in " + delay.String()
	}
	k.say(c.name + " (pid " + strconv.Itoa(pid) + ") " + howEnded(status) + ": it is started again " + when)
}

func howEnded(status unix.WaitStatus) string {
	if status.Signaled() {
		s := "was killed by " + unix.SignalName(status.Signal())
		if status.CoreDump() {
			s += " (core dumped)"
		}
		return s
	}
	return "exited with " + strconv.Itoa(status.ExitStatus())
}
