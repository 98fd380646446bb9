package policy

import (
	"strconv"
	"time"
)

// commandRestart: instances that are down are started at once; those that run
// are restarted one after the other, each when the one before is back.
func (m *Machine) commandRestart(v *service, c Command) {
	for _, o := range v.ops {
		if o.verb == VerbRestart && !o.begun && o.index == c.Instance {
			o.requests = append(o.requests, c.Request)
			m.then(Action{Kind: ActAccepted, Request: c.Request})
			return
		}
	}
	m.supersede(v, c.Instance, c, falls)
	m.begin(v, c)
}

// beginRestart: no other restart of the service is in progress any more.
func (m *Machine) beginRestart(o *operation) {
	v := o.svc
	o.begun = true
	o.seq = m.seq + 1
	m.liftService(v, o.index)
	m.dataAgain(v)
	v.each(o.index, func(s *slot) {
		s.by = ""
		if !s.phase.lives() || s.stopped {
			m.lift(s)
		}
	})
	if o.index >= 0 {
		o.cursor = o.index
	}
}

func (m *Machine) progressRestart(o *operation) {
	v := o.svc
	if !o.begun {
		for _, other := range v.ops {
			if other != o && other.verb == VerbRestart && other.begun {
				return
			}
		}
		m.beginRestart(o)
		m.markOps(v) // look again when what was lifted has been started
		return
	}
	last := v.instances
	if o.index >= 0 {
		last = min(last, o.index+1)
	}
	for ; o.cursor < last; o.cursor++ {
		s := v.slots[o.cursor]
		if d := m.desired(s); d != wantRun && d != wantYield {
			continue // stopped meanwhile, alone
		}
		fresh := s.seq >= o.seq
		if fresh && s.settled {
			continue
		}
		switch {
		case s.phase == phaseStuck:
			m.failStuck(o, s)
		case s.counted.waiting || !fresh && s.end == endNone && s.phase != phaseClearing:
			// Before it is taken down: would it come up again?
			if why, hint := m.blocked(v); why != "" && s.phase.lives() {
				m.fail(o, why+", and would not come up again: it was left running", hint)
			} else if why != "" {
				m.fail(o, why+byItself, hint)
			} else if !fresh && s.phase.lives() && s.phase != phaseKilling {
				m.forget(s)
				s.restarts, s.auto = 0, false
				why := Reason{kind: whyRestart, name: o.by}
				m.notice(KindRestarting, s, why)
				m.stop(s, endStop, why)
			} else if !fresh && (s.phase == phaseBackoff || s.phase == phaseFailed || s.phase == phaseCompleted) {
				// It ended by itself before its turn.
				m.lift(s)
			}
		case !fresh && s.phase == phaseClearing:
			// It ended by itself before its turn; its successor does not wait.
			if s.next != phaseDown {
				m.save(s)
			}
			s.next, s.nextAt = phaseDown, 0
		}
		return
	}
	m.done(o, o.target()+" is restarted and "+upWord(v))
}

// commandReload tells the instances that are ready to read their configuration
// again.
func (m *Machine) commandReload(v *service, c Command) {
	cannot := "cannot reload " + target(v, c.Instance)
	r := v.spec.Reload
	if r == nil {
		m.refuse(c.Request, Conflict, cannot+": it has no reload block", "nines restart "+target(v, c.Instance)+", or add one: reload { signal = \"SIGHUP\" }")
		return
	}
	for _, o := range v.ops {
		if o.verb == VerbReload {
			m.refuse(c.Request, Conflict, cannot+": a reload of "+o.target()+" is in progress", "try again when it is done")
			return
		}
	}
	ready, busy := 0, 0
	v.each(c.Instance, func(s *slot) {
		if s.phase == phaseReady {
			ready++
			busy += delta(false, s.reload != 0 || s.reloading == reloadAsked)
		}
	})
	if ready == 0 || busy > 0 {
		why, hint := "it is not ready", "nines status "+v.spec.Name+" says why"
		if busy > 0 {
			why, hint = "an earlier reload hook still runs", "try again when it is done"
		}
		m.refuse(c.Request, Conflict, cannot+": "+why, hint)
		return
	}
	o := m.begin(v, c)
	v.each(c.Instance, func(s *slot) {
		if s.phase != phaseReady {
			return
		}
		notifies := v.spec.Ready != nil && v.spec.Ready.Notify != ""
		if r.Command == "" {
			m.act(Action{Kind: ActSignal, Ref: s.ref, Signal: r.Signal})
			if notifies {
				s.reloading, s.askedAt = reloadAsked, m.now
				m.arm(s, timerReload, ReloadPatience)
				o.pending++
			}
			return
		}
		if notifies {
			s.reloading, s.askedAt = reloadAsked, m.now
		}
		s.reload = m.token(s)
		timeout := m.reloadTimeout(v)
		m.act(Action{Kind: ActHook, Ref: s.ref, Hook: HookReload, Token: s.reload, Timeout: timeout})
		// The driver bounds the hook; if its answer is lost, this bounds the wait.
		m.arm(s, timerReload, timeout+m.cfg.KillPatience)
		o.pending++
	})
	o.cursor = ready
}

// reloadTimeout bounds a reload command as a start is bounded: systemd does the
// same, and the language has no word of its own for it.
func (m *Machine) reloadTimeout(v *service) time.Duration {
	if v.spec.StartTimeout > 0 {
		return v.spec.StartTimeout
	}
	return m.cfg.KillPatience
}

// hookReloaded: the reload hook of s has ended. Where it said meanwhile that it
// reloads, that is waited for as well.
func (m *Machine) hookReloaded(s *slot, ok bool, cause string) {
	s.reload = 0
	if ok && s.reloading == reloadBegan {
		m.arm(s, timerReload, m.reloadTimeout(s.svc))
		return
	}
	if s.reloading == reloadAsked {
		s.reloading = reloadNone
	}
	m.reloadDone(s, ok, cause)
}

// reloadDone: that s was told to reload is over, for whoever waits for it.
func (m *Machine) reloadDone(s *slot, ok bool, cause string) {
	m.disarm(s, timerReload)
	for _, o := range s.svc.ops {
		if o.verb == VerbReload && o.covers(s.index) {
			o.pending--
			if !ok && o.failed == "" {
				o.failed = s.name + ": " + cause
			}
		}
	}
	m.markOps(s.svc)
}

func (m *Machine) progressReload(o *operation) {
	switch {
	case o.pending > 0:
	case o.failed != "":
		m.fail(o, o.failed, "nines logs "+o.target())
	case o.index >= 0:
		m.done(o, o.target()+" was told to reload")
	default:
		m.done(o, o.target()+" was told to reload, "+strconv.Itoa(o.cursor)+" of "+plural(int32(o.svc.instances), "instance"))
	}
}
