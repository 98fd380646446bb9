package policy

import "nines/spec"

// armDeadlines sets for each instance that is on its way up when it has taken too
// long, anew where there was progress. To come up and go down again and again is
// none: it runs on then.
func (m *Machine) armDeadlines(v *service, progress bool) {
	d := v.spec.Update.Deadline
	for _, s := range v.slots[:v.instances] {
		if d <= 0 || v.roll.overdue != (Reason{}) || !v.onItsWay(s) {
			m.disarm(s, timerUpdate)
			continue
		}
		switch ok, _ := m.hasPassed(s); {
		case ok && progress:
			m.disarm(s, timerUpdate)
		case !ok && (progress || s.timers[timerUpdate] == never):
			m.arm(s, timerUpdate, d)
		}
	}
}

// overdue: no further instance has been healthy for update.deadline.
func (m *Machine) overdue(s *slot) {
	v := s.svc
	if ok, _ := m.hasPassed(s); ok || !v.roll.on() || s.aside || v.roll.overdue != (Reason{}) {
		return
	}
	if m.desired(s) != wantRun || !v.mayStart() || m.down.on {
		m.markRoll(v) // it cannot come up now, which is not its fault
		return
	}
	why := Reason{kind: whyOverdue, delay: v.spec.Update.Deadline, name: s.name}
	if v.revertible() {
		m.revert(v, why)
		return
	}
	v.roll.overdue = why
	m.serviceNotice(KindHeld, v, why)
	if v.awaited == awaitUp {
		m.awaitedFailed(v, v.spec.Name+": "+why.String())
	}
	m.failDeploys(v, why.String())
	m.markRoll(v)
}

// stalls is why the update of v does not come to its end unless a person acts, or
// something that was given up comes up after all; "": it may, or its deadline has it
// reverted. hint is what would help.
func (m *Machine) stalls(v *service) (why, hint string) {
	if !v.roll.on() || v.revertible() && v.spec.Update.Deadline > 0 {
		return "", ""
	}
	for _, s := range v.slots[:v.instances] {
		if s.succeeding() {
			s = s.twin
		}
		switch d := m.desired(s); {
		case d != wantRun || s.revision != v.revision:
		case s.phase == phaseFailed, s.held && s.phase != phaseReady:
			return s.name + ": " + s.why.String(), "nines logs " + s.name
		}
	}
	if why := v.roll.overdue; why != (Reason{}) {
		return v.spec.Name + ": " + why.String(), "nines status " + v.spec.Name
	}
	return "", ""
}

// updated: all of v runs its revision, and has passed.
func (m *Machine) updated(v *service) {
	u := &v.roll
	if u.state == rollRest && m.anyTwin(v) {
		return // a predecessor is still being ended
	}
	u.state, u.passed, u.overdue = rollNone, 0, Reason{}
	for _, s := range v.slots {
		m.aim(s, v.revision)
		m.disarm(s, timerUpdate)
		m.disarm(s, timerHealthy)
	}
	r := v.find(v.revision)
	if r.Verdict != Good {
		if d := v.spec.Update.Probation; d > 0 {
			u.until = max(m.now.Add(d), 0)
			m.armProbation(v)
		} else {
			r.Verdict = Good
		}
	}
	m.serviceNotice(KindUpdateDone, v, Reason{kind: whyUpdated, code: int32(v.revision)})
	for i := 0; i < len(v.ops); {
		if o := v.ops[i]; o.deploys() {
			m.done(o, v.spec.Name+" runs revision "+itoa(int32(v.revision)))
		} else {
			i++
		}
	}
	m.recordRevision(v)
	m.touchAll(v)
	if v.awaited != awaitNothing {
		m.markOps(v)
	}
}

// armProbation sets when the current revision has survived its probation.
func (m *Machine) armProbation(v *service) {
	if v.roll.until > 0 && len(v.slots) > 0 {
		m.armAt(v.slots[0], timerProbation, v.roll.until)
	}
}

// probationOver: the current revision has survived, if anything of it is there to
// tell.
func (m *Machine) probationOver(v *service) {
	u := &v.roll
	if u.until == 0 || u.until > m.now || u.on() {
		return
	}
	u.until, u.last = 0, false
	if r := v.find(v.revision); v.healthy > 0 || v.spec.Type == spec.TypeTask {
		r.Verdict = Good
	}
	m.recordRevision(v)
}
