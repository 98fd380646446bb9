package load

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"nines/spec"
)

// validate looks at what the services say of each other. It is called only
// when every file could be read: what is missing might stand in another.
func (d *decoder) validate(s *spec.Spec) {
	if len(s.Services) == 0 {
		if !d.hasErrors() {
			d.errorFile("no_services", d.firstFile(), "the specification defines no service",
				"Write for example:\n\nservice \"web\" {\n  command = [\"/usr/local/bin/web\"]\n}")
		}
		return
	}
	services := make(map[string]*spec.Service, len(s.Services))
	names := make([]string, 0, len(s.Services))
	for _, v := range s.Services {
		services[v.Name] = v
		names = append(names, v.Name)
	}
	for _, v := range s.Services {
		b := d.blocks[v]
		d.references(b, "needs", v.Needs, services, names)
		d.references(b, "after", v.After, services, names)
		for i, n := range v.Needs {
			if need := services[n]; need != nil && !need.Enabled && v.Enabled {
				d.warnAt("needs_disabled", b.item("needs", i), fmt.Sprintf("service %q needs %q, which is not enabled: it waits until that is started by hand", v.Name, n), "Enable it, or leave it out of needs.")
			}
		}
		if stop := b.subBlock("stop"); stop != nil && v.Stop.Timeout > s.Supervisor.ShutdownTimeout && stop.Body.Attributes["timeout"] != nil {
			d.warnAt("ineffective", stop.Body.Attributes["timeout"].Expr.Range(), fmt.Sprintf("service %q may take %s to stop, and a shutdown ends after %s", v.Name, b.shown("service.stop.timeout", v.Stop.Timeout), d.shutdownTimeout(s)), "Raise supervisor { shutdown_timeout }, or lower stop { timeout }.")
		}
	}
	d.members(s.Groups, services, names)
	d.addresses(s.Services)
	d.cycles(s.Services, services)
}

func (d *decoder) shutdownTimeout(s *spec.Spec) string {
	if d.tainted["supervisor.shutdown_timeout"] {
		return fromEnv
	}
	return s.Supervisor.ShutdownTimeout.String()
}

func (d *decoder) hasErrors() bool { return d.list.HasErrors() }

func (d *decoder) firstFile() string {
	for name, i := range d.order {
		if i == 0 {
			return name
		}
	}
	return ""
}

// references checks that the services in a list exist.
func (d *decoder) references(b *block, attr string, list []string, services map[string]*spec.Service, names []string) {
	for i, n := range list {
		if services[n] == nil {
			d.errorAt("unknown_service", b.item(attr, i), fmt.Sprintf("there is no service called %q", n),
				didYouMean(n, names, fmt.Sprintf("Define it: service %q { … }, or leave it out.", n)))
		}
	}
}

// members checks the groups: their services exist, and each is in one group.
func (d *decoder) members(groups []spec.Group, services map[string]*spec.Service, names []string) {
	first := map[string]struct {
		group string
		place hcl.Range
	}{}
	for _, g := range groups {
		b := d.groups[g.Name]
		d.references(b, "members", g.Members, services, names)
		for i, m := range g.Members {
			if f, ok := first[m]; ok && f.group != g.Name {
				d.errorBoth("duplicate", b.item("members", i), fmt.Sprintf("service %q is in two groups, %q and %q", m, f.group, g.Name), "Leave it out of one of them.", d.place(f.place, "first grouped here"))
				continue
			}
			first[m] = struct {
				group string
				place hcl.Range
			}{g.Name, b.item("members", i)}
		}
		if g.Strategy != spec.OneForOne {
			d.memberOrder(&g, services)
		}
	}
}

// memberOrder checks that a group's order is one in which its members can start:
// a restart starts them in the order of members, each when the one before is up.
func (d *decoder) memberOrder(g *spec.Group, services map[string]*spec.Service) {
	place := make(map[string]int, len(g.Members))
	for i, m := range g.Members {
		place[m] = i
	}
	// The last member that something waits for, however far. Each service is
	// looked at once; where services wait for each other that is said elsewhere.
	last := map[string]int{}
	var waits func(name string) int
	waits = func(name string) int {
		if n, seen := last[name]; seen {
			return n
		}
		last[name] = -1
		most := -1
		if v := services[name]; v != nil {
			for _, list := range [][]string{v.Needs, v.After} {
				for _, n := range list {
					if at, member := place[n]; member {
						most = max(most, at)
					}
					most = max(most, waits(n))
				}
			}
		}
		last[name] = most
		return most
	}
	b := d.groups[g.Name]
	for i, m := range g.Members {
		if after := waits(m); after > i {
			d.errorAt("order", b.item("members", i), fmt.Sprintf("group %q starts %q before %q, which %q waits for by needs or after", g.Name, m, g.Members[after], m),
				fmt.Sprintf("Write %q before %q in members.", g.Members[after], m))
		}
	}
}

// portRange is a run of ports that one port block takes.
type portRange struct {
	service, name string
	low, high     int
	place         hcl.Range
	block         *block // of the service
}

// addresses checks that no two listeners or ports want the same.
func (d *decoder) addresses(services []*spec.Service) {
	listens := map[string]portRange{}
	var ranges []portRange
	for _, s := range services {
		b := d.blocks[s]
		for _, l := range s.Listen {
			if l.Address == "" {
				continue
			}
			key, _, _ := strings.Cut(l.Address, "?")
			here := portRange{service: s.Name, name: l.Name, place: b.place("listen", l.Name)}
			if f, twice := listens[key]; twice {
				d.errorBoth("duplicate", here.place, fmt.Sprintf("%s is listened on twice, by %q and %q", b.shown("service.listen.address", key), f.service, s.Name), "Change one of the addresses.", d.place(f.place, "first listened on here"))
				continue
			}
			listens[key] = here
		}
		for _, p := range s.Ports {
			if p.Base > 0 && s.Instances > 0 && p.Base+s.Instances-1 <= 65535 {
				ranges = append(ranges, portRange{s.Name, p.Name, p.Base, p.Base + s.Instances - 1, b.place("port", p.Name), b})
			}
		}
	}
	slices.SortStableFunc(ranges, func(a, b portRange) int { return cmp.Compare(a.low, b.low) })
	for i := 1; i < len(ranges); i++ {
		f, r := ranges[i-1], ranges[i]
		if r.low <= f.high {
			d.errorBoth("duplicate", r.place, fmt.Sprintf("port %s is wanted twice: port %q of %q takes %s to %s, and port %q of %q takes %s to %s",
				r.block.shownPort(r.low), f.name, f.service, f.block.shownPort(f.low), f.block.shownPort(f.high),
				r.name, r.service, r.block.shownPort(r.low), r.block.shownPort(r.high)),
				"Move one base so that the ranges do not meet: an instance takes base + its index.", d.place(f.place, "the other one"))
		}
		if f.high > r.high {
			ranges[i].high = f.high // whatever begins inside the longer one meets it too
		}
	}
}

// edge is one wait of a service for another.
type edge struct {
	to    string
	attr  string
	place hcl.Range
}

// maxCycles is how many cycles are shown; one mended edge often mends several.
const maxCycles = 20

// cycles finds services that wait for each other, by needs and after together,
// and shows the way round.
func (d *decoder) cycles(list []*spec.Service, services map[string]*spec.Service) {
	edges := make(map[string][]edge, len(list))
	for _, s := range list {
		b := d.blocks[s]
		for _, attr := range []struct {
			name string
			list []string
		}{{"needs", s.Needs}, {"after", s.After}} {
			for i, n := range attr.list {
				if services[n] != nil && n != s.Name {
					edges[s.Name] = append(edges[s.Name], edge{n, attr.name, b.item(attr.name, i)})
				}
			}
		}
	}
	const (
		unseen = iota
		open
		done
	)
	type frame struct {
		name string
		next int
	}
	state := make(map[string]int, len(list))
	found := 0
	for _, s := range list {
		if state[s.Name] != unseen {
			continue
		}
		// A stack of our own: a chain may be as long as a file has room for.
		stack := []frame{{name: s.Name}}
		state[s.Name] = open
		for len(stack) > 0 {
			top := &stack[len(stack)-1]
			if top.next == len(edges[top.name]) {
				state[top.name] = done
				stack = stack[:len(stack)-1]
				continue
			}
			e := edges[top.name][top.next]
			top.next++
			switch state[e.to] {
			case unseen:
				state[e.to] = open
				stack = append(stack, frame{name: e.to})
			case open:
				if found++; found > maxCycles {
					return
				}
				from := slices.IndexFunc(stack, func(f frame) bool { return f.name == e.to })
				var way []string
				var taken []edge
				for _, f := range stack[from:] {
					way = append(way, f.name)
					taken = append(taken, edges[f.name][f.next-1])
				}
				d.cycle(append(way, e.to), taken)
			}
		}
	}
}

// maxCycle is how much of a cycle is shown.
const maxCycle = 20

func (d *decoder) cycle(way []string, taken []edge) {
	var places []Place
	for i, e := range taken {
		verb := "needs"
		if e.attr == "after" {
			verb = "starts after"
		}
		if i > 0 && i < maxCycle {
			places = append(places, d.place(e.place, fmt.Sprintf("%s %s %s", way[i], verb, e.to)))
		}
	}
	if len(way) > maxCycle {
		way = append(append(slices.Clone(way[:maxCycle-2]), "…"), way[len(way)-2:]...)
	}
	d.errorBoth("cycle", taken[0].place, "these services wait for each other: "+strings.Join(way, " → "), "Take one of them out of the needs or after of the one before it.", places...)
}
