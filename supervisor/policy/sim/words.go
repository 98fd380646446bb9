package sim

import (
	"slices"
	"time"

	"nines/spec"
	"nines/supervisor/policy"
)

// What instances say of themselves, by sd_notify: that they reload, end, need longer,
// that another process stands for them; and, by saying nothing, that their heartbeat
// has stopped. Who says when it is ready says such things (speaks); who has a check by
// heartbeat, beats.

// words is what an incarnation will say, drawn as a whole when it is asked for.
type words struct {
	more    bool          // it asks for longer before its start, or its stop, takes too long
	leave   time.Duration // how long before its end by itself it says that it ends; 0: it does not
	main    time.Duration // until another process stands for it; 0: never
	begins  time.Duration // from being told to reload until it says that it has begun; < 0: it does not
	reloads time.Duration // … from there until it says that it is done; < 0: it does not
	hang    time.Duration // from the first attempt on until its heartbeat stops; < 0: never
	wake    time.Duration // … from there until it beats again; < 0: never
}

// speaks says whether instances of v say things.
func speaks(v *spec.Service) bool { return v.Ready != nil && v.Ready.Notify != "" }

// beats says whether a check goes by signs of life.
func beats(k *spec.Check) bool { return k.Heartbeat != nil }

func (w *world) words(inc *incarnation, f *Faults) words {
	c := key(w.sc.Seed, hash("words"), hash(inc.slot.id), inc.ref.Incarnation)
	v := inc.svc.spec
	often := func(permille int) bool { return c.of(f.Words) && c.of(permille) }
	p := words{begins: -1, reloads: -1, hang: -1, wake: -1}
	if speaks(v) {
		p.more = often(500)
		if leave := c.spread(time.Microsecond, 2*v.Stop.Timeout); often(700) {
			p.leave = leave
		}
		if main := c.spread(time.Microsecond, time.Minute); often(300) {
			p.main = main
		}
		if begins := c.spread(time.Microsecond, 2*policy.ReloadPatience); !often(200) {
			p.begins = begins
		}
		if reloads := c.spread(time.Microsecond, 2*v.StartTimeout); !often(300) {
			p.reloads = reloads
		}
	}
	if hang := c.spread(time.Millisecond, time.Minute); often(500) {
		p.hang = hang
	}
	if wake := c.spread(time.Millisecond, time.Minute); often(300) {
		p.wake = wake
	}
	return p
}

// says tells the machine something, unless nobody is there to hear it.
func (w *world) says(inc *incarnation, m Mark, ev policy.Event) {
	if inc.main && !w.absent && !inc.iced {
		w.marks[m]++
		w.deliver(ev)
	}
}

// speak has what an incarnation says happen that exists from now on.
func (w *world) speak(inc *incarnation) {
	p, v := &inc.plan, inc.svc.spec
	at := func(d time.Duration, m Mark, ev policy.Event) {
		w.q.push(item{at: w.now.Add(d), kind: itSays, inc: inc, n: int(m), ev: ev})
	}
	if p.words.more && p.ready > v.StartTimeout {
		at(v.StartTimeout*9/10, MarkMoreTime, policy.MoreTime{By: p.ready})
	}
	if p.words.leave > 0 && p.life > p.words.leave {
		at(p.life-p.words.leave, MarkLeaving, policy.Leaving{})
	}
	if p.words.main > 0 {
		at(p.words.main, MarkMainChanged, policy.MainChanged{PID: 100_000 + inc.pid, Start: 7})
	}
}

// itIsSaid is the moment at which an incarnation says something.
func (w *world) itIsSaid(it *item) {
	inc := it.inc
	switch ev := it.ev.(type) {
	case policy.MoreTime:
		ev.Ref = inc.ref
		it.ev = ev
	case policy.Leaving:
		ev.Ref = inc.ref
		it.ev = ev
	case policy.MainChanged:
		ev.Ref = inc.ref
		it.ev = ev
	case policy.Reloading:
		ev.Ref, ev.At = inc.ref, ev.At+w.now // less than nothing: it is about something earlier
		it.ev = ev
		if inc.plan.words.reloads >= 0 {
			w.q.push(item{at: w.now.Add(inc.plan.words.reloads), kind: itSays, inc: inc, n: int(MarkReloaded), ev: policy.Ready{}})
		}
	case policy.Ready:
		ev.Ref = inc.ref
		it.ev = ev
	}
	w.says(inc, Mark(it.n), it.ev)
}

// reloads: an incarnation was told to read its configuration again.
func (w *world) reloads(inc *incarnation) {
	if p := &inc.plan.words; inc.main && speaks(inc.svc.spec) && p.begins >= 0 {
		ev := policy.Reloading{}
		if c := w.chance("reloading"); c.of(100) {
			ev.At = -policy.Time(time.Minute)
		}
		w.q.push(item{at: w.now.Add(p.begins), kind: itSays, inc: inc, n: int(MarkReloading), ev: ev})
	}
}

// asksForLonger: it was told to end, and says how long that takes.
func (w *world) asksForLonger(inc *incarnation) {
	t, p := inc.svc.spec.Stop.Timeout, &inc.plan
	if !speaks(inc.svc.spec) || !p.words.more || p.obey <= 0 {
		return
	}
	at, by := t/2, p.obey
	if p.obey <= t { // it would not have had to
		at, by = p.obey/2, p.obey/8
	}
	w.q.push(item{at: w.now.Add(at), kind: itSays, inc: inc, n: int(MarkMoreTime), ev: policy.MoreTime{By: by}})
}

// beat begins the attempts of checks by heartbeat: one that finds signs of life, and
// where these stop, all from then on.
func (w *world) beat(inc *incarnation) {
	if inc.checking == 0 || inc.probing {
		return
	}
	inc.beatsFrom = w.now
	for i := range inc.svc.spec.Checks {
		k := &inc.svc.spec.Checks[i]
		if !beats(k) {
			continue
		}
		d := k.Timing.Interval
		if h := inc.plan.words.hang; h >= 0 {
			d = h + k.Timing.Timeout
		}
		w.q.push(item{at: w.now.Add(d), kind: itBeat, inc: inc, n: i, ev: policy.CheckResult{Token: inc.checking}})
	}
}

// beating says whether an incarnation gives signs of life now.
func (w *world) beating(inc *incarnation) bool {
	p := &inc.plan.words
	since := w.now.Sub(inc.beatsFrom)
	return w.calm || p.hang < 0 || since < p.hang || p.wake >= 0 && since >= p.hang+p.wake
}

// attemptsBeat is an attempt of a check by heartbeat.
func (w *world) attemptsBeat(it *item) {
	inc := it.inc
	r := it.ev.(policy.CheckResult)
	if w.absent || inc.checking == 0 || inc.checking != r.Token || it.n >= len(inc.svc.spec.Checks) || !beats(&inc.svc.spec.Checks[it.n]) {
		return // they are ended, or begun anew
	}
	k := &inc.svc.spec.Checks[it.n]
	r.Ref, r.Check = inc.ref, it.n
	if r.Failed = !w.beating(inc); r.Failed {
		w.marks[MarkBeatMissed]++
		r.Reason = "no WATCHDOG=1"
		if c := w.chance("beat"); c.of(w.sc.Faults.Words / 4) {
			r.Excuse = policy.ExcuseOverloaded
		}
	}
	w.deliver(r)
	if r.Failed || inc.checking == r.Token && it.n < len(inc.checks) && inc.checks[it.n].passes < k.Timing.Successes {
		w.q.push(item{at: w.now.Add(k.Timing.Interval), kind: itBeat, inc: inc, n: it.n, ev: policy.CheckResult{Token: r.Token}})
	}
}

// heard notes what an incarnation says of itself, before the machine is told.
func (k *checker) heard(ev policy.Event) {
	now := k.w.now
	up := func(ref policy.Ref) *incarnation {
		if inc := k.names(ref); inc != nil && inc.told.spawned && !inc.told.over && inc.told.ask == askNone && !inc.told.left {
			return inc
		}
		return nil
	}
	switch ev := ev.(type) {
	case policy.Leaving:
		if inc := up(ev.Ref); inc != nil {
			inc.slot.forgets(now, &k.w.marks) // it is ready no longer
			inc.told.left = true
			inc.told.stopBy = now.Add(inc.svc.spec.Stop.Timeout)
		}
	case policy.MoreTime:
		inc := k.names(ev.Ref)
		if inc == nil || inc.told.over {
			return
		}
		switch t := &inc.told; {
		case t.stopBy > 0:
			t.stopBy = max(t.stopBy, now.Add(ev.By))
		case t.ask == askNone && !t.ready && inc.svc.spec.Ready != nil:
			t.longer = max(t.longer, now.Add(ev.By))
		}
	case policy.MainChanged:
		if inc := k.names(ev.Ref); inc != nil && inc.told.spawned && !inc.told.over {
			inc.told.pid = ev.PID
		}
	case policy.Reloading:
		if inc := up(ev.Ref); inc != nil && inc.told.ready && ev.At >= inc.told.reloadAt {
			inc.told.reloading = now < inc.told.reloadAt.Add(policy.ReloadPatience) // else it is another
		}
	case policy.Ready:
		if inc := k.names(ev.Ref); inc != nil && inc.told.reloading {
			inc.told.reloading, inc.told.reloadAt = false, 0
		}
	}
}

// startBy is when an incarnation must be ready.
func (inc *incarnation) startBy() policy.Time {
	return max(inc.told.spawnedAt.Add(inc.svc.spec.StartTimeout), inc.told.longer)
}

// reloadAsked: a command that was not refused has these instances reload.
func (k *checker) reloadAsked(slots []*slot) {
	for _, sl := range slots {
		if sl.ready() {
			sl.cur.told.reloading, sl.cur.told.reloadAt = false, k.w.now
		}
	}
}

// reloaded checks, when a reload is said to be done, that nobody who has begun to is
// still at it.
func (k *checker) reloaded(cmd *policy.Command) {
	s := k.byName[cmd.Service]
	if s == nil || !speaks(s.spec) {
		return
	}
	for _, sl := range s.slots {
		if (cmd.Instance < 0 || cmd.Instance == sl.index) && sl.ready() && sl.cur.told.reloading && sl.cur.told.reloadAt > 0 {
			k.fail("reload", "%s is said to have reloaded, and has not said that it is done", sl.cur.name())
		}
	}
}

// inTime checks that what is to end in its own time has that time, and no more: killed
// says that it is killed now.
func (k *checker) inTime(inc *incarnation, killed bool) {
	t := &inc.told
	late := k.shutdown != nil && k.w.now >= k.shutdown.at.Add(k.w.sc.Spec.Supervisor.ShutdownTimeout)
	switch {
	case t.stopBy == 0 || t.over || t.killed:
	case killed && k.w.now < t.stopBy && !late:
		k.fail("stop", "%s is killed %v before its time to end is over", inc.name(), t.stopBy.Sub(k.w.now))
	case !killed && k.ticked >= t.stopBy && !late && k.shutdown == nil:
		k.fail("stop", "the time of %s to end is over, and it is not killed", inc.name())
	}
}

// hasUntil notes that an incarnation was told to end, and has stop.timeout.
func (k *checker) hasUntil(inc *incarnation) {
	if inc.told.stopBy == 0 {
		inc.told.stopBy = k.w.now.Add(inc.svc.spec.Stop.Timeout)
	}
}

// keepsBeating checks that nothing is ended for a heartbeat that it keeps.
func (k *checker) keepsBeating(inc *incarnation) {
	failing := slices.ContainsFunc(inc.checks, func(c checkState) bool { return c.failing })
	if inc.judged != 0 || inc.probing || !failing {
		return
	}
	for i := range inc.checks {
		if inc.checks[i].failing && !beats(inc.check(i)) {
			return
		}
	}
	k.w.marks[MarkBeatLost]++
	if p := &inc.plan.words; p.hang < 0 {
		k.fail("13", "%s is ended for its heartbeat, which it kept", inc.name())
	}
}
