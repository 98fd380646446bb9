package sim

import (
	"slices"
	"time"

	"nines/supervisor/policy"
)

// slack is what the world itself adds to bounds: late ticks.
const slack = 200 * time.Millisecond

// reply checks an answer to a request: one that it is understood, then one
// that is final; or a refusal alone.
func (k *checker) reply(a *policy.Action) {
	if a.Request == 0 || int(a.Request) >= len(k.requests) {
		k.fail("answer", "request %d is answered, which nobody made", a.Request)
		return
	}
	r := &k.requests[a.Request]
	if r.answered {
		k.fail("answer", "request %d is answered again", a.Request)
		return
	}
	switch a.Kind {
	case policy.ActAccepted:
		if r.accepted {
			k.fail("answer", "request %d is accepted twice", a.Request)
		}
		r.accepted = true
	case policy.ActDone:
		if !r.accepted {
			k.fail("answer", "request %d is done before it was accepted", a.Request)
		}
		r.answered = true
		k.w.marks[MarkDone]++
	case policy.ActRefused:
		if r.accepted {
			k.fail("answer", "request %d is refused after it was accepted", a.Request)
		}
		r.answered = true
		k.w.marks[MarkRefused]++
	}
}

// shutsDown notes that a shutdown begins.
func (k *checker) shutsDown(code int, byPerson bool) {
	if k.shutdown != nil {
		return
	}
	k.shutdown = &shutdown{at: k.w.now, jumped: k.w.jumped, byPerson: byPerson, code: code}
	if byPerson {
		return
	}
	k.w.marks[MarkEssential]++
	for _, s := range k.services {
		if s.spec.Essential || s.spec.CrashLoop.Then == shutdownThen {
			return
		}
	}
	k.fail("stopped", "a shutdown begins by itself, and no service may cause one")
}

// bounded checks that a shutdown ends in time, whatever the services do.
func (k *checker) bounded() {
	if k.shutdown == nil || k.ended {
		return
	}
	bound := k.w.sc.Spec.Supervisor.ShutdownTimeout + policy.DefaultKillPatience + slack + k.w.jumped - k.shutdown.jumped
	if took := k.w.now.Sub(k.shutdown.at); took > bound {
		k.fail("15", "the shutdown takes %v already, %v is the bound", took, bound)
	}
}

// ends checks that nothing lives at the end but what is stuck.
func (k *checker) ends(a *policy.Action) {
	if k.shutdown == nil {
		k.fail("end", "it ends without a shutdown")
		return
	}
	if k.shutdown.byPerson && a.Exit != k.shutdown.code {
		k.fail("end", "it ends with %d, the shutdown said %d", a.Exit, k.shutdown.code)
	}
	for _, s := range k.services {
		if !s.quiet(k.w.now) {
			k.fail("end", "it ends while %s lives", s.spec.Name)
		}
	}
	k.ended = true
}

// started checks that whatever is wanted and may run was asked for: in the same
// step in which the last reason against it fell.
func (k *checker) started() {
	if k.shutdown != nil {
		return
	}
	for _, s := range k.services {
		may := -1 // not known
		for _, sl := range s.slots {
			if sl.loop {
				k.fail("loop", "%s ended for the %d. time (%d starts failed in a row), and no crash loop is declared", sl.id, len(sl.ends), sl.starts)
			}
			if sl.lives() {
				sl.cur.doomed = !sl.cur.told.spawned && (sl.cur.doomed || k.unwanted(sl))
				sl.cur.restarted = sl.cur.restarted || sl.cur.doomed && sl.restart
				k.punctual(sl.cur)
				if k.overlooked(sl) && k.clear(sl) {
					k.fail("13", "%s is judged, may be taken down, and is not", sl.cur.name())
				}
				continue
			}
			if sl.outcome != none || sl.unsure || !sl.wanted() || k.ticked < sl.notAfter {
				continue
			}
			if may < 0 {
				may = 0
				if s.mayStart(k) {
					may = 1
				}
			}
			if may == 1 {
				k.fail("12", "%s is wanted and nothing stands against it, but it is not started", sl.id)
			} else {
				k.w.marks[MarkUnmetNeed]++
			}
		}
	}
}

// mayStart says whether surely nothing outside of the service stands against
// its start.
func (s *service) mayStart(k *checker) bool {
	if s.yields(k) || s.heldBack(k) {
		return false
	}
	for _, d := range s.needs {
		if !d.enabled() || !d.ready() || d.unsure() {
			return false
		}
	}
	for _, a := range s.after {
		if a.pending() {
			return false
		}
	}
	return true
}

// spawnPatience is the machine's: a spawn that is not answered is not given up
// before, and then is.
const spawnPatience = 3 * time.Second

// punctual checks that what is not ready in time is ended.
func (k *checker) punctual(inc *incarnation) {
	t := &inc.told
	if !t.spawned && !t.over && t.ask == askNone && !inc.doomed && k.ticked >= inc.asked.Add(inc.svc.spec.StartTimeout+spawnPatience) {
		k.fail("12", "%s does not exist after its start timeout, and is not killed", inc.name())
	}
	k.inTime(inc, false)
	if t.spawned && !t.ready && !t.over && !t.left && t.ask == askNone && k.ticked >= inc.startBy() {
		k.fail("12", "%s is not ready after its start timeout, and is not ended", inc.name())
	}
}

// settled says whether everything is as it is wanted to be.
func (k *checker) settled() bool {
	return k.unsettledSlot() == nil && k.unanswered() == 0 && len(k.w.journal.pending) == 0
}

// unanswered returns the first request that waits for its final answer.
func (k *checker) unanswered() int {
	for k.waits < len(k.requests) && k.requests[k.waits].answered {
		k.waits++
	}
	if k.waits < len(k.requests) {
		return k.waits
	}
	return 0
}

// converged checks, when everything is as wanted, that the next supervisor
// would find what people said.
func (k *checker) converged() {
	j := &k.w.journal
	for _, s := range k.services {
		name := s.spec.Name
		if s.removed {
			for _, sl := range s.slots {
				if j.slots[sl.id] != "" && !(sl.lives() && k.held(s)) {
					k.fail("intent", "%s is no more, and the records keep %s", sl.id, j.slots[sl.id])
				}
			}
			continue
		}
		if s.stopped != j.stopped[name] || s.started != j.started[name] {
			k.fail("intent", "%s is stopped: %v, started: %v; the records say %v, %v", name, s.stopped, s.started, j.stopped[name], j.started[name])
		}
		if n, ok := j.scale[name]; s.instances != s.spec.Instances && !ok || ok && n != s.instances {
			k.fail("intent", "%s has %d instances, the records say %d", name, s.instances, n)
		}
		for _, sl := range s.slots {
			if sl.index >= s.instances && j.slots[sl.id] != "" {
				k.fail("intent", "%s is no more, and the records keep %s", sl.id, j.slots[sl.id])
			}
			if !sl.unsure && !sl.hazy && sl.index < s.instances && sl.stopped != j.stopped[sl.id] {
				k.fail("intent", "%s is stopped: %v, the records say %v", sl.id, sl.stopped, j.stopped[sl.id])
			}
		}
	}
}

func (k *checker) unsettledSlot() *slot {
	for _, s := range k.services {
		for _, sl := range s.slots {
			lives := sl.lives()
			switch {
			case !sl.wanted() || sl.outcome != none:
				if lives && !(s.removed && k.held(s)) {
					return sl
				}
			case sl.old() && sl.svc.group.on, k.overlooked(sl), k.unrolled(sl):
				return sl
			case sl.ready():
			case lives:
				return sl
			case s.mayStart(k) && !sl.unsure:
				return sl
			case !s.blocked(k):
				return sl
			}
		}
	}
	return nil
}

// blocked says whether a need, however far, is not wanted or has ended for
// good, or an instance is in doubt: then it is right to wait.
func (s *service) blocked(k *checker) bool {
	if s.blockedGroup(k) {
		return true
	}
	for d := range s.below[1] {
		if !d.enabled() || d.blockedGroup(k) {
			return true
		}
		for _, sl := range d.slots[:d.instances] {
			if !sl.wanted() || sl.outcome == failed || sl.outcome == completed && d.spec.Type != taskType || sl.unsure {
				return true
			}
		}
	}
	return s.unsure()
}

func (s *service) unsure() bool {
	for _, sl := range s.slots[:s.instances] {
		if sl.unsure {
			return true
		}
	}
	return false
}

// unsettled reports what did not converge.
func (k *checker) unsettled() {
	if i := k.unanswered(); i > 0 {
		defer k.fail("answer", "%v after the faults have stopped, request %d is still not answered", patience, i)
	}
	if k.shutdown != nil {
		k.fail("15", "the shutdown does not end")
		return
	}
	if sl := k.unsettledSlot(); sl != nil {
		k.fail("12", "%v after the faults have stopped, %s is still not as it is wanted to be", patience, sl.id)
	}
}

// finished checks what must hold at the end of the history.
func (k *checker) finished() {
	if !k.ended {
		k.fail("end", "the history is over without an end")
	}
	if i := k.unanswered(); i > 0 {
		k.fail("answer", "request %d was never answered", i)
	}
}

// delays checks the starts that the machine says it has scheduled: within the
// bounds of the spec, and never sooner after an end than the time before. That
// it keeps to them is checked at the spawn.
func (k *checker) delays() {
	waiting := k.delayed[:0]
	var snap policy.Snapshot
	for _, sl := range k.delayed {
		if !sl.delayed {
			continue
		}
		if sl.lives() {
			waiting = append(waiting, sl) // not before it is empty
			continue
		}
		if snap.Instances == nil {
			snap = k.w.m.Snapshot()
		}
		i := slices.IndexFunc(snap.Instances, func(v policy.SlotView) bool { return v.ID == sl.id })
		if i < 0 || snap.Instances[i].State != policy.Backoff || sl.unsure {
			continue
		}
		at := snap.Instances[i].NextStartAt
		switch d := at.Sub(sl.overAt); {
		case at < sl.notBefore || at > sl.notAfter:
			k.fail("3", "%s ended for the %d. time and is to start again after %v; between %v and %v is right",
				sl.id, sl.fails, d, sl.notBefore.Sub(sl.overAt), sl.notAfter.Sub(sl.overAt))
		case d < sl.lastDelay && !sl.ambiguous:
			k.fail("3", "%s is to start again after %v, the delay before was %v", sl.id, d, sl.lastDelay)
		default:
			sl.lastDelay = d
			if !sl.restart {
				sl.notBefore = at
			}
		}
	}
	k.delayed = waiting
}
