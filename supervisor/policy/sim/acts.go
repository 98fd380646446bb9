package sim

import (
	"time"

	"nines/spec"
	"nines/supervisor/policy"
)

// Judge is a word about an instance: that something is to be done about it, or
// not any more.
type Judge struct {
	Service  string
	Instance int
	Cause    policy.Cause
	On       spec.OnFailure
	Withdraw bool
}

// turn is what the observer knows of a replacement by an automatic act.
type turn uint8

const (
	turnNone    turn = iota
	turnPlanned      // by recycle: the next one waits until it is up
	turnAct          // by a judgement: the next act waits until it is up, or has ended
	turnFaltered
)

// rank orders judgements: the strongest stays.
func rank(c policy.Cause) int {
	switch c {
	case 0:
		return 0
	case policy.CauseCheck:
		return 2
	}
	return 1
}

// judged notes what was said of an incarnation.
func (k *checker) judged(ev policy.Act) {
	inc := k.names(ev.Ref)
	if inc == nil || !inc.told.spawned || inc.told.over || inc.told.left || inc.told.ask != askNone {
		return
	}
	if ev.Cause == policy.CauseCheck {
		inc.unhealthy = true
	}
	if ev.On != spec.OnFailureAlert && rank(ev.Cause) > max(rank(inc.judged), inc.wants()) {
		inc.judged = ev.Cause
	}
}

func (k *checker) withdrawn(ev policy.Withdraw) {
	inc := k.names(ev.Ref)
	if inc == nil {
		return
	}
	if ev.Cause == policy.CauseCheck {
		inc.unhealthy = false
	}
	if inc.judged == ev.Cause {
		inc.judged = 0
	}
	inc.noted[ev.Cause] = false
}

// told checks that a judgement on memory, which is told again with every sample,
// has one event for as long as it holds.
func (k *checker) told(ref policy.Ref, c policy.Cause) {
	inc := k.w.incs[ref]
	if inc == nil {
		return
	}
	if inc.noted[c] {
		k.fail("twice", "the event of a judgement on %s is told again although it was not taken back", inc.name())
	}
	inc.noted[c] = true
}

// due says whether inc may be recycled now, by the words of the specification.
func (k *checker) due(inc *incarnation) bool {
	r, t := inc.svc.spec.Recycle, &inc.told
	switch {
	case r == nil || !t.ready || t.left || inc.svc.spec.Type == taskType:
		return false
	case r.MaxAge > 0:
		least := time.Duration(float64(r.MaxAge) * (1 - r.Jitter))
		return k.w.now.Sub(t.spawnedAt) >= least-time.Microsecond
	}
	s, err := spec.ParseSchedule(r.Schedule)
	if err != nil || !k.clock {
		return false
	}
	at, ok := s.Next(k.w.wall(t.spawnedAt))
	return ok && !at.After(k.w.wall(k.w.now))
}

// healthy says whether the disruption budget counts the slot.
func (sl *slot) healthy() bool {
	return sl.index < sl.svc.instances && sl.svc.spec.Type != taskType && sl.ready() && !sl.cur.unhealthy && !sl.cur.ill()
}

// atLeast is the disruption budget.
func (s *service) atLeast() int {
	switch {
	case s.spec.AvailableSet:
		return s.spec.AvailableAtLeast
	case s.instances > 1:
		return s.instances - 1
	}
	return 0
}

// acted checks that an automatic act may take inc down now.
func (k *checker) acted(inc *incarnation, planned bool) {
	sl, s := inc.slot, inc.svc
	left := 0
	for _, o := range s.slots {
		if o == sl {
			continue
		}
		if o.healthy() {
			left++
		}
		if o.turn == turnPlanned || o.turn == turnAct || planned && o.turn == turnFaltered {
			k.fail("turn", "%s is taken down by an automatic act, but the replacement of %s is awaited", inc.name(), o.id)
		}
	}
	// It still counts itself: ask has not been noted yet.
	if sl.healthy() && left < s.atLeast() {
		k.fail("budget", "%s is taken down by an automatic act: %d instances stay ready, at least %d must", inc.name(), left, s.atLeast())
	}
	for _, d := range s.needs {
		if !d.ready() && !d.unsure() && !d.endsNow(k) {
			k.fail("order", "%s is taken down by an automatic act, and would wait for %s", inc.name(), d.spec.Name)
		}
	}
	sl.turn = turnAct
	if planned {
		sl.turn = turnPlanned
		k.w.marks[MarkRecycled]++
	} else {
		k.w.marks[MarkActed]++
	}
}

// endsNow says whether something of s is told to end in this very step: whether
// that was decided before what else was, cannot be seen.
func (s *service) endsNow(k *checker) bool {
	for _, sl := range s.slots {
		if sl.cur != nil && sl.cur.endStep == k.w.steps {
			return true
		}
	}
	return false
}

// turns ends turns: the replacement is up, or none is to come.
func (k *checker) turns() {
	for _, s := range k.services {
		for _, sl := range s.slots {
			if sl.turn == turnNone {
				continue
			}
			runs := sl.lives() && sl.cur.told.spawned && sl.cur.told.ask == askNone && !sl.cur.told.over
			if !sl.wanted() || sl.outcome != none || sl.unsure || runs && (sl.cur.told.ready || s.spec.Type == taskType) {
				sl.turn = turnNone
			}
		}
	}
}

// falters notes that what may be a replacement has ended.
func (sl *slot) falters() {
	switch sl.turn {
	case turnPlanned:
		sl.turn = turnFaltered
	case turnAct:
		sl.turn = turnNone
	}
}

// overlooked says whether an act of sl waits although nothing stands against it.
func (k *checker) overlooked(sl *slot) bool {
	if sl.cur == nil || sl.cur.judged == 0 && sl.cur.wants() == 0 || !sl.ready() || !sl.svc.mayStart(k) {
		return false
	}
	left := 0
	for _, o := range sl.svc.slots {
		if o != sl && o.healthy() {
			left++
		}
		if o.turn != turnNone && o.turn != turnFaltered {
			return false // its own liveness is looked at
		}
	}
	return !sl.healthy() || left >= sl.svc.atLeast()
}

// clear says whether nothing is under way with the service of sl, as far as can be
// seen: all its instances are up for good, and wanted.
func (k *checker) clear(sl *slot) bool {
	s := sl.svc
	if !sl.wanted() {
		return false
	}
	for _, o := range s.slots[:s.instances] {
		if !o.ready() || o.unsure || o.restart || k.unwanted(o) || s.spec.Ready == nil && k.ticked < o.cur.told.readyAt.Add(policy.DefaultSettle) {
			return false
		}
	}
	return s.restarts == 0
}

// wall is what the wall clock shows at t, as it runs now.
func (w *world) wall(t policy.Time) time.Time {
	return time.Unix(1_790_000_000, 0).UTC().Add(time.Duration(t) + w.offset)
}

// judge says something of an instance to the machine.
func (w *world) judge(j *Judge) {
	inc := w.check.current(j.Service, j.Instance)
	if inc == nil {
		return
	}
	if j.Withdraw {
		w.deliver(policy.Withdraw{Ref: inc.ref, Cause: j.Cause})
		return
	}
	w.marks[MarkJudged]++
	ev := policy.Act{Ref: inc.ref, Cause: j.Cause, Reason: "it does not answer", On: j.On}
	w.deliver(ev)
	if j.Cause == policy.CauseMemory || j.Cause == policy.CauseLeak {
		w.deliver(ev) // with the next sample
	}
}

// tellClock says what the wall clock shows.
func (w *world) tellClock() { w.step(policy.ClockChanged{Wall: w.wall(w.now)}) }
