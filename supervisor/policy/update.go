package policy

import (
	"nines/spec"
)

// rollout is an update of a service, from when it is asked for until all of its
// instances run the revision, and the probation that follows. How far it has come
// is state: which revision each slot is to run (target), and which it runs. So it
// goes on after a supervisor's death.
type rollout struct {
	state rollState
	from  int  // the revision that it replaces
	last  bool // it is not reverted: it reverts another, or is a person's rollback
	until Time // the probation of the current revision ends; 0: it has none

	passed  int    // the most instances that had passed at a time: one more is progress
	overdue Reason // its deadline is over, and it is not reverted
	told    bool   // that it waits for the budget
}

// rollState is where an update is.
type rollState uint8

const (
	rollNone   rollState = iota
	rollCanary           // the first instances run the new revision, alone
	rollRest             // the others follow
	rollBack             // what runs the revision that is left goes, and no canary is needed
	numRollStates
)

func (r rollState) String() string { return [...]string{"", "canary", "rest", "back"}[r] }

// forward says whether a revision is being tried.
func (u *rollout) forward() bool { return u.state == rollCanary || u.state == rollRest }

// on says whether an update is under way.
func (u *rollout) on() bool { return u.state != rollNone }

// update makes digest, with what sp says, the revision that v is to run; by a person's
// word it is gone back to, and not reverted. What
// failed before counts for nothing: it is another revision that is tried now.
func (m *Machine) update(v *service, digest string, sp *spec.Service, person bool) {
	from := v.revision
	if v.roll.forward() {
		// Another comes before it had been through; what had run before it is still
		// what there is to go back to.
		from = v.roll.from
		if r := v.find(v.revision); r.Verdict == Unproven {
			r.Verdict = Superseded
		}
	}
	left := v.revision
	m.dropSuccessors(v)
	m.newRevision(v, digest, sp)
	v.roll = rollout{state: rollRest, from: from, last: person}
	switch {
	case person, v.revision == from: // it is gone back to what had run before
		v.roll.state, v.roll.from = rollBack, left
	case v.spec.Update.Canary > 0 && v.spec.Type != spec.TypeTask:
		v.roll.state = rollCanary
	}
	m.moveData(v, left, v.roll.state == rollBack)
	m.beginRoll(v, left, Reason{kind: whyUpdate, count: int32(left), code: int32(v.revision)})
}

// beginRoll has the instances of v replaced; left is the revision that goes.
func (m *Machine) beginRoll(v *service, left int, why Reason) {
	v.spec = v.runs(v.revision)
	v.readRecycle()
	if v.roll.state != rollCanary {
		m.aimAll(v)
	}
	m.serviceNotice(KindUpdateStarted, v, why)
	m.recordRevision(v)
	m.countSettled(v)
	m.touchAll(v)
	m.markRoll(v)
}

// goOn replaces what still runs another revision than v is to run: it was to be stopped
// when the update was over, had not been yet, and is wanted again.
func (m *Machine) goOn(v *service) {
	v.roll.state = rollBack
	m.recordRevision(v)
	m.countSettled(v)
	m.markRoll(v)
}

// aim says which revision s is started with next.
func (m *Machine) aim(s *slot, revision int) {
	if t := s.twin; t != nil && !s.aside && !t.candidate {
		m.aim(t, revision)
	}
	if s.target == revision {
		return
	}
	s.target = revision
	m.save(s)
	m.touch(s)
}

// aimAll: nothing of v is started with what is left any more. What is down comes up
// with the current revision at once; what runs has its turn.
func (m *Machine) aimAll(v *service) {
	for _, s := range v.slots {
		if s.target != v.revision {
			m.aim(s, v.revision)
			m.renew(s)
		}
	}
}

// startsWith is the revision that an instance begins with that was not there yet.
func (v *service) startsWith() int {
	if v.roll.state == rollCanary && v.find(v.roll.from) != nil {
		return v.roll.from
	}
	return v.revision
}

func (m *Machine) serviceNotice(k Kind, v *service, why Reason) {
	m.out.Notices = append(m.out.Notices, Notice{
		Kind: k, Service: v.spec.Name, Slot: NoSlot, Ref: Ref{Slot: NoSlot}, Revision: v.revision, Reason: why,
	})
}

// renew: s is to run another revision. Where nothing of it lives, or soon, it
// starts with that as it would for the first time.
func (m *Machine) renew(s *slot) {
	switch s.phase {
	case phaseSpawning, phaseStarting, phaseReady, phaseFreezing:
		return // it is ended first
	case phaseDown, phaseBackoff, phaseCompleted, phaseFailed:
		m.disarm(s, timerPhase)
		s.phase, s.nextAt, s.settled, s.first = phaseDown, 0, false, true
	case phaseStopping, phaseKilling, phaseClearing, phaseStuck:
		s.next, s.nextAt = phaseDown, 0
	}
	m.forget(s)
	s.restarts, s.auto = 0, false
	m.save(s)
	m.touch(s)
	m.reconsider(s)
}

func (m *Machine) markRoll(v *service) {
	if !v.rollDirty {
		v.rollDirty = true
		m.dirtyRolls.push(v)
	}
}

// stale says whether s runs something that is not its target, and is not being
// ended.
func (s *slot) stale() bool {
	switch s.phase {
	case phaseSpawning, phaseStarting, phaseReady:
		return s.revision != s.target && s.end == endNone
	}
	return false
}

// onItsWay says whether s has had its turn: it runs v's revision, or comes up with
// it, beside its predecessor or in its place.
func (v *service) onItsWay(s *slot) bool {
	return s.target == v.revision && !s.stale() || s.succeeding()
}

// passes says whether s runs v's revision and has been healthy for min_healthy. at
// is when it will have been, if nothing happens; never: nobody knows.
func (m *Machine) hasPassed(s *slot) (passed bool, at Time) {
	v := s.svc
	if s.revision != v.revision || s.target != v.revision {
		return false, never
	}
	switch {
	case s.phase == phaseCompleted:
		return true, 0
	case v.spec.Type == spec.TypeTask:
		return false, never
	case s.phase != phaseReady || s.end != endNone || s.unhealthy || !s.settled:
		return false, never
	}
	at = s.wellSince.Add(v.spec.Update.MinHealthy)
	return at <= m.now, at
}

// parallel is update.max_parallel.
func (v *service) parallel() int { return max(v.spec.Update.MaxParallel, 1) }

// roll moves the update of v on, as far as what its instances do allows.
func (m *Machine) roll(v *service) {
	u := &v.roll
	if m.down.on || v.removed {
		return
	}
	if v.dataHolds() {
		m.progressData(v)
		return
	}
	if !u.on() {
		m.succeeded(v)
		return
	}
	for _, o := range v.ops {
		if o.verb == VerbRestart && o.begun && v.file.Data == nil {
			return // that takes them down, one by one
		}
	}
	var passed, flight, left int
	for _, s := range v.slots[:v.instances] {
		if d := m.desired(s); d != wantRun && d != wantYield {
			m.disarm(s, timerUpdate)
			continue // stopped by a person: it is aimed when the update is over
		}
		s = m.whichServes(s)
		x := s
		if s.succeeding() {
			x = s.twin
		}
		ok, at := m.hasPassed(x)
		switch {
		case ok && x != s:
			m.takePlace(x)
			passed++
		case ok:
			passed++
		case v.onItsWay(s):
			flight++
			if at != never {
				m.armAt(x, timerHealthy, at)
			}
		default:
			left++
			m.disarm(s, timerUpdate)
		}
	}
	progress := passed > u.passed
	if progress {
		u.passed, u.overdue = passed, Reason{}
	}
	m.armDeadlines(v, progress)
	if u.state == rollCanary {
		n := min(v.spec.Update.Canary, passed+flight+left)
		switch {
		case n == 0: // nothing of it is wanted
		case passed >= n && flight == 0:
			u.state = rollRest
			m.aimAll(v)
			m.serviceNotice(KindCanaryPassed, v, Reason{kind: whyCanary, count: int32(passed), code: int32(v.revision)})
			m.recordRevision(v)
		case passed+flight >= n:
			return
		default:
			left = min(left, n-passed-flight)
		}
	}
	if left+flight == 0 {
		m.updated(v)
		return
	}
	for ; left > 0 && flight < v.parallel(); left-- {
		if s := m.nextToReplace(v); s == nil || !m.takeTurn(s) {
			return
		}
		flight++
	}
}

// nextToReplace is the instance whose turn is next: one that is not ready costs
// nothing, so these come first.
func (m *Machine) nextToReplace(v *service) (next *slot) {
	for _, s := range v.slots[:v.instances] {
		if d := m.desired(s); d != wantRun && d != wantYield || v.onItsWay(s) || s.phase == phaseStuck {
			continue
		}
		if s.phase != phaseReady || s.unhealthy {
			return s
		}
		if next == nil {
			next = s
		}
	}
	return next
}

// takeTurn begins to replace s, if it may.
func (m *Machine) takeTurn(s *slot) bool {
	v := s.svc
	switch {
	case s.phase == phaseReady && s.counted.healthy && v.spec.StartFirst():
		if !v.mayStart() || m.desired(s) != wantRun || s.twin != nil && s.twin.phase.lives() {
			return false
		}
		m.succeed(s, Reason{kind: whySucceed, count: int32(s.revision), code: int32(v.revision)})
	case s.phase.lives() && (s.phase == phaseReady || s.revision != v.revision) && s.end == endNone && s.phase < phaseStopping:
		if !v.mayStart() || m.desired(s) != wantRun {
			return false // what is taken down now would not come up again
		}
		if s.counted.healthy {
			if v.settled < v.standing[standsUp] {
				return false // what has only just come up may not last
			}
			if most := v.instances - v.parallel(); v.healthy <= most && bug != 21 {
				m.rollRests(v, s, itoa(int32(v.healthy))+" of "+plural(int32(v.instances), "instance")+" are ready, and update.max_parallel lets "+
					itoa(int32(v.parallel()))+" be down at a time")
				return false
			}
			if why := m.mayDisrupt(s, CauseCheck); why.kind != whyNothing {
				m.rollWaits(v, s, why)
				return false
			}
		}
		m.aim(s, v.revision)
		m.replace(s)
	default:
		m.aim(s, v.revision)
		m.renew(s)
	}
	v.roll.told = false
	m.arm(s, timerUpdate, v.spec.Update.Deadline)
	if v.spec.Update.Deadline <= 0 {
		m.disarm(s, timerUpdate)
	}
	return true
}

// rollWaits says, once, what the update waits for.
func (m *Machine) rollWaits(v *service, s *slot, why Reason) {
	if why.kind != whyActBudget {
		return // that ends by itself
	}
	why.how = whyUpdate
	if !v.roll.told {
		v.roll.told = true
		m.notice(KindBudgetWait, s, why)
	}
	m.rollRests(v, s, why.String())
}

// rollRests: s is not replaced for that reason. Where nothing else is on its way up,
// the reason does not pass by itself (a person has stopped another instance, or the
// budget leaves no room at all), and whoever waits for the update is told.
func (m *Machine) rollRests(v *service, s *slot, why string) {
	if v.standing[standsFirst]+v.standing[standsStalled] > 0 || v.settled != v.standing[standsUp] {
		return
	}
	why = s.name + " is not replaced: " + why
	if v.awaited == awaitUp {
		m.awaitedFailed(v, why)
	}
	m.failDeploys(v, why)
}

// replace takes s down; it comes up again with its target.
func (m *Machine) replace(s *slot) {
	if s.end != endNone || m.desired(s) != wantRun {
		return
	}
	m.forget(s)
	s.restarts, s.auto = 0, false
	why := Reason{kind: whyUpdate, count: int32(s.revision), code: int32(s.target)}
	m.notice(KindRestarting, s, why)
	m.stop(s, endStop, why)
}
