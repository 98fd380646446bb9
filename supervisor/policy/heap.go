package policy

import "time"

// timer names one of the deadlines that a slot may have at once.
type timer uint8

const (
	timerPhase     timer = iota // what the phase is bounded by
	timerSettle                 // up for long enough for a command that waits
	timerReset                  // ready for long enough to forget failures
	timerReload                 // a reload hook must be done
	timerRecycle                // it is due to be replaced
	timerInmates                // of what of it is in quarantine
	timerUpdate                 // its turn in an update has taken too long
	timerHealthy                // healthy for update.min_healthy
	timerProbation              // of its service's revision; kept at the first instance
	timerData                   // of its service's data; likewise
	numTimers
)

// arm sets a deadline of s, whatever it was before.
func (m *Machine) arm(s *slot, t timer, after time.Duration) {
	m.armAt(s, t, m.now.Add(max(after, 0)))
}

func (m *Machine) armAt(s *slot, t timer, at Time) {
	if at < 0 {
		// now+after passed the end of time: such a deadline does not come.
		at = never
	}
	if s.timers[t] == at {
		return
	}
	s.timers[t] = at
	m.due.fix(s)
}

// disarm takes a deadline of s away.
func (m *Machine) disarm(s *slot, t timer) { m.armAt(s, t, never) }

// heap is a binary heap of the slots that have a deadline, the earliest first,
// and among equals the lower slot, so that the order never depends on history.
// A slot knows its place in it: a deadline can be moved or taken away, and none
// is ever left behind. The keys lie in the heap itself, so that to compare does
// not fetch a slot from memory.
type heap struct{ items []heapItem }

type heapItem struct {
	at   Time
	slot *slot
	id   Slot
}

func (h *heap) least() Time {
	if len(h.items) == 0 {
		return never
	}
	return h.items[0].at
}

// fix puts s where its deadlines now say.
func (h *heap) fix(s *slot) {
	at := s.timers[0]
	for _, t := range s.timers[1:] {
		at = min(at, t)
	}
	if at == s.at {
		return
	}
	s.at = at
	switch {
	case at == never:
		h.remove(s.pos)
	case s.pos < 0:
		s.pos = len(h.items)
		h.items = append(h.items, heapItem{at, s, s.id})
		h.up(s.pos)
	default:
		h.items[s.pos].at = at
		if !h.up(s.pos) {
			h.down(s.pos)
		}
	}
}

func (h *heap) remove(i int) {
	last := len(h.items) - 1
	h.items[i].slot.pos = -1
	if i != last {
		h.items[i] = h.items[last]
		h.items[i].slot.pos = i
	}
	h.items[last] = heapItem{}
	h.items = h.items[:last]
	if i != last && !h.up(i) {
		h.down(i)
	}
}

func (h *heap) less(i, j int) bool {
	a, b := &h.items[i], &h.items[j]
	return a.at < b.at || a.at == b.at && a.id < b.id
}

func (h *heap) swap(i, j int) {
	h.items[i], h.items[j] = h.items[j], h.items[i]
	h.items[i].slot.pos, h.items[j].slot.pos = i, j
}

func (h *heap) up(i int) (moved bool) {
	for i > 0 {
		parent := (i - 1) / 2
		if !h.less(i, parent) {
			break
		}
		h.swap(i, parent)
		i, moved = parent, true
	}
	return moved
}

func (h *heap) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(h.items) {
			return
		}
		if child+1 < len(h.items) && h.less(child+1, child) {
			child++
		}
		if !h.less(child, i) {
			return
		}
		h.swap(i, child)
		i = child
	}
}

// queue is a first-in first-out list that keeps its memory.
type queue[T any] struct {
	items []T
	head  int
}

func (q *queue[T]) push(v T) {
	if q.head > 16 && q.head > len(q.items)/2 { // one that is never empty must not grow for ever
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, v)
}

// peek returns what pop would.
func (q *queue[T]) peek() (v T, ok bool) {
	if q.head == len(q.items) {
		return v, false
	}
	return q.items[q.head], true
}

func (q *queue[T]) pop() (v T, ok bool) {
	if q.head == len(q.items) {
		return v, false
	}
	v = q.items[q.head]
	q.head++
	if q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	}
	return v, true
}
