package logs

import (
	"bytes"
	"strconv"
	"sync"
	"sync/atomic"
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

	// joined: it came with the chunk before it, and its place is before that
	// one's end: they go together, or lines between would be in neither.
	joined bool
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

	joining bool   // what is added comes with what was added last
	next    uint64 // number of the next line; the unfinished one's, if there is one

	open     any // whose line is unfinished; nil: none is
	openTime int64
	openAt   place
	openData []byte
	openCut  int  // bytes of it left out
	openShow bool // idle for so long that followers get it unfinished

	subs []*subscription
}

// publish adds what src wrote. at is the end of the files before it.
func (r *ring) publish(src any, b []byte, now int64, at place) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.joining = false
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
		r.joining = false
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
	for len(r.chunks) > 0 && (r.tail-r.head+uint64(len(b)) > uint64(len(r.buf)) || !r.joining && r.lines+n-r.chunks[0].lines >= maxLines) {
		r.evict()
	}
	if n == 0 {
		return
	}
	c := chunk{time: now, first: r.next, pos: r.tail, lines: n, at: at, joined: r.joining}
	r.joining = true
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
	for len(r.chunks) > 0 && r.chunks[0].joined {
		r.lines -= r.chunks[0].lines
		r.chunks = r.chunks[1:]
	}
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

// waiting reports whether src's line is unfinished and a follower would want
// to see it.
func (r *ring) waiting(src any) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.open == src && !r.openShow && len(r.subs) > 0
}
