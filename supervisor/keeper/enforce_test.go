package keeper

import (
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nines/supervisor/notify"
)

// A supervisor that has stored a shutdown and does not come to its end: the
// keeper kills what is left and ends with the status that was stored.
func TestShutdownIsEnforced(t *testing.T) {
	r := newRig(t)
	r.up()
	r.tell("sup", nil, notify.Ready(), notify.Value("cgroups", "/sys/fs/cgroup/nines"),
		notify.Value("main:500", "1"), notify.Value("main:501", "1"), notify.Value("exit:501", "1 0"))
	r.tell("sup", nil, notify.Stopping(), notify.Value("shutdown", "7 60000000000"))
	r.pass(79 * time.Second)
	if r.over || len(r.fake.cgroups) > 0 {
		t.Fatal("it was ended before its time")
	}
	r.pass(2 * time.Second)
	if !slices.Equal(r.fake.cgroups, []string{"/sys/fs/cgroup/nines"}) {
		t.Errorf("cgroups killed: %v", r.fake.cgroups)
	}
	pid := r.latest("sup").pid
	r.wantSignals(sent{pid, unix.SIGKILL}, sent{-500, unix.SIGKILL}, sent{500, unix.SIGKILL})
	r.dies("sup", killedBy(unix.SIGKILL))
	r.dies("log", exitedWith(0))
	if !r.over || r.code != 7 {
		t.Errorf("over %v with %d, want 7", r.over, r.code)
	}
}

// A shutdown that the next supervisor goes on with keeps its first deadline.
func TestShutdownDeadlineStays(t *testing.T) {
	r := newRig(t)
	r.up()
	r.tell("sup", nil, notify.Ready(), notify.Value("shutdown", "0 60000000000"))
	r.pass(30 * time.Second)
	r.dies("sup", killedBy(unix.SIGSEGV))
	r.pass(time.Second)
	r.tell("sup", nil, notify.Ready(), notify.Value("shutdown", "0 990000000000"))
	r.pass(60 * time.Second)
	r.wantSaid("the supervisor has not shut down in time: everything is killed")
}

// Asked to stop, a supervisor that is up and never says that it does cannot
// keep the machine from ending.
func TestStopIsEnforced(t *testing.T) {
	r := newRig(t)
	r.up()
	r.tell("sup", nil, notify.Ready())
	r.signalled(unix.SIGTERM)
	r.fake.signals = nil
	r.pass(119 * time.Second)
	r.signalled(unix.SIGTERM) // again: the time counts from the first
	r.fake.signals = nil
	r.pass(2 * time.Second)
	r.wantSignals(sent{r.latest("sup").pid, unix.SIGKILL})
	r.dies("sup", killedBy(unix.SIGKILL))
	r.dies("log", exitedWith(0))
	if !r.over || r.code != 1 {
		t.Errorf("over %v with %d, want 1", r.over, r.code)
	}
}

// A supervisor that ends after the kill without a word, or not at all.
func TestEnforcedAndStuck(t *testing.T) {
	r := newRig(t)
	r.up()
	r.tell("sup", nil, notify.Ready(), notify.Value("shutdown", "3 0"))
	r.pass(21 * time.Second)
	r.pass(6 * time.Second) // it hangs in the kernel
	r.wantSaid("what still lives is left behind")
	r.dies("log", exitedWith(0))
	if !r.over || r.code != 3 {
		t.Errorf("over %v with %d, want 3", r.over, r.code)
	}
}

func TestShutdownThatCannotBeRead(t *testing.T) {
	r := newRig(t)
	r.up()
	r.tell("sup", nil, notify.Ready(), notify.Value("shutdown", "soon"))
	r.wantSaid("cannot read the shutdown that the supervisor stored: soon")
	if !r.stopAt.IsZero() {
		t.Error("it was taken for one")
	}
}
