package policy

import (
	"slices"

	"nines/spec"
)

// restore puts s where w says it was. It takes any w: one that no machine wrote
// leads to a slot that is sound, and where it lives, bounded. No deadline is
// later than it would be if it began now, and had been given all the time that it
// can ask for.
func (m *Machine) restore(s *slot, w *SlotMemory) {
	v := s.svc
	s.ref.Incarnation = w.Incarnation
	s.revision = max(w.Revision, 1)
	if bug == 13 {
		s.revision = v.revision
	}
	if s.target = w.Target; s.target == 0 {
		s.target = s.revision
	}
	if v.find(s.target) == nil && !v.removed {
		s.target = v.revision
	}
	s.candidate = s.aside && w.Candidate && s.target == v.revision
	s.first, s.held, s.auto = w.First, w.Held, w.Auto
	s.loop = w.Loops()
	s.streak, s.failedStarts, s.restarts = max(w.Streak, 0), max(w.FailedStarts, 0), max(w.Restarts, 0)
	if w.Base >= 0 && w.Spread >= 0 { // not so of what is no number
		s.base, s.spread = w.Base, w.Spread
	}
	s.again = min(max(w.Again, 0), againMaxDelay)
	ends := w.Ends
	if w.Phase != phaseFailed.String() && w.Next != phaseFailed.String() {
		ends = ends[max(0, len(ends)-max(v.spec.CrashLoop.Failures, 0)):]
	}
	for _, at := range ends {
		s.ends = append(s.ends, min(at, m.now))
	}
	s.startedAt, s.readyAt = min(w.StartedAt, m.now), min(w.ReadyAt, m.now)
	s.wellSince = s.readyAt
	s.last = w.LastExit
	s.how = m.recallHow(s, w)
	if s.last.Reason != ExitNone && s.last.Reason != ExitStop && s.last.At >= v.lastFailure &&
		(s.how.kind != whyExited || !slices.Contains(v.spec.Restart.SuccessCodes, s.last.Status.Code)) {
		// Near enough to what the service remembered: it is the exit status of an
		// essential service's end, and only failures are asked for it.
		v.lastFailure, v.lastCode = s.last.At, exitStatus(s.how, s.last.Status)
	}
	for t := range turnFaltered + 1 {
		if t.String() == w.Turn {
			m.setTurn(s, t)
		}
	}
	if bug == 9 {
		m.setTurn(s, turnNone)
	}
	if w.Lives() {
		m.restoreLiving(s, w)
	} else {
		s.phase = phaseNamed(w.Phase)
		m.recallNext(s, w, s.phase)
		m.rest(s)
	}
}

// restoreLiving puts s where something of it lives, or may. What the driver finds
// of it, it will say.
func (m *Machine) restoreLiving(s *slot, w *SlotMemory) {
	v := s.svc
	sp := v.spec
	s.phase = phaseNamed(w.Phase)
	s.pid, s.start = w.PID, w.Start
	s.answered, s.wasReady = true, w.WasReady
	switch w.End {
	case endStop.String():
		s.end = endStop
	case endTimeout.String():
		s.end, s.endWhy = endTimeout, Reason{kind: whyStartTimeout, delay: sp.StartTimeout}
	case endCheck.String():
		s.end, s.endWhy = endCheck, Reason{kind: whyJudged}
	case endMemory.String():
		s.end, s.endWhy = endMemory, Reason{kind: whyJudged}
	case endSelf.String():
		s.end, s.endWhy = endSelf, Reason{kind: whyLeaving}
	}
	switch s.phase {
	case phaseSpawning:
		s.answered, s.early, s.restored = false, w.Early, true
		limit := sp.StartTimeout + m.cfg.SpawnPatience
		if s.end != endNone {
			limit = sp.Stop.Timeout
		}
		if sp.StartTimeout > 0 || s.end != endNone {
			m.armAt(s, timerPhase, min(w.Deadline, m.now.Add(limit)))
		}
	case phaseStarting:
		s.end, s.endWhy = endNone, Reason{}
		if sp.Ready == nil || sp.Type == spec.TypeTask {
			m.becomeReady(s, input{}) // it need not say so any more
			return
		}
		if w.Deadline != never {
			s.longer = min(w.Deadline, m.now.Add(MaxMoreTime))
		}
		m.armStarting(s)
		m.beginChecks(s)
	case phaseReady:
		s.end, s.endWhy = endNone, Reason{}
		s.wasReady = true
		s.settled = sp.Type != spec.TypeTask && (sp.Ready != nil || m.cfg.Settle < 0)
		if s.remembers() {
			m.armAt(s, timerReset, s.readyAt.Add(sp.Restart.ResetAfter))
		}
		if (s.turn != turnNone || s.aside) && !s.settled && sp.Type != spec.TypeTask {
			m.armAt(s, timerSettle, s.readyAt.Add(m.cfg.Settle))
		}
		if sp.Type != spec.TypeTask {
			m.armRecycle(s)
		}
		m.beginChecks(s)
	case phaseStopping:
		s.mustEnd()
		m.armAt(s, timerPhase, min(w.Deadline, m.now.Add(max(sp.Stop.Timeout, MaxMoreTime))))
		if w.Hook {
			m.stopHookAgain(s)
		}
	case phaseFreezing:
		if s.end != endMemory {
			s.end, s.endWhy = endCheck, Reason{kind: whyJudged}
		}
		m.armAt(s, timerPhase, m.now.Add(FreezePatience))
		m.then(Action{Kind: ActFreeze, Ref: s.ref})
	case phaseKilling, phaseClearing, phaseStuck:
		s.exited = s.phase == phaseClearing || s.phase == phaseStuck && w.Exited
		s.answered = w.Answered || s.exited
		s.restored = !s.answered
		if s.exited {
			m.recallNext(s, w, phaseNamed(w.Next))
		} else {
			s.mustEnd()
		}
		at := m.now.Add(m.cfg.KillPatience)
		if s.phase != phaseStuck {
			at = min(w.Deadline, at)
		}
		m.armAt(s, timerPhase, at)
		if s.answered {
			// The last one's answer died with whom it was for.
			m.act(Action{Kind: ActKill, Ref: s.ref})
		}
	}
}

// mustEnd: what is in such a phase is being ended, whatever was remembered.
func (s *slot) mustEnd() {
	if s.end == endNone {
		s.end = endStop
	}
}

// stopHookAgain: nobody can say any more whether the stop command has run. It is
// run again for what is left of its time; the signal follows it as ever.
func (m *Machine) stopHookAgain(s *slot) {
	left := s.timers[timerPhase].Sub(m.now)
	switch {
	case left <= 0: // its time is over: Kill is next
	case s.svc.spec.Stop.Command == "":
		m.signalToEnd(s)
	default:
		s.hook = m.token(s)
		m.act(Action{Kind: ActHook, Ref: s.ref, Hook: HookStop, Token: s.hook, Timeout: left})
	}
}

// recallNext restores the phase p in which nothing lives, which s is in or which
// comes next: when its backoff ends, and why.
func (m *Machine) recallNext(s *slot, w *SlotMemory, p phase) {
	if p.lives() {
		p = phaseDown
	}
	s.next = p
	switch p {
	case phaseBackoff:
		delay := duration(s.base * s.spread)
		s.why = because(Reason{kind: whyBackoff, delay: delay, count: int32(min(s.streak, maxCount))}, s.how)
		if s.held {
			s.why = because(Reason{kind: whyHeld, delay: delay}, s.how)
		}
		if w.Why == whySpawnAgain.word() {
			s.why = Reason{kind: whySpawnAgain, text: w.Cause, delay: s.again}
			delay = max(delay, s.again)
		}
		s.nextAt = min(w.NextStartAt, m.now.Add(delay))
		if bug == 6 {
			s.nextAt = m.now
		}
	case phaseCompleted:
		s.why = Reason{kind: whyCompleted, code: int32(s.last.Status.Code)}
	case phaseFailed:
		c := &s.svc.spec.CrashLoop
		why := Reason{kind: whyCrashLoop, count: int32(len(s.ends)), delay: c.Within, over: true}
		switch w.Why {
		case whyNever.word():
			why = Reason{kind: whyNever}
		case whyUntold.word():
			why = Reason{kind: whyUntold}
		case whyNoStart.word():
			why.kind, why.count = whyNoStart, int32(min(s.failedStarts, maxCount))
		case whyFatal.word():
			why.kind = whyFatal
		}
		s.why = because(why, s.how)
	}
	if !s.phase.lives() {
		s.next = phaseDown
	}
}

const maxCount = 1<<31 - 1

// recallHow words how the last incarnation of s ended.
func (m *Machine) recallHow(s *slot, w *SlotMemory) Reason {
	e := &w.LastExit
	if e.Reason == ExitNone {
		return Reason{}
	}
	if e.Reason == ExitExited && w.Cause != "" && w.Why != whySpawnAgain.word() {
		return Reason{kind: whyExecFailed, text: w.Cause, code: int32(e.Status.Code)}
	}
	how, _ := howEnded(e.Status)
	switch e.Reason {
	case ExitCheckFailed, ExitMemory:
		return Reason{kind: whyJudged, text: w.Cause}
	case ExitStartTimeout:
		return Reason{kind: whyStartTimeout, delay: s.svc.spec.StartTimeout}
	case ExitStop:
		how.kind, how.how = whyEnded, how.kind
	}
	return how
}

// Unknown lists, in order, the instances of the Past that the specification has
// no place for: their service is no more. The machine does nothing about them.
func (m *Machine) Unknown() []string { return slices.Clone(m.unknown) }
