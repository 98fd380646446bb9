package sim

import (
	"nines/spec"
	"nines/supervisor/policy"
)

// after checks what the machine asks for in answer to ev.
func (k *checker) after(ev policy.Event, out *policy.Output) {
	own, restarts := policy.Request(0), false
	switch ev := ev.(type) {
	case policy.Command:
		own = ev.Request
		k.requests = append(k.requests, request{cmd: ev})
	case policy.SpecChanged:
		if own = ev.Request; own != 0 {
			k.requests = append(k.requests, request{spec: ev.Spec})
		}
	case policy.Shutdown, policy.Inmate:
		k.requests = append(k.requests, request{})
	}
	// A new command supersedes older ones: first these are over, then it counts.
	for i := range out.Then {
		if a := &out.Then[i]; a.Kind == policy.ActDone && a.Request != own {
			restarts = k.done(a.Request) || restarts
		}
	}
	switch ev := ev.(type) {
	case policy.Command:
		if !refuses(out, ev.Request) {
			k.command(ev)
		}
	case policy.SpecChanged:
		if ev.Request != 0 && !refuses(out, ev.Request) {
			k.applied(ev.Spec)
		}
	case policy.Shutdown:
		k.shutsDown(ev.Code, true)
	}
	k.turns()
	k.advance()
	for i := range out.Then {
		if a := &out.Then[i]; a.Kind == policy.ActDone && a.Request == own {
			restarts = k.done(a.Request) || restarts
		}
	}
	for i := range out.Notices {
		k.notice(&out.Notices[i])
	}
	k.turns()
	k.advance()
	// What is asked for in one step was decided in an order that cannot be seen.
	// Spawns come first here: what a restart takes down in the same step may
	// still have been ready for them; a stop may not, and turn sees that.
	for i := range out.Then {
		if a := &out.Then[i]; a.Kind == policy.ActSpawn {
			k.action(a, out)
		}
	}
	for i := range out.Now {
		a := &out.Now[i]
		if a.Kind == policy.ActSpawn {
			k.fail("intent", "the spawn of %s may leave before its record is durable", k.name(a.Ref))
		}
		k.action(a, out)
	}
	for i := range out.Then {
		if a := &out.Then[i]; a.Kind != policy.ActSpawn {
			k.action(a, out)
		}
	}
	for i := range out.Then {
		if a := &out.Then[i]; a.Kind == policy.ActDone && !a.Failed && int(a.Request) < len(k.requests) && k.requests[a.Request].spec != nil {
			k.carriedOut(k.requests[a.Request].spec)
		} else if a.Kind == policy.ActDone && !a.Failed && int(a.Request) < len(k.requests) && k.requests[a.Request].cmd.Verb == policy.VerbReload {
			k.reloaded(&k.requests[a.Request].cmd)
		}
	}
	if restarts {
		k.reached()
	}
	if len(k.delayed) > 0 {
		k.delays()
	}
	k.turns()
	k.advance()
	k.started()
	k.watched()
	k.bounded()
	k.cages()
}

func refuses(out *policy.Output, r policy.Request) bool {
	for i := range out.Now {
		if out.Now[i].Kind == policy.ActRefused && out.Now[i].Request == r {
			return true
		}
	}
	return false
}

// notice takes from the event stream that a loop or the end of all has been
// judged, and checks that there was cause. Everything else of it is ignored.
func (k *checker) notice(n *policy.Notice) {
	switch n.Kind {
	case policy.KindShutdown:
		if k.shutdown == nil {
			k.shutsDown(-1, false)
		}
	case policy.KindExited:
		// The end of what was killed may never be told: then it counts once
		// nothing lives.
		inc := k.w.incs[n.Ref]
		if inc != nil && !inc.told.over && inc.told.empty && inc.slot.stuck(k.w.now) {
			k.over(inc, policy.Status{Signal: "SIGKILL"}, false, false)
			inc.told.reaped = true
		}
	case policy.KindQuarantined:
		k.quarantined(n.Ref)
	case policy.KindQuarantineEnded:
		k.quarantineEnded(n.Ref)
	case policy.KindMemoryHigh:
		k.told(n.Ref, policy.CauseMemory)
	case policy.KindLeak:
		k.told(n.Ref, policy.CauseLeak)
	case policy.KindBudgetWait:
		k.w.marks[MarkBudgetWait]++
	case policy.KindStuck:
		if inc := k.w.incs[n.Ref]; inc != nil && inc.cage.in {
			return
		}
		if sl := k.slotOf(n.Slot); sl != nil {
			sl.falters() // nothing waits for it
		}
	case policy.KindCrashLoop:
		sl := k.slotOf(n.Slot)
		if sl == nil || !sl.mayLoop && !sl.unsure {
			k.fail("loop", "a crash loop is declared for %v, which has not ended so often", n.Ref)
			return
		}
		k.w.marks[MarkCrashLoop]++
		sl.loop = false
		switch sl.svc.spec.CrashLoop.Then {
		case spec.ThenStop:
			sl.outcome, sl.gaveUp = failed, true
			sl.unsure = sl.restart // its turn may come before it is empty
			k.w.marks[MarkGaveUp]++
			sl.retries()
		case spec.ThenHold, spec.ThenRollback:
			sl.held = true
			sl.waits(k.w.now, 0)
			if sl.restart {
				sl.notBefore = k.w.now
			}
		case spec.ThenShutdown:
		}
	}
}

func (k *checker) action(a *policy.Action, out *policy.Output) {
	reply := a.Kind == policy.ActAccepted || a.Kind == policy.ActDone || a.Kind == policy.ActRefused
	if k.ended && !reply {
		k.fail("end", "something follows the end")
		return
	}
	if !reply && a.Kind != policy.ActEnd && k.actsOnInmate(a) {
		return
	}
	switch a.Kind {
	case policy.ActSpawn:
		if k.spawn(a.Ref, out); k.failure == nil {
			k.revision(k.w.incs[a.Ref], a.Revision)
		}
	case policy.ActSignal:
		if inc := k.target(a.Ref, "signal"); inc != nil {
			if inc.told.over {
				k.fail("stale", "%s is sent %s, but its main process is known to have ended", k.name(a.Ref), a.Signal)
			}
			if a.Cont { // by SIGABRT too: on_failure = dump
				k.ask(inc)
				k.hasUntil(inc)
			}
		}
	case policy.ActHook:
		if inc := k.target(a.Ref, "hook"); inc != nil && a.Hook == policy.HookStop {
			k.ask(inc)
			k.hasUntil(inc)
		}
	case policy.ActKill:
		if inc := k.target(a.Ref, "kill"); inc != nil {
			k.inTime(inc, true)
			if !inc.told.over && !inc.told.empty && !inc.told.left {
				k.ask(inc)
			}
			if !inc.told.killed {
				inc.told.killed, inc.told.killedAt = true, k.w.now
			}
		}
	case policy.ActCheck:
		k.makes(a)
	case policy.ActCheckEnd:
		if inc := k.w.incs[a.Ref]; inc != nil {
			inc.checking = 0 // what they had come to is why it is ended
		}
	case policy.ActFreeze:
		if inc := k.target(a.Ref, "freeze"); inc != nil {
			k.ask(inc)
			inc.freezing = true
		}
	case policy.ActThaw:
		k.fail("stale", "%s is thawed, which is not in quarantine", k.name(a.Ref))
	case policy.ActEnd:
		k.freed()
		k.ends(a)
	}
}

func (k *checker) name(ref policy.Ref) string {
	if inc := k.w.incs[ref]; inc != nil {
		return inc.name()
	}
	return "an unknown incarnation"
}

// target returns the incarnation that an action names, and fails if it is not
// its slot's current one or nothing of it lives any more.
func (k *checker) target(ref policy.Ref, what string) *incarnation {
	inc := k.w.incs[ref]
	switch {
	case inc == nil:
		k.fail("stale", "a %s is asked for %v, which was never spawned", what, ref)
		return nil
	case inc.slot.cur != inc:
		k.fail("stale", "a %s is asked for %s, but %s is the newer one", what, inc.name(), inc.slot.cur.name())
	case inc.told.empty && inc.told.reaped:
		k.fail("stale", "a %s is asked for %s, but it is known that nothing of it lives", what, inc.name())
	}
	return inc
}

// spawn checks that ref may be started, and makes its incarnation.
func (k *checker) spawn(ref policy.Ref, out *policy.Output) {
	sl := k.slotOf(ref.Slot)
	if sl == nil {
		k.fail("stale", "slot %d, which was never given, is spawned", ref.Slot)
		return
	}
	now := k.w.now
	intent := false
	for _, r := range out.Records {
		intent = intent || r.Kind == policy.RecordSlot && r.Ref == ref
	}
	if !intent {
		k.fail("intent", "%s.%d is spawned without a record of the intent", sl.id, ref.Incarnation)
	}
	if prev := sl.cur; prev != nil {
		if ref.Incarnation <= prev.ref.Incarnation {
			k.fail("1", "%s is spawned as incarnation %d after %d", sl.id, ref.Incarnation, prev.ref.Incarnation)
		}
		if !prev.told.empty || prev.alive() && !prev.cage.in {
			k.fail("1", "%s.%d is spawned, but it is not known that nothing of %s lives", sl.id, ref.Incarnation, prev.name())
		}
	}
	switch {
	case k.shutdown != nil:
		k.fail("15", "%s is spawned in a shutdown", sl.id)
	case sl.unsure:
		// What a restart did that had to wait is known now.
		sl.unsure, sl.stopped, sl.outcome = false, false, none
	case !sl.wanted():
		k.fail("stopped", "%s is spawned, but nobody wants it to run", sl.id)
	case sl.outcome != none && !sl.restart:
		k.fail("done", "%s is spawned, but it has ended for good", sl.id)
	case now < sl.notBefore:
		k.fail("3", "%s is spawned %v before its backoff of at least %v is over, after %d ends",
			sl.id, sl.notBefore.Sub(now), sl.notBefore.Sub(sl.overAt), sl.fails)
	}
	k.groupStart(sl)
	for _, d := range sl.svc.needs {
		if !d.ready() || !d.enabled() {
			k.fail("order", "%s is spawned, but %s, which it needs, is not ready", sl.id, d.spec.Name)
		}
	}
	inc := &incarnation{ref: ref, svc: sl.svc, slot: sl, asked: now, step: k.w.steps, pid: 100 + len(k.w.order), rev: string(sl.svc.spec.Process.Command)}
	inc.plan = k.w.plan(inc)
	inc.told.needs = sl.svc.spec.Needs
	sl.delayed = false
	if sl.restart { // it may have lifted this slot
		sl.pardon(now)
		sl.ambiguous, sl.first = true, true
	}
	sl.cur, sl.outcome, sl.loop, sl.gaveUp = inc, none, false, false
	k.w.incs[ref] = inc
	k.w.order = append(k.w.order, inc)
}

func (k *checker) slotOf(id policy.Slot) *slot {
	if sl := k.bySlot[id]; sl != nil {
		return sl
	}
	sp, i := k.w.m.Slot(id)
	if sp == nil || i < 0 {
		return nil
	}
	s := k.byName[sp.Name]
	k.grow(s, i+1)
	k.bySlot[id] = s.slots[i]
	return s.slots[i]
}

// leaves checks an action at the moment at which it leaves.
func (k *checker) leaves(a *policy.Action) {
	switch a.Kind {
	case policy.ActSpawn:
		if !k.w.journal.intents[a.Ref] {
			k.fail("intent", "%s leaves before the record of its intent is durable", k.name(a.Ref))
		}
	case policy.ActAccepted, policy.ActDone, policy.ActRefused:
		k.reply(a)
	}
}

// alone checks the truth: nothing of another incarnation of the slot lives when
// a process begins to.
func (k *checker) alone(inc *incarnation) {
	for _, o := range k.w.order {
		if o != inc && o.slot == inc.slot && o.alive() && !(o.cage.in && (o.iced || o.thawed || o.cage.resumed)) {
			k.fail("1", "%s and %s live at once", o.name(), inc.name())
		}
	}
}
