package keeper

import (
	"os"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"nines/supervisor/notify"
)

const (
	panicPause  = 100 * time.Millisecond // so that a fault that repeats does not spin
	workToSave  = 32 << 10               // bytes of garbage, by estimate, between two collections
	messageWork = 256                    // what one message makes, beside its text
)

// keeper is the state of the loop, which alone touches it.
type keeper struct {
	sys     system
	console *console
	machine *Machine // nil: no machine's init
	env     []string // for the children, without what belongs to one generation
	dir     string   // of our programs, as they were installed
	runtime string   // the runtime directory
	lockFD  int
	version string
	args    []string       // our own command line
	mask    *unix.Sigset_t // of the children's signals; nil: ours
	store   *store
	manager *manager
	sup     child
	log     child

	asked      unix.Signal   // to stop, and the supervisor has not said that it does
	askedAt    time.Time     // when that was first so
	stopAt     time.Time     // a shutdown is stored, which ends by then; zero: none
	stopCode   int           // and then this is ours
	stopValue  string        // as it is stored
	enforced   time.Time     // we have ended it ourselves; zero: not
	remembered []unix.Signal // for the next READY supervisor, in order
	everReady  bool          // the supervisor, once
	grace      bool          // the supervisor is killed if it is not ready in time
	endSaid    bool          // X_NINES_END: its exit is the end
	code       int           // and then this is ours
	finishing  bool          // the supervisor is gone, the log process drains
	trial      *trial        // of an upgrade; nil: none is under way
	reexec     *reexec       // of our own; nil: none is under way
	finishAt   time.Time     // when hurry is next called
	hurried    int
	over       bool
	moreToReap bool
	reaping    reaping
	syncDue    bool // sync is to be sent back
	strangers  int  // exits kept of processes that nobody has told of

	power    power
	hardware hardware
	queue    *queued // nil: signals come to the channel
	signals  <-chan os.Signal
	children <-chan os.Signal
	wake     chan struct{}
	panicked bool
	lean     bool // what only the beginning needed is let go of
	work     int  // garbage since the last collection, in bytes, by estimate
	recvBuf  []byte
	sendBuf  []byte
	sendFDs  []int
	fields   notify.Message // of the message at hand
	request  request        // of the message at hand
}

func newKeeper(o Options, sys system, con *console, maxFDs int) *keeper {
	k := &keeper{
		sys:      sys,
		console:  con,
		env:      baseEnv(o.Env, o.RuntimeDir, o.Dir, os.Getpid()),
		dir:      o.Dir,
		runtime:  o.RuntimeDir,
		lockFD:   o.lockFD,
		version:  o.Version,
		args:     o.Args,
		mask:     o.Mask,
		store:    newStore(maxFDs),
		manager:  newManager(getenv(o.Env, "NOTIFY_SOCKET"), con.say, sys.now),
		wake:     make(chan struct{}, 1),
		recvBuf:  make([]byte, notify.MaxMessage),
		sendBuf:  make([]byte, 0, notify.MaxMessage),
		sendFDs:  make([]int, 0, notify.MaxFDs),
		machine:  o.Machine,
		hardware: hardware{dog: o.Hardware, device: o.Device},
	}
	if o.Machine != nil {
		k.env = append(k.env, "NINES_MACHINE=1")
	}
	k.sup = child{
		watchdog:  o.Watchdog,
		name:      "nines supervise",
		argv:      o.Supervisor,
		handle:    k.fromSupervisor,
		newOutbox: func() outbox { return newHandBack(k.store) },
	}
	k.log = child{
		name:      "nines-log",
		argv:      o.Log,
		handle:    k.fromLog,
		newOutbox: func() outbox { return &pipes{pending: k.store.listed(true)} },
	}
	return k
}

func (k *keeper) say(line string)  { k.console.say(line) }
func (k *keeper) note(line string) { k.console.note(line) }

// begin starts the children.
func (k *keeper) begin() {
	k.guard("reaping", k.reap) // what was there before us
	k.guard("the hardware watchdog", k.noteHardware)
	k.guard("a start", func() { k.start(&k.log) })
	k.guard("a start", func() { k.start(&k.sup) })
}

// run keeps the children until all is over.
func (k *keeper) run() int {
	timer := time.NewTimer(time.Hour)
	for {
		k.guard("a deadline", k.deadlines)
		if k.over {
			timer.Stop()
			return k.code
		}
		k.rest()
		if next := k.nextDeadline(); next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(max(0, next.Sub(k.sys.now())))
		}
		select {
		case <-k.children:
			k.guard("reaping", k.childEnded)
		case sig := <-k.signals:
			if s, ok := sig.(unix.Signal); ok {
				k.guard("a signal", func() { k.signalled(s) })
			}
		case <-k.wake:
			if k.queue != nil && k.queue.readable.Load() {
				k.takeQueued()
			}
			k.guard("a socket", func() { k.attend(&k.sup) })
			k.guard("a socket", func() { k.attend(&k.log) })
		case <-timer.C:
		}
	}
}

// rest is called when there is nothing to do. Go's heap would grow to 4 MiB of
// garbage before it is collected by itself, which is more than PID 1 may hold.
func (k *keeper) rest() {
	if k.panicked {
		k.panicked = false
		time.Sleep(panicPause)
	}
	// A collection looks at all that is kept, so with more kept there are fewer.
	if k.work >= workToSave+k.store.valueBytes {
		k.work = 0
		runtime.GC()
	}
	if !k.lean && k.sup.ready() {
		k.lean = true
		k.guard("letting go of the beginning", func() {
			if err := k.sys.dropText(); err != nil {
				k.note("cannot let go of what only the beginning needed: " + err.Error())
			}
		})
	}
}

// attend reads from and writes to a child whose socket has become ready.
func (k *keeper) attend(c *child) {
	l := c.link
	if l == nil {
		return
	}
	if l.readable.Swap(false) {
		k.receive(c, messagesATurn)
	}
	if l.writable.Swap(false) {
		l.waiting = false
		k.flush(c)
	}
}

// deadlines carries out what is due.
func (k *keeper) deadlines() {
	now := k.sys.now()
	if k.moreToReap || k.syncDue || due(k.reaping.at, now) {
		k.guard("reaping", k.reap)
	}
	if k.syncDue && !k.moreToReap {
		k.syncDue = false
		k.guard("a sync", func() { k.tell(keySync) })
	}
	if due(k.manager.retryAt, now) {
		k.guard("the manager", k.manager.send)
	}
	for _, c := range []*child{&k.log, &k.sup} {
		if due(c.retryAt, now) {
			k.guard("a message", func() { k.flush(c) })
		}
		if due(c.killAt, now) && c.pid != 0 {
			k.guard("a kill", func() { k.kill(c) })
		}
		if due(c.barkAt, now) && c.pid != 0 {
			k.guard("the watchdog", func() { k.bark(c) })
		}
		if due(c.startAt, now) && c.pid == 0 {
			k.guard("a start", func() { k.start(c) })
		}
	}
	if due(k.hardware.petAt, now) {
		k.guard("the hardware watchdog", k.pet)
	}
	k.guard("a rescue", k.rescue)
	if due(k.enforceAt(), now) {
		k.guard("the end of the shutdown", k.enforce)
	}
	if k.finishing && !k.over && due(k.finishAt, now) {
		k.guard("the end", k.hurry)
	}
	if k.trial != nil && due(k.trial.until, now) {
		k.guard("an upgrade", k.judge)
	}
	if k.reexec != nil && due(k.reexec.until, now) {
		k.guard("an upgrade", k.reexecDue)
	}
	k.mend(now)
}

// mend puts right what a panic left undone: a child that is down and has no
// start due would stay down for ever, and an upgrade that nobody decides would
// be the last one.
func (k *keeper) mend(now time.Time) {
	if k.finishing || k.over {
		return
	}
	if k.endSaid && k.sup.pid == 0 {
		k.finish(k.code)
		return
	}
	for _, c := range []*child{&k.log, &k.sup} {
		if c.pid == 0 && c.startAt.IsZero() {
			c.startAt = now.Add(c.backoff.next(0))
		}
		if k.trial == nil {
			c.programs.abandon()
		}
	}
	if k.trial == nil && k.reexec == nil && k.undecided() {
		k.settle(stateReverted, "internal error")
	}
}

func due(at, now time.Time) bool { return !at.IsZero() && !at.After(now) }

// nextDeadline is when deadlines must be called again; zero: not before
// something happens.
func (k *keeper) nextDeadline() time.Time {
	if k.moreToReap || k.syncDue {
		return k.sys.now()
	}
	var next time.Time
	for _, at := range [...]time.Time{k.reaping.at, k.manager.retryAt, k.finishAt, k.enforceAt(), k.upgradeAt(), k.hardware.petAt,
		k.log.retryAt, k.log.killAt, k.log.startAt, k.sup.retryAt, k.sup.killAt, k.sup.startAt, k.sup.barkAt} {
		if !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next
}

// guard carries out f. A panic is ours to survive: all that was kept is still
// there, and PID 1 ending is the machine ending.
func (k *keeper) guard(what string, f func()) {
	defer k.survive(what)
	f()
}

// survive is to be deferred.
func (k *keeper) survive(what string) {
	if r := recover(); r != nil {
		k.panicked = true
		k.say("internal error in " + what + ": " + panicText(r) + whence() + ": it goes on; please report it")
	}
}

func panicText(r any) string {
	switch v := r.(type) {
	case error:
		return v.Error()
	case string:
		return v
	}
	return "panic"
}

// whence names the functions that a panic went through.
func whence() string {
	var pcs [16]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(4, pcs[:])])
	s := ""
	for range 4 {
		f, more := frames.Next()
		if f.Function != "" {
			s += " at " + f.Function + ":" + strconv.Itoa(f.Line)
		}
		if !more {
			break
		}
	}
	return s
}
