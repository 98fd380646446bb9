package logs

import (
	"sync"
	"sync/atomic"
)

// budget bounds all rings together.
type budget struct {
	max   int64
	total atomic.Int64
	mu    sync.Mutex
	rings map[*ring]struct{}
}

func newBudget(limit int64) *budget {
	return &budget{max: limit, rings: make(map[*ring]struct{})}
}

func (g *budget) join(r *ring) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.rings[r] = struct{}{}
}

func (g *budget) leave(r *ring) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.rings, r)
	g.total.Add(-r.held.Swap(0))
}

// grant says whether r may hold by more bytes; it takes them from the largest
// ring when there are not enough. r.mu is held, so others are only tried.
func (g *budget) grant(r *ring, by int64) bool {
	if g.total.Add(by) <= g.max {
		return true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for range 8 {
		var largest *ring
		for v := range g.rings {
			if largest == nil || v.held.Load() > largest.held.Load() {
				largest = v
			}
		}
		if largest == nil || largest == r || largest.held.Load() <= r.held.Load()+by || !largest.mu.TryLock() {
			break
		}
		largest.resize(int(largest.held.Load() / 2))
		largest.mu.Unlock()
		if g.total.Load() <= g.max {
			return true
		}
	}
	g.total.Add(-by)
	return false
}
