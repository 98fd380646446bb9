package sim

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"nines/spec"
)

// Apply is another specification, told by how it differs from the newest one that
// was made durable. An edit that would make it invalid does nothing.
type Apply struct{ Edits []Edit }

// Edit changes one thing of a specification.
type Edit struct {
	Kind    EditKind
	Service string
	Other   string // EditNeed, EditAfter, EditGroup: another service
	N       int    // which of what is possible
}

// EditKind is what an Edit changes.
type EditKind uint8

// The kinds of edits.
const (
	EditRevise  EditKind = iota // another command: another revision, or an earlier one again
	EditResize                  // another number of instances
	EditRemove                  // the service is no more, and N says whether what depends on it
	EditAdd                     // a service that was there before, or never
	EditEnable                  // enabled or not, the contrary of what it was
	EditNeed                    // it needs Other, or does not any more
	EditAfter                   // it comes after Other, or does not any more
	EditGroup                   // it forms a group with Other, or its group is no more
	EditBudget                  // another available_at_least
	EditRecycle                 // another recycle
	EditIsolate                 // another isolate
	editKinds
)

var editNames = [editKinds]string{"revise", "resize", "remove", "add", "enable", "need", "after", "group", "budget", "recycle", "isolate"}

func (e Edit) String() string {
	return fmt.Sprintf("%s %s %s %d", editNames[e.Kind%editKinds], e.Service, e.Other, e.N)
}

// apply returns what sp becomes. What it does not change, the two share.
func (a *Apply) apply(sc *Scenario, sp *spec.Spec) *spec.Spec {
	for _, e := range a.Edits {
		if next := e.apply(sc, sp); sound(next) {
			sp = next
		}
	}
	return sp
}

func (e Edit) apply(sc *Scenario, old *spec.Spec) *spec.Spec {
	sp := *old
	sp.Services = slices.Clone(old.Services)
	at := slices.IndexFunc(sp.Services, func(v *spec.Service) bool { return v.Name == e.Service })
	if e.Kind == EditAdd {
		if at < 0 {
			sp.Services = append(sp.Services, e.added(sc, &sp))
		}
		return &sp
	}
	if at < 0 {
		return &sp
	}
	v := *sp.Services[at]
	sp.Services[at] = &v
	c := key(sc.Seed, hash("edit"), hash(e.Service), uint64(e.N))
	switch e.Kind {
	case EditRevise:
		v.Process.Command = spec.Expr(`["/bin/service", "` + strconv.Itoa(e.N%3) + `"]`)
	case EditResize:
		v.Instances = e.N % 5
		if v.AvailableAtLeast = 0; v.AvailableSet {
			v.AvailableAtLeast = c.below(v.Instances + 1)
		} else if v.Instances > 1 {
			v.AvailableAtLeast = v.Instances - 1
		}
	case EditRemove:
		removeService(&sp, v.Name, e.N%2 == 1)
	case EditEnable:
		v.Enabled = !v.Enabled
	case EditNeed:
		v.Needs = toggled(v.Needs, e.Other, &sp)
	case EditAfter:
		v.After = toggled(v.After, e.Other, &sp)
	case EditGroup:
		in := func(g spec.Group) bool {
			return slices.Contains(g.Members, v.Name) || slices.Contains(g.Members, e.Other)
		}
		if slices.ContainsFunc(sp.Groups, in) {
			sp.Groups = slices.DeleteFunc(slices.Clone(sp.Groups), in)
		} else if e.Other != v.Name && sp.Service(e.Other) != nil {
			sp.Groups = append(slices.Clone(sp.Groups), spec.Group{
				Name: "g" + v.Name, Strategy: pick(&c, spec.OneForAll, spec.RestForOne), Members: []string{e.Other, v.Name},
			})
		}
	case EditBudget:
		v.AvailableAtLeast, v.AvailableSet = c.below(v.Instances+1), true
	case EditRecycle:
		if v.Recycle = nil; v.Type != spec.TypeTask && c.of(700) {
			v.Recycle = &spec.Recycle{MaxAge: pick(&c, 20*time.Second, time.Minute, time.Hour), Jitter: pick(&c, 0, 0.1)}
		}
	case EditIsolate:
		if v.Isolate = nil; c.of(800) {
			v.Isolate = generateIsolate(&c)
		}
	case EditAdd, editKinds:
	}
	return &sp
}

// removeService takes a service away, and with it what needs it and comes after it,
// or else these no longer do.
func removeService(sp *spec.Spec, name string, all bool) {
	gone := map[string]bool{name: true}
	for more := all; more; {
		more = false
		for _, v := range sp.Services {
			if !gone[v.Name] && slices.ContainsFunc(slices.Concat(v.Needs, v.After), func(d string) bool { return gone[d] }) {
				gone[v.Name], more = true, true
			}
		}
	}
	is := func(name string) bool { return gone[name] }
	sp.Services = slices.DeleteFunc(sp.Services, func(v *spec.Service) bool { return gone[v.Name] })
	for i, o := range sp.Services {
		u := *o
		u.Needs, u.After = slices.DeleteFunc(slices.Clone(u.Needs), is), slices.DeleteFunc(slices.Clone(u.After), is)
		sp.Services[i] = &u
	}
	sp.Groups = slices.Clone(sp.Groups)
	for i := range sp.Groups {
		sp.Groups[i].Members = slices.DeleteFunc(slices.Clone(sp.Groups[i].Members), is)
	}
}

// added is a service as it was at first, or one that never was. It needs Other.
func (e Edit) added(sc *Scenario, sp *spec.Spec) *spec.Service {
	c := key(sc.Seed, hash("added"), hash(e.Service))
	v := generateService(&c, e.Service)
	if was := sc.Spec.Service(e.Service); was != nil {
		again := *was
		v = &again
		v.Needs, v.After = nil, nil
	}
	v.Needs = toggled(v.Needs, e.Other, sp)
	return v
}

func without(list []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == name })
}

func toggled(list []string, name string, sp *spec.Spec) []string {
	if !slices.Contains(list, name) && sp.Service(name) != nil {
		return append(slices.Clone(list), name)
	}
	return without(list, name)
}

// sound says whether a specification is one that load would accept: there is an
// order in which needs, after and the members of groups can all start.
func sound(sp *spec.Spec) bool {
	before := map[string][]string{}
	for _, v := range sp.Services {
		before[v.Name] = append(slices.Clone(v.Needs), v.After...)
	}
	for _, g := range sp.Groups {
		for i, name := range g.Members {
			if i > 0 && g.Strategy != spec.OneForOne {
				before[name] = append(before[name], g.Members[i-1])
			}
		}
	}
	const (
		under = iota + 1
		done
	)
	state := map[string]int{}
	var visit func(name string) bool
	visit = func(name string) bool {
		switch state[name] {
		case under:
			return false
		case done:
			return true
		}
		state[name] = under
		for _, b := range before[name] {
			if !visit(b) {
				return false
			}
		}
		state[name] = done
		return true
	}
	for _, v := range sp.Services {
		if !visit(v.Name) {
			return false
		}
	}
	return true
}

// generateApply makes one that changes a few things of some services.
func generateApply(c *chance, sp *spec.Spec) *Apply {
	name := func() string {
		if c.of(100) {
			return serviceName(len(sp.Services) + c.below(2)) // one that was not there at first
		}
		return sp.Services[c.below(len(sp.Services))].Name
	}
	a := &Apply{}
	for range 1 + c.below(4) {
		kind := EditKind(c.below(int(editKinds)))
		if c.of(300) {
			kind = pick(c, EditRevise, EditRemove, EditAdd)
		}
		a.Edits = append(a.Edits, Edit{Kind: kind, Service: name(), Other: name(), N: c.below(20)})
	}
	return a
}
