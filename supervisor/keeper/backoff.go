package keeper

import "time"

// The delays between a child's death and its next start.
const (
	backoffFirst  = 100 * time.Millisecond // the one after "at once"
	backoffMax    = 2 * time.Second
	backoffForget = 10 * time.Second // of READY=1
)

// backoff counts the starts that followed each other too fast.
type backoff struct{ failures int }

// next returns how long to wait before the next start of a child that had been
// ready for so long (0: never).
func (b *backoff) next(ready time.Duration) time.Duration {
	if ready >= backoffForget {
		b.failures = 0
	}
	b.failures++
	if b.failures == 1 {
		return 0
	}
	// Saturates long before the shift could overflow.
	if b.failures > 8 {
		return backoffMax
	}
	return min(backoffFirst<<(b.failures-2), backoffMax)
}
