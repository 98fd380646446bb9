package supervisor

import (
	"context"
	"errors"
	"strings"
	"time"

	"nines/spec"
	"nines/spec/load"
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
	s      *Supervisor
	client *probe.Client
	ask    *schedule.Scheduler // http, tcp
	run    *schedule.Scheduler // exec
	look   *schedule.Scheduler // heartbeat
	psi    pressure
	beats  beats
	quit   chan struct{} // closed by close: the loop answers no more

	under map[policy.Slot]*checking // by the loop alone
}

// checking is what is attempted for one incarnation.
type checking struct {
	ref  policy.Ref
	jobs []placed
}

// placed is a job and whose it is.
type placed struct {
	at  *schedule.Scheduler
	job *schedule.Job
}

func newChecks(s *Supervisor) *checks {
	return &checks{
		s: s, client: probe.NewClient(),
		ask: schedule.New(askers), run: schedule.New(commanders), look: schedule.New(lookers),
		psi:   pressure{path: pressurePath},
		beats: beats{last: map[policy.Ref]time.Time{}, said: map[policy.Ref]bool{}},
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
	probe func(ctx context.Context) outcome // nil: not made yet
}

// outcome is how an attempt went.
type outcome struct {
	failed  bool
	excuse  policy.Excuse
	reason  string // one line
	output  string
	waited  time.Duration // before it could begin, by no fault of what is asked
	took    time.Duration // from then on to the verdict
	unheard bool          // it was given up: it says nothing
}

// begin begins the checks of an incarnation, in place of those that it had.
func (c *checks) begin(a *policy.Action) {
	c.end(a.Ref)
	in := c.s.current(a.Ref)
	if in == nil || in.reaped {
		return // its exit is on its way to the machine
	}
	svc, _ := c.s.machine.Slot(a.Ref.Slot)
	k := &checking{ref: a.Ref}
	if a.Ready {
		if svc.Ready == nil || svc.Ready.Check == nil {
			return
		}
		k.jobs = append(k.jobs, c.place(in, a, 0, svc.Ready.Check))
	} else {
		for i := range svc.Checks {
			k.jobs = append(k.jobs, c.place(in, a, i, &svc.Checks[i]))
		}
	}
	c.beats.begin(a.Ref)
	c.under[a.Ref.Slot] = k
	for _, p := range k.jobs {
		p.at.Add(p.job)
	}
}

// place makes the job of one check. A ready check begins at once: what waits for
// it is down meanwhile. Others are spread over their interval by name.
func (c *checks) place(in *incarnation, a *policy.Action, i int, block *spec.Check) placed {
	t := &attempt{c: c, in: in, ref: a.Ref, token: a.Token, index: i, block: block, ready: a.Ready}
	j := &schedule.Job{Interval: block.Timing.Interval, First: block.Timing.InitialDelay, Do: t.do}
	if !a.Ready {
		j.First += time.Duration(schedule.Phase(in.id+" "+block.Name) * float64(block.Timing.Interval))
	}
	at := c.ask
	switch {
	case block.Exec != nil:
		at = c.run
	case block.Heartbeat != nil:
		at = c.look
	}
	return placed{at: at, job: j}
}

// end ends the checks of an incarnation, if it has any.
func (c *checks) end(ref policy.Ref) {
	k := c.under[ref.Slot]
	if k == nil || k.ref != ref {
		return
	}
	delete(c.under, ref.Slot)
	c.beats.end(ref)
	for _, p := range k.jobs {
		p.at.Remove(p.job)
	}
}

// do makes one attempt, in a worker.
func (t *attempt) do(ctx context.Context, late time.Duration) {
	before := t.c.moment(t.in)
	if t.probe == nil {
		t.make()
	}
	o := t.probe(ctx)
	if o.unheard || ctx.Err() != nil {
		return
	}
	r := policy.CheckResult{Ref: t.ref, Token: t.token, Check: t.index, Failed: o.failed, Excuse: o.excuse, Reason: o.reason, Output: o.output}
	if o.failed && r.Excuse == policy.ExcuseNone {
		r.Excuse = t.c.excuse(t, before, late+o.waited, o.took)
	}
	t.c.s.box.put(func() { t.c.s.step(r) })
}

// make finds out what is to be asked: expressions are evaluated once for each
// incarnation, and not in the loop.
func (t *attempt) make() {
	b, sc := t.block, t.scope()
	switch {
	case b.HTTP != nil:
		rule, err := t.c.client.HTTPRule(b.HTTP)
		if err != nil {
			t.cannot(err)
			return
		}
		url, err := load.String(b.HTTP.URL, sc)
		socket := ""
		if err == nil && b.HTTP.Socket != "" {
			socket, err = load.String(b.HTTP.Socket, sc)
		}
		if err != nil {
			t.cannot(err)
			return
		}
		h, err := rule.At(url, socket)
		if err != nil {
			t.cannot(err)
			return
		}
		t.probe = t.asks(h.Probe)
	case b.TCP != nil:
		address, err := load.String(b.TCP.Address, sc)
		if err != nil {
			t.cannot(err)
			return
		}
		t.probe = t.asks(t.c.client.TCP(address).Probe)
	case b.Exec != nil:
		t.probe = t.exec
	case b.Heartbeat != nil:
		t.probe = t.heartbeat
	default:
		// A kind that is not in effect yet, as `nines check` says: it says nothing.
		t.probe = func(context.Context) outcome { return outcome{unheard: true} }
	}
}

// cannot has this attempt fail, since it cannot be made; the next tries again.
func (t *attempt) cannot(err error) {
	t.probe = func(context.Context) outcome {
		t.probe = nil
		return outcome{failed: true, excuse: policy.ExcuseUnable, reason: err.Error()}
	}
}

func (t *attempt) scope() *load.Scope {
	return t.c.s.spawner.resolve.scope(t.in.svc, t.in.index, t.in.ports)
}

// asks makes an attempt of a probe, with the check's timeout.
func (t *attempt) asks(ask func(context.Context) probe.Result) func(context.Context) outcome {
	return func(ctx context.Context) outcome {
		ctx, cancel := context.WithTimeout(ctx, t.block.Timing.Timeout)
		defer cancel()
		return told(ask(ctx))
	}
}

// told is what a probe's result means.
func told(r probe.Result) outcome {
	if r.Err == nil {
		return outcome{}
	}
	o := outcome{failed: true, reason: oneLine(r.Err.Error()), output: r.Output, took: r.Took}
	var e *probe.Error
	if errors.As(r.Err, &e) {
		switch e.Cause {
		case probe.Canceled:
			o.unheard = true
		case probe.Unable:
			o.excuse = policy.ExcuseUnable
		}
	}
	return o
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

// heartbeat fails when the last beat is older than timeout.
func (t *attempt) heartbeat(context.Context) outcome {
	age, heard := t.c.beats.age(t.ref)
	limit := t.block.Timing.Timeout
	switch {
	case !heard && age == 0:
		return outcome{unheard: true} // it has just ended
	case t.ready:
		if heard {
			return outcome{}
		}
		return outcome{failed: true, reason: "no WATCHDOG=1 yet"}
	case age <= limit:
		return outcome{}
	case heard:
		return outcome{failed: true, reason: "no WATCHDOG=1 for " + short(age.Round(time.Millisecond)) + ", every " + short(limit) + " at least is right"}
	}
	return outcome{failed: true, reason: "no WATCHDOG=1 within " + short(limit) + " of being ready"}
}

// Beat says that an incarnation gave a sign of life (WATCHDOG=1) at this moment.
// It may be called from any goroutine.
func (s *Supervisor) Beat(ref policy.Ref) { s.checks.beats.beat(ref) }

// inEffect says whether attempts of that kind are made.
func inEffect(c *spec.Check) bool {
	return c.Exec != nil || c.HTTP != nil || c.TCP != nil || c.Heartbeat != nil
}
