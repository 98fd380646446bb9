package policy

import (
	"fmt"
	"testing"
	"time"

	"nines/spec"
)

var benchSizes = []int{10, 100, 1000, 10000}

// benchMachine has n services of one ready instance each; every tenth needs
// the first of its ten.
func benchMachine(b testing.TB, n int, change func(*spec.Service)) *Machine {
	sp := &spec.Spec{}
	for i := range n {
		v := newService(fmt.Sprintf("s%d", i))
		v.Restart.Delay, v.Restart.MaxDelay, v.Restart.Jitter = 0, 0, 0.1
		if i%10 > 0 {
			v.Needs = []string{fmt.Sprintf("s%d", i-i%10)}
		}
		if change != nil {
			change(v)
		}
		sp.Services = append(sp.Services, v)
	}
	m := New(Config{})
	m.Step(0, SpecChanged{Spec: sp})
	for range 2 { // those that are needed first
		for _, s := range m.slots {
			if s.phase == phaseSpawning {
				m.Step(0, Spawned{Ref: s.ref, PID: 1})
			}
		}
	}
	for _, s := range m.slots {
		if s.phase != phaseReady {
			b.Fatalf("%s is %s", s.name, s.phase)
		}
	}
	return m
}

// BenchmarkExitRespawn: an instance ends, is started again at once, and its
// process exists. An event is half of it.
func BenchmarkExitRespawn(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			m := benchMachine(b, n, nil)
			now := Time(0)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				now++
				s := m.slots[i*7919%len(m.slots)]
				m.Step(now, Exited{Ref: s.ref, Status: Status{Code: 1}, Empty: true})
				if s.phase == phaseSpawning {
					m.Step(now, Spawned{Ref: s.ref, PID: 1})
				} else {
					// It waits for what it needs, which comes first.
					b.Fatalf("%s is %s", s.name, s.phase)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(2*b.N), "ns/event")
		})
	}
}

// BenchmarkBackoff: an instance ends, its backoff ends, its process exists:
// three events, with two deadlines set and one moved.
func BenchmarkBackoff(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			m := benchMachine(b, n, func(v *spec.Service) {
				v.Restart.Delay, v.Restart.MaxDelay = time.Millisecond, time.Millisecond
			})
			now := Time(0)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				s := m.slots[i*7919%len(m.slots)]
				m.Step(now, Exited{Ref: s.ref, Status: Status{Code: 1}, Empty: true})
				for s.phase == phaseBackoff {
					now, _ = m.Deadline()
					m.Step(now, Tick{})
				}
				m.Step(now, Spawned{Ref: s.ref, PID: 1})
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(3*b.N), "ns/event")
		})
	}
}

// BenchmarkReady: a notification that changes nothing, the cheapest event.
func BenchmarkReady(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			m := benchMachine(b, n, nil)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				m.Step(0, Ready{Ref: m.slots[i*7919%len(m.slots)].ref})
			}
		})
	}
}

// BenchmarkReplicas: the same as ExitRespawn where all are replicas of one
// service: nothing may cost more because there are many.
func BenchmarkReplicas(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			v := newService("web")
			v.Instances = n
			v.Restart.Delay, v.Restart.MaxDelay = 0, 0
			m := New(Config{})
			m.Step(0, SpecChanged{Spec: &spec.Spec{Services: []*spec.Service{v}}})
			for _, s := range m.slots {
				m.Step(0, Spawned{Ref: s.ref, PID: 1})
			}
			now := Time(0)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				now++
				s := m.slots[i*7919%len(m.slots)]
				m.Step(now, Exited{Ref: s.ref, Status: Status{Code: 1}, Empty: true})
				m.Step(now, Spawned{Ref: s.ref, PID: 1})
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(2*b.N), "ns/event")
		})
	}
}

// BenchmarkAct: a judged instance is restarted, and its replacement comes up:
// four events. All the others wait in line meanwhile, which must cost nothing.
func BenchmarkAct(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			v := newService("web")
			v.Instances, v.Ready = n, &spec.Ready{Notify: "systemd"}
			v.Restart.Delay, v.Restart.MaxDelay, v.CrashLoop.Failures = 0, 0, 0
			m := New(Config{})
			m.Step(0, SpecChanged{Spec: &spec.Spec{Services: []*spec.Service{v}}})
			for _, s := range m.slots {
				m.Step(0, Spawned{Ref: s.ref, PID: 1})
				m.Step(0, Ready{Ref: s.ref})
			}
			now := Time(0)
			for _, s := range m.slots {
				m.Step(now, Act{Ref: s.ref, Cause: CauseMemory})
			}
			b.ReportAllocs()
			for b.Loop() {
				now++
				s := v0(m)
				m.Step(now, Exited{Ref: s.ref, Empty: true})
				m.Step(now, Spawned{Ref: s.ref, PID: 1})
				m.Step(now, Ready{Ref: s.ref})
				m.Step(now, Act{Ref: s.ref, Cause: CauseMemory}) // to the end of the line
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(4*b.N), "ns/event")
		})
	}
}

// v0 is the instance that an act has taken down.
func v0(m *Machine) *slot { return m.services[0].gate.last }

// BenchmarkGroup: a group of n members is restarted, 2n events.
func BenchmarkGroup(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			sp := &spec.Spec{}
			g := spec.Group{Name: "all", Strategy: spec.OneForAll}
			for i := range n {
				v := newService(fmt.Sprintf("s%d", i))
				v.Restart.Delay, v.Restart.MaxDelay, v.CrashLoop.Failures = 0, 0, 0
				sp.Services = append(sp.Services, v)
				g.Members = append(g.Members, v.Name)
			}
			sp.Groups = []spec.Group{g}
			m := New(Config{})
			m.Step(0, SpecChanged{Spec: sp})
			for _, s := range m.slots {
				m.Step(0, Spawned{Ref: s.ref, PID: 1})
			}
			now := Time(0)
			b.ReportAllocs()
			for b.Loop() {
				now++
				m.Step(now, Exited{Ref: m.slots[0].ref, Status: Status{Code: 1}, Empty: true})
				for i := n - 1; i > 0; i-- {
					m.Step(now, Exited{Ref: m.slots[i].ref, Empty: true})
				}
				for _, s := range m.slots {
					m.Step(now, Spawned{Ref: s.ref, PID: 1})
				}
				if s := m.slots[n-1]; s.phase != phaseReady || m.groups[0].state != groupIdle {
					b.Fatalf("%s is %s", s.name, s.phase)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(2*n*b.N), "ns/event")
		})
	}
}

// BenchmarkBoot: a spec is applied and everything comes up.
func BenchmarkBoot(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				benchMachine(b, n, nil)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n*b.N), "ns/instance")
		})
	}
}

// BenchmarkSnapshot: what each status and each turn of the loop that changed
// something costs.
func BenchmarkSnapshot(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			m := benchMachine(b, n, nil)
			b.ReportAllocs()
			for b.Loop() {
				m.Snapshot()
			}
		})
	}
}

// TestEventsAllocateLittle: at most two allocations an event, the event itself
// included.
func TestEventsAllocateLittle(t *testing.T) {
	m := benchMachine(t, 100, nil)
	now := Time(0)
	round := func() {
		now++
		s := m.slots[int(now)*7919%len(m.slots)]
		m.Step(now, Exited{Ref: s.ref, Status: Status{Code: 1}, Empty: true})
		m.Step(now, Spawned{Ref: s.ref, PID: 1})
	}
	for range 1000 { // until every slot has its window of failures
		round()
	}
	if n := testing.AllocsPerRun(1000, round); n > 4 {
		t.Errorf("%.1f allocations for two events", n)
	}
}

// BenchmarkMemory: the text of a slot that crashes, as each record of it needs,
// and reading it back.
func BenchmarkMemory(b *testing.B) {
	m := benchMachine(b, 10, nil)
	s := m.slots[0]
	for i := range Time(5) {
		now := Time(1_000_000_000_000) + i*100_000_000
		m.Step(now, Exited{Ref: s.ref, Status: Status{Code: 1}, Empty: true})
		m.Step(now, Spawned{Ref: s.ref, PID: 4242, Start: 88123})
	}
	r := Record{Kind: RecordSlot, slot: s}
	text := r.Append(nil)
	b.Run("append", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			text = r.Append(text[:0])
		}
		b.ReportMetric(float64(len(text)), "bytes")
	})
	b.Run("parse", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := ParseSlotMemory(string(text)); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkRestore: the next supervisor takes up so many living instances.
func BenchmarkRestore(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			m := benchMachine(b, n, nil)
			sp := &spec.Spec{}
			past := Past{Slots: map[string]SlotMemory{}}
			for _, s := range m.slots {
				sp.Services = append(sp.Services, s.svc.spec)
				past.Slots[s.name] = s.memory()
			}
			for b.Loop() {
				if o := New(Config{}).Step(0, SpecChanged{Spec: sp, Past: past}); len(o.Records) > 0 {
					b.Fatal("something has changed")
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n*b.N), "ns/instance")
		})
	}
}
