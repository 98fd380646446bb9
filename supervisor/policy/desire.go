package policy

// desire is what is wanted of a slot. The zero desire is to run.
type desire uint8

const (
	wantRun      desire = iota
	wantYield           // wanted, but a need of its service is being or was stopped, or its group is being restarted
	wantDisabled        // the spec says enabled = false
	wantStopped         // by a person
	wantGone            // by a person: scaled away
	wantEnd             // shutdown
	wantRemoved         // its service is no more in the specification
	wantReplaced        // its place is its twin's
	numDesires
)

func (d desire) String() string {
	return [...]string{"run", "yield", "disabled", "stopped", "gone", "end", "removed", "replaced"}[d]
}

// desired says what is wanted of s. It is the one place that says who wins:
//
//	shutdown                     > everything
//	removed from the spec        > what people said of it
//	scaled away by a person      > stopped, since it is no longer an instance
//	stopped by a person          > the spec
//	disabled by the spec         (a person's start lifts it until the next boot)
//	a need is being stopped, or  it is down, but still wanted
//	its group is
//	run                          subject to completion and failure for good,
//	                             backoff, needs and after: see evaluate
//
// Of what is beside its place (see twin.go) that is wanted which is of the place,
// and else that it goes.
func (m *Machine) desired(s *slot) desire {
	v := s.svc
	switch {
	case m.down.on:
		return wantEnd
	case s.aside:
		switch d := m.desired(s.twin); {
		case d == wantRun && s.candidate:
			return wantRun
		case d == wantRemoved:
			return wantRemoved
		}
		return wantReplaced
	case v.removed:
		return wantRemoved
	case s.index >= v.instances:
		return wantGone
	case v.stopped || s.stopped:
		return wantStopped
	case v.disabled():
		return wantDisabled
	case v.leavingNeeds > 0 || v.regroup:
		return wantYield
	}
	return wantRun
}

func (v *service) disabled() bool { return !v.spec.Enabled && !v.started }

// decision is what follows from a phase and a desire.
type decision uint8

const (
	keep   decision = iota // it is as wanted, or on its way, or must wait
	tryUp                  // start it, if needs and after allow
	cancel                 // forget what was to come: it is down
	end                    // stop it, once its dependents have gone
)

// decide is the product of phases and desires.
//
//	            run    yield   disabled stopped gone    end     removed replaced
//	down        tryUp  keep    keep     keep    keep    keep    keep    keep
//	backoff     keep   keep    cancel   cancel  cancel  cancel  cancel  cancel
//	completed   keep   keep    cancel   cancel  cancel  keep    cancel  cancel
//	failed      keep   keep    cancel   cancel  cancel  keep    cancel  cancel
//	spawning    keep   end     end      end     end     end     end     end
//	starting    keep   end     end      end     end     end     end     end
//	ready       keep   end     end      end     end     end     end     end
//	stopping, killing, clearing, stuck: keep, it is being ended already
//	freezing: keep, the answer says what follows
//
// In backoff, yield keeps: a start before its time would break the promise
// that a restart never comes before its backoff.
func decide(p phase, d desire) decision {
	switch p {
	case phaseDown:
		if d == wantRun {
			return tryUp
		}
	case phaseBackoff:
		if d != wantRun && (d != wantYield || bug == 2) {
			return cancel
		}
	case phaseCompleted, phaseFailed:
		if d == wantDisabled || d == wantStopped || d == wantGone || d == wantRemoved || d == wantReplaced {
			return cancel
		}
	case phaseSpawning, phaseStarting, phaseReady:
		if d != wantRun {
			return end
		}
	case phaseStopping, phaseKilling, phaseClearing, phaseStuck, phaseFreezing:
	}
	return keep
}
