package journal

import (
	"encoding/binary"
	"errors"
	"os"
	"time"

	bolt "go.etcd.io/bbolt"
)

const (
	// fillPercent: numbers only grow, so that pages are filled once and for all.
	fillPercent = 0.95
	// pruneBatch bounds how many old entries one transaction removes; more than
	// it adds, so that it is never left behind.
	pruneBatch = 2 * writeBatch
)

// update writes entries and changes in one transaction, and removes what is too
// old or too much. An error that is damage means that the file must be opened
// again before anything else.
func (s *store) update(entries []Entry, changes []Change, now time.Time) error {
	if fi, err := os.Stat(s.path); err != nil || !os.SameFile(fi, s.info) {
		return errGone
	}
	last, sz := s.last, s.size
	err := guarded(func() error {
		return s.db.Update(func(tx *bolt.Tx) error {
			last, sz = s.last, s.size
			events := tx.Bucket(bucketEvents)
			events.FillPercent = fillPercent
			for i := range entries {
				e := &entries[i]
				value, err := encode(e)
				if err != nil {
					return err
				}
				if err := events.Put(entryKey(e.Seq), value); err != nil {
					return err
				}
				// One that is there already came of a commit that failed only in its
				// end: the same entry.
				if e.Seq > last {
					last = e.Seq
					sz.add(value, 1)
				}
			}
			if err := s.prune(events, &sz, now); err != nil {
				return err
			}
			for i := range changes {
				if err := changes[i].apply(tx); err != nil {
					return err
				}
			}
			return s.describe(tx.Bucket(bucketMeta), sz, false)
		})
	})
	if err == nil {
		s.last, s.size, s.clean = last, sz, false
	}
	return err
}

func (z *size) add(value []byte, n int64) {
	z.events += n
	z.bytes += n * int64(8+len(value))
}

// describe writes what learn reads.
func (s *store) describe(meta *bolt.Bucket, sz size, clean bool) error {
	b := binary.BigEndian.AppendUint64(nil, uint64(sz.events))
	b = binary.BigEndian.AppendUint64(b, uint64(sz.bytes))
	mark := meta.Delete
	if clean {
		mark = func(key []byte) error { return meta.Put(key, nil) }
	}
	return errors.Join(meta.Put(keySize, b), mark(keyClean))
}

// prune removes the oldest entries until the rest are within the limits.
func (s *store) prune(events *bolt.Bucket, sz *size, now time.Time) error {
	c := events.Cursor()
	oldest := now.Add(-s.cfg.MaxAge)
	// First and not Next: a Delete moves what the cursor points to.
	for n := 0; n < pruneBatch; n++ {
		k, v := c.First()
		if k == nil {
			return nil
		}
		// One that cannot be read is as good as gone.
		at, err := entryTime(v)
		if err == nil && sz.events <= int64(s.cfg.MaxEvents) && sz.bytes <= s.cfg.MaxBytes && !at.Before(oldest) {
			return nil
		}
		sz.add(v, -1)
		if err := c.Delete(); err != nil {
			return err
		}
	}
	return nil
}

// close ends in order; sound says that everything was written.
func (s *store) close(sound bool) error {
	var err error
	if s.writable && sound && !s.clean {
		err = guarded(func() error {
			return s.db.Update(func(tx *bolt.Tx) error { return s.describe(tx.Bucket(bucketMeta), s.size, true) })
		})
	}
	s.drop()
	return err
}
