package policy

import "time"

// timer names one of the deadlines that a slot may have at once.
type timer uint8

const (
	timerPhase  timer = iota // what the phase is bounded by
	timerSettle              // up for long enough for a command that waits
	timerReset               // ready for long enough to forget failures
	timerReload              // a reload hook must be done
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
// is ever left behind.
type heap struct{ slots []*slot }

func (h *heap) least() Time {
	if len(h.slots) == 0 {
		return never
	}
	return h.slots[0].at
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
		s.pos = len(h.slots)
		h.slots = append(h.slots, s)
		h.up(s.pos)
	default:
		if !h.up(s.pos) {
			h.down(s.pos)
		}
	}
}

func (h *heap) remove(i int) {
	last := len(h.slots) - 1
	h.slots[i].pos = -1
	if i != last {
		h.slots[i] = h.slots[last]
		h.slots[i].pos = i
	}
	h.slots[last] = nil
	h.slots = h.slots[:last]
	if i != last && !h.up(i) {
		h.down(i)
	}
}

func (h *heap) less(i, j int) bool {
	a, b := h.slots[i], h.slots[j]
	return a.at < b.at || a.at == b.at && a.id < b.id
}

func (h *heap) swap(i, j int) {
	h.slots[i], h.slots[j] = h.slots[j], h.slots[i]
	h.slots[i].pos, h.slots[j].pos = i, j
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
		if child >= len(h.slots) {
			return
		}
		if child+1 < len(h.slots) && h.less(child+1, child) {
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

func (q *queue[T]) push(v T) { q.items = append(q.items, v) }

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
