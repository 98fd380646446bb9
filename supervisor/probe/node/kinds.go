package node

import (
	"context"
	"fmt"
	"math"
	"os"
	"strconv"
	"sync"
	"time"

	"nines/cgroups"
	"nines/spec"
	"nines/supervisor/probe"
	"nines/supervisor/proc"
)

// kind makes the attempts of a check.
func (r *Runner) kind(s *spec.NodeCheck) func(context.Context) probe.Result {
	switch {
	case s.Disk != nil:
		return newDisk(s.Disk).probe
	case s.Clock != nil:
		c := &clock{step: s.Clock.Step}
		return func(context.Context) probe.Result { return c.judge(readClock()) }
	case s.Pressure != nil:
		p := *s.Pressure
		return func(context.Context) probe.Result {
			b, err := os.ReadFile("/proc/pressure/" + p.Of)
			return pressure(&p, b, err)
		}
	case s.TCP != nil:
		address, err := r.cfg.Eval(s.TCP.Address)
		if err != nil {
			return failing(fmt.Errorf("cannot tell what address to connect to: %w", err))
		}
		return r.cfg.Client.TCP(address).Probe
	}
	return failing(fmt.Errorf("cannot check anything: the block names no kind"))
}

func failing(err error) func(context.Context) probe.Result {
	return func(context.Context) probe.Result {
		return probe.Result{Err: &probe.Error{Cause: probe.Unable, Text: err.Error(), Err: err}}
	}
}

// clock sees steps of the wall clock: that it has moved otherwise than the time
// since the boot, which goes on while the machine is suspended. An adjustment
// that slews is at most 500 ppm.
type clock struct {
	step time.Duration

	mu     sync.Mutex
	begun  bool
	offset time.Duration
}

// clockReads is how often the two clocks are read at most, until nothing came in
// between.
const clockReads = 5

// readClock is the wall clock's offset to the time since the boot.
func readClock() (offset time.Duration, err error) {
	best := time.Duration(math.MaxInt64)
	for range clockReads {
		before, err := proc.Boottime()
		if err != nil {
			return 0, err
		}
		wall := time.Now().UnixNano()
		after, err := proc.Boottime()
		if err != nil {
			return 0, err
		}
		if after-before < best {
			best, offset = after-before, time.Duration(wall)-before
		}
		if best < time.Millisecond {
			break
		}
	}
	return offset, nil
}

func (c *clock) judge(offset time.Duration, err error) probe.Result {
	if err != nil {
		return failing(fmt.Errorf("cannot read the clock: %w", err))(context.Background())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	moved := offset - c.offset
	begun := c.begun
	c.offset, c.begun = offset, true
	if !begun || moved.Abs() <= c.step {
		return probe.Result{}
	}
	way := "forward"
	if moved < 0 {
		way = "back"
	}
	text := fmt.Sprintf("the clock was set %s by %s, more than %s (step)", way, short(moved.Abs()), c.step)
	return probe.Result{Err: &probe.Error{Cause: probe.Bound, Text: text}}
}

func short(d time.Duration) string {
	if d >= time.Second {
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(10 * time.Microsecond).String()
}

// pressure judges a file of /proc/pressure.
func pressure(p *spec.NodePressure, file []byte, err error) probe.Result {
	if err != nil {
		return failing(fmt.Errorf("cannot read the pressure of %s: %w; the kernel needs PSI (psi=1)", p.Of, err))(context.Background())
	}
	some, _, ok := cgroups.ParsePressure(file)
	if !ok {
		return failing(fmt.Errorf("cannot read the pressure of %s: unknown format", p.Of))(context.Background())
	}
	text := "pressure of " + p.Of + " is " + percent(some.Avg10)
	if some.Avg10 <= p.Above {
		return probe.Result{Output: text}
	}
	return probe.Result{Output: text, Err: &probe.Error{Cause: probe.Bound, Text: text + ", above " + percent(p.Above) + " (some, avg10)"}}
}

// percent is as in "4.2%".
func percent(p float64) string {
	return strconv.FormatFloat(math.Round(10*p)/10, 'f', -1, 64) + "%"
}
