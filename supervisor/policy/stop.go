package policy

// stop ends the incarnation of s: gracefully, and at stop.timeout by Kill.
// While its Spawn is not answered there is nothing to signal; the signal
// follows when it is, and if that takes longer than stop.timeout, Kill is asked
// for, since whatever came into being may be the reason.
func (m *Machine) stop(s *slot, why ending, reason Reason) {
	s.end, s.endWhy = why, reason
	if why == endStop {
		s.first = false
	}
	m.unready(s)
	m.save(s)
	if s.phase == phaseSpawning {
		m.arm(s, timerPhase, s.svc.spec.Stop.Timeout)
		m.touch(s)
		return
	}
	m.askToEnd(s)
}

// askToEnd sends the stop signal, or runs the stop command first.
func (m *Machine) askToEnd(s *slot) {
	st := &s.svc.spec.Stop
	s.phase = phaseStopping
	m.save(s)
	m.arm(s, timerPhase, st.Timeout)
	if st.Command != "" && !s.dump {
		s.hook = m.token(s)
		m.act(Action{Kind: ActHook, Ref: s.ref, Hook: HookStop, Token: s.hook, Timeout: st.Timeout})
	} else {
		m.signalToEnd(s)
	}
	m.touch(s)
}

// signalToEnd: the signal is followed by SIGCONT, since a stopped process
// would see nothing else.
func (m *Machine) signalToEnd(s *slot) {
	sig := s.svc.spec.Stop.Signal
	switch {
	case s.dump:
		sig = "SIGABRT"
	case sig == "":
		sig = "SIGTERM"
	}
	m.act(Action{Kind: ActSignal, Ref: s.ref, Signal: sig, Cont: true})
}

// stopHookDone: the stop command has ended, well or not. Where the process
// still lives, the signal follows at once: a command that failed must not
// shorten what the process has to end in order.
func (m *Machine) stopHookDone(s *slot, _ input) {
	s.hook = 0
	m.save(s)
	m.signalToEnd(s)
}

// unready: s is not ready any more, or soon. Where it was for reset_after its
// failures are forgotten, also if this is told before the tick that was due: how
// late the driver comes must not decide over a crash loop.
func (m *Machine) unready(s *slot) {
	if s.timers[timerReset] <= m.now {
		m.endLoop(s, whyLasted)
		m.forget(s)
	}
	m.disarm(s, timerReset)
	m.disarm(s, timerSettle)
	m.disarm(s, timerRecycle)
	m.disarm(s, timerHealthy)
	m.endChecks(s)
	m.dropAct(s)
	m.reloadCut(s)
}

// stopTimeout: it did not end in time.
func (m *Machine) stopTimeout(s *slot, _ input) { m.kill(s) }

// kill ends all that s started, and gives it KillPatience.
func (m *Machine) kill(s *slot) {
	s.phase = phaseKilling
	s.hook = 0
	m.unready(s)
	m.save(s)
	m.act(Action{Kind: ActKill, Ref: s.ref})
	m.arm(s, timerPhase, m.cfg.KillPatience)
	m.touch(s)
}

// patienceOver: something outlives Kill (a process in D state). The slot is not
// used again until it is empty: two incarnations at once would be worse than
// none. Kill is asked for again, in case the driver or the kernel lost it.
func (m *Machine) patienceOver(s *slot, _ input) {
	if s.emptied && s.answered {
		// Nothing lives, and the end of the main process was never told. It
		// was killed.
		m.endUntold(s)
		return
	}
	if s.phase != phaseStuck {
		s.phase = phaseStuck
		m.save(s)
		m.notice(KindStuck, s, m.whyStuck(s))
		m.touch(s)
		m.stuckStops()
	}
	m.act(Action{Kind: ActKill, Ref: s.ref})
	m.arm(s, timerPhase, m.cfg.KillPatience)
	m.touch(s)
}

func (m *Machine) whyStuck(s *slot) Reason {
	r := Reason{kind: whyStuck, delay: m.cfg.KillPatience}
	if !s.answered {
		r.kind = whyUnanswered
	}
	return r
}

// spawnedLate: Kill was asked before Spawn was answered. It may have been
// before the process existed, so it is asked again.
func (m *Machine) spawnedLate(s *slot, in input) {
	if s.answered {
		return // doubled
	}
	s.answered = true
	s.pid, s.start = in.pid, in.start
	s.startedAt = m.now
	s.emptied = false
	m.save(s)
	m.act(Action{Kind: ActKill, Ref: s.ref})
	if s.phase == phaseKilling && !(m.down.on && m.down.deadline <= m.now) {
		// Only now was there something to kill. At the end of a shutdown that
		// counts for nothing: it is bounded, whatever comes late, also where it
		// comes to the next supervisor, before its first Tick.
		m.arm(s, timerPhase, m.cfg.KillPatience)
	}
	m.touch(s)
}

// spawnFailedLate: Kill was asked, and there was never a process.
func (m *Machine) spawnFailedLate(s *slot, in input) {
	switch {
	case s.answered: // doubled
	case s.end == endStop:
		s.next = phaseDown
		m.vacate(s)
	default:
		m.spawnFailed(s, in) // it was late, and has failed
	}
}

// spawnAgainLate is the same where the machine was to blame.
func (m *Machine) spawnAgainLate(s *slot, in input) {
	if !s.answered {
		m.spawnAgain(s, in)
	}
}

// exitedAfterKill: the main process ended; Emptied follows, or came before.
func (m *Machine) exitedAfterKill(s *slot, in input) {
	if s.exited {
		return // doubled
	}
	untold := !s.answered
	s.answered = true
	m.over(s, in.status)
	m.save(s)
	switch {
	case in.empty || s.emptied:
		m.vacate(s)
	case s.phase == phaseKilling:
		s.phase = phaseClearing // what it may take is bounded by the same patience
		if untold {
			// As in spawnedLate: the Kill, and an Emptied, may be older than the process.
			m.act(Action{Kind: ActKill, Ref: s.ref})
		}
		m.touch(s)
	}
}

// emptiedAfterKill: nothing lives. While Spawn is not answered that says
// nothing of a process that is only being made. When the end of the main
// process was not told yet, it is waited for, so that no status is lost; but not
// for ever.
func (m *Machine) emptiedAfterKill(s *slot, _ input) {
	switch {
	case !s.answered:
	case s.exited:
		m.vacate(s)
	case s.phase == phaseStuck:
		m.endUntold(s)
	default:
		s.emptied = true
	}
}

// cleared: the main process has ended, and now nothing lives.
func (m *Machine) cleared(s *slot, _ input) { m.vacate(s) }

// endUntold ends an incarnation of which nothing lives and whose end nobody told.
func (m *Machine) endUntold(s *slot) {
	m.over(s, Status{Signal: "SIGKILL"})
	m.vacate(s)
}

// vacate: nothing of the incarnation lives, so the slot may be used again.
func (m *Machine) vacate(s *slot) {
	s.pid, s.start = 0, 0
	s.hook = 0
	if (s.next == phaseCompleted || s.next == phaseFailed) && s.revision != s.target {
		// That was for good, but of another revision: the one that is to run has
		// not been tried here.
		s.next, s.first = phaseDown, true
		m.forget(s)
		s.restarts, s.auto = 0, false
	}
	s.phase = s.next
	m.save(s)
	for t := range s.timers {
		if timer(t) != timerReload && timer(t) != timerInmates && timer(t) != timerUpdate && timer(t) != timerProbation && timer(t) != timerData { // its hook may still run, and is waited for
			m.disarm(s, timer(t))
		}
	}
	m.rest(s)
	if d := m.desired(s); s.end == endStop && (d == wantRun || d == wantYield) {
		// It comes back as it came the first time: what is ordered after it waits.
		s.first = true
	}
	s.end, s.endWhy = endNone, Reason{}
	m.touch(s)
	m.reconsider(s)
}

// token names something in flight for s.
func (m *Machine) token(s *slot) uint64 {
	m.tokens++
	return m.tokens<<32 | uint64(uint32(s.id))
}

// hookDone gives the answer of a hook to whom it belongs. One that belongs to
// nothing in flight is late or doubled.
func (m *Machine) hookDone(e HookDone) {
	id := e.Token & (1<<32 - 1)
	if e.Token == 0 || id >= uint64(len(m.slots)) {
		return
	}
	s := m.slots[id]
	switch e.Token {
	case s.hook:
		m.dispatch(s, onHookDone, input{})
	case s.reload:
		m.hookReloaded(s, e.OK, "the reload command failed: "+e.Cause)
	}
}

// rest has s, of which nothing lives, wait for what its phase says.
func (m *Machine) rest(s *slot) {
	switch s.phase {
	case phaseBackoff:
		if s.nextAt <= m.now {
			s.phase, s.nextAt = phaseDown, 0
		} else {
			m.armAt(s, timerPhase, s.nextAt)
		}
	case phaseCompleted:
		s.settled = true
	}
}
