package policy

import (
	"strconv"

	"nines/spec"
)

// specChanged takes the first specification, and what an earlier supervisor
// left.
func (m *Machine) specChanged(e SpecChanged) {
	if m.loaded || e.Spec == nil {
		m.out.Notices = append(m.out.Notices, Notice{
			Kind: KindSpecRejected, Slot: NoSlot, Ref: Ref{Slot: NoSlot}, Reason: Reason{kind: whySpecTwice},
		})
		return
	}
	m.loaded = true
	m.past = e.Past
	m.services = make([]*service, 0, len(e.Spec.Services))
	services := make([]service, len(e.Spec.Services))
	for i, sp := range e.Spec.Services {
		v := &services[i]
		*v = service{spec: sp, revision: 1, instances: sp.Instances, level: levelPending}
		if n, ok := e.Past.Scale[sp.Name]; ok && n >= 0 && n <= MaxInstances && sp.Type != spec.TypeTask {
			v.instances = n
		}
		v.started = e.Past.Started[sp.Name]
		v.stopped = e.Past.Stopped[sp.Name]
		m.services = append(m.services, v)
		m.byName[sp.Name] = v
	}
	for _, v := range m.services {
		m.link(v)
	}
	if m.cfg.ShutdownTimeout == 0 {
		m.cfg.ShutdownTimeout = e.Spec.Supervisor.ShutdownTimeout
	}
	m.out.Notices = append(m.out.Notices, Notice{
		Kind: KindSpecApplied, Slot: NoSlot, Ref: Ref{Slot: NoSlot},
		Reason: Reason{kind: whySpecApplied, count: int32(len(m.services))},
	})
	if e.Past.Shutdown != nil {
		m.shutdownAsked(*e.Past.Shutdown)
	}
	for _, v := range m.services {
		for i := range v.instances {
			s := m.newSlot(v, i)
			s.first = true
			m.touch(s)
			m.reconsider(s)
		}
		m.markDirty(v)
	}
}

// link resolves what v needs and comes after. Names that do not resolve cannot
// come from a valid spec; they are left out.
func (m *Machine) link(v *service) {
	add := func(list []*service, name string) []*service {
		o := m.byName[name]
		if o == nil || o == v {
			return list
		}
		for _, have := range list {
			if have == o {
				return list
			}
		}
		return append(list, o)
	}
	for _, n := range v.spec.Needs {
		v.needs = add(v.needs, n)
		v.below[byNeeds] = add(v.below[byNeeds], n)
		v.below[byAll] = add(v.below[byAll], n)
	}
	for _, n := range v.spec.After {
		v.after = add(v.after, n)
		v.below[byAll] = add(v.below[byAll], n)
	}
	for _, o := range v.needs {
		o.needers = append(o.needers, v)
	}
	for _, o := range v.after {
		o.laters = append(o.laters, v)
	}
	v.needDown, v.afterPending = len(v.needs), len(v.after)
}

// newSlot gives instance i of v its place; i is the next one.
func (m *Machine) newSlot(v *service, i int) *slot {
	// Slots lie side by side, in blocks that never move.
	if len(m.block) == cap(m.block) {
		m.block = make([]slot, 0, max(64, v.instances-i))
	}
	m.block = append(m.block, slot{
		id: Slot(len(m.slots)), svc: v, index: i,
		name: v.spec.Name + "/" + strconv.Itoa(i),
		pos:  -1, at: never,
	})
	s := &m.block[len(m.block)-1]
	for t := range s.timers {
		s.timers[t] = never
	}
	s.ref = Ref{Slot: s.id, Incarnation: m.past.Incarnations[s.name]}
	s.stopped = m.past.Stopped[s.name]
	m.slots = append(m.slots, s)
	v.slots = append(v.slots, s)
	return s
}
