package policy

import (
	"testing"
	"time"

	"nines/spec"
)

// checked is a machine of n services with one ready instance and one check each.
func checked(t testing.TB, n, failures int) *Machine {
	return benchMachine(t, n, func(v *spec.Service) {
		v.Checks = []spec.Check{{Name: "alive", OnFailure: spec.OnFailureRestart,
			Timing: spec.Timing{Interval: time.Second, Timeout: time.Second, Failures: failures, Successes: 1}}}
	})
}

// TestCheckResultsDoNotAllocate: they are what comes most often.
func TestCheckResultsDoNotAllocate(t *testing.T) {
	m := checked(t, 100, 3)
	now, i := Time(0), 0
	attempt := func(failed bool) {
		i++
		now++
		s := m.slots[i*31%len(m.slots)]
		m.Step(now, CheckResult{Ref: s.ref, Token: s.checking, Failed: failed})
	}
	for name, failed := range map[string]func() bool{
		"passing": func() bool { return false },
		"failing at times": func() bool {
			return i/len(m.slots)%2 == 0
		},
	} {
		// An Event is an interface: what boxes it is the caller's one allocation.
		if n := testing.AllocsPerRun(1000, func() { attempt(failed()) }); n > 1 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// TestChecksFindWithinBound: guarantee 13, the part of it that is policy's: the
// act is asked for with the failure that makes the row complete, however many
// instances fail; and what is excused at most 3 × failures × interval later.
func TestChecksFindWithinBound(t *testing.T) {
	const failures = 3
	for _, excuse := range []Excuse{ExcuseNone, ExcuseOverloaded} {
		m := checked(t, 10, failures)
		s := m.slots[3]
		attempts, bound := 0, failures
		if excuse != ExcuseNone {
			bound = postponed*failures + failures
		}
		now := Time(0)
		for s.phase == phaseReady {
			attempts++
			if attempts > bound {
				t.Fatalf("excuse %q: not acted on after %d attempts", excuse, attempts-1)
			}
			m.Step(now, CheckResult{Ref: s.ref, Token: s.checking, Failed: true, Excuse: excuse})
			now = now.Add(time.Second)
		}
		if attempts < bound {
			t.Errorf("excuse %q: acted on after %d attempts, %d is right", excuse, attempts, bound)
		}
		for _, o := range m.slots {
			if o != s && (o.phase != phaseReady || o.unhealthy) {
				t.Errorf("excuse %q: %s is touched as well", excuse, o.name)
			}
		}
	}
}

// BenchmarkCheckResult: an attempt passes.
func BenchmarkCheckResult(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(itoa(int32(n)), func(b *testing.B) {
			m := checked(b, n, 3)
			now := Time(0)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				now++
				s := m.slots[i*7919%len(m.slots)]
				m.Step(now, CheckResult{Ref: s.ref, Token: s.checking, Failed: i%5 == 0})
			}
		})
	}
}
