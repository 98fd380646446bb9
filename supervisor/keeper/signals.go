package keeper

import (
	"os"
	"os/signal"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// startGrace is how long a supervisor that is not READY yet may take to become
// so and stop in order, when there is nothing to stop.
const startGrace = 10 * time.Second

// forwarded are the signals that the supervisor gets. Never SIGURG: Go's
// runtime sends it to itself.
func forwarded() []os.Signal {
	return []os.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2}
}

// catch subscribes to the signals that are forwarded, and to SIGCHLD. One that
// our parent has us ignore (nohup) stays ignored.
func catch(m *Machine) (signals, children chan os.Signal) {
	signals = make(chan os.Signal, 16)
	children = make(chan os.Signal, 1)
	for _, sig := range forwarded() {
		if (sig == unix.SIGHUP || sig == unix.SIGINT) && signal.Ignored(sig) {
			continue
		}
		signal.Notify(signals, sig)
	}
	catchPower(m, signals)
	signal.Notify(children, unix.SIGCHLD)
	return signals, children
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
