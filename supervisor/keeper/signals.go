package keeper

import (
	"os"
	"os/signal"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"nines/supervisor/signals"
)

// startGrace is how long a supervisor that is not READY yet may take to become
// so and stop in order, when there is nothing to stop.
const startGrace = 10 * time.Second

// forwarded are the signals that the supervisor gets. Never SIGURG: Go's
// runtime sends it to itself.
func forwarded() []os.Signal {
	return []os.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2}
}

// caught is where the process's signals arrive.
type caught struct {
	queue    *signals.Queue // nil: in signals
	signals  chan os.Signal
	children chan os.Signal // SIGCHLD
}

// catch subscribes to the signals that are forwarded, and to SIGCHLD; held says that
// they are blocked, as package signals wants them. One that our parent has us ignore
// (nohup) stays ignored.
func catch(held bool) *caught {
	c := &caught{signals: make(chan os.Signal, 16), children: make(chan os.Signal, 1)}
	signal.Notify(c.children, unix.SIGCHLD)
	if held {
		var err error
		if c.queue, err = signals.Open(); err == nil {
			return c
		}
		// No descriptor left, or a filter that forbids it: handlers do.
	}
	for _, sig := range forwarded() {
		if (sig == unix.SIGHUP || sig == unix.SIGINT) && signal.Ignored(sig) {
			continue
		}
		signal.Notify(c.signals, sig)
	}
	return c
}

// stop ends it, when nobody uses the queue any more.
func (c *caught) stop() {
	signal.Stop(c.children)
	signal.Stop(c.signals)
	if c.queue != nil {
		c.queue.Close()
	}
}

// signalsATurn is before the children's messages have their turn.
const signalsATurn = 64

// queued is a queue that the loop is woken for.
type queued struct {
	*signals.Queue
	readable atomic.Bool
	rearm    chan struct{}
}

// watchSignals has the loop woken for what comes to the queue, from now on until
// the queue is closed and stopSignals is called.
func (k *keeper) watchSignals(c *caught) {
	k.signals, k.children = c.signals, c.children
	if c.queue != nil {
		k.queue = &queued{Queue: c.queue, rearm: make(chan struct{}, 1)}
		go watch(c.queue.Wait, k.wake, &k.queue.readable, k.queue.rearm)
	}
}

func (k *keeper) stopSignals() {
	if k.queue != nil {
		close(k.queue.rearm)
	}
}

// takeQueued handles the signals that are in the queue.
func (k *keeper) takeQueued() {
	q := k.queue
	if q == nil {
		return
	}
	q.readable.Store(false)
	for range signalsATurn {
		sig, ok := q.Take()
		if !ok {
			select {
			case q.rearm <- struct{}{}:
			default:
			}
			return
		}
		if k.wants(sig) {
			k.guard("a signal", func() { k.signalled(sig) })
		}
	}
	q.readable.Store(true)
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// wants says whether a signal that was taken is for anybody.
func (k *keeper) wants(sig unix.Signal) bool {
	if k.machine != nil {
		if action, _ := k.machine.Power(sig); action != "" {
			return true
		}
	}
	return slices.Contains(forwarded(), os.Signal(sig))
}

func asksToStop(sig unix.Signal) bool { return sig == unix.SIGTERM || sig == unix.SIGINT }

// signalled passes a signal on, now or when the supervisor is READY: before
// that it may have no handler, and the signal would kill it and be forgotten.
func (k *keeper) signalled(sig unix.Signal) {
	k.note("received " + signalName(sig))
	if sig = k.powered(sig); sig == 0 {
		return
	}
	if k.finishing || k.endSaid {
		return // nobody is left who could do something about it
	}
	if asksToStop(sig) {
		// Remembered until the supervisor says STOPPING=1 or X_NINES_END: if
		// it dies before that, the next one is to hear of it.
		if k.asked == 0 {
			k.askedAt = k.sys.now()
		}
		k.asked = sig
	}
	if k.sup.pid != 0 && k.sup.ready() {
		k.signal(&k.sup, sig)
		return
	}
	if !slices.Contains(k.remembered, sig) {
		k.remembered = append(k.remembered, sig)
	}
	if k.asked == 0 || !k.nothingKept() {
		return
	}
	if k.sup.pid == 0 {
		k.finish(0)
		return
	}
	k.grace = true
	k.killLater(&k.sup, startGrace, "asked to stop, it did not become ready in "+startGrace.String())
}

// deliver sends what was remembered to a supervisor that has become READY.
func (k *keeper) deliver() {
	if k.grace {
		k.grace = false
		k.sup.killAt = time.Time{}
	}
	if k.asked != 0 && !slices.Contains(k.remembered, k.asked) {
		k.remembered = append(k.remembered, k.asked)
	}
	for _, sig := range k.remembered {
		k.note("sending the remembered " + unix.SignalName(sig) + " on")
		k.signal(&k.sup, sig)
	}
	k.remembered = k.remembered[:0]
}
