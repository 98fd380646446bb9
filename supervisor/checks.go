package supervisor

import (
	"context"
	"strings"
	"time"

	"nines/spec"
	"nines/supervisor/policy"
	"nines/supervisor/probe"
	"nines/supervisor/schedule"
)

// How many attempts are under way at a time. What asks over a network and what
// starts a process have workers of their own, so that neither waits for the
// other; what only looks at what is known already never hangs.
const (
	askers     = 128
	commanders = 32
	lookers    = 4
)

// checks makes the attempts that policy asks for. The loop calls begin and end;
// attempts run in the workers of the schedulers, and tell the loop how they went.
type checks struct {
	s        *Supervisor
	client   *probe.Client
	ask      *pool // http, tcp, grpc, metrics
	run      *pool // exec
	look     *pool // all others
	psi      pressure
	meter    *meter
	siblings *siblings
	beat     func(policy.Ref, string) (last policy.Time, within time.Duration) // the last sign of life
	now      func() policy.Time
	quit     chan struct{} // closed by close: the loop answers no more

	under map[policy.Slot]*checking // by the loop alone
}

// checking is what is attempted for one incarnation.
type checking struct {
	ref  policy.Ref
	jobs []placed
}

// placed is a job and whose it is.
type placed struct {
	at  *pool
	job *schedule.Job
}

// pool is a scheduler and its workers.
type pool = schedule.Scheduler

func newChecks(s *Supervisor) *checks {
	return &checks{
		s: s, client: probe.NewClient(),
		ask: schedule.New(askers), run: schedule.New(commanders), look: schedule.New(lookers),
		psi: pressure{path: pressurePath}, meter: newMeter(), siblings: newSiblings(),
		beat: s.Beat, now: s.clock.now,
		quit:  make(chan struct{}),
		under: map[policy.Slot]*checking{},
	}
}

func (c *checks) start() {
	go c.ask.Run()
	go c.run.Run()
	go c.look.Run()
}

// closePatience is how long the end waits for attempts that are given up.
const closePatience = 2 * time.Second

// close ends all attempts, when the loop turns no more. What does not end in time
// outlives it; the keeper, or the next supervisor, ends that.
func (c *checks) close() {
	close(c.quit)
	done := make(chan struct{})
	go func() {
		c.ask.Close()
		c.look.Close()
		c.run.Close()
		close(done)
	}()
	late := time.NewTimer(closePatience)
	defer late.Stop()
	select {
	case <-done:
	case <-late.C:
	}
}

// attempt is one check of one incarnation: what is known of it from one attempt
// to the next. One worker at a time uses it.
type attempt struct {
	c     *checks
	in    *incarnation
	ref   policy.Ref
	token uint64
	index int
	block *spec.Check
	ready bool                              // it is its service's ready block
	since policy.Time                       // when its checks began
	probe func(ctx context.Context) outcome // nil: not made yet
	late  *execRun                          // its run that is to be ended once the outcome is told; nil: none
	last  *execRun                          // its last run, while what lives of it is being ended; nil: none
}

// outcome is how an attempt went.
type outcome struct {
	failed   bool
	excuse   policy.Excuse
	reason   string // one line
	output   string
	waited   time.Duration // before it could begin, by no fault of what is asked
	took     time.Duration // from then on to the verdict
	unheard  bool          // it was given up: it says nothing
	measured bool          // it does not rest on an answer
}

// begin begins the checks of an incarnation, in place of those that it had.
func (c *checks) begin(a *policy.Action) {
	c.end(a.Ref)
	in := c.s.current(a.Ref)
	if in == nil || in.reaped {
		return // its exit is on its way to the machine
	}
	in.measure()
	svc, _ := c.s.machine.Slot(a.Ref.Slot)
	k := &checking{ref: a.Ref}
	if a.Ready {
		switch r := svc.Ready; {
		case r == nil || r.Check == nil || r.Check.Heartbeat != nil:
			return // its first sign of life says that it is ready, without an attempt
		case r.Check.Log != nil:
			// So does the line. It may have come before this was asked for.
			c.s.box.put(func() {
				if c.s.current(in.ref) == in {
					c.s.readyByLine(in)
				}
			})
			return
		}
		k.jobs = append(k.jobs, c.place(in, a, 0, svc.Ready.Check))
	} else {
		for i := range svc.Checks {
			k.jobs = append(k.jobs, c.place(in, a, i, &svc.Checks[i]))
		}
	}
	c.under[a.Ref.Slot] = k
	for _, p := range k.jobs {
		p.at.Add(p.job)
	}
}

// place makes the job of one check. A ready check begins at once: what waits for
// it is down meanwhile. Others are spread over their interval by name.
func (c *checks) place(in *incarnation, a *policy.Action, i int, block *spec.Check) placed {
	t := &attempt{c: c, in: in, ref: a.Ref, token: a.Token, index: i, block: block, ready: a.Ready, since: c.now()}
	j := &schedule.Job{Interval: block.Timing.Interval, First: block.Timing.InitialDelay, Do: t.do}
	if !a.Ready {
		j.First += time.Duration(schedule.Phase(in.id+" "+block.Name) * float64(block.Timing.Interval))
	}
	return placed{at: c.worker(block), job: j}
}

// end ends the checks of an incarnation, if it has any.
func (c *checks) end(ref policy.Ref) {
	k := c.under[ref.Slot]
	if k == nil || k.ref != ref {
		return
	}
	delete(c.under, ref.Slot)
	c.siblings.forget(ref)
	for _, p := range k.jobs {
		p.at.Remove(p.job)
	}
}

// do makes one attempt, in a worker.
func (t *attempt) do(ctx context.Context, late time.Duration) {
	before := t.c.moment(t.in)
	var o outcome
	if t.probe == nil {
		if err := t.make(); err != nil { // the next attempt tries again
			o = outcome{failed: true, excuse: policy.ExcuseUnable, reason: oneLine(err.Error())}
		}
	}
	if t.probe != nil {
		o = t.probe(ctx)
	}
	if r := t.late; r != nil {
		t.late = nil
		defer t.endExec(r) // whether it fails is not to wait for that
	}
	if o.unheard || ctx.Err() != nil {
		return
	}
	r := policy.CheckResult{Ref: t.ref, Token: t.token, Check: t.index, Failed: o.failed, Excuse: o.excuse, Reason: o.reason, Output: o.output}
	switch {
	case !o.failed || r.Excuse != policy.ExcuseNone:
	case t.in.halted.Load():
		r.Excuse = policy.ExcuseStopped
	case !o.measured: // what was measured is so, whatever the machine is at
		r.Excuse = t.c.excuse(t, before, late+o.waited, o.took)
	}
	t.c.s.box.put(func() { t.c.s.step(r) })
}

// maxReason bounds the line that events carry.
const maxReason = 300

// oneLine is as much of s as an event carries.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > maxReason {
		s = strings.ToValidUTF8(s[:maxReason], "") + "…"
	}
	return s
}

// heartbeat fails when there was no sign of life for as long as timeout says, or
// for what the instance itself has asked that to be (WATCHDOG_USEC). Where there
// was none yet it has as long from since.
func (t *attempt) heartbeat(since policy.Time) func(context.Context) outcome {
	return func(context.Context) outcome {
		last, limit := t.c.beat(t.ref, t.in.name)
		if limit == 0 {
			limit = t.block.Timing.Timeout
		}
		switch age := t.c.now().Sub(max(last, since)); {
		case age <= limit:
			return outcome{}
		case last == 0:
			return outcome{failed: true, reason: "no WATCHDOG=1 within " + short(limit) + " of being ready"}
		default:
			return outcome{failed: true, reason: "no WATCHDOG=1 for " + short(age.Round(time.Millisecond)) + "; one each " + short(limit) + " at least is right"}
		}
	}
}
