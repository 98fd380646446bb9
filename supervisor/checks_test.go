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
// each sign of life; or the time that it has asked for itself.
func TestHeartbeat(t *testing.T) {
	var now, last policy.Time
	var within time.Duration
	c := &checks{
		now:  func() policy.Time { return now },
		beat: func(policy.Ref, string) (policy.Time, time.Duration) { return last, within },
	}
	a := attempted(c, spec.Check{Heartbeat: &spec.CheckHeartbeat{}})
	sec := func(s float64) policy.Time { return policy.Time(s * 1e9) }
	now = sec(100)
	try := a.heartbeat(now)
	for _, x := range []struct {
		now, last policy.Time
		within    time.Duration
		reason    string
	}{
		{now: sec(100)},
		{now: sec(101)},
		{now: sec(101.1), reason: "no WATCHDOG=1 within 1s of being ready"},
		{now: sec(101.1), last: sec(99), reason: "no WATCHDOG=1 for 1.1s; one each 1s at least is right"}, // while it was starting
		{now: sec(101.1), last: sec(101)},
		{now: sec(102.5), last: sec(101), reason: "no WATCHDOG=1 for 1.5s; one each 1s at least is right"},
		{now: sec(102.5), last: sec(101), within: 2 * time.Second},
		{now: sec(103.5), last: sec(101), within: 2 * time.Second, reason: "no WATCHDOG=1 for 2.5s; one each 2s at least is right"},
	} {
		now, last, within = x.now, x.last, x.within
		if o := try(context.Background()); o.failed != (x.reason != "") || o.reason != x.reason {
			t.Errorf("%+v: %+v", x, o)
		}
	}
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
	if r, w, err := os.Pipe(); err != nil {
		t.Fatal(err)
	} else {
		early := readTail(r)
		if _, err := w.WriteString("so far"); err != nil {
			t.Fatal(err)
		}
		if b := early.now(); string(b) != "so far" && len(b) > 0 { // the reader may have had no turn
			t.Errorf("%q", b)
		}
		if _, err := w.WriteString("nobody reads it"); err == nil {
			t.Error("it is still open")
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if b := got.wait(); len(b) != tailSize || string(b[len(b)-7:]) != "the end" {
		t.Errorf("%d bytes, the last %q", len(b), b[len(b)-7:])
	}
}
