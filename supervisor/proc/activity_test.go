package proc

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestActivity: CPU time is told, of children too; and a tree is blocked when all
// of its threads are stopped, not when one still sleeps.
func TestActivity(t *testing.T) {
	bothLevels(t, func(t *testing.T, start func(t *testing.T, args ...string) *instance) {
		r := NewActivityReader()
		read := func(in *instance) Activity {
			a, err := r.Read(&in.Tree)
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		spins := start(t, "spin", "2")
		spins.line(t, "misbehave")
		until(t, "it has used CPU time", func() bool { return read(spins).CPU >= 20*time.Millisecond })
		if a := read(spins); a.Blocked {
			t.Errorf("what spins is blocked: %+v", a)
		}

		in := start(t, "setsid")
		in.line(t, "misbehave")
		child := in.line(t, "left")
		if read(in).Blocked {
			t.Error("what sleeps is blocked")
		}
		stop := func(pid int, sig unix.Signal) {
			if err := unix.Kill(pid, sig); err != nil {
				t.Fatal(err)
			}
		}
		stop(in.PID, unix.SIGSTOP)
		until(t, "the first is stopped", func() bool { state, _ := threadState(statDir(in.PID)); return state == 'T' })
		if read(in).Blocked {
			t.Error("blocked, though the child is not")
		}
		stop(child, unix.SIGSTOP)
		until(t, "all are stopped", func() bool { return read(in).Blocked })
		stop(child, unix.SIGCONT)
		until(t, "one goes on", func() bool { return !read(in).Blocked })
		before := read(in).CPU
		if after := read(in).CPU; after < before {
			t.Errorf("CPU time fell from %s to %s", before, after)
		}

		ended := start(t, "exit", "0")
		wait(t, ended.exit)
		if a, err := r.Read(&ended.Tree); err == nil && (a.Blocked || ended.Group == nil) || err != nil && !errors.Is(err, unix.ESRCH) {
			t.Errorf("of what has ended: %+v, %v", a, err)
		}
	})
}

func TestHeldStates(t *testing.T) {
	for state, want := range map[byte]bool{'D': true, 'T': true, 't': false, 'S': false, 'R': false, 'I': false} {
		if held(state) != want {
			t.Errorf("%c: %v", state, !want)
		}
	}
	if b, err := blocked(nil); b || err != nil {
		t.Errorf("nothing is blocked: %v, %v", b, err)
	}
}

func statDir(pid int) string {
	n := strconv.Itoa(pid)
	return "/proc/" + n + "/task/" + n
}
