package logs

import (
	"context"
	"sort"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	pullSink  = 64 << 10 // bytes taken from one sink at a time
	pullBatch = 1 << 20  // and from all
)

// entry is one line on its way to a reader.
type entry struct {
	key  *sinkKey
	json bool // stdout carries it as an Object
	item
}

func (e *entry) line() Line {
	return Line{
		Time:     timeOf(e.time),
		Service:  e.key.service,
		Instance: e.key.instance,
		Stream:   e.key.stream,
		Line:     string(e.text),
		Partial:  e.partial,
	}
}

// reader follows sinks: a query's, or stdout. It takes lines out of the rings
// when it is ready for them, so a slow one loses lines and holds nothing up.
type reader struct {
	want   func(*sink) bool
	lost   func(*sink, uint64) // hears of lines that were overwritten before they were taken; or nil
	stdout bool
	wake   chan struct{}
	moved  atomic.Int64 // when it last took lines, Unix nanoseconds

	mu   sync.Mutex
	subs []*subscription
	from int // where the next pull begins, so that none is always last
}

func newReader(want func(*sink) bool) *reader {
	return &reader{want: want, wake: make(chan struct{}, 1)}
}

// watch attaches r to all it wants, and to what appears later.
func (h *hub) watch(r *reader) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.readers[r] = struct{}{}
	for _, k := range h.sinks {
		r.attach(k, false)
	}
}

func (h *hub) unwatch(r *reader) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.readers, r)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.subs {
		s.sink.ring.unsubscribe(s)
	}
	r.subs = nil
}

// attach subscribes to k from the beginning of its ring, or from now on. hub.mu
// is held, so it cannot be done twice or miss a sink.
func (r *reader) attach(k *sink, fromNow bool) {
	if !r.want(k) {
		return
	}
	s := &subscription{sink: k, wake: r.wake}
	s.dirty.Store(true)
	if fromNow {
		k.ring.last(&s.cur, 0)
	}
	if r.stdout {
		k.console.Store(&console{r, s})
	}
	r.mu.Lock()
	r.subs = append(r.subs, s)
	r.mu.Unlock()
	k.ring.subscribe(s)
	r.nudge()
}

func (r *reader) detach(k *sink) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, s := range r.subs {
		if s.sink == k {
			r.subs = append(r.subs[:i:i], r.subs[i+1:]...)
			k.ring.unsubscribe(s)
			if r.stdout {
				k.console.Store(nil)
			}
			return
		}
	}
}

func (r *reader) nudge() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// pull takes what is new, in the order of time as far as each sink's own order
// allows.
func (r *reader) pull(batch []entry) []entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	var items []item
	left := pullBatch
	for i := range r.subs {
		s := r.subs[(r.from+i)%len(r.subs)]
		if !s.dirty.Load() {
			continue
		}
		if left <= 0 {
			r.from = (r.from + i) % len(r.subs)
			r.nudge()
			break
		}
		s.dirty.Store(false) // before looking: what comes after sets it again
		var lost uint64
		var more bool
		s.mu.Lock()
		items, lost, more = s.sink.ring.read(&s.cur, items[:0], pullSink)
		s.mu.Unlock()
		if more {
			s.dirty.Store(true)
			r.nudge()
		}
		batch = appendEntries(batch, s.sink, items, lost)
		if lost > 0 && r.lost != nil {
			r.lost(s.sink, lost)
		}
		for _, it := range items {
			left -= len(it.text) + 1
		}
	}
	order(batch)
	r.moved.Store(time.Now().UnixNano())
	return batch
}

// appendEntries adds items of one sink, after a word about those that were
// overwritten before this reader took them.
func appendEntries(batch []entry, k *sink, items []item, lost uint64) []entry {
	json := k.set.Load().Format == FormatJSON
	if lost > 0 {
		at := time.Now().UnixNano()
		if len(items) > 0 {
			at = items[0].time
		}
		batch = append(batch, entry{&k.key, json, item{time: at, text: []byte("nines: " + slowText(lost))}})
	}
	for _, it := range items {
		batch = append(batch, entry{&k.key, json, it})
	}
	return batch
}

func slowText(lost uint64) string {
	return strconv.FormatUint(lost, 10) + " lines lost here: the reader is too slow"
}

// order sorts by time, but never changes the order within a sink: its clock
// may have been set back.
func order(batch []entry) {
	if len(batch) < 2 {
		return
	}
	var key *sinkKey
	var latest int64
	at := make([]int64, len(batch))
	for i := range batch {
		if batch[i].key != key {
			key, latest = batch[i].key, batch[i].time
		}
		latest = max(latest, batch[i].time)
		at[i] = latest
	}
	sort.Stable(&byTime{batch, at})
}

type byTime struct {
	batch []entry
	at    []int64
}

func (b *byTime) Len() int           { return len(b.batch) }
func (b *byTime) Less(i, j int) bool { return b.at[i] < b.at[j] }
func (b *byTime) Swap(i, j int) {
	b.batch[i], b.batch[j] = b.batch[j], b.batch[i]
	b.at[i], b.at[j] = b.at[j], b.at[i]
}

// follow gives emit what is new until ctx ends; then it gives what there still
// is, and returns nil. emit may keep nothing of the batch.
func (r *reader) follow(ctx context.Context, emit func([]entry) error) error {
	var batch []entry
	for {
		ended := ctx.Err() != nil
		batch = r.pull(batch[:0])
		if len(batch) > 0 {
			if err := emit(batch); err != nil {
				return err
			}
			if cap(batch) > 16384 {
				batch = nil
			}
			continue
		}
		if ended {
			return nil
		}
		select {
		case <-r.wake:
		case <-ctx.Done():
		}
	}
}

// console joins a sink to stdout.
type console struct {
	r *reader
	s *subscription
}

// restrain waits a little when this sink's lines go to stdout alone and stdout
// is behind but moving: there the pipe itself is the better buffer. A stdout
// that does not move stops nobody.
func (k *sink) restrain() {
	c := k.console.Load()
	if c == nil || k.set.Load().ToFile {
		return
	}
	for range 100 {
		c.s.mu.Lock()
		cur := c.s.cur
		c.s.mu.Unlock()
		if k.ring.pending(&cur) < ringBytesFollowed/2 && k.ring.behind(&cur) < ringLinesFollowed/2 ||
			time.Now().UnixNano()-c.r.moved.Load() > int64(100*time.Millisecond) {
			return
		}
		time.Sleep(time.Millisecond)
	}
}
