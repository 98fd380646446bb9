package sim

import (
	"fmt"
	"strconv"
	"time"

	"nines/supervisor/policy"
)

// checker holds the invariants. It sees every event before the machine does,
// every output before it is carried out, and the truth about processes.
type checker struct {
	w        *world
	services []*service
	byName   map[string]*service
	bySlot   map[policy.Slot]*slot
	requests []request
	shutdown *shutdown
	ticked   policy.Time // the newest Tick
	failure  *Failure
}

// Failure is a broken invariant.
type Failure struct {
	Invariant string // a number of the list of guarantees, or a word of the package comment
	Message   string
	At        time.Duration
	Step      int
}

func (f *Failure) Error() string {
	return fmt.Sprintf("invariant %s broken at step %d, %v: %s", f.Invariant, f.Step, f.At, f.Message)
}

type request struct {
	cmd      policy.Command
	accepted bool
	answered bool
}

type shutdown struct {
	at       policy.Time
	jumped   time.Duration // leaps of time before it
	byPerson bool
	code     int
}

func newChecker(w *world) *checker {
	k := &checker{w: w, byName: map[string]*service{}, bySlot: map[policy.Slot]*slot{}, requests: make([]request, 1)}
	for _, sp := range w.sc.Spec.Services {
		s := &service{spec: sp, instances: sp.Instances}
		k.services = append(k.services, s)
		k.byName[sp.Name] = s
		k.grow(s, sp.Instances)
	}
	for _, s := range k.services {
		for _, n := range s.spec.Needs {
			d := k.byName[n]
			s.needs = append(s.needs, d)
			d.dependents = append(d.dependents, s)
		}
		for _, n := range s.spec.After {
			s.after = append(s.after, k.byName[n])
		}
	}
	return k
}

// grow makes the slots of a service up to n.
func (k *checker) grow(s *service, n int) {
	for i := len(s.slots); i < n; i++ {
		s.slots = append(s.slots, &slot{id: s.spec.Name + "/" + strconv.Itoa(i), svc: s, index: i})
	}
}

// fail notes the first broken invariant.
func (k *checker) fail(invariant, format string, args ...any) {
	if k.failure == nil {
		k.failure = &Failure{invariant, fmt.Sprintf(format, args...), time.Duration(k.w.now), k.w.steps}
	}
}

// current returns the newest incarnation of an instance, or nil.
func (k *checker) current(service string, index int) *incarnation {
	s := k.byName[service]
	if s == nil || index >= len(s.slots) {
		return nil
	}
	return s.slots[index].cur
}

// before notes what the machine is about to be told.
func (k *checker) before(ev policy.Event) {
	now := k.w.now
	switch ev := ev.(type) {
	case policy.Tick:
		k.ticked = now
	case policy.Spawned:
		if inc := k.names(ev.Ref); inc != nil && !inc.told.over && !inc.told.spawned {
			inc.told.spawned, inc.told.spawnedAt = true, now
		}
	case policy.SpawnFailed:
		if inc := k.names(ev.Ref); inc != nil && !inc.told.over {
			k.over(inc, policy.Status{Code: ev.Code}, ev.Again)
			k.empty(inc)
		}
	case policy.Ready:
		if inc := k.names(ev.Ref); inc != nil && !inc.told.over && !inc.told.ready {
			inc.told.ready, inc.told.readyAt = true, now
		}
	case policy.Exited:
		if inc := k.names(ev.Ref); inc != nil {
			if !inc.told.over {
				k.over(inc, ev.Status, false)
			}
			if ev.Empty {
				k.empty(inc)
			}
		}
	case policy.Emptied:
		if inc := k.names(ev.Ref); inc != nil {
			if !inc.told.over {
				k.over(inc, policy.Status{Signal: "SIGKILL"}, false)
			}
			k.empty(inc)
		}
	}
	for _, s := range k.services {
		for _, sl := range s.slots {
			k.byTime(sl)
		}
	}
}

// names returns the incarnation if it is its slot's current one and something
// of it may live as far as the machine knows. Everything else is stale.
func (k *checker) names(ref policy.Ref) *incarnation {
	inc := k.w.incs[ref]
	if inc == nil || inc.slot.cur != inc || inc.told.empty {
		k.w.marks[MarkStale]++
		return nil
	}
	return inc
}

// byTime notes the readiness that comes by itself: at the exec, or a while
// after it.
func (k *checker) byTime(sl *slot) {
	if sl.cur == nil {
		return
	}
	t := &sl.cur.told
	if !t.spawned || t.ready || t.over {
		return
	}
	switch r := sl.svc.spec.Ready; {
	case r == nil:
		t.ready, t.readyAt = true, t.spawnedAt
	case r.Delay > 0 && k.w.now >= t.spawnedAt.Add(r.Delay):
		t.ready, t.readyAt = true, t.spawnedAt.Add(r.Delay)
	}
}
