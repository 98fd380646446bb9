package sim

import (
	"strconv"
	"time"

	"nines/spec"
	"nines/supervisor/policy"
)

const taskType = spec.TypeTask

// incarnation is what is true of the processes of one Spawn. The first part is
// the world's truth; told is what the machine has heard of it.
type incarnation struct {
	ref   policy.Ref
	svc   *service
	slot  *slot
	pid   int
	plan  plan
	asked policy.Time // when the machine asked for it
	step  int         // … and in which step
	rev   string      // the command, which tells revisions apart

	released bool // the spawn has left: its record is durable
	resolved bool // the spawn came back, with a process or without
	main     bool // the main process lives
	rest     bool // something else that it started lives
	status   policy.Status
	killing  bool   // a kill is under way
	killedBy uint64 // … that the supervisor of this number asked for
	born     bool   // there was a process
	said     bool   // it has said that it is ready
	early    bool   // it was killed before the spawn had left

	saidEmpty bool // an Exited with Empty was sent

	adopted   bool // its spawn was asked for by a supervisor that died
	doomed    bool // there was reason to end it before the machine knew that it exists
	restarted bool // … and a restart was under way

	endStep int // the step in which it was told to end

	iced     bool // it stands still
	thawed   bool // … and was let go on, as a person asked
	freezing bool // … or was asked to
	cage     cage

	beatsFrom policy.Time // its checks by heartbeat began then

	checking uint64 // the token of the attempts that are made; 0: none are
	probing  bool   // … of its ready check
	checks   []checkState

	judged    policy.Cause              // an act was asked for
	noted     [policy.CauseRecycle]bool // by cause: the event of a judgement that holds was told
	unhealthy bool

	told told
}

func (inc *incarnation) name() string {
	return inc.slot.id + "." + strconv.FormatUint(inc.ref.Incarnation, 10)
}

// alive says whether anything of the incarnation lives.
func (inc *incarnation) alive() bool { return inc.main || inc.rest }

// plan is how an incarnation will behave. It is drawn as a whole when the
// incarnation is asked for, in this order, from a key of its own.
type plan struct {
	fails  bool          // no process
	again  bool          // … by the machine's fault
	code   int           // … and with this code
	spawn  time.Duration // until the spawn comes back
	life   time.Duration // until the main process ends by itself; < 0: never
	status policy.Status // how it then ends
	rest   bool          // something outlives the main process
	ready  time.Duration // until it says that it is ready; < 0: never
	obey   time.Duration // from the stop signal to the end; < 0: it is ignored
	kill   time.Duration // how long a kill takes
	empty  bool          // the exit of a kill says Empty itself
	misses bool          // a kill before the process exists finds nothing to kill
	words  words
}

// ownLife marks the end that the plan's life brings, as against one by a signal.
const ownLife = 1

func (w *world) plan(inc *incarnation) plan {
	c := key(w.sc.Seed, hash("plan"), hash(inc.slot.id), inc.ref.Incarnation)
	f := w.sc.Faults
	if w.calm {
		f = Faults{}
	}
	svc := inc.svc.spec
	p := plan{life: -1}
	p.fails, p.again = c.of(f.SpawnFails), c.of(f.SpawnAgain)
	p.code = pick(&c, 127, 126, 1)
	p.spawn = c.spread(50*time.Microsecond, 5*time.Millisecond)
	if hang := c.spread(10*time.Millisecond, time.Minute); c.of(f.SpawnHangs) {
		p.spawn = hang
	}
	// Some services crash all the time, most only at times: a loop needs many
	// ends in a row.
	crash := f.Crash
	if t := key(w.sc.Seed, hash("temper"), hash(svc.Name)); !t.of(300) {
		crash /= 8
	}
	p.status = generateStatus(&c, f.Fatal)
	if life := c.spread(100*time.Microsecond, 2*time.Minute); c.of(crash) {
		p.life = life
	}
	if svc.Type == taskType && p.life < 0 {
		p.life, p.status = c.spread(100*time.Microsecond, 20*time.Second), policy.Status{}
	}
	p.rest = c.of(f.Leftovers)
	p.ready = c.spread(10*time.Microsecond, svc.StartTimeout/2)
	if slow := c.spread(svc.StartTimeout/2, 2*svc.StartTimeout); c.of(f.NeverReady) {
		p.ready = pick(&c, slow, -1)
	}
	p.obey = c.spread(stepTime, svc.Stop.Timeout)
	if late := c.spread(svc.Stop.Timeout/2, 2*svc.Stop.Timeout); c.of(f.Deaf) {
		p.obey = pick(&c, late, -1)
	}
	p.kill = c.spread(stepTime, 20*time.Millisecond)
	if slow := c.spread(time.Millisecond, policy.DefaultKillPatience*9/10); c.of(f.SlowKill) {
		p.kill = slow
	}
	if stuck := c.spread(policy.DefaultKillPatience, 20*policy.DefaultKillPatience); c.of(f.Stuck) {
		p.kill = stuck
	}
	p.empty = c.of(500)
	p.misses = c.of(500)
	p.words = w.words(inc, &f)
	return p
}

func generateStatus(c *chance, fatal int) policy.Status {
	st := policy.Status{Code: pick(c, 0, 0, 1, 1, 2, 139)}
	if c.of(300) {
		st = policy.Status{Signal: pick(c, "SIGSEGV", "SIGKILL", "SIGTERM"), Core: c.of(300)}
		st.OOM = st.Signal == "SIGKILL" && c.of(500)
	}
	if code := pick(c, 78, 125); c.of(fatal) {
		st = policy.Status{Code: code}
	}
	return st
}

// spawn lets a spawn leave.
func (w *world) spawn(ref policy.Ref) {
	inc := w.incs[ref]
	inc.released = true
	w.q.push(item{at: w.now.Add(inc.plan.spawn), kind: itExists, inc: inc})
}

// exists is the moment at which a spawn comes back.
func (w *world) exists(inc *incarnation) {
	if inc.resolved {
		return // killed in the meantime
	}
	inc.resolved = true
	if inc.plan.fails || inc.plan.again {
		w.marks[MarkSpawnFailed]++
		w.failSpawn(inc, "exec", "cannot exec: no such file (ENOENT)")
		return
	}
	inc.main, inc.born = true, true
	inc.status = inc.plan.status
	w.check.alone(inc)
	w.answer(policy.Spawned{Ref: inc.ref, PID: inc.pid}, true)
	if inc.plan.life >= 0 {
		w.q.push(item{at: w.now.Add(inc.plan.life), kind: itDies, inc: inc, n: ownLife})
	}
	if r := inc.svc.spec.Ready; r != nil && r.Delay == 0 && inc.plan.ready >= 0 {
		w.q.push(item{at: w.now.Add(inc.plan.ready), kind: itReady, inc: inc})
	}
	w.speak(inc)
	if inc.early {
		w.kill(inc.ref)
	}
}

// saysReady is the moment at which an incarnation says that it is ready. The
// driver hears it when it comes by.
func (w *world) saysReady(inc *incarnation) {
	inc.said = true
	if w.absent {
		w.marks[MarkReadyMeanwhile]++
		return
	}
	if r := inc.svc.spec.Ready; r != nil && r.Check != nil {
		w.probes(inc)
		return
	}
	w.deliver(policy.Ready{Ref: inc.ref})
}

func (w *world) failSpawn(inc *incarnation, step, cause string) {
	p := inc.plan
	w.answer(policy.SpawnFailed{Ref: inc.ref, Step: step, Cause: cause, Code: p.code, Again: p.again}, true)
}

// dies ends the main process of an incarnation.
func (w *world) dies(inc *incarnation) {
	if !inc.main {
		return
	}
	inc.main = false
	inc.rest = inc.plan.rest && !w.calm
	if inc.rest {
		w.marks[MarkLeftovers]++
	}
	inc.saidEmpty = !inc.rest
	w.answer(policy.Exited{Ref: inc.ref, Status: inc.status, Empty: inc.saidEmpty}, false)
}

// signal carries out ActSignal. Only what is to end it (by the stop signal, or
// SIGABRT) does anything: what a
// service does on other signals is its own affair.
func (w *world) signal(a *policy.Action) {
	inc := w.incs[a.Ref]
	if inc != nil && inc.svc.spec.Reload != nil && a.Signal == inc.svc.spec.Reload.Signal && !a.Cont {
		w.reloads(inc)
	}
	if inc == nil || !inc.main || a.Signal != inc.svc.spec.Stop.Signal && !a.Cont {
		return
	}
	w.obey(inc)
}

// obey lets the main process end because it was asked to.
func (w *world) obey(inc *incarnation) {
	if inc.iced {
		return
	}
	w.asksForLonger(inc)
	if inc.plan.obey < 0 && !w.calm {
		w.marks[MarkDeaf]++
		return
	}
	c := key(w.sc.Seed, hash("obey"), hash(inc.slot.id), inc.ref.Incarnation)
	inc.status = pick(&c, policy.Status{}, policy.Status{Signal: inc.svc.spec.Stop.Signal}, policy.Status{Code: 143})
	w.q.push(item{at: w.now.Add(max(inc.plan.obey, stepTime)), kind: itDies, inc: inc})
}

// kill carries out ActKill: it takes effect later.
func (w *world) kill(ref policy.Ref) {
	inc := w.incs[ref]
	if inc == nil {
		w.answer(policy.Emptied{Ref: ref}, false)
		return
	}
	if !inc.released {
		// The spawn has not left yet: what kills is behind it in the queue.
		inc.early = true
		return
	}
	d := inc.plan.kill
	if w.calm {
		d = stepTime
	}
	if d >= policy.DefaultKillPatience {
		w.marks[MarkStuck]++
	}
	inc.killing, inc.killedBy = true, w.lives
	w.q.push(item{at: w.now.Add(d), kind: itKilled, inc: inc})
}

// killed is the moment at which a kill takes effect.
func (w *world) killed(inc *incarnation) {
	if !inc.killing {
		return // an earlier one did
	}
	inc.killing = false
	if !inc.resolved && inc.plan.misses && !w.calm {
		return // without an answer: the contract forbids an Emptied here
	}
	if !inc.resolved {
		inc.resolved = true
		w.marks[MarkKilledInSpawn]++
		w.failSpawn(inc, "exec", "killed")
		return
	}
	had := inc.main
	inc.main, inc.rest = false, false
	if had {
		inc.saidEmpty = inc.plan.empty
		inc.status = policy.Status{Signal: "SIGKILL"}
		w.answer(policy.Exited{Ref: inc.ref, Status: inc.status, Empty: inc.saidEmpty}, false)
	}
	if !inc.saidEmpty && inc.killedBy == w.lives {
		w.answer(policy.Emptied{Ref: inc.ref}, true)
	}
}

// hook carries out ActHook: a command runs beside an instance.
func (w *world) hook(a *policy.Action) {
	inc := w.incs[a.Ref]
	c := key(w.sc.Seed, hash("hook"), hash(inc.slot.id), inc.ref.Incarnation, uint64(a.Hook))
	f := w.sc.Faults
	if w.calm {
		f = Faults{}
	}
	d := c.spread(100*time.Microsecond, a.Timeout)
	ev := policy.HookDone{Token: a.Token, OK: true}
	if a.Hook == policy.HookReload {
		w.reloads(inc)
	}
	if c.of(f.HookFails) {
		w.marks[MarkHookFailed]++
		ev.OK, ev.Cause = false, "exit code 1"
	} else if c.of(f.HookHangs) {
		w.marks[MarkHookHung]++
		ev.OK, ev.Cause, d = false, "not done in time", a.Timeout
	} else if a.Hook == policy.HookStop && inc.main {
		w.obey(inc)
	}
	if c.of(f.Lost) && !w.calm {
		w.marks[MarkLost]++
		w.lost = append(w.lost, item{kind: itAnswer, ev: ev})
		return
	}
	w.q.push(item{at: w.now.Add(d), kind: itAnswer, ev: ev})
}
