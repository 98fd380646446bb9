package policy

import "nines/spec"

// Every automatic act that takes an instance down passes here: it is asked for
// (ask), waits in line, and begins when mayDisrupt says so. Whatever comes to be
// an automatic act asks the same way, or, where it has an order of its own (an
// update), asks mayDisrupt.

// act is an automatic act that waits.
type act struct {
	cause   Cause
	line    line
	dump    bool
	isolate bool
	check   int  // index + 1 of the check that asks; 0: somebody else
	told    bool // that it waits
	why     Reason
}

// line says in which order acts of a service are looked at. In one line all are
// alike: if its head may not go, nor may the others, so that only heads are ever
// looked at.
type line uint8

const (
	lineUnhealthy line = iota // the instance is not healthy: it needs no budget
	lineJudged                // it serves still
	linePlanned
	numLines
)

// line is the one for an act on s.
func (s *slot) line(c Cause) line {
	switch {
	case c == CauseRecycle:
		return linePlanned
	case s.unhealthy:
		return lineUnhealthy
	}
	return lineJudged
}

// strength orders the acts of one instance: of two the stronger stays.
func (c Cause) strength() int {
	switch c {
	case CauseCheck:
		return 2
	case CauseOutlier, CauseMemory, CauseLeak:
		return 1
	case CauseRecycle:
	}
	return 0
}

// kind is the event that tells of a cause; "": none.
func (c Cause) kind() Kind {
	switch c {
	case CauseCheck, CauseOutlier:
		return KindCheckFailed
	case CauseMemory:
		return KindMemoryHigh
	case CauseLeak:
		return KindLeak
	case CauseRecycle:
	}
	return ""
}

// turn says that an act has taken a slot down and its replacement is not up yet.
// It is remembered by the next supervisor.
type turn uint8

const (
	turnNone     turn = iota
	turnPlanned       // the next planned one waits until the replacement is up
	turnAct           // the next act waits until the replacement is up, or has ended
	turnFaltered      // of a planned one: the replacement has ended, or is stuck
)

func (t turn) String() string { return [...]string{"", "planned", "act", "faltered"}[t] }

// gate is what a service needs for its automatic acts.
type gate struct {
	lines     [numLines]queue[*slot]
	waiting   int   // acts
	replacing int   // slots whose turn is turnPlanned or turnAct
	faltered  int   // … turnFaltered
	last      *slot // … that took its turn last
	broken    *slot // … that faltered last
}

func (v *service) theGate() *gate {
	if v.gate == nil {
		v.gate = new(gate)
	}
	return v.gate
}

// mayDisrupt is the one gate: the zero Reason if an automatic act may take s
// down now; else what it waits for.
func (m *Machine) mayDisrupt(s *slot, c Cause) Reason {
	v := s.svc
	g := v.theGate()
	switch {
	case s.aside:
		return Reason{} // it does not serve
	case !v.mayStart() || m.desired(s) != wantRun:
		// It would not come up again.
		return Reason{kind: whyActNeeds, name: m.whyWaiting(v).name}
	case g.replacing > 0:
		return Reason{kind: whyActTurn, name: g.last.name}
	case c == CauseRecycle && g.faltered > 0:
		return Reason{kind: whyActFaltered, name: g.broken.name}
	case s.counted.healthy && v.healthy <= v.atLeast() && bug != 7:
		return Reason{kind: whyActBudget, count: int32(v.healthy), code: int32(v.atLeast())}
	}
	return Reason{}
}

// atLeast is the disruption budget: as given, or by how many instances there are
// now.
func (v *service) atLeast() int {
	switch {
	case v.spec.AvailableSet:
		return v.spec.AvailableAtLeast
	case v.instances > 1:
		return v.instances - 1
	}
	return 0
}

// actAsked takes the word of those who judge instances.
func (m *Machine) actAsked(e Act) {
	s := m.current(e.Ref)
	if s == nil || e.Cause == 0 || e.Cause >= CauseRecycle {
		return
	}
	c := e.Cause
	why := Reason{kind: whyJudged, text: e.Reason}
	if c == CauseCheck && !s.judged {
		s.judged = true
		m.assessHealth(s)
	}
	if s.act != nil && s.act.cause == c {
		return // told again
	}
	if !s.told.has(c) {
		if c == CauseMemory || c == CauseLeak {
			s.told |= causeBit(c)
		}
		m.notice(c.kind(), s, why)
	}
	if e.On != spec.OnFailureAlert && m.condemned(s, why) {
		return // what is judged is the revision
	}
	if e.On != spec.OnFailureAlert && (c == CauseMemory || c == CauseLeak) && s.succeeding() {
		return // it is being replaced
	}
	if e.On != spec.OnFailureAlert {
		m.ask(s, &act{cause: c, why: why, dump: e.On == spec.OnFailureDump, isolate: e.On == spec.OnFailureIsolate})
	} else if c == CauseLeak {
		s.alert = why
	}
}

// causes is a set of causes.
type causes uint8

func causeBit(c Cause) causes { return 1 << c }

func (s causes) has(c Cause) bool { return s&causeBit(c) != 0 }

// current is the slot of a ref, if it is about the incarnation that runs and is
// not being ended.
func (m *Machine) current(ref Ref) *slot {
	if ref.Slot < 0 || int(ref.Slot) >= len(m.slots) || ref.Incarnation == 0 {
		return nil
	}
	s := m.slots[ref.Slot]
	if s.ref != ref || s.phase != phaseStarting && s.phase != phaseReady {
		return nil
	}
	return s
}

func (m *Machine) withdraw(e Withdraw) {
	s := m.current(e.Ref)
	if s == nil || e.Cause == 0 || e.Cause > CauseRecycle {
		return
	}
	s.told &^= causeBit(e.Cause)
	if e.Cause == CauseLeak {
		s.alert = Reason{}
	}
	if s.act != nil && s.act.cause == e.Cause && s.act.check == 0 {
		m.dropAct(s)
		m.askForChecks(s)
		m.armRecycle(s) // one that gave way comes back
	}
	if e.Cause == CauseCheck && s.judged {
		s.judged = false
		m.notice(KindCheckPassed, s, Reason{kind: whyPasses})
		m.assessHealth(s)
	}
}

// health notes what a check says of s, and has its act wait in the right line.
func (m *Machine) health(s *slot, well bool) {
	s.unhealthy = !well
	if well {
		s.wellSince = m.now
	}
	if a := s.act; a != nil {
		m.dropAct(s)
		m.enqueue(s, a)
	}
	m.touch(s)
}

// ask puts an act in line, unless one that is as strong waits for s. What gives
// way is asked for again by whoever judges, if it is still true.
func (m *Machine) ask(s *slot, a *act) {
	if s.act != nil && s.act.cause.strength() >= a.cause.strength() {
		return
	}
	m.dropAct(s)
	m.enqueue(s, a)
}

func (m *Machine) enqueue(s *slot, a *act) {
	a.line = s.line(a.cause)
	s.act = a
	g := s.svc.theGate()
	g.waiting++
	if !s.lined[a.line] {
		s.lined[a.line] = true
		g.lines[a.line].push(s)
	}
	m.markActs(s.svc)
}

// dropAct: what waited for s is over, since its incarnation is.
func (m *Machine) dropAct(s *slot) {
	if s.act != nil {
		s.act = nil
		s.svc.gate.waiting--
		m.markActs(s.svc)
	}
}

func (m *Machine) markActs(v *service) {
	if !v.actsDirty {
		v.actsDirty = true
		m.dirtyActs.push(v)
	}
}

// head is the first act of a line; nil: there is none. Those that were dropped
// are still there.
func (g *gate) head(l line) *slot {
	for {
		s, ok := g.lines[l].peek()
		if !ok || s.act != nil && s.act.line == l {
			return s
		}
		g.lines[l].pop()
		s.lined[l] = false
	}
}

// progressActs begins the acts of v that may begin, and says of the first of a
// line that it waits.
func (m *Machine) progressActs(v *service) {
	for l := range numLines {
		for {
			s := v.gate.head(l)
			if s == nil || m.down.on {
				break
			}
			if why := m.mayDisrupt(s, s.act.cause); why != (Reason{}) {
				if !s.act.told {
					s.act.told = true
					m.notice(KindBudgetWait, s, s.act.waits(why))
				}
				break
			}
			m.beginAct(s)
		}
	}
}

// beginAct takes s down. What is planned is no failure: it comes back at once.
// What was judged is one: it counts for backoff and crash loops.
func (m *Machine) beginAct(s *slot) {
	a := s.act
	m.dropAct(s)
	t, how := turnAct, endCheck
	switch a.cause {
	case CauseRecycle:
		t, how = turnPlanned, endStop
	case CauseMemory, CauseLeak:
		how = endMemory
	case CauseCheck, CauseOutlier:
	}
	switch {
	case !s.mayBeSucceeded():
	case a.cause == CauseRecycle:
		m.setTurn(s, t)
		m.succeed(s, a.why)
		return
	case how == endMemory && !s.loops(m.now):
		// It serves, and will until its successor does. As with what is planned
		// nothing but what is planned waits for a successor that does not come up.
		m.setTurn(s, turnPlanned)
		m.succeed(s, a.why)
		m.bloat(s, a.why)
		return
	}
	if !s.aside {
		m.setTurn(s, t)
	}
	if a.isolate && s.svc.spec.Isolates() {
		m.freeze(s, how, a.why)
		return
	}
	s.dump = a.dump
	m.notice(KindRestarting, s, a.why)
	m.stop(s, how, a.why)
}

func (m *Machine) setTurn(s *slot, t turn) {
	if s.turn == t {
		return
	}
	g := s.svc.theGate()
	is := func(t turn) (replacing bool) { return t == turnPlanned || t == turnAct }
	g.replacing += delta(is(s.turn), is(t))
	g.faltered += delta(s.turn == turnFaltered, t == turnFaltered)
	switch {
	case is(t):
		g.last = s
	case t == turnFaltered:
		g.broken = s
	}
	s.turn = t
	m.save(s)
	m.markActs(s.svc)
}

// replaced ends the turn of s once its replacement is up, or none is to come. One that
// comes up beside s is up when it has taken the place.
func (m *Machine) replaced(s *slot) {
	if s.turn == turnNone {
		return
	}
	d := m.desired(s)
	task := s.svc.spec.Type == spec.TypeTask
	switch {
	case s.counted.settled && !s.succeeding(), task && s.phase == phaseReady,
		d != wantRun && d != wantYield, s.phase == phaseCompleted, s.phase == phaseFailed:
		m.setTurn(s, turnNone)
	case s.phase == phaseStuck:
		m.falter(s)
	}
}

// faltered: an incarnation of s ended that nobody had asked to. If it was a
// replacement, what is planned waits until there is one that stays up, and
// nothing else waits for it any more.
func (m *Machine) faltered(s *slot) {
	if s.end != endCheck && s.end != endMemory {
		m.falter(s)
	}
}

func (m *Machine) falter(s *slot) {
	switch s.turn {
	case turnPlanned:
		m.setTurn(s, turnFaltered)
	case turnAct:
		m.setTurn(s, turnNone)
	case turnNone, turnFaltered:
	}
}

// waits adds to what an act is what it waits for.
func (a *act) waits(why Reason) Reason {
	why.how, why.delay, why.text = a.why.kind, a.why.delay, a.why.text
	return why
}

// whyActWaits words what the act of s waits for, if there is one; else what is
// only told of it (memory.on_leak = "alert").
func (m *Machine) whyActWaits(s *slot) Reason {
	a := s.act
	if a == nil {
		return s.alert
	}
	if head := s.svc.gate.head(a.line); head != s {
		return a.waits(Reason{kind: whyActLine, name: head.name})
	}
	return a.waits(m.mayDisrupt(s, a.cause))
}
