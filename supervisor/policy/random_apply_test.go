package policy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"nines/spec"
)

// applyAnother applies a specification that differs in a few things.
func (c *chaos) applyAnother() {
	r := c.rng
	sp := *c.spec
	sp.Services = nil
	drop := func(list []string, name string) []string {
		return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == name })
	}
	for _, old := range c.spec.Services {
		v := *old
		switch r.IntN(10) {
		case 0:
			v.Instances = r.IntN(4)
		case 1:
			v.Enabled = !v.Enabled
		case 2, 3:
			v.Process.Command = spec.Expr(fmt.Sprint(r.IntN(3)))
		case 4:
			if len(v.Needs) > 0 {
				v.Needs, v.After = v.Needs[1:], append(slices.Clone(v.After), v.Needs[0])
			} else if len(v.After) > 0 {
				v.After, v.Needs = drop(v.After, v.After[0]), append(slices.Clone(v.Needs), v.After[0])
			}
		case 5:
			v.Ready = []*spec.Ready{nil, {Notify: "systemd"}, {Delay: time.Second}}[r.IntN(3)]
		case 7:
			v.Data = randomData(r)
		case 6:
			v.CrashLoop.Failures = 1 + r.IntN(5)
			v.Restart.Delay = time.Duration(r.IntN(3)) * 100 * time.Millisecond
		}
		sp.Services = append(sp.Services, &v)
	}
	if n := len(sp.Services); n > 1 && r.IntN(3) == 0 {
		gone := r.IntN(n)
		name := sp.Services[gone].Name
		sp.Services = slices.Delete(sp.Services, gone, gone+1)
		for _, v := range sp.Services {
			v.Needs, v.After = drop(v.Needs, name), drop(v.After, name)
		}
		sp.Groups = slices.Clone(sp.Groups)
		for i := range sp.Groups {
			sp.Groups[i].Members = drop(sp.Groups[i].Members, name)
		}
	} else if r.IntN(3) == 0 {
		for i := range 9 { // one that was there before, or never
			v := newService(fmt.Sprintf("s%d", i))
			if sp.Service(v.Name) == nil {
				v.Instances = 1 + r.IntN(2)
				if n > 0 && r.IntN(2) == 0 && sp.Services[0].Name < v.Name { // no cycle, and groups keep their order
					v.Needs = []string{sp.Services[0].Name}
				}
				sp.Services = append(sp.Services, v)
				break
			}
		}
	}
	if r.IntN(4) == 0 {
		sp.Groups = randomGroups(r, sp.Services)
	}
	c.before, c.spec = c.spec, &sp
	c.request++
	c.removed, c.removedBy = nil, c.request
	for _, v := range c.before.Services {
		if sp.Service(v.Name) == nil {
			c.removed = append(c.removed, v.Name)
		}
	}
	c.feed(SpecChanged{Spec: &sp, Digests: digests(&sp), Request: c.request, By: "ann", Number: uint64(c.request)})
}

// checkApply: once an apply is done, nothing of what it removed lives; and what a
// roll takes down, the disruption budget allows.
func (c *chaos) checkApply(o *Output) {
	for _, a := range o.Then {
		if a.Kind != ActDone || a.Failed || a.Request != c.removedBy {
			continue
		}
		for _, s := range c.m.slots {
			if s.phase.lives() && slices.Contains(c.removed, s.svc.spec.Name) {
				c.t.Fatalf("the apply is done, and %s, which it removed, is %s", s.name, s.phase)
			}
		}
	}
	for _, n := range o.Notices {
		if n.Kind != KindRestarting || n.Reason.kind != whyUpdate {
			continue
		}
		s := c.m.slots[n.Slot]
		if v := s.svc; s.wasReady && !s.unhealthy && v.spec.Type == spec.TypeService && v.healthy < v.atLeast() {
			c.t.Fatalf("%s is replaced, and leaves %d ready; at least %d must stay", s.name, v.healthy, v.atLeast())
		}
	}
}

// randomGroups puts services into groups. Needs point backwards in the order of
// definition, and so that order is one for groups.
func randomGroups(r *rand.Rand, services []*spec.Service) (groups []spec.Group) {
	strategies := [...]spec.Strategy{"one_for_one", "one_for_all", "rest_for_one"}
	for i := 0; i < len(services); {
		n := min(1+r.IntN(4), len(services)-i)
		g := spec.Group{Name: fmt.Sprintf("g%d", i), Strategy: strategies[r.IntN(len(strategies))]}
		for _, v := range services[i : i+n] {
			g.Members = append(g.Members, v.Name)
		}
		if r.IntN(2) == 0 {
			groups = append(groups, g)
		}
		i += n
	}
	return groups
}
