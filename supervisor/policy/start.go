package policy

import (
	"nines/spec"
)

// start asks for a new incarnation of s. The intent is a record, so that the
// next supervisor knows of a process that this one dies while making.
func (m *Machine) start(s *slot) {
	m.seq++
	s.seq = m.seq
	if s.twin != nil {
		s.ref.Incarnation = max(s.ref.Incarnation, s.twin.ref.Incarnation)
	}
	s.ref.Incarnation++
	s.phase = phaseSpawning
	s.revision = s.target
	s.pid, s.start = 0, 0
	s.end, s.endWhy = endNone, Reason{}
	s.answered, s.early, s.exited, s.emptied, s.restored = false, false, false, false, false
	s.wasReady, s.settled = false, false
	if s.auto {
		s.auto = false
		s.restarts++
	}
	s.startedAt, s.readyAt, s.longer = 0, 0, 0
	s.hook = 0
	s.reloading = reloadNone
	s.unhealthy, s.judged, s.dump = false, false, false
	s.checks, s.ill = s.checks[:0], 0
	s.told, s.alert, s.bloated = 0, Reason{}, Reason{}
	s.next, s.nextAt = phaseDown, 0
	m.then(Action{Kind: ActSpawn, Ref: s.ref, Revision: s.revision})
	m.notice(KindStarting, s, Reason{kind: whyStarting, count: int32(s.restarts)})
	if d := s.svc.spec.StartTimeout; d > 0 {
		m.arm(s, timerPhase, d+m.cfg.SpawnPatience)
	}
	m.save(s) // the intent
	m.touch(s)
}

// spawnTimeout: the answer to Spawn does not come: a clone that hangs in a dead
// directory, or an answer that was lost. Whatever came into being is killed.
func (m *Machine) spawnTimeout(s *slot, _ input) {
	if s.end == endNone {
		s.end, s.endWhy = endTimeout, Reason{kind: whyStartTimeout, delay: s.svc.spec.StartTimeout}
	}
	m.kill(s)
}

// spawned: the process exists.
func (m *Machine) spawned(s *slot, in input) {
	s.answered = true
	s.pid, s.start = in.pid, in.start
	s.startedAt = m.now
	s.again = 0
	m.save(s)
	if s.end != endNone {
		// It was to stop while it was being made. The time to stop counts from
		// here: it had no signal before.
		m.askToEnd(s)
		return
	}
	s.phase = phaseStarting
	sp := s.svc.spec
	if sp.Ready == nil || sp.Type == spec.TypeTask || s.early {
		m.becomeReady(s, input{})
		return
	}
	m.armStarting(s)
	m.beginChecks(s)
	m.touch(s)
}

// armStarting: it is ready by its delay, or must say so before its timeout.
func (m *Machine) armStarting(s *slot) {
	sp := s.svc.spec
	at := never
	if sp.StartTimeout > 0 {
		at = max(s.startedAt.Add(sp.StartTimeout), s.longer)
	}
	if sp.Ready.Delay > 0 {
		at = min(at, s.startedAt.Add(sp.Ready.Delay))
	}
	m.armAt(s, timerPhase, at)
}

// readyEarly: a process may be ready before the driver has said that it
// exists; its word is kept until then.
func (m *Machine) readyEarly(s *slot, _ input) {
	if !s.early {
		s.early = true
		m.save(s)
	}
}

// exitedEarly: a process may be reaped before the driver has said that it
// exists. That it ended says that it was made.
func (m *Machine) exitedEarly(s *slot, in input) {
	if s.end != endNone {
		// It was to stop, and there is nothing left to signal: its pid may
		// already be another's.
		s.answered, s.startedAt, s.again = true, m.now, 0
		s.phase = phaseStopping
	} else {
		s.exited = true // nothing is begun for it
		m.spawned(s, input{})
	}
	m.dispatch(s, onExited, in)
}

// startingDeadline: it has been up for ready.delay, or was not ready in time.
func (m *Machine) startingDeadline(s *slot, _ input) {
	sp := s.svc.spec
	if sp.Ready != nil && sp.Ready.Delay > 0 && m.now >= s.startedAt.Add(sp.Ready.Delay) {
		m.becomeReady(s, input{})
		return
	}
	why := Reason{kind: whyStartTimeout, delay: sp.StartTimeout}
	if len(s.checks) > 0 {
		why.text = s.checks[0].reason
	}
	m.stop(s, endTimeout, why)
}

// becomeReady: it is ready. A task is "ready" from its first instruction: that
// it runs is all that can be asked of it, and what needs it waits for its
// completion.
func (m *Machine) becomeReady(s *slot, _ input) {
	v := s.svc
	task := v.spec.Type == spec.TypeTask
	s.phase = phaseReady
	s.readyAt, s.wellSince = m.now, m.now
	s.wasReady = true
	s.failedStarts = 0
	m.disarm(s, timerPhase)
	if !task {
		s.first = false
		if v.spec.Ready != nil || m.cfg.Settle < 0 {
			s.settled = true
		} else if v.watched() || v.roll.on() || s.aside || s.turn != turnNone {
			m.arm(s, timerSettle, m.cfg.Settle)
		}
		m.armRecycle(s)
	}
	if s.remembers() {
		m.arm(s, timerReset, v.spec.Restart.ResetAfter)
	}
	m.clearSuspicion(s)
	m.save(s)
	m.notice(KindReady, s, Reason{kind: whyReady, delay: m.now.Sub(s.startedAt)})
	m.beginChecks(s)
	m.touch(s)
}

// spawnFailed: there is no process, and it is the service's fault.
func (m *Machine) spawnFailed(s *slot, in input) {
	how := Reason{kind: whyExecFailed, text: in.text, code: int32(in.status.Code)}
	s.exited = true
	s.again = 0
	s.last = LastExit{Reason: ExitExited, Status: in.status, At: m.now}
	s.how = how
	m.notice(KindExited, s, how)
	if s.end == endStop {
		s.next = phaseDown
	} else {
		m.judge(s, how, in.status, true)
	}
	m.vacate(s)
}

// spawnAgain: there is no process, and it is the machine's fault (no memory, no
// pid, no descriptor), which passes. It is tried again soon, and counts for
// nothing: a service must not be given up for what it did not do.
func (m *Machine) spawnAgain(s *slot, in input) {
	if s.end == endStop {
		s.next = phaseDown
		m.vacate(s)
		return
	}
	if s.restored {
		// An earlier supervisor died over it: it had no turn yet.
		s.next = phaseDown
		m.vacate(s)
		return
	}
	if s.again == 0 {
		s.again = againDelay
	} else {
		s.again = min(2*s.again, againMaxDelay)
	}
	s.next = phaseBackoff
	s.nextAt = m.now.Add(s.again)
	s.why = Reason{kind: whySpawnAgain, text: in.text, delay: s.again}
	m.notice(KindBackoff, s, s.why)
	m.vacate(s)
}

// backoffOver: it may be started again.
func (m *Machine) backoffOver(s *slot, _ input) {
	s.phase = phaseDown
	s.nextAt = 0
	m.save(s)
	m.touch(s)
	m.reconsider(s)
}
