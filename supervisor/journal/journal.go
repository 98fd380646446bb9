// Package journal keeps what happened: the event stream that `nines events`,
// the API and the console read. Entries are numbered from 1, kept in memory up
// to a limit (the oldest go first), and worded only when somebody reads them,
// so that a thousand deaths cost the loop a thousand copies and nothing more.
// A reader never holds up a writer: one that falls behind what is kept is told
// how many entries it missed. Safe for concurrent use.
package journal

import (
	"context"
	"strconv"
	"sync"
	"time"

	"nines/supervisor/policy"
)

// Entry is one event.
type Entry struct {
	Seq      uint64    // set by Append
	Time     time.Time // wall clock: a label, nothing is decided by it
	Kind     policy.Kind
	Service  string
	Instance string // id: "web/0"; "": about the service or the supervisor
	Revision int
	PID      int // 0: none
	Reason   policy.Reason
	Text     string // instead of Reason, where policy had no part in it
}

// Message is what happened in plain words.
func (e Entry) Message() string {
	if e.Text != "" {
		return e.Text
	}
	return e.Reason.String()
}

// Kinds that the supervisor itself emits, beside policy's.
const (
	KindStarted   policy.Kind = "supervisor_started"
	KindRecovered policy.Kind = "supervisor_recovered"
	// KindListenFailed: a socket that nobody is about to be started with.
	KindListenFailed policy.Kind = "listen_failed"
	KindLost         policy.Kind = "log_lost"
	// KindUpgraded, KindReverted: how an upgrade of nines itself ended.
	KindUpgraded policy.Kind = "supervisor_upgraded"
	KindReverted policy.Kind = "supervisor_reverted"
)

// Journal holds the newest entries.
type Journal struct {
	mu      sync.Mutex
	ring    []Entry // entry with Seq s is at (s-1) % limit
	limit   uint64
	last    uint64
	changed chan struct{} // closed by the next Append; nil: nobody waits
}

// New returns a journal that keeps the newest limit (at least 1) entries.
func New(limit int) *Journal {
	return &Journal{limit: uint64(max(limit, 1))}
}

// Append adds an entry and numbers it.
func (j *Journal) Append(e Entry) {
	j.mu.Lock()
	j.last++
	e.Seq = j.last
	if uint64(len(j.ring)) < j.limit {
		j.ring = append(j.ring, e)
	} else {
		j.ring[(e.Seq-1)%j.limit] = e
	}
	changed := j.changed
	j.changed = nil
	j.mu.Unlock()
	if changed != nil {
		close(changed)
	}
}

// readBatch bounds how many entries a reader copies under the lock at a time.
const readBatch = 256

// take copies entries from number `from` on into buf. It returns them, the
// number of the first one, and, if there is nothing to return, a channel that
// is closed when there is.
func (j *Journal) take(buf []Entry, from uint64) ([]Entry, uint64, <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	first := uint64(1)
	if j.last > j.limit {
		first = j.last - j.limit + 1
	}
	from = max(from, first)
	for s := from; s <= j.last && len(buf) < readBatch; s++ {
		buf = append(buf, j.ring[(s-1)%j.limit])
	}
	if len(buf) > 0 {
		return buf, from, nil
	}
	if j.changed == nil {
		j.changed = make(chan struct{})
	}
	return buf, from, j.changed
}

// Read calls fn for each entry that is kept and not older than since (the zero
// time: all), and if follow, for each that comes, until ctx ends (nil) or fn
// fails (its error).
func (j *Journal) Read(ctx context.Context, since time.Time, follow bool, fn func(Entry) error) error {
	return j.ReadBatches(ctx, since, follow, func(batch []Entry) error {
		for _, e := range batch {
			if err := fn(e); err != nil {
				return err
			}
		}
		return nil
	})
}

// ReadBatches is Read for whoever can take several entries at once; a batch is
// never empty, and is fn's until it returns.
func (j *Journal) ReadBatches(ctx context.Context, since time.Time, follow bool, fn func([]Entry) error) error {
	next := uint64(1)
	var buf, out []Entry
	for {
		var first uint64
		var changed <-chan struct{}
		buf, first, changed = j.take(buf[:0], next)
		out = out[:0]
		if missed := first - next; missed > 0 && next > 1 {
			out = append(out, Entry{Time: time.Now(), Kind: KindLost,
				Text: strconv.FormatUint(missed, 10) + " events were lost: the reader is slower than they came"})
		}
		for _, e := range buf {
			next = e.Seq + 1
			if !e.Time.Before(since) {
				out = append(out, e)
			}
		}
		if len(out) > 0 {
			if err := fn(out); err != nil {
				return err
			}
		}
		if len(buf) > 0 {
			if ctx.Err() != nil {
				return nil
			}
			continue
		}
		if !follow {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}
