package probe

import (
	"fmt"
	"time"

	"nines/spec"
)

// What counts as no progress between two samples.
const (
	stallShare = 0.9  // of the time, nothing could run because memory or a device was waited for
	stallCPU   = 0.01 // of the time, at most, was run
)

// Stalled is a sample of an instance, as proc.Activity has it.
type Stalled struct {
	CPU                  time.Duration // used since it began
	Blocked              bool          // each of its threads is in D, or stopped
	MemoryStall, IOStall time.Duration // since it began, PSI full
}

// Stall looks at whether an instance makes progress. It fails when, between each
// two samples for at least block.For,
//
//   - it could not run for 90 % of the time because all that wanted to run waited
//     for memory or a device (PSI full); or
//   - at both samples all threads were in D or stopped, and in between it ran for
//     at most 1 % of the time.
//
// One that sleeps because there is nothing to do is neither, and so is one that
// waits for a lock: whether it should answer is the question of another check.
type Stall struct {
	block *spec.CheckStall
	begun bool
	at    time.Duration
	last  Stalled
	held  bool
	since time.Duration
	why   string
}

// NewStall makes a Stall of a stall block.
func NewStall(block *spec.CheckStall) *Stall { return &Stall{block: block} }

// Judge takes a sample and says what holds now. Times are those of a monotonic
// clock and do not go back.
func (s *Stall) Judge(now time.Duration, sample Stalled) Result {
	at, last, begun := s.at, s.last, s.begun
	if begun && now == at {
		return s.verdict(now)
	}
	s.at, s.last, s.begun = now, sample, true
	if !begun {
		return Result{}
	}
	if s.why = stalled(&last, &sample, now-at); s.why == "" {
		s.held = false
	} else if !s.held {
		s.held, s.since = true, at
	}
	return s.verdict(now)
}

// stalled says why there was no progress between two samples, or "".
func stalled(a, b *Stalled, span time.Duration) string {
	most := time.Duration(stallShare * float64(span))
	switch {
	case b.MemoryStall-a.MemoryStall >= most:
		return "all of it waits for memory"
	case b.IOStall-a.IOStall >= most:
		return "all of it waits for a device"
	case a.Blocked && b.Blocked && b.CPU >= a.CPU && b.CPU-a.CPU <= time.Duration(stallCPU*float64(span)):
		return "all of its threads are blocked in the kernel or stopped"
	}
	return ""
}

func (s *Stall) verdict(now time.Duration) Result {
	if !s.held || now-s.since < s.block.For {
		return Result{Output: s.why}
	}
	text := fmt.Sprintf("no progress for %s: %s", (now - s.since).Round(time.Second), s.why)
	return Result{Output: text, Err: &Error{Cause: Bound, Text: text}}
}
