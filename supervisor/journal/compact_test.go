package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

// fileSize is that of the journal's file.
func fileSize(t *testing.T, dir string) int64 {
	t.Helper()
	fi, err := os.Stat(filepath.Join(dir, fileName))
	if err != nil {
		t.Fatal(err)
	}
	return fi.Size()
}

// A file that has become mostly free is made smaller when it is opened, and loses
// nothing: neither events nor records nor its numbers.
func TestCompact(t *testing.T) {
	cfg := Config{Dir: t.TempDir(), Limit: 10}
	j := openJournal(t, cfg)
	appendTexts(j, "one", "two")
	changes := []Change{{"b", "k", []byte("v")}}
	for i := range 200 {
		changes = append(changes, Change{"b", strconv.Itoa(i), bytes.Repeat([]byte("x"), 64<<10)})
	}
	if err := write(t, j, changes...); err != nil {
		t.Fatal(err)
	}
	for i := range changes[1:] {
		changes[i+1].Value = nil
	}
	if err := write(t, j, changes...); err != nil {
		t.Fatal(err)
	}
	closeJournal(t, j)
	large := fileSize(t, cfg.Dir)
	if large < 200*64<<10 {
		t.Fatalf("the file is %d bytes large, though nobody has looked again", large)
	}

	j = openJournal(t, cfg)
	until(t, "it is small", func() bool { return fileSize(t, cfg.Dir) < 4<<20 })
	appendTexts(j, "three")
	if err := flushed(t, j); err != nil {
		t.Fatal(err)
	}
	check := func(j *Journal) {
		t.Helper()
		got := read(t, j, time.Time{})
		if n := len(got); n != 3 || got[2].Text != "three" || got[2].Seq != 3 || got[1].Text != "two" {
			t.Errorf("%d events: %q", n, messages(got))
		}
		if v, err := j.Get("b", "k"); err != nil || string(v) != "v" {
			t.Errorf("the record: %q, %v", v, err)
		}
	}
	check(j)
	closeJournal(t, j)
	j = openJournal(t, cfg)
	check(j)
	if why := j.Trouble(); why != "" {
		t.Error(why)
	}
}

// While it is copied and changed it is read as ever.
func TestReadWhileCompacted(t *testing.T) {
	var copies atomic.Int32
	j := openJournal(t, Config{Dir: t.TempDir(), Limit: 10, every: 1, sparse: func(free, size int64) bool {
		copies.Add(1)
		return true
	}})
	if err := write(t, j, Change{"b", "k", []byte("v")}); err != nil {
		t.Fatal(err)
	}
	for n := 0; copies.Load() < 30; n++ {
		appendTexts(j, "x")
		if n%10 == 0 {
			if err := flushed(t, j); err != nil {
				t.Fatal(err)
			}
		}
		if v, err := j.Get("b", "k"); err != nil || string(v) != "v" {
			t.Fatalf("%q, %v", v, err)
		}
	}
}

// What a death in the middle of it leaves, at each point, is the file as it was: a copy
// that is not whole, one that is, something that is none.
func TestCompactInterrupted(t *testing.T) {
	whole := func(t *testing.T, dir string) []byte {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(dir, fileName))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for name, left := range map[string]func(b []byte) []byte{
		"nothing of it": func([]byte) []byte { return nil },
		"half of it":    func(b []byte) []byte { return b[:len(b)/2] },
		"all of it":     bytes.Clone,
		"garbage":       func(b []byte) []byte { return bytes.Repeat([]byte("garbage"), 1000) },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := Config{Dir: t.TempDir(), Limit: 10}
			j := openJournal(t, cfg)
			appendTexts(j, "one")
			if err := flushed(t, j); err != nil {
				t.Fatal(err)
			}
			kill(j)
			old := filepath.Join(cfg.Dir, fileName+".compact")
			if err := os.WriteFile(old, left(whole(t, cfg.Dir)), 0o600); err != nil {
				t.Fatal(err)
			}
			j = openJournal(t, cfg)
			if got := read(t, j, time.Time{}); len(got) == 0 || got[0].Text != "one" {
				t.Errorf("%q", messages(got))
			}
			if _, err := os.Lstat(old); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the copy is still there: %v", err)
			}
		})
	}
}

// Where there is no room for a copy, or none can be made, the file stays, and is
// written to.
func TestNoRoomToCompact(t *testing.T) {
	cfg := Config{Dir: t.TempDir(), Limit: 10}.withDefaults()
	cfg.patience = patience
	cfg.sparse = func(free, size int64) bool { return true }
	s := newStore(cfg)
	if _, err := s.open(); err != nil {
		t.Fatal(err)
	}
	defer s.drop()
	usable := func() {
		t.Helper()
		if err := s.update([]Entry{{Seq: s.last + 1, Time: time.Now(), Text: "x"}}, nil, time.Now()); err != nil {
			t.Error(err)
		}
	}
	// In the way of the copy.
	blocked := filepath.Join(s.compactPath(), "full")
	if err := os.MkdirAll(blocked, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.compact(); !errors.Is(err, syscall.ENOTEMPTY) && !errors.Is(err, fs.ErrExist) {
		t.Error(err)
	}
	usable()
	if err := os.RemoveAll(s.compactPath()); err != nil {
		t.Fatal(err)
	}
	// Somebody has put another in its place.
	if err := os.Rename(s.path, s.path+".moved"); err != nil {
		t.Fatal(err)
	}
	if err := s.compact(); !errors.Is(err, errGone) {
		t.Error(err)
	}
	if err := os.Rename(s.path+".moved", s.path); err != nil {
		t.Fatal(err)
	}
	usable()
	if err := s.compact(); err != nil {
		t.Error(err)
	}
	usable()
	left, err := filepath.Glob(s.path + ".*")
	if err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	if err := s.view(func(tx *bolt.Tx) error {
		if n := tx.Bucket(bucketEvents).Stats().KeyN; n != 3 {
			return fmt.Errorf("%d events", n)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// That a file stays large is said once, and events are written as ever.
func TestCompactFails(t *testing.T) {
	cfg := Config{Dir: t.TempDir(), Limit: 100, every: 1}
	var large atomic.Bool
	cfg.sparse = func(free, size int64) bool { return large.Load() }
	j := openJournal(t, cfg)
	if err := os.MkdirAll(filepath.Join(cfg.Dir, fileName+".compact", "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	large.Store(true)
	for range 5 {
		appendTexts(j, "x")
		if err := flushed(t, j); err != nil {
			t.Fatal(err)
		}
	}
	said := 0
	for _, e := range read(t, j, time.Time{}) {
		if e.Kind == KindJournalFailed && strings.HasPrefix(e.Text, "cannot make ") {
			said++
		}
	}
	if said != 1 || j.Trouble() != "" {
		t.Errorf("said %d times; %s", said, j.Trouble())
	}
}
