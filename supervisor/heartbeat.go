package supervisor

import (
	"sync"
	"time"

	"nines/supervisor/policy"
)

// beats is when incarnations that are checked gave a sign of life last.
type beats struct {
	mu   sync.Mutex
	last map[policy.Ref]time.Time // since when it is checked, or its last beat
	said map[policy.Ref]bool      // there was one
}

func newBeats() *beats {
	return &beats{last: map[policy.Ref]time.Time{}, said: map[policy.Ref]bool{}}
}

// begin counts from now: an instance is given its timeout from when it is ready.
func (b *beats) begin(ref policy.Ref) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last[ref] = time.Now()
}

func (b *beats) end(ref policy.Ref) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.last, ref)
	delete(b.said, ref)
}

func (b *beats) beat(ref policy.Ref) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.last[ref]; !ok {
		return // it is not checked
	}
	b.last[ref] = time.Now()
	b.said[ref] = true
}

// age is how long ago the last beat was, or, where there was none, that it is
// checked; 0 and false where it is not.
func (b *beats) age(ref policy.Ref) (age time.Duration, heard bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at, ok := b.last[ref]
	if !ok {
		return 0, false
	}
	return max(time.Since(at), 1), b.said[ref]
}
