package policy

import "nines/spec"

// standing is what a slot contributes to the level of its service.
type standing uint8

const (
	standsAside   standing = iota // scaled away
	standsUp                      // ready; a task: completed
	standsFirst                   // on its way up for the first time
	standsStalled                 // not up, but may come up again by itself
	standsDead                    // not up, and somebody must do something
	numStandings
)

// counted is what touch has added to the sums of the service for a slot.
type counted struct {
	standing standing
	occupied bool
	stuck    bool
	surplus  bool
	waiting  bool
	settled  bool
	outdated bool
	healthy  bool
	excused  bool
	beside   bool // a successor that is to come up, and is down
}

// level is what the neighbours of a service need to know of it.
type level uint8

const (
	levelUp      level = iota // satisfies needs: all instances ready, a task completed, or no instances
	levelPending              // on its way up for the first time: what comes after it waits
	levelStalled              // not up, but may come up by itself (backoff, a restart): after does not wait
	levelDead                 // does not come up unless a person acts: needs are blocked
)

// assess derives what s contributes now.
func (m *Machine) assess(s *slot) counted {
	v := s.svc
	d := m.desired(s)
	if s.aside {
		occupied := s.phase.lives() && !(s.phase == phaseStuck && m.down.on) || m.detained(s, m.desired(s.twin))
		return counted{
			occupied: occupied, surplus: occupied && !s.candidate,
			stuck:  s.phase == phaseStuck || m.desired(s.twin).unwanted() && s.outlives(),
			beside: s.candidate && s.phase == phaseDown,
		}
	}
	c := counted{
		occupied: s.phase.lives() && !(s.phase == phaseStuck && m.down.on) || m.detained(s, d),
		stuck:    s.phase == phaseStuck || d.unwanted() && s.outlives(),
	}
	if s.index >= v.instances {
		c.surplus = c.occupied
		return c
	}
	c.outdated = d == wantRun && s.target != v.revision || s.phase.lives() && s.revision != v.revision
	c.waiting = (d == wantRun || d == wantYield) && s.phase == phaseDown
	task := v.spec.Type == spec.TypeTask
	switch {
	case task && s.phase == phaseCompleted, !task && s.phase == phaseReady:
		c.standing = standsUp
	case d == wantStopped, d == wantDisabled, d == wantEnd, d == wantRemoved,
		s.phase == phaseCompleted, s.phase == phaseFailed, s.phase == phaseStuck, s.held:
		c.standing = standsDead
	case s.first:
		c.standing = standsFirst
	default:
		c.standing = standsStalled
	}
	c.settled = s.settled && c.standing == standsUp
	c.healthy = c.standing == standsUp && !task && !s.unhealthy
	c.excused = c.standing == standsDead && s.excused(d)
	return c
}

// touch brings the sums up to date after s changed. Every change of a slot
// ends with it.
func (m *Machine) touch(s *slot) {
	if s.twin != nil && !s.aside {
		m.touch(s.twin) // what is wanted of it follows
	}
	v, old, c := s.svc, s.counted, m.assess(s)
	if s.suspected != 0 && !s.phase.lives() && m.desired(s).unwanted() {
		m.clearSuspicion(s)
	}
	if v.watched() {
		m.markOps(v)
	}
	if v.roll.on() || s.candidate {
		m.markRoll(v)
	}
	if v.gate != nil && v.gate.waiting > 0 {
		m.markActs(v)
	}
	if c == old {
		m.replaced(s)
		return
	}
	s.counted = c
	// A new slot was counted nowhere; what that does to standsAside, nobody reads.
	v.standing[old.standing]--
	v.standing[c.standing]++
	m.occupied += delta(old.occupied, c.occupied)
	v.occupied += delta(old.occupied, c.occupied)
	v.stuck += delta(old.stuck, c.stuck)
	v.surplus += delta(old.surplus, c.surplus)
	v.waiting += delta(old.waiting, c.waiting)
	v.settled += delta(old.settled, c.settled)
	v.outdated += delta(old.outdated, c.outdated)
	v.healthy += delta(old.healthy, c.healthy)
	v.excused += delta(old.excused, c.excused)
	v.beside += delta(old.beside, c.beside)
	if c.settled && s.scaling {
		m.scaled(s)
	}
	m.replaced(s)
	if len(v.formerly) > 0 {
		m.release(v)
	}
	m.markGroup(v.group)
	m.markDirty(v)
}

func delta(was, is bool) int {
	switch {
	case is && !was:
		return 1
	case was && !is:
		return -1
	}
	return 0
}

func (m *Machine) markDirty(v *service) {
	if !v.dirty {
		v.dirty = true
		m.dirtyServices.push(v)
	}
}

func (m *Machine) markOps(v *service) {
	if !v.opsDirty {
		v.opsDirty = true
		m.dirtyOps.push(v)
	}
}

// reconsider has s evaluated once the sums are quiet.
func (m *Machine) reconsider(s *slot) {
	if s.twin != nil && !s.aside {
		m.reconsider(s.twin)
	}
	if !s.queued {
		s.queued = true
		m.dirtySlots.push(s)
	}
}

// settle works until nothing is left to do: first the sums, so that no decision
// rests on half of a change (a service would be started while what it needs is
// on its way down), then one slot, then again the sums; groups, operations, and
// last automatic acts when all else is quiet. There is no recursion, so the depth of the dependencies costs no
// stack. It ends, because a slot that was started or stopped waits for the
// driver, and levels follow the dependencies, which have no cycle.
func (m *Machine) settle() {
	for {
		if v, ok := m.dirtyServices.pop(); ok {
			v.dirty = false
			m.relevel(v)
		} else if s, ok := m.dirtySlots.pop(); ok {
			s.queued = false
			m.evaluate(s)
		} else if g, ok := m.dirtyGroups.pop(); ok {
			g.dirty = false
			m.progressGroup(g)
		} else if v, ok := m.dirtyRolls.pop(); ok {
			v.rollDirty = false
			m.roll(v)
		} else if v, ok := m.dirtyOps.pop(); ok {
			v.opsDirty = false
			m.progress(v)
		} else if v, ok := m.dirtyActs.pop(); ok {
			v.actsDirty = false
			m.progressActs(v)
		} else {
			return
		}
	}
}

// relevel derives what the neighbours of v need to know, and tells those whom
// a change concerns.
func (m *Machine) relevel(v *service) {
	if leaving := v.stopped || v.disabled() && v.occupied > 0 || v.leavingNeeds > 0; leaving != v.leaving {
		v.leaving = leaving
		for _, o := range v.needers {
			o.leavingNeeds += delta(!leaving, leaving)
			m.wake(o)
			m.markDirty(o)
		}
		m.wake(v)
	}
	for rel := range v.present {
		p := v.occupied > 0 || v.holders[rel] > 0
		if p == v.present[rel] {
			continue
		}
		v.present[rel] = p
		for _, o := range v.below[rel] {
			o.holders[rel] += delta(!p, p)
			if o.holders[rel] == 0 && (o.leaving || o.removed || m.down.on) {
				m.wake(o)
			}
			m.markDirty(o)
			if o.watched() {
				m.markOps(o)
			}
		}
		if v.watched() {
			m.markOps(v)
		}
	}
	old, l := v.level, v.derive()
	if l == old {
		return
	}
	v.level = l
	m.markGroup(v.group)
	for _, o := range v.needers {
		o.needDown += delta(old != levelUp, l != levelUp)
		o.needDead += delta(old == levelDead, l == levelDead)
		o.needStalled += delta(old == levelStalled, l == levelStalled)
		m.concern(o)
	}
	for _, o := range v.laters {
		o.afterPending += delta(old == levelPending, l == levelPending)
		m.concern(o)
	}
}

// concern: a neighbour of v changed. It matters only where something waits.
func (m *Machine) concern(v *service) {
	if v.roll.on() {
		m.markRoll(v)
	}
	if v.gate != nil && v.gate.waiting > 0 {
		m.markActs(v)
	}
	if v.waiting+v.beside == 0 && !v.watched() {
		return
	}
	m.markDirty(v)
	if v.mayStart() {
		m.wake(v)
	}
	if v.watched() {
		m.markOps(v)
	}
}

// mayStart: needs and after are satisfied, its group does not hold it back, and its
// data are those of the revision that it is to run.
func (v *service) mayStart() bool {
	return v.needDown == 0 && v.afterPending == 0 && !v.heldBack && (!v.dataHolds() || bug == 31)
}

// wake has every slot of v evaluated.
func (m *Machine) wake(v *service) {
	for _, s := range v.slots {
		m.reconsider(s)
	}
}

// derive says which level the sums of v amount to.
func (v *service) derive() level {
	switch {
	case v.stopped || v.disabled(), v.leavingNeeds > 0:
		// Also where all of it is up: a task that has completed has nothing left
		// to stop, yet what needs it yields, and must be told for whom.
		return levelDead
	case v.standing[standsUp] == v.instances:
		return levelUp
	case v.standing[standsDead] > 0, (v.needDead > 0 || v.groupDead || v.data.failed != "") && v.waiting > 0:
		return levelDead
	case v.standing[standsFirst] == 0, (v.needStalled > 0 || v.heldBack) && v.waiting > 0:
		return levelStalled
	}
	return levelPending
}

// evaluate does what the phase of s and what is wanted of it ask for.
func (m *Machine) evaluate(s *slot) {
	d := m.desired(s)
	if len(s.inmates) > 0 && bug != 16 {
		if of := m.desired(s.place()); of.unwanted() {
			m.endInmates(s, of)
		}
	}
	if d == wantRun && s.stale() && !s.aside && !s.svc.roll.on() {
		m.goOn(s.svc)
	}
	switch decide(s.phase, d) {
	case tryUp:
		if s.svc.mayStart() && s.mayRun() {
			m.start(s)
			return
		}
	case cancel:
		m.disarm(s, timerPhase)
		if s.phase == phaseFailed {
			m.endLoop(s, whyUnwanted)
		}
		s.phase, s.first = phaseDown, false
		m.save(s)
	case end:
		if s.end == endNone && m.mayEnd(s, d) {
			why := m.whyEnd(s, d)
			if why.kind == whyGroup {
				s.auto = true
				m.notice(KindRestarting, s, why)
			}
			how := endStop
			if d == wantReplaced && s.bloated != (Reason{}) {
				how, why = endMemory, s.bloated
			}
			m.stop(s, how, why)
		}
	}
	m.touch(s)
}

// mayEnd: nothing that depends on s lives any more. A single instance that a
// person stops or scales away takes nobody with it.
func (m *Machine) mayEnd(s *slot, d desire) bool {
	switch {
	case d == wantEnd:
		return s.svc.holders[byAll] == 0
	case d == wantRemoved:
		// What depends on it is no more either: what is kept cannot name it. But what
		// runs of that may be of an earlier revision, which needs it.
		return s.svc.holders[byAll] == 0 && m.heldBy(s.svc) == nil || bug == 12
	case d == wantGone, d == wantReplaced, d == wantStopped && !s.svc.stopped:
		return true
	case d == wantYield && s.svc.leavingNeeds == 0:
		return s.svc.isLast()
	}
	return s.svc.holders[byNeeds] == 0 || bug == 4
}

// whyEnd words why s is to end.
func (m *Machine) whyEnd(s *slot, d desire) Reason {
	switch d {
	case wantEnd:
		return Reason{kind: whyShutdown, name: m.down.cause}
	case wantRemoved:
		if o := m.heldBy(s.svc); o != nil {
			return Reason{kind: whyRemoved, name: o.spec.Name}
		}
		return Reason{kind: whyRemoved}
	case wantGone:
		return Reason{kind: whyGone, count: int32(s.svc.instances)}
	case wantStopped:
		if s.stopped {
			return Reason{kind: whyStopped, name: s.by}
		}
		return Reason{kind: whyStopped, name: s.svc.stoppedBy}
	case wantReplaced:
		return Reason{kind: whyReplaced, count: int32(s.revision), code: int32(s.svc.revision)}
	case wantDisabled:
		return Reason{kind: whyDisabled}
	case wantYield:
		if s.svc.leavingNeeds == 0 {
			return s.svc.group.why()
		}
		return m.whyWaiting(s.svc)
	}
	return Reason{}
}
