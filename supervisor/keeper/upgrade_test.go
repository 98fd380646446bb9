package keeper

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nines/supervisor/notify"
)

const (
	newSup = "/new/nines"
	newLog = "/new/nines-log"
)

// ask has the supervisor ask for another in its place, with n descriptors. It
// becomes ready within 2 s, and stays so for 1 s.
func (r *rig) ask(n int) {
	r.t.Helper()
	r.asks(n, notify.Field{Key: notify.KeyUpgrade, Value: "2000 1000 " + newSup})
}

func (r *rig) asks(n int, f notify.Field) {
	r.t.Helper()
	var fds []int
	for range n {
		fd, err := unix.Open("/proc/self/exe", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			r.t.Fatal(err)
		}
		fds = append(fds, fd)
	}
	r.tell("sup", fds, notify.Value(keyUpgrade, "asked\t1\tsupervisor\tone\t"+newSup), f)
	notify.CloseAll(fds)
}

// stands wants the upgrade to stand so, and the supervisor to have been told.
func (r *rig) stands(state, why string) {
	r.t.Helper()
	text := ""
	if v := r.store.values[keyUpgrade]; v != nil {
		text = v.value
	}
	if !strings.HasPrefix(text, state+"\t1\tsupervisor\tone\t"+newSup) || !strings.HasSuffix(text, why) {
		r.t.Errorf("the upgrade stands %q, want %s … %q", text, state, why)
	}
}

// begun is a rig whose supervisor has asked and made way.
func begun(t *testing.T, fds int) *rig {
	t.Helper()
	r := newRig(t)
	r.up()
	r.tell("sup", nil, notify.Ready())
	r.tell("log", nil, notify.Ready())
	r.ask(fds)
	r.stands(stateTrying, "")
	r.dies("sup", exitedWith(0))
	return r
}

func TestUpgradeTaken(t *testing.T) {
	before := openFDs(t)
	r := begun(t, 1)
	if r.count(newSup) != 1 || r.sup.crashes != 0 {
		t.Fatalf("%d of the new one were started, after %d crashes", r.count(newSup), r.sup.crashes)
	}
	r.pass(time.Second)
	r.tell(newSup, nil, notify.Ready())
	r.pass(900 * time.Millisecond)
	r.stands(stateTrying, "")
	r.pass(200 * time.Millisecond)
	r.stands(stateDone, newSup)
	// It is what runs from now on.
	r.dies(newSup, killedBy(unix.SIGKILL))
	if r.count(newSup) != 2 || r.count("sup") != 1 || r.sup.crashes != 1 {
		t.Errorf("started: %d new, %d old; %d crashes", r.count(newSup), r.count("sup"), r.sup.crashes)
	}
	if n := openFDs(t); n > before+20 {
		t.Errorf("%d descriptors are open, %d before", n, before)
	}
}

func TestUpgradeNotMadeWay(t *testing.T) {
	r := newRig(t)
	r.up()
	r.tell("sup", nil, notify.Ready())
	r.ask(1)
	pid := r.sup.pid
	r.pass(handOverPatience)
	r.wantSignals(sent{pid, unix.SIGKILL})
	r.dies("sup", killedBy(unix.SIGKILL))
	if r.count(newSup) != 1 {
		t.Error("the new one was not started")
	}
}

func TestUpgradeGivenUp(t *testing.T) {
	for name, c := range map[string]struct {
		fds int
		why string
		f   func(*rig)
	}{
		"crashes": {1, "it ended 3 times at once; at last it was killed by SIGSEGV", func(r *rig) {
			for range 3 {
				r.dies(newSup, killedBy(unix.SIGSEGV))
				r.pass(time.Second)
			}
		}},
		"crashes when ready": {1, "it ended 3 times at once; at last it exited with 2", func(r *rig) {
			for range 3 {
				r.tell(newSup, nil, notify.Ready())
				r.pass(900 * time.Millisecond)
				r.dies(newSup, exitedWith(2))
				r.pass(time.Second)
			}
		}},
		"is not ready": {1, "it was not ready within 2s", func(r *rig) {
			r.pass(2 * time.Second)
			r.wantSignals(sent{r.sup.pid, unix.SIGABRT}, sent{r.sup.pid, unix.SIGCONT})
			r.pass(dumpPatience)
			r.wantSignals(sent{r.sup.pid, unix.SIGKILL})
			r.dies(newSup, killedBy(unix.SIGKILL))
		}},
		"its log process is not ready": {2, "its nines-log was not ready within 2s", func(r *rig) {
			r.wantSignals(sent{r.log.pid, unix.SIGTERM})
			r.dies("log", exitedWith(0))
			r.tell(newSup, nil, notify.Ready())
			r.pass(3 * time.Second)
			// It is given time to make way.
			r.wantSignals(sent{r.log.pid, unix.SIGTERM})
			r.dies(newLog, killedBy(unix.SIGTERM))
			r.pass(hangupPatience)
			r.wantSignals(sent{r.sup.pid, unix.SIGKILL})
			r.dies(newSup, killedBy(unix.SIGKILL))
		}},
		"its log process crashes": {2, "its nines-log ended 3 times at once; at last it exited with 1", func(r *rig) {
			r.dies("log", exitedWith(0))
			r.tell(newSup, nil, notify.Ready())
			for range 3 {
				r.dies(newLog, exitedWith(1))
				r.pass(200 * time.Millisecond)
			}
			r.dies(newSup, exitedWith(0)) // it made way
		}},
	} {
		t.Run(name, func(t *testing.T) {
			r := begun(t, c.fds)
			c.f(r)
			r.stands(stateReverted, c.why)
			r.pass(time.Second)
			if r.count("sup") != 2 || r.sup.pid == 0 || r.latest("sup").pid != r.sup.pid {
				t.Errorf("the old one was started %d times, pid %d runs", r.count("sup"), r.sup.pid)
			}
			if c.fds == 2 && (r.count("log") != 2 || r.latest("log").pid != r.log.pid) {
				t.Errorf("the old log process was started %d times", r.count("log"))
			}
			if r.trial != nil || r.sup.programs.trial != nil || r.log.programs.trial != nil {
				t.Error("something is still tried")
			}
			r.tell("sup", nil, notify.Ready())
			r.ask(1) // and another may be tried
			r.stands(stateTrying, "")
		})
	}
}

func TestUpgradeNotStarted(t *testing.T) {
	r := newRig(t)
	r.up()
	r.tell("sup", nil, notify.Ready())
	r.ask(1)
	r.fake.fail = unix.EAGAIN // may pass
	r.dies("sup", exitedWith(0))
	r.pass(time.Second)
	r.stands(stateTrying, "")
	r.fake.fail = unix.ENOEXEC
	r.pass(time.Second)
	r.stands(stateReverted, "it cannot be started: exec format error")
	r.fake.fail = nil
	r.pass(backoffMax)
	if r.count("sup") != 2 {
		t.Errorf("the old one was started %d times", r.count("sup"))
	}
}

func TestUpgradeRefused(t *testing.T) {
	for name, c := range map[string]struct {
		why string
		f   func(*rig)
	}{
		"stopping": {"it is shutting down", func(r *rig) { r.signalled(unix.SIGTERM) }},
		"shutdown": {"it is shutting down", func(r *rig) {
			r.tell("sup", nil, notify.Value(keyShutdown, "0 1000000000"))
		}},
		"another": {"another upgrade is under way", func(r *rig) {
			r.ask(1)
			r.stands(stateTrying, "")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.up()
			r.tell("sup", nil, notify.Ready())
			c.f(r)
			for _, f := range []notify.Field{{Key: notify.KeyUpgrade, Value: "2000 1000 " + newSup}, {Key: notify.KeyReexec, Value: "/new/nines-init"}} {
				before := openFDs(t)
				r.asks(1, f)
				r.stands(stateReverted, c.why)
				if n := openFDs(t); n != before {
					t.Errorf("%d descriptors are open, %d before", n, before)
				}
			}
		})
	}
}

// A full store does not keep an upgrade from being decided.
func TestUpgradeFullStore(t *testing.T) {
	r := newRig(t)
	r.up()
	r.tell("sup", nil, notify.Ready())
	for i := 0; len(r.store.values) < maxValues; i++ {
		if err := r.store.set("v"+strconv.Itoa(i), "x"); err != nil {
			t.Fatal(err)
		}
	}
	r.ask(1)
	r.stands(stateTrying, "")
}

// What is tried may end nothing before it was ready; afterwards it may.
func TestUpgradeEnds(t *testing.T) {
	before := openFDs(t)
	r := begun(t, 2)
	r.dies("log", exitedWith(0))
	r.tell(newSup, nil, notify.End(4))
	r.wantSaid("one that is tried cannot end what runs")
	r.dies(newSup, exitedWith(4))
	r.pass(time.Millisecond)
	if r.finishing || r.count(newSup) != 2 {
		t.Fatalf("finishing: %t, started %d times", r.finishing, r.count(newSup))
	}
	r.tell(newSup, nil, notify.Ready())
	r.tell(newSup, nil, notify.End(0))
	r.dies(newSup, exitedWith(0))
	r.dies(newLog, exitedWith(0))
	if !r.over || r.code != 0 || r.trial != nil {
		t.Errorf("over: %t with %d; still tried: %t", r.over, r.code, r.trial != nil)
	}
	if n := openFDs(t); n > before+20 {
		t.Errorf("%d descriptors are open, %d before", n, before)
	}
}

// A panic leaves no upgrade that is never decided.
func TestUpgradePanic(t *testing.T) {
	r := begun(t, 1)
	r.trial = nil // it came at the worst moment
	r.deadlines()
	r.stands(stateReverted, "internal error")
	if r.sup.programs.trial != nil {
		t.Error("it is still tried")
	}
}

// reexecs is a rig whose supervisor asked for another keeper.
func reexecs(t *testing.T) (r *rig, check int) {
	t.Helper()
	r = newRig(t)
	r.up()
	r.tell("sup", nil, notify.Ready())
	r.asks(1, notify.Field{Key: notify.KeyReexec, Value: "/new/nines-init"})
	r.stands(stateTrying, "")
	return r, r.latest("/new/nines-init").pid
}

func (r *rig) checked(pid int, status unix.Signal) {
	r.fake.exits = append(r.fake.exits, sent{pid, status})
	r.reap()
}

func TestReexecCheck(t *testing.T) {
	r, check := reexecs(t)
	r.checked(check, exitedWith(2))
	r.stands(stateReverted, "asked whether it can go on, it exited with 2")
	r, check = reexecs(t)
	r.pass(checkPatience)
	r.wantSignals(sent{check, unix.SIGKILL})
	r.checked(check, killedBy(unix.SIGKILL))
	r.stands(stateReverted, "it was killed by SIGKILL")
	r.deadlines()
	if len(r.fake.became) != 0 {
		t.Errorf("it became %q", r.fake.became)
	}
}

func TestReexecFails(t *testing.T) {
	before := openFDs(t)
	r, check := reexecs(t)
	go r.answerMarks()
	r.checked(check, exitedWith(0))
	r.deadlines()
	r.stands(stateReverted, "exec format error")
	if len(r.fake.became) != 1 || r.fake.held != 0 {
		t.Errorf("it became %q, held %d times", r.fake.became, r.fake.held)
	}
	if n := openFDs(t); n > before+20 {
		t.Errorf("%d descriptors are open, %d before", n, before)
	}
	r.deadlines()
	if len(r.fake.became) != 1 {
		t.Error("it is tried again")
	}
}

// answerMarks does the console's part of one flush.
func (r *rig) answerMarks() { close(<-r.console.marks) }

// What is not in the state is carried out before.
func TestReexecWaits(t *testing.T) {
	for name, f := range map[string]func(*rig){
		"more to reap": func(r *rig) {
			for pid := range reapATurn + 1 {
				r.fake.exits = append(r.fake.exits, sent{1000 + pid, 0})
			}
			r.reap()
		},
		"sync": func(r *rig) { r.tell("sup", nil, notify.Value(keySync, "1")) },
	} {
		t.Run(name, func(t *testing.T) {
			r, check := reexecs(t)
			r.checked(check, exitedWith(0))
			f(r)
			r.reexecDue()
			if len(r.fake.became) != 0 {
				t.Fatal("it became another with something undone")
			}
			go r.answerMarks()
			r.deadlines()
			if len(r.fake.became) != 1 {
				t.Error("it does not become another")
			}
		})
	}
}

// A signal that comes at the last moment is not lost.
func TestReexecSignalled(t *testing.T) {
	r, check := reexecs(t)
	signals := make(chan os.Signal, 4)
	r.signals = signals
	r.fake.signals = nil
	r.fake.atHold = func() { signals <- unix.SIGHUP; signals <- unix.SIGTERM }
	go r.answerMarks()
	r.checked(check, exitedWith(0))
	r.deadlines()
	r.stands(stateReverted, "it is shutting down")
	r.wantSignals(sent{r.sup.pid, unix.SIGHUP}, sent{r.sup.pid, unix.SIGTERM})
	if len(r.fake.became) != 0 || r.fake.held != 0 {
		t.Errorf("it became %q, held %d times", r.fake.became, r.fake.held)
	}
}

func TestReexecStderrFull(t *testing.T) {
	r, check := reexecs(t)
	r.checked(check, exitedWith(0))
	r.deadlines() // nobody answers the mark
	r.stands(stateReverted, "stderr does not take what was said")
}
