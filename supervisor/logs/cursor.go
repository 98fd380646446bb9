package logs

import (
	"bytes"
	"sort"
	"sync"
	"sync/atomic"
	"time"
)

// subscription joins a reader to a sink.
type subscription struct {
	sink  *sink
	dirty atomic.Bool
	wake  chan<- struct{} // of the reader; holds one

	mu  sync.Mutex
	cur cursor
}

// notify tells the readers. What is unfinished interests nobody yet.
func (r *ring) notify(news bool) {
	if !news {
		return
	}
	for _, s := range r.subs {
		if s.dirty.CompareAndSwap(false, true) {
			select {
			case s.wake <- struct{}{}:
			default: // it is about to look anyway
			}
		}
	}
}

func (r *ring) subscribe(s *subscription) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.subs = append(r.subs, s)
}

func (r *ring) unsubscribe(s *subscription) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, v := range r.subs {
		if v == s {
			r.subs = append(r.subs[:i:i], r.subs[i+1:]...)
			break
		}
	}
	if len(r.subs) == 0 && len(r.buf) > ringBytes {
		r.resize(ringBytes)
	}
}

// cursor is how far a reader has read: line number next, of which off bytes
// were given while it was unfinished.
type cursor struct {
	next uint64
	pos  uint64 // of line next, where it is still kept
	off  int
}

// item is one line copied out of a ring.
type item struct {
	time    int64
	text    []byte
	partial bool
}

// oldest returns where the ring begins: the number of its first line, and the
// place in the files before which all is older.
func (r *ring) oldest() (uint64, place) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.oldestLocked()
}

func (r *ring) oldestLocked() (uint64, place) {
	switch {
	case len(r.chunks) > 0:
		return r.chunks[0].first, r.chunks[0].at
	case r.open != nil:
		return r.next, r.openAt
	}
	return r.next, place{}
}

// start returns where line number n begins, or the nearest that is kept.
func (r *ring) start(n uint64) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if first, _ := r.oldestLocked(); n <= first {
		return r.head
	}
	return r.position(n)
}

// last sets c so that at most n lines (< 0: all) follow, the unfinished one
// counted. It returns how many do, the number after the last complete line,
// and the place of the oldest line kept.
func (r *ring) last(c *cursor, n int) (have int, end uint64, at place) {
	r.mu.Lock()
	defer r.mu.Unlock()
	first, at := r.oldestLocked()
	have = int(r.next - first)
	if r.open != nil {
		have++
	}
	*c = cursor{next: first, pos: r.head}
	if n >= 0 && have > n {
		skip := uint64(have - n)
		if first+skip > r.next { // n is 0 and a line is unfinished
			c.off = len(r.openData)
			skip--
		}
		c.next += skip
		c.pos = r.position(c.next)
		have = n
	}
	return have, r.next, at
}

// position returns where line number n begins; n is kept, or r.next.
func (r *ring) position(n uint64) uint64 {
	i := sort.Search(len(r.chunks), func(i int) bool { return r.chunks[i].first > n }) - 1
	if i < 0 || n >= r.next {
		return r.tail
	}
	pos := r.chunks[i].pos
	for skip := n - r.chunks[i].first; skip > 0; {
		part := r.span(pos, r.tail)
		if k := bytes.IndexByte(part, '\n'); k >= 0 {
			pos += uint64(k + 1)
			skip--
		} else {
			pos += uint64(len(part))
		}
	}
	return pos
}

// read copies lines from c on, about limit bytes of them, onto items, and
// moves c. The unfinished line is given when it is to be shown. lost is how
// many lines were evicted before they could be read.
func (r *ring) read(c *cursor, items []item, limit int) (_ []item, lost uint64, more bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.copyOut(c, items, limit, r.next, r.openShow)
}

// readUntil is read of the lines before number end, and of line end as far as
// it goes if it is unfinished.
func (r *ring) readUntil(c *cursor, items []item, limit int, end uint64) (_ []item, lost uint64, more bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.copyOut(c, items, limit, min(end, r.next), end >= r.next)
}

func (r *ring) copyOut(c *cursor, items []item, limit int, end uint64, tail bool) (_ []item, lost uint64, more bool) {
	if first, _ := r.oldestLocked(); c.next < first {
		lost = first - c.next
		*c = cursor{next: first, pos: r.head}
	}
	i := sort.Search(len(r.chunks), func(i int) bool { return r.chunks[i].first > c.next }) - 1
	for c.next < end {
		if limit <= 0 {
			return items, lost, true
		}
		for i+1 < len(r.chunks) && r.chunks[i+1].first <= c.next {
			i++
		}
		line := r.line(c.pos)
		c.pos += uint64(len(line))
		limit -= len(line)
		text := line[min(c.off, len(line)-1) : len(line)-1]
		items = append(items, item{time: r.chunks[i].time, text: text})
		c.next, c.off = c.next+1, 0
	}
	if tail && c.next == r.next && r.open != nil && len(r.openData) > c.off {
		text := append([]byte(nil), r.openData[c.off:]...)
		items = append(items, item{time: r.openTime, text: text, partial: true})
		c.off = len(r.openData)
	}
	return items, lost, false
}

// line copies the line at pos, its newline included.
func (r *ring) line(pos uint64) []byte {
	end := pos
	for {
		part := r.span(end, r.tail)
		if k := bytes.IndexByte(part, '\n'); k >= 0 {
			end += uint64(k + 1)
			break
		}
		end += uint64(len(part))
	}
	line := make([]byte, 0, end-pos)
	for pos < end {
		part := r.span(pos, end)
		line = append(line, part...)
		pos += uint64(len(part))
	}
	return line
}

// pending reports how far c is behind, in bytes.
func (r *ring) pending(c *cursor) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return int(r.tail - max(c.pos, r.head))
}

func timeOf(ns int64) time.Time { return time.Unix(0, ns).UTC() }

// behind reports how many lines c has not read.
func (r *ring) behind(c *cursor) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return int(r.next - c.next)
}
