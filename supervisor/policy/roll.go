package policy

// A new revision comes to the instances of a service one after the other: what
// is not ready at once, what is ready only while all others are up. What is down
// starts with it. How far that has come is state (which revision each slot was
// started with), so that it goes on after a supervisor's death.

// update makes digest the revision of v. What failed before counts for nothing:
// it is another revision that is tried now.
func (m *Machine) update(v *service, digest string) {
	from := v.revision
	m.newRevision(v, digest)
	v.updating = true
	m.out.Notices = append(m.out.Notices, Notice{
		Kind: KindUpdateStarted, Service: v.spec.Name, Slot: NoSlot, Ref: Ref{Slot: NoSlot}, Revision: v.revision,
		Reason: Reason{kind: whyUpdate, count: int32(from), code: int32(v.revision)},
	})
	for _, s := range v.slots[:v.instances] {
		m.renew(s)
	}
	m.countSettled(v)
	m.markRoll(v)
}

// renew: s is to run another revision. Where nothing of it lives, or soon, it
// starts with that as it would for the first time.
func (m *Machine) renew(s *slot) {
	switch s.phase {
	case phaseSpawning, phaseStarting, phaseReady:
		return // it has its turn
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

// roll replaces the next instance of v that is of another revision, if it may.
func (m *Machine) roll(v *service) {
	switch {
	case !v.updating || m.down.on || v.removed:
		return
	case v.outdated == 0:
		m.updated(v)
		return
	case !v.mayStart():
		return // what is taken down now would not come up again
	}
	for _, o := range v.ops {
		if o.verb == VerbRestart && o.begun {
			return // that takes them down, one by one
		}
	}
	if v.standing[standsFirst]+v.standing[standsStalled] > 0 {
		for _, s := range v.slots[:v.instances] {
			if s.revision != v.revision && (s.phase == phaseSpawning || s.phase == phaseStarting) {
				m.replace(s)
			}
		}
		return
	}
	if v.settled < v.standing[standsUp] {
		return
	}
	var next *slot
	for _, s := range v.slots[:v.instances] {
		if m.desired(s) != wantRun {
			continue // stopped by a person: it starts with the new one
		}
		switch s.phase {
		case phaseReady:
			if next == nil && s.revision != v.revision {
				next = s
			}
		case phaseCompleted:
		default:
			return // failed, stuck or on its way: the others stay as they are
		}
	}
	if next == nil {
		return
	}
	switch why := m.mayDisrupt(next, CauseCheck); why.kind {
	case whyNothing:
		m.replace(next)
	case whyActBudget:
		if v.awaited == awaitUp { // all are up: it does not come by itself
			why.how = whyUpdate
			m.awaitedFailed(v, next.name+" is not replaced: "+why.String())
		}
	}
}

// replace takes s down; it comes up again with the current revision.
func (m *Machine) replace(s *slot) {
	if s.end != endNone || m.desired(s) != wantRun {
		return
	}
	m.forget(s)
	s.restarts, s.auto = 0, false
	why := Reason{kind: whyUpdate, count: int32(s.revision), code: int32(s.svc.revision)}
	m.notice(KindRestarting, s, why)
	m.stop(s, endStop, why)
}

// updated: nothing of another revision lives. Once all is up, the update is over.
func (m *Machine) updated(v *service) {
	if v.standing[standsUp] < v.instances || v.settled < v.instances {
		return
	}
	v.updating = false
	m.out.Notices = append(m.out.Notices, Notice{
		Kind: KindUpdateDone, Service: v.spec.Name, Slot: NoSlot, Ref: Ref{Slot: NoSlot}, Revision: v.revision,
		Reason: Reason{kind: whyUpdated, code: int32(v.revision)},
	})
}
