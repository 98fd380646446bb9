package supervisor

import (
	"bytes"
	"os"
	"strconv"
	"sync"
	"time"

	"nines/cgroups"
	"nines/supervisor/policy"
	"nines/supervisor/proc"
)

// Before a failure counts it is asked whether the instance could have answered.

const (
	// overloaded is the share of the time, in percent over ten seconds, in which
	// something was runnable and had no CPU, from which on the machine is to blame.
	overloaded = 90
	// stepped is by how much the wall clock must differ from the monotonic one
	// after an attempt to have been set.
	stepped = 500 * time.Millisecond
	// suspended is by how much CLOCK_BOOTTIME must have gained on CLOCK_MONOTONIC.
	suspended = 10 * time.Millisecond
)

// moment is how things are when an attempt begins.
type moment struct {
	at        time.Time     // on the monotonic clock
	wall      time.Time     // on the wall clock
	asleep    time.Duration // for how long the machine was suspended since it booted
	throttled uint64        // how often the instance was, by its cpu.max
}

func (c *checks) moment(in *incarnation) moment {
	now := time.Now()
	return moment{at: now, wall: now.Round(0), asleep: proc.Suspended(), throttled: throttled(in)}
}

// excuse says why a failed attempt, which began then, late by so much, and took so
// long, proves nothing; ExcuseNone: it does.
func (c *checks) excuse(t *attempt, then moment, late, took time.Duration) policy.Excuse {
	now := c.moment(t.in)
	drift := now.wall.Sub(then.wall) - now.at.Sub(then.at)
	limit := t.block.Timing.Timeout
	switch {
	case now.asleep-then.asleep > suspended:
		return policy.ExcuseSuspended
	case now.throttled > then.throttled:
		return policy.ExcuseThrottled
	case drift > stepped || drift < -stepped:
		return policy.ExcuseClock
	case late > limit/2 || took > limit+limit/2:
		return policy.ExcuseLate
	case c.psi.cpu() >= overloaded:
		return policy.ExcuseOverloaded
	}
	return policy.ExcuseNone
}

// throttled is how often an instance was held up by its own cpu.max; 0 where it
// has none, so that nothing is read for those.
func throttled(in *incarnation) uint64 {
	if in.group == nil || in.svc == nil || in.svc.Limits.CPU == nil || in.svc.Limits.CPU.Max <= 0 {
		return 0
	}
	b, err := in.group.Read("cpu.stat")
	if err != nil {
		return 0 // it has just ended, or there is no controller
	}
	_, rest, ok := bytes.Cut(b, []byte("nr_throttled "))
	if !ok {
		return 0
	}
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	n, err := strconv.ParseUint(string(line), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

const (
	pressurePath = "/proc/pressure/cpu"
	pressureAge  = time.Second // the kernel makes its averages anew every two seconds
)

// pressure is the machine's CPU pressure, read when somebody asks and no more
// than once in pressureAge: when thousands of checks fail at once, they ask once.
type pressure struct {
	path string

	mu   sync.Mutex
	read time.Time
	some float64
}

// cpu is the share of the last ten seconds, in percent, in which something waited
// for a CPU; 0 where the kernel does not say.
func (p *pressure) cpu() float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); p.read.IsZero() || now.Sub(p.read) >= pressureAge {
		p.read, p.some = now, 0
		b, err := os.ReadFile(p.path)
		if err != nil {
			return 0 // no PSI in this kernel: nothing is excused by it
		}
		if some, _, ok := cgroups.ParsePressure(b); ok {
			p.some = some.Avg10
		}
	}
	return p.some
}
