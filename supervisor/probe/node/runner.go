package node

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"sync"
	"time"

	"nines/spec"
	"nines/supervisor/probe"
)

// Config is what a Runner works with.
type Config struct {
	Client *probe.Client
	Eval   func(spec.Expr) (string, error) // of expressions, which may name the machine alone
	Tell   func(Change)                    // a check has failed, or passes again. It must not block
	Log    *slog.Logger
}

// Change is what is told of a check.
type Change struct {
	Name   string
	Failed bool   // false: it passes again
	Text   string // what the last attempt came to
}

// The states of a check.
const (
	Unknown = "unknown" // no attempt has told yet
	Passing = "passing"
	Failing = "failing"
)

// Status is what is known of a check.
type Status struct {
	Name, State string
	Output      string // of the last attempt
}

// Runner checks the machine. Its methods may be called from any goroutine.
type Runner struct {
	cfg  Config
	wake chan struct{}

	mu     sync.Mutex
	checks []*check
}

// check is one check. All but attempt and spec is under Runner.mu.
type check struct {
	spec    spec.NodeCheck
	attempt func(context.Context) probe.Result

	due      time.Time // zero: as soon as Run sees it, plus the initial delay
	running  bool
	failures int // in a row
	passes   int // in a row
	state    string
	output   string
	unable   bool // that was said
}

// New makes a Runner.
func New(cfg Config) *Runner {
	return &Runner{cfg: cfg, wake: make(chan struct{}, 1)}
}

// Set makes these the checks. One that is not changed goes on as it is.
func (r *Runner) Set(specs []spec.NodeCheck) {
	r.mu.Lock()
	old := make(map[string]*check, len(r.checks))
	for _, c := range r.checks {
		old[c.spec.Name] = c
	}
	r.checks = make([]*check, 0, len(specs))
	for _, s := range specs {
		c := old[s.Name]
		if c == nil || !reflect.DeepEqual(c.spec, s) {
			c = &check{spec: s, attempt: r.kind(&s), state: Unknown}
		}
		r.checks = append(r.checks, c)
	}
	r.mu.Unlock()
	r.poke()
}

// Status is what is known of all checks, in the order of the specification.
func (r *Runner) Status() []Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]Status, 0, len(r.checks))
	for _, c := range r.checks {
		list = append(list, Status{Name: c.spec.Name, State: c.state, Output: c.output})
	}
	return list
}

func (r *Runner) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Run makes the attempts until ctx ends.
func (r *Runner) Run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		next, some := r.start(ctx, time.Now())
		if some {
			timer.Reset(time.Until(next))
		} else {
			timer.Stop()
		}
		select {
		case <-timer.C:
		case <-r.wake:
		case <-ctx.Done():
		}
	}
}

// start begins the attempts that are due, and returns when there are more.
func (r *Runner) start(ctx context.Context, now time.Time) (next time.Time, some bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.checks {
		if c.due.IsZero() {
			c.due = now.Add(c.spec.Timing.InitialDelay)
		}
		if !c.running && !c.due.After(now) {
			// From now: what was missed is not made up for.
			c.due, c.running = now.Add(c.spec.Timing.Interval), true
			go r.once(ctx, c)
		}
		// One that runs still pokes us when it is done.
		if !c.running || c.due.After(now) {
			if !some || c.due.Before(next) {
				next, some = c.due, true
			}
		}
	}
	return next, some
}

// once makes an attempt and tells what follows.
func (r *Runner) once(ctx context.Context, c *check) {
	limited, cancel := context.WithTimeout(ctx, c.spec.Timing.Timeout)
	result := c.attempt(limited)
	cancel()
	r.mu.Lock()
	c.running = false
	var told *Change
	unable := ""
	if ctx.Err() == nil {
		told, unable = c.take(result)
	}
	r.mu.Unlock()
	if unable != "" {
		r.cfg.Log.Warn("a check of the machine cannot be made", "check", c.spec.Name, "err", unable)
	}
	if told != nil {
		r.cfg.Tell(*told)
	}
	r.poke()
}

// take counts what an attempt came to. unable is to be said, if it is not "".
func (c *check) take(result probe.Result) (told *Change, unable string) {
	c.output = result.Output
	needFailures, needPasses := c.spec.Timing.Failures, c.spec.Timing.Successes
	if c.spec.Clock != nil {
		needFailures, needPasses = 1, 1
	}
	var e *probe.Error
	if errors.As(result.Err, &e) && e.Cause == probe.Unable {
		c.output = e.Text
		if !c.unable {
			c.unable, unable = true, e.Text
		}
		return nil, unable
	}
	c.unable = false
	if result.Err != nil {
		c.output = result.Err.Error()
		c.failures, c.passes = c.failures+1, 0
		if c.state != Failing && c.failures >= needFailures {
			c.state = Failing
			return &Change{Name: c.spec.Name, Failed: true, Text: c.output}, ""
		}
		return nil, ""
	}
	c.failures, c.passes = 0, c.passes+1
	switch {
	case c.state == Unknown:
		c.state = Passing
	case c.state == Failing && c.passes >= needPasses:
		c.state = Passing
		return &Change{Name: c.spec.Name, Text: c.output}, ""
	}
	return nil, ""
}
