package supervisor

import (
	"sync"
	"time"

	"nines/supervisor/policy"
	"nines/supervisor/proc"
)

// turnMax bounds how many functions one turn of the loop runs, so that a flood
// of them delays exits and deadlines by a bounded time.
const turnMax = 512

// mailbox hands functions to the loop. Putting never blocks; a thousand puts
// wake the loop once.
type mailbox struct {
	mu    sync.Mutex
	calls []func()
	spare []func()
	ready chan struct{}
}

func newMailbox() *mailbox { return &mailbox{ready: make(chan struct{}, 1)} }

func (m *mailbox) put(fn func()) {
	m.mu.Lock()
	m.calls = append(m.calls, fn)
	m.mu.Unlock()
	m.wake()
}

func (m *mailbox) wake() {
	select {
	case m.ready <- struct{}{}:
	default:
	}
}

// run runs what is in the box, in order, up to turnMax; only the loop calls it.
func (m *mailbox) run() {
	m.mu.Lock()
	calls := m.calls
	var rest []func()
	if len(calls) > turnMax {
		rest = append(rest, calls[turnMax:]...)
		calls = calls[:turnMax]
	} else {
		rest = m.spare[:0]
	}
	m.calls = rest
	m.mu.Unlock()
	for _, fn := range calls {
		fn()
	}
	clear(calls)
	m.mu.Lock()
	m.spare = calls[:0]
	more := len(m.calls) > 0
	m.mu.Unlock()
	if more {
		m.wake()
	}
}

// clock turns Go's monotonic readings into CLOCK_MONOTONIC, which the next
// supervisor on this boot shares, and into wall time for labels.
type clock struct {
	start time.Time
	base  policy.Time
}

func newClock() clock {
	return clock{start: time.Now(), base: policy.Time(proc.Monotonic())}
}

func (c clock) now() policy.Time { return c.base.Add(time.Since(c.start)) }
