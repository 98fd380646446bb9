package sim

import (
	"cmp"
	"slices"

	"nines/supervisor/policy"
)

// item is something that will happen: an answer that reaches the machine, or
// a turn of the world itself.
type item struct {
	at   policy.Time
	seq  uint64 // order of those at the same moment
	kind itemKind
	inc  *incarnation
	ev   policy.Event
	out  *outbox
	n    int // index into the script; generation of an incarnation's timer; number of a specification
}

type itemKind uint8

const (
	itAnswer  itemKind = iota + 1 // ev reaches the machine
	itReplay                      // ev reaches the machine again
	itDurable                     // out's records are durable
	itExists                      // inc's process exists, its exec succeeded
	itFreezes                     // inc stands still, or cannot be made to
	itDies                        // inc's main process ends by itself or by a signal
	itKilled                      // a kill of inc takes effect
	itScript                      // script[n] happens
	itCalm                        // faults stop
	itReady                       // inc says that it is ready
	itBack                        // the next supervisor is there
	itFile                        // another specification is durable
	itApply                       // … and the machine is told
	itSays                        // inc says ev of itself, which is mark n
	itBeat                        // check n of inc, by heartbeat, is attempted
)

// queue is a binary heap of items by time, then by order of insertion.
type queue struct {
	items []item
	seq   uint64
}

func (q *queue) less(i, j int) bool {
	a, b := &q.items[i], &q.items[j]
	return a.at < b.at || a.at == b.at && a.seq < b.seq
}

func (q *queue) push(it item) {
	q.seq++
	it.seq = q.seq
	q.items = append(q.items, it)
	for i := len(q.items) - 1; i > 0; {
		up := (i - 1) / 2
		if !q.less(i, up) {
			break
		}
		q.items[i], q.items[up] = q.items[up], q.items[i]
		i = up
	}
}

// drop takes all items for which is true away.
func (q *queue) drop(is func(*item) bool) {
	q.items = slices.DeleteFunc(q.items, func(it item) bool { return is(&it) })
	// What is sorted is a heap.
	slices.SortFunc(q.items, func(a, b item) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.seq, b.seq)) })
}

func (q *queue) pop() item {
	top := q.items[0]
	last := len(q.items) - 1
	q.items[0] = q.items[last]
	q.items[last] = item{}
	q.items = q.items[:last]
	for i := 0; ; {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < last; c++ {
			if q.less(c, least) {
				least = c
			}
		}
		if least == i {
			return top
		}
		q.items[i], q.items[least] = q.items[least], q.items[i]
		i = least
	}
}
