package sim

import (
	"nines/spec"
	"nines/supervisor/policy"
)

const shutdownThen = spec.ThenShutdown

// command notes what a command that was not refused changes in what is wanted.
func (k *checker) command(c policy.Command) {
	s := k.byName[c.Service]
	if s == nil {
		k.fail("answer", "a command for %q, which does not exist, is not refused", c.Service)
		return
	}
	now := k.w.now
	slots := s.slots[:s.instances]
	one := c.Instance >= 0
	if one {
		if c.Instance >= len(slots) && c.Verb != policy.VerbScale {
			k.fail("answer", "a command for instance %d of %q, which does not exist, is not refused", c.Instance, c.Service)
			return
		}
		if c.Verb != policy.VerbScale {
			slots = slots[c.Instance : c.Instance+1]
		}
	}
	if k.shutdown != nil {
		k.fail("answer", "%s %s is not refused in a shutdown", verbNames[c.Verb], c.Service)
		return
	}
	switch c.Verb {
	case policy.VerbStart:
		k.lift(s, slots, one)
		for _, sl := range slots {
			sl.stopped, sl.unsure, sl.hazy = false, false, false
			sl.pardon(now)
			sl.first = sl.first || !sl.ready()
		}
	case policy.VerbStop:
		for _, sl := range slots {
			sl.stopped = sl.stopped || one
			sl.hazy = !one && (sl.hazy || sl.unsure)
			sl.first, sl.unsure = false, false
			sl.outcome = none // what is stopped is no longer completed or failed
		}
		if !one {
			s.stopped, s.started = true, false
		}
	case policy.VerbRestart:
		k.restarts(s, slots, one)
	case policy.VerbReload:
		k.reloadAsked(slots)
	case policy.VerbScale:
		old := s.instances
		k.grow(s, c.Instances)
		s.instances = c.Instances
		for _, sl := range s.slots[min(old, c.Instances):c.Instances] {
			sl.stopped, sl.unsure, sl.hazy, sl.first = false, false, false, true
			sl.pardon(now)
			sl.restart, sl.since = s.restarts > 0, k.w.steps // it comes to these as well
		}
	}
}

// restarts notes a restart. One that comes while another is under way waits
// for that, and it cannot be seen from outside when it begins.
func (k *checker) restarts(s *service, slots []*slot, one bool) {
	s.restarts++
	if s.restarts > 1 {
		s.queued = true
		for _, sl := range slots {
			sl.restart, sl.since = true, k.w.steps
			sl.notBefore = k.w.now
			sl.first = sl.first || !sl.ready()
			sl.unsure = sl.unsure || !sl.wanted() || sl.outcome != none
		}
		return
	}
	k.lift(s, slots, one)
	for _, sl := range slots {
		sl.restart, sl.since = true, k.w.steps
		if sl.stopped || !sl.lives() {
			sl.stopped, sl.unsure, sl.hazy = false, false, false
			sl.pardon(k.w.now)
			sl.first = sl.first || !sl.ready()
		} else if sl.cur.told.over {
			// Once it is empty, its turn may have come, or not.
			sl.unsure = sl.unsure || sl.outcome != none
			sl.notBefore, sl.ambiguous, sl.first = k.w.now, true, true
		}
	}
}

// lift takes back a person's stop, and the spec's disabling. Where that is for
// one instance, the others stay as they were, each by itself.
func (k *checker) lift(s *service, slots []*slot, one bool) {
	was := s.enabled()
	s.stopped = false
	s.started = s.started || !s.spec.Enabled
	if one && !was {
		for _, sl := range s.slots[:s.instances] {
			sl.stopped = sl.stopped || sl != slots[0]
		}
	}
}

// done notes that a command has been carried out, or has failed, and says
// whether it was a restart.
func (k *checker) done(id policy.Request) bool {
	if int(id) >= len(k.requests) {
		return false // reply says so when it leaves
	}
	cmd := &k.requests[id].cmd
	s := k.byName[cmd.Service]
	if s == nil || cmd.Verb != policy.VerbRestart {
		return false
	}
	s.restarts--
	return true
}

// reached forgets the restarts that are over, once what they asked for in this
// step was seen.
func (k *checker) reached() {
	for _, s := range k.services {
		if s.restarts > 0 {
			continue
		}
		for _, sl := range s.slots {
			if s.queued && sl.restart {
				sl.blur()
			}
			sl.restart = false
		}
		s.queued = false
	}
}
