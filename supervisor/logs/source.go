package logs

import (
	"container/heap"
	"slices"
	"time"
)

// source gives the lines of one sink up to what there was when the query came:
// from its files, then from its ring.
type source struct {
	key    sinkKey
	files  *history
	sub    *subscription // nil: files only
	end    uint64        // lines from here on are followed, not history
	extend int

	items  []item
	keys   []*sinkKey // of head and items, where they are not all of key
	got    []item     // buffer of items
	head   item
	latest int64 // of all before, as the merge orders by
	begun  bool  // the ring was read from
}

// join makes one source of the two that an instance with split streams has,
// when only the last n lines are wanted: which those are is known only when
// they are merged. They are held in memory, so of very many it does not.
func join(sources []*source, n int, since int64) ([]*source, error) {
	if n < 0 || n > ringLinesFollowed {
		return sources, nil
	}
	byInstance := make(map[string][]*source)
	for _, s := range sources {
		byInstance[s.key.instance] = append(byInstance[s.key.instance], s)
	}
	out := sources[:0:0]
	for _, s := range sources {
		pair := byInstance[s.key.instance]
		if len(pair) < 2 {
			out = append(out, s)
			continue
		}
		if pair[0] != s {
			continue
		}
		both := &source{key: s.key}
		err := merge(pair, since, func(s *source) error {
			both.items, both.keys = append(both.items, s.head), append(both.keys, &s.key)
			if len(both.items) > n {
				both.items, both.keys = both.items[1:], both.keys[1:]
			}
			return nil
		})
		if err != nil {
			return sources, err
		}
		both.keys = slices.Insert(both.keys, 0, &s.key) // of the line before the first
		out = append(out, both)
	}
	return out, nil
}

// merge calls each for the lines of all sources in the order of time; the line
// is the source's head.
func merge(sources []*source, since int64, each func(*source) error) error {
	var m mergeHeap
	for _, s := range sources {
		if ok, err := s.advance(since); err != nil {
			return err
		} else if ok {
			m = append(m, s)
		}
	}
	heap.Init(&m)
	for len(m) > 0 {
		if err := each(m[0]); err != nil {
			return err
		}
		ok, err := m[0].advance(since)
		switch {
		case err != nil:
			return err
		case ok:
			heap.Fix(&m, 0)
		default:
			heap.Pop(&m)
		}
	}
	return nil
}

// advance puts the next line that is not older than since into head.
func (s *source) advance(since int64) (bool, error) {
	for {
		it, ok, err := s.next()
		if err != nil || !ok {
			return false, err
		}
		if it.time >= since {
			s.head = it
			s.latest = max(s.latest, it.time)
			return true, nil
		}
	}
}

func (s *source) next() (item, bool, error) {
	for {
		if len(s.items) > 0 {
			it := s.items[0]
			s.items = s.items[1:]
			if s.keys != nil {
				s.keys = s.keys[1:]
			}
			return it, true, nil
		}
		if s.files != nil {
			it, ok, err := s.files.next()
			if err != nil || ok {
				return it, ok, err
			}
			if s.moved() {
				continue
			}
			s.files = nil
		}
		if s.sub == nil || !s.fill() {
			return item{}, false, nil
		}
	}
}

// moved: while the files were read, the ring has dropped lines that had been
// in it; they are in the files by now, which are read on.
func (s *source) moved() bool {
	if s.sub == nil || s.extend >= maxExtend {
		return false
	}
	first, at := s.sub.sink.ring.oldest()
	s.sub.mu.Lock()
	defer s.sub.mu.Unlock()
	if first <= s.sub.cur.next || !at.valid {
		return false
	}
	s.extend++
	s.sub.cur = cursor{next: first, pos: s.sub.sink.ring.start(first)}
	s.end = max(s.end, first)
	s.files.extend(at)
	return true
}

// fill takes lines from the ring; false: there are no more.
func (s *source) fill() bool {
	s.sub.mu.Lock()
	defer s.sub.mu.Unlock()
	if s.sub.cur.next > s.end || s.begun && s.sub.cur.next == s.end && s.sub.cur.off > 0 {
		return false
	}
	items, lost, _ := s.sub.sink.ring.readUntil(&s.sub.cur, s.got[:0], sourceBytes, s.end)
	s.begun = true
	s.got, s.items = items, items
	if lost > 0 {
		at := time.Now().UnixNano()
		if len(items) > 0 {
			at = items[0].time
		}
		s.items = slices.Insert(items, 0, item{time: at, text: []byte("nines: " + slowText(lost))})
	}
	return len(s.items) > 0
}

// mergeHeap has the source with the earliest head first.
type mergeHeap []*source

func (m mergeHeap) Len() int { return len(m) }
func (m mergeHeap) Less(i, j int) bool {
	if m[i].latest != m[j].latest {
		return m[i].latest < m[j].latest
	}
	return m[i].key.instance < m[j].key.instance
}
func (m mergeHeap) Swap(i, j int) { m[i], m[j] = m[j], m[i] }
func (m *mergeHeap) Push(x any)   { *m = append(*m, x.(*source)) }
func (m *mergeHeap) Pop() any {
	old := *m
	s := old[len(old)-1]
	*m = old[:len(old)-1]
	return s
}
