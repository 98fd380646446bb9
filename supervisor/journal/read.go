package journal

import (
	"context"
	"errors"
	"strconv"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Query is which entries a reader wants.
type Query struct {
	Since  time.Time // not older; zero: all that is kept
	After  uint64    // only numbers above it
	Follow bool      // go on with what comes
}

const (
	// readBatch bounds how many entries a reader copies under the lock, or out
	// of the file, at a time.
	readBatch = 256
	// scanBatch bounds how many it passes over in one transaction: one that
	// lasts holds up a writer whose file must grow.
	scanBatch = 8192
)

// Read calls fn for each entry that is kept and asked for, and if it follows,
// for each that comes, until ctx ends (nil) or fn fails (its error).
func (j *Journal) Read(ctx context.Context, q Query, fn func(Entry) error) error {
	return j.ReadBatches(ctx, q, func(batch []Entry) error {
		for _, e := range batch {
			if err := fn(e); err != nil {
				return err
			}
		}
		return nil
	})
}

// ReadBatches is Read for whoever can take several entries at once; a batch is
// never empty, and is fn's until it returns. What is missing in between is said
// by an entry with the number 0.
func (j *Journal) ReadBatches(ctx context.Context, q Query, fn func([]Entry) error) error {
	r := &reader{j: j, q: q, next: q.After + 1}
	for {
		more, changed := r.fill()
		if len(r.out) > 0 {
			if err := fn(r.out); err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			return nil
		}
		if more {
			continue
		}
		if !q.Follow {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// reader is where one reader stands.
type reader struct {
	j    *Journal
	q    Query
	next uint64 // the number that it wants next
	met  bool   // it has had an entry, so that the next must follow it
	buf  []Entry
	out  []Entry
}

// fill puts into r.out what comes next, from the file where memory begins later.
// It says whether there may be more at once; if not, changed is closed when
// there is.
func (r *reader) fill() (more bool, changed <-chan struct{}) {
	r.out = r.out[:0]
	j := r.j
	j.mu.Lock()
	first, begun := j.first(), j.begun
	if r.next < first && j.store != nil {
		j.mu.Unlock()
		return r.fillFromDisk(first, begun), nil
	}
	r.buf = j.copyFrom(r.buf[:0], max(r.next, first), readBatch)
	if len(r.buf) == 0 {
		if j.changed == nil {
			j.changed = make(chan struct{})
		}
		changed = j.changed
	}
	j.mu.Unlock()
	r.skipTo(first, begun)
	for i := range r.buf {
		r.take(&r.buf[i])
	}
	return len(r.buf) > 0, changed
}

// take passes an entry on, if it was asked for.
func (r *reader) take(e *Entry) {
	r.next, r.met = e.Seq+1, true
	if !e.Time.Before(r.q.Since) {
		r.out = append(r.out, *e)
	}
}

// skipTo: what comes next is number n. Of this supervisor's own (those after
// begun) there is one for each number; if a reader had some, it is told how many
// it did not get. Before, numbers have gaps that mean nothing.
func (r *reader) skipTo(n, begun uint64) {
	from := max(r.next, begun+1)
	if r.next = max(r.next, n); from >= n || !r.met {
		return
	}
	r.note(strconv.FormatUint(n-from, 10) + " events are missing here: they came faster than they were read, or could be written")
}

func (r *reader) note(text string) {
	r.out = append(r.out, Entry{Time: time.Now(), Kind: KindLost, Text: text})
}

// fillFromDisk reads on in the file, up to number first.
func (r *reader) fillFromDisk(first, begun uint64) bool {
	err := r.j.view(func(tx *bolt.Tx) error {
		events := tx.Bucket(bucketEvents)
		if events == nil {
			return errNotOpen
		}
		c := events.Cursor()
		n := 0
		for k, v := c.Seek(entryKey(r.next)); k != nil; k, v = c.Next() {
			seq, ok := number(k)
			if !ok || seq >= first {
				break
			}
			if n++; n > scanBatch || len(r.out) >= readBatch {
				return nil
			}
			r.skipTo(seq, begun)
			if t, err := entryTime(v); err == nil && t.Before(r.q.Since) {
				r.next, r.met = seq+1, true
				continue
			}
			e, err := decode(k, v)
			if err != nil {
				continue // that it is missing is said by the next one
			}
			r.take(&e)
		}
		r.skipTo(first, begun)
		return nil
	})
	if err != nil {
		// Of a file that was never opened there is no history to miss.
		if !errors.Is(err, errNotOpen) || r.met {
			r.note(err.Error())
		}
		r.next, r.met = first, false
	}
	return true
}

// number reads the key of an entry.
func number(key []byte) (uint64, bool) {
	if len(key) != 8 {
		return 0, false
	}
	var n uint64
	for _, b := range key {
		n = n<<8 | uint64(b)
	}
	return n, true
}
