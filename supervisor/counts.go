package supervisor

import (
	"strconv"
	"strings"
	"sync"
	"time"

	"nines/spec"
	"nines/supervisor/logs"
	"nines/supervisor/policy"
	"nines/supervisor/probe"
)

// counts is what nines-log has counted in the output of an incarnation. The loop
// adds to it, the workers of checks judge it. When nines-log dies it is kept, and
// what the next one counts is added; when we die, our successor is told by
// nines-log how much of it is recent. When both die at once it is lost.
type counts struct {
	mu    sync.Mutex
	epoch string                           // of nines-log
	told  map[uint64]uint64                // totals of that epoch, by the id of the count
	came  map[string]bool                  // patterns of which one line was to come, and did
	rates map[spec.CheckLog]*probe.LogRate // those that are judged
}

// rate is that of a check; c.mu is held.
func (c *counts) rate(block *spec.CheckLog) *probe.LogRate {
	r := c.rates[*block]
	if r == nil {
		if c.rates == nil {
			c.rates = map[spec.CheckLog]*probe.LogRate{}
		}
		r = probe.NewLogRate(block)
		c.rates[*block] = r
	}
	return r
}

// add takes a total, for the checks of an incarnation that are judged now.
func (c *counts) add(epoch string, t *logs.Count, checks []spec.Check, now time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.told == nil || c.epoch != epoch {
		c.epoch, c.told = epoch, map[uint64]uint64{}
	}
	before, known := c.told[t.ID]
	c.told[t.ID] = t.Total
	if t.Total <= before {
		return // it was told already
	}
	if t.Within == 0 {
		if c.came == nil {
			c.came = map[string]bool{}
		}
		c.came[t.Pattern] = true
		return
	}
	for i := range checks {
		l := checks[i].Log
		switch {
		case l == nil || l.Pattern != t.Pattern || l.Max.Per != t.Within:
		case known || t.Recent == nil:
			c.rate(l).Add(now, t.Total-before)
		default:
			for _, s := range t.Recent {
				c.rate(l).Add(now-s.Ago, s.Lines)
			}
		}
	}
}

// judge says whether lines come faster than a check allows.
func (c *counts) judge(block *spec.CheckLog, now time.Duration) probe.Result {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rate(block).Judge(now)
}

// has says whether a line that was to come has come.
func (c *counts) has(pattern string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.came[pattern]
}

// sinceBoot is a moment as counts take it.
func sinceBoot(t policy.Time) time.Duration { return time.Duration(t) }

// counted takes what nines-log has counted in a pipe; the loop's.
func (s *Supervisor) counted(epoch string, c *logs.Count) {
	name, _, _ := strings.Cut(c.Pipe, ":")
	id, number, _ := cutIncarnation(name)
	service, place, _ := strings.Cut(id, "/")
	index, err := strconv.Atoi(place)
	n, nerr := strconv.ParseUint(number, 10, 64)
	if err != nil || nerr != nil {
		return // not a pipe of an instance
	}
	ref, ok := s.machine.Incarnation(service, index, n)
	in := s.current(ref)
	if !ok || in == nil {
		return // it has ended, and nothing but its own end is of interest
	}
	svc, _ := s.machine.Slot(ref.Slot)
	in.counts.add(epoch, c, svc.Checks, sinceBoot(s.clock.now()))
	s.readyByLine(in)
}

// readyByLine: an instance whose ready block waits for a line is ready when that
// has come.
func (s *Supervisor) readyByLine(in *incarnation) {
	svc, _ := s.machine.Slot(in.ref.Slot)
	if r := svc.Ready; r != nil && r.Check != nil && r.Check.Log != nil && s.machine.Starting(in.ref) && in.counts.has(r.Check.Log.Pattern) {
		s.step(policy.Ready{Ref: in.ref})
	}
}
