package logs

import (
	"sync/atomic"
	"time"
)

// meterSlices is how many reads a second a slow pipe is spread over, so that
// its writer is slowed down evenly and we are not woken for single bytes.
const meterSlices = 20

// meter bounds how fast one pipe is read: a token bucket that holds what may be
// read in a second. What is not read stays in the pipe, and stops its writer
// when that is full; nobody else waits.
type meter struct {
	rate  atomic.Uint64 // bytes a second; 0: no bound
	moved chan struct{} // holds one: the rate is another now

	// The pump's.
	tokens float64
	at     time.Time
}

func newMeter(rate uint64) *meter {
	m := &meter{moved: make(chan struct{}, 1)}
	m.rate.Store(rate)
	return m
}

// set changes the rate; a pump that waits looks again.
func (m *meter) set(rate uint64) {
	if m.rate.Swap(rate) == rate {
		return
	}
	select {
	case m.moved <- struct{}{}:
	default:
	}
}

// allow waits until something may be read, and returns how much of want.
func (m *meter) allow(want int) int {
	for {
		rate := m.rate.Load()
		if rate == 0 {
			m.at = time.Time{}
			return want
		}
		now := time.Now()
		if m.at.IsZero() {
			m.tokens = float64(rate) // a second's worth may come at once
		} else {
			m.tokens = min(m.tokens+now.Sub(m.at).Seconds()*float64(rate), float64(rate))
		}
		m.at = now
		least := min(float64(want), max(float64(rate)/meterSlices, 1))
		if m.tokens >= least {
			return int(min(float64(want), m.tokens))
		}
		t := time.NewTimer(time.Duration((least-m.tokens)/float64(rate)*float64(time.Second)) + time.Microsecond) // never a moment too early
		select {
		case <-t.C:
		case <-m.moved:
			t.Stop()
		}
	}
}

// took counts n bytes that were read.
func (m *meter) took(n int) {
	if m.rate.Load() != 0 {
		m.tokens -= float64(n)
	}
}
