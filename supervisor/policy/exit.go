package policy

import (
	"slices"
	"strconv"
	"strings"

	"nines/spec"
)

// mainExited: the main process ended, by itself or because it was asked. What
// it left behind is killed at once: the next incarnation must not meet it.
func (m *Machine) mainExited(s *slot, in input) {
	m.over(s, in.status)
	if in.empty || bug == 3 {
		m.vacate(s)
		return
	}
	s.phase = phaseClearing
	s.hook = 0
	m.save(s)
	m.act(Action{Kind: ActKill, Ref: s.ref})
	m.arm(s, timerPhase, m.cfg.KillPatience)
	m.touch(s)
}

// over takes down how an incarnation ended, once, and judges what follows.
func (m *Machine) over(s *slot, st Status) {
	s.exited = true
	failedStart := s.end == endTimeout || !s.wasReady // a check that fails before it is ready fails its start
	s.settled = false
	m.unready(s)
	how, reason := howEnded(st)
	s.last = LastExit{Reason: reason, Status: st, At: m.now}
	switch s.end {
	case endNone, endSelf:
		s.how = how
		m.notice(KindExited, s, how)
	case endTimeout:
		s.last.Reason = ExitStartTimeout
		s.how = s.endWhy
		how.kind, how.how, how.delay, how.text = whyTimedOut, how.kind, s.endWhy.delay, s.endWhy.text
		m.notice(KindExited, s, how)
		how = s.endWhy
	case endCheck, endMemory:
		s.last.Reason = ExitCheckFailed
		if s.end == endMemory {
			s.last.Reason = ExitMemory
		}
		s.how = s.endWhy
		how.kind, how.how, how.text = whyActed, how.kind, s.endWhy.text
		m.notice(KindExited, s, how)
		how = s.endWhy
	case endStop:
		s.last.Reason = ExitStop
		how.kind, how.how = whyEnded, how.kind
		s.how = how
		m.notice(KindExited, s, how)
	}
	if st.OOM {
		m.notice(KindOOMKilled, s, Reason{kind: whyOOM, name: st.Signal})
	}
	if s.aside && s.end == endMemory {
		s.twin.last = s.last // of their place it is the last end
		m.save(s.twin)
	}
	if s.end == endStop {
		s.next = phaseDown
		return
	}
	m.judge(s, how, st, failedStart)
}

// howEnded words a status.
func howEnded(st Status) (Reason, ExitReason) {
	switch {
	case st.Unknown:
		return Reason{kind: whyUnknown}, ExitUnknown
	case st.OOM:
		return Reason{kind: whyOOM, name: st.Signal}, ExitOOM
	case st.Signal != "":
		how := Reason{kind: whySignaled, name: st.Signal}
		if st.Core {
			how.count = 1
		}
		return how, ExitSignaled
	}
	return Reason{kind: whyExited, code: int32(st.Code)}, ExitExited
}

// judge decides what follows the end of an incarnation that nobody asked to
// end. Where they contradict: a success code wins over a fatal code (the fatal
// ones have defaults, so that a success code is the more deliberate word), and
// both win over the policy, except that never is never.
func (m *Machine) judge(s *slot, how Reason, st Status, failedStart bool) {
	v := s.svc
	r := &v.spec.Restart
	code := exitStatus(how, st)
	plain := how.kind == whyExited || how.kind == whyExecFailed
	success := how.kind == whyExited && slices.Contains(r.SuccessCodes, st.Code)
	fatal := plain && !success && slices.Contains(r.FatalCodes, st.Code)
	if !success {
		v.lastCode = code
	}
	if d := m.desired(s); d != wantRun && d != wantYield {
		// It is not wanted any more, and ended before it was told.
		s.next = phaseDown
		return
	}
	task := v.spec.Type == spec.TypeTask
	badStart := how.kind == whyExecFailed || s.end == endTimeout
	switch {
	case !success && (badStart && v.roll.forward() || s.end == endCheck || s.end == endMemory ||
		r.Policy == spec.RestartNever) && m.condemned(s, how):
		m.afresh(s)
		if !s.aside {
			m.groupFailed(s)
		}
	case success && (task || r.Policy != spec.RestartAlways):
		m.final(s, phaseCompleted, Reason{kind: whyCompleted, code: int32(st.Code)})
	case task && st.Unknown && (s.end == endNone || s.end == endSelf):
		// It may have completed, and a task is never run twice by itself.
		m.final(s, phaseFailed, because(Reason{kind: whyUntold}, how))
	case r.Policy == spec.RestartNever:
		m.final(s, phaseFailed, because(Reason{kind: whyNever}, how))
	default:
		m.retry(s, how, failedStart, fatal, code)
		if !s.aside {
			m.groupFailed(s)
		}
	}
	if s.aside {
		if s.candidate {
			m.falter(s.twin) // its place is as it was, and still to be replaced
		}
		return
	}
	m.faltered(s)
	m.failOps(s, how)
	m.essential(s)
}

// final ends s for good, until a person starts it.
func (m *Machine) final(s *slot, p phase, why Reason) {
	s.next = p
	s.why = why
	s.first = false
}

// essential: the end of an essential service is the end of all. It has ended
// when each of its instances has completed, has failed for good or is held: one
// replica that fails while another serves is what replicas are for.
func (m *Machine) essential(s *slot) {
	v := s.svc
	if !v.spec.Essential || !s.final() {
		return
	}
	failed := false
	for _, o := range v.slots[:min(v.instances, len(v.slots))] {
		if d := m.desired(o); d != wantRun && d != wantYield {
			continue
		}
		if !o.final() {
			return
		}
		failed = failed || o.held || o.finally() == phaseFailed
	}
	if !failed {
		m.beginShutdown(Shutdown{Cause: "essential service " + v.spec.Name + " has completed"})
		return
	}
	m.beginShutdown(Shutdown{
		Code:  failure(v.lastCode),
		Cause: "essential service " + v.spec.Name + " has failed: " + s.name + " " + s.how.String(),
	})
}

// final says whether s has ended for good, or is held and not ready.
func (s *slot) final() bool {
	p := s.finally()
	return p == phaseCompleted || p == phaseFailed || s.held && p != phaseReady
}

// finally is the phase of s once nothing of it lives.
func (s *slot) finally() phase {
	if s.phase.lives() && s.exited {
		return s.next
	}
	return s.phase
}

// failure is the exit status of an end of everything that is a failure: a loop
// of ends with code 0 must not look like success to what runs the keeper.
func failure(code int) int {
	if code == 0 {
		return 1
	}
	return code
}

// exitStatus is what the keeper's exit status is when this end ends everything.
func exitStatus(how Reason, st Status) int {
	switch {
	case how.kind == whyStartTimeout, how.kind == whyJudged, st.Unknown:
		return 1
	case st.Signal != "":
		return 128 + signalNumber(st.Signal)
	}
	return st.Code
}

// signalNumber is the number of a signal on Linux; 0 for one that it does not know.
func signalNumber(name string) int {
	if n, ok := strings.CutPrefix(name, "SIGRTMIN+"); ok {
		if i, err := strconv.Atoi(n); err == nil && i >= 0 && i <= 30 {
			return 34 + i
		}
		return 0
	}
	return 1 + slices.Index([]string{
		"SIGHUP", "SIGINT", "SIGQUIT", "SIGILL", "SIGTRAP", "SIGABRT", "SIGBUS", "SIGFPE",
		"SIGKILL", "SIGUSR1", "SIGSEGV", "SIGUSR2", "SIGPIPE", "SIGALRM", "SIGTERM", "SIGSTKFLT",
		"SIGCHLD", "SIGCONT", "SIGSTOP", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGURG", "SIGXCPU",
		"SIGXFSZ", "SIGVTALRM", "SIGPROF", "SIGWINCH", "SIGIO", "SIGPWR", "SIGSYS",
	}, name)
}
