package sim

import (
	"time"

	"nines/spec"
	"nines/supervisor/policy"
)

// Scenario is a whole history to be: what is to run, how badly the world
// behaves, and what people and fate do to it. It is a plain value: the same
// Scenario gives the same history, and a smaller one is made by leaving things
// out (see Shrink).
type Scenario struct {
	Seed   uint64 // of the machine's generator, and of all chance in the world
	Spec   *spec.Spec
	Faults Faults
	Script []Act         // in order of At
	Calm   time.Duration // from then on there are no faults, and everything must converge
	// Steps bounds the events of the faulty part: past it calm comes early.
	Steps int
}

// Faults says how often things go wrong, in permille of the cases.
type Faults struct {
	SpawnFails  int // no process: the service's fault (ENOENT, EACCES) …
	SpawnAgain  int // … or the machine's, and passing (EAGAIN, ENOMEM)
	SpawnHangs  int // the spawn takes up to a minute
	Crash       int // the main process ends by itself, soon …
	Fatal       int // … and those ends that carry a fatal code
	Leftovers   int // something outlives the main process
	NeverReady  int // no readiness comes
	Deaf        int // the stop signal is ignored
	SlowKill    int // a kill takes long …
	Stuck       int // … or longer than KillPatience
	HookFails   int // a stop or reload command fails …
	HookHangs   int // … or runs until its timeout
	Lost        int // an answer that a deadline bounds never comes
	FreezeFails int // a freeze is refused
	Slow        int // an answer, a record or a tick comes late
	Words       int // an instance says something of itself, or its heartbeat stops
	Replays     int // most times that an answer comes again, 0 to 3 and at random below that
}

// Act is something that happens to the world at a moment. Exactly one of
// Command, Apply, Shutdown, Crash, Death, Judge, Attempt, Inmate, Clock and Jump is set.
type Act struct {
	At       time.Duration
	Command  *policy.Command // Request is given by the world
	Apply    *Apply
	Shutdown *policy.Shutdown
	Crash    *Crash
	Death    *Death
	Judge    *Judge
	Attempt  *Attempt
	Inmate   *InmateAct
	Clock    time.Duration // the wall clock is set by so much
	Jump     time.Duration // the driver does not come to run for so long
}

// Crash ends the main process of an instance from outside.
type Crash struct {
	Service  string
	Instance int
	Status   policy.Status
}

// Death ends the supervisor.
type Death struct {
	Down    time.Duration // until the next one is there
	Unknown int           // permille of the ends meanwhile of which nobody knows how
}

// Limits bounds what Generate makes. The zero value is the default.
type Limits struct {
	Services int // most services of a spec; 0: 30
	Steps    int // most events of the faulty part; 0: 1500
}

// Generate makes the scenario of a seed.
func Generate(seed uint64, l Limits) *Scenario {
	if l.Services == 0 {
		l.Services = 30
	}
	if l.Steps == 0 {
		l.Steps = 1500
	}
	c := key(seed, hash("scenario"))
	s := &Scenario{Seed: seed, Steps: l.Steps}
	s.Faults = generateFaults(&c)
	s.Faults.Words = generateWords(seed)
	s.Spec = generateSpec(&c, l.Services)
	s.Calm = c.spread(2*time.Second, 5*time.Minute)
	s.Script = generateScript(&c, s)
	return s
}

func generateFaults(c *chance) Faults {
	// One in eight worlds has no faults: what fails there, fails without help.
	if c.of(125) {
		return Faults{}
	}
	often := func(p int) int { // each kind of fault is absent in half of the worlds
		if c.of(500) {
			return 0
		}
		return 1 + c.below(p)
	}
	return Faults{
		SpawnFails: often(200), SpawnAgain: often(200), SpawnHangs: often(100),
		Crash: often(900), Fatal: often(100), Leftovers: often(600),
		NeverReady: often(300), Deaf: often(500), SlowKill: often(500), Stuck: often(100),
		FreezeFails: often(300),
		HookFails:   often(500), HookHangs: often(300),
		Lost: often(100), Slow: often(300), Replays: 3,
	}
}

// generateWords says how much instances say of themselves.
func generateWords(seed uint64) int {
	c := key(seed, hash("words"))
	if c.of(300) {
		return 0
	}
	return 1 + c.below(1000)
}

// generateScript makes what people and fate do until calm, and the shutdown
// that ends every history: in the middle of it or after it.
func generateScript(c *chance, s *Scenario) []Act {
	n := c.below(40)
	var acts []Act
	for range n {
		at := c.between(0, s.Calm)
		switch {
		case c.of(60):
			acts = append(acts, Act{At: at, Jump: c.spread(time.Second, 10*time.Minute)})
		case c.of(30):
			acts = append(acts, Act{At: at, Clock: pick(c, time.Second, time.Minute, time.Hour, 26*time.Hour) * time.Duration(pick(c, 1, -1))})
		case c.of(250):
			for range 1 + c.below(4) { // most instances fail a check at once
				acts = append(acts, Act{At: at, Judge: generateJudge(c, s.Spec)})
				at += c.spread(time.Millisecond, 10*time.Second)
			}
		case c.of(350):
			acts = append(acts, generateAttempts(c, s.Spec, at)...)
		case c.of(80):
			acts = append(acts, Act{At: at, Inmate: &InmateAct{Service: s.Spec.Services[c.below(len(s.Spec.Services))].Name, Resume: c.of(500)}})
		case c.of(250):
			acts = append(acts, Act{At: at, Crash: generateCrash(c, s.Spec)})
		default:
			// In bursts: commands that overlap are where order is decided.
			cmd := generateCommand(c, s.Spec)
			for range 1 + c.below(3) {
				next := cmd // each act has its own
				acts = append(acts, Act{At: at, Command: &next})
				at += c.spread(time.Millisecond, 10*time.Second)
				switch {
				case c.of(500):
					cmd = generateCommand(c, s.Spec)
				case cmd.Verb == policy.VerbStop:
					cmd.Verb = policy.VerbStart // he has thought better of it
				case cmd.Verb == policy.VerbStart:
					cmd.Verb = policy.VerbStop
				}
			}
		}
	}
	if c.of(250) { // amid the faults; also twice
		at := c.between(0, s.Calm)
		for range 1 + c.below(2) {
			acts = append(acts, Act{At: at, Shutdown: &policy.Shutdown{Code: c.below(256), Cause: "nines shutdown"}})
			at += c.spread(time.Millisecond, 10*time.Second)
		}
	}
	if c.of(500) {
		for range 1 + c.below(5) {
			acts = append(acts, Act{At: c.between(0, s.Calm), Death: generateDeath(c)})
		}
	}
	if c.of(500) {
		at := c.between(0, s.Calm)
		for range 1 + c.below(5) {
			a := generateApply(c, s.Spec)
			acts = append(acts, Act{At: at, Apply: a})
			if e := a.Edits[0]; e.Kind == EditRemove && c.of(500) { // somebody thinks better of it
				e.Kind = EditAdd
				at += c.spread(time.Millisecond, 10*time.Second)
				acts = append(acts, Act{At: at, Apply: &Apply{Edits: []Edit{e}}})
			}
			switch { // in bursts, at times with a death in the middle
			case c.of(300):
				at += c.spread(time.Microsecond, 10*time.Millisecond)
				acts = append(acts, Act{At: at, Death: generateDeath(c)})
			case c.of(500):
				at += c.spread(time.Millisecond, 10*time.Second)
			default:
				at = c.between(0, s.Calm)
			}
		}
	}
	sortActs(acts)
	return acts
}

func generateDeath(c *chance) *Death {
	d := &Death{Down: c.spread(time.Millisecond, time.Minute)}
	if c.of(500) {
		d.Unknown = 1 + c.below(1000)
	}
	return d
}

func generateCrash(c *chance, sp *spec.Spec) *Crash {
	svc := sp.Services[c.below(len(sp.Services))]
	st := policy.Status{Signal: pick(c, "SIGKILL", "SIGSEGV", "SIGTERM")}
	if c.of(300) {
		st = policy.Status{Signal: "SIGKILL", OOM: true}
	}
	return &Crash{Service: svc.Name, Instance: c.below(max(svc.Instances, 1)), Status: st}
}

func generateJudge(c *chance, sp *spec.Spec) *Judge {
	svc := sp.Services[c.below(len(sp.Services))]
	return &Judge{
		Service: svc.Name, Instance: c.below(max(svc.Instances, 1)), Withdraw: c.of(150),
		Cause: pick(c, policy.CauseCheck, policy.CauseCheck, policy.CauseOutlier, policy.CauseMemory, policy.CauseLeak),
		On:    pick(c, spec.OnFailureRestart, spec.OnFailureRestart, spec.OnFailureRestart, spec.OnFailureDump, spec.OnFailureAlert, spec.OnFailureIsolate, spec.OnFailureIsolate, spec.OnFailureIsolate),
	}
}

func generateCommand(c *chance, sp *spec.Spec) policy.Command {
	svc := sp.Services[c.below(len(sp.Services))]
	cmd := policy.Command{Service: svc.Name, Instance: -1, By: "root (uid 0)"}
	cmd.Verb = pick(c, policy.VerbStart, policy.VerbStart, policy.VerbStart, policy.VerbStop, policy.VerbStop, policy.VerbStop,
		policy.VerbRestart, policy.VerbRestart, policy.VerbReload, policy.VerbScale, policy.VerbSignal)
	switch cmd.Verb {
	case policy.VerbScale:
		cmd.Instances = c.below(6)
	case policy.VerbSignal:
		cmd.Signal = pick(c, "SIGUSR1", "SIGHUP")
		fallthrough
	default:
		if c.of(200) {
			cmd.Instance = c.below(svc.Instances + 1)
		}
	}
	if c.of(20) { // somebody mistypes
		cmd.Service += "x"
	}
	return cmd
}

// sortActs orders by time and keeps the order of equals.
func sortActs(acts []Act) {
	for i := 1; i < len(acts); i++ {
		for j := i; j > 0 && acts[j].At < acts[j-1].At; j-- {
			acts[j], acts[j-1] = acts[j-1], acts[j]
		}
	}
}
