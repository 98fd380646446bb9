package sim

import (
	"maps"
	"slices"

	"nines/spec"
	"nines/supervisor/policy"
)

// A supervisor dies: the machine is thrown away with everything that it had not
// recorded, and so is what the observer knows from it. Processes do not notice.
// The next supervisor is handed the records, looks at what is true of the
// processes, and says so, as the package comment of policy asks.

// dieSupervisor lets the supervisor die at this moment.
func (w *world) dieSupervisor(d *Death) {
	if w.absent || w.end || w.check.failure != nil {
		return
	}
	w.trace.note(w, "the supervisor dies")
	w.marks[MarkDeath]++
	w.lives++
	w.absent, w.since, w.unknown = true, w.now, d.Unknown
	c := w.chance("death")
	known := w.journal.lose(w, &c)
	w.lost = nil
	w.q.drop(func(it *item) bool {
		switch it.kind {
		case itAnswer, itReplay, itDurable, itFreezes:
			return true
		case itFile:
			w.marks[MarkApplyLost]++
			return true
		case itApply:
			w.marks[MarkApplyLate]++
			return true
		}
		return false
	})
	w.check.recall(known)
	w.jumped += w.now.Sub(known.at) // what happened since then has to happen again
	// What was asked for and is not remembered never was: its spawn has not left.
	w.order = slices.DeleteFunc(w.order, func(inc *incarnation) bool { return !inc.released && inc.slot.cur != inc })
	for _, inc := range w.order {
		inc.adopted = true
		inc.checking, inc.checks = 0, nil
		switch {
		case inc.resolved:
		case !inc.released:
			inc.resolved = true
		case c.of(500): // the clone had been made …
			w.exists(inc)
		default: // … or had not
			inc.resolved = true
		}
	}
	w.q.push(item{at: w.now.Add(d.Down), kind: itBack})
}

// lose loses what was not durable. Of what was on its way to become so, some had
// arrived: but nothing that waited for it has left. It returns what the observer
// knew when the last of the records that were kept was made.
func (j *journal) lose(w *world, c *chance) *model {
	known := j.base
	if len(j.pending) == 0 {
		known = w.check.save()
	}
	for _, box := range j.pending[:c.below(len(j.pending)+1)] {
		j.keep(box)
		known = box.model
		j.pending = j.pending[1:]
	}
	for _, box := range j.pending {
		if len(box.records) > 0 {
			w.marks[MarkUnrecorded]++
		}
	}
	j.pending, j.ended, j.last = nil, nil, w.now
	clear(j.intents) // the next machine gives other numbers to slots
	return known
}

// past is what the next supervisor is handed.
func (j *journal) past(w *world) policy.Past {
	p := policy.Past{
		Slots: map[string]policy.SlotMemory{}, Incarnations: j.floors,
		Stopped: j.stopped, Started: j.started, Scale: j.scale, Groups: j.groups,
	}
	for id, text := range j.slots {
		m, err := policy.ParseSlotMemory(text)
		if err != nil {
			w.check.fail("intent", "the memory of %s cannot be read again: %v", id, err)
		}
		p.Slots[id] = m
	}
	p.Revisions = map[string]policy.RevisionMemory{}
	for name, text := range j.revs {
		m, err := policy.ParseRevisionMemory(text)
		if err != nil {
			w.check.fail("intent", "the revisions of %s cannot be read again: %v", name, err)
		}
		p.Revisions[name] = m
	}
	p.Inmates = map[string]policy.InmateMemory{}
	for id, text := range j.inmates {
		m, err := policy.ParseInmateMemory(text)
		if err != nil {
			w.check.fail("intent", "the memory of %s cannot be read again: %v", id, err)
		}
		p.Inmates[id] = m
	}
	if j.end != nil {
		p.Shutdown = &policy.Shutdown{Code: int(j.end.Value), Deadline: j.end.Deadline, Cause: "the shutdown before"}
	}
	return p
}

// back is the moment at which the next supervisor is there.
func (w *world) back() {
	if w.check.failure != nil {
		return
	}
	w.absent = false
	w.jumped += w.now.Sub(w.since)
	cfg := w.cfg
	cfg.Seed += w.lives
	w.m = policy.New(cfg)
	past := w.journal.past(w)
	if past.Shutdown != nil {
		w.marks[MarkDeathInShutdown]++
	}
	w.marks[MarkDeathInGroup] += len(past.Groups)
	for _, m := range past.Slots {
		w.marks[MarkDeathInTurn] += count(m.Turn != "")
	}
	w.trace.note(w, "the next supervisor is there")
	w.reload(past)
	var found []*slot
	for _, s := range w.check.services {
		for _, sl := range s.slots {
			m, ok := past.Slots[sl.id]
			if ok && m.Lives() {
				found = append(found, sl)
			} else if ok && m.Phase == "backoff" {
				w.marks[MarkDeathInBackoff]++
			}
		}
	}
	c := w.chance("found")
	for i := range found {
		j := i + c.below(len(found)-i)
		found[i], found[j] = found[j], found[i]
		m := past.Slots[found[i].id]
		w.found(found[i], &m, &c)
	}
	w.foundInmates()
	if n := len(w.specs); n > max(w.journal.applied, 1) {
		w.apply(n) // it was durable, and had not begun
	}
	w.tellClock()
}

// rename gives the incarnations the numbers that the new machine gives to slots.
func (w *world) rename() {
	ids := map[string]policy.Slot{}
	for id := policy.Slot(0); w.m.ID(id) != ""; id++ {
		ids[w.m.ID(id)] = id
	}
	clear(w.incs)
	clear(w.check.bySlot)
	for _, inc := range w.order {
		id, ok := ids[inc.slot.id]
		if inc.ref.Slot = id; ok {
			w.incs[inc.ref] = inc
		} else {
			inc.ref.Slot = policy.NoSlot
		}
	}
}

// found reports what is true of an instance that lives as far as is remembered.
func (w *world) found(sl *slot, m *policy.SlotMemory, c *chance) {
	inc := sl.cur
	if inc == nil || inc.ref.Incarnation != m.Incarnation {
		w.check.fail("intent", "%s.%d is remembered, and was never asked for", sl.id, m.Incarnation)
		return
	}
	if m.Answered && !m.Exited && m.PID != inc.told.pid {
		w.check.fail("intent", "%s is remembered as process %d, and is %d", inc.name(), m.PID, inc.told.pid)
	}
	switch {
	case m.Exited: // nothing new; what it left behind is killed
	case inc.main:
		w.marks[MarkAdopted]++
		if !m.Answered || c.of(300) {
			w.marks[MarkFound] += count(!m.Answered)
			w.deliver(policy.Spawned{Ref: inc.ref, PID: inc.pid})
		}
		w.marks[MarkDeathInRoll] += count(inc.outdated())
		if r := inc.svc.spec.Ready; inc.said && (r == nil || r.Check == nil) { // else it is found by its check
			w.deliver(policy.Ready{Ref: inc.ref})
		}
	case inc.born:
		w.marks[MarkMeanwhile]++
		st := inc.status
		if c.of(w.unknown) {
			st = policy.Status{Unknown: true}
			w.marks[MarkUnknown]++
		}
		inc.saidEmpty = !inc.rest
		w.deliver(policy.Exited{Ref: inc.ref, Status: st, Empty: inc.saidEmpty})
	default:
		w.marks[MarkNotFound]++
		w.deliver(policy.SpawnFailed{Ref: inc.ref, Step: "recover", Cause: "no process of it was found", Code: 1, Again: true})
	}
}

func count(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

// model is a copy of what the observer knows.
type model struct {
	spec     *spec.Spec
	services []serviceModel
	groups   []group
	shutdown *shutdown
	cages    map[*incarnation]cage // of those who are or were in one
	ticked   policy.Time
	at       policy.Time
}

type serviceModel struct {
	spec              *spec.Service
	removed, awaited  bool
	revs              map[int]string
	stopped, started  bool
	instances         int
	doomedBy, maybeBy int
	slots             []slot
	told              []told // of the current incarnation of each
	doomed            []bool
}

// save copies what the observer knows.
func (k *checker) save() *model {
	m := &model{spec: k.spec, services: make([]serviceModel, len(k.services)), shutdown: k.shutdown, ticked: k.ticked, at: k.w.now}
	for i, s := range k.services {
		sm := &m.services[i]
		*sm = serviceModel{
			spec: s.spec, removed: s.removed, awaited: s.awaited, revs: maps.Clone(s.revs),
			stopped: s.stopped, started: s.started, instances: s.instances, doomedBy: s.doomedBy, maybeBy: s.maybeBy,
			slots: make([]slot, len(s.slots)), told: make([]told, len(s.slots)), doomed: make([]bool, len(s.slots)),
		}
		for n, sl := range s.slots {
			sm.slots[n] = *sl
			sm.slots[n].ends = slices.Clone(sl.ends)
			if sl.cur != nil {
				sm.told[n], sm.doomed[n] = sl.cur.told, sl.cur.doomed
			}
		}
	}
	if len(k.caged) > 0 {
		m.cages = make(map[*incarnation]cage, len(k.caged))
		for _, inc := range k.caged {
			m.cages[inc] = inc.cage
		}
	}
	for _, g := range k.groups {
		m.groups = append(m.groups, *g)
	}
	return m
}

// recall makes the observer forget what no record says. Whoever waited for an
// answer is gone, and with them their operations.
func (k *checker) recall(m *model) {
	k.shutdown, k.ticked, k.delayed, k.ended = m.shutdown, m.ticked, nil, false
	k.clock = false
	k.spec = m.spec
	k.groups = nil
	for i, s := range k.services {
		s.group, s.place = nil, 0
		if i >= len(m.services) { // an apply added it, and was forgotten
			k.forgotten(s)
			continue
		}
		sm := &m.services[i]
		s.spec, s.removed, s.awaited, s.revs = sm.spec, sm.removed, sm.awaited, maps.Clone(sm.revs)
		s.doomedBy, s.maybeBy = sm.doomedBy, sm.maybeBy
		s.stopped, s.started, s.instances = sm.stopped, sm.started, sm.instances
		s.restarts, s.queued = 0, false
		for n, sl := range s.slots {
			if n >= len(sm.slots) {
				*sl = slot{id: sl.id, svc: s, index: n}
				continue
			}
			*sl = sm.slots[n]
			sl.ends = slices.Clone(sl.ends)
			if sl.restart {
				sl.blur()
			}
			sl.restart, sl.since = false, 0
			if sl.cur != nil {
				sl.cur.told, sl.cur.doomed = sm.told[n], sm.doomed[n]
				sl.cur.judged, sl.cur.unhealthy = 0, false // who judges, judges again
				sl.cur.noted = [policy.CauseRecycle]bool{}
			}
			if sl.delayed {
				k.delayed = append(k.delayed, sl)
			}
		}
	}
	for i := range m.groups {
		g := m.groups[i]
		k.groups = append(k.groups, &g)
		for n, s := range g.members {
			s.group, s.place = &g, n
		}
	}
	k.relink()
	for _, inc := range k.caged {
		inc.cage = m.cages[inc]
	}
	k.caged = slices.DeleteFunc(k.caged, func(inc *incarnation) bool { return !inc.cage.in })
	for i := range k.requests {
		k.requests[i].accepted, k.requests[i].answered = true, true
	}
}

// forgotten: no record says that there ever was s.
func (k *checker) forgotten(s *service) {
	*s = service{spec: s.spec, slots: s.slots, removed: true}
	for n, sl := range s.slots {
		*sl = slot{id: sl.id, svc: s, index: n}
	}
}
