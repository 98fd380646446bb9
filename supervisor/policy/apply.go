package policy

import (
	"slices"
	"strconv"
	"strings"

	"nines/spec"
)

// application is an apply somebody waits for. There is at most one: a newer one
// supersedes it.
type application struct {
	request  Request // 0: nobody
	by       string
	pending  int // services that are awaited
	failures []string

	added, updated, removed, resized int

	pinned []string // services that stay at another revision than the specification asks for
}

// awaited is what an apply waits for at a service.
type awaited uint8

const (
	awaitNothing awaited = iota
	awaitUp              // all that is wanted of it is up, and of the current revision
	awaitLess            // nothing lives of instances that it has no more
	awaitDown            // nothing of it lives
)

// watched says whether somebody waits for v to settle.
func (v *service) watched() bool { return len(v.ops) > 0 || v.awaited != awaitNothing }

// apply replaces the specification of a running machine. What changed of a
// service decides: another digest is another revision, which roll brings to its
// instances; all else counts from now on, for what runs as well.
func (m *Machine) apply(e SpecChanged) {
	m.endApply("superseded by a newer apply" + by(e.By))
	a := &application{request: e.Request, by: e.By}
	m.applying = a
	if e.Request != 0 {
		m.then(Action{Kind: ActAccepted, Request: e.Request})
	}
	m.applied(e)
	old := m.services
	needed := make([][]*service, len(old))
	for i, v := range old {
		needed[i] = v.needs
	}
	m.services = make([]*service, 0, len(e.Spec.Services)+len(m.removing))
	kept := make(map[*service]bool, len(e.Spec.Services)) // looked up only
	disabled := make([]bool, 0, len(e.Spec.Services))
	for _, sp := range e.Spec.Services {
		v := m.takeUp(sp)
		kept[v] = true
		m.services = append(m.services, v)
		disabled = append(disabled, v.disabled())
		v.file = sp
		v.spec = v.runs(v.revision)
	}
	for _, v := range old {
		if kept[v] {
			continue
		}
		m.services = append(m.services, v)
		if !v.removed {
			m.remove(v)
		}
	}
	m.relink()
	m.linkGroups(e.Spec.Groups)
	for i, sp := range e.Spec.Services {
		m.change(m.byName[sp.Name], e.Digests[sp.Name], disabled[i])
	}
	for i, v := range old {
		m.outgrow(v, needed[i])
	}
	for _, v := range m.services {
		m.touchAll(v)
		if v.watched() {
			m.markOps(v)
		}
	}
	m.applyDone()
}

// applied takes what is not of a service, and says so.
func (m *Machine) applied(e SpecChanged) {
	m.timeout = e.Spec.Supervisor.ShutdownTimeout
	if e.Number != 0 {
		m.record(Record{Kind: RecordApplied, Value: int64(e.Number)})
	}
	m.out.Notices = append(m.out.Notices, Notice{
		Kind: KindSpecApplied, Slot: NoSlot, Ref: Ref{Slot: NoSlot},
		Reason: Reason{kind: whySpecApplied, count: int32(len(e.Spec.Services)), name: e.By},
	})
}

// takeUp returns the service that sp describes: the one that is there, one that
// is on its way out and is wanted again, or a new one.
func (m *Machine) takeUp(sp *spec.Service) *service {
	if v := m.byName[sp.Name]; v != nil {
		return v
	}
	var v *service
	if v = m.named(sp.Name, true); v != nil {
		v.removed = false
		m.removing = slices.DeleteFunc(m.removing, func(o *service) bool { return o == v })
		if v.data.token != 0 || v.data.restoring != 0 {
			v.roll.state = rollBack // its data are still being moved
		}
	} else if v = m.retired[sp.Name]; v != nil {
		delete(m.retired, sp.Name)
		*v = service{slots: v.slots, floor: v.floor, spec: sp, file: sp, level: levelPending, fresh: true}
		v.firstRevision("")
		for _, s := range v.slots {
			m.beginAnew(s)
			if s.twin != nil {
				m.beginAnew(s.twin)
			}
		}
	} else {
		v = &service{spec: sp, file: sp, level: levelPending, fresh: true, floor: m.floors[sp.Name]}
		v.firstRevision("")
	}
	m.byName[sp.Name] = v
	return v
}

// beginAnew has the slot of a service that had been forgotten begin as one of its first
// revision.
func (m *Machine) beginAnew(s *slot) {
	s.revision, s.target, s.candidate = 0, 1, false
	s.last, s.how, s.why, s.restarts = LastExit{}, Reason{}, Reason{}, 0
	m.forget(s)
}

func (m *Machine) unscale(v *service) {
	if v.scaled {
		v.scaled = false
		m.record(Record{Kind: RecordScale, ID: v.spec.Name, Value: -1})
	}
}

// change gives v what its new spec says.
func (m *Machine) change(v *service, digest string, wasDisabled bool) {
	sp, old, scaled := v.file, v.instances, v.scaled
	if v.started && sp.Enabled {
		v.started = false
		m.record(Record{Kind: RecordStarted, ID: sp.Name})
	}
	m.unscale(v)
	m.failAll(v, "superseded by an apply"+by(m.applying.by), func(o *operation) bool {
		return o.verb == VerbScale || o.index >= min(old, sp.Instances) || v.disabled() && rises(o) // below, each is as it was
	})
	if bug != 14 || !scaled {
		v.instances = sp.Instances
	}
	if v.instances != old {
		m.resize(v, old)
	}
	update := false
	switch known := v.findDigest(digest); {
	case v.fresh:
		v.firstRevision(digest)
		v.spec = sp
	case known != nil && known.Number == v.asked && known.Number != v.data.untried:
		// It asks for what it did before. A revision that was left since, by a revert
		// or by a person, stays out.
		known.Spec = sp
		v.spec = v.runs(v.revision)
		if known.Number != v.revision {
			m.applying.pinned = append(m.applying.pinned, v.pinned())
		}
	case known != nil && known.Verdict == Bad:
		v.asked = known.Number
		m.recordRevision(v)
		m.applying.pinned = append(m.applying.pinned, v.pinned())
	case known != nil && known.Number == v.revision:
		v.asked = known.Number
		m.recordRevision(v)
	default:
		update = true
		m.failDeploys(v, "superseded by an apply"+by(m.applying.by))
		m.update(v, digest, sp, m.undoesData(v, known))
		v.asked = v.revision
		m.recordRevision(v)
	}
	m.dataAgain(v)
	m.rearm(v)
	m.recheck(v)
	m.rearmRecycle(v)
	m.rearmInmates(v)
	a := m.applying
	switch {
	case v.fresh:
		a.added++
		v.fresh = false
	case update:
		a.updated++
	case v.instances != old || v.disabled() != wasDisabled:
		a.resized++
	}
	switch {
	case v.disabled():
		if v.occupied > 0 {
			m.await(v, awaitDown)
		}
	case update, wasDisabled, v.instances > old:
		m.await(v, awaitUp)
	case v.instances < old:
		m.await(v, awaitLess)
	}
}

// rearm gives what is on its way up the readiness that counts now, and forgets
// ends that can be part of no crash loop any more; those that were are the reason
// that people are told.
func (m *Machine) rearm(v *service) {
	for _, s := range v.slots {
		gaveUp := s.phase == phaseFailed || s.phase.lives() && s.next == phaseFailed
		if over := len(s.ends) - max(v.spec.CrashLoop.Failures, 0); over > 0 && !gaveUp {
			s.ends = s.ends[:copy(s.ends, s.ends[over:])]
			m.save(s)
		}
		switch {
		case s.phase != phaseStarting:
		case v.spec.Ready == nil || v.spec.Type == spec.TypeTask:
			m.becomeReady(s, input{})
		default:
			m.armStarting(s)
		}
	}
}

// rearmRecycle has v's instances replaced as its spec says now.
func (m *Machine) rearmRecycle(v *service) {
	v.readRecycle()
	for _, s := range v.slots {
		if s.act != nil && s.act.cause == CauseRecycle {
			m.dropAct(s) // if it is still due, it is asked for again at once
		}
		m.disarm(s, timerRecycle)
		m.armRecycle(s)
	}
}

// await: the apply waits for v.
func (m *Machine) await(v *service, what awaited) {
	v.awaited = what
	m.applying.pending++
	m.countSettled(v)
	m.markOps(v)
}

// progressApply looks whether v is as the apply wants it, or cannot come to be.
func (m *Machine) progressApply(v *service) {
	if v.stuck > 0 {
		if s := v.findStuck(func(*slot) bool { return true }); s != nil {
			m.awaitedFailed(v, s.name+" is stuck: "+m.whyStuck(s).String())
			return
		}
	}
	ok := false
	switch v.awaited {
	case awaitUp:
		ok = !v.roll.on() && v.outdated+v.surplus+v.standing[standsFirst]+v.standing[standsStalled] == 0 && v.settled == v.standing[standsUp]
		if why, _ := m.blocked(v); !ok && why != "" && v.waiting+v.outdated > 0 {
			m.awaitedFailed(v, v.spec.Name+": "+why+byItself)
			return
		}
		if why, _ := m.stalls(v); why != "" {
			m.awaitedFailed(v, why)
			return
		}
	case awaitLess:
		ok = v.surplus == 0
	case awaitDown:
		if !v.removed && !v.disabled() {
			m.awaitedFailed(v, v.spec.Name+": a person started it meanwhile")
			return
		}
		ok = v.occupied == 0
		if o := m.heldBy(v); !ok && v.removed && o != nil && o.awaited == awaitNothing {
			m.awaitedFailed(v, v.spec.Name+" goes on: "+o.spec.Name+" runs as an earlier revision, which needs it")
			return
		}
	case awaitNothing:
		return
	}
	if ok {
		v.awaited = awaitNothing
		m.applying.pending--
		m.applyDone()
	}
}

// awaitedFailed: v did not come to be as the apply wants it. It stays wanted.
func (m *Machine) awaitedFailed(v *service, why string) {
	v.awaited = awaitNothing
	a := m.applying
	a.pending--
	a.failures = append(a.failures, why)
	for _, o := range v.formerly {
		m.markOps(o) // it may wait for v
	}
	m.applyDone()
}

// applyDone answers the apply once it waits for nothing.
func (m *Machine) applyDone() {
	a := m.applying
	if a == nil || a.pending > 0 {
		return
	}
	m.applying = nil
	if a.request == 0 {
		return
	}
	done := Action{Kind: ActDone, Request: a.request, Message: a.words()}
	if n := len(a.failures); n > 0 {
		const most = 20
		why := strings.Join(a.failures[:min(n, most)], "; ")
		if n > most {
			why += "; and " + strconv.Itoa(n-most) + " more"
		}
		done.Failed, done.Message, done.Hint = true, "applied, but not all came up: "+why, `"nines status" says what runs`
	}
	m.then(done)
}

func (a *application) words() string {
	var parts []string
	add := func(n int, what string) {
		if n > 0 {
			parts = append(parts, strconv.Itoa(n)+" "+what)
		}
	}
	add(a.added, "started")
	add(a.updated, "updated")
	add(a.resized, "changed in number")
	add(a.removed, "removed")
	if parts == nil {
		parts = []string{"nothing had to start or stop"}
	}
	return "applied: " + strings.Join(append([]string{strings.Join(parts, ", ")}, a.pinned...), "; ")
}

// endApply answers the apply in progress, if any: it goes on, and nobody waits
// for it any more.
func (m *Machine) endApply(why string) {
	a := m.applying
	if a == nil {
		return
	}
	for _, v := range m.services {
		v.awaited = awaitNothing
	}
	m.applying = nil
	if a.request != 0 {
		m.then(Action{Kind: ActDone, Request: a.request, Failed: true, Message: "cannot wait for the apply: " + why})
	}
}

// failAll fails the operations at v for which is true.
func (m *Machine) failAll(v *service, why string, is func(*operation) bool) {
	for i := 0; i < len(v.ops); {
		if o := v.ops[i]; is(o) {
			m.fail(o, why, "")
		} else {
			i++
		}
	}
}
