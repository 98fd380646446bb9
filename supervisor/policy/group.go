package policy

import "nines/spec"

// group is a group of which one member's end takes others with it. One_for_one
// needs no group: it is what services do anyway.
//
// An end that nobody asked for, of any instance of a member, begins a restart of
// the group: what the strategy names goes down, the last member first, each when
// nothing lives any more of those after it; then all come up again in the order
// of members, each once the one before is up. Another such end meanwhile widens
// it, or begins it again. See the package comment for what counts.
//
// at moves only one way in each state, and what may stop or start follows from
// it, so that an event about a member costs the same however large the group is.
type group struct {
	name     string
	strategy spec.Strategy
	members  []*service

	state    groupState
	from     int    // the first member that starts anew
	stopFrom int    // the first that is stopped
	at       int    // stopping: the last of which something may live; starting: the first that is not up
	dead     bool   // starting: that one does not come up unless a person acts
	cause    string // the instance that ended; "": an earlier supervisor knew
	dirty    bool
}

type groupState uint8

const (
	groupIdle groupState = iota
	groupStopping
	groupStarting
)

// linkGroups makes the groups of a specification. Of groups that were before it
// takes over where they are, as long as they are the same.
func (m *Machine) linkGroups(list []spec.Group) {
	old := m.groups
	m.groups = nil
	for _, v := range m.services {
		v.group, v.place = nil, 0
	}
	for i := range list {
		sp := &list[i]
		if sp.Strategy != spec.OneForAll && sp.Strategy != spec.RestForOne {
			continue
		}
		g := &group{name: sp.Name, strategy: sp.Strategy}
		for _, name := range sp.Members {
			if v := m.byName[name]; v != nil && v.group == nil {
				v.group, v.place = g, len(g.members)
				g.members = append(g.members, v)
			}
		}
		for _, o := range old {
			if o.name == g.name && o.same(g) {
				g.state, g.from, g.stopFrom, g.at, g.cause = o.state, o.from, o.stopFrom, o.at, o.cause
			}
		}
		m.groups = append(m.groups, g)
	}
	for _, o := range old {
		if g := m.groupNamed(o.name); o.state != groupIdle && (g == nil || g.state == groupIdle) {
			m.record(Record{Kind: RecordGroup, ID: o.name})
		}
	}
	for _, v := range m.services {
		m.holdGroup(v)
		m.markGroup(v.group)
	}
}

func (m *Machine) groupNamed(name string) *group {
	for _, g := range m.groups {
		if g.name == name {
			return g
		}
	}
	return nil
}

func (g *group) same(o *group) bool {
	if g.strategy != o.strategy || len(g.members) != len(o.members) {
		return false
	}
	for i := range g.members {
		if g.members[i].spec.Name != o.members[i].spec.Name {
			return false
		}
	}
	return true
}

// groupFailed: an instance ended that nobody had asked to, and it is to be
// started again, or was given up.
func (m *Machine) groupFailed(s *slot) {
	v := s.svc
	g := v.group
	if g == nil || m.down.on {
		return
	}
	from, stopFrom := 0, 0
	if g.strategy == spec.RestForOne {
		from, stopFrom = v.place, v.place+1
	}
	switch {
	case stopFrom >= len(g.members) && (g.state == groupIdle || g.from <= from):
		return // nothing comes after it, and nothing waits for it that did not before
	case g.state == groupIdle:
		g.from, g.stopFrom = from, stopFrom
	case g.state == groupStopping:
		g.from, g.stopFrom = min(g.from, from), min(g.stopFrom, stopFrom)
	case g.state == groupStarting:
		// What is before at came up, and is not waited for again, whatever became of
		// it: other instances of this member live, and would be out of order.
		g.from, g.stopFrom = min(g.at, from), stopFrom
	}
	g.cause = s.name
	m.enterGroup(g, groupStopping, len(g.members)-1)
}

// enterGroup brings g to a state, and tells its members.
func (m *Machine) enterGroup(g *group, state groupState, at int) {
	g.state, g.at, g.dead = state, at, false
	m.record(Record{Kind: RecordGroup, ID: g.name, Value: g.value()})
	for _, v := range g.members {
		m.holdGroup(v)
	}
	m.markGroup(g)
}

// value is what a RecordGroup keeps: the state, from, and stopFrom or, once
// nothing is to be stopped any more, at. How far a stop is, what lives tells.
func (g *group) value() int64 {
	place := g.stopFrom
	switch g.state {
	case groupIdle:
		return 0
	case groupStarting:
		place = g.at
	case groupStopping:
	}
	return int64(g.state) | int64(g.from)<<2 | int64(place)<<32
}

// restoreGroup puts g where an earlier supervisor had it. What is no such place
// is none: then each member only comes up by itself.
func (m *Machine) restoreGroup(g *group, value int64) {
	state, from, place := groupState(value&3), int(value>>2&(1<<30-1)), int(value>>32)
	n := len(g.members)
	if state != groupStopping && state != groupStarting || from >= n || place < from || place >= n {
		if value != 0 {
			m.record(Record{Kind: RecordGroup, ID: g.name})
		}
		return
	}
	g.state, g.from, g.stopFrom, g.at = state, from, place, n-1
	if state == groupStarting {
		g.at = place
	}
	for _, v := range g.members {
		m.holdGroup(v)
	}
	m.markGroup(g)
}

// holdGroup says what the state of its group means for v.
func (m *Machine) holdGroup(v *service) {
	regroup, held, dead := false, false, false
	if g := v.group; g != nil {
		switch g.state {
		case groupIdle:
		case groupStopping:
			regroup, held = v.place >= g.stopFrom, v.place >= g.from
		case groupStarting:
			held = v.place > g.at
			dead = held && g.dead
		}
	}
	if regroup == v.regroup && held == v.heldBack && dead == v.groupDead {
		return
	}
	v.regroup, v.heldBack, v.groupDead = regroup, held, dead
	m.wake(v)
	m.markDirty(v)
	if len(v.ops) > 0 {
		m.markOps(v)
	}
}

func (m *Machine) markGroup(g *group) {
	if g != nil && g.state != groupIdle && !g.dirty {
		g.dirty = true
		m.dirtyGroups.push(g)
	}
}

// progressGroup moves a restart on, as far as what its members do allows.
func (m *Machine) progressGroup(g *group) {
	switch {
	case m.down.on:
	case g.state == groupStopping:
		was := g.at
		for g.at >= g.stopFrom && g.members[g.at].quiet() {
			g.at--
		}
		if g.at < g.stopFrom {
			m.enterGroup(g, groupStarting, g.from)
		} else if g.at != was {
			m.wake(g.members[g.at])
		}
	case g.state == groupStarting:
		was, dead := g.at, g.dead
		for g.at < len(g.members) && g.members[g.at].passes() {
			g.at++
		}
		if g.at == len(g.members) {
			m.enterGroup(g, groupIdle, 0)
			return
		}
		if g.dead = g.members[g.at].level == levelDead; g.dead == dead && g.at == was {
			return
		}
		if g.at != was {
			m.record(Record{Kind: RecordGroup, ID: g.name, Value: g.value()})
		}
		// Those further on wait as before, unless what they wait for is dead now.
		changed := g.members[was : g.at+1]
		if g.dead != dead {
			changed = g.members[was:]
		}
		for _, v := range changed {
			m.holdGroup(v)
		}
	case g.state == groupIdle:
	}
}

// quiet says whether nothing of v lives but what is stuck: to wait for that
// could be for ever.
func (v *service) quiet() bool { return v.occupied <= v.stuck }

// passes says whether those after v in its group need not wait for it.
func (v *service) passes() bool { return v.standing[standsUp]+v.excused >= v.instances }

// isLast says whether it is v's turn to be stopped with its group.
func (v *service) isLast() bool {
	return v.group != nil && v.group.at == v.place || bug == 8
}

// excused says whether a group does not wait for s, which is not up and does not
// come up by itself: since a person or the spec wants it down, or since its end
// was the one that its restart policy allows it. One that was given up is waited
// for: its group is incomplete without it.
func (s *slot) excused(d desire) bool {
	switch {
	case d == wantStopped, d == wantDisabled, s.phase == phaseCompleted:
		return true
	case s.phase == phaseFailed:
		return s.why.kind == whyNever || s.why.kind == whyUntold
	}
	return false
}

// why words why a member goes down with its group.
func (g *group) why() Reason {
	return Reason{kind: whyGroup, name: g.name, text: g.cause}
}

// whyHeldBack words what a member waits for.
func (m *Machine) whyHeldBack(v *service) Reason {
	g := v.group
	if g.state == groupStopping {
		return Reason{kind: whyGroupStops, name: g.name}
	}
	first := g.members[g.at]
	return Reason{kind: whyGroupOrder, name: first.spec.Name, text: g.name, count: int32(m.needState(first))}
}
