package sim

import (
	"slices"

	"nines/spec"
	"nines/supervisor/policy"
)

// group is what the observer knows of a group with a strategy. A failure of a
// member dooms what was asked for before it: doomedBy of each service that has
// to go down. Then members start in order, each once those before have passed.
type group struct {
	name    string
	rest    bool // rest_for_one
	members []*service
	on      bool // a restart is under way
	from    int  // the first member that starts anew
	cursor  int  // the first that has not passed
	hazy    bool // it cannot be known from outside whether one is under way, or how far
}

func (k *checker) link(groups []spec.Group) {
	for _, sp := range groups {
		if sp.Strategy == spec.OneForOne {
			continue
		}
		g := &group{name: sp.Name, rest: sp.Strategy == spec.RestForOne}
		for i, name := range sp.Members {
			s := k.byName[name]
			s.group, s.place = g, i
			g.members = append(g.members, s)
		}
		k.groups = append(k.groups, g)
	}
}

// groupFails notes an end that takes others of the group with it; sure: it is
// known that it does.
func (k *checker) groupFails(sl *slot, sure bool) {
	g := sl.svc.group
	if g == nil || k.shutdown != nil {
		return
	}
	from, stop := 0, 0
	if g.rest {
		from, stop = sl.svc.place, sl.svc.place+1
	}
	if stop == len(g.members) && (!g.on || g.from <= from) {
		return // nothing comes after it
	}
	k.w.marks[MarkGroup]++
	starting := g.on && g.down(k.w.now)
	for _, s := range g.members[stop:] {
		s.maybeBy = k.w.steps
		if sure {
			s.doomedBy = k.w.steps
		}
	}
	if !sure {
		g.hazy = true
		return
	}
	switch {
	case starting:
		g.from = min(g.cursor, from) // what has passed is not waited for again
	case g.on:
		g.from = min(g.from, from)
	default:
		g.from = from
	}
	g.on, g.cursor = true, g.from
}

// old says whether what lives in the slot is from before a failure of its group,
// and must go down with it.
func (sl *slot) old() bool {
	return sl.lives() && sl.cur.step < sl.svc.doomedBy
}

// mayBeOld says the same where it cannot be known.
func (sl *slot) mayBeOld() bool { return sl.lives() && sl.cur.step < sl.svc.maybeBy }

// down says whether all that must go down is down, but for what is stuck at that
// time.
func (g *group) down(at policy.Time) bool {
	for _, s := range g.members {
		for _, sl := range s.slots {
			if sl.old() && !sl.stuck(at) {
				return false
			}
		}
	}
	return true
}

// passes says whether those after s in its group need not wait for it.
func (s *service) passes() bool {
	for _, sl := range s.slots[:s.instances] {
		ended := !sl.lives() && (sl.outcome == completed || sl.outcome == failed && !sl.gaveUp)
		if !sl.ready() && sl.wanted() && !sl.unsure && !ended {
			return false
		}
	}
	return true
}

// doomed says whether something of s may have been told to end while it was made.
func (s *service) doomed() bool {
	for _, sl := range s.slots[:s.instances] {
		if sl.cur != nil && sl.cur.doomed {
			return true
		}
	}
	return false
}

// advance moves what is known of groups on, as far as their members are.
func (k *checker) advance() {
	for _, g := range k.groups {
		if g.hazy {
			settled := true
			for _, s := range g.members {
				settled = settled && s.passes() && !s.unsure() && !s.doomed()
				for _, sl := range s.slots {
					settled = settled && !sl.mayBeOld()
				}
			}
			if settled {
				g.hazy, g.on = false, false
			}
		}
		g.hazy = g.hazy || g.detained(k)
		if !g.on || !g.down(k.w.now) {
			continue
		}
		for g.cursor < len(g.members) && g.members[g.cursor].passes() {
			// When something counts as stuck depends on the machine's ticks.
			g.hazy = g.hazy || g.members[g.cursor].unsure() || g.members[g.cursor].doomed() || !g.down(0)
			g.cursor++
		}
		g.on = g.cursor < len(g.members)
	}
}

// heldBack says whether its group does not let s start yet, or may not.
func (s *service) heldBack(k *checker) bool {
	g := s.group
	return g != nil && (g.hazy || g.on && s.place >= g.from && (s.place > g.cursor || !g.down(0))) // what is stuck is not waited for from some moment on
}

// detained says whether g may wait for what is ended in quarantine, of a member that
// was stopped: for how long, depends on when that counts as stuck.
func (g *group) detained(k *checker) bool {
	return g.on && slices.ContainsFunc(k.caged, func(inc *incarnation) bool {
		return inc.svc.group == g && inc.cage.holds() && !inc.slot.wanted()
	})
}

// groupStart checks that a member starts in its turn.
func (k *checker) groupStart(sl *slot) {
	s := sl.svc
	g := s.group
	if g == nil || !g.on || g.hazy || s.place < g.from {
		return
	}
	switch {
	case !g.down(k.w.now):
		k.fail("group", "%s is spawned, but something of group %s from before the failure lives", sl.id, g.name)
	case s.place > g.cursor:
		k.fail("group", "%s is spawned, but %s, which comes before it in group %s, is not up", sl.id, g.members[g.cursor].spec.Name, g.name)
	}
}

// groupTurn checks that a member goes down after those that come after it.
func (k *checker) groupTurn(inc *incarnation) {
	g := inc.svc.group
	if g == nil || g.hazy {
		return
	}
	for _, s := range g.members[inc.svc.place+1:] {
		k.w.marks[MarkGroupOrder]++
		if !s.quiet(k.w.now) {
			k.fail("group", "%s is ended, but %s, which comes after it in group %s, lives", inc.name(), s.spec.Name, g.name)
		}
	}
}

// blockedGroup says whether it is right that s waits for its group.
func (s *service) blockedGroup(k *checker) bool {
	g := s.group
	if g == nil || !s.heldBack(k) {
		return false
	}
	if g.hazy || g.cursor >= len(g.members) {
		return true
	}
	c := g.members[g.cursor]
	for _, sl := range c.slots[:c.instances] {
		if sl.outcome == failed || sl.unsure {
			return true
		}
	}
	return c != s && c.blocked(k)
}
