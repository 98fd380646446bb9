package logs

import (
	"container/list"
	"sync"
	"sync/atomic"
	"time"
)

// Count is how many lines of one pipe have matched, as the supervisor hears it.
type Count struct {
	ID      uint64        `json:"id"` // of this count within the epoch
	Pipe    string        `json:"pipe"`
	Pattern string        `json:"pattern"`
	Within  time.Duration `json:"within,omitempty"`
	Total   uint64        `json:"total"` // since nines-log has the pipe
	// Recent is when they came, the oldest first, as far as that is within Within.
	// It is told once: to whoever has just begun to listen.
	Recent []Span `json:"recent,omitempty"`
}

// Span is so many lines that came so long ago, or a 64th of Within later.
type Span struct {
	Ago   time.Duration `json:"ago"`
	Lines uint64        `json:"lines"`
}

const (
	tallyParts    = 64   // into which Within is cut
	maxEnded      = 1024 // counts of pipes that have ended, kept for a supervisor that is away
	pauseOfCounts = 50 * time.Millisecond
)

// tally counts the lines of one pipe that match one pattern.
type tally struct {
	Match
	*expression
	id   uint64
	pipe string
	once atomic.Bool // Within is 0, and a line matched

	// tallies.mu's.
	total   uint64
	seq     uint64        // of the last change
	place   *list.Element // in changed; nil: nothing matched yet
	dropped bool
	parts   [tallyParts]uint64
	last    int64 // number of the newest part since tallies.start
}

// tallies are those of all pipes. What has changed last stands last, so that
// whoever listens is told of that alone, however many there are. Safe for
// concurrent use.
type tallies struct {
	start time.Time

	mu      sync.Mutex
	ids     uint64
	seq     uint64
	changed *list.List // of *tally
	ended   []*tally   // the oldest first
	news    chan struct{}
	waits   bool // somebody waits for news
}

func newTallies() *tallies {
	return &tallies{start: time.Now(), changed: list.New(), news: make(chan struct{})}
}

func (a *tallies) tally(pipe string, m Match, e *expression) *tally {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ids++
	return &tally{Match: m, expression: e, id: a.ids, pipe: pipe}
}

// add counts what a pump has found: hits[i] of list[i].
func (a *tallies) add(list []*tally, hits []uint64, now time.Time) {
	for i, t := range list {
		if hits[i] > 0 {
			a.count(t, hits[i], now)
		}
	}
}

func (a *tallies) count(t *tally, n uint64, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if t.dropped {
		return
	}
	if t.Within == 0 {
		t.once.Store(true)
	} else {
		t.forget(now.Sub(a.start))
		t.parts[t.last%tallyParts] += n
	}
	t.total += n
	a.seq++
	t.seq = a.seq
	if t.place == nil {
		t.place = a.changed.PushBack(t)
	} else {
		a.changed.MoveToBack(t.place)
	}
	if a.waits {
		a.waits = false
		close(a.news)
		a.news = make(chan struct{})
	}
}

func (t *tally) width() time.Duration { return max(t.Within/tallyParts, 1) }

// forget takes the parts away that are no more wholly in the window.
func (t *tally) forget(now time.Duration) {
	part := int64(now / t.width())
	for i := max(t.last, part-tallyParts) + 1; i <= part; i++ {
		t.parts[i%tallyParts] = 0
	}
	t.last = max(t.last, part)
}

func (t *tally) recent(now time.Duration) (runs []Span) {
	t.forget(now)
	for i := max(t.last-tallyParts+1, 0); i <= t.last; i++ {
		if n := t.parts[i%tallyParts]; n > 0 {
			runs = append(runs, Span{now - time.Duration(i)*t.width(), n})
		}
	}
	return runs
}

// drop: nobody wants to know of t any more.
func (a *tallies) drop(t *tally) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t.dropped = true
	if t.place != nil {
		a.changed.Remove(t.place)
		t.place = nil
	}
}

// end: nothing more comes of t.
func (a *tallies) end(t *tally) {
	a.mu.Lock()
	if t.place == nil {
		a.mu.Unlock()
		return
	}
	var old *tally
	if a.ended = append(a.ended, t); len(a.ended) > maxEnded {
		old, a.ended = a.ended[0], a.ended[1:]
	}
	a.mu.Unlock()
	if old != nil {
		a.drop(old)
	}
}

// since returns what has changed after number seq, the number up to which that
// is all, and a channel that is closed when there is more. seq 0: whoever asks
// has just begun, and is told also when the lines came.
func (a *tallies) since(seq uint64) ([]Count, uint64, <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waits = true
	first := a.changed.Back()
	if first == nil || a.seq == seq {
		return nil, seq, a.news
	}
	n := 0
	for e := first; e != nil && e.Value.(*tally).seq > seq; e = e.Prev() {
		first, n = e, n+1
	}
	now := time.Since(a.start)
	counts := make([]Count, 0, n)
	for e := first; e != nil; e = e.Next() {
		t := e.Value.(*tally)
		c := Count{ID: t.id, Pipe: t.pipe, Pattern: t.Pattern, Within: t.Within, Total: t.total}
		if seq == 0 && t.Within > 0 {
			c.Recent = t.recent(now)
		}
		counts = append(counts, c)
	}
	return counts, a.seq, a.news
}
