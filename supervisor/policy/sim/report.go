package sim

import (
	"fmt"
	"strings"
	"time"

	"nines/supervisor/policy"
)

// String shows a scenario as text: what runs, which faults there are, what
// people do.
func (s *Scenario) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d, calm after %v, shutdown timeout %v\n", s.Seed, s.Calm, s.Spec.Supervisor.ShutdownTimeout)
	for _, v := range s.Spec.Services {
		fmt.Fprintf(&b, "  %s %q x%d", v.Type, v.Name, v.Instances)
		if !v.Enabled {
			b.WriteString(" disabled")
		}
		if v.Essential {
			b.WriteString(" essential")
		}
		if len(v.Needs) > 0 {
			fmt.Fprintf(&b, " needs %v", v.Needs)
		}
		if len(v.After) > 0 {
			fmt.Fprintf(&b, " after %v", v.After)
		}
		if r := v.Ready; r != nil {
			fmt.Fprintf(&b, " ready(%v%s)", r.Delay, r.Notify)
		}
		if r := v.Recycle; r != nil {
			fmt.Fprintf(&b, " recycle(%v ±%g %s)", r.MaxAge, r.Jitter, r.Schedule)
		}
		if i := v.Isolate; i != nil {
			fmt.Fprintf(&b, " isolate(%d %v %d)", i.Keep, i.TTL, i.MemoryMaxTotal.Bytes)
		}
		if v.AvailableSet {
			fmt.Fprintf(&b, " at least %d", v.AvailableAtLeast)
		}
		r := v.Restart
		fmt.Fprintf(&b, " start(%v) stop(%s %v %s) restart(%s %v..%v x%g ±%g reset %v) loop(%d in %v then %s)\n",
			v.StartTimeout, v.Stop.Signal, v.Stop.Timeout, v.Stop.Command,
			r.Policy, r.Delay, r.MaxDelay, r.Factor, r.Jitter, r.ResetAfter,
			v.CrashLoop.Failures, v.CrashLoop.Within, v.CrashLoop.Then)
	}
	for _, g := range s.Spec.Groups {
		fmt.Fprintf(&b, "  group %s %s %v\n", g.Name, g.Strategy, g.Members)
	}
	fmt.Fprintf(&b, "  faults in permille: %+v\n", s.Faults)
	for _, a := range s.Script {
		fmt.Fprintf(&b, "  at %v: %s\n", a.At, a.what())
	}
	return b.String()
}

func (a *Act) what() string {
	switch {
	case a.Command != nil:
		c := a.Command
		text := verbNames[c.Verb] + " " + c.Service
		if c.Instance >= 0 {
			text += fmt.Sprintf("/%d", c.Instance)
		}
		if c.Verb == policy.VerbScale {
			text += fmt.Sprintf(" to %d", c.Instances)
		}
		return text
	case a.Apply != nil:
		return fmt.Sprintf("apply %v", a.Apply.Edits)
	case a.Shutdown != nil:
		return fmt.Sprintf("shutdown, code %d", a.Shutdown.Code)
	case a.Death != nil:
		return fmt.Sprintf("the supervisor dies; the next one is there after %v (%d permille of the ends unknown)", a.Death.Down, a.Death.Unknown)
	case a.Inmate != nil:
		return fmt.Sprintf("a person asks for the oldest of %s in quarantine (resume: %v)", a.Inmate.Service, a.Inmate.Resume)
	case a.Attempt != nil:
		t := a.Attempt
		return fmt.Sprintf("an attempt of check %d of %s/%d ends (failed: %v, excuse: %q)", t.Check, t.Service, t.Instance, t.Failed, t.Excuse)
	case a.Judge != nil:
		j := a.Judge
		what := "is judged (" + string(j.On) + ")"
		if j.Withdraw {
			what = "is judged no more"
		}
		return fmt.Sprintf("%s/%d %s, cause %d", j.Service, j.Instance, what, j.Cause)
	case a.Clock != 0:
		return fmt.Sprintf("the clock is set by %v", a.Clock)
	case a.Crash != nil:
		return fmt.Sprintf("crash %s/%d", a.Crash.Service, a.Crash.Instance)
	}
	return fmt.Sprintf("time leaps by %v", a.Jump)
}

// Report says what a person needs to mend a broken invariant: the seed that
// shows it again, the smallest history that does, and that history's last
// lines.
func Report(s *Scenario, tries, lines int) string {
	small, res := Shrink(s, tries)
	if res.Failure == nil {
		return "no invariant is broken"
	}
	trace := strings.Split(strings.TrimSuffix(string(res.Trace), "\n"), "\n")
	cut := ""
	if n := len(trace) - lines; n > 0 {
		trace, cut = trace[n:], fmt.Sprintf("… %d lines before\n", n)
	}
	return fmt.Sprintf("%v\nagain with NINES_SIM_SEED=%d; shrunk to %d steps in %v:\n%s%s%s\n",
		res.Failure, s.Seed, res.Steps, res.Time.Round(time.Millisecond), small, cut, strings.Join(trace, "\n"))
}
