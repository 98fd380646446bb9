package supervisor

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"nines/spec"
	"nines/supervisor/policy"
	"nines/supervisor/probe"
)

// attempted makes an attempt of a check of an instance without limits.
func attempted(c *checks, block spec.Check) *attempt {
	block.Timing = spec.Timing{Interval: 10 * time.Second, Timeout: time.Second, Failures: 3, Successes: 1}
	return &attempt{c: c, in: &incarnation{svc: &spec.Service{Name: "web"}}, block: &block, ref: policy.Ref{Slot: 1, Incarnation: 1}}
}

// pressureFile is a PSI file in which something waited for so much of the time.
func pressureFile(t *testing.T, percent string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cpu")
	text := "some avg10=" + percent + " avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestExcuses(t *testing.T) {
	type given struct {
		pressure   string
		late, took time.Duration
		then       func(*moment)
	}
	for name, x := range map[string]struct {
		given
		want policy.Excuse
	}{
		"nothing":                 {given{}, policy.ExcuseNone},
		"late by half a timeout":  {given{late: 500 * time.Millisecond}, policy.ExcuseNone},
		"late by more":            {given{late: 501 * time.Millisecond}, policy.ExcuseLate},
		"as long as its timeout":  {given{took: time.Second}, policy.ExcuseNone},
		"much longer than that":   {given{took: 1501 * time.Millisecond}, policy.ExcuseLate},
		"some load":               {given{pressure: "89.99"}, policy.ExcuseNone},
		"overload":                {given{pressure: "90.00"}, policy.ExcuseOverloaded},
		"the machine was asleep":  {given{then: func(m *moment) { m.asleep -= time.Second }}, policy.ExcuseSuspended},
		"the clock was set":       {given{then: func(m *moment) { m.wall = m.wall.Add(-time.Hour) }}, policy.ExcuseClock},
		"the clock was set back":  {given{then: func(m *moment) { m.wall = m.wall.Add(time.Second) }}, policy.ExcuseClock},
		"the clock was corrected": {given{then: func(m *moment) { m.wall = m.wall.Add(100 * time.Millisecond) }}, policy.ExcuseNone},
	} {
		t.Run(name, func(t *testing.T) {
			if x.pressure == "" {
				x.pressure = "0.00"
			}
			c := &checks{psi: pressure{path: pressureFile(t, x.pressure)}}
			a := attempted(c, spec.Check{})
			then := c.moment(a.in)
			if x.then != nil {
				x.then(&then)
			}
			if got := c.excuse(a, then, x.late, x.took); got != x.want {
				t.Errorf("%q, want %q", got, x.want)
			}
		})
	}
}

// TestPressureIsReadOnce: however many ask in a second.
func TestPressureIsReadOnce(t *testing.T) {
	path := pressureFile(t, "95.00")
	synctest.Test(t, func(t *testing.T) {
		p := pressure{path: path}
		if got := p.cpu(); got != 95 {
			t.Fatalf("%v", got)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if got := p.cpu(); got != 95 {
			t.Errorf("read again at once: %v", got)
		}
		time.Sleep(pressureAge)
		if got := p.cpu(); got != 0 {
			t.Errorf("a kernel without PSI: %v", got)
		}
	})
}

// TestHeartbeat: an instance has its timeout from when it is checked, then from
// each beat.
func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &checks{beats: newBeats()}
		a := attempted(c, spec.Check{Heartbeat: &spec.CheckHeartbeat{}})
		want := func(failed bool, reason string) {
			t.Helper()
			if o := a.heartbeat(context.Background()); o.failed != failed || o.reason != reason || o.unheard {
				t.Errorf("%+v, want %t %q", o, failed, reason)
			}
		}
		c.beats.beat(a.ref) // nobody listens yet
		c.beats.begin(a.ref)
		want(false, "")
		time.Sleep(time.Second)
		want(false, "")
		time.Sleep(time.Millisecond)
		want(true, "no WATCHDOG=1 within 1s of being ready")
		c.beats.beat(a.ref)
		want(false, "")
		time.Sleep(1500 * time.Millisecond)
		want(true, "no WATCHDOG=1 for 1.5s, every 1s at least is right")
		c.beats.beat(policy.Ref{Slot: 1, Incarnation: 2})
		want(true, "no WATCHDOG=1 for 1.5s, every 1s at least is right")
		c.beats.end(a.ref)
		if o := a.heartbeat(context.Background()); !o.unheard {
			t.Errorf("of what has ended: %+v", o)
		}
		c.beats.begin(a.ref)
		a.ready = true
		want(true, "no WATCHDOG=1 yet")
		c.beats.beat(a.ref)
		want(false, "")
	})
}

// TestSiblings: one that differs is told, by its own attempt; what has ended is
// forgotten, and what was measured long ago not compared.
func TestSiblings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSiblings()
		ref := func(i int) policy.Ref { return policy.Ref{Slot: policy.Slot(i), Incarnation: 1} }
		compare := func(i int, mib float64) bool {
			return s.compare("web odd", "memory", ref(i), mib*(1<<20), 10*time.Second).Err != nil
		}
		for round := range 4 {
			for i := range 5 {
				mib := 100.0
				if i == 3 {
					mib = 900
				}
				if got := compare(i, mib); got != (i == 3) && round > 1 {
					t.Errorf("round %d: replica %d is an outlier: %t", round, i, got)
				}
				time.Sleep(2 * time.Second)
			}
		}
		for i := range 3 {
			s.forget(ref(i))
		}
		time.Sleep(10 * time.Second)
		if compare(3, 900) {
			t.Error("two are compared")
		}
		s.forget(ref(3))
		s.forget(ref(4))
		if len(s.by)+len(s.judge) != 0 {
			t.Errorf("what has ended is remembered: %v", s.by)
		}
	})
}

func TestTold(t *testing.T) {
	for cause, want := range map[probe.Cause]outcome{
		probe.Canceled: {failed: true, unheard: true}, probe.Unable: {failed: true, excuse: policy.ExcuseUnable},
		probe.Bound: {failed: true, measured: true}, probe.Timeout: {failed: true}, probe.Slow: {failed: true},
	} {
		o := told(probe.Result{Err: &probe.Error{Cause: cause, Text: "why\nand how"}})
		if want.reason = "why and how"; o != want {
			t.Errorf("%s: %+v, want %+v", cause, o, want)
		}
	}
	if o := told(probe.Result{Output: "well"}); o != (outcome{}) {
		t.Errorf("%+v", o)
	}
}

func TestTailAndWords(t *testing.T) {
	if got := printable([]byte("a\x1b[31mb\xff\nc\n")); got != "a?[31mb?\nc" {
		t.Errorf("%q", got)
	}
	if got := lastLine("one\ntwo"); got != "two" {
		t.Errorf("%q", got)
	}
	if got := oneLine(string(make([]byte, 0)) + "a \n\t b"); got != "a b" {
		t.Errorf("%q", got)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	got := readTail(r)
	for range 3 * tailSize {
		if _, err := w.WriteString("0123456789"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.WriteString("the end"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if b := got.wait(); len(b) != tailSize || string(b[len(b)-7:]) != "the end" {
		t.Errorf("%d bytes, the last %q", len(b), b[len(b)-7:])
	}
}
