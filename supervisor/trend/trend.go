// Package trend judges how much memory an instance uses: whether that has been
// too much for too long, and whether it grows as a leak does. It is pure: it
// sees times and sizes, knows no clock and reads nothing. A Judge is one value
// of fixed size, a sample costs some nanoseconds, and allocates nothing.
//
// # Too much
//
// High holds when every sample for Rule.For was above Rule.Above. One that is
// not ends it, and so does a gap between samples: what was not seen is not held
// against an instance.
//
// # A leak
//
// A leak is growth that is never given back. What is looked at is therefore the
// floor, not the samples: Rule.Window is cut into 8 segments, and of each the
// least sample counts. A heap that is collected, a cache that is flushed and a
// burst of requests raise the samples between two floors, not the floors. Leak
// begins to hold at the end of a segment when, of the last 9 floors, which are a
// window apart,
//
//   - the slope (Theil–Sen: the median of those between any two floors) is at
//     least Rule.Growth;
//   - it is sustained: each floor is above the one before, by at least a third
//     of the mean step. So no step, and no row of a few steps, is a leak;
//   - it does not level off: the last three steps together are at least 0.6 of
//     the first three. So a cache that fills up is none.
//
// It ends when that slope is below half of Rule.Growth: what goes up and down
// about the bound is told once.
//
// A leak of at least Growth is found within Window and three segments of its
// beginning. What the window does not show, nobody can tell from a leak: a heap
// that grows for longer than Window before it is collected, at more than Growth,
// is taken for one. Growth that comes in a few large steps a window is not found.
//
// A gap (no sample for GapCadences cadences) and a segment of which more than
// half the samples are missing begin the window anew. Times are those of a clock
// that stands still while the machine is suspended (CLOCK_MONOTONIC).
package trend

import (
	"slices"
	"time"
)

// Rule says what is too much. It is the same for all incarnations of a service.
type Rule struct {
	Above  uint64        // bytes; 0: no amount is too much
	For    time.Duration // how long it must be above Above
	Growth float64       // bytes a second, 0: no growth is too much
	Window time.Duration // over which it is looked at; at least MinWindow is used
}

const (
	segments = 8            // of a window
	floors   = segments + 1 // the first and the last are a window apart

	// MinCadence and MaxCadence bound Cadence.
	MinCadence = time.Second
	MaxCadence = time.Minute
	// MinWindow is the shortest window: a sample for each segment.
	MinWindow = segments * MinCadence
	// GapCadences is after how many cadences without a sample there is a gap.
	GapCadences = 4

	samplesPerFor     = 4
	samplesPerSegment = 8

	least    = 1. / 3 // of the mean step, each step
	leveling = 0.6    // of the first three steps, the last three
)

// Judges says whether there is anything to judge.
func (r *Rule) Judges() bool { return r.Above > 0 || r.Growth > 0 }

// Cadence is how often a Judge of this rule wants a sample, on average.
func (r *Rule) Cadence() time.Duration {
	c := MaxCadence
	if r.Above > 0 {
		c = min(c, r.For/samplesPerFor)
	}
	if r.Growth > 0 {
		c = min(c, r.Window/(segments*samplesPerSegment))
	}
	return max(c, MinCadence)
}

// Next is how long after a sample the next one is taken: the cadence, a quarter
// more or less by u, which is drawn evenly from 0 to 1. Samples at equal distances
// would see a heap that is collected at equal distances as one that drifts.
func (r *Rule) Next(u float64) time.Duration {
	return time.Duration(float64(r.Cadence()) * (0.75 + 0.5*u))
}

// segment is how long a segment of the window is.
func (r *Rule) segment() time.Duration { return max(r.Window, MinWindow) / segments }

// Verdict is what is to be said of an instance now.
type Verdict struct {
	High bool
	For  time.Duration // High: for how long it has been above
	Leak bool
	Rate float64 // Leak: bytes a second
}

// floor is the least sample of a segment.
type floor struct {
	at    time.Duration
	bytes uint64
}

// Judge is what is known of one incarnation. The zero Judge has seen nothing.
type Judge struct {
	seen bool
	last time.Duration // when the last sample was

	above time.Duration // since when it is above, if it is
	over  bool

	floors [floors]floor // of the last whole segments, the oldest first
	filled int           // how many of them there are
	begin  time.Duration // of the segment that is being filled
	low    floor         // of it
	count  int           // samples in it
	leak   bool
	rate   float64
}

// Add takes the next sample, at a time that is not before the last one's, and
// says what is to be said now.
func (j *Judge) Add(r *Rule, at time.Duration, bytes uint64) Verdict {
	if j.seen && at-j.last > GapCadences*r.Cadence() {
		j.over, j.count, j.filled = false, 0, 0
	}
	j.seen, j.last = true, at
	v := Verdict{}
	if r.Above > 0 {
		switch {
		case bytes <= r.Above:
			j.over = false
		case !j.over:
			j.over, j.above = true, at
		}
		v.For = at - j.above
		if v.High = j.over && v.For >= r.For; !v.High {
			v.For = 0
		}
	}
	if r.Growth > 0 {
		j.grow(r, floor{at, bytes})
		if v.Leak = j.leak; v.Leak {
			v.Rate = j.rate
		}
	}
	return v
}

// grow takes a sample into the segment that is being filled, and judges when one
// is full.
func (j *Judge) grow(r *Rule, s floor) {
	length := r.segment()
	if j.count > 0 && s.at-j.begin >= length {
		// As many as there would be at the cadence; a segment begins with a
		// sample, and the next one with the first that is not in it.
		if wanted := int(length / r.Cadence()); 2*j.count < wanted {
			j.filled = 0
		} else {
			j.close(r)
		}
		j.count = 0
	}
	if j.count == 0 {
		j.begin, j.low = s.at, s
	}
	if s.bytes < j.low.bytes {
		j.low = s
	}
	j.count++
}

// close takes the floor of a whole segment.
func (j *Judge) close(r *Rule) {
	if j.filled == floors {
		copy(j.floors[:], j.floors[1:])
		j.filled--
	}
	j.floors[j.filled] = j.low
	j.filled++
	if j.filled < floors {
		return
	}
	j.rate = slope(&j.floors)
	switch {
	case j.rate >= r.Growth && sustained(&j.floors):
		j.leak = true
	case j.rate < r.Growth/2:
		j.leak = false
	}
}

// slope is the Theil–Sen estimate, in bytes a second: up to 29 % of the floors
// may be anything without moving it far.
func slope(f *[floors]floor) float64 {
	var all [floors * (floors - 1) / 2]float64
	n := 0
	for i := range f {
		for k := range i {
			if d := f[i].at - f[k].at; d > 0 {
				all[n] = (float64(f[i].bytes) - float64(f[k].bytes)) / d.Seconds()
				n++
			}
		}
	}
	slices.Sort(all[:n])
	if n%2 == 0 {
		return (all[n/2-1] + all[n/2]) / 2
	}
	return all[n/2]
}

// sustained says whether the floors rise steadily to the end.
func sustained(f *[floors]floor) bool {
	mean := (float64(f[floors-1].bytes) - float64(f[0].bytes)) / segments
	if mean <= 0 {
		return false
	}
	for i := 1; i < floors; i++ {
		if float64(f[i].bytes)-float64(f[i-1].bytes) < least*mean {
			return false
		}
	}
	first := float64(f[3].bytes) - float64(f[0].bytes)
	last := float64(f[floors-1].bytes) - float64(f[floors-4].bytes)
	return last >= leveling*first
}

// Left is how long it takes from bytes to limit at that rate, to the second; 0
// where it is there already or does not grow. It is at most a year: what is
// longer says nothing.
func Left(bytes, limit uint64, rate float64) time.Duration {
	if bytes >= limit || rate <= 0 {
		return 0
	}
	const year = 365 * 24 * time.Hour
	s := float64(limit-bytes) / rate
	if s >= year.Seconds() {
		return year
	}
	return (time.Duration(s * float64(time.Second))).Round(time.Second)
}
