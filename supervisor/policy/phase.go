package policy

// phase is where a slot is. What is wanted of it is another thing: see desire.
type phase uint8

const (
	// Nothing lives in the slot.
	phaseDown      phase = iota // starts as soon as it is wanted and may
	phaseBackoff                // starts at timerPhase
	phaseCompleted              // ended with success, for good
	phaseFailed                 // failed for good, or given up
	// Something lives in the slot, or may.
	phaseSpawning // Spawn was asked and not answered; timerPhase: start timeout and SpawnPatience, or once it is to stop its timeout: Kill
	phaseStarting // it exists and is not ready; timerPhase: ready by delay, or start timeout
	phaseReady    // ready; a task: it runs
	phaseStopping // asked to end; timerPhase: Kill
	phaseKilling  // Kill was asked, the main process is not known to have ended; timerPhase: stuck
	phaseClearing // the main process has ended, Kill was asked for the rest; timerPhase: stuck
	phaseStuck    // KillPatience is over; timerPhase: Kill is asked again
	phaseFreezing // judged, Freeze was asked; timerPhase: Kill
	numPhases
)

// String is the name of a phase. The names are also those of SlotMemory: what is
// recorded today is read by another version tomorrow.
func (p phase) String() string {
	return [...]string{
		"down", "backoff", "completed", "failed", "spawning", "starting", "ready",
		"stopping", "killing", "clearing", "stuck", "freezing",
	}[p]
}

// lives says whether something lives in a slot of this phase, or may.
func (p phase) lives() bool { return p >= phaseSpawning }

// ending is why we end an incarnation.
type ending uint8

const (
	endNone    ending = iota
	endStop           // somebody or something wants it down: no failure
	endTimeout        // it was not ready in time: a failed start
	endCheck          // a check has failed
	endMemory         // it uses too much memory, or leaks
	endSelf           // it says that it ends: nobody asked for it
)

// trigger is what can happen to a slot from outside.
type trigger uint8

const (
	onSpawned     trigger = iota
	onSpawnFailed         // there is no process, by the service's fault
	onSpawnAgain          // there is no process, by the machine's passing fault
	onReady
	onExited
	onEmptied
	onHookDone // the stop hook is done
	onTimer    // timerPhase
	onFrozen
	onFreezeFailed
	onThawed
	onReloading
	onLeaving
	onMoreTime
	onMainChanged
	numTriggers
)

func (t trigger) String() string {
	return [...]string{
		"spawned", "spawn failed", "spawn again", "ready", "exited", "emptied", "hook done", "timer",
		"frozen", "freeze failed", "thawed", "reloading", "leaving", "more time", "main changed",
	}[t]
}

// input is what came with a trigger.
type input struct {
	pid    int
	start  uint64
	text   string
	status Status
	empty  bool
	memory uint64
	at     Time
}

// entry says what a trigger does in a phase: do, or nothing, and then why.
type entry struct {
	do      func(*Machine, *slot, input)
	ignored string
}

// Why a trigger does nothing.
const (
	notInFlight = "nothing of this incarnation lives: a late or doubled answer"
	doubled     = "the spawn was already answered"
	tooLate     = "it is being ended: whether it is ready no longer matters"
	notReaped   = "the main process has already ended"
	notAsked    = "no kill was asked for this incarnation, so nothing can be empty yet"
	noHook      = "the hook ran for nothing: there is no process left to signal, or it was killed"
	noDeadline  = "this phase has no deadline"
	noFreeze    = "no freeze is in progress: a late or doubled answer"
	noInmate    = "it is not in quarantine: a late or doubled answer"
	notUp       = "only what is up reloads, or leaves; what is being ended, is"
	noLimit     = "no time is running that it could ask more of"
	noMain      = "the main process has ended, or is not known yet"
)

// transition is the whole table: every trigger in every phase.
func transition(p phase, t trigger) entry {
	switch {
	case p >= numPhases:
		return entry{}
	case t == onThawed:
		return entry{ignored: noInmate}
	case p != phaseFreezing && (t == onFrozen || t == onFreezeFailed):
		return entry{ignored: noFreeze}
	case t >= onReloading:
		return said(p, t)
	}
	switch p {
	case phaseDown, phaseCompleted, phaseFailed:
		if t == onTimer {
			return entry{ignored: noDeadline}
		}
		return entry{ignored: notInFlight}
	case phaseBackoff:
		if t == onTimer {
			return entry{do: (*Machine).backoffOver}
		}
		return entry{ignored: notInFlight}
	case phaseSpawning:
		switch t {
		case onSpawned:
			return entry{do: (*Machine).spawned}
		case onSpawnFailed:
			return entry{do: (*Machine).spawnFailed}
		case onSpawnAgain:
			return entry{do: (*Machine).spawnAgain}
		case onReady:
			return entry{do: (*Machine).readyEarly}
		case onExited:
			return entry{do: (*Machine).exitedEarly}
		case onEmptied:
			return entry{ignored: notAsked}
		case onHookDone:
			return entry{ignored: noHook}
		case onTimer:
			return entry{do: (*Machine).spawnTimeout}
		}
	case phaseStarting:
		switch t {
		case onSpawned, onSpawnFailed, onSpawnAgain:
			return entry{ignored: doubled}
		case onReady:
			return entry{do: (*Machine).becomeReady}
		case onExited:
			return entry{do: (*Machine).mainExited}
		case onEmptied:
			return entry{ignored: notAsked}
		case onHookDone:
			return entry{ignored: noHook}
		case onTimer:
			return entry{do: (*Machine).startingDeadline}
		}
	case phaseReady:
		switch t {
		case onSpawned, onSpawnFailed, onSpawnAgain:
			return entry{ignored: doubled}
		case onReady:
			return entry{do: (*Machine).readyAgain}
		case onExited:
			return entry{do: (*Machine).mainExited}
		case onEmptied:
			return entry{ignored: notAsked}
		case onHookDone:
			return entry{ignored: noHook}
		case onTimer:
			return entry{ignored: noDeadline}
		}
	case phaseStopping:
		switch t {
		case onSpawned, onSpawnFailed, onSpawnAgain:
			return entry{ignored: doubled}
		case onReady:
			return entry{ignored: tooLate}
		case onExited:
			return entry{do: (*Machine).mainExited}
		case onEmptied:
			return entry{ignored: notAsked}
		case onHookDone:
			return entry{do: (*Machine).stopHookDone}
		case onTimer:
			return entry{do: (*Machine).stopTimeout}
		}
	case phaseKilling, phaseStuck:
		switch t {
		case onSpawned:
			return entry{do: (*Machine).spawnedLate}
		case onSpawnFailed:
			return entry{do: (*Machine).spawnFailedLate}
		case onSpawnAgain:
			return entry{do: (*Machine).spawnAgainLate}
		case onReady:
			return entry{ignored: tooLate}
		case onExited:
			return entry{do: (*Machine).exitedAfterKill}
		case onEmptied:
			return entry{do: (*Machine).emptiedAfterKill}
		case onHookDone:
			return entry{ignored: noHook}
		case onTimer:
			return entry{do: (*Machine).patienceOver}
		}
	case phaseClearing:
		switch t {
		case onSpawned, onSpawnFailed, onSpawnAgain:
			return entry{ignored: doubled}
		case onReady:
			return entry{ignored: tooLate}
		case onExited:
			return entry{ignored: notReaped}
		case onEmptied:
			return entry{do: (*Machine).cleared}
		case onHookDone:
			return entry{ignored: noHook}
		case onTimer:
			return entry{do: (*Machine).patienceOver}
		}
	case phaseFreezing:
		switch t {
		case onSpawned, onSpawnFailed, onSpawnAgain:
			return entry{ignored: doubled}
		case onReady:
			return entry{ignored: tooLate}
		case onExited:
			return entry{do: (*Machine).mainExited}
		case onEmptied:
			return entry{ignored: notAsked}
		case onHookDone:
			return entry{ignored: noHook}
		case onTimer:
			return entry{do: (*Machine).freezeTimeout}
		case onFrozen:
			return entry{do: (*Machine).frozen}
		case onFreezeFailed:
			return entry{do: (*Machine).freezeFailed}
		}
	}
	return entry{}
}

// said is the part of the table about what an incarnation says of itself.
func said(p phase, t trigger) entry {
	switch {
	case t == onReloading && p == phaseReady:
		return entry{do: (*Machine).reloadBegun}
	case t == onLeaving && (p == phaseStarting || p == phaseReady):
		return entry{do: (*Machine).leave}
	case t == onReloading || t == onLeaving:
		return entry{ignored: notUp}
	case t == onMoreTime && (p == phaseSpawning || p == phaseStarting):
		return entry{do: (*Machine).startLonger}
	case t == onMoreTime && p == phaseStopping:
		return entry{do: (*Machine).stopLonger}
	case t == onMoreTime:
		return entry{ignored: noLimit}
	case p == phaseStarting || p == phaseReady || p == phaseStopping || p == phaseKilling || p == phaseStuck || p == phaseFreezing:
		return entry{do: (*Machine).mainChanged}
	}
	return entry{ignored: noMain}
}

func (m *Machine) dispatch(s *slot, t trigger, in input) {
	if do := transition(s.phase, t).do; do != nil {
		do(m, s, in)
	}
}

// fire acts on a deadline of s that has come.
func (m *Machine) fire(s *slot, t timer) {
	switch t {
	case timerPhase:
		m.dispatch(s, onTimer, input{})
	case timerSettle:
		if s.phase == phaseReady && !s.settled {
			s.settled = true
			m.touch(s)
		}
	case timerReset:
		if s.phase == phaseReady {
			m.endLoop(s, whyLasted)
			m.forget(s)
			m.touch(s)
		}
	case timerRecycle:
		m.recycle(s)
	case timerReload:
		m.reloadLate(s)
	case timerInmates:
		m.inmatesDue(s)
	case timerUpdate:
		m.overdue(s)
	case timerHealthy:
		m.markRoll(s.svc)
	case timerProbation:
		m.probationOver(s.svc)
	case timerData:
		m.dataDue(s.svc)
	}
}
