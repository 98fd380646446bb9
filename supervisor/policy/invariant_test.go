package policy

import (
	"slices"
)

// checkInvariants compares every sum that the machine keeps with what it
// amounts to when counted afresh, and looks for work that was left undone.
func checkInvariants(t fataler, m *Machine) {
	t.Helper()
	for i, it := range m.due.items {
		s := it.slot
		if s.pos != i || it.at != s.at || it.id != s.id || i > 0 && m.due.less(i, (i-1)/2) {
			t.Fatalf("heap is out of order at %d (%s)", i, s.name)
		}
	}
	occupied := 0
	for _, s := range m.slots {
		at := slices.Min(s.timers[:])
		if at != s.at || (at == never) != (s.pos < 0) {
			t.Fatalf("%s: deadline %d, heap says %d at %d", s.name, at, s.at, s.pos)
		}
		if c := m.assess(s); c != s.counted {
			t.Fatalf("%s (%s, %s): counted %+v, is %+v", s.name, s.phase, m.desired(s), s.counted, c)
		}
		if s.counted.occupied {
			occupied++
		}
		if m.ended {
			continue
		}
		// Guarantee 12: what is wanted and may start was started.
		switch d := m.desired(s); decide(s.phase, d) {
		case tryUp:
			if s.svc.mayStart() && s.mayRun() {
				t.Fatalf("%s is wanted and may start, and is down", s.name)
			}
		case cancel:
			t.Fatalf("%s is %s although %s is wanted", s.name, s.phase, d)
		case end:
			if s.end == endNone && m.mayEnd(s, d) {
				t.Fatalf("%s is %s and should end: %s", s.name, s.phase, d)
			}
		case keep:
		}
		// Whatever waits for an answer of the driver after being told to end is bounded.
		bounded := s.phase == phaseStopping || s.phase == phaseKilling || s.phase == phaseClearing ||
			s.phase == phaseStuck || s.phase == phaseFreezing || s.phase == phaseBackoff || s.phase == phaseSpawning && s.end != endNone
		if bounded && s.timers[timerPhase] == never {
			t.Fatalf("%s is %s without a deadline", s.name, s.phase)
		}
		if !s.phase.lives() && s.phase != phaseBackoff && s.timers[timerPhase] != never {
			t.Fatalf("%s is %s and still has a deadline", s.name, s.phase)
		}
	}
	for _, s := range m.slots {
		checkChecks(t, m, s)
	}
	checkQuarantine(t, m)
	if occupied != m.occupied {
		t.Fatalf("occupied is %d, counted %d", occupied, m.occupied)
	}
	for _, v := range m.services {
		checkService(t, m, v)
		checkTwins(t, m, v)
		checkData(t, m, v)
		checkGate(t, v)
	}
	for _, g := range m.groups {
		checkGroup(t, m, g)
	}
	if m.dirtyServices.head != len(m.dirtyServices.items) || m.dirtySlots.head != len(m.dirtySlots.items) ||
		m.dirtyOps.head != len(m.dirtyOps.items) || m.dirtyGroups.head != len(m.dirtyGroups.items) ||
		m.dirtyActs.head != len(m.dirtyActs.items) || m.dirtyRolls.head != len(m.dirtyRolls.items) {
		t.Fatalf("work is left")
	}
	n := 0
	for _, v := range m.services {
		n += len(v.ops)
	}
	if n != len(m.operations) {
		t.Fatalf("%d operations at services, %d in all", n, len(m.operations))
	}
}

func checkService(t fataler, m *Machine, v *service) {
	t.Helper()
	name := v.spec.Name
	var sums struct{ up, first, stalled, dead, occupied, stuck, surplus, waiting, settled, healthy, excused, outdated, beside int }
	for _, s := range v.all() {
		c := s.counted
		switch c.standing {
		case standsUp:
			sums.up++
		case standsFirst:
			sums.first++
		case standsStalled:
			sums.stalled++
		case standsDead:
			sums.dead++
		case standsAside, numStandings:
		}
		sums.occupied += delta(false, c.occupied)
		sums.stuck += delta(false, c.stuck)
		sums.surplus += delta(false, c.surplus)
		sums.waiting += delta(false, c.waiting)
		sums.settled += delta(false, c.settled)
		sums.outdated += delta(false, c.outdated)
		sums.healthy += delta(false, c.healthy)
		sums.excused += delta(false, c.excused)
		sums.beside += delta(false, c.beside)
	}
	if sums.up != v.standing[standsUp] || sums.first != v.standing[standsFirst] ||
		sums.stalled != v.standing[standsStalled] || sums.dead != v.standing[standsDead] ||
		sums.occupied != v.occupied || sums.stuck != v.stuck || sums.surplus != v.surplus ||
		sums.waiting != v.waiting || sums.settled != v.settled ||
		sums.healthy != v.healthy || sums.excused != v.excused || sums.outdated != v.outdated || sums.beside != v.beside {
		t.Fatalf("%s: sums are %+v, kept %+v", name, sums, v)
	}
	if l := v.derive(); l != v.level {
		t.Fatalf("%s: level is %d, kept %d", name, l, v.level)
	}
	down, dead, stalled, leaving, pending := 0, 0, 0, 0, 0
	for _, o := range v.needs {
		down += delta(false, o.level != levelUp)
		dead += delta(false, o.level == levelDead)
		stalled += delta(false, o.level == levelStalled)
		leaving += delta(false, o.leaving)
	}
	for _, o := range v.after {
		pending += delta(false, o.level == levelPending)
	}
	if down != v.needDown || dead != v.needDead || stalled != v.needStalled ||
		leaving != v.leavingNeeds || pending != v.afterPending {
		t.Fatalf("%s: neighbours are %d %d %d %d %d, kept %+v", name, down, dead, stalled, leaving, pending, v)
	}
	if v.leaving != (v.stopped || v.disabled() && v.occupied > 0 || leaving > 0) {
		t.Fatalf("%s: leaving %t", name, v.leaving)
	}
	for rel := range v.present {
		holders := 0
		for _, o := range m.services {
			if slices.Contains(o.below[rel], v) && o.present[rel] {
				holders++
			}
		}
		if holders != v.holders[rel] || v.present[rel] != (v.occupied > 0 || holders > 0) {
			t.Fatalf("%s: holders[%d] %d, kept %d", name, rel, holders, v.holders[rel])
		}
	}
}

// all is every slot of v.
func (v *service) all() (list []*slot) {
	for _, s := range v.slots {
		list = append(list, s)
		if s.twin != nil {
			list = append(list, s.twin)
		}
	}
	return list
}

// checkData: nothing lives of v while its data are kept, or put back, and nothing is
// to begin that is of another revision than they are.
func checkData(t fataler, m *Machine, v *service) {
	t.Helper()
	d := &v.data
	for _, s := range v.all() {
		if d.token != 0 && s.phase.lives() {
			t.Fatalf("%s is %s, and its data are being moved: %+v", s.name, s.phase, *d)
		}
		if v.dataHolds() && !v.removed && !m.down.on && (s.phase == phaseSpawning || s.phase == phaseStarting || s.phase == phaseReady) && s.end == endNone && m.desired(s) == wantRun {
			t.Fatalf("%s is %s, and its data are not of its revision: %+v", s.name, s.phase, *d)
		}
	}
	switch {
	case v.dataHolds() && !v.roll.on() && !v.removed, d.of == v.revision && d.restoring == 0, d.restoring != 0 && d.of == 0,
		d.failed != "" && d.token != 0, d.of == 0 && d.back, (d.taking != 0) != (d.token != 0 && d.restoring == 0):
		t.Fatalf("%s at revision %d, update %+v: its data are %+v", v.spec.Name, v.revision, v.roll, *d)
	case m.down.on: // nothing is tried again
	case d.failed != "" && len(v.slots) > 0 && v.slots[0].timers[timerData] == never, d.taking != 0 && len(v.slots) > 0 && v.slots[0].timers[timerData] == never:
		t.Fatalf("%s: nothing says when its data are tried again: %+v", v.spec.Name, *d)
	}
}

// checkTwins: of the two slots of a place one counts.
func checkTwins(t fataler, m *Machine, v *service) {
	t.Helper()
	for i, s := range v.slots {
		if s.aside || s.index != i || s.candidate {
			t.Fatalf("%s is not in its place", s.name)
		}
		if x := s.twin; x != nil && (!x.aside || x.twin != s || x.index != i || x.name != s.name || x.act != nil && x.phase != phaseReady && x.phase != phaseStarting) {
			t.Fatalf("%s has a twin in the wrong place", s.name)
		}
		if x := s.twin; x != nil && x.phase.lives() && s.phase.lives() && x.ref.Incarnation == s.ref.Incarnation {
			t.Fatalf("%s: two incarnations of number %d", s.name, s.ref.Incarnation)
		}
	}
	checkRevisions(t, m, v)
}

// checkRevisions: no instance runs, or is to run, a revision that is bad; what is
// updated runs the current one.
func checkRevisions(t fataler, m *Machine, v *service) {
	t.Helper()
	if v.find(v.revision) == nil || v.find(v.asked) == nil || len(v.known) > maxRevisions || v.find(v.revision).Verdict == Bad {
		t.Fatalf("%s: revision %d, asked for %d, known %+v", v.spec.Name, v.revision, v.asked, v.known)
	}
	for _, s := range v.all() {
		if r := v.find(s.target); !v.removed && (r == nil || r.Verdict == Bad) {
			t.Fatalf("%s is to run %d, known are %+v", s.name, s.target, v.known)
		}
		if s.stale() && !s.aside && v.roll.state == rollNone && m.desired(s) == wantRun && !m.ended {
			t.Fatalf("%s runs %d, is to run %d, and nobody replaces it", s.name, s.revision, s.target)
		}
	}
}

// fataler is what *testing.T and *rapid.T share.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// checkGate: acts and turns are counted, and no act that may begin waits.
func checkGate(t fataler, v *service) {
	t.Helper()
	g := v.theGate()
	acts, replacing, faltered := 0, 0, 0
	for _, s := range v.all() {
		acts += delta(false, s.act != nil)
		replacing += delta(false, s.turn == turnPlanned || s.turn == turnAct)
		faltered += delta(false, s.turn == turnFaltered)
		if s.act != nil && (s.phase != phaseReady && s.phase != phaseStarting || s.end != endNone) {
			t.Fatalf("%s is %s, and an act waits for it", s.name, s.phase)
		}
		if s.act != nil && (!s.lined[s.act.line] || s.act.line != s.line(s.act.cause)) {
			t.Fatalf("%s: its act is in no line", s.name)
		}
		if s.turn == turnPlanned && s.phase == phaseStuck {
			t.Fatalf("%s is stuck, and is waited for", s.name)
		}
	}
	for i, n := range v.suspects {
		for _, s := range v.all() {
			n -= delta(false, i < maxShared && s.suspected&(1<<i) != 0)
		}
		if n != 0 {
			t.Fatalf("%s: %d are counted too many that fail check %d", v.spec.Name, n, i)
		}
	}
	if acts != g.waiting || replacing != g.replacing || faltered != g.faltered {
		t.Fatalf("%s: %d acts, %d and %d turns; kept %+v", v.spec.Name, acts, replacing, faltered, g)
	}
}

// checkGroup: what the state of a group says holds of its members.
func checkGroup(t fataler, m *Machine, g *group) {
	t.Helper()
	if m.down.on || g.state == groupIdle {
		return
	}
	for i, v := range g.members {
		switch {
		case v.group != g || v.place != i:
			t.Fatalf("%s is not at its place in %s", v.spec.Name, g.name)
		case g.state == groupStopping && i >= g.stopFrom && i > g.at && !v.quiet(),
			g.state == groupStarting && i > g.at && !v.quiet():
			t.Fatalf("%s: %s lives, and %d comes before it (%d)", g.name, v.spec.Name, g.at, g.state)
		case g.state == groupStarting && i == g.at && v.passes(),
			g.state == groupStopping && i == g.at && v.quiet():
			t.Fatalf("%s waits for %s in vain (%d)", g.name, v.spec.Name, g.state)
		}
	}
}

// checkQuarantine: every inmate has its place, a bound, and is wanted; no service
// keeps more than it may.
func checkQuarantine(t fataler, m *Machine) {
	t.Helper()
	n := 0
	for _, s := range m.slots {
		n += len(s.inmates)
		for _, f := range s.inmates {
			switch {
			case f.slot != s || !slices.Contains(m.quarantine, f):
				t.Fatalf("%s is in the wrong place", f.id())
			case !f.ending && m.desired(s.place()).unwanted() && !m.ended:
				t.Fatalf("%s is kept, and %s is not wanted", f.id(), s.name)
			case f.ending && f.at == never, f.at < s.timers[timerInmates], !f.ending && f.expires < s.timers[timerInmates]:
				t.Fatalf("%s has no deadline", f.id())
			}
		}
	}
	if n != len(m.quarantine) {
		t.Fatalf("%d inmates at slots, %d in all", n, len(m.quarantine))
	}
	for _, v := range m.services {
		if i := v.spec.Isolate; i != nil && m.count(func(f *inmate) bool { return f.slot.svc == v }) > i.Keep {
			t.Fatalf("%s keeps more than %d", v.spec.Name, i.Keep)
		}
	}
}

// checkChecks: attempts are made of what is ready, or is starting and has a ready
// check, and of nothing else; what they amount to is counted.
func checkChecks(t fataler, m *Machine, s *slot) {
	t.Helper()
	v, want := s.svc, 0
	switch s.phase {
	case phaseReady:
		want = len(v.spec.Checks)
	case phaseStarting:
		want = delta(false, v.readyCheck() != nil)
	}
	if m.ended {
		return
	}
	if s.checking != 0 && want != len(s.checks) || (s.checking != 0) != (want > 0) {
		t.Fatalf("%s is %s and has %d checks under way, %d is right", s.name, s.phase, len(s.checks), want)
	}
	ill := 0
	for i := range s.checks {
		c := &s.checks[i]
		if s.phase != phaseReady {
			break
		}
		k := &v.spec.Checks[i]
		ill += delta(false, c.failing && k.Outlier == nil)
		if c.failing && i < maxShared && s.suspected&(1<<i) == 0 {
			t.Fatalf("%s fails check %s, and is not counted", s.name, k.Name)
		}
		if int(c.fails) >= k.Timing.Failures && !c.failing {
			t.Fatalf("%s has failed check %s %d times, and it says nothing", s.name, k.Name, c.fails)
		}
	}
	if s.phase == phaseReady && (ill != s.ill || s.unhealthy != (s.judged || s.ill > 0)) {
		t.Fatalf("%s: %d checks fail, counted %d; unhealthy %t", s.name, ill, s.ill, s.unhealthy)
	}
	if s.act != nil && s.act.check > 0 && (s.act.check > len(s.checks) || !s.checks[s.act.check-1].failing) {
		t.Fatalf("%s: an act waits for a check that does not fail", s.name)
	}
}
