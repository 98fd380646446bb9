package ipc

import (
	"context"
	"sync"
	"time"
)

// pacer spaces out the requests of each user who may only read: a burst at
// once, then one every so often. What is too early waits, on its own
// connection, of which a user has few; so nobody is refused, and no reader can
// keep the supervisor's processors busy.
type pacer struct {
	each  time.Duration
	burst time.Duration // what may be used before anything waits
	mu    sync.Mutex
	next  map[uint32]time.Time // when what each user has asked for is worked off
	swept time.Time
}

func newPacer(each time.Duration, burst int) *pacer {
	return &pacer{each: each, burst: each * time.Duration(burst-1), next: map[uint32]time.Time{}}
}

// reserve counts one request and returns how long it has to wait.
func (p *pacer) reserve(uid uint32, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.swept) > time.Minute { // who has not asked for long is forgotten
		p.swept = now
		for u, at := range p.next {
			if !at.After(now) {
				delete(p.next, u)
			}
		}
	}
	at := p.next[uid]
	if at.Before(now) {
		at = now
	}
	p.next[uid] = at.Add(p.each)
	return max(at.Sub(now)-p.burst, 0)
}

// wait returns when the request's turn has come, or with the reason that it
// never will.
func (p *pacer) wait(ctx context.Context, done <-chan struct{}, uid uint32) error {
	d := p.reserve(uid, time.Now())
	if d == 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-done:
		return &Error{Code: CodeBusy, Message: "cannot answer: the supervisor is ending"}
	}
}

// refusals keeps what callers do from filling the log: one line a second, which
// says how many there were.
type refusals struct {
	mu sync.Mutex
	at time.Time
	n  int
}

// now counts one and returns how many a line is to speak of; 0: no line.
func (r *refusals) now(at time.Time) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n++
	if at.Sub(r.at) < time.Second {
		return 0
	}
	n := r.n
	r.at, r.n = at, 0
	return n
}
