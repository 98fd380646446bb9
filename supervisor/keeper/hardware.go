package keeper

import (
	"strings"
	"time"

	"nines/supervisor/notify"
)

// keyWatchdog is the value by which a supervisor names the hardware watchdog that
// is to be petted; deleted, it is disarmed.
const keyWatchdog = "watchdog"

// Hardware is the machine's watchdog.
type Hardware interface {
	Open(path string) error // arms it; the one that was open is disarmed
	Interval() time.Duration
	Pet() error
	Close(disarm bool) error
	// Descriptor is that of the open device; -1: none is. Take goes on with one
	// that is open already, and pets it.
	Descriptor() int
	Take(path string, fd int) error
}

// hardwareRetry is how often one that cannot be opened is tried again: its module
// may be loaded by a service.
const hardwareRetry = 5 * time.Second

// hardware pets the watchdog while the supervisor's loop turns. The device is the
// last that helps: it is petted on while the keeper still mends the supervisor
// itself (aborts it, starts the next), and no longer.
type hardware struct {
	dog       Hardware // nil: there is none
	device    string   // wanted where the supervisor says nothing
	path      string   // that is wanted; "": none
	open      bool
	petAt     time.Time // zero: never
	vouched   time.Time // the supervisor's last sign of life, or ours that it has time
	starving  bool      // it is not petted any more, and that was said
	complaint string
}

// vouchedFor is how long after a sign of life the machine counts as well. A
// supervisor that hangs is aborted after its watchdog's time; the next one may
// begin two seconds later, and must read the spec.
func (k *keeper) vouchedFor() time.Duration { return 2*k.pulse() + 10*time.Second }

// pulse is how often the supervisor must show that it lives. With a device it
// does so where the keeper itself does not insist on it.
func (k *keeper) pulse() time.Duration {
	if k.sup.watchdog > 0 {
		return k.sup.watchdog
	}
	return defaultWatchdog
}

// tellPulse is what the supervisor is told of it.
func (k *keeper) tellPulse(c *child) time.Duration {
	if c == &k.sup && k.hardware.dog != nil && c.watchdog == 0 {
		return defaultWatchdog
	}
	return c.watchdog
}

// vouch: the supervisor has shown that it lives.
func (k *keeper) vouch() { k.hardware.vouched = k.sys.now() }

// noteHardware looks which device the supervisor wants petted.
func (k *keeper) noteHardware() {
	h := &k.hardware
	want := h.device
	if v := k.store.values[keyWatchdog]; v != nil {
		want = v.value
	}
	if h.dog == nil || want == h.path {
		return
	}
	h.path = strings.Clone(want)
	if want == "" {
		h.petAt, h.open = time.Time{}, false
		if err := h.dog.Close(true); err != nil {
			k.say(err.Error())
		}
		return
	}
	h.open = false
	k.vouch()
	k.pet()
}

// resumeHardware goes on with the device that the program before this one petted; fd -1: it
// could not be opened yet.
func (k *keeper) resumeHardware(path string, fd int, vouched time.Time) {
	h := &k.hardware
	if path == "" {
		return
	}
	if h.dog == nil {
		if fd >= 0 {
			notify.CloseAll([]int{fd}) // and it bites: nobody would pet it
		}
		return
	}
	h.path, h.vouched, h.petAt = path, vouched, k.sys.now()
	if fd < 0 {
		return
	}
	err := h.dog.Take(path, fd)
	if err != nil {
		h.complaint = err.Error()
		k.say(h.complaint)
	}
	if h.open = h.dog.Interval() > 0; h.open {
		h.petAt = k.sys.now().Add(h.dog.Interval())
	}
}

// pet opens the device that is wanted, or pets the one that is open.
func (k *keeper) pet() {
	h := &k.hardware
	now := k.sys.now()
	h.petAt = now.Add(hardwareRetry) // whatever goes wrong below
	if !h.open {
		err := h.dog.Open(h.path)
		h.open = h.dog.Interval() > 0
		text := ""
		if err != nil {
			text = err.Error()
		}
		if text != h.complaint && text != "" {
			k.say(text)
		}
		if h.open && err == nil {
			k.note("hardware watchdog " + h.path + " is petted every " + h.dog.Interval().String())
		}
		if h.complaint = text; h.open {
			h.petAt = now.Add(h.dog.Interval())
		}
		return
	}
	h.petAt = now.Add(h.dog.Interval())
	// At the end the supervisor is gone; what is left is bounded.
	if !k.finishing && now.Sub(h.vouched) > k.vouchedFor() {
		if !h.starving {
			h.starving = true
			k.say("the hardware watchdog is not petted any more: " + k.sup.name + " has given no sign of life for " + k.vouchedFor().String())
		}
		return
	}
	h.starving = false
	if err := h.dog.Pet(); err != nil && err.Error() != h.complaint {
		h.complaint = err.Error()
		k.say(h.complaint)
	}
}
