package sim

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"nines/spec"
	"nines/supervisor/policy"
)

// checker holds the invariants. It sees every event before the machine does,
// every output before it is carried out, and the truth about processes.
type checker struct {
	w        *world
	spec     *spec.Spec // that runs
	services []*service
	byName   map[string]*service
	groups   []*group
	clock    bool // the machine was told what the wall clock shows
	bySlot   map[policy.Slot]*slot
	requests []request
	waits    int // the first of them that may be unanswered
	shutdown *shutdown
	ticked   policy.Time // the newest Tick
	changed  policy.Time // when an apply began
	ended    bool
	caged    []*incarnation // who is or was in quarantine, in that order
	delayed  []*slot        // their next start has been, or will be, scheduled
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
	spec     *spec.Spec // of an apply
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
	k := &checker{w: w, byName: map[string]*service{}, bySlot: map[policy.Slot]*slot{}, requests: make([]request, 1), waits: 1, spec: w.sc.Spec}
	for _, sp := range w.sc.Spec.Services {
		s := &service{spec: sp, instances: sp.Instances}
		k.services = append(k.services, s)
		k.byName[sp.Name] = s
		k.grow(s, sp.Instances)
		for _, sl := range s.slots {
			sl.first = true
		}
	}
	k.relink()
	k.link(w.sc.Spec.Groups)
	return k
}

// descend collects into s.below[rel] what o depends on.
func (s *service) descend(o *service, rel int) {
	lists := [][]*service{o.needs}
	if rel == 1 {
		lists = append(lists, o.after)
	}
	for _, list := range lists {
		for _, d := range list {
			if !s.below[rel][d] {
				s.below[rel][d] = true
				s.descend(d, rel)
			}
		}
	}
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
	now, tick := k.w.now, false
	k.heard(ev)
	switch ev := ev.(type) {
	case policy.Tick:
		k.ticked, tick = now, true
	case policy.Spawned:
		if inc := k.names(ev.Ref); inc != nil && !inc.told.over && !inc.told.spawned {
			inc.told.spawned, inc.told.spawnedAt, inc.told.pid = true, now, ev.PID
		}
	case policy.SpawnFailed:
		if inc := k.names(ev.Ref); inc != nil && !inc.told.spawned && !inc.told.reaped {
			inc.told.reaped = true
			if !inc.told.over {
				k.over(inc, policy.Status{Code: ev.Code}, true, ev.Again)
			}
			inc.told.empty = true
		}
	case policy.Ready:
		if inc := k.names(ev.Ref); inc != nil && !inc.told.over {
			inc.told.saidReady = true
		}
	case policy.Exited:
		if inc := k.names(ev.Ref); inc != nil && !inc.told.reaped {
			inc.told.reaped = true
			if !inc.told.over {
				if !inc.told.spawned { // what ended was made
					inc.told.spawned, inc.told.spawnedAt = true, now
					k.byTime(inc.slot, false)
					inc.doomed = inc.doomed || k.unwanted(inc.slot)
				}
				k.over(inc, ev.Status, false, false)
			}
			inc.told.empty = inc.told.empty || ev.Empty
		}
	case policy.Act:
		k.judged(ev)
	case policy.Withdraw:
		k.withdrawn(ev)
	case policy.ClockChanged:
		k.clock = true
	case policy.Emptied:
		if inc := k.names(ev.Ref); inc != nil && inc.told.killed {
			// Before it is known that there was a process, it says nothing of
			// one that is only being made.
			inc.told.empty = inc.told.empty || inc.told.spawned || inc.told.reaped
		}
	}
	k.byTimes(tick)
}

// readied notes readiness that an attempt brought.
func (k *checker) readied() { k.byTimes(false) }

func (k *checker) byTimes(tick bool) {
	for _, s := range k.services {
		for _, sl := range s.slots {
			k.byTime(sl, tick)
		}
	}
	k.turns()
	k.advance()
}

// names returns the incarnation if it is its slot's current one and something
// is still to be told of it. Everything else is stale.
func (k *checker) names(ref policy.Ref) *incarnation {
	inc := k.w.incs[ref]
	if inc == nil || inc.slot.cur != inc || inc.told.empty && inc.told.reaped {
		k.w.marks[MarkStale]++
		return nil
	}
	return inc
}

// byTime notes readiness. Without a ready block it comes with the exec; a delay
// is over at a Tick.
func (k *checker) byTime(sl *slot, tick bool) {
	if sl.cur == nil {
		return
	}
	t := &sl.cur.told
	if !t.spawned || t.ready || t.over || t.left || t.ask != askNone {
		return
	}
	r := sl.svc.spec.Ready
	if r == nil || t.saidReady || tick && r.Delay > 0 && k.w.now >= t.spawnedAt.Add(r.Delay) {
		t.ready, t.readyAt = true, k.w.now
		sl.turn = turnNone
		if sl.svc.spec.Type != taskType && !sl.cur.doomed { // else it is perhaps being ended, and comes again
			sl.first = false
		}
		sl.starts = 0
		// If it was told to end while it was being made, it never was ready.
		sl.ambiguous = sl.ambiguous || sl.cur.doomed
	}
}

// over books that the main process of inc has ended, or never was.
func (k *checker) over(inc *incarnation, st policy.Status, noProcess, again bool) {
	k.judge(inc, st, noProcess, again)
	inc.slot.retries()
}

// retries: what has ended for good, but was of another revision than the one that
// is to run, starts with that.
func (sl *slot) retries() {
	if sl.outcome != none && sl.cur != nil && sl.cur.outdated() {
		sl.pardon(sl.overAt)
		sl.notBefore, sl.first = 0, true
	}
}

func (k *checker) judge(inc *incarnation, st policy.Status, noProcess, again bool) {
	t, sl, now := &inc.told, inc.slot, k.w.now
	t.over = true
	if t.ask == askNone && !t.left { // else it was no longer ready since then
		sl.forgets(now, &k.w.marks)
	}
	r := &sl.svc.spec.Restart
	switch {
	case t.ask == askEither || t.ask == askNone && inc.doomed:
		// Was it about to be ended? Then this is no failure, nor its completion.
		sl.pardon(now)
		sl.unsure, sl.ambiguous, sl.first = true, true, true
		k.groupFails(sl, false)
		sl.turn = turnNone
		if t.ask == askNone && success(r, st) && sl.svc.spec.Type == taskType {
			sl.outcome = completed
		}
	case t.ask == askStop:
		sl.notBefore, sl.notAfter = now, 0
		sl.first = true // it comes back as it came the first time
	case noProcess && again && inc.adopted:
		sl.notBefore, sl.notAfter = now, now // the supervisor's death was the reason
	case noProcess && again:
		sl.notBefore, sl.notAfter = now, now.Add(5*time.Second)
	case k.shutdown != nil || !sl.wanted():
		sl.notBefore, sl.notAfter = now, 0 // nobody waits for it
	default:
		sl.first = false
		if t.ask != askAct {
			sl.falters()
		}
		good := !noProcess && t.ask == askNone && success(r, st)
		task := sl.svc.spec.Type == taskType
		switch {
		case task && st.Unknown && t.ask == askNone:
			sl.outcome = failed // it may have completed, and must not run twice
			sl.unsure = sl.restart
			k.w.marks[MarkGaveUp]++
			return
		case good && (task || r.Policy != spec.RestartAlways):
			sl.outcome = completed
			sl.unsure = sl.restart // its turn may come before it is empty
			if task {
				k.w.marks[MarkTaskDone]++
			}
			return
		case r.Policy == spec.RestartNever:
			sl.outcome = failed
			sl.unsure = sl.restart // its turn may come before it is empty
			k.w.marks[MarkGaveUp]++
			return
		}
		fatal := t.ask == askNone && !good && st.Signal == "" && !st.Unknown && slices.Contains(r.FatalCodes, st.Code)
		sl.ended(now, noProcess || !t.ready, fatal, &k.w.marks)
		k.groupFails(sl, !sl.unsure && !sl.hazy)
		k.w.marks[MarkBackoff]++
		k.delayed, sl.delayed = append(k.delayed, sl), true
		if sl.restart {
			sl.notBefore = now // a person's restart may come at any time
		}
	}
}

// success says whether an end counts as one, by the spec.
func success(r *spec.Restart, st policy.Status) bool {
	return st.Signal == "" && !st.Unknown && slices.Contains(r.SuccessCodes, st.Code)
}
