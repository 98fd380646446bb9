package probe

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"nines/spec"
)

// CPU looks at the CPU time that an instance uses. It fails when, between each
// two samples for at least block.For, that was more than block.Above percent of
// one CPU. A sample that is not above ends that.
type CPU struct {
	block  *spec.CheckCPU
	begun  bool
	at     time.Duration // of the last sample
	used   time.Duration
	hot    bool
	since  time.Duration
	output string
}

// NewCPU makes a CPU of a cpu block.
func NewCPU(block *spec.CheckCPU) *CPU { return &CPU{block: block} }

// Judge takes a sample, the CPU time used since the instance began, and says what
// holds now. Times are those of a monotonic clock and do not go back.
func (c *CPU) Judge(now, used time.Duration) Result {
	at, before, begun := c.at, c.used, c.begun
	if begun && now == at {
		return c.verdict(now)
	}
	c.at, c.used, c.begun = now, used, true
	if !begun || used < before {
		// The first, or a process has ended whose time was counted.
		c.hot, c.output = false, ""
		return Result{}
	}
	percent := 100 * float64(used-before) / float64(now-at)
	c.output = "cpu " + percentage(percent)
	switch {
	case !(percent > c.block.Above):
		c.hot = false
	case !c.hot:
		c.hot, c.since = true, at
	}
	return c.verdict(now)
}

func (c *CPU) verdict(now time.Duration) Result {
	if !c.hot || now-c.since < c.block.For {
		return Result{Output: c.output}
	}
	text := fmt.Sprintf("%s, for %s above %s of one CPU", c.output, (now - c.since).Round(time.Second), percentage(c.block.Above))
	return Result{Output: text, Err: &Error{Cause: Bound, Text: text}}
}

// percentage is as in "97.3%".
func percentage(p float64) string { return strconv.FormatFloat(math.Round(10*p)/10, 'f', -1, 64) + "%" }
