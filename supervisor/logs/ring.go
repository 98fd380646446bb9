package logs

import (
	"bytes"
	"sort"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of what is kept in memory of one sink. While somebody follows it the
// larger ones hold, so that a burst does not outrun a reader that keeps up.
const (
	ringLines         = 1000
	ringBytes         = 256 << 10
	ringLinesFollowed = 16384
	ringBytesFollowed = 1 << 20
	ringFirst         = 1 << 10 // bytes at the first line
	ringsBytes        = 64 << 20
)

// place is a place in a sink's files: the file that was current when rot
// rotations had been made, and an offset in it.
type place struct {
	rot   int64
	off   int64
	valid bool
}

// chunk is a run of lines that came in one read and so have one time.
type chunk struct {
	time  int64  // Unix nanoseconds
	first uint64 // number of its first line
	pos   uint64 // of its first byte
	lines int
	at    place // in the files, all before this is older
}

// ring keeps the last lines of one sink in a circular buffer. Every line has a
// number, every byte a position; both only grow, so a reader's cursor stays
// meaningful whatever is evicted.
type ring struct {
	budget *budget
	held   atomic.Int64 // len(buf), for the budget

	mu     sync.Mutex
	buf    []byte  // len is a power of two, or 0
	head   uint64  // position of the oldest byte kept
	tail   uint64  // position after the newest
	chunks []chunk // oldest first
	lines  int     // complete lines kept
	next   uint64  // number of the next line; the unfinished one's, if there is one

	open     any // whose line is unfinished; nil: none is
	openTime int64
	openAt   place
	openData []byte
	openCut  int  // bytes of it left out
	openShow bool // idle for so long that followers get it unfinished

	subs []*subscription
}

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

// publish adds what src wrote. at is the end of the files before it.
func (r *ring) publish(src any, b []byte, now int64, at place) {
	r.mu.Lock()
	defer r.mu.Unlock()
	news := false
	if r.open != nil && r.open != src {
		r.finish()
		news = true
	}
	if r.open != nil {
		k := bytes.IndexByte(b, '\n')
		if k < 0 {
			r.extend(b)
			r.openShow = false // until it is idle again
			r.notify(news)
			return
		}
		r.extend(b[:k])
		r.finish()
		b, news = b[k+1:], true
	}
	k := bytes.LastIndexByte(b, '\n') + 1
	if k > 0 {
		r.push(b[:k], now, at)
	}
	if k < len(b) {
		r.open, r.openTime, r.openAt = src, now, at
		r.openData, r.openCut, r.openShow = r.openData[:0], 0, false
		r.extend(b[k:])
	}
	r.notify(news || k > 0)
}

// setOpenAt says where in the files src's unfinished line begins.
func (r *ring) setOpenAt(src any, at place) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open == src {
		r.openAt = at
	}
}

func (r *ring) extend(b []byte) {
	room := max(0, maxRingLine-len(r.openData))
	if len(b) > room {
		r.openCut += len(b) - room
		b = b[:room]
	}
	r.openData = append(r.openData, b...)
}

// end finishes the line of src, whose pipe has ended.
func (r *ring) end(src any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open == src {
		r.finish()
		r.notify(true)
	}
}

func (r *ring) finish() {
	line := r.openData
	if r.openCut > 0 {
		line = appendCut(line, r.openCut)
	}
	line = append(line, '\n')
	r.add(line, 1, r.openTime, r.openAt)
	r.open, r.openCut, r.openShow = nil, 0, false
	if r.openData = line[:0]; cap(line) > 1<<10 {
		r.openData = nil // one long line must not cost every idle instance 16 KiB
	}
}

// show lets followers see the unfinished line of src.
func (r *ring) show(src any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open == src && !r.openShow {
		r.openShow = true
		r.notify(true)
	}
}

func appendCut(line []byte, cut int) []byte {
	line = append(line, "… ["...)
	line = strconv.AppendInt(line, int64(cut), 10)
	return append(line, " more bytes]"...)
}

// push adds whole lines, cutting those that are too long.
func (r *ring) push(b []byte, now int64, at place) {
	for len(b) > 0 {
		// A run without a line that is too long: step from newline to newline,
		// as far apart as allowed, so that short lines cost nothing.
		run := 0
		for run < len(b) {
			k := bytes.LastIndexByte(b[run:min(len(b), run+maxRingLine+1)], '\n')
			if k < 0 {
				break
			}
			run += k + 1
		}
		if run > 0 {
			r.add(b[:run], bytes.Count(b[:run], []byte{'\n'}), now, at)
			b = b[run:]
		}
		if len(b) > 0 {
			k := bytes.IndexByte(b, '\n')
			line := append(make([]byte, 0, maxRingLine+64), b[:maxRingLine]...)
			r.add(append(appendCut(line, k-maxRingLine), '\n'), 1, now, at)
			b = b[k+1:]
		}
	}
}

// add appends n lines that end with a newline each.
func (r *ring) add(b []byte, n int, now int64, at place) {
	maxLines, maxBytes := ringLines, ringBytes
	if len(r.subs) > 0 {
		maxLines, maxBytes = ringLinesFollowed, ringBytesFollowed
	}
	used := r.tail - r.head
	for size := max(len(r.buf), ringFirst); ; size *= 2 {
		if size >= maxBytes || uint64(size) >= used+uint64(len(b)) {
			r.resize(min(size, maxBytes))
			break
		}
	}
	// What does not fit even into an empty buffer keeps its last lines.
	for len(b) > len(r.buf) {
		for len(r.chunks) > 0 { // numbers have no holes among what is kept
			r.evict()
		}
		k := bytes.IndexByte(b[len(b)-len(r.buf):], '\n') + 1 + len(b) - len(r.buf)
		cut := bytes.Count(b[:k], []byte{'\n'})
		b, n, r.next = b[k:], n-cut, r.next+uint64(cut)
	}
	for len(r.chunks) > 0 && (r.tail-r.head+uint64(len(b)) > uint64(len(r.buf)) || r.lines+n-r.chunks[0].lines >= maxLines) {
		r.evict()
	}
	if n == 0 {
		return
	}
	c := chunk{time: now, first: r.next, pos: r.tail, lines: n, at: at}
	r.chunks = append(r.chunks, c)
	at0 := int(r.tail) & (len(r.buf) - 1)
	copy(r.buf, b[copy(r.buf[at0:], b):])
	r.tail += uint64(len(b))
	r.next += uint64(n)
	r.lines += n
}

func (r *ring) evict() {
	r.lines -= r.chunks[0].lines
	r.chunks = r.chunks[1:]
	if r.head = r.tail; len(r.chunks) > 0 {
		r.head = r.chunks[0].pos
	}
}

// resize makes the buffer size bytes (a power of two), if the budget allows,
// evicting what does not fit.
func (r *ring) resize(size int) {
	if size == len(r.buf) || size < ringFirst {
		return
	}
	if by := int64(size - len(r.buf)); by > 0 {
		if !r.budget.grant(r, by) {
			if len(r.buf) > 0 {
				return
			}
			size = ringFirst // the least that a sink always has
			r.budget.total.Add(ringFirst)
		}
	} else {
		r.budget.total.Add(by)
	}
	for len(r.chunks) > 0 && r.tail-r.head > uint64(size) {
		r.evict()
	}
	buf := make([]byte, size)
	for p := r.head; p < r.tail; {
		part := r.span(p, r.tail)
		for len(part) > 0 {
			n := copy(buf[int(p)&(size-1):], part)
			part, p = part[n:], p+uint64(n)
		}
	}
	r.buf = buf
	r.held.Store(int64(size))
}

// span returns the bytes from position p to e, or as many as lie in a row.
func (r *ring) span(p, e uint64) []byte {
	at := int(p) & (len(r.buf) - 1)
	return r.buf[at:min(len(r.buf), at+int(e-p))]
}

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

func (r *ring) followed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.subs) > 0
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

// waiting reports whether src's line is unfinished and a follower would want
// to see it.
func (r *ring) waiting(src any) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.open == src && !r.openShow && len(r.subs) > 0
}

// behind reports how many lines c has not read.
func (r *ring) behind(c *cursor) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return int(r.next - c.next)
}
