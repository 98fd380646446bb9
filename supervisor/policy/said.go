package policy

import "time"

// ReloadPatience is how long a service that was signalled to reload may take to
// say that it has begun (RELOADING=1). One that says nothing until then has no
// words for it, and was told: that is all that can be waited for.
const ReloadPatience = time.Second

// reloading is how far a reload is, of an incarnation that has words for it.
type reloading uint8

const (
	reloadNone  reloading = iota
	reloadAsked           // it was told to, and has not said that it has begun
	reloadBegan           // it has said so, and not that it is done
)

// reloadBegun: it says that it reads its configuration again. A word from before
// it was asked is about an earlier reload.
func (m *Machine) reloadBegun(s *slot, in input) {
	if s.reloading == reloadAsked {
		if in.at < s.askedAt {
			return
		}
		if s.reload == 0 { // else the hook's own deadline counts first
			m.arm(s, timerReload, m.reloadTimeout(s.svc))
		}
	}
	s.reloading = reloadBegan
}

// readyAgain: it is ready already; so a reload is done, if there was one.
func (m *Machine) readyAgain(s *slot, _ input) {
	if s.reloading != reloadBegan {
		return
	}
	s.reloading = reloadNone
	if s.reload == 0 && s.timers[timerReload] != never {
		m.reloadDone(s, true, "")
	}
}

// reloadLate: nothing was heard of a reload in time.
func (m *Machine) reloadLate(s *slot) {
	was := s.reloading
	s.reloading = reloadNone
	switch {
	case s.reload != 0:
		s.reload = 0
		m.reloadDone(s, false, "the reload command failed: its answer did not come in time")
	case was == reloadBegan && bug != 20:
		m.reloadDone(s, false, "it has begun to reload, and has not said within "+words(m.reloadTimeout(s.svc))+" that it is done")
	default:
		m.reloadDone(s, true, "")
	}
}

// reloadCut: it is not ready any more, and will not say that a reload is done.
// Where the reload command still runs, that is waited for.
func (m *Machine) reloadCut(s *slot) {
	was := s.reloading
	s.reloading = reloadNone
	if was != reloadNone && s.reload == 0 && s.timers[timerReload] != never {
		m.reloadDone(s, false, "it ended before it had reloaded")
	}
}

// leave: it says that it ends. Nobody asked for that, so what follows is judged
// as ever; but it is not ready any more, and stop.timeout bounds it.
func (m *Machine) leave(s *slot, _ input) {
	s.end, s.endWhy = endSelf, Reason{kind: whyLeaving}
	m.unready(s)
	s.phase = phaseStopping
	if bug != 18 {
		m.arm(s, timerPhase, s.svc.spec.Stop.Timeout)
	}
	m.save(s)
	m.touch(s)
}

// startLonger: it needs longer to start than start.timeout.
func (m *Machine) startLonger(s *slot, in input) {
	if in.at <= s.longer || s.svc.spec.StartTimeout <= 0 || s.svc.spec.Ready == nil {
		return
	}
	s.longer = in.at
	m.save(s)
	if s.phase == phaseStarting {
		m.armStarting(s)
	}
}

// stopLonger: it needs longer to stop than stop.timeout.
func (m *Machine) stopLonger(s *slot, in input) {
	if in.at > s.timers[timerPhase] || bug == 17 {
		m.armAt(s, timerPhase, in.at)
		m.save(s)
	}
}

// mainChanged: another process stands for the incarnation.
func (m *Machine) mainChanged(s *slot, in input) {
	if !s.answered || s.exited || in.pid == s.pid {
		return
	}
	s.pid, s.start = in.pid, in.start
	if bug != 19 {
		m.save(s)
	}
	m.touch(s)
}

// Starting says whether ref is on its way up, as far as is known here.
func (m *Machine) Starting(ref Ref) bool {
	if ref.Slot < 0 || int(ref.Slot) >= len(m.slots) {
		return false
	}
	s := m.slots[ref.Slot]
	return s.ref == ref && (s.phase == phaseSpawning || s.phase == phaseStarting)
}

// Rests says whether nothing of a slot's place lives, a successor or predecessor
// beside it included, and nothing is about to start it: it is not wanted, or has
// ended for good.
func (m *Machine) Rests(slot Slot) bool {
	if slot < 0 || int(slot) >= len(m.slots) {
		return true
	}
	s := m.slots[slot].place()
	if s.phase.lives() || s.twin != nil && s.twin.phase.lives() {
		return false
	}
	d := m.desired(s)
	return s.phase == phaseCompleted || s.phase == phaseFailed || d != wantRun && d != wantYield
}

// Twin is the other slot of a slot's place, where a successor comes up or a
// predecessor ends; NoSlot: there is none yet.
func (m *Machine) Twin(slot Slot) Slot {
	if slot < 0 || int(slot) >= len(m.slots) || m.slots[slot].twin == nil {
		return NoSlot
	}
	return m.slots[slot].twin.ref.Slot
}
