package policy

// A place of an instance has a second slot, its twin, made when it is first
// needed. In it a successor comes up while its predecessor serves (start-first);
// when it has shown that it is healthy the two change roles: the successor's slot
// is the place, and the predecessor's is aside, to be ended. So what holds of a slot
// holds of both, and a place never has more than two incarnations.

// succeeding says whether a successor of s is coming up, or waits to.
func (s *slot) succeeding() bool { return s.twin != nil && s.twin.candidate }

// mayBeSucceeded says whether what replaces s may come up beside it, although it is
// no update.
func (s *slot) mayBeSucceeded() bool {
	v := s.svc
	return v.instances > 1 && v.spec.StartFirst() && !s.aside && s.phase == phaseReady && !v.roll.on() &&
		(s.twin == nil || !s.twin.phase.lives())
}

// serves says whether s is ready, healthy, and has neither ended nor is being ended.
func (s *slot) serves() bool {
	return s.phase == phaseReady && !s.exited && s.end == endNone && !s.unhealthy
}

// place is the slot that counts for s's instance.
func (s *slot) place() *slot {
	if s.aside {
		return s.twin
	}
	return s
}

// theTwin makes the twin of s.
func (m *Machine) theTwin(s *slot) *slot {
	if s.twin == nil {
		t := m.placeSlot(s.svc, s.index)
		s.twin, t.twin, t.aside = t, s, true
	}
	return s.twin
}

// succeeded gives successors that no update is about their place.
func (m *Machine) succeeded(v *service) {
	for _, s := range v.slots {
		if t := s.twin; s.succeeding() && t.settled && t.serves() {
			m.takePlace(t)
		}
	}
}

// succeed starts a successor of s beside it, with the current revision.
func (m *Machine) succeed(s *slot, why Reason) {
	t := m.theTwin(s)
	t.candidate, t.target = true, s.svc.revision
	m.forget(t)
	t.phase, t.next, t.nextAt, t.restarts, t.auto = phaseDown, phaseDown, 0, 0, false
	t.how, t.why, t.last = Reason{}, Reason{}, LastExit{}
	m.notice(KindRestarting, s, why)
	m.save(t)
	m.touch(t)
	m.touch(s)
	m.reconsider(t)
}

// bloat: s is succeeded for its memory. It counts as any end that nobody asked for, so
// that what outgrows its limits again and again is a crash loop.
func (m *Machine) bloat(s *slot, why Reason) {
	s.bloated = why
	t, c := s.twin, &s.svc.spec.CrashLoop
	t.ends = append(t.ends[:0], s.ends...)
	t.remember(m.now, c.Within, c.Failures)
	m.save(t)
}

// loops says whether one end more would be a crash loop.
func (s *slot) loops(now Time) bool {
	c := &s.svc.spec.CrashLoop
	recent := 1
	for _, at := range s.ends {
		recent += delta(false, now.Sub(at) <= c.Within)
	}
	return c.Failures > 0 && recent >= c.Failures
}

// takePlace: t has shown that it works. Its predecessor goes.
func (m *Machine) takePlace(t *slot) {
	s := t.twin
	v := s.svc
	v.slots[s.index] = t
	t.aside, t.candidate = false, false
	s.aside = true
	t.stopped, t.by = s.stopped, s.by
	t.restarts, t.first = s.restarts+delta(false, s.bloated != (Reason{})), false
	if s.last.Reason != ExitNone && t.last.Reason == ExitNone {
		t.last = s.last
	}
	if s.scaling {
		s.scaling, t.scaling = false, true
	}
	turn := s.turn
	m.setTurn(s, turnNone)
	m.setTurn(t, turn)
	for _, x := range []timer{timerUpdate, timerHealthy} {
		m.disarm(s, x)
		m.disarm(t, x)
	}
	if at := s.timers[timerProbation]; at != never {
		m.disarm(s, timerProbation)
		m.armAt(t, timerProbation, at)
	}
	m.dropAct(s)
	m.clearSuspicion(s)
	m.save(s)
	m.save(t)
	m.touch(s)
	m.touch(t)
	m.armRecycle(t)
	m.reconsider(s)
	m.reconsider(t)
}

// whichServes is the slot of the place of s. Where a successor serves and what it is to
// replace does not, whatever becomes of the update, it is the successor.
func (m *Machine) whichServes(s *slot) *slot {
	if s.succeeding() && !s.serves() && s.twin.serves() {
		s = s.twin
		m.takePlace(s)
	}
	return s
}

// dropSuccessors: what comes up beside the instances of v is not wanted any more. One
// that serves already where its predecessor does not stays, to be replaced in its turn.
func (m *Machine) dropSuccessors(v *service) {
	for _, s := range v.slots {
		if s = m.whichServes(s); s.succeeding() {
			m.dropSuccessor(s.twin)
		}
	}
}

func (m *Machine) dropSuccessor(t *slot) {
	t.candidate = false
	t.twin.bloated = Reason{}
	m.save(t)
	m.touch(t)
	m.touch(t.twin)
	m.reconsider(t)
}

// anyTwin says whether something lives beside an instance of v.
func (m *Machine) anyTwin(v *service) bool {
	for _, s := range v.slots {
		if s.twin != nil && s.twin.phase.lives() && s.twin.phase != phaseStuck {
			return true
		}
	}
	return false
}

// twinMark ends the key of the record of what is aside.
const twinMark = "+"

// key is what a record of s is kept under.
func (s *slot) key() string {
	if s.aside {
		return s.name + twinMark
	}
	return s.name
}
