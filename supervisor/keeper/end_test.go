package keeper

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nines/supervisor/notify"
)

// end brings the log process to its end as well.
func (r *rig) logEnds() {
	r.t.Helper()
	if got, _ := r.hear("log"); got != "STOPPING=1" {
		r.t.Errorf("the log process hears %q", got)
	}
	if r.over {
		r.t.Error("over before the log process")
	}
	r.dies("log", exitedWith(0))
	if !r.over {
		r.t.Error("not over")
	}
}

func TestEndBeforeReady(t *testing.T) {
	r := newRig(t)
	r.up()
	r.tell("sup", nil, notify.End(1))
	if r.finishing {
		t.Error("finished while it lives")
	}
	r.dies("sup", exitedWith(1))
	r.logEnds()
	if r.code != 1 || r.count("sup") != 1 {
		t.Errorf("code %d, %d supervisors", r.code, r.count("sup"))
	}
}

// Whatever its own exit status is: what it said counts.
func TestEndIsWhatWasSaid(t *testing.T) {
	for _, status := range []unix.Signal{exitedWith(0), exitedWith(9), killedBy(unix.SIGKILL)} {
		r := newRig(t)
		r.up()
		r.tell("sup", nil, notify.Ready())
		r.tell("sup", nil, notify.Stopping(), notify.End(143))
		r.dies("sup", status)
		r.logEnds()
		if r.code != 143 {
			t.Errorf("code %d", r.code)
		}
	}
}

func TestExitWithoutEndIsACrash(t *testing.T) {
	r := newRig(t)
	r.up()
	r.tell("sup", nil, notify.Ready(), notify.Stopping())
	r.dies("sup", exitedWith(0))
	if r.finishing || r.count("sup") != 2 {
		t.Errorf("finishing %v, %d supervisors", r.finishing, r.count("sup"))
	}
}

func TestEndWithoutExit(t *testing.T) {
	r := newRig(t)
	r.up()
	pid := r.latest("sup").pid
	r.tell("sup", nil, notify.End(0))
	r.pass(endPatience - 1)
	r.wantSignals()
	r.pass(1)
	r.wantSignals(sent{pid, unix.SIGKILL})
	r.dies("sup", killedBy(unix.SIGKILL))
	r.logEnds()
}

// The log process has two seconds, then it is pushed, then it is killed, then
// it is left behind.
func TestLogProcessDoesNotEnd(t *testing.T) {
	r := newRig(t)
	r.up()
	pid := r.latest("log").pid
	r.tell("sup", nil, notify.End(0))
	r.dies("sup", exitedWith(0))
	r.pass(drainPatience - 1)
	r.wantSignals()
	r.pass(1)
	r.wantSignals(sent{pid, unix.SIGTERM})
	r.pass(termPatience)
	r.wantSignals(sent{pid, unix.SIGKILL})
	if r.over {
		t.Error("over before it was reaped")
	}
	r.pass(killPatience)
	if !r.over {
		t.Error("not over")
	}
}

func TestLogProcessCrashesAtTheEnd(t *testing.T) {
	r := newRig(t)
	r.up()
	r.tell("sup", nil, notify.End(0))
	r.dies("sup", exitedWith(0))
	r.dies("log", killedBy(unix.SIGSEGV))
	if !r.over || r.count("log") != 1 {
		t.Errorf("over %v, %d log processes", r.over, r.count("log"))
	}
	r.wantSaid("nines-log was killed by SIGSEGV while stopping")
}

// At the end the log process may be down: it is needed only if there is a pipe.
func TestEndWhileLogProcessIsDown(t *testing.T) {
	for _, pipe := range []bool{false, true} {
		r := newRig(t)
		r.up()
		if pipe {
			r.storePipe("web/0.1:out", "s")
		}
		r.dies("log", exitedWith(1))
		r.dies("log", exitedWith(1)) // the third comes after 100 ms
		r.tell("sup", nil, notify.End(0))
		r.dies("sup", exitedWith(0))
		if !pipe {
			if !r.over || r.count("log") != 2 {
				t.Errorf("over %v, %d log processes", r.over, r.count("log"))
			}
			continue
		}
		if r.count("log") != 3 {
			t.Fatalf("%d log processes", r.count("log"))
		}
		got, fds := r.hear("log")
		if got != "FDSTORE=1\nFDNAME=web/0.1:out\nX_NINES_LOG=s" || len(fds) != 1 {
			t.Errorf("it hears %q with %d descriptors", got, len(fds))
		}
		notify.CloseAll(fds)
		r.logEnds()
	}
}

func TestEndWhileLogProcessCannotStart(t *testing.T) {
	r := newRig(t)
	r.up()
	r.storePipe("web/0.1:out", "s")
	r.dies("log", exitedWith(1))
	r.fake.fail = unix.ENOENT
	r.dies("log", exitedWith(1))
	r.tell("sup", nil, notify.End(5))
	r.dies("sup", exitedWith(5))
	if !r.over || r.code != 5 || !r.nextDeadline().IsZero() {
		t.Errorf("over %v, code %d, next %v", r.over, r.code, r.nextDeadline())
	}
}

func TestSignalsArePassedOn(t *testing.T) {
	r := newRig(t)
	r.up()
	r.tell("sup", nil, notify.Ready())
	pid := r.latest("sup").pid
	all := []unix.Signal{unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGINT, unix.SIGTERM, unix.SIGTERM}
	var want []sent
	for _, sig := range all {
		r.signalled(sig)
		want = append(want, sent{pid, sig})
	}
	r.wantSignals(want...)
}

// Before READY a signal would kill a program without a handler.
func TestSignalsWaitForReady(t *testing.T) {
	r := newRig(t)
	r.up()
	r.tell("sup", nil, notify.Value("web/0", "x")) // something is kept
	for _, sig := range []unix.Signal{unix.SIGUSR1, unix.SIGHUP, unix.SIGUSR1, unix.SIGTERM} {
		r.signalled(sig)
	}
	r.dies("sup", exitedWith(1))
	r.signalled(unix.SIGHUP)
	r.wantSignals()
	r.tell("sup", nil, notify.Ready())
	pid := r.latest("sup").pid
	r.wantSignals(sent{pid, unix.SIGUSR1}, sent{pid, unix.SIGHUP}, sent{pid, unix.SIGTERM})
	r.tell("sup", nil, notify.Ready())
	r.wantSignals() // once
}

// A supervisor that dies of the SIGTERM, or of anything before it says that it
// stops, leaves the wish to its successor; one that said so does not.
func TestWishToStopOutlivesTheSupervisor(t *testing.T) {
	r := newRig(t)
	r.up()
	r.tell("sup", nil, notify.Ready())
	r.signalled(unix.SIGTERM)
	r.wantSignals(sent{r.latest("sup").pid, unix.SIGTERM})
	r.dies("sup", killedBy(unix.SIGTERM))
	r.tell("sup", nil, notify.Ready())
	r.wantSignals(sent{r.latest("sup").pid, unix.SIGTERM})
	r.tell("sup", nil, notify.Stopping())
	r.dies("sup", killedBy(unix.SIGKILL))
	r.pass(backoffMax)
	r.tell("sup", nil, notify.Ready())
	r.wantSignals()
}

// A stop that comes before anything was begun needs no supervisor.
func TestStopBeforeTheBegin(t *testing.T) {
	t.Run("none is up", func(t *testing.T) {
		r := newRig(t)
		r.start(&r.log)
		r.fake.fail = unix.ENOENT
		r.start(&r.sup)
		r.signalled(unix.SIGHUP)
		if r.finishing {
			t.Error("SIGHUP ends it")
		}
		r.signalled(unix.SIGINT)
		r.logEnds()
		if r.code != 0 {
			t.Errorf("code %d", r.code)
		}
	})
	t.Run("it dies", func(t *testing.T) {
		r := newRig(t)
		r.up()
		r.signalled(unix.SIGTERM)
		r.dies("sup", exitedWith(2))
		r.logEnds()
		if r.code != 0 || r.count("sup") != 1 {
			t.Errorf("code %d", r.code)
		}
	})
	t.Run("it hangs", func(t *testing.T) {
		r := newRig(t)
		r.up()
		pid := r.latest("sup").pid
		r.signalled(unix.SIGTERM)
		r.pass(startGrace - 1)
		r.signalled(unix.SIGTERM) // impatience moves no deadline
		r.wantSignals()
		r.pass(1)
		r.wantSignals(sent{pid, unix.SIGKILL})
		r.dies("sup", killedBy(unix.SIGKILL))
		r.logEnds()
		if r.code != 1 {
			t.Errorf("code %d", r.code)
		}
	})
	t.Run("it becomes ready", func(t *testing.T) {
		r := newRig(t)
		r.up()
		r.signalled(unix.SIGTERM)
		r.tell("sup", nil, notify.Ready())
		r.wantSignals(sent{r.latest("sup").pid, unix.SIGTERM})
		r.tell("sup", nil, notify.Stopping())
		r.pass(time.Hour)
		r.wantSignals()
	})
	t.Run("after the end", func(t *testing.T) {
		r := newRig(t)
		r.up()
		r.tell("sup", nil, notify.Ready())
		r.tell("sup", nil, notify.End(0))
		r.signalled(unix.SIGTERM)
		r.wantSignals()
	})
}
