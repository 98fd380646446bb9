package policy

import (
	"slices"

	"nines/spec"
)

// needState says in which state v is, for those that need it.
func (m *Machine) needState(v *service) needState {
	has := func(is func(*slot) bool) bool {
		return slices.ContainsFunc(v.slots[:min(v.instances, len(v.slots))], is)
	}
	switch {
	case v.leaving && v.occupied > 0:
		return needStopping
	case v.stopped || has(func(s *slot) bool { return s.stopped }):
		return needStopped
	case v.disabled():
		return needDisabled
	case has(func(s *slot) bool { return s.phase == phaseStuck }):
		return needStuck
	case has(func(s *slot) bool { return s.phase == phaseFailed }):
		return needFailed
	case has(func(s *slot) bool { return s.held && s.phase != phaseReady }):
		return needHeld
	case v.spec.Type == spec.TypeTask && has(func(s *slot) bool { return s.phase == phaseReady }):
		return needRuns
	case v.spec.Type != spec.TypeTask && has(func(s *slot) bool { return s.phase == phaseCompleted }):
		return needCompleted
	case v.level == levelDead:
		return needWaits
	case v.level == levelPending:
		return needStarting
	}
	return needNotReady
}

// whyWaiting says what the instances of v wait for; "" if for nothing.
func (m *Machine) whyWaiting(v *service) Reason {
	if v.heldBack {
		return m.whyHeldBack(v)
	}
	if v.dataHolds() {
		return m.whyData(v)
	}
	var waits *service
	for _, o := range v.needs {
		if o.leaving {
			// It may be ready still: it waits for this one to stop.
			return m.whyNeeds(o)
		}
		// A dead need matters more: it does not come up by itself.
		if o.level != levelUp && (waits == nil || o.level == levelDead && waits.level != levelDead) {
			waits = o
		}
	}
	if waits != nil {
		return m.whyNeeds(waits)
	}
	for _, o := range v.after {
		if o.level == levelPending {
			return Reason{kind: whyAfter, name: o.spec.Name}
		}
	}
	return Reason{}
}

// whyNeeds blames a need, or where that is only blocked itself, what blocks it:
// the remedy lies there. The needs have no cycle, so it ends.
func (m *Machine) whyNeeds(o *service) Reason {
	r := Reason{kind: whyNeeds}
	state := m.needState(o)
	for state == needWaits {
		i := slices.IndexFunc(o.needs, func(n *service) bool { return n.leaving || n.level == levelDead })
		if i < 0 {
			break
		}
		if r.text == "" {
			r.text = o.spec.Name
		}
		o = o.needs[i]
		state = m.needState(o)
	}
	r.name, r.count = o.spec.Name, int32(state)
	return r
}

// Snapshot is the whole state now; it shares nothing with the machine.
func (m *Machine) Snapshot() Snapshot {
	snap := Snapshot{
		Services:   make([]ServiceView, 0, len(m.services)),
		Instances:  make([]SlotView, 0, len(m.slots)),
		Shutdown:   m.down.on,
		Quarantine: m.viewInmates(),
	}
	ids := make([]Slot, 0, len(m.slots))
	for _, v := range m.services {
		first, from := len(ids), len(snap.Instances)
		for _, s := range v.slots {
			if s.index < v.instances || s.phase.lives() {
				ids = append(ids, s.id)
				snap.Instances = append(snap.Instances, m.viewSlot(s))
			}
			if t := s.twin; t != nil && t.phase.lives() {
				snap.Beside = append(snap.Beside, m.viewSlot(t))
			}
		}
		view := m.viewService(v, snap.Instances[from:])
		view.Slots = ids[first:len(ids):len(ids)]
		snap.Services = append(snap.Services, view)
	}
	return snap
}

// viewSlot is one instance in the words of the API.
func (m *Machine) viewSlot(s *slot) SlotView {
	d := m.desired(s)
	w := SlotView{
		Slot: s.id, Service: s.svc.spec.Name, Index: s.index, ID: s.name, Key: s.key(),
		Ref: s.ref, PID: s.pid, Start: s.start, Restarts: s.restarts, LastExit: s.last,
		Revision:  max(s.revision, 1),
		StartedAt: s.startedAt, ReadyAt: s.readyAt,
		Checks: m.viewChecks(s),
	}
	if s.exited {
		w.PID, w.Start = 0, 0 // reaped; what lives is something that it left behind
	}
	switch s.phase {
	case phaseDown:
		switch d {
		case wantRun, wantYield:
			w.State = Waiting
			if w.Reason = m.whyWaiting(s.svc); w.Reason == (Reason{}) {
				w.Reason = Reason{kind: whyNotSoon}
				if !s.mayRun() {
					w.Reason = Reason{kind: whyCanaryAlone, code: int32(s.svc.revision)}
				}
			}
		case wantDisabled, wantStopped, wantGone, wantEnd, wantRemoved, wantReplaced:
			w.State, w.Reason = Stopped, m.whyEnd(s, d)
		}
	case phaseBackoff:
		w.State, w.Reason, w.NextStartAt = Backoff, s.why, s.nextAt
	case phaseCompleted:
		w.State, w.Reason = Completed, s.why
	case phaseFailed:
		w.State, w.Reason = Failed, s.why
	case phaseSpawning, phaseStarting:
		w.State = Starting
		if len(w.Checks) > 0 && w.Checks[0].Reason != "" {
			w.Reason = Reason{kind: whyNotReady, text: w.Checks[0].Reason}
		}
	case phaseReady:
		w.State = IsReady
		if s.unhealthy {
			w.State = Unhealthy
		}
		if w.Reason = m.whyActWaits(s); w.Reason == (Reason{}) {
			w.Reason = s.whyFails()
		}
	case phaseStopping, phaseKilling, phaseFreezing:
		w.State, w.Reason = Stopping, m.whyEnding(s, d)
	case phaseClearing:
		w.State, w.Reason = Stopping, because(Reason{kind: whyClearing}, s.how)
		if s.how.kind == whyEnded {
			w.Reason.how = s.how.how
		}
	case phaseStuck:
		w.State, w.Reason = Stopping, m.whyStuck(s)
	}
	if s.phase == phaseSpawning || s.phase == phaseStarting || s.phase == phaseReady {
		if d != wantRun { // it is to stop, once what depends on it has
			w.Reason = m.whyEnd(s, d)
		}
	}
	return w
}

// whyEnding words why s is being ended. Of one that an earlier supervisor ended
// there are no words any more, so they are what is wanted of it now.
func (m *Machine) whyEnding(s *slot, d desire) Reason {
	switch {
	case s.endWhy != Reason{}:
		return s.endWhy
	case d == wantRun:
		return Reason{kind: whyRestart}
	}
	return m.whyEnd(s, d)
}

func (v *service) viewUpdate() UpdateView {
	u := UpdateView{State: "idle", From: v.revision, To: v.revision}
	if v.roll.on() {
		u.State, u.From = [...]string{rollCanary: "canary", rollRest: "rolling", rollBack: "reverting"}[v.roll.state], v.roll.from
	}
	return u
}

// viewService is a service in the words of the API; list are its instances.
func (m *Machine) viewService(v *service, list []SlotView) ServiceView {
	w := ServiceView{
		Name: v.spec.Name, Desired: "running", Revision: v.revision, Instances: v.instances,
		Spec: v.spec, Removed: v.removed, Update: v.viewUpdate(),
	}
	if v.asked != v.revision && !v.roll.forward() && !v.removed {
		w.Pinned = v.pinned()
	}
	var ready, completed, failed, held, stopped, lives, others int
	var waits Reason  // an act of an instance that is ready, or what is told of it
	var bad *SlotView // the first that says why it is not as wanted
	for i := range list {
		s, x := m.slots[list[i].Slot], &list[i]
		lives += delta(false, s.phase.lives())
		if s.index >= v.instances {
			continue
		}
		wrong := 2 // how bad it is: a failure says more than a wait
		switch {
		case x.State == IsReady:
			ready++
			wrong = 0
			if (s.act != nil || s.alert != Reason{}) && waits == (Reason{}) {
				waits = x.Reason
			}
		case x.State == Completed:
			completed++
			wrong = 0
		case x.State == Stopped:
			stopped++
			wrong = 0
		case x.State == Failed:
			failed++
			wrong = 3
		case s.held:
			held++
			wrong = 3
		default:
			others++
		}
		if wrong > 0 && (bad == nil || wrong == 3 && bad.State != Failed && !m.slots[bad.Slot].held) {
			bad = x
		}
	}
	wanted := v.instances - stopped
	switch {
	case v.removed, v.stopped, v.disabled(), m.down.on, v.instances > 0 && stopped == v.instances:
		w.Desired = "stopped"
		w.State = ServiceStopped
		if lives > 0 {
			w.State = ServiceDown
			if ready > 0 {
				w.State = ServiceDegraded
			}
		}
		if len(v.slots) > 0 {
			w.Reason = m.whyEnd(v.slots[0], m.desired(v.slots[0]))
		} else if m.down.on {
			w.Reason = Reason{kind: whyShutdown, name: m.down.cause}
		} else if v.removed {
			w.Reason = Reason{kind: whyRemoved}
		} else if v.stopped {
			w.Reason = Reason{kind: whyStopped, name: v.stoppedBy}
		} else {
			w.Reason = Reason{kind: whyDisabled}
		}
		return w
	case v.instances == 0:
		w.State, w.Reason = ServiceRunning, Reason{kind: whyScaled0}
		return w
	case completed == wanted:
		w.State = ServiceCompleted
		return w
	case ready+completed == wanted:
		w.State = ServiceRunning
		w.Reason = waits
		return w
	case held > 0, v.data.failed != "":
		w.State = ServiceHeld
	case ready > 0:
		w.State = ServiceDegraded
	case failed > 0:
		w.State = ServiceFailed
	default:
		w.State = ServiceDown
	}
	if bad != nil {
		w.Reason = bad.Reason
	}
	return w
}
