package policy

import (
	"slices"

	"nines/spec"
)

// What a revision is judged by, and what follows. During an update: a crash loop,
// an end with a fatal code, a start that fails, a failed check, too much memory, or
// its deadline. In the probation after it: a crash loop, a fatal code, a failed
// check, too much memory. Then the service goes back to the newest good revision,
// or the one before where none is good yet, and the one that failed is bad: never
// started again by itself. That happens once an update: what reverts another is
// not reverted, but held.

// revertible says whether the current revision of v may be reverted now.
func (v *service) revertible() bool {
	u := &v.roll
	return v.spec.Update.AutoRevert && !u.last && (u.forward() || u.state == rollNone && u.until > 0) &&
		v.spec.Type != spec.TypeTask && v.revertsTo() != 0
}

// revertsTo is the revision that v goes back to, and whose data are to be had; 0:
// there is none.
func (v *service) revertsTo() int {
	for i := range v.known {
		if r := &v.known[i]; r.Verdict == Good && r.Number != v.revision && v.hasData(r) {
			return r.Number
		}
	}
	if r := v.find(v.roll.from); r != nil && r.Verdict != Bad && r.Number != v.revision && v.hasData(r) {
		return r.Number
	}
	for i := range v.known {
		if r := &v.known[i]; r.Number != v.revision && r.Verdict != Bad && r.Verdict != Superseded && v.hasData(r) {
			return r.Number
		}
	}
	return 0
}

// condemned says whether what happened to s, which is no crash that may be tried
// again, has its revision reverted, and if so does it.
func (m *Machine) condemned(s *slot, why Reason) bool {
	v := s.svc
	if s.revision != v.revision || v.spec.CrashLoop.Then != spec.ThenRollback || !v.revertible() || m.down.on || v.removed {
		return false
	}
	m.revert(v, Reason{kind: whyCondemned, name: s.name, text: why.String()})
	return true
}

// sharedFailure says whether check i fails of an instance that runs another revision
// than the current one too: then that is not to blame.
func (v *service) sharedFailure(i int) bool {
	return slices.ContainsFunc(v.slots, func(s *slot) bool {
		return i < maxShared && s.suspected&(1<<i) != 0 && s.phase.lives() && s.revision != v.revision
	})
}

// afresh: s has ended, and comes up again with another revision.
func (m *Machine) afresh(s *slot) {
	s.next, s.nextAt, s.restarts, s.auto = phaseDown, 0, 0, false
	m.forget(s)
}

// revert brings back what ran before.
func (m *Machine) revert(v *service, why Reason) {
	bad, to := v.revision, v.revertsTo()
	if bug != 22 {
		v.find(bad).Verdict = Bad
	}
	m.returnTo(v, to, KindRollback, Reason{kind: whyReverted, count: int32(bad), code: int32(to), text: why.String(), over: v.file.Data != nil && !v.putsBack()})
}

// returnTo has v run again what it ran before, and tells why whoever waits.
func (m *Machine) returnTo(v *service, to int, kind Kind, said Reason) {
	left := v.revision
	m.dropSuccessors(v)
	r := *v.find(to)
	m.newRevision(v, r.Digest, r.Spec)
	v.find(to).Verdict = r.Verdict
	v.roll = rollout{state: rollBack, from: left, last: bug != 23}
	m.moveData(v, left, true)
	m.serviceNotice(kind, v, said)
	if v.awaited == awaitUp {
		m.awaitedFailed(v, v.spec.Name+": "+said.String())
	}
	m.failDeploys(v, said.String())
	v.spec = v.runs(to)
	v.readRecycle()
	for _, s := range v.slots {
		m.aim(s, to)
		m.disarm(s, timerUpdate)
		m.disarm(s, timerProbation)
		if s.revision == left || v.file.Data != nil {
			m.renew(s) // where nothing of it lives it starts at once
		}
	}
	m.recordRevision(v)
	m.countSettled(v)
	m.touchAll(v)
	m.markRoll(v)
}

// deploys says whether o waits for an update.
func (o *operation) deploys() bool { return o.verb == VerbDeploy || o.verb == VerbRollback }

// failDeploys answers those who wait for the update of v.
func (m *Machine) failDeploys(v *service, why string) {
	m.failAll(v, why, (*operation).deploys)
}

// progressDeploy fails an operation that waits for an update which does not come to
// its end by itself. The update stays as it is, and goes on if it can.
func (m *Machine) progressDeploy(o *operation) {
	v := o.svc
	if !v.roll.on() || v.revertible() && v.spec.Update.Deadline > 0 && v.mayStart() {
		return // what it waits for has a deadline
	}
	if why, hint := m.blocked(v); why != "" && v.waiting+v.outdated > 0 {
		m.fail(o, why+byItself, hint)
		return
	}
	if s := v.findStuck(func(*slot) bool { return true }); s != nil {
		m.failStuck(o, s)
		return
	}
	if why, hint := m.stalls(v); why != "" {
		m.fail(o, why, hint)
		return
	}
}

// Deploy asks for another revision of one service. It is answered as a Command is:
// done when all of it runs that, failed where it was reverted.
type Deploy struct {
	Request Request
	Service string
	Digest  string
	Spec    *spec.Service // what is part of the revision
	Force   bool          // also one that is marked bad
	Asked   bool          // the specification, or the file at its path, asks for it: no person does
	By      string
}

func (Deploy) event() {}

func (m *Machine) deploy(e Deploy) {
	c := Command{Request: e.Request, Verb: VerbDeploy, Service: e.Service, Instance: -1, By: e.By}
	cannot := "cannot deploy " + e.Service
	v := m.byName[e.Service]
	if !m.takes(c, v) {
		return
	}
	r := v.findDigest(e.Digest)
	switch {
	case e.Spec == nil:
		m.refuse(e.Request, BadRequest, cannot+": nothing says what is to run", "")
		return
	case r != nil && r.Verdict == Bad && !e.Force:
		if e.Asked {
			v.asked = r.Number
			m.recordRevision(v)
		}
		m.refuse(e.Request, Conflict, cannot+": it is revision "+itoa(int32(r.Number))+", which was reverted and is marked bad",
			"nines history "+e.Service+" says why; deploy it in spite of that with --force")
		return
	case r != nil && r.Number == v.revision && r.Verdict != Bad:
		if e.Asked {
			v.asked = r.Number
			m.recordRevision(v)
		}
		m.begin(v, c)
		if !v.roll.on() {
			m.done(v.ops[len(v.ops)-1], v.spec.Name+" runs that already: it is revision "+itoa(int32(v.revision)))
		}
		return
	}
	m.failDeploys(v, "superseded by another deploy"+by(e.By))
	m.update(v, e.Digest, e.Spec, false)
	if e.Asked {
		v.asked = v.revision
	}
	m.begin(v, c)
}

// commandRollback goes back to a revision by a person's word: the one given, or the
// newest good one, or the one before.
func (m *Machine) commandRollback(v *service, c Command) {
	cannot := "cannot roll back " + v.spec.Name
	to := c.Revision
	if to == 0 {
		to = v.revertsTo()
	}
	r := v.find(to)
	switch {
	case to == 0:
		m.refuse(c.Request, Conflict, cannot+": there is no earlier revision that is not bad", "nines history "+v.spec.Name)
	case r == nil:
		m.refuse(c.Request, BadRequest, cannot+" to "+itoa(int32(to))+": there is no such revision", "nines history "+v.spec.Name)
	case r.Number == v.revision:
		m.refuse(c.Request, Conflict, cannot+" to "+itoa(int32(to))+": that is the revision that it is to run", "nines status "+v.spec.Name)
	case !v.hasData(r):
		m.refuse(c.Request, Conflict, cannot+" to "+itoa(int32(to))+": there is no copy of the data of that revision",
			"deploy its file to run it on the data as they are, or write restore = false in the data block")
	default:
		m.failDeploys(v, "superseded by a rollback"+by(c.By))
		left := v.revision
		m.update(v, r.Digest, r.Spec, true)
		m.serviceNotice(KindRollback, v, Reason{
			kind: whyRolledBack, name: c.By, count: int32(left), code: int32(v.revision), over: v.file.Data != nil && !v.putsBack(),
		})
		m.begin(v, c)
	}
}
