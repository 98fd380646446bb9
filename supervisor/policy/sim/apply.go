package sim

import (
	"slices"
	"strconv"

	"nines/spec"
	"nines/supervisor/policy"
)

// changed is the event that brings specification n.
func (w *world) changed(n int) policy.SpecChanged {
	sp := w.specs[n-1]
	digests := make(map[string]string, len(sp.Services))
	for _, v := range sp.Services {
		digests[v.Name] = strconv.FormatUint(hash(string(v.Process.Command)), 16)
	}
	return policy.SpecChanged{Spec: sp, Digests: digests, Number: uint64(n), By: "root (uid 0)"}
}

// file is the moment at which another specification is durable: if the supervisor
// dies now, the next one begins with it.
func (w *world) file(a *Apply) {
	w.specs = append(w.specs, a.apply(w.sc, w.specs[len(w.specs)-1]))
	c := w.chance("apply")
	w.filing = max(w.filing, w.now.Add(c.spread(stepTime, 10*stepTime)))
	w.q.push(item{at: w.filing, kind: itApply, n: len(w.specs)})
}

// apply tells the machine of it.
func (w *world) apply(n int) {
	ev := w.changed(n)
	ev.Request = w.request()
	w.step(ev)
}

// reload is what the next supervisor is told first: the specification that had
// begun, and all that is remembered.
func (w *world) reload(past policy.Past) {
	n := max(w.journal.applied, 1) // 0: nothing was durable yet
	ev := w.changed(n)
	c := w.chance("reload")
	if n > 1 && !c.of(200) {
		past.Before = w.specs[n-2]
	}
	ev.Past = past
	if w.check.spec != ev.Spec {
		w.check.fail("intent", "the records say that specification %d runs, and it had not begun, or was not the last", n)
		return
	}
	for _, s := range w.check.services {
		if s.removed && (past.Before == nil || past.Before.Service(s.spec.Name) == nil) {
			w.unplaced(s)
		}
	}
	for _, s := range w.check.services {
		for _, sl := range s.slots {
			if sl.cur == nil || !sl.cur.outdated() {
				continue
			}
			sl.cur.told.needs = nil // nobody knows, beyond what ran before
			if past.Before != nil {
				if was := past.Before.Service(s.spec.Name); was != nil {
					sl.cur.told.needs = was.Needs
				}
			}
		}
	}
	w.step(ev)
	for _, id := range w.m.Unknown() {
		delete(w.journal.slots, id)
		for _, s := range w.check.services {
			for _, sl := range s.slots {
				if sl.id == id && !s.removed {
					w.check.fail("intent", "%s is said to be of a service that is no more", id)
				}
			}
		}
	}
}

// unplaced ends what lives of a service of which the next machine knows nothing, as
// the driver does.
func (w *world) unplaced(s *service) {
	for _, sl := range s.slots {
		if inc := sl.cur; sl.lives() {
			w.marks[MarkUnplaced]++
			inc.main, inc.rest, inc.killing, inc.resolved = false, false, false, true
			inc.told.over, inc.told.reaped, inc.told.empty = true, true, true
		}
	}
	for _, inc := range w.check.caged {
		if inc.svc == s && inc.cage.holds() {
			w.marks[MarkUnplaced]++
			inc.main, inc.rest, inc.killing, inc.cage.gone = false, false, false, true
		}
	}
	s.revs = nil // nor of its revisions
}

// applied notes what another specification changes in what is wanted.
func (k *checker) applied(sp *spec.Spec) {
	if k.shutdown != nil {
		k.fail("answer", "an apply is not refused in a shutdown")
		return
	}
	k.w.marks[MarkApplied]++
	k.spec, k.changed = sp, k.w.now
	for _, s := range k.services {
		s.awaited = false
		if sp.Service(s.spec.Name) == nil && !s.removed {
			k.remove(s)
		}
	}
	for _, v := range sp.Services {
		s := k.byName[v.Name]
		if s == nil {
			s = &service{spec: v, removed: true}
			k.services = append(k.services, s)
			k.byName[v.Name] = s
		}
		k.change(s, v)
	}
	k.relink()
	k.regroup(sp.Groups)
}

// remove: a service is no more in the specification.
func (k *checker) remove(s *service) {
	k.w.marks[MarkRemoved] += count(s.occupied(k))
	s.removed, s.awaited, s.stopped, s.started, s.instances = true, true, false, false, 0
	for _, sl := range s.slots {
		sl.stopped, sl.hazy, sl.unsure, sl.first = false, false, false, false
		sl.outcome = none
	}
}

// change gives s what its new spec says.
func (k *checker) change(s *service, v *spec.Service) {
	now, old, was := k.w.now, s.instances, s.enabled()
	revised := s.spec.Process.Command != v.Process.Command
	if s.removed {
		k.w.marks[MarkAdded]++
		k.w.marks[MarkRevived] += count(s.occupied(k))
		if !s.occupied(k) {
			s.revs = nil // whether it is still known, cannot be seen
		}
		s.removed = false
	}
	s.awaited = revised && old > 0
	s.spec = v
	s.started = s.started && !v.Enabled
	k.grow(s, v.Instances)
	s.instances = v.Instances
	for _, sl := range s.slots {
		if sl.cur != nil && !sl.cur.outdated() {
			sl.cur.told.needs = v.Needs
		}
	}
	for i, sl := range s.slots[:s.instances] {
		switch {
		case i >= old:
			sl.stopped, sl.unsure, sl.hazy, sl.first = false, false, false, true
			sl.pardon(now)
			sl.restart, sl.since = s.restarts > 0, k.w.steps
		case !s.enabled(): // who enables it again does not wait for a backoff
			sl.outcome, sl.notBefore, sl.notAfter = none, now, 0
		case !was:
			sl.first = true
		}
		if turns := sl.lives() && !sl.cur.told.over && sl.cur.told.ask == askNone; revised && !turns {
			sl.pardon(now)
			sl.first, sl.unsure = true, sl.unsure && sl.restart
		}
	}
}

// relink finds again what depends on what.
func (k *checker) relink() {
	for _, s := range k.services {
		s.needs, s.after = nil, nil
		for _, n := range s.spec.Needs {
			s.needs = append(s.needs, k.byName[n])
		}
		for _, n := range s.spec.After {
			s.after = append(s.after, k.byName[n])
		}
	}
	for _, s := range k.services {
		s.below[0], s.below[1] = map[*service]bool{}, map[*service]bool{}
		s.descend(s, 0)
		s.descend(s, 1)
	}
}

// regroup makes the groups of another specification. One that is as it was before
// goes on where it is; of any other, a restart is over.
func (k *checker) regroup(groups []spec.Group) {
	old := k.groups
	k.groups = nil
	for _, s := range k.services {
		s.group, s.place = nil, 0
	}
	k.link(groups)
	for _, s := range k.services {
		var was *group
		for _, g := range old {
			if slices.Contains(g.members, s) {
				was = g
			}
		}
		if g := s.group; g != nil && was != nil && g.name == was.name && g.rest == was.rest && slices.Equal(g.members, was.members) {
			g.on, g.from, g.cursor, g.hazy = was.on, was.from, was.cursor, was.hazy
		} else {
			s.doomedBy, s.maybeBy = 0, 0
		}
	}
}

// outdated says whether inc is of another revision than its service is to run.
func (inc *incarnation) outdated() bool { return inc.rev != string(inc.svc.spec.Process.Command) }

// heldBy is an incarnation of another revision that may need s, or nil: s was removed,
// and may not end before it.
func (k *checker) heldBy(s *service) *incarnation {
	for _, o := range k.services {
		for _, sl := range o.slots {
			if sl.lives() && sl.cur.outdated() && slices.Contains(sl.cur.told.needs, s.spec.Name) && o != s {
				return sl.cur
			}
		}
	}
	return nil
}

// held says whether it is right that s, which was removed, goes on: for another
// revision of what needed it, or for what needs it and is held itself.
func (k *checker) held(s *service) bool {
	if k.heldBy(s) != nil {
		return true
	}
	for _, o := range k.services {
		if o.removed && o.below[1][s] && !o.quiet(k.w.now) && k.heldBy(o) != nil {
			return true
		}
	}
	return false
}

// rolled checks that inc may be replaced by one of the revision that is to run.
func (k *checker) rolled(inc *incarnation) {
	sl, s := inc.slot, inc.svc
	k.w.marks[MarkRolled]++
	left := 0
	for _, o := range s.slots {
		if o != sl && o.healthy() {
			left++
		}
	}
	if sl.healthy() && left < s.atLeast() {
		k.fail("budget", "%s is replaced by another revision: %d instances stay ready, at least %d must", inc.name(), left, s.atLeast())
	}
	for _, d := range s.needs {
		if !d.ready() && !d.unsure() && !d.endsNow(k) {
			k.fail("order", "%s is replaced by another revision, and would wait for %s", inc.name(), d.spec.Name)
		}
	}
}

// unrolled says whether sl waits for its turn to be replaced although nothing
// stands against it.
func (k *checker) unrolled(sl *slot) bool {
	s := sl.svc
	if !sl.ready() || !sl.cur.outdated() || s.spec.Type == taskType || !s.mayStart(k) || s.instances <= s.atLeast() {
		return false
	}
	for _, o := range s.slots[:s.instances] {
		if o.wanted() && !o.healthy() || o.unsure || o.stopped || o.turn != turnNone {
			return false // the others stay as they are
		}
	}
	return true
}

// revision checks that a number of a revision stands for one command, as long as
// its service is known.
func (k *checker) revision(inc *incarnation, number int) {
	s := inc.svc
	if was, ok := s.revs[number]; ok && was != inc.rev {
		k.fail("revision", "%s is started as revision %d of %q; that was %q", inc.name(), number, inc.rev, was)
	}
	if s.revs == nil {
		s.revs = map[int]string{}
	}
	s.revs[number] = inc.rev
}

// carriedOut checks, when an apply is said to be done, that nothing lives of what
// it removed, and nothing of another revision where all else is up.
func (k *checker) carriedOut(sp *spec.Spec) {
	if sp != k.spec {
		return
	}
	for _, s := range k.services {
		for _, sl := range s.slots {
			switch {
			case s.removed && s.awaited && sl.lives() && !sl.stuck(k.w.now):
				k.fail("apply", "it is done, and %s, which it removed, lives", sl.id)
			case s.removed, s.spec.Type == taskType, !sl.ready() || !sl.cur.outdated() || sl.stopped || sl.unsure:
			case s.awaited:
				k.fail("apply", "it is done, and %s is of another revision", sl.id)
			}
		}
	}
}
