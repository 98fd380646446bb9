package policy

import (
	"testing"
	"time"

	"nines/spec"

	"pgregory.net/rapid"
)

// drawService draws everything that backoff depends on.
func drawService(t *rapid.T) *spec.Service {
	v := newService("x")
	v.Restart.Delay = time.Duration(rapid.Int64Range(0, int64(10*time.Second)).Draw(t, "delay"))
	v.Restart.MaxDelay = time.Duration(rapid.Int64Range(int64(v.Restart.Delay), int64(time.Hour)).Draw(t, "max_delay"))
	v.Restart.Factor = rapid.Float64Range(1, 10).Draw(t, "factor")
	v.Restart.Jitter = rapid.Float64Range(0, 1).Draw(t, "jitter")
	v.Restart.ResetAfter = time.Duration(rapid.Int64Range(1, int64(time.Hour)).Draw(t, "reset_after"))
	v.CrashLoop.Failures = rapid.IntRange(1, 20).Draw(t, "failures")
	v.CrashLoop.Within = time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "within"))
	if rapid.Bool().Draw(t, "notify") {
		v.Ready = &spec.Ready{Notify: "systemd"}
	}
	return v
}

// TestDelaysNeverShrink: guarantee 3. A restart never comes before its backoff;
// consecutive delays never shrink before reset_after, stay within jitter of what
// the language says, and start again from the first one after it.
func TestDelaysNeverShrink(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := drawService(t)
		r := &v.Restart
		m := New(Config{Seed: rapid.Uint64().Draw(t, "seed")})
		now := Time(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "now"))
		m.Step(now, SpecChanged{Spec: &spec.Spec{Services: []*spec.Service{v}}})
		last, base := time.Duration(-1), float64(r.Delay)
		for i := range rapid.IntRange(1, 40).Draw(t, "ends") {
			s := m.slots[0]
			if s.phase != phaseSpawning {
				t.Fatalf("end %d: %s", i, s.phase)
			}
			reset := false
			switch rapid.IntRange(0, 4).Draw(t, "how") {
			case 0:
				m.Step(now, SpawnFailed{Ref: s.ref, Code: 1})
			case 1: // ready for long enough: forgotten
				m.Step(now, Spawned{Ref: s.ref, PID: 1})
				m.Step(now, Ready{Ref: s.ref})
				now = now.Add(r.ResetAfter)
				m.Step(now, Tick{})
				reset = true
				m.Step(now, Exited{Ref: s.ref, Empty: true})
			case 2: // ready, but not for long enough
				m.Step(now, Spawned{Ref: s.ref, PID: 1})
				m.Step(now, Ready{Ref: s.ref})
				now = now.Add(r.ResetAfter - 1)
				m.Step(now, Tick{})
				m.Step(now, Exited{Ref: s.ref, Empty: true})
			case 3: // what it left behind takes its time
				m.Step(now, Spawned{Ref: s.ref, PID: 1})
				m.Step(now, Exited{Ref: s.ref, Status: Status{Signal: "SIGSEGV"}})
				m.Step(now, Emptied{Ref: s.ref})
			default:
				m.Step(now, Spawned{Ref: s.ref, PID: 1})
				m.Step(now, Exited{Ref: s.ref, Status: Status{Code: 1}, Empty: true})
			}
			checkInvariants(t, m)
			if reset {
				last, base = -1, float64(r.Delay)
				if s.streak != 1 {
					t.Fatalf("streak is %d after reset_after", s.streak)
				}
			}
			delay := time.Duration(0)
			if s.phase == phaseBackoff {
				delay = s.nextAt.Sub(now)
			}
			if delay < last {
				t.Fatalf("delay %d is %v after %v", i, delay, last)
			}
			if s.held {
				base = float64(r.MaxDelay)
			}
			low, high := base*(1-r.Jitter)-1000, base*(1+r.Jitter)+1000
			if float64(delay) < low*0.999999 || float64(delay) > high*1.000001 {
				t.Fatalf("delay %d is %v, outside %v to %v", i, delay, time.Duration(low), time.Duration(high))
			}
			last = delay
			base = min(base*r.Factor, float64(r.MaxDelay))
			if delay > 0 {
				m.Step(now.Add(delay-1), Tick{})
				if s.phase != phaseBackoff {
					t.Fatalf("started before its backoff was over")
				}
				now = now.Add(delay)
				m.Step(now, Tick{})
			}
		}
	})
}

// TestReplicasDiffer: jitter is for that.
func TestReplicasDiffer(t *testing.T) {
	v := newService("x")
	v.Instances, v.Restart.Jitter = 20, 0.1
	m := New(Config{Seed: 7})
	m.Step(0, SpecChanged{Spec: &spec.Spec{Services: []*spec.Service{v}}})
	seen := map[Time]bool{}
	for _, s := range m.slots {
		m.Step(0, Spawned{Ref: s.ref, PID: 1})
		m.Step(0, Exited{Ref: s.ref, Empty: true})
		seen[s.nextAt] = true
	}
	if len(seen) < 19 {
		t.Errorf("20 replicas restart at %d different moments", len(seen))
	}
}

// TestHeap: whatever is armed and disarmed, the least deadline is the least.
func TestHeap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := New(Config{})
		v := newService("x")
		v.Instances = rapid.IntRange(1, 20).Draw(t, "slots")
		v.Enabled = false
		m.Step(0, SpecChanged{Spec: &spec.Spec{Services: []*spec.Service{v}}})
		for range rapid.IntRange(0, 200).Draw(t, "ops") {
			s := m.slots[rapid.IntRange(0, len(m.slots)-1).Draw(t, "slot")]
			tm := timer(rapid.IntRange(0, int(numTimers)-1).Draw(t, "timer"))
			if rapid.Bool().Draw(t, "arm") {
				m.armAt(s, tm, Time(rapid.Int64Range(0, 50).Draw(t, "at")))
			} else {
				m.disarm(s, tm)
			}
			least := never
			for i, s := range m.slots {
				for _, at := range s.timers {
					least = min(least, at)
				}
				if s.pos >= 0 && m.due.items[s.pos].slot != s {
					t.Fatalf("slot %d is not at its place", i)
				}
			}
			if m.due.least() != least {
				t.Fatalf("least is %d, the heap says %d", least, m.due.least())
			}
		}
	})
}
