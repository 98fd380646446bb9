package policy

import (
	"slices"
	"strconv"

	"nines/spec"
)

// The driver makes the attempts (ActCheck), tells how each went (CheckResult),
// and may say that a failure proves nothing (Excuse). What a row of failures
// means and what follows from it is here, and the same for all kinds.
//
// Checks run while an instance is ready, from becomeReady to unready; a ready
// block of a check kind while it is starting. With each beginning there is a new
// token, so that no result of an earlier one is taken for one of this.
//
// A next supervisor begins anew: what had failed is found again within
// failures × interval, and until then the instance counts as healthy.

// check is what is known of one check of an incarnation.
type check struct {
	fails, passes int32 // in a row
	tried         bool  // there was a result
	failing       bool  // it has failed `failures` times in a row, and not passed `successes` times since
	last          Excuse
	excused       Time // of the first failure since it passed that was excused; never: none
	reason        string
	output        string // both of the last failure
}

// postponed is how many times failures × interval excuses may put off that a
// failure counts: what is never able to answer must be found too.
const postponed = 3

// maxShared is how many checks of a service are looked at for a shared cause.
const maxShared = 64

// excuses says whether a failure at now that has an excuse is not counted.
func (c *check) excuses(t *spec.Timing, now Time) bool {
	if bug == 10 {
		return false
	}
	return c.excused == never || now.Sub(c.excused) < duration(postponed*float64(t.Failures)*float64(t.Interval))
}

// readyCheck is the check that says when instances of v are ready; nil: none.
func (v *service) readyCheck() *spec.Check {
	if r := v.spec.Ready; r != nil && v.spec.Type != spec.TypeTask {
		return r.Check
	}
	return nil
}

// beginChecks has the driver begin the checks of s, which is starting or ready;
// nothing is known of them.
func (m *Machine) beginChecks(s *slot) {
	n := len(s.svc.spec.Checks)
	if s.phase == phaseStarting {
		if n = 0; s.svc.readyCheck() != nil {
			n = 1
		}
	}
	m.endChecks(s)
	s.checks = slices.Grow(s.checks[:0], n)[:n]
	for i := range s.checks {
		s.checks[i] = check{excused: never}
	}
	s.ill = 0
	m.attempt(s)
}

// attempt asks for attempts of what s.checks are.
func (m *Machine) attempt(s *slot) {
	if len(s.checks) > 0 && !s.exited {
		s.checking = m.token(s)
		m.act(Action{Kind: ActCheck, Ref: s.ref, Token: s.checking, Ready: s.phase == phaseStarting})
	}
}

// endChecks has the driver end them.
func (m *Machine) endChecks(s *slot) {
	if s.checking != 0 {
		s.checking = 0
		m.act(Action{Kind: ActCheckEnd, Ref: s.ref})
	}
}

// checkResult takes one attempt.
func (m *Machine) checkResult(e CheckResult) {
	s := m.current(e.Ref)
	if s == nil || e.Token == 0 || e.Token != s.checking && bug != 24 || e.Check < 0 || e.Check >= len(s.checks) {
		return
	}
	c := &s.checks[e.Check]
	k := s.svc.readyCheck()
	if s.phase == phaseReady {
		k = &s.svc.spec.Checks[e.Check]
	}
	c.tried = true
	if !e.Failed {
		c.fails, c.excused, c.last = 0, never, ExcuseNone
		if int(c.passes) < k.Timing.Successes {
			c.passes++
		}
		if int(c.passes) < k.Timing.Successes {
			return
		}
		if s.phase == phaseStarting {
			m.dispatch(s, onReady, input{})
		} else if c.failing {
			m.checkRecovers(s, e.Check)
		}
		return
	}
	c.reason, c.output, c.last = e.Reason, e.Output, e.Excuse
	if s.phase == phaseStarting {
		c.passes = 0 // how long that may go on, start.timeout says
		return
	}
	if e.Excuse != ExcuseNone && c.excuses(&k.Timing, m.now) {
		if c.excused == never {
			c.excused = m.now
			if !c.failing {
				m.notice(KindCheckExcused, s, Reason{kind: whyExcused, name: k.Name, text: e.Reason, code: int32(e.Excuse)})
			}
		}
		return
	}
	c.passes = 0
	if int(c.fails) < k.Timing.Failures {
		c.fails++
	}
	if !c.failing && int(c.fails) >= k.Timing.Failures {
		m.checkFails(s, e.Check)
	}
}

// checkFails: it has failed so often in a row that it counts.
func (m *Machine) checkFails(s *slot, i int) {
	c, k := &s.checks[i], &s.svc.spec.Checks[i]
	c.failing = true
	why := Reason{kind: whyJudged, text: failedText(k, c.reason)}
	told := why
	if n := m.suspect(s, i); n >= 2 && 2*n > s.svc.instances {
		told.text += "; " + strconv.Itoa(n) + " of " + strconv.Itoa(s.svc.instances) +
			" instances fail it, so the likely cause is shared (the machine, the network, what they all need): they are acted on one at a time"
	}
	m.notice(KindCheckFailed, s, told)
	if k.Outlier == nil {
		s.ill++
		m.assessHealth(s)
	}
	m.askForCheck(s, i, why)
}

// askForCheck puts what check i asks for in line.
func (m *Machine) askForCheck(s *slot, i int, why Reason) {
	k := &s.svc.spec.Checks[i]
	if k.OnFailure == spec.OnFailureAlert {
		return
	}
	if !s.svc.sharedFailure(i) && m.condemned(s, why) {
		return // what is judged is the revision
	}
	cause := CauseCheck
	if k.Outlier != nil {
		cause = CauseOutlier // it differs, and serves all the same
	}
	m.ask(s, &act{cause: cause, why: why, dump: k.OnFailure == spec.OnFailureDump, isolate: k.OnFailure == spec.OnFailureIsolate, check: i + 1})
}

// checkRecovers: it has passed so often in a row that it counts. What it had
// asked for is not done any more; what another that still fails asks for, is.
func (m *Machine) checkRecovers(s *slot, i int) {
	c := &s.checks[i]
	c.failing = false
	m.unsuspect(s, i)
	m.notice(KindCheckPassed, s, Reason{kind: whyPasses, name: s.svc.spec.Checks[i].Name})
	if s.svc.spec.Checks[i].Outlier == nil {
		s.ill--
		m.assessHealth(s)
	}
	if bug != 11 && s.act != nil && s.act.check == i+1 {
		m.dropAct(s)
		m.askForChecks(s)
		m.armRecycle(s) // one that gave way comes back
	}
}

// askForChecks asks for what any check that fails asks for.
func (m *Machine) askForChecks(s *slot) {
	for i := range s.checks {
		if c := &s.checks[i]; c.failing {
			m.askForCheck(s, i, Reason{kind: whyJudged, text: failedText(&s.svc.spec.Checks[i], c.reason)})
		}
	}
}

// whyFails words the first check of s that fails, if there is one: of what asks for
// nothing to be done, the state is all there is to see.
func (s *slot) whyFails() Reason {
	for i := range s.checks {
		if c := &s.checks[i]; c.failing && i < len(s.svc.spec.Checks) {
			return Reason{kind: whyJudged, text: failedText(&s.svc.spec.Checks[i], c.reason)}
		}
	}
	return Reason{}
}

func failedText(k *spec.Check, reason string) string {
	times := ""
	if n := k.Timing.Failures; n > 1 {
		times = " " + strconv.Itoa(n) + " times in a row"
	}
	if reason != "" {
		reason = ": " + reason
	}
	return "check " + strconv.Quote(k.Name) + " failed" + times + reason
}

// assessHealth says of s what its checks, and who else judges it, amount to.
func (m *Machine) assessHealth(s *slot) {
	if well := s.ill == 0 && !s.judged; well == s.unhealthy {
		m.health(s, well)
	}
}

// suspect counts s among those of its service whose check i fails, and returns
// how many these are. It counts until its replacement is ready: acts take down
// one after the other, and those that come last must still be told that they are
// not alone.
func (m *Machine) suspect(s *slot, i int) int {
	v := s.svc
	if i >= maxShared {
		return 1
	}
	if len(v.suspects) < len(v.spec.Checks) {
		v.suspects = append(v.suspects, make([]int, len(v.spec.Checks)-len(v.suspects))...)
	}
	if s.suspected&(1<<i) == 0 {
		s.suspected |= 1 << i
		v.suspects[i]++
	}
	return v.suspects[i]
}

func (m *Machine) unsuspect(s *slot, i int) {
	if i < maxShared && s.suspected&(1<<i) != 0 {
		s.suspected &^= 1 << i
		s.svc.suspects[i]--
	}
}

// clearSuspicion: s is ready anew, or is not to be.
func (m *Machine) clearSuspicion(s *slot) {
	for i := 0; s.suspected != 0; i++ {
		m.unsuspect(s, i)
	}
}

// recheck gives what lives of v the checks that its spec has now. What is known
// of one that is as it was stays: an instance that fails one does not become
// healthy by an apply.
func (m *Machine) recheck(v *service) {
	old, ready := v.checked, v.readied
	v.checked, v.readied = v.spec.Checks, v.readyCheck()
	sameReady := ready == v.readied || ready != nil && v.readied != nil && ready.Equal(v.readied)
	same := slices.EqualFunc(old, v.checked, func(a, b spec.Check) bool { return a.Equal(&b) })
	if same && sameReady {
		return
	}
	for _, s := range v.slots {
		if !same {
			m.clearSuspicion(s)
		}
		switch {
		case s.phase == phaseStarting && !sameReady:
			m.beginChecks(s)
		case s.phase == phaseReady && !same:
			m.keepChecks(s, old)
		case s.phase != phaseStarting && !same:
			s.checks = s.checks[:0]
		}
	}
}

// keepChecks carries over what is known of those of old that s still has.
func (m *Machine) keepChecks(s *slot, old []spec.Check) {
	was := s.checks
	m.endChecks(s)
	now := s.svc.spec.Checks
	s.checks, s.ill = make([]check, len(now)), 0
	for i := range now {
		k := &now[i]
		s.checks[i] = check{excused: never}
		j := slices.IndexFunc(old, func(o spec.Check) bool { return o.Equal(k) })
		if j < 0 || j >= len(was) {
			continue
		}
		s.checks[i] = was[j]
		if s.checks[i].failing {
			m.suspect(s, i)
			s.ill += delta(false, k.Outlier == nil)
		}
	}
	if s.act != nil && s.act.check > 0 {
		m.dropAct(s)
	}
	m.askForChecks(s)
	m.assessHealth(s)
	m.attempt(s)
	m.armRecycle(s)
}

// viewChecks is what is known of the checks of s, in the words of the API.
func (m *Machine) viewChecks(s *slot) []CheckView {
	if len(s.checks) == 0 {
		return nil
	}
	list := make([]CheckView, 0, len(s.checks))
	ready := !s.wasReady
	for i := range s.checks {
		c := &s.checks[i]
		w := CheckView{Name: "ready", State: CheckPending, Reason: c.reason, Output: c.output, Failures: int(c.fails), Excuse: c.last}
		switch {
		case ready:
			if c.tried {
				w.State = CheckWaiting
			}
		case i >= len(s.svc.spec.Checks):
			return list // an apply has taken it away
		default:
			w.Name = s.svc.spec.Checks[i].Name
			switch {
			case c.failing:
				w.State, w.Excuse = CheckFailing, ExcuseNone // it counts no more
			case c.tried:
				w.State = CheckPassing
			}
		}
		list = append(list, w)
	}
	return list
}
