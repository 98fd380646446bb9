package sim

import (
	"time"

	"nines/supervisor/policy"
)

// Result is how a history went.
type Result struct {
	Steps   int // events that the machine was told
	Time    time.Duration
	Marks   Marks
	Trace   []byte   // if asked for
	Failure *Failure // nil: every invariant held
}

// Options are for the caller of Run.
type Options struct {
	Trace bool // keep the history as text
}

// Run lets a scenario happen and checks it. It is a pure function of the
// scenario.
func Run(s *Scenario, o Options) *Result {
	return run(s, o, policy.Config{Seed: s.Seed, SpawnPatience: spawnPatience})
}

func run(s *Scenario, o Options, cfg policy.Config) *Result {
	w := &world{
		sc:   s,
		m:    policy.New(cfg),
		cfg:  cfg,
		incs: map[policy.Ref]*incarnation{},
		journal: journal{
			intents: map[policy.Ref]bool{}, slots: map[string]string{}, floors: map[string]uint64{},
			stopped: map[string]bool{}, started: map[string]bool{}, scale: map[string]int{}, groups: map[string]int64{}, inmates: map[string]string{}, revs: map[string]string{},
		},
	}
	w.trace.on = o.Trace
	w.check = newChecker(w)
	w.run()
	return &Result{Steps: w.steps, Time: time.Duration(w.now), Marks: w.marks, Trace: w.trace.buf, Failure: w.check.failure}
}
