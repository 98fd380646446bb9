package journal

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Files that are no journal are moved away, and that is said.
func TestSetAside(t *testing.T) {
	sound := func(t *testing.T) []byte {
		dir := t.TempDir()
		j := openJournal(t, Config{Dir: dir})
		for range 200 {
			appendTexts(j, strings.Repeat("x", 500))
		}
		closeJournal(t, j)
		b, err := os.ReadFile(filepath.Join(dir, fileName))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	file := func(content func(t *testing.T) []byte) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			if err := os.WriteFile(path, content(t), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	page := os.Getpagesize()
	cases := map[string]func(*testing.T, string){
		"text":      file(func(*testing.T) []byte { return []byte(strings.Repeat("not a database\n", 5000)) }),
		"short":     file(func(*testing.T) []byte { return []byte("x") }),
		"zeros":     file(func(*testing.T) []byte { return make([]byte, 64<<10) }),
		"truncated": file(func(t *testing.T) []byte { return sound(t)[:3*page] }),
		"metas": file(func(t *testing.T) []byte {
			b := sound(t)
			clear(b[:2*page])
			return b
		}),
		"garbage behind the metas": file(func(t *testing.T) []byte {
			b := sound(t)
			for i := 2 * page; i < len(b); i++ {
				b[i] = 0xff
			}
			return b
		}),
		"folder": func(t *testing.T, path string) {
			if err := os.MkdirAll(filepath.Join(path, "x"), 0o700); err != nil {
				t.Fatal(err)
			}
		},
		"link": func(t *testing.T, path string) {
			if err := os.Symlink("/etc/passwd", path); err != nil {
				t.Fatal(err)
			}
		},
		"fifo": func(t *testing.T, path string) {
			if err := syscall.Mkfifo(path, 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"another's": func(t *testing.T, path string) {
			db, err := bolt.Open(path, 0o600, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(db.Update(func(tx *bolt.Tx) error { _, err := tx.CreateBucket([]byte("theirs")); return err }), db.Close()); err != nil {
				t.Fatal(err)
			}
		},
		"deadly": func(t *testing.T, path string) {
			file(sound)(t, path)
			if err := os.WriteFile(path+".opening", []byte("xxx"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, make := range cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			make(t, filepath.Join(dir, fileName))
			j := openJournal(t, Config{Dir: dir})
			appendTexts(j, "one")
			if err := flushed(t, j); err != nil {
				t.Fatalf("cannot write to the new file: %v", err)
			}
			bad, err := filepath.Glob(filepath.Join(dir, fileName+".bad-*"))
			if err != nil || len(bad) != 1 {
				t.Fatalf("set aside: %v, %v; want one", bad, err)
			}
			got := read(t, j, time.Time{})
			if len(got) != 2 || got[0].Kind != KindJournalReplaced || !strings.Contains(got[0].Message(), bad[0]) {
				t.Fatalf("events %q do not name %s", messages(got), bad[0])
			}
			closeJournal(t, j)
			j = openJournal(t, Config{Dir: dir})
			if got := read(t, j, time.Time{}); len(got) != 2 || got[1].Message() != "one" {
				t.Errorf("the new file holds %q", messages(got))
			}
		})
	}
}

func TestKeepsFewFilesSetAside(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, fileName)
	for range maxAside + 2 {
		if err := os.WriteFile(path, []byte("bad"), 0o600); err != nil {
			t.Fatal(err)
		}
		closeJournal(t, Open(Config{Dir: dir}))
	}
	if bad, err := filepath.Glob(path + ".bad-*"); err != nil || len(bad) != maxAside {
		t.Errorf("%v, %v; want %d", bad, err, maxAside)
	}
}

// A file of a newer version is left as it is.
func TestNewerFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, fileName)
	closeJournal(t, Open(Config{Dir: dir}))
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(func(tx *bolt.Tx) error { return tx.Bucket(bucketMeta).Put(keyFormat, []byte("2")) }), db.Close()); err != nil {
		t.Fatal(err)
	}
	j := openJournal(t, Config{Dir: dir})
	if !strings.Contains(j.Trouble(), "newer") {
		t.Errorf("trouble: %q", j.Trouble())
	}
	if err := flushed(t, j); err == nil {
		t.Error("it was written to")
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

func TestLockedByAnother(t *testing.T) {
	dir := t.TempDir()
	first := openJournal(t, Config{Dir: dir})
	begin := time.Now()
	second := openJournal(t, Config{Dir: dir})
	if took := time.Since(begin); took > patience/2 {
		t.Errorf("opening took %v", took)
	}
	if !strings.Contains(second.Trouble(), "another supervisor uses it") {
		t.Errorf("trouble: %q", second.Trouble())
	}
	appendTexts(second, "mine")
	if second.Begun() < 1e15 {
		t.Errorf("numbered after %d, want the clock", second.Begun())
	}
	closeJournal(t, first)
	// It is tried again by itself; asking hurries it.
	until(t, "the second writes", func() bool { return flushed(t, second) == nil })
	got := read(t, second, time.Time{})
	if !strings.Contains(messages(got), "mine") || got[len(got)-1].Kind != KindJournalRecovered {
		t.Errorf("got %q", messages(got))
	}
}

func TestFolders(t *testing.T) {
	base := t.TempDir()
	inTheWay := filepath.Join(base, "file")
	if err := os.WriteFile(inTheWay, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	open := filepath.Join(base, "open")
	if err := errors.Join(os.Mkdir(open, 0o777), os.Chmod(open, 0o777)); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{
		inTheWay: "not a directory", filepath.Join(inTheWay, "below"): "not a directory", open: "can be written to by others", "/proc/nines": "no such file",
	} {
		j := openJournal(t, Config{Dir: dir})
		appendTexts(j, "goes on")
		if !strings.Contains(j.Trouble(), want) {
			t.Errorf("%s: trouble is %q, want %q in it", dir, j.Trouble(), want)
		}
		got := read(t, j, time.Time{})
		if len(got) != 2 || got[0].Kind != KindJournalFailed || got[1].Message() != "goes on" {
			t.Errorf("%s: events are %q", dir, messages(got))
		}
		if err := write(t, j, Change{"b", "k", []byte("v")}); err == nil {
			t.Errorf("%s: it was written to", dir)
		}
	}
}

// Somebody removes the folder under a running supervisor.
func TestRemovedWhileInUse(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	j := openJournal(t, Config{Dir: dir})
	appendTexts(j, "one")
	if err := flushed(t, j); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	appendTexts(j, "two")
	if err := flushed(t, j); err != nil {
		t.Fatal(err)
	}
	closeJournal(t, j)
	j = openJournal(t, Config{Dir: dir})
	if got := messages(read(t, j, time.Time{})); !strings.HasPrefix(got, "one|two|somebody removed") {
		t.Errorf("the new file holds %q", got)
	}
}

// A page of the mapping that cannot be read is SIGBUS: an error, and no end.
func TestFault(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, Config{Dir: dir, Limit: 20})
	for range 30 {
		for range 10 {
			appendTexts(j, strings.Repeat("x", 2000))
		}
		if err := flushed(t, j); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Truncate(filepath.Join(dir, fileName), int64(2*os.Getpagesize())); err != nil {
		t.Fatal(err)
	}
	var kinds []string
	if err := j.Read(t.Context(), Query{}, func(e Entry) error { kinds = append(kinds, string(e.Kind)); return nil }); err != nil {
		t.Fatal(err)
	}
	if kinds[0] != string(KindLost) || len(kinds) != 21 {
		t.Errorf("a reader got %d: %v", len(kinds), kinds)
	}
	appendTexts(j, "after")
	until(t, "it is written again", func() bool { return flushed(t, j) == nil })
	got := messages(read(t, j, time.Time{}))
	for _, want := range []string{"cannot write events to ", "it was set aside as ", "are written to "} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in the events", want)
		}
	}
	if bad, err := filepath.Glob(filepath.Join(dir, fileName+".bad-*")); err != nil || len(bad) != 1 {
		t.Errorf("set aside: %v, %v", bad, err)
	}
}
