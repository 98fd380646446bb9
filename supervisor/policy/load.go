package policy

import (
	"bytes"
	"maps"
	"slices"
	"strconv"
	"strings"

	"nines/spec"
)

// specChanged takes the first specification, and what an earlier supervisor
// left; or another one.
func (m *Machine) specChanged(e SpecChanged) {
	switch {
	case e.Spec == nil:
		m.refuse(e.Request, BadRequest, "cannot apply: there is no specification", "")
		return
	case m.down.on:
		m.refuse(e.Request, Conflict, "cannot apply: nines is shutting down ("+m.down.cause+")", "")
		return
	case m.loaded:
		m.apply(e)
		return
	}
	m.loaded = true
	m.past = e.Past
	m.floors = map[string]uint64{}
	maps.Copy(m.floors, e.Past.Incarnations)
	m.services = make([]*service, 0, len(e.Spec.Services))
	services := make([]service, len(e.Spec.Services))
	for i, sp := range e.Spec.Services {
		v := &services[i]
		*v = service{spec: sp, file: sp, instances: sp.Instances, level: levelPending, checked: sp.Checks}
		v.readied = v.readyCheck()
		m.recallRevision(v, e.Digests[sp.Name], e.Past.Revisions[sp.Name])
		v.resumeRestore(e.Past.Restores[sp.Name])
		if n, ok := e.Past.Scale[sp.Name]; ok && n >= 0 && n <= MaxInstances && sp.Type != spec.TypeTask {
			v.instances, v.scaled = n, true
		}
		v.floor = m.floors[sp.Name]
		v.started = e.Past.Started[sp.Name]
		v.stopped = e.Past.Stopped[sp.Name]
		m.services = append(m.services, v)
		m.byName[sp.Name] = v
	}
	m.applied(e)
	m.lingering()
	for _, v := range m.services {
		m.link(v)
	}
	m.linkGroups(e.Spec.Groups)
	for _, g := range m.groups {
		m.restoreGroup(g, e.Past.Groups[g.name])
	}
	for _, name := range slices.Sorted(maps.Keys(e.Past.Groups)) {
		if m.groupNamed(name) == nil {
			m.record(Record{Kind: RecordGroup, ID: name})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(e.Past.Revisions)) {
		if m.named(name, true) == nil {
			m.record(Record{Kind: RecordRevision, ID: name})
		}
	}
	if e.Past.Shutdown != nil {
		m.shutdownAsked(*e.Past.Shutdown)
	}
	tops := m.knownPast()
	for _, v := range m.services {
		for i := range max(v.instances, tops[v]) {
			s := m.newSlot(v, i)
			if t, ok := e.Past.Slots[s.name+twinMark]; ok && t.Incarnation > 0 {
				m.recall(m.theTwin(s), &t)
			}
			if w, ok := e.Past.Slots[s.name]; ok && w.Incarnation > 0 {
				m.recall(s, &w)
			} else {
				s.first = i < v.instances
			}
			m.touch(s)
			m.reconsider(s)
		}
		m.restoreRoll(v, e.Digests[v.spec.Name])
		m.markDirty(v)
	}
	m.outgrew()
	m.restoreInmates()
	m.past.Slots = nil // restored; a slot that a scale makes later is a new one
}

// recall restores s as w has it.
func (m *Machine) recall(s *slot, w *SlotMemory) {
	m.restore(s, w)
	if is := s.memory(); s.gone() || !bytes.Equal(is.Append(nil), w.Append(nil)) {
		m.save(s) // it is not as it was remembered any more
	}
}

// restoreRoll goes on with the update of v, or begins one, where the specification
// asks for another revision than the last supervisor knew of.
func (m *Machine) restoreRoll(v *service, digest string) {
	m.armProbation(v)
	known := v.findDigest(digest)
	switch {
	case v.removed:
		return
	case known == nil, known.Number != v.asked && known.Verdict != Bad && known.Number != v.revision:
		m.update(v, digest, v.file, m.undoesData(v, known))
		v.asked = v.revision
		m.recordRevision(v)
	case known.Number != v.asked:
		v.asked = known.Number
		m.recordRevision(v)
	}
	if v.outdated > 0 && !v.roll.on() {
		v.roll.state = rollRest // of a version that did not say so
	}
	if v.dataHolds() && !v.roll.on() {
		v.roll.state = rollRest // likewise
	}
	if v.roll.on() {
		m.countSettled(v)
		m.markRoll(v)
	}
}

// knownPast sorts out what the past says of instances that the specification no
// longer has. Where one lives, its service gets a place for it, and for all
// before it: what it returns is how many; there it is ended as if it had been
// scaled away. What does not live is forgotten.
func (m *Machine) knownPast() map[*service]int {
	tops := map[*service]int{} // looked up only
	for id, w := range m.past.Slots {
		if v, index := m.place(id); v != nil && w.Lives() {
			tops[v] = max(tops[v], index+1)
		}
	}
	for id := range m.past.Inmates {
		if v, index := m.place(id[:max(strings.LastIndexByte(id, '.'), 0)]); v != nil {
			tops[v] = max(tops[v], index+1)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(m.past.Slots)) {
		switch v, index := m.place(id); {
		case v == nil:
			m.unknown = append(m.unknown, id)
			// Its numbers are not used again, should its service come back.
			if at := strings.LastIndexByte(id, '/'); at > 0 && m.past.Slots[id].Incarnation > m.floors[id[:at]] {
				m.floors[id[:at]] = m.past.Slots[id].Incarnation
				m.record(Record{Kind: RecordIncarnations, ID: id[:at], Value: int64(m.floors[id[:at]])})
			}
		case index >= max(v.instances, tops[v]):
			m.forgetSlot(v, id, Ref{Slot: NoSlot, Incarnation: m.past.Slots[id].Incarnation})
		}
	}
	return tops
}

// place reads an instance id; a nil service says that the specification has no
// place for it, or that no machine can have made it.
func (m *Machine) place(id string) (v *service, index int) {
	id = strings.TrimSuffix(id, twinMark)
	at := strings.LastIndexByte(id, '/')
	if at < 0 {
		return nil, 0
	}
	index, err := strconv.Atoi(id[at+1:])
	if err != nil || index < 0 || index >= MaxInstances || strconv.Itoa(index) != id[at+1:] {
		return nil, 0
	}
	return m.named(id[:at], true), index
}

// named is the service of that name: one of the specification, or where removed
// says so, one that it has no more and of which something lives.
func (m *Machine) named(name string, removed bool) *service {
	v := m.byName[name]
	if v == nil && removed {
		if i := slices.IndexFunc(m.removing, func(v *service) bool { return v.spec.Name == name }); i >= 0 {
			v = m.removing[i]
		}
	}
	return v
}

// lingering gives the services that the last apply has removed their place again:
// what lives of them is stopped in order, also where it depends on another only by
// one of which nothing lives. Those that hold nobody back are gone after this step.
func (m *Machine) lingering() {
	if m.past.Before == nil {
		return
	}
	for _, sp := range m.past.Before.Services {
		if m.byName[sp.Name] == nil {
			m.services = append(m.services, &service{
				spec: sp, file: sp, level: levelPending, removed: true, floor: m.floors[sp.Name],
			})
			v := m.services[len(m.services)-1]
			m.recallRevision(v, "", m.past.Revisions[sp.Name])
			v.roll.state = rollNone
			m.removing = append(m.removing, v)
		}
	}
}

// outgrew notes, for what was found as an earlier revision, what that may need: as
// the specification before said.
func (m *Machine) outgrew() {
	if m.past.Before == nil {
		return
	}
	for _, sp := range m.past.Before.Services {
		v := m.byName[sp.Name]
		if v == nil || !v.outgrown() {
			continue
		}
		for _, n := range sp.Needs {
			if o := m.named(n, true); o != nil && !slices.Contains(v.needs, o) {
				v.formerly = append(v.formerly, o)
			}
		}
	}
	m.past.Before = nil
}

// link resolves what v needs and comes after. Names that do not resolve cannot
// come from a valid spec; they are left out.
func (m *Machine) link(v *service) {
	add := func(list []*service, name string) []*service {
		o := m.named(name, v.removed)
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
	v.readRecycle()
}

// newSlot gives instance i of v its place; i is the next one.
func (m *Machine) newSlot(v *service, i int) *slot {
	// Slots lie side by side, in blocks that never move.
	s := m.placeSlot(v, i)
	v.slots = append(v.slots, s)
	return s
}

// placeSlot makes a slot for instance i of v that has no place yet.
func (m *Machine) placeSlot(v *service, i int) *slot {
	if len(m.block) == cap(m.block) {
		m.block = make([]slot, 0, max(min(64, 4+len(m.slots)), v.instances-i))
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
	s.ref = Ref{Slot: s.id, Incarnation: v.floor}
	s.stopped = m.past.Stopped[s.name]
	s.target = v.startsWith()
	m.slots = append(m.slots, s)
	return s
}
