package keeper

import (
	"os/signal"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Machine is what a keeper that is the init of a machine is told, and what it
// tells when it has ended.
type Machine struct {
	// Power says which end of the machine a signal asks for, and whether at once,
	// without stopping the services in order; "": none.
	Power func(sig unix.Signal) (action string, now bool)

	// Told by Run:
	Action string // the end that was asked for; "": none in particular
	Begun  bool   // false: no supervisor was ever ready, and nobody asked for an end
}

const (
	// hopeless is after how many failed starts of the supervisor, before the first
	// that was ready, a machine gets a shell: nobody else can help it.
	hopeless = 5
	// Ctrl-Alt-Del so often in burstTime is a person who will wait no longer, as
	// systemd's CtrlAltDelBurstAction has it.
	burst     = 8
	burstTime = 2 * time.Second
)

// power is how the machine is to end.
type power struct {
	action  string      // "": nobody has said
	now     bool        // without waiting for the services
	presses []time.Time // of Ctrl-Alt-Del, the latest
}

// catchPower subscribes to the signals that only a machine's init has a use for;
// the queue has them anyway.
func (c *caught) catchPower(m *Machine) {
	if m == nil || c.queue != nil {
		return
	}
	for sig := unix.Signal(1); sig <= 64; sig++ {
		if action, _ := m.Power(sig); action != "" {
			signal.Notify(c.signals, sig)
		}
	}
}

// powered takes a signal that asks for an end of the machine, and returns the one
// that the supervisor is to have; 0: none.
func (k *keeper) powered(sig unix.Signal) unix.Signal {
	if k.machine == nil {
		return sig
	}
	action, now := k.machine.Power(sig)
	if action == "" {
		return sig
	}
	if sig == unix.SIGINT && k.impatient() {
		k.say("Ctrl-Alt-Del again and again: at once")
		now = true
	}
	// The first one decides, as with a shutdown's deadline.
	if k.power.action == "" {
		k.power.action = action
	}
	if now {
		k.power.action, k.power.now, k.over = action, true, true
		return 0
	}
	return unix.SIGTERM
}

func (k *keeper) impatient() bool {
	now := k.sys.now()
	p := append(k.power.presses, now)
	if len(p) > burst {
		p = p[1:]
	}
	k.power.presses = p
	return len(p) == burst && now.Sub(p[0]) <= burstTime
}

// notePower takes down which end the shutdown that is stored asks for.
func (k *keeper) notePower(action string) {
	if k.power.action == "" {
		k.power.action = strings.Clone(action)
	}
}

// rescue gives up a supervisor that does not begin, so that whoever runs the
// machine can give a person a shell.
func (k *keeper) rescue() {
	if k.machine == nil || k.everReady || k.finishing || k.over || k.sup.pid != 0 || k.sup.backoff.failures < hopeless {
		return
	}
	k.say(k.sup.name + " does not begin: it is given up for now")
	k.finish(1)
}

// ending tells the machine what has become of it, and lets go of the watchdog.
func (k *keeper) ending() {
	m := k.machine
	if m != nil {
		m.Action = k.power.action
		m.Begun = k.begun()
	}
	// A machine's is needed until its very end. One that only the supervisor
	// asked for is nobody's when another begins.
	if k.hardware.dog != nil && (m == nil || !m.Begun && k.hardware.device == "") {
		if err := k.hardware.dog.Close(true); err != nil {
			k.say(err.Error())
		}
	}
}

func (k *keeper) begun() bool {
	return k.everReady || k.power.action != "" || k.asked != 0 || !k.stopAt.IsZero() || !k.enforced.IsZero()
}

// close lets go of what a process that begins anew would otherwise hold twice.
func (k *keeper) close() {
	for _, c := range []*child{&k.log, &k.sup} {
		if c.link != nil {
			c.link.close()
			c.link = nil
		}
		c.programs.abandon()
		c.programs.good.close()
		c.programs.now.close()
	}
	for _, log := range []bool{false, true} {
		for _, e := range k.store.listed(log) {
			k.store.drop(e)
		}
	}
}

// signalName also names the real-time signals, from SIGRTMIN of the C libraries.
func signalName(sig unix.Signal) string {
	if name := unix.SignalName(sig); name != "" || sig < 34 {
		return name
	}
	return "SIGRTMIN+" + strconv.Itoa(int(sig)-34)
}

// Lines returns what writes lines to fd as the keeper does: from a goroutine of
// its own, which a console that stands still holds up alone.
func Lines(fd int) (say func(string)) { return newConsole(fd, false).say }
