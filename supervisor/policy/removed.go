package policy

import (
	"slices"
)

// remove: v is no more in the specification. What lives of it is stopped, what
// depends on it first; then it is forgotten.
func (m *Machine) remove(v *service) {
	m.applying.removed++
	m.failAll(v, "it was removed from the specification", func(*operation) bool { return true })
	delete(m.byName, v.spec.Name)
	v.removed = true
	m.removing = append(m.removing, v)
	m.unsay(v)
	v.roll.state = rollNone
	m.dropSuccessors(v)
	old := v.instances
	v.instances = 0
	m.resize(v, old)
	m.await(v, awaitDown)
}

// unsay forgets what people said of v.
func (m *Machine) unsay(v *service) {
	if v.stopped {
		v.stopped = false
		m.record(Record{Kind: RecordStopped, ID: v.spec.Name})
	}
	if v.started {
		v.started = false
		m.record(Record{Kind: RecordStarted, ID: v.spec.Name})
	}
	for _, s := range v.slots {
		if s.stopped {
			s.stopped, s.by = false, ""
			m.record(Record{Kind: RecordStopped, ID: s.name})
		}
	}
	m.unscale(v)
}

// relink makes the dependencies anew, as a first specification has them; the
// sums over neighbours follow when all is settled.
func (m *Machine) relink() {
	for _, v := range m.services {
		v.needs, v.after, v.needers, v.laters, v.below = nil, nil, nil, nil, [2][]*service{}
		v.level, v.leaving, v.present, v.holders = levelPending, false, [2]bool{}, [2]int{}
		v.needDead, v.needStalled, v.leavingNeeds = 0, 0, 0
	}
	for _, v := range m.services {
		m.link(v)
		m.markDirty(v)
	}
}

// retire takes the services away that are no more in the specification and of
// which nothing lives. Their slots wait for a service of the same name: slots
// are never given to another instance, and must not grow with each change.
func (m *Machine) retire() {
	if m.down.on {
		return
	}
	gone := func(v *service) bool {
		return v.removed && !v.present[byNeeds] && !v.present[byAll] && v.awaited == awaitNothing && v.data.token == 0 && v.data.restoring == 0
	}
	if !slices.ContainsFunc(m.removing, gone) {
		return // as after almost every event, however many services there are
	}
	for _, v := range m.removing {
		if !gone(v) {
			continue
		}
		for _, o := range v.needs {
			o.needers = slices.DeleteFunc(o.needers, func(n *service) bool { return n == v })
		}
		for _, o := range v.after {
			o.laters = slices.DeleteFunc(o.laters, func(n *service) bool { return n == v })
		}
		m.retired[v.spec.Name] = v
		if v.remembered() {
			// Not before: what lives of it runs one of them, and it may come back.
			m.record(Record{Kind: RecordRevision, ID: v.spec.Name})
		}
	}
	m.removing = slices.DeleteFunc(m.removing, gone)
	m.services = slices.DeleteFunc(m.services, gone)
}

// outgrow notes that what lives of v as an earlier revision may need what v needed
// then.
func (m *Machine) outgrow(v *service, needed []*service) {
	for _, s := range v.slots {
		m.touch(s) // counts what is of an earlier revision from now on
	}
	if !v.outgrown() {
		v.formerly = nil
		return
	}
	for _, o := range needed {
		if !slices.Contains(v.needs, o) && !slices.Contains(v.formerly, o) {
			v.formerly = append(v.formerly, o)
		}
	}
}

// outgrown says whether something may live of v that is not as its spec says.
func (v *service) outgrown() bool { return v.outdated+v.surplus > 0 }

// release: where nothing lives of an earlier revision of v any more, what that
// needed, and is no more in the specification, may go.
func (m *Machine) release(v *service) {
	if v.outgrown() {
		return
	}
	for _, o := range v.formerly {
		if o.removed {
			m.wake(o)
			m.markDirty(o)
			m.markOps(o)
		}
	}
	v.formerly = nil
}

// heldBy is a service of which something lives as an earlier revision that needs v,
// or nil. Only what is removed is asked about, so that it may walk.
func (m *Machine) heldBy(v *service) *service {
	for _, o := range m.services {
		if len(o.formerly) > 0 && slices.Contains(o.formerly, v) {
			return o
		}
	}
	return nil
}
