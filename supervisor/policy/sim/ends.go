package sim

// ask notes why the machine ends inc, as far as that can be seen from outside,
// and checks that there is a reason, and that it is inc's turn.
func (k *checker) ask(inc *incarnation) {
	t, sl, now := &inc.told, inc.slot, k.w.now
	if t.ask == askNone {
		inc.endStep = k.w.steps
		sl.forgets(now, &k.w.marks)
		timeout := t.spawned && !t.ready && now >= inc.startBy() ||
			!t.spawned && now >= inc.asked.Add(inc.svc.spec.StartTimeout+spawnPatience)
		stop := inc.doomed || k.unwanted(sl)
		judged, due := inc.judged != 0 || inc.wants() > 0, k.due(inc)
		switch {
		case (timeout || judged) && stop:
			t.ask = askEither
			sl.turn = turnNone
		case timeout:
			t.ask = askTimeout
			k.w.marks[MarkStartTimeout]++
		case stop:
			t.ask = askStop
			if sl.restart || inc.restarted || inc.outdated() {
				sl.pardon(now)
				sl.ambiguous = true // its turn may not have come: what depends on a need is stopped too
			}
			switch {
			case inc.doomed: // it was decided earlier
			case inc.outdated() && !k.elsewise(sl):
				k.rolled(inc)
			default:
				k.turn(inc)
			}
		case judged:
			k.keepsBeating(inc)
			k.acted(inc, false)
			t.ask = askAct
		case due:
			k.acted(inc, true)
			t.ask = askStop
		default:
			k.fail("stopped", "%s is ended, but it is wanted, and it is not late", inc.name())
		}
		if sl.index >= inc.svc.instances {
			k.w.marks[MarkScaledDown]++
		}
	}
}

// unwanted says whether there is a reason to end what lives in the slot.
func (k *checker) unwanted(sl *slot) bool { return sl.cur.outdated() || k.elsewise(sl) }

// elsewise says whether there is one beside that it is of another revision.
func (k *checker) elsewise(sl *slot) bool {
	restart := sl.restart && (sl.svc.queued || sl.cur.step < sl.since)
	return !sl.wanted() || k.shutdown != nil || restart || sl.svc.yields(k) || sl.mayBeOld()
}

// turn checks that nothing lives of what depends on inc's service, where the
// service goes down as a whole.
func (k *checker) turn(inc *incarnation) {
	s, rel := inc.svc, 0
	switch {
	case k.shutdown != nil:
		if k.w.now >= k.shutdown.at.Add(k.w.sc.Spec.Supervisor.ShutdownTimeout) {
			k.w.marks[MarkShutdownKill]++
			return // whatever is left is killed, in any order
		}
		rel = 1
	case s.removed:
		if o := k.heldBy(s); o != nil {
			k.fail("order", "%s is ended, but %s, which was started when it needed it, lives", inc.name(), o.name())
		}
		rel = 1
	case inc.slot.index >= s.instances:
		return // a single instance takes nobody with it
	case inc.slot.stopped && !s.stopped:
		return
	case !s.stopped && !s.off() && !s.yields(k):
		if !inc.slot.restart && !k.due(inc) {
			k.groupTurn(inc)
		}
		return
	}
	for _, o := range k.services {
		if !o.below[rel][s] {
			continue
		}
		k.w.marks[MarkStopOrder]++
		if !o.quiet(k.w.now) {
			k.fail("order", "%s is ended, but %s, which depends on it, lives", inc.name(), o.spec.Name)
		}
	}
}
