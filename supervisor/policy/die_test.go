package policy

import (
	"fmt"
	"slices"
	"strings"
)

// die lets the supervisor die, and the next one go on. Where nothing was due, it
// finds itself exactly where the last one was.
func (c *chaos) die() {
	if c.ended {
		return
	}
	before := map[string]string{}
	rolled := slices.ContainsFunc(c.m.services, func(v *service) bool { return v.roll.on() })
	due := c.m.due.least() <= c.now
	for _, s := range c.m.slots {
		w := s.memory()
		w.Hook = false // asked again, or its time is over
		if s.unhealthy || s.act != nil || s.alert != (Reason{}) || s.whyFails() != (Reason{}) {
			continue // who judges, judges again
		}
		if c.kept[s.key()] != "" && (s.phase != phaseBackoff || s.nextAt > c.now) {
			before[s.key()] = string(w.Append(nil)) + s.words(c.m)
		}
	}
	inmates := c.inmates()
	c.m, c.inflight, c.old, c.waiting = New(Config{Seed: c.rng.Uint64()}), nil, nil, map[Request]bool{}
	past := c.kept.past(c.t).withSpecs(c.spec)
	past.Before = c.before
	c.feed(SpecChanged{Spec: c.spec, Digests: digests(c.spec), Past: past})
	for _, id := range c.m.unknown { // two applies ago: the driver ends it
		if service, _, _ := strings.Cut(id, "/"); c.spec.Service(service) != nil || c.before.Service(service) != nil && past.Slots[id].Phase == "ready" {
			c.t.Fatalf("not known: %v", c.m.unknown)
		}
		delete(c.kept, id)
	}
	rolls := rolled || len(c.m.unknown) > 0 || slices.ContainsFunc(c.m.services, func(v *service) bool { return v.roll.on() })
	for _, s := range c.m.slots {
		w := s.memory()
		w.Hook = false
		was, is := before[s.key()], string(w.Append(nil))+s.words(c.m)
		if !due && was != "" && was != is && !rolls { // a roll may go on at once, and what waits for what is not known
			c.t.Fatalf("%s was\n%s\nand is restored as\n%s", s.name, was, is)
		}
	}
	if is := c.inmates(); !due && inmates != is {
		c.t.Fatalf("in quarantine were\n%s\nand are restored\n%s", inmates, is)
	}
	// The driver reports.
	for _, f := range slices.Clone(c.m.quarantine) {
		if n := c.rng.IntN(4); n < 2 {
			c.feed(Exited{Ref: f.ref, Status: Status{Unknown: true}, Empty: n == 0})
		}
	}
	for _, s := range c.m.slots {
		if !s.phase.lives() {
			continue
		}
		n := c.rng.IntN(6)
		if n == 0 && !s.exited {
			c.feed(Exited{Ref: s.ref, Status: Status{Unknown: true}, Empty: true})
		} else if n == 1 && !s.exited {
			c.feed(Exited{Ref: s.ref, Status: Status{Code: c.rng.IntN(2)}, Empty: c.rng.IntN(2) == 0})
		} else if n == 2 && !s.answered {
			c.feed(SpawnFailed{Ref: s.ref, Again: true, Cause: "no process of it was found"})
		} else if n == 3 || !s.answered {
			c.feed(Spawned{Ref: s.ref, PID: 7})
		}
	}
}

// inmates is what must be remembered of the quarantine.
func (c *chaos) inmates() string {
	var b []byte
	for _, f := range c.m.quarantine {
		w := f.remember()
		b = append(w.Append(append(append(b, f.id()...), ' ')), '\n')
	}
	return string(b)
}

// words is what people are told of a slot, but for who ended it, and what ended
// everything.
func (s *slot) words(m *Machine) string {
	w := m.viewSlot(s)
	if w.State == Stopping && s.phase != phaseClearing || m.down.on {
		w.Reason = Reason{}
	}
	if w.Reason.kind == whyStopped {
		w.Reason.name = ""
	}
	if w.Reason.kind == whyGroup { // which instance had ended is not remembered
		w.Reason = Reason{}
	}
	if w.Reason.kind == whyNotReady {
		w.Reason = Reason{}
	}
	w.Checks = nil // what is known of them begins anew
	w.Ref.Slot, w.Slot = 0, 0
	return fmt.Sprintf(" %+v %s", w, w.Reason)
}
