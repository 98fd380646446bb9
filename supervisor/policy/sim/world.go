package sim

import (
	"time"

	"nines/spec"
	"nines/supervisor/policy"
)

// world is the machine under test, the time, and all that the machine is told
// and asks for.
type world struct {
	sc   *Scenario
	m    *policy.Machine
	now  policy.Time
	q    queue
	calm bool
	end  bool // ActEnd came
	cfg  policy.Config

	lives   uint64 // supervisors before this one
	absent  bool   // none is there
	since   policy.Time
	unknown int // see Death
	deaths  int // that are still to come

	incs   map[policy.Ref]*incarnation
	order  []*incarnation // in order of their Spawn
	lost   []item         // answers kept back; calm delivers them
	drawn  uint64         // chances drawn for what has no name of its own
	told   policy.Time
	last   policy.Request
	steps  int
	offset time.Duration // of the wall clock, by being set
	idle   int           // steps in a row in which time stood still
	jumped time.Duration // all leaps of time so far

	specs  []*spec.Spec // all that were made durable; the first has number 1
	filing policy.Time  // when the last one is

	journal journal
	check   *checker
	trace   trace
	marks   Marks
}

const (
	// stepTime is what the answer to anything takes at least; so cause and
	// effect are never at the same moment.
	stepTime = 10 * time.Microsecond
	// patience is how long after calm the world may take to settle: longer than
	// every chain of timeouts and delays that Generate can make.
	patience = 2 * time.Hour
	// stuckLoop is how many steps in a row time may stand still.
	stuckLoop = 10_000
)

// chance returns the chance of something that has no name, such as the delay
// of a record: it depends on how many came before.
func (w *world) chance(purpose string) chance {
	w.drawn++
	return key(w.sc.Seed, hash(purpose), w.drawn)
}

// run lets the whole history happen. It ends at the first broken invariant.
func (w *world) run() {
	for _, a := range w.sc.Script {
		w.deaths += count(a.Death != nil)
	}
	w.specs = []*spec.Spec{w.sc.Spec}
	w.step(w.changed(1))
	w.tellClock()
	for i, a := range w.sc.Script {
		w.q.push(item{at: policy.Time(a.At), kind: itScript, n: i})
	}
	w.q.push(item{at: policy.Time(w.sc.Calm), kind: itCalm})
	for w.check.failure == nil && !w.end {
		w.turn()
		switch {
		case !w.calm && w.steps > w.sc.Steps:
			w.becalm()
		case w.absent:
		case w.calm && w.check.shutdown == nil && w.check.settled():
			w.marks[MarkSettled]++
			w.check.converged()
			w.step(policy.Shutdown{Request: w.request(), Code: 3, Cause: "nines shutdown"})
		case w.now.Sub(policy.Time(w.sc.Calm)) > patience+w.jumped:
			w.check.unsettled()
		}
	}
	if w.check.failure == nil {
		w.check.finished()
	}
}

// turn does the next thing: an item of the queue, or the tick that Deadline
// asks for, whichever is first.
func (w *world) turn() {
	deadline, armed := w.m.Deadline()
	if armed && !w.absent && (len(w.q.items) == 0 || deadline <= w.q.items[0].at) {
		if deadline > w.now {
			w.now = deadline
		}
		c := w.chance("tick")
		if w.late(&c) {
			// The driver comes late: what waits in the queue is told first,
			// at the time at which it is told.
			w.now = w.now.Add(c.spread(time.Microsecond, 50*time.Millisecond))
			w.marks[MarkLateTick]++
			for range c.below(3) {
				if len(w.q.items) > 0 && w.q.items[0].at <= w.now {
					w.take()
				}
			}
		}
		w.tick()
		if c.of(20) {
			w.tick() // doubled: does nothing
		}
		return
	}
	if len(w.q.items) == 0 {
		w.check.fail("12", "nothing is under way and no deadline is armed, yet not everything is as wanted")
		return
	}
	w.take()
}

func (w *world) tick() {
	if !w.end && w.check.failure == nil {
		w.step(policy.Tick{})
	}
}

// take takes the first item off the queue.
func (w *world) take() {
	it := w.q.pop()
	if it.at > w.now {
		w.now = it.at
	}
	switch it.kind {
	case itAnswer:
		w.deliver(it.ev)
	case itReplay:
		w.marks[MarkReplay]++
		w.step(it.ev)
	case itDurable:
		w.journal.pending = w.journal.pending[1:]
		w.durable(it.out)
		w.journal.base = it.out.model
	case itReady:
		w.saysReady(it.inc)
	case itBack:
		w.back()
	case itExists:
		w.exists(it.inc)
	case itFreezes:
		w.freezes(it.inc)
	case itDies:
		if it.inc.iced {
			return // what stands still does not end by itself
		}
		if it.n == ownLife && w.calm && it.inc.svc.spec.Type == taskType {
			it.inc.status = policy.Status{}
		} else if it.n == ownLife && w.calm {
			return // in calm times nothing ends by itself
		}
		w.dies(it.inc)
	case itKilled:
		w.killed(it.inc)
	case itFile:
		w.file(w.sc.Script[it.n].Apply)
	case itApply:
		w.apply(it.n)
	case itSays:
		w.itIsSaid(&it)
	case itBeat:
		w.attemptsBeat(&it)
	case itScript:
		w.act(it.n)
	case itCalm:
		w.becalm()
	}
}

// deliver tells the machine ev, and makes sure that it will hear it again:
// there is no history without late and doubled answers.
func (w *world) deliver(ev policy.Event) {
	c := w.chance("replay")
	if w.sc.Faults.Replays > 0 {
		for range c.below(w.sc.Faults.Replays + 1) {
			w.q.push(item{at: w.now.Add(c.spread(time.Microsecond, 5*time.Minute)), kind: itReplay, ev: ev})
		}
	}
	w.step(ev)
}

// late says whether something comes late this time.
func (w *world) late(c *chance) bool { return !w.calm && c.of(w.sc.Faults.Slow) }

// answer tells the machine ev after the time that an answer takes. An answer
// that may be lost (a deadline of the machine bounds it) is lost at times.
func (w *world) answer(ev policy.Event, mayBeLost bool) {
	if w.absent {
		return // who it is for has died
	}
	c := w.chance("answer")
	d := c.spread(stepTime, 2*time.Millisecond)
	if w.late(&c) {
		d = c.spread(time.Millisecond, 20*time.Second)
		w.marks[MarkLateAnswer]++
	}
	it := item{at: w.now.Add(d), kind: itAnswer, ev: ev}
	if mayBeLost && !w.calm && c.of(w.sc.Faults.Lost) {
		w.marks[MarkLost]++
		w.lost = append(w.lost, it)
		return
	}
	w.q.push(it)
}

// step is one call of the machine, between the checks of before and after.
func (w *world) step(ev policy.Event) {
	if w.end || w.absent || w.check.failure != nil {
		return
	}
	w.steps++
	if w.now > w.told {
		w.told, w.idle = w.now, 0
	} else if w.idle++; w.idle > stuckLoop {
		w.check.fail("12", "the machine turns in circles: a deadline of now is not acted on")
		return
	}
	if w.deaths > 0 && len(w.journal.pending) == 0 {
		w.journal.base = w.check.save()
	}
	w.trace.event(w, ev)
	w.check.before(ev)
	var fails, recovers bool
	if r, ok := ev.(policy.CheckResult); ok {
		fails, recovers = w.check.attempted(r)
		w.check.readied()
	}
	out := w.m.Step(w.now, ev)
	if _, ok := ev.(policy.CheckResult); ok {
		w.check.outcome(out, fails, recovers)
	}
	if ev, ok := ev.(policy.SpecChanged); ok && ev.Past.Slots != nil {
		w.rename()
	}
	w.trace.output(w, out)
	w.check.after(ev, out)
	if w.check.failure != nil {
		return
	}
	box := w.journal.accept(w, out) // copies: out is the machine's until the next step
	for i := range box.now {
		w.check.leaves(&box.now[i])
		w.carryOut(&box.now[i])
	}
	w.journal.release(w, box)
}

// carryOut does what an action asks for.
func (w *world) carryOut(a *policy.Action) {
	switch a.Kind {
	case policy.ActSpawn:
		w.spawn(a.Ref)
	case policy.ActSignal:
		w.signal(a)
	case policy.ActKill:
		w.kill(a.Ref)
	case policy.ActHook:
		w.hook(a)
	case policy.ActFreeze:
		w.freeze(a.Ref)
	case policy.ActThaw:
		w.thaw(a.Ref)
	case policy.ActCheck:
		w.probes(w.incs[a.Ref])
		w.beat(w.incs[a.Ref])
	case policy.ActEnd:
		w.end = true
	}
}

// act lets something of the script happen.
func (w *world) act(n int) {
	a := &w.sc.Script[n]
	if a.Death != nil {
		w.deaths--
	}
	if w.calm || w.absent && (a.Command != nil || a.Apply != nil || a.Shutdown != nil || a.Judge != nil || a.Attempt != nil || a.Inmate != nil) { // nobody hears it
		return
	}
	switch {
	case a.Death != nil:
		w.dieSupervisor(a.Death)
	case a.Command != nil:
		cmd := *a.Command
		cmd.Request = w.request()
		w.step(cmd)
	case a.Apply != nil:
		c := w.chance("file")
		w.filing = max(w.filing, w.now.Add(c.spread(stepTime, 10*time.Millisecond)))
		w.q.push(item{at: w.filing, kind: itFile, n: n})
	case a.Shutdown != nil:
		ev := *a.Shutdown
		ev.Request = w.request()
		w.step(ev)
	case a.Crash != nil:
		if inc := w.check.current(a.Crash.Service, a.Crash.Instance); inc != nil && inc.main {
			inc.status = a.Crash.Status
			w.dies(inc)
		}
	case a.Judge != nil:
		w.judge(a.Judge)
	case a.Attempt != nil:
		w.attempt(a.Attempt)
	case a.Inmate != nil:
		w.askInmate(a.Inmate)
	case a.Clock != 0:
		w.marks[MarkClock]++
		w.offset += a.Clock
		w.tellClock()
	case a.Jump > 0:
		w.marks[MarkJump]++
		w.now = w.now.Add(a.Jump)
		w.jumped += a.Jump
		c := w.chance("jump")
		if c.of(500) { // either the timer is seen first, or what waits in the queue
			w.tick()
		}
	}
}

func (w *world) request() policy.Request {
	w.last++
	return w.last
}

// becalm ends all faults: what was lost comes after all, what is stuck comes
// loose, and whatever is started from now on does as it should.
func (w *world) becalm() {
	if w.calm {
		return
	}
	w.calm, w.deaths = true, 0
	w.trace.note(w, "calm")
	for _, it := range w.lost {
		it.at = w.now.Add(stepTime)
		w.q.push(it)
	}
	w.lost = nil
	for _, inc := range w.order {
		if inc.killing {
			w.q.push(item{at: w.now.Add(stepTime), kind: itKilled, inc: inc})
		}
	}
}
