package policy

import (
	"time"

	"nines/spec"
)

// What a passing failure of the machine (EAGAIN, ENOMEM, EMFILE) costs: short,
// since it passes, and bounded, since the service is not to blame.
const (
	againDelay    = 100 * time.Millisecond
	againMaxDelay = 5 * time.Second
)

// retry decides when s is tried again after an end that nobody asked for, or
// gives it up.
//
// Delay n is min(delay × factor^n, max_delay) × (1+u). u is drawn once for a
// streak: replicas differ, and consecutive delays of one slot never shrink,
// which a draw for each delay could not promise once max_delay is reached.
func (m *Machine) retry(s *slot, how Reason, failedStart, fatal bool, code int) {
	v := s.svc
	r, c := &v.spec.Restart, &v.spec.CrashLoop
	s.streak++
	s.auto = true
	s.first = false
	if failedStart {
		s.failedStarts++
	}
	looping := s.remember(m.now, c.Within, c.Failures) ||
		c.Failures > 0 && s.failedStarts >= c.Failures || fatal
	newlyHeld := false
	if looping && !s.held {
		loop := because(Reason{kind: whyCrashLoop, count: int32(len(s.ends)), delay: c.Within}, how)
		switch {
		case fatal:
			loop.kind = whyFatal
		case c.Failures > 0 && s.failedStarts >= c.Failures:
			loop.kind, loop.count = whyNoStart, int32(s.failedStarts)
		}
		m.notice(KindCrashLoop, s, loop)
		s.loop = true
		if m.condemned(s, loop) {
			m.afresh(s)
			return
		}
		switch c.Then {
		case spec.ThenStop:
			loop.over = true
			m.final(s, phaseFailed, loop)
			return
		case spec.ThenShutdown:
			s.next, s.why = phaseDown, loop
			m.beginShutdown(Shutdown{Code: failure(code), Cause: "crash loop of " + s.name + ": " + how.String()})
			return
		case spec.ThenHold, spec.ThenRollback:
			// A rollback needs a revision that is being tried, and one to go back to.
		}
		s.held, newlyHeld = true, true
	}
	if s.streak == 1 {
		s.spread = 1 + m.draw()*r.Jitter
		s.base = float64(min(r.Delay, r.MaxDelay))
	} else {
		// Never less, whatever factor is.
		s.base = max(s.base, min(s.base*r.Factor, float64(r.MaxDelay)))
	}
	if s.held {
		s.base = float64(r.MaxDelay)
	}
	delay := duration(s.base * s.spread)
	s.next = phaseBackoff
	s.nextAt = m.now.Add(delay)
	next := because(Reason{kind: whyBackoff, delay: delay, count: int32(s.streak)}, how)
	s.why = next
	if s.held {
		s.why = because(Reason{kind: whyHeld, delay: delay}, how)
	}
	if newlyHeld {
		m.notice(KindHeld, s, s.why)
	}
	if delay > 0 {
		m.notice(KindBackoff, s, next)
	} else {
		m.notice(KindRestarting, s, next)
	}
}

// duration is so many nanoseconds, within what a Duration holds.
func duration(ns float64) time.Duration {
	if ns >= float64(never) {
		return time.Duration(never)
	}
	return time.Duration(max(ns, 0))
}

// remember notes an unrequested end, and says whether there were as many as
// limit within the window. It keeps no more than limit of them.
func (s *slot) remember(now Time, within time.Duration, limit int) bool {
	if limit <= 0 {
		return false
	}
	old := 0
	for old < len(s.ends) && now.Sub(s.ends[old]) > within {
		old++
	}
	// More than limit there are where an apply has made it smaller.
	old = max(old, len(s.ends)-limit+1)
	if old > 0 {
		s.ends = s.ends[:copy(s.ends, s.ends[old:])]
	}
	s.ends = append(s.ends, now)
	return len(s.ends) >= limit
}

// remembers says whether there is anything to forget.
func (s *slot) remembers() bool {
	return s.streak > 0 || s.held || s.failedStarts > 0 || len(s.ends) > 0
}

// forget: it was ready for reset_after, or a person starts it. Nothing of its
// failures counts any more.
func (m *Machine) forget(s *slot) {
	if s.remembers() || s.again > 0 {
		m.save(s)
	}
	s.streak, s.base, s.spread = 0, 0, 0
	s.failedStarts, s.again = 0, 0
	s.ends = s.ends[:0]
	s.held = false
	m.disarm(s, timerReset)
	m.endLoop(s, whyAfresh)
}

// endLoop says that a crash loop is over, if there was one, and why.
func (m *Machine) endLoop(s *slot, why reasonKind) {
	if s.loop {
		s.loop = false
		m.notice(KindRecovered, s, Reason{kind: why, delay: s.svc.spec.Restart.ResetAfter})
	}
}

// draw is a number in [-1, 1).
func (m *Machine) draw() float64 { return 2*(float64(m.rng.Uint64()>>11)/(1<<53)) - 1 }
