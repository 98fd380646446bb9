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
	if k.shutdown != nil && c.Verb != policy.VerbStop {
		k.fail("answer", "%s %s is not refused in a shutdown", verbNames[c.Verb], c.Service)
	}
	switch c.Verb {
	case policy.VerbStart:
		k.lift(s, slots, one)
		for _, sl := range slots {
			k.again(sl)
		}
	case policy.VerbStop:
		for _, sl := range slots {
			sl.stopped = one
			sl.first = false
		}
		if !one {
			s.stopped, s.started = true, false
		}
	case policy.VerbRestart:
		k.lift(s, slots, one)
		s.restarts++
		for _, sl := range slots {
			k.again(sl)
			sl.restart = sl.cur != nil && !sl.cur.told.empty
		}
	case policy.VerbScale:
		old := s.instances
		k.grow(s, c.Instances)
		s.instances = c.Instances
		for _, sl := range s.slots[min(old, c.Instances):c.Instances] {
			sl.stopped = false
			sl.pardon(now)
		}
	}
}

// lift takes back a person's stop, and the spec's disabling.
func (k *checker) lift(s *service, slots []*slot, one bool) {
	s.stopped = false
	s.started = s.started || !s.spec.Enabled
	for _, sl := range slots {
		sl.stopped = false
	}
}

// again is a person's word that a slot may start: nothing of its past counts,
// unless it runs.
func (k *checker) again(sl *slot) {
	if c := sl.cur; c != nil && !c.told.empty && !c.told.over {
		return
	}
	sl.pardon(k.w.now)
	sl.first = true
}

// done notes that a command has been carried out.
func (k *checker) done(r *request) {
	s := k.byName[r.cmd.Service]
	if s == nil {
		return // a shutdown
	}
	if r.cmd.Verb == policy.VerbRestart {
		s.restarts--
	}
}
