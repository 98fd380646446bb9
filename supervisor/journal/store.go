package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// fileName is the file in the state folder.
const fileName = "state.db"

// The buckets of the file, and the keys of the first.
var (
	bucketMeta   = []byte("nines")
	bucketEvents = []byte("events")

	keyFormat = []byte("format") // of the file: 1
	keySize   = []byte("size")   // of the events: how many, and their bytes, 8 bytes each
	keyClean  = []byte("clean")  // there when its last writer ended in order
)

const fileFormat = 1

// store is the file. Its methods belong to the writer, but for view.
type store struct {
	path string
	cfg  Config

	mu sync.RWMutex // held to read through db
	db *bolt.DB     // nil: not open

	file     *os.File    // db's
	info     fs.FileInfo // of file, when it was opened
	patience time.Duration
	writable bool
	last     uint64 // the number of the newest event in it
	clean    bool
	size     size
}

type size struct {
	events, bytes int64
}

func newStore(cfg Config) *store {
	return &store{path: filepath.Join(cfg.Dir, fileName), cfg: cfg, patience: lockPatience}
}

// lockPatience is how long a first opening waits for the lock, which is tried
// three times: a process that a killed supervisor was just making holds a copy of
// its descriptor until it has exec'ed. Later the writer waits between tries.
const lockPatience = openPatience - 50*time.Millisecond

// errNotOpen: there is no file to read.
var errNotOpen = errors.New("the journal is not open")

// errGone: somebody removed or replaced the file while it was open.
var errGone = errors.New("the file is gone")

// damage is what came of believing a file, or a disk, that is damaged.
type damage struct {
	what  string
	fault bool // a page could not be read: the file is too short, or the disk fails
}

func (d *damage) Error() string { return d.what }

// guarded runs fn such that what a page of the mapping does to it is an error.
func guarded(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		d := &damage{what: fmt.Sprint(v)}
		var re runtime.Error
		if e, ok := v.(error); ok && errors.As(e, &re) {
			if _, d.fault = re.(interface{ Addr() uintptr }); d.fault {
				d.what = "a page of it cannot be read: it was cut short, or the disk fails"
			}
		}
		err = d
	}()
	return fn()
}

// view reads what is on disk; fn should be short: a writer may wait for it. A
// nil bucket is the caller's to expect.
func (s *store) view(fn func(*bolt.Tx) error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.db == nil {
		return errNotOpen
	}
	return guarded(func() error { return s.db.View(fn) })
}

// open opens or makes the file. set says where a file that could not be used
// was moved to, and why. Where there is an error there may still be a file to
// read from (then s.db is not nil, and s.last tells its newest).
func (s *store) open() (set *setAside, err error) {
	if err := prepareFolder(s.cfg.Dir); err != nil {
		s.openToRead()
		return nil, err
	}
	if n := s.tries(); n >= maxTries {
		if set, err = s.moveAway(fmt.Sprintf("opening it has ended the supervisor %d times", n)); err != nil {
			return nil, err
		}
	}
	bad := s.openToWrite()
	why, isBad := s.unusable(bad)
	if !isBad {
		if bad != nil && !errors.Is(bad, bolterrors.ErrTimeout) {
			s.openToRead()
		}
		return set, bad
	}
	if set, err = s.moveAway(why); err != nil {
		return nil, err
	}
	return set, s.openToWrite()
}

// unusable tells a file that is no journal from one that cannot be had now. A
// page that cannot be read is the file's fault if it can be read otherwise.
func (s *store) unusable(err error) (why string, bad bool) {
	var errno syscall.Errno
	var newer *newerError
	var d *damage
	switch {
	case err == nil, errors.Is(err, bolterrors.ErrTimeout), errors.As(err, &newer):
		return "", false
	case errors.As(err, &d) && d.fault:
		return "it is damaged: it is shorter than it says", s.readable() == nil
	case errors.As(err, &d):
		return "it is damaged: " + d.what, true
	case errors.As(err, &errno):
		return "", false
	}
	return err.Error(), true
}

// readable reads the whole file the ordinary way.
func (s *store) readable() error {
	f, err := os.Open(s.path)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, f)
	return errors.Join(err, f.Close())
}

// newerError is a file that a later version wrote.
type newerError struct{ format string }

func (e *newerError) Error() string {
	return "it was written by a newer nines (format " + strconv.Quote(e.format) + ")"
}

// notOurs is a thing at our path that is not our file.
type notOurs struct{ what string }

func (e *notOurs) Error() string { return e.what }

// probeBytes of the beginning and the end are read before the file is mapped: a
// disk that hangs then holds up one system call, and not a processor of the
// runtime, which a page fault does.
const probeBytes = 64 << 10

// openFile is bbolt's way to the file; it keeps hold of it.
func (s *store) openFile(path string, flag int, mode os.FileMode) (*os.File, error) {
	f, err := os.OpenFile(path, flag|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, mode)
	if err != nil {
		if errors.Is(err, syscall.ELOOP) {
			return nil, &notOurs{"it is a symbolic link"}
		}
		if errors.Is(err, syscall.EISDIR) {
			return nil, &notOurs{"it is a folder"}
		}
		return nil, err
	}
	fi, err := f.Stat()
	if err == nil {
		st, ok := fi.Sys().(*syscall.Stat_t)
		switch {
		case !fi.Mode().IsRegular():
			err = &notOurs{"it is no regular file"}
		case !ok || int(st.Uid) != os.Geteuid():
			err = &notOurs{"it belongs to another user"}
		case fi.Mode().Perm() != mode && flag&os.O_CREATE != 0:
			err = f.Chmod(mode)
		}
	}
	if err == nil {
		buf := make([]byte, probeBytes)
		for _, at := range []int64{0, max(0, fi.Size()-probeBytes)} {
			if _, e := f.ReadAt(buf, at); e != nil && !errors.Is(e, io.EOF) {
				err = e
			}
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	s.file, s.info = f, fi
	return f, nil
}

// openToWrite opens the file, or makes it.
func (s *store) openToWrite() error {
	s.drop()
	if err := s.removeCopy(); err != nil {
		return err
	}
	_, missing := os.Lstat(s.path)
	s.begin()
	err := s.attach(false)
	if err == nil {
		err = guarded(s.learn)
	}
	if err == nil && errors.Is(missing, fs.ErrNotExist) {
		err = syncFolder(s.cfg.Dir)
	}
	s.succeeded() // it did not end us
	if err != nil {
		s.drop()
		return err
	}
	s.writable = true
	return nil
}

// openToRead opens the file for its history, where it cannot be written. Why it
// cannot even be read is not said beside that.
func (s *store) openToRead() {
	err := s.attach(true)
	if err == nil {
		err = guarded(s.learn)
	}
	if err != nil {
		s.drop()
	}
}

func (s *store) attach(readOnly bool) error {
	s.file = nil
	var db *bolt.DB
	defer func() { s.patience = time.Nanosecond }() // none would be for ever
	err := guarded(func() (err error) {
		db, err = bolt.Open(s.path, 0o600, &bolt.Options{
			Timeout:  s.patience,
			ReadOnly: readOnly, FreelistType: bolt.FreelistMapType, OpenFile: s.openFile,
		})
		return err
	})
	if err != nil {
		closeDB(nil, s.file)
		s.file = nil
		return err
	}
	s.mu.Lock()
	s.db, s.writable = db, false
	s.mu.Unlock()
	return nil
}

// learn reads what the file says of itself, and makes what is missing in a new
// one.
func (s *store) learn() error {
	db := s.db
	fresh := false
	err := db.View(func(tx *bolt.Tx) error {
		meta, events := tx.Bucket(bucketMeta), tx.Bucket(bucketEvents)
		if meta == nil {
			if name, _ := tx.Cursor().First(); name != nil {
				return &notOurs{"it is a bbolt file of another program"}
			}
			fresh = true
			return nil
		}
		if f := string(meta.Get(keyFormat)); f != strconv.Itoa(fileFormat) {
			return &newerError{f}
		}
		if events == nil {
			return &notOurs{"it has no events"}
		}
		s.last, s.size = 0, size{}
		if k, _ := events.Cursor().Last(); len(k) == 8 {
			s.last = binary.BigEndian.Uint64(k)
		}
		if v := meta.Get(keySize); len(v) == 16 {
			s.size = size{int64(binary.BigEndian.Uint64(v)), int64(binary.BigEndian.Uint64(v[8:]))}
		}
		s.clean = meta.Get(keyClean) != nil
		return nil
	})
	if err != nil || !fresh {
		return err
	}
	if db.IsReadOnly() {
		return &notOurs{"it is empty"}
	}
	s.last, s.size, s.clean = 0, size{}, true
	return db.Update(func(tx *bolt.Tx) error {
		meta, err := tx.CreateBucket(bucketMeta)
		if err != nil {
			return err
		}
		if _, err := tx.CreateBucket(bucketEvents); err != nil {
			return err
		}
		return errors.Join(
			meta.Put(keyFormat, []byte(strconv.Itoa(fileFormat))),
			meta.Put(keyClean, nil),
		)
	})
}

// drop closes the file. After damage its locks may be held for ever, so that
// nothing waits for that: only its flock is given back for certain.
func (s *store) drop() {
	s.mu.Lock()
	db := s.db
	s.db, s.writable = nil, false
	s.mu.Unlock()
	closeDB(db, s.file)
	s.file = nil
}

// closeDB closes a file, and what bbolt has lost hold of. A mapping that is left keeps
// the lock also of a closed file, so it is taken back by name. Both may be nil.
func closeDB(db *bolt.DB, file *os.File) {
	if db != nil {
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			// It was only read since its last commit; there is nothing to lose.
			_ = guarded(db.Close)
		}()
		select {
		case <-closed:
		case <-time.After(time.Second):
		}
	}
	if file == nil {
		return
	}
	if c, err := file.SyscallConn(); err == nil {
		// It is closed already, if bbolt closed it.
		_ = c.Control(func(fd uintptr) { _ = syscall.Flock(int(fd), syscall.LOCK_UN) })
	}
	_ = file.Close() // likewise
}
