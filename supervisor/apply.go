package supervisor

import (
	"context"

	"nines/spec"
	"nines/supervisor/policy"
)

// Change is a specification that is to run, with what policy must know of it.
type Change struct {
	Spec    *spec.Spec        // valid
	Digests map[string]string // by service: see policy.SpecChanged
	Number  uint64            // that the keeper remembers once it has begun
	By      string            // who asked
	Undo    bool              // it takes back what nobody has confirmed
}

// names are those of the services of a specification.
func names(sp *spec.Spec) []string {
	list := make([]string, len(sp.Services))
	for i, v := range sp.Services {
		list[i] = v.Name
	}
	return list
}

func (c *Change) event() policy.SpecChanged {
	return policy.SpecChanged{Spec: c.Spec, Digests: c.Digests, Number: c.Number, By: c.By, Undo: c.Undo}
}

// Apply makes another specification the one that runs. Whoever calls it has made
// it durable before: from here on it acts. accepted is called, if not nil, when
// the keeper knows of it, so that a successor goes on with it; then, if wait, the
// answer is waited for. An ended ctx ends the wait, not the apply.
func (s *Supervisor) Apply(ctx context.Context, c Change, wait bool, accepted func()) (Answer, error) {
	var p *pending
	// Without ctx: what has begun must not be left between two specifications.
	if err := s.call(context.WithoutCancel(ctx), func() {
		var id policy.Request
		id, p = s.expect()
		s.apply(id, c)
	}); err != nil {
		return Answer{}, err
	}
	select {
	case <-p.accepted:
	case a := <-p.done:
		if a.Code == "" && accepted != nil {
			accepted() // there was nothing to wait for
		}
		return a, nil
	case <-s.ended:
		return Answer{}, ErrEnded
	}
	if accepted != nil {
		accepted()
	}
	if !wait {
		return Answer{Message: "accepted"}, nil
	}
	select {
	case a := <-p.done:
		return a, nil
	case <-ctx.Done():
		return Answer{}, ctx.Err()
	case <-s.ended:
		select {
		case a := <-p.done:
			return a, nil
		default:
			return Answer{}, ErrEnded
		}
	}
}

// apply steps the machine; only the loop calls it. id 0: nobody waits.
func (s *Supervisor) apply(id policy.Request, c Change) {
	ev := c.event()
	ev.Request = id
	fault("before-apply")
	s.asks(c.By, names(c.Spec)...)
	s.step(ev)
	s.keepBooks(names(c.Spec), false)
	if _, waits := s.replies[id]; id != 0 && !waits {
		return // refused
	}
	// Before anything of it is started: the starts follow in the same queue. And
	// before the keeper knows that it has begun: a successor that goes on from there
	// finds nothing in place of what it says.
	s.relog(c.Spec)
	s.node.Set(c.Spec.Checks)
	s.alerts.Set(c.Spec.Alerts)
	s.spawner.put(batch{spec: c.Spec})
	s.worked(len(c.Spec.Services))
}
