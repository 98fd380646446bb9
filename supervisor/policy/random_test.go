package policy

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"nines/spec"
)

// chaos drives a machine with random events on a random spec: right answers,
// late and doubled ones, wrong incarnations, and answers that never come. After
// each step checkInvariants counts everything afresh. Package sim does this at
// length and from outside; this looks inside.
type chaos struct {
	*env
	rng       *rand.Rand
	inflight  []Event // answers owed
	old       []Event // answers given: they come again
	spawns    map[string]bool
	delays    map[Slot]time.Duration
	waiting   map[Request]bool
	removed   []string // by the last apply, of request removedBy
	removedBy Request
	ended     bool
	good      bool // from now on the driver answers everything, and services behave
}

func randomSpec(r *rand.Rand) *spec.Spec {
	sp := &spec.Spec{Supervisor: spec.Supervisor{ShutdownTimeout: 20 * time.Second}}
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	for i := range 1 + r.IntN(8) {
		v := newService(fmt.Sprintf("s%d", i))
		v.Instances = r.IntN(4)
		v.Enabled = r.IntN(8) != 0
		if r.IntN(4) == 0 {
			v.Type, v.Restart.Policy, v.Instances = spec.TypeTask, spec.RestartOnFailure, 1
		}
		v.Essential = r.IntN(20) == 0
		for j := range i {
			switch r.IntN(6) {
			case 0:
				v.Needs = append(v.Needs, fmt.Sprintf("s%d", j))
			case 1:
				v.After = append(v.After, fmt.Sprintf("s%d", j))
			}
		}
		if r.IntN(3) == 0 {
			v.Restart.Policy = spec.RestartPolicy(pick("always", "on-failure", "never"))
		}
		v.Restart.Jitter = 0.1
		v.Restart.Delay = time.Duration(r.IntN(3)) * 100 * time.Millisecond
		v.Restart.ResetAfter = time.Duration(r.IntN(3)) * 10 * time.Second
		v.CrashLoop.Then = spec.CrashLoopThen(pick("hold", "rollback", "stop", "hold", "shutdown"))
		v.CrashLoop.Failures = 1 + r.IntN(5)
		v.Stop.Timeout = time.Duration(r.IntN(4)) * time.Second
		switch r.IntN(4) {
		case 0:
			v.Ready = &spec.Ready{Notify: "systemd"}
		case 1:
			v.Ready = &spec.Ready{Delay: time.Second}
		case 2:
			k := randomCheck(r, "ready")
			v.Ready = &spec.Ready{Check: &k}
		}
		for i := range r.IntN(4) {
			v.Checks = append(v.Checks, randomCheck(r, fmt.Sprintf("c%d", i)))
		}
		if r.IntN(3) == 0 {
			v.Stop.Command = "x"
		}
		if r.IntN(2) == 0 {
			v.Isolate = &spec.Isolate{Keep: 1 + r.IntN(3), TTL: time.Duration(1+r.IntN(100)) * time.Second, MemoryMaxTotal: spec.Size{Bytes: 100}}
		}
		switch r.IntN(3) {
		case 0:
			v.Reload = &spec.Reload{Signal: "SIGHUP"}
		case 1:
			v.Reload = &spec.Reload{Command: "x"}
		}
		v.Data = randomData(r)
		v.Update.Deadline = time.Minute // there always is one
		if r.IntN(3) > 0 {
			v.Update = spec.Update{
				Order: pick("auto", "start-first", "stop-first"), MaxParallel: 1 + r.IntN(2), Canary: r.IntN(3), AutoRevert: r.IntN(4) > 0,
				MinHealthy: time.Duration(r.IntN(3)) * time.Second, Deadline: time.Duration(1+r.IntN(3)) * 20 * time.Second, Probation: time.Duration(r.IntN(3)) * 30 * time.Second,
			}
		}
		if v.Type == spec.TypeService {
			switch r.IntN(5) {
			case 0:
				v.Recycle = &spec.Recycle{MaxAge: time.Duration(1+r.IntN(60)) * time.Second, Jitter: 0.5}
			case 1:
				v.Recycle = &spec.Recycle{Schedule: "* * * * *"}
			case 2:
				v.AvailableAtLeast, v.AvailableSet = r.IntN(v.Instances+1), true
			}
		}
		sp.Services = append(sp.Services, v)
	}
	sp.Groups = randomGroups(r, sp.Services)
	return sp
}

// randomData is a data block, or none.
func randomData(r *rand.Rand) *spec.Data {
	if r.IntN(4) > 0 {
		return nil
	}
	d := &spec.Data{Paths: []string{"/d"}, Restore: r.IntN(3) > 0}
	if r.IntN(3) == 0 {
		d.OnRevert = []string{"undo"}
	}
	return d
}

// moved answers what was asked for with data. A restore is always answered.
func (c *chaos) moved(a Action) DataDone {
	done := DataDone{Service: a.Service, Token: a.Token, OK: c.good || c.rng.IntN(3) > 0, Cause: "no space left on device"}
	if done.OK && a.Kind == ActSnapshot {
		done.Snapshot = fmt.Sprintf("%s-%d", a.Service, a.Token)
	}
	done.Begun = !done.OK && a.Kind == ActRestore && c.rng.IntN(2) == 0
	return done
}

func randomCheck(r *rand.Rand, name string) spec.Check {
	k := spec.Check{Name: name, OnFailure: [...]spec.OnFailure{spec.OnFailureRestart, spec.OnFailureAlert, spec.OnFailureDump, spec.OnFailureIsolate}[r.IntN(4)]}
	k.Timing = spec.Timing{Interval: time.Second, Failures: 1 + r.IntN(3), Successes: 1 + r.IntN(2)}
	if r.IntN(4) == 0 {
		k.Outlier = &spec.CheckOutlier{Of: "cpu"}
	}
	return k
}

// attempt is a random result of a check of a random instance.
func (c *chaos) attempt() CheckResult {
	s := c.m.slots[c.rng.IntN(len(c.m.slots))]
	e := CheckResult{Ref: s.ref, Token: s.checking, Check: c.rng.IntN(4), Failed: c.rng.IntN(3) > 0, Reason: "refused"}
	switch c.rng.IntN(6) {
	case 0:
		e.Excuse = Excuse(c.rng.IntN(int(numExcuses)))
	case 1:
		e.Token += uint64(c.rng.IntN(2)) << 32
	}
	return e
}

func newChaos(t testing.TB, seed uint64) *chaos {
	c := &chaos{
		env: newEnv(t), rng: rand.New(rand.NewPCG(seed, 1)),
		spawns: map[string]bool{}, delays: map[Slot]time.Duration{}, waiting: map[Request]bool{},
	}
	c.m = New(Config{Seed: seed})
	return c
}

func (c *chaos) feed(ev Event) {
	switch ev.(type) {
	case SpecChanged, Deploy: // they hold pointers, which differ from run to run
		c.printf("%T\n", ev)
	default:
		c.printf("%T %+v\n", ev, ev)
	}
	o := c.m.Step(c.now, ev)
	c.printf("%s", c.format(o)) // before what is wrong with it is found
	checkInvariants(c.t, c.m)
	c.checkApply(o)
	c.kept.take(c.t, c.m, o)
	if c.ended && len(o.Now)+len(o.Then)+len(o.Records) > 0 {
		switch ev.(type) {
		case Command, Shutdown, SpecChanged, Inmate, Deploy: // answered, and that is all
		default:
			c.t.Fatalf("output after the end: %s", c.format(o))
		}
	}
	for _, list := range [][]Action{o.Now, o.Then} {
		for _, a := range list {
			c.carryOut(a)
		}
	}
	if len(c.old) < 1000 {
		c.old = append(c.old, ev)
	} else {
		c.old[c.rng.IntN(1000)] = ev
	}
}

func (c *chaos) carryOut(a Action) {
	if c.good {
		c.behave(a)
		return
	}
	lose := c.rng.IntN(50) == 0
	owe := func(e Event) {
		if !lose {
			c.inflight = append(c.inflight, e)
		}
	}
	switch a.Kind {
	case ActSpawn:
		if name := c.name(a.Ref); c.spawns[name] {
			c.t.Fatalf("spawned twice: %s", name)
		} else {
			c.spawns[name] = true
		}
		switch c.rng.IntN(10) {
		case 0:
			owe(SpawnFailed{Ref: a.Ref, Code: 127, Cause: "cannot exec"})
		case 1:
			owe(SpawnFailed{Ref: a.Ref, Again: true, Cause: "EAGAIN"})
		default:
			owe(Spawned{Ref: a.Ref, PID: 1})
			if c.rng.IntN(2) == 0 {
				owe(Ready{Ref: a.Ref})
			}
			for c.rng.IntN(3) == 0 {
				owe(c.word(a.Ref))
			}
			if c.rng.IntN(3) == 0 {
				owe(Exited{Ref: a.Ref, Status: Status{Code: c.rng.IntN(2)}, Empty: c.rng.IntN(2) == 0})
			}
		}
	case ActSignal:
		if c.rng.IntN(3) > 0 {
			owe(Exited{Ref: a.Ref, Status: Status{Signal: a.Signal}, Empty: c.rng.IntN(2) == 0})
		}
	case ActKill:
		if c.rng.IntN(2) > 0 {
			owe(Exited{Ref: a.Ref, Status: Status{Signal: "SIGKILL"}, Empty: c.rng.IntN(2) == 0})
		}
		owe(Emptied{Ref: a.Ref})
	case ActFreeze:
		if c.rng.IntN(3) > 0 {
			owe(Frozen{Ref: a.Ref, Memory: c.rng.Uint64N(60)})
		} else {
			owe(FreezeFailed{Ref: a.Ref, Cause: "the kernel says no"})
		}
	case ActThaw:
		owe(Thawed{Ref: a.Ref, Cause: [...]string{"", "no"}[c.rng.IntN(2)]})
	case ActHook:
		owe(HookDone{Token: a.Token, OK: c.rng.IntN(2) == 0, Cause: "exited with code 1"})
	case ActSnapshot:
		owe(c.moved(a))
	case ActRestore:
		c.inflight = append(c.inflight, c.moved(a))
	default:
		c.reply(a)
	}
}

// word is something that an incarnation may say of itself.
func (c *chaos) word(ref Ref) Event {
	switch c.rng.IntN(5) {
	case 0:
		return Leaving{Ref: ref}
	case 1:
		return MoreTime{Ref: ref, By: time.Duration(c.rng.IntN(30)) * time.Second}
	case 2:
		return MainChanged{Ref: ref, PID: 2, Start: 2}
	case 3:
		return Ready{Ref: ref}
	}
	return Reloading{Ref: ref, At: c.now.Add(-time.Duration(c.rng.IntN(2)) * time.Second)}
}

// reply checks an answer to a request, and the end.
func (c *chaos) reply(a Action) {
	switch a.Kind {
	case ActCheck, ActCheckEnd:
	case ActAccepted:
		c.waiting[a.Request] = true
	case ActDone:
		if !c.waiting[a.Request] {
			c.t.Fatalf("done twice, or never accepted: %d", a.Request)
		}
		delete(c.waiting, a.Request)
	case ActRefused:
		if c.waiting[a.Request] {
			c.t.Fatalf("refused after it was accepted: %d", a.Request)
		}
	case ActEnd:
		c.ended = true
		if len(c.waiting) > 0 {
			c.t.Fatalf("ended while requests wait: %v", c.waiting)
		}
	default:
		c.t.Fatalf("unexpected: %s", c.formatAction(a))
	}
}

// behave answers an action as a healthy world does.
func (c *chaos) behave(a Action) {
	switch a.Kind {
	case ActSpawn:
		c.inflight = append(c.inflight, Spawned{Ref: a.Ref, PID: 1})
		if v, _ := c.m.Slot(a.Ref.Slot); v.Type == spec.TypeTask {
			c.inflight = append(c.inflight, Exited{Ref: a.Ref, Empty: true, Status: Status{Code: v.Restart.SuccessCodes[0]}})
		} else {
			c.inflight = append(c.inflight, Ready{Ref: a.Ref})
		}
	case ActSignal:
		if a.Cont {
			c.inflight = append(c.inflight, Exited{Ref: a.Ref, Status: Status{Signal: a.Signal}, Empty: true})
		}
	case ActKill:
		c.inflight = append(c.inflight, Exited{Ref: a.Ref, Status: Status{Signal: "SIGKILL"}}, Emptied{Ref: a.Ref})
	case ActFreeze:
		c.inflight = append(c.inflight, Frozen{Ref: a.Ref, Memory: 1})
	case ActThaw:
		c.inflight = append(c.inflight, Thawed{Ref: a.Ref})
	case ActHook:
		c.inflight = append(c.inflight, HookDone{Token: a.Token, OK: true})
	case ActSnapshot, ActRestore:
		c.inflight = append(c.inflight, c.moved(a))
	default:
		c.reply(a)
	}
}

// heal: the faults stop. Then every request is answered, and everything that is
// wanted and not blocked by something that is not comes up.
func (c *chaos) heal() {
	c.good, c.inflight = true, nil
	for _, s := range c.m.slots { // answers that were lost
		if s.phase == phaseSpawning || s.phase.lives() && !s.answered {
			c.feed(Spawned{Ref: s.ref, PID: 1})
		}
		if v := s.svc; s.phase == phaseReady && v.spec.Type == spec.TypeTask {
			c.feed(Exited{Ref: s.ref, Empty: true, Status: Status{Code: v.spec.Restart.SuccessCodes[0]}})
		}
	}
	for _, v := range c.m.services {
		if d := &v.data; d.token != 0 && d.restoring != 0 {
			c.feed(DataDone{Service: v.spec.Name, Token: d.token, OK: true})
		}
	}
	for limit := c.now.Add(time.Hour); ; {
		for len(c.inflight) > 0 {
			ev := c.inflight[0]
			c.inflight = c.inflight[1:]
			c.feed(ev)
		}
		at, ok := c.m.Deadline()
		if !ok || at > limit {
			break
		}
		c.now = max(c.now, at)
		c.feed(Tick{})
	}
	if len(c.waiting) > 0 {
		c.t.Fatalf("not answered in an hour: %v\n%s\n%+v", c.waiting, c.snapshot(), func() (l []operation) {
			for _, o := range c.m.operations {
				l = append(l, *o)
			}
			return
		}())
	}
	if c.ended || c.m.down.on {
		return
	}
	for _, v := range c.m.services {
		if v.needDown > 0 || v.leaving || v.groupDead || v.data.failed != "" {
			continue
		}
		for _, s := range v.slots[:v.instances] {
			up := s.phase == phaseReady || s.phase == phaseCompleted || s.phase == phaseFailed
			if m := c.m; m.desired(s) == wantRun && s.phase == phaseReady && s.revision != v.revision && v.standing[standsUp] == v.instances && v.healthy > v.atLeast() && v.roll.state == rollNone {
				c.t.Fatalf("%s is not of revision %d an hour after the faults stopped\n%s\n%+v", s.name, v.revision, c.snapshot(), v)
			}
			if m := c.m; m.desired(s) == wantRun && !up && s.mayRun() { // a canary that was given up keeps the others down
				c.t.Fatalf("%s is %s an hour after the faults stopped\n%s", s.name, s.phase, c.snapshot())
			}
		}
	}
}

// once lets one random thing happen.
func (c *chaos) once(services int) {
	r := c.rng
	switch n := r.IntN(24); {
	case n >= 20 && len(c.m.slots) > 0:
		c.feed(c.attempt())
	case n < 10 && len(c.inflight) > 0:
		i := 0
		if r.IntN(4) == 0 {
			i = r.IntN(len(c.inflight))
		}
		ev := c.inflight[i]
		c.inflight = append(c.inflight[:i], c.inflight[i+1:]...)
		c.feed(ev)
	case n < 12 && len(c.old) > 0:
		switch ev := c.old[r.IntN(len(c.old))].(type) {
		case Spawned, SpawnFailed, Ready, Exited, Emptied, HookDone, Tick, Act, Withdraw, Frozen, FreezeFailed, Thawed, CheckResult, DataDone:
			c.feed(ev)
		}
	case n < 16:
		if at, ok := c.m.Deadline(); ok {
			c.now = max(c.now, at)
		}
		c.now = c.now.Add(time.Duration(r.IntN(1000)) * time.Millisecond)
		c.feed(Tick{})
	case n < 17 && len(c.m.slots) > 0:
		// Something crashes by itself.
		s := c.m.slots[r.IntN(len(c.m.slots))]
		c.feed(Exited{Ref: s.ref, Status: Status{Code: r.IntN(3)}, Empty: r.IntN(2) == 0})
	case n < 19:
		c.request++
		index := -1
		if r.IntN(3) == 0 {
			index = r.IntN(4)
		}
		c.feed(Command{
			Request: c.request, Verb: VerbStart + Verb(r.IntN(6)), Service: fmt.Sprintf("s%d", r.IntN(services+1)),
			Instance: index, Instances: r.IntN(6), Signal: "SIGUSR1",
		})
	case r.IntN(3) == 0:
		c.applyAnother()
	case r.IntN(4) == 0:
		v := *c.spec.Services[r.IntN(len(c.spec.Services))]
		c.request++
		if r.IntN(2) == 0 {
			c.feed(Command{Request: c.request, Verb: VerbRollback, Service: v.Name, Instance: -1, Revision: r.IntN(4), By: "ann"})
			break
		}
		v.Process.Command = spec.Expr(fmt.Sprint(r.IntN(5)))
		c.feed(Deploy{Request: c.request, Service: v.Name, Digest: string(v.Process.Command), Spec: &v, Force: r.IntN(3) == 0, By: "ann"})
	case r.IntN(3) == 0 && len(c.m.slots) > 0:
		s := c.m.slots[r.IntN(len(c.m.slots))]
		cause := CauseCheck + Cause(r.IntN(4))
		on := [...]spec.OnFailure{spec.OnFailureRestart, spec.OnFailureAlert, spec.OnFailureDump, spec.OnFailureIsolate, spec.OnFailureIsolate}[r.IntN(5)]
		switch r.IntN(8) {
		case 0:
			c.feed(Withdraw{Ref: s.ref, Cause: cause})
		case 1:
			c.feed(ClockChanged{Wall: time.Unix(int64(c.now/1e9)+r.Int64N(400), 0).UTC()})
		default:
			c.feed(Act{Ref: s.ref, Cause: cause, Reason: "it says no", On: on})
		}
	case r.IntN(4) == 0 && len(c.m.quarantine) > 0:
		f := c.m.quarantine[r.IntN(len(c.m.quarantine))]
		if r.IntN(2) == 0 {
			c.request++
			c.feed(Inmate{Request: c.request, ID: f.id(), Resume: r.IntN(2) == 0, By: "ann"})
		} else {
			c.feed(Exited{Ref: f.ref, Status: Status{Signal: "SIGKILL", OOM: true}, Empty: r.IntN(2) == 0})
		}
	case r.IntN(4) == 0:
		c.die()
	case r.IntN(60) == 0:
		c.request++
		c.feed(Shutdown{Request: c.request, Code: 3, Cause: "test"})
	}
}

// run lets n things happen and returns all that the machine said.
func (c *chaos) run(n int) string {
	sp := randomSpec(c.rng)
	c.spec = sp
	c.feed(SpecChanged{Spec: sp, Digests: digests(sp)})
	c.feed(ClockChanged{Wall: time.Unix(int64(c.now/1e9), 0).UTC()})
	for range n {
		c.once(len(sp.Services))
		c.m.Snapshot()
	}
	c.heal()
	// Guarantee 15: a shutdown ends in bounded time, whatever the driver does.
	c.request++
	c.feed(Shutdown{Request: c.request, Cause: "the end"})
	c.good, c.inflight = false, nil // nothing is answered any more
	for limit := c.now.Add(time.Minute); !c.ended; {
		at, ok := c.m.Deadline()
		if !ok || at > limit {
			c.t.Fatalf("the shutdown does not end: next deadline %d (%t), limit %d\n%s", at, ok, limit, c.snapshot())
		}
		c.now = max(c.now, at)
		c.feed(Tick{})
	}
	return c.out.String()
}

func TestChaos(t *testing.T) {
	seeds := 100
	if testing.Short() {
		seeds = 20
	}
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			c := newChaos(t, seed)
			defer func() {
				if t.Failed() {
					lines := strings.Split(c.out.String(), "\n")
					t.Log(strings.Join(lines[max(0, len(lines)-60):], "\n"))
				}
			}()
			c.run(400)
		})
	}
}

// TestDeterminism: the same seed and the same events give the same bytes.
func TestDeterminism(t *testing.T) {
	for seed := range uint64(20) {
		if a, b := newChaos(t, seed).run(300), newChaos(t, seed).run(300); a != b {
			t.Fatalf("seed %d: two runs differ", seed)
		}
	}
}
