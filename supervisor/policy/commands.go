package policy

import (
	"strconv"

	"nines/spec"
)

// lift makes a person's start count for s: it is not stopped, has not failed,
// is not held, waits for no backoff, and its failures are forgotten.
func (m *Machine) lift(s *slot) {
	if s.stopped {
		s.stopped, s.by = false, ""
		m.record(Record{Kind: RecordStopped, ID: s.name})
	}
	m.forget(s)
	s.restarts, s.auto = 0, false
	switch s.phase {
	case phaseDown, phaseBackoff, phaseCompleted, phaseFailed:
		m.disarm(s, timerPhase)
		s.phase, s.nextAt, s.settled, s.first = phaseDown, 0, false, true
	case phaseStopping, phaseKilling, phaseClearing, phaseStuck, phaseFreezing:
		s.next, s.nextAt = phaseDown, 0 // what was to come after it does not
	case phaseSpawning, phaseStarting, phaseReady:
	}
	m.save(s)
	m.touch(s)
	m.reconsider(s)
}

// liftService takes back a stop of all of v, and the spec's enabled = false.
// Where only one instance is to start, the others stay stopped, each by itself.
func (m *Machine) liftService(v *service, index int) {
	if !v.spec.Enabled && !v.started {
		v.started = true
		m.record(Record{Kind: RecordStarted, ID: v.spec.Name, Value: 1})
		if index >= 0 && !v.stopped {
			m.stopOthers(v, index, "the spec (enabled = false)")
		}
	}
	if v.stopped {
		v.stopped = false
		m.record(Record{Kind: RecordStopped, ID: v.spec.Name})
		if index >= 0 {
			m.stopOthers(v, index, v.stoppedBy)
		}
	}
	m.touchAll(v)
}

func (m *Machine) stopOthers(v *service, index int, by string) {
	v.each(-1, func(s *slot) {
		if s.index != index && !s.stopped {
			s.stopped, s.by = true, by
			m.record(Record{Kind: RecordStopped, ID: s.name, Value: 1})
		}
	})
}

// touchAll: something that concerns every instance of v changed.
func (m *Machine) touchAll(v *service) {
	for _, s := range v.slots {
		m.touch(s)
		m.reconsider(s)
	}
	m.markDirty(v)
}

func (m *Machine) commandStart(v *service, c Command) {
	m.supersede(v, c.Instance, c, falls)
	m.liftService(v, c.Instance)
	v.each(c.Instance, m.lift)
	m.dataAgain(v)
	m.begin(v, c)
}

func (m *Machine) progressStart(o *operation) {
	v := o.svc
	if o.index < 0 {
		switch {
		case v.settled == v.instances:
			m.done(o, upWords(v))
			return
		case v.stuck > 0:
			if s := v.findStuck(func(s *slot) bool { return s.index < v.instances }); s != nil {
				m.failStuck(o, s)
				return
			}
		}
		if v.waiting > 0 {
			if why, hint := m.blocked(v); why != "" {
				m.fail(o, why+byItself, hint)
			}
		}
		return
	}
	s := v.slots[o.index]
	switch {
	case s.settled:
		m.done(o, s.name+" is "+upWord(v))
	case s.phase == phaseStuck:
		m.failStuck(o, s)
	case s.counted.waiting:
		if why, hint := m.blocked(v); why != "" {
			m.fail(o, why+byItself, hint)
		}
	}
}

func upWord(v *service) string {
	if v.spec.Type == spec.TypeTask {
		return "completed"
	}
	return "ready"
}

func upWords(v *service) string {
	switch v.instances {
	case 0:
		return v.spec.Name + " has no instances: it is scaled to 0"
	case 1:
		return v.spec.Name + " is " + upWord(v)
	}
	return v.spec.Name + " is " + upWord(v) + ", all " + strconv.Itoa(v.instances) + " instances"
}

// failStuck fails an operation that waits for s, which is stuck.
func (m *Machine) failStuck(o *operation, s *slot) {
	m.fail(o, s.name+" is stuck: "+m.whyStuck(s).String(),
		"it goes on by itself once that has ended")
}

// findStuck is the first slot of v that is stuck and for which is true, or nil.
// It only walks where there is one at all.
func (v *service) findStuck(is func(*slot) bool) *slot {
	if v.stuck > 0 {
		for _, s := range v.slots {
			if s.counted.stuck && is(s) {
				return s
			}
		}
	}
	return nil
}

func (m *Machine) commandStop(v *service, c Command) {
	m.supersede(v, c.Instance, c, func(o *operation) bool {
		// A rolling restart goes on with the others when one is stopped.
		rolls := o.verb == VerbRestart && o.begun && o.index < 0 && c.Instance >= 0
		return rises(o) && !rolls
	})
	if c.Instance < 0 {
		if !v.stopped {
			v.stopped = true
			m.record(Record{Kind: RecordStopped, ID: v.spec.Name, Value: 1})
		}
		v.stoppedBy = c.By
		if v.started {
			v.started = false
			m.record(Record{Kind: RecordStarted, ID: v.spec.Name})
		}
	}
	v.each(c.Instance, func(s *slot) {
		if c.Instance >= 0 && !s.stopped {
			s.stopped = true
			m.record(Record{Kind: RecordStopped, ID: s.name, Value: 1})
		}
		if c.Instance >= 0 {
			s.by = c.By
		}
		if s.first || s.phase.lives() && s.exited && s.next != phaseDown {
			m.save(s)
		}
		s.first = false
		if s.phase.lives() {
			s.next, s.nextAt = phaseDown, 0 // what was to come after it does not
		}
	})
	m.touchAll(v)
	m.stopStuck(m.begin(v, c))
}

func (m *Machine) progressStop(o *operation) {
	v := o.svc
	if o.index < 0 {
		if !v.present[byNeeds] {
			m.done(o, v.spec.Name+" is stopped")
		}
		return
	}
	if s := v.slots[o.index]; !s.phase.lives() && !s.counted.occupied {
		m.done(o, s.name+" is stopped")
	}
}

// stuckStops: a slot became stuck; stops that wait for it are told.
func (m *Machine) stuckStops() {
	for i := 0; i < len(m.operations); {
		o := m.operations[i]
		if o.verb == VerbStop {
			m.stopStuck(o)
		}
		if i < len(m.operations) && m.operations[i] == o {
			i++
		}
	}
}

// stopStuck fails a stop that waits for something stuck: an instance of the
// service itself, or of what needs it. What is left to stop still is stopped,
// once that ends.
func (m *Machine) stopStuck(o *operation) {
	if o.index >= 0 {
		if s := o.svc.slots[o.index]; s.outlives() {
			m.failStuck(o, s)
		}
		return
	}
	seen := map[*service]bool{o.svc: true} // looked up only
	for list := []*service{o.svc}; len(list) > 0; list = list[1:] {
		v := list[0]
		if s := v.findStuck(func(*slot) bool { return true }); s != nil {
			m.failStuck(o, s)
			return
		}
		for _, n := range v.needers {
			if !seen[n] {
				seen[n] = true
				list = append(list, n)
			}
		}
	}
}

func (m *Machine) commandScale(v *service, c Command) {
	cannot := "cannot scale " + v.spec.Name
	switch {
	case v.spec.Type == spec.TypeTask:
		m.refuse(c.Request, BadRequest, cannot+": it is a task, which runs once", "only services have replicas")
		return
	case c.Instances < 0 || c.Instances > MaxInstances:
		m.refuse(c.Request, BadRequest, cannot+" to "+strconv.Itoa(c.Instances)+": out of range",
			"0 to "+strconv.Itoa(MaxInstances)+" are possible")
		return
	}
	c.Instance = -1
	m.supersede(v, -1, c, func(o *operation) bool { return o.verb == VerbScale })
	m.supersede(v, -1, c, func(o *operation) bool { return o.index >= c.Instances && rises(o) })
	old := v.instances
	m.supersede(v, -1, c, func(o *operation) bool { return o.index >= old && falls(o) })
	v.instances = c.Instances
	v.scaled = true
	m.record(Record{Kind: RecordScale, ID: v.spec.Name, Value: int64(c.Instances)})
	m.resize(v, old)
	fresh := 0
	for i := old; i < v.instances; i++ {
		if d := m.desired(v.slots[i]); d == wantRun || d == wantYield {
			v.slots[i].scaling = true
			fresh++
		}
	}
	m.touchAll(v)
	m.begin(v, c).pending = fresh
}

// resize: v had old instances, and now has v.instances.
func (m *Machine) resize(v *service, old int) {
	for i := v.instances; i < min(old, len(v.slots)); i++ {
		if s := v.slots[i]; !s.phase.lives() {
			m.save(s)
		} else if s.twin != nil {
			m.save(s.twin)
		}
	}
	for i := old; i < v.instances; i++ {
		if i == len(v.slots) {
			m.newSlot(v, i)
		}
		// Also where it was stopped by itself before it was scaled away: who asks
		// for N instances wants N, and one that stayed stopped would keep a start
		// of all waiting for ever.
		m.lift(v.slots[i])
		v.slots[i].first = true
		if t := v.slots[i].twin; t != nil {
			m.save(t)
		}
	}
}

func (m *Machine) progressScale(o *operation) {
	v := o.svc
	switch {
	case o.pending == 0 && v.surplus == 0:
		m.done(o, v.spec.Name+" has "+plural(int32(v.instances), "instance"))
		return
	case v.stuck > 0:
		if s := v.findStuck(func(s *slot) bool { return s.scaling || s.index >= v.instances }); s != nil {
			m.failStuck(o, s)
			return
		}
	}
	if o.pending > 0 && v.waiting > 0 {
		if why, hint := m.blocked(v); why != "" {
			m.fail(o, why+byItself, hint)
		}
	}
}

// scaled: an instance for which a scale waits is settled.
func (m *Machine) scaled(s *slot) {
	s.scaling = false
	for _, o := range s.svc.ops {
		if o.verb == VerbScale {
			o.pending--
		}
	}
}

func (m *Machine) commandSignal(v *service, c Command) {
	cannot := "cannot signal " + target(v, c.Instance)
	if !validSignal(c.Signal) {
		m.refuse(c.Request, BadRequest, cannot+": "+strconv.Quote(c.Signal)+" is no signal", "signals are spelt SIGUSR1")
		return
	}
	sent := 0
	v.each(c.Instance, func(s *slot) {
		if s.runs() {
			m.act(Action{Kind: ActSignal, Ref: s.ref, Signal: c.Signal})
			sent++
		}
	})
	if sent == 0 {
		m.refuse(c.Request, Conflict, cannot+": it is not running", "nines status "+v.spec.Name+" says why")
		return
	}
	m.then(Action{Kind: ActAccepted, Request: c.Request})
	m.then(Action{Kind: ActDone, Request: c.Request, Message: c.Signal + " sent to " + plural(int32(sent), "instance")})
}

// runs: its main process is known to exist, as far as was told.
func (s *slot) runs() bool {
	return s.phase == phaseStarting || s.phase == phaseReady || s.phase == phaseStopping
}

// Has says whether there is such an instance now; index < 0: such a service.
func (m *Machine) Has(service string, index int) bool {
	v := m.byName[service]
	return v != nil && index < v.instances
}

// Incarnation is that start of an instance, while nothing has been started after it
// in its slot.
func (m *Machine) Incarnation(service string, index int, number uint64) (ref Ref, ok bool) {
	v := m.byName[service]
	if v == nil || index < 0 || index >= len(v.slots) {
		return Ref{}, false
	}
	s := v.slots[index]
	if s.ref.Incarnation != number && s.twin != nil {
		s = s.twin
	}
	return s.ref, s.ref.Incarnation == number && number != 0
}
