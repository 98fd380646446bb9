package keeper

import (
	"errors"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nines/supervisor/notify"
)

// asked is what a machine's signals mean in these tests.
func asked(sig unix.Signal) (string, bool) {
	switch sig {
	case unix.SIGINT, unix.SIGTERM:
		return "reboot", false
	case unix.SIGUSR2:
		return "poweroff", false
	case 48:
		return "poweroff", true
	}
	return "", false
}

func machineRig(t *testing.T) *rig {
	r := newRig(t)
	r.machine = &Machine{Power: asked}
	return r
}

// A signal that asks for an end of the machine is a stop to the supervisor; the
// first one says which end.
func TestMachinePowerSignals(t *testing.T) {
	r := machineRig(t)
	r.up()
	r.tell("sup", nil, notify.Ready())
	r.signalled(unix.SIGUSR2)
	r.signalled(unix.SIGINT)
	r.signalled(unix.SIGHUP)
	pid := r.latest("sup").pid
	r.wantSignals(sent{pid, unix.SIGTERM}, sent{pid, unix.SIGTERM}, sent{pid, unix.SIGHUP})
	r.tell("sup", nil, notify.End(0), notify.Value("shutdown", "0 1 halt"))
	r.dies("sup", exitedWith(0))
	r.dies("log", exitedWith(0))
	r.ending()
	if !r.over || r.machine.Action != "poweroff" || !r.machine.Begun {
		t.Errorf("over %v, %+v", r.over, *r.machine)
	}
}

// What `nines shutdown` asked for comes with the shutdown that is stored, also
// when a second request says it, and outlives the supervisor that stored it.
func TestMachineStoredAction(t *testing.T) {
	r := machineRig(t)
	r.up()
	r.tell("sup", nil, notify.Ready(), notify.Value("shutdown", "0 60000000000"))
	r.tell("sup", nil, notify.Value("shutdown", "0 90000000000 halt"))
	if r.power.action != "halt" || r.stopAt.Sub(r.fake.clock) != time.Minute {
		t.Errorf("%q by %v", r.power.action, r.stopAt.Sub(r.fake.clock))
	}
	r.dies("sup", killedBy(unix.SIGKILL))
	r.pass(time.Second)
	r.tell("sup", nil, notify.Ready(), notify.End(0))
	r.dies("sup", exitedWith(0))
	r.dies("log", exitedWith(0))
	r.ending()
	if r.machine.Action != "halt" {
		t.Errorf("%+v", *r.machine)
	}
}

func TestMachineAtOnce(t *testing.T) {
	r := machineRig(t)
	r.up()
	r.tell("sup", nil, notify.Ready())
	r.signalled(48)
	r.ending()
	if !r.over || r.machine.Action != "poweroff" || !r.machine.Begun {
		t.Errorf("over %v, %+v", r.over, *r.machine)
	}
	r.wantSignals()

	// Eight times Ctrl-Alt-Del in two seconds; slower ones are patience.
	r = machineRig(t)
	r.up()
	r.tell("sup", nil, notify.Ready())
	for range 10 {
		r.signalled(unix.SIGINT)
		r.fake.clock = r.fake.clock.Add(time.Second)
	}
	if r.over {
		t.Error("it ends at once")
	}
	for range burst {
		r.signalled(unix.SIGINT)
	}
	if !r.over {
		t.Error("it does not end at once")
	}
}

// A supervisor that cannot begin is given up before the first that was ready,
// and never after.
func TestMachineRescue(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(r *rig)
	}{
		{"the spec is wrong", func(r *rig) { r.tell("sup", nil, notify.End(1)); r.dies("sup", exitedWith(1)) }},
		{"it crashes", func(r *rig) {
			for range hopeless {
				r.dies("sup", killedBy(unix.SIGSEGV))
				r.pass(3 * time.Second)
			}
		}},
		{"there is none", func(r *rig) {
			r.fake.fail = unix.ENOENT
			r.dies("sup", exitedWith(1))
			r.pass(10 * time.Second)
		}},
	} {
		r := machineRig(t)
		r.up()
		c.end(r)
		if !r.finishing {
			t.Errorf("%s: it goes on for ever", c.name)
			continue
		}
		r.dies("log", exitedWith(0))
		r.ending()
		if !r.over || r.machine.Begun {
			t.Errorf("%s: over %v, %+v", c.name, r.over, *r.machine)
		}
		r.close()
		if r.sup.link != nil || r.log.link != nil || len(r.store.fds) != 0 {
			t.Errorf("%s: something is left open", c.name)
		}
	}
	r := machineRig(t)
	r.up()
	r.tell("sup", nil, notify.Ready())
	for range 3 * hopeless {
		r.dies("sup", killedBy(unix.SIGSEGV))
		r.pass(3 * time.Second)
	}
	if r.finishing {
		t.Error("services run, and their supervisor is given up")
	}
}

func TestSignalName(t *testing.T) {
	if a, b := signalName(unix.SIGTERM), signalName(48); a != "SIGTERM" || b != "SIGRTMIN+14" {
		t.Errorf("%s, %s", a, b)
	}
}

// fakeDog is a hardware watchdog.
type fakeDog struct {
	acts []string
	fail error
	open bool
	fd   int
}

func (d *fakeDog) Open(path string) error {
	d.acts = append(d.acts, "open "+path)
	d.open = d.open || d.fail == nil
	return d.fail
}

func (d *fakeDog) Interval() time.Duration {
	if !d.open {
		return 0
	}
	return 10 * time.Second
}

func (d *fakeDog) Pet() error {
	d.acts = append(d.acts, "pet")
	return d.fail
}

func (d *fakeDog) Descriptor() int { return d.fd }

func (d *fakeDog) Take(path string, fd int) error {
	d.acts = append(d.acts, "take "+path)
	d.open, d.fd = d.fail == nil, fd
	return d.fail
}

func (d *fakeDog) Close(disarm bool) error {
	d.open = false
	if disarm {
		d.acts = append(d.acts, "disarm")
	}
	return nil
}

func (d *fakeDog) pets() (n int) {
	for _, a := range d.acts {
		if a == "pet" {
			n++
		}
	}
	d.acts = nil
	return n
}

func TestHardwareWatchdog(t *testing.T) {
	r := newRig(t)
	dog := &fakeDog{fail: errors.New("cannot open it")}
	r.hardware.dog = dog
	r.sup.watchdog = 30 * time.Second
	r.up()
	r.tell("sup", nil, notify.Ready(), notify.Value("watchdog", "/dev/watchdog"))
	r.pass(9 * time.Second)
	if want := []string{"open /dev/watchdog", "open /dev/watchdog"}; !slices.Equal(dog.acts, want) {
		t.Errorf("while it cannot be opened: %q", dog.acts)
	}
	r.wantSaid("cannot open it")
	dog.fail, dog.acts = nil, nil
	r.pass(2 * time.Second)
	if !slices.Equal(dog.acts, []string{"open /dev/watchdog"}) {
		t.Errorf("when it can be: %q", dog.acts)
	}
	dog.acts = nil
	// While the supervisor speaks up it is petted.
	for range 10 {
		r.pass(10 * time.Second)
		r.tell("sup", nil, notify.Watchdog())
	}
	if n := dog.pets(); n < 9 {
		t.Errorf("petted %d times in 100 s", n)
	}
	// One that hangs is aborted, and the next one vouches.
	r.pass(33 * time.Second)
	r.dies("sup", killedBy(unix.SIGKILL))
	r.pass(time.Second)
	r.tell("sup", nil, notify.Ready(), notify.Value("watchdog", "/dev/watchdog"))
	if n := dog.pets(); n < 3 {
		t.Errorf("petted %d times while it was mended", n)
	}
	// Deleted from the spec, it is disarmed.
	r.tell("sup", nil, notify.Value("watchdog", ""))
	r.pass(time.Minute)
	if !slices.Equal(dog.acts, []string{"disarm"}) {
		t.Errorf("after it was deleted: %q", dog.acts)
	}
}

// What the program before could not open is tried again; one that cannot be petted
// is complained of.
func TestHardwareWatchdogTaken(t *testing.T) {
	r := newRig(t)
	dog := &fakeDog{}
	r.hardware.dog = dog
	r.resumeHardware("/dev/watchdog", -1, r.fake.clock)
	r.deadlines()
	if !slices.Equal(dog.acts, []string{"open /dev/watchdog"}) || !r.hardware.open {
		t.Errorf("%q", dog.acts)
	}
	r = newRig(t)
	dog = &fakeDog{fail: errors.New("cannot pet it")}
	r.hardware.dog = dog
	r.resumeHardware("/dev/watchdog", 99, r.fake.clock)
	r.wantSaid("cannot pet it")
	dog.fail, dog.acts = nil, nil
	r.pass(hardwareRetry)
	if len(dog.acts) == 0 {
		t.Error("it is not tried again")
	}
	// None was petted, or there is nobody who could.
	r = newRig(t)
	r.resumeHardware("", -1, r.fake.clock)
	r.resumeHardware("/dev/watchdog", -1, r.fake.clock)
	fd := memfd(t, "")
	r.resumeHardware("/dev/watchdog", fd, r.fake.clock)
	if err := unix.Close(fd); err != unix.EBADF {
		t.Errorf("the device is left open: %v", err)
	}
}

// A supervisor that nobody can mend is vouched for by nobody.
func TestHardwareWatchdogStarves(t *testing.T) {
	r := newRig(t)
	dog := &fakeDog{}
	r.hardware = hardware{dog: dog, device: "/dev/watchdog"}
	r.noteHardware()
	r.up()
	r.tell("sup", nil, notify.Ready())
	if got := r.tellPulse(&r.sup); got != defaultWatchdog || r.tellPulse(&r.log) != 0 {
		t.Errorf("the supervisor is to show that it lives every %v", got)
	}
	r.pass(r.vouchedFor())
	dog.pets()
	r.pass(5 * time.Minute)
	if n := dog.pets(); n > 1 {
		t.Errorf("petted %d times", n)
	}
	r.wantSaid("the hardware watchdog is not petted any more")
	// It has come to itself.
	r.tell("sup", nil, notify.Watchdog())
	r.pass(30 * time.Second)
	if n := dog.pets(); n < 2 {
		t.Errorf("petted %d times", n)
	}
	// The end of a keeper that is no machine's init disarms it.
	r.ending()
	if !slices.Equal(dog.acts, []string{"disarm"}) || dog.open {
		t.Errorf("at the end: %q", dog.acts)
	}
}
