package sim

import (
	"time"

	"nines/spec"
	"nines/supervisor/policy"
)

// Attempt is how one attempt of a check of an instance goes.
type Attempt struct {
	Service  string
	Instance int
	Check    int // of those that the service has, around and around
	Failed   bool
	Excuse   policy.Excuse
}

// checkState is what the observer counts of one check of an incarnation.
type checkState struct {
	fails, passes int
	failing       bool
	excused       bool
	since         policy.Time // of the first failure that was excused since it passed
}

// makes says that attempts for inc began: of its ready check, or of all others.
func (k *checker) makes(a *policy.Action) {
	inc := k.target(a.Ref, "check")
	if inc == nil {
		return
	}
	if inc.told.ask != askNone || inc.told.over || inc.told.left || !inc.told.spawned {
		k.fail("stale", "%s is checked, and does not run", inc.name())
	}
	if a.Ready == inc.told.ready {
		k.fail("stale", "%s: ready is %t, and its ready check is asked for: %t", inc.name(), inc.told.ready, a.Ready)
	}
	inc.checking, inc.probing = a.Token, a.Ready
	inc.checks = make([]checkState, len(inc.svc.spec.Checks))
	if a.Ready {
		inc.checks = make([]checkState, 1)
	}
}

// watched checks that what is ready is checked, and nothing that is not.
func (k *checker) watched() {
	for _, s := range k.services {
		for _, sl := range s.slots {
			inc := sl.cur
			if inc == nil || inc.doomed {
				continue
			}
			t := &inc.told
			switch {
			case inc.checking != 0 && (t.ask != askNone || t.over || t.left):
				k.fail("13", "%s is still checked, and was told to end, or has", inc.name())
			case inc.checking == 0 && t.ready && t.ask == askNone && !t.over && !t.left && len(s.spec.Checks) > 0 && !k.ended:
				k.fail("13", "%s is ready, and is not checked", inc.name())
			}
		}
	}
}

// attempted counts what the machine is about to be told, by the words of the
// specification. fails and recovers say what must come of it.
func (k *checker) attempted(ev policy.CheckResult) (fails, recovers bool) {
	inc := k.names(ev.Ref)
	if inc == nil || inc.checking == 0 || ev.Token != inc.checking || ev.Check < 0 || ev.Check >= len(inc.checks) ||
		inc.told.ask != askNone || inc.told.over || inc.told.left {
		return false, false
	}
	k.w.marks[MarkAttempt]++
	c, block := &inc.checks[ev.Check], inc.check(ev.Check)
	switch {
	case !ev.Failed:
		c.fails, c.excused = 0, false
		c.passes++
		if c.passes < block.Timing.Successes {
			return false, false
		}
		if inc.probing {
			inc.told.saidReady = true
			return false, false
		}
		recovers = c.failing
		c.failing = false
		return false, recovers
	case inc.probing:
		c.passes = 0
		return false, false
	case ev.Excuse != policy.ExcuseNone:
		if !c.excused {
			c.excused, c.since = true, k.w.now
		}
		if k.w.now.Sub(c.since) < 3*time.Duration(block.Timing.Failures)*block.Timing.Interval {
			k.w.marks[MarkExcused]++
			return false, false
		}
	}
	c.passes = 0
	c.fails++
	if c.fails < block.Timing.Failures || c.failing {
		return false, false
	}
	c.failing = true
	k.w.marks[MarkCheckFailed]++
	if inc.wants() > rank(inc.judged) {
		inc.judged = 0 // it gives way, and is not asked for again
	}
	return true, false
}

// outcome checks that what an attempt amounted to was said, and nothing else.
func (k *checker) outcome(out *policy.Output, fails, recovers bool) {
	said, unsaid := 0, 0
	for i := range out.Notices {
		said += count(out.Notices[i].Kind == policy.KindCheckFailed)
		unsaid += count(out.Notices[i].Kind == policy.KindCheckPassed)
	}
	if said != count(fails) || unsaid != count(recovers) {
		k.fail("13", "a check has failed: %t, recovered: %t; the machine says so %d and %d times", fails, recovers, said, unsaid)
	}
}

// check is the block of a check that is under way.
func (inc *incarnation) check(i int) *spec.Check {
	if inc.probing {
		return inc.svc.spec.Ready.Check
	}
	return &inc.svc.spec.Checks[i]
}

// ill says whether a check fails by which it is not healthy.
func (inc *incarnation) ill() bool {
	for i := range inc.checks {
		if inc.checks[i].failing && inc.check(i).Outlier == nil {
			return true
		}
	}
	return false
}

// wants is the rank of what its checks ask to be done about it; 0: nothing.
func (inc *incarnation) wants() int {
	most := 0
	for i := range inc.checks {
		if b := inc.check(i); inc.checks[i].failing && b.OnFailure != spec.OnFailureAlert {
			most = max(most, rank(policy.CauseCheck)-count(b.Outlier != nil))
		}
	}
	return most
}

// attempt tells the machine how an attempt went.
func (w *world) attempt(a *Attempt) {
	inc := w.check.current(a.Service, a.Instance)
	if inc == nil || inc.checking == 0 || inc.probing || beats(inc.check(a.Check%len(inc.checks))) {
		return
	}
	w.deliver(policy.CheckResult{
		Ref: inc.ref, Token: inc.checking, Check: a.Check % len(inc.checks), Failed: a.Failed, Excuse: a.Excuse, Reason: "it does not answer",
	})
}

// probes answers a ready check: from the moment at which it would say that it is
// ready, all attempts pass.
func (w *world) probes(inc *incarnation) {
	if inc == nil || !inc.said || !inc.probing || inc.checking == 0 {
		return
	}
	for range inc.svc.spec.Ready.Check.Timing.Successes {
		w.answer(policy.CheckResult{Ref: inc.ref, Token: inc.checking}, false)
	}
}

func generateCheck(c *chance, name string) spec.Check {
	k := spec.Check{
		Name:      name,
		OnFailure: pick(c, spec.OnFailureRestart, spec.OnFailureRestart, spec.OnFailureIsolate, spec.OnFailureDump, spec.OnFailureAlert),
		Timing: spec.Timing{
			Interval: pick(c, 100*time.Millisecond, time.Second, 10*time.Second), Timeout: time.Second,
			Failures: pick(c, 1, 1, 2, 3), Successes: pick(c, 1, 1, 2),
		},
	}
	if b := key(c.state, hash("heartbeat")); name != "ready" && b.of(200) {
		k.Heartbeat = &spec.CheckHeartbeat{}
	}
	if c.of(150) && k.Heartbeat == nil {
		k.Outlier = &spec.CheckOutlier{Of: "memory"}
	}
	return k
}

// generateAttempts makes a row of attempts that go alike; at times those of all
// instances of a service.
func generateAttempts(c *chance, sp *spec.Spec, at time.Duration) []Act {
	svc := sp.Services[c.below(len(sp.Services))]
	a := Attempt{Service: svc.Name, Instance: c.below(max(svc.Instances, 1)), Check: c.below(3), Failed: !c.of(300)}
	if a.Failed && c.of(300) {
		a.Excuse = pick(c, policy.ExcuseOverloaded, policy.ExcuseLate, policy.ExcuseSuspended)
	}
	all, step := c.of(300), c.spread(time.Millisecond, 5*time.Second)
	var acts []Act
	rows := 1 + c.below(6)
	passing := 0
	if all && c.of(500) { // what failed passes again while most still wait for their turn
		rows, passing, step = 5, 2, c.spread(time.Microsecond, time.Millisecond)
	}
	for row := range rows {
		if rows-row <= passing {
			a.Failed, a.Excuse = false, policy.ExcuseNone
		}
		for i := range max(svc.Instances, 1) {
			next := a
			if all {
				next.Instance = i
			} else if i > 0 {
				break
			}
			acts = append(acts, Act{At: at, Attempt: &next})
		}
		at += step
	}
	return acts
}
