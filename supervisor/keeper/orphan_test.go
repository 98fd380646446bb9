package keeper

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nines/supervisor/notify"
)

// orphan has the keeper reap a process that is neither of its two.
func (r *rig) orphan(pid int, status unix.Signal) {
	r.t.Helper()
	r.fake.exits = append(r.fake.exits, sent{pid, status})
	r.reap()
}

// The exit of a main process is told to the supervisor that is there, and kept
// for the next until one deletes it.
func TestMainProcessExit(t *testing.T) {
	r := newRig(t)
	r.up()
	r.hear("sup") // the end of an empty store
	r.tell("sup", nil, notify.Value("main:500", "12345"), notify.Ready())
	r.orphan(501, exitedWith(1)) // nobody's
	r.hearsNothing("sup")
	r.orphan(500, killedBy(unix.SIGSEGV))
	if got, _ := r.hear("sup"); got != "X_NINES_VALUE=exit:500 12345 11" {
		t.Errorf("the supervisor hears %q", got)
	}
	r.dies("sup", killedBy(unix.SIGKILL))
	r.fake.clock = r.fake.clock.Add(time.Second)
	r.deadlines()
	if got, _ := r.hear("sup"); got != "X_NINES_VALUE=main:500 12345\nX_NINES_VALUE=exit:500 12345 11" {
		t.Errorf("the next supervisor hears %q", got)
	}
	r.hear("sup")
	r.tell("sup", nil, notify.Value("main:500", ""), notify.Value("exit:500", ""))
	if !r.store.empty() {
		t.Errorf("the store still has %v", r.store.keys())
	}
}

// The supervisor's last word about a process is in its socket when it dies: it
// is read before the process's exit is judged.
func TestMainProcessExitBeforeItWasRead(t *testing.T) {
	r := newRig(t)
	r.up()
	m := notify.Message{notify.Value("main:500", "7")}
	if err := r.latest("sup").conn.Send(m.Append(nil), nil); err != nil {
		t.Fatal(err)
	}
	r.orphan(500, exitedWith(3))
	if v := r.store.values["exit:500"]; v == nil || v.value != "7 768" {
		t.Errorf("exit:500 = %v, want 7 768", v)
	}
}

// A new process with an old one's pid: the old exit is not its.
func TestReusedPID(t *testing.T) {
	r := newRig(t)
	r.up()
	r.tell("sup", nil, notify.Value("main:500", "7"))
	r.orphan(500, exitedWith(3))
	r.tell("sup", nil, notify.Value("main:500", "9"))
	if v := r.store.values["exit:500"]; v != nil {
		t.Errorf("exit:500 = %q is still kept", v.value)
	}
}

// Exits that come while the store is handed back follow after its end.
func TestExitDuringHandBack(t *testing.T) {
	r := newRig(t)
	r.up()
	r.tell("sup", nil, notify.Value("main:1", "5"))
	r.dies("sup", killedBy(unix.SIGKILL))
	r.fake.clock = r.fake.clock.Add(time.Second)
	r.deadlines()
	r.orphan(1, exitedWith(0))
	var all string
	for range 3 {
		got, _ := r.hear("sup")
		all += got + "|"
	}
	if want := "X_NINES_VALUE=main:1 5|X_NINES_STORE=end|X_NINES_VALUE=exit:1 5 0|"; all != want {
		t.Errorf("the supervisor hears %q, want %q", all, want)
	}
}

// A supervisor that does not speak up is aborted, woken if it was stopped, and
// at last killed.
func TestWatchdog(t *testing.T) {
	r := newRig(t)
	r.sup.watchdog = 10 * time.Second
	r.up()
	step := func(d time.Duration) {
		r.fake.clock = r.fake.clock.Add(d)
		r.deadlines()
	}
	step(time.Hour) // not armed before READY
	r.tell("sup", nil, notify.Ready())
	step(9 * time.Second)
	r.tell("sup", nil, notify.Watchdog())
	step(9 * time.Second)
	if len(r.fake.signals) != 0 {
		t.Fatalf("signals %v were sent to a supervisor that is alive", r.fake.signals)
	}
	step(2 * time.Second)
	pid := r.latest("sup").pid
	want := []sent{{pid, unix.SIGABRT}, {pid, unix.SIGCONT}}
	if len(r.fake.signals) != 2 || r.fake.signals[0] != want[0] || r.fake.signals[1] != want[1] {
		t.Fatalf("signals %v, want %v", r.fake.signals, want)
	}
	r.wantSaid("nines supervise (pid 102) has not said WATCHDOG=1 for 10s: it is aborted")
	step(3 * time.Second)
	if n := len(r.fake.signals); n != 3 || r.fake.signals[2] != (sent{pid, unix.SIGKILL}) {
		t.Fatalf("signals %v, want SIGKILL at last", r.fake.signals)
	}
	r.dies("sup", killedBy(unix.SIGKILL))
	step(time.Second)
	if r.count("sup") != 2 {
		t.Error("no next supervisor was started")
	}
}

func TestWatchdogSetting(t *testing.T) {
	for text, want := range map[string]time.Duration{"": defaultWatchdog, "0": 0, "500ms": 500 * time.Millisecond} {
		if d, err := watchdog([]string{"NINES_WATCHDOG=" + text}); d != want || err != nil {
			t.Errorf("%q: %s, %v", text, d, err)
		}
	}
	for _, text := range []string{"soon", "-1s", "1ms"} {
		if d, err := watchdog([]string{"NINES_WATCHDOG=" + text}); d != defaultWatchdog || err == nil {
			t.Errorf("%q: %s, %v", text, d, err)
		}
	}
}

// A main process of which its supervisor did not live to tell: while none is
// ready, the exits of session leaders are kept with their cgroups.
func TestStranger(t *testing.T) {
	r := newRig(t)
	r.fake.identities = map[int]identity{
		500: {leader: true, start: 77, cgroup: "/nines/web/0.3"},
		501: {start: 78, cgroup: "/nines/web/0.3"},
		502: {leader: true, start: 79},
	}
	r.orphan(500, exitedWith(1))
	r.up()
	r.hear("sup")
	r.tell("sup", nil, notify.Ready())
	r.orphan(500, exitedWith(1))
	if !r.store.empty() {
		t.Errorf("kept %v, although nobody can be missing them", r.store.keys())
	}
	// The supervisor has died, which the keeper has yet to see.
	r.fake.exits = append(r.fake.exits, sent{500, exitedWith(7)}, sent{501, exitedWith(1)}, sent{502, exitedWith(1)})
	r.dies("sup", killedBy(unix.SIGKILL))
	if v := r.store.values["exit:500"]; v == nil || v.value != "77 1792 /nines/web/0.3" || len(r.store.values) != 1 {
		t.Errorf("kept %v", r.store.keys())
	}
	// No more than a few, however long it takes; and none is forgotten for that.
	for pid := range 2 * maxStrangers {
		r.fake.identities[1000+pid] = identity{leader: true, start: 1, cgroup: "/"}
		r.orphan(1000+pid, exitedWith(1))
	}
	if len(r.store.values) != maxStrangers || r.store.values["exit:500"] == nil {
		t.Errorf("%d are kept", len(r.store.values))
	}
	r.fake.clock = r.fake.clock.Add(time.Second)
	r.deadlines()
	r.tell("sup", nil, notify.Ready())
	if r.strangers != 0 {
		t.Errorf("%d still count", r.strangers)
	}
}

// A sync is sent back once all that had ended is reaped and told.
func TestSync(t *testing.T) {
	r := newRig(t)
	r.up()
	r.hear("sup")
	r.tell("sup", nil, notify.Value("main:500", "7"), notify.Ready())
	r.fake.exits = append(r.fake.exits, sent{500, exitedWith(1)})
	r.tell("sup", nil, notify.Value("sync", "1"))
	r.hearsNothing("sup")
	if r.nextDeadline().After(r.fake.clock) {
		t.Fatal("the sync is not due")
	}
	r.deadlines()
	if got, _ := r.hear("sup"); got != "X_NINES_VALUE=exit:500 7 256" {
		t.Errorf("the supervisor hears %q", got)
	}
	if got, _ := r.hear("sup"); got != "X_NINES_VALUE=sync 1" {
		t.Errorf("the supervisor hears %q", got)
	}
	r.tell("sup", nil, notify.Value("sync", ""))
	r.deadlines()
	r.hearsNothing("sup")
}
