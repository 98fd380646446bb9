package probe

import (
	"fmt"
	"time"

	"nines/spec"
)

// logParts is into how many parts the window of a LogRate is cut.
const logParts = 64

// LogRate looks at how many lines matched. It fails when more than max.Count did
// within the last max.Per, as far as that is told to a 64th of it: what may have
// been before the window is not counted.
type LogRate struct {
	max     spec.Rate
	pattern string
	parts   [logParts]uint64
	sum     uint64
	last    int64 // number of the newest part since time 0
}

// NewLogRate makes a LogRate of a log block.
func NewLogRate(block *spec.CheckLog) *LogRate {
	return &LogRate{max: block.Max, pattern: block.Pattern}
}

// Add counts n lines that matched at a time, or up to a 64th of the window before
// it. Times are those of a monotonic clock. They may go back, as where two streams
// are told of one after the other: what is older than the window is not counted.
func (l *LogRate) Add(at time.Duration, n uint64) {
	l.forget(at)
	part := l.part(at)
	if part < 0 || part <= l.last-logParts {
		return
	}
	// A line more than the bound tells as much as all: the sum cannot overflow.
	n = min(n, l.max.Count+1)
	l.parts[part%logParts] += n
	l.sum += n
}

func (l *LogRate) part(at time.Duration) int64 { return int64(at / max(l.max.Per/logParts, 1)) }

// Judge says what holds now.
func (l *LogRate) Judge(now time.Duration) Result {
	l.forget(now)
	if l.sum <= l.max.Count {
		return Result{Output: fmt.Sprintf("%d matching lines in %s", l.sum, l.max.Per)}
	}
	text := fmt.Sprintf("more than %d lines in %s match %q", l.max.Count, l.max.Per, l.pattern)
	return Result{Output: text, Err: &Error{Cause: Bound, Text: text}}
}

// forget takes the parts away that are no more wholly in the window.
func (l *LogRate) forget(now time.Duration) {
	part := l.part(now)
	for i := max(l.last, part-logParts) + 1; i <= part; i++ {
		l.sum -= l.parts[i%logParts]
		l.parts[i%logParts] = 0
	}
	l.last = max(l.last, part)
}
