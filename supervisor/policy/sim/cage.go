package sim

import (
	"slices"
	"time"

	"nines/supervisor/policy"
)

// InmateAct is what a person wants of the oldest instance of a service that is in
// quarantine.
type InmateAct struct {
	Service string
	Resume  bool
}

// cage is what the observer knows of an incarnation that was frozen.
type cage struct {
	in      bool // it has left its slot for the quarantine
	at      policy.Time
	killed  bool // its end was asked for
	killAt  policy.Time
	resumed bool // it was asked to go on
	gone    bool // the machine says that nothing of it lives
}

// holds says whether the incarnation is in quarantine.
func (c *cage) holds() bool { return c.in && !c.gone }

// freeze carries out ActFreeze.
func (w *world) freeze(ref policy.Ref) {
	inc := w.incs[ref]
	c := key(w.sc.Seed, hash("freeze"), hash(inc.slot.id), inc.ref.Incarnation)
	d := c.spread(stepTime, time.Second)
	w.q.push(item{at: w.now.Add(d), kind: itFreezes, inc: inc})
}

// freezes is the moment at which a freeze takes effect, or is given up.
func (w *world) freezes(inc *incarnation) {
	if !inc.main {
		return // its exit is told
	}
	c := key(w.sc.Seed, hash("freezes"), hash(inc.slot.id), inc.ref.Incarnation)
	if c.of(w.sc.Faults.FreezeFails) && !w.calm && !inc.iced {
		w.marks[MarkFreezeFailed]++
		w.answer(policy.FreezeFailed{Ref: inc.ref, Cause: "the kernel says no"}, true)
		return
	}
	inc.iced = true
	w.answer(policy.Frozen{Ref: inc.ref, Memory: uint64(c.below(60))}, true)
}

// thaw carries out ActThaw.
func (w *world) thaw(ref policy.Ref) {
	inc := w.incs[ref]
	c := w.chance("thaw")
	if c.of(200) {
		w.answer(policy.Thawed{Ref: ref, Cause: "the kernel says no"}, true)
		return
	}
	inc.iced, inc.thawed = false, true
	w.answer(policy.Thawed{Ref: ref}, true)
}

// askInmate lets a person say something of one in quarantine.
func (w *world) askInmate(a *InmateAct) {
	for _, inc := range w.check.caged {
		if inc.svc.spec.Name == a.Service && inc.cage.holds() {
			w.step(policy.Inmate{Request: w.request(), ID: inc.name(), Resume: a.Resume, By: "root (uid 0)"})
			return
		}
	}
}

// quarantined: the machine says that an incarnation has left its slot.
func (k *checker) quarantined(ref policy.Ref) {
	inc := k.w.incs[ref]
	switch {
	case inc == nil || inc.slot.cur != inc || inc.told.over:
		k.fail("stale", "%s is said to be in quarantine, but it is over", k.name(ref))
		return
	case !inc.freezing || !inc.iced && inc.main:
		k.fail("1", "%s is said to stand still, but it does not", inc.name())
		return
	case inc.svc.spec.Isolate == nil:
		k.fail("stopped", "%s is isolated, which its specification does not say", inc.name())
		return
	}
	k.w.marks[MarkQuarantined]++
	k.over(inc, policy.Status{}, false, false)
	inc.told.reaped, inc.told.empty = true, true
	inc.cage = cage{in: true, at: k.w.now}
	k.caged = append(k.caged, inc)
}

// quarantineEnded: the machine says that nothing of one lives.
func (k *checker) quarantineEnded(ref policy.Ref) {
	inc := k.w.incs[ref]
	if inc == nil || !inc.cage.holds() {
		k.fail("stale", "%s is said to have left the quarantine, but it was not there", k.name(ref))
		return
	}
	if inc.alive() {
		k.fail("2", "%s is said to have ended in quarantine, but it lives", inc.name())
	}
	inc.cage.gone = true
}

// actsOnInmate takes an action about one in quarantine; false: it is about none.
func (k *checker) actsOnInmate(a *policy.Action) bool {
	inc := k.w.incs[a.Ref]
	if inc == nil || !inc.cage.holds() {
		return false
	}
	switch a.Kind {
	case policy.ActKill:
		if !inc.cage.killed {
			inc.cage.killed, inc.cage.killAt = true, k.w.now
		}
	case policy.ActThaw:
		if inc.cage.killed {
			k.fail("stale", "%s is thawed, but it is being ended", inc.name())
		}
		inc.cage.resumed = true
		k.w.marks[MarkResumed]++
	default:
		k.fail("stale", "an action is asked for %s, which is in quarantine", inc.name())
	}
	return true
}

// cages checks that nobody is kept who is one too many, too old, or not wanted.
func (k *checker) cages() {
	if k.ended {
		return
	}
	kept := map[*service]int{}
	for _, inc := range k.caged {
		c, iso := &inc.cage, inc.svc.spec.Isolate
		if !c.holds() || c.killed {
			continue
		}
		keep := 0
		if iso != nil {
			keep = iso.Keep
		}
		if kept[inc.svc]++; kept[inc.svc] > keep {
			k.fail("keep", "%s is kept as one too many: %d are", inc.name(), keep)
		}
		if iso != nil && k.ticked >= c.at.Add(iso.TTL) && k.ticked > k.changed {
			k.fail("keep", "%s is kept for longer than %v", inc.name(), iso.TTL)
		}
		if sl := inc.slot; (!sl.wanted() || k.shutdown != nil) && !sl.hazy && !sl.unsure && !sl.restart {
			k.fail("2", "%s is kept in quarantine, but %s is to be stopped", inc.name(), sl.id)
		}
	}
}

// freed checks, at the end of all, that nothing is left in quarantine but what
// outlives its kill.
func (k *checker) freed() {
	for _, inc := range k.caged {
		if c := &inc.cage; c.holds() && !(c.killed && k.w.now.Sub(c.killAt) >= policy.DefaultKillPatience) {
			k.fail("end", "it ends while %s is in quarantine", inc.name())
		}
	}
}

// foundInmates reports what is true of those in quarantine to the next
// supervisor. Whom it has no place for, the driver ends.
func (w *world) foundInmates() {
	known := w.m.Snapshot().Quarantine
	for _, inc := range w.check.caged {
		if !inc.cage.holds() {
			continue
		}
		w.marks[MarkDeathInQuarantine]++
		switch {
		case !slices.ContainsFunc(known, func(v policy.InmateView) bool { return v.ID == inc.name() }):
			inc.main, inc.rest, inc.killing, inc.cage.gone = false, false, false, true
		case !inc.main:
			w.deliver(policy.Exited{Ref: inc.ref, Status: inc.status, Empty: !inc.rest})
		}
	}
}
