package journal

import (
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// Bucket names a kind of records. A bucket is made when it is first written to.
type Bucket string

// Change sets Key of Bucket to Value, or where Value is nil takes it away.
type Change struct {
	Bucket Bucket
	Key    string
	Value  []byte
}

// reserved are the buckets that are the journal's own.
func (b Bucket) reserved() bool {
	return b == "" || string(b) == string(bucketMeta) || string(b) == string(bucketEvents)
}

func (c *Change) apply(tx *bolt.Tx) error {
	name := []byte(c.Bucket)
	if c.Value == nil {
		if b := tx.Bucket(name); b != nil {
			return b.Delete([]byte(c.Key))
		}
		return nil
	}
	b, err := tx.CreateBucketIfNotExists(name)
	if err != nil {
		return err
	}
	return b.Put([]byte(c.Key), c.Value)
}

// maxKey and maxValue bound one record, in bytes.
const (
	maxKey   = 1 << 10
	maxValue = 1 << 20
)

func (c *Change) check() error {
	if c.Bucket.reserved() || c.Key == "" || len(c.Key) > maxKey || len(c.Value) > maxValue {
		return fmt.Errorf("cannot record %q in bucket %q: a name is empty, taken or too long, or the value is larger than 1 MiB", c.Key, c.Bucket)
	}
	return nil
}

// Write makes changes durable: all of them or none, after every entry appended
// before, in the order of the calls. It does not wait: done is called once, with
// nil when everything is on disk, else with why not; nothing is tried again
// then, and the caller decides what to do without. With no changes it only tells
// when the entries are on disk. done is called by the writer, or before Write
// returns, and must not block: the loop puts itself into its mailbox.
func (j *Journal) Write(changes []Change, done func(error)) {
	for i := range changes {
		if err := changes[i].check(); err != nil {
			done(err)
			return
		}
	}
	j.mu.Lock()
	var refuse error
	switch {
	case j.store == nil:
		refuse = errors.New("cannot keep anything: there is no state folder")
	case j.closed:
		refuse = ErrClosed
	default:
		j.requests = append(j.requests, request{changes, j.last, done})
	}
	j.mu.Unlock()
	if refuse != nil {
		done(refuse)
		return
	}
	signal(j.flush)
}

// Get returns what is on disk at key; nil: nothing. It reads the disk: not for
// the loop.
func (j *Journal) Get(bucket Bucket, key string) (value []byte, err error) {
	err = j.view(func(tx *bolt.Tx) error {
		if b := tx.Bucket([]byte(bucket)); b != nil {
			if v := b.Get([]byte(key)); v != nil {
				value = append([]byte{}, v...)
			}
		}
		return nil
	})
	return value, err
}

// List returns all records of a bucket in the order of their keys. It reads the
// disk: not for the loop.
func (j *Journal) List(bucket Bucket) (list []Change, err error) {
	err = j.view(func(tx *bolt.Tx) error {
		list = nil
		b := tx.Bucket([]byte(bucket))
		if b == nil {
			return nil
		}
		return b.ForEach(func(k, v []byte) error {
			list = append(list, Change{bucket, string(k), append([]byte{}, v...)})
			return nil
		})
	})
	return list, err
}

func (j *Journal) view(fn func(*bolt.Tx) error) error {
	if j.store == nil {
		return errNotOpen
	}
	if err := j.store.view(fn); err != nil {
		return fmt.Errorf("cannot read %s: %w", j.store.path, err)
	}
	return nil
}
