package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"nines/supervisor/policy"
)

// patience bounds every wait; nothing passes because of it.
const patience = 20 * time.Second

func openJournal(t *testing.T, cfg Config) *Journal {
	t.Helper()
	cfg.patience = patience
	j := Open(cfg)
	t.Cleanup(func() { closeJournal(t, j) })
	return j
}

// closeJournal ends j, unless it was ended before.
func closeJournal(t *testing.T, j *Journal) {
	t.Helper()
	select {
	case <-j.ended:
		return
	default:
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_ = j.Close(ctx) // what is in trouble says so
	<-j.ended
}

// kill ends j as a SIGKILL would: what was not written is not.
func kill(j *Journal) {
	j.mu.Lock()
	j.written = j.last + 1 // nothing is left to write, and it was no orderly end
	j.mu.Unlock()
	close(j.stop)
	<-j.ended
}

func appendTexts(j *Journal, texts ...string) {
	for _, s := range texts {
		j.Append(Entry{Time: time.Now(), Kind: policy.KindReady, Service: "web", Instance: "web/0", PID: 7, Text: s})
	}
}

// flushed waits until all that was appended is on disk.
func flushed(t *testing.T, j *Journal) error {
	t.Helper()
	return write(t, j)
}

func write(t *testing.T, j *Journal, changes ...Change) error {
	t.Helper()
	done := make(chan error, 1)
	j.Write(changes, func(err error) { done <- err })
	select {
	case err := <-done:
		return err
	case <-time.After(patience):
		t.Fatal("Write was never answered")
		return nil
	}
}

func messages(entries []Entry) string {
	var s []string
	for _, e := range entries {
		s = append(s, e.Message())
	}
	return strings.Join(s, "|")
}

// until polls a condition.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %s until %s", patience, what)
		}
	}
}

func TestSurvivesAnOrderlyEnd(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "state")
	at := time.Now().Add(-time.Hour).Round(0)
	j := openJournal(t, Config{Dir: dir})
	j.Append(Entry{Time: at, Kind: "exited", Service: "web", Instance: "web/0", Revision: 3, PID: 9, Text: "one"})
	appendTexts(j, "two")
	closeJournal(t, j)

	j = openJournal(t, Config{Dir: dir})
	appendTexts(j, "three")
	got := read(t, j, time.Time{})
	if messages(got) != "one|two|three" || got[0].Seq != 1 || got[2].Seq != 3 {
		t.Fatalf("got %+v, want three entries numbered from 1", got)
	}
	e := got[0]
	if !e.Time.Equal(at) || e.Kind != "exited" || e.Service != "web" || e.Instance != "web/0" || e.Revision != 3 || e.PID != 9 || e.Fields()["pid"] != "9" {
		t.Errorf("from disk came %+v", e)
	}
	if j.Trouble() != "" {
		t.Errorf("trouble: %s", j.Trouble())
	}
	for path, want := range map[string]os.FileMode{dir: 0o711, filepath.Join(dir, fileName): 0o600} {
		if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want %v", path, fi.Mode(), err, want)
		}
	}
}

// A kill leaves a gap in the numbers, for those that were shown and not written.
func TestNumbersAfterAKill(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, Config{Dir: dir, Limit: 50})
	appendTexts(j, "one", "two")
	if err := flushed(t, j); err != nil {
		t.Fatal(err)
	}
	kill(j)
	j = openJournal(t, Config{Dir: dir, Limit: 50})
	appendTexts(j, "three")
	got := read(t, j, time.Time{})
	if len(got) != 4 || got[2].Seq != 2+50+1 || !strings.Contains(got[2].Message(), "may be missing after number 2; numbers go on after 52") || got[3].Message() != "three" {
		t.Fatalf("got %+v, want the third at %d", got, 2+50+1)
	}
	closeJournal(t, j)
	j = openJournal(t, Config{Dir: dir, Limit: 50})
	appendTexts(j, "four")
	if got := read(t, j, time.Time{}); len(got) != 5 || got[4].Seq != 55 {
		t.Fatalf("got %+v, want no gap after an orderly end", got)
	}
}

// History comes from the file, the newest from memory, each once and in order.
func TestReadsAcrossDiskAndMemory(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, Config{Dir: dir, Limit: 10})
	for range 3 {
		for i := range 10 {
			appendTexts(j, fmt.Sprint(i))
		}
		if err := flushed(t, j); err != nil {
			t.Fatal(err)
		}
	}
	appendTexts(j, "tail")
	got := read(t, j, time.Time{})
	if len(got) != 31 {
		t.Fatalf("read %d entries, want 31", len(got))
	}
	for i, e := range got {
		if e.Seq != uint64(i+1) {
			t.Fatalf("entry %d has number %d", i, e.Seq)
		}
	}
	var after []uint64
	err := j.Read(t.Context(), Query{After: 28}, func(e Entry) error { after = append(after, e.Seq); return nil })
	if err != nil || fmt.Sprint(after) != "[29 30 31]" {
		t.Errorf("after 28 came %v, %v", after, err)
	}
}

func TestSinceOnDisk(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, Config{Dir: dir, Limit: 4})
	t0 := time.Now().Add(-time.Hour)
	for i := range 4 * scanBatch / 3 {
		j.Append(Entry{Time: t0.Add(time.Duration(i) * time.Second), Text: fmt.Sprint(i)})
		if i%4 == 3 {
			if err := flushed(t, j); err != nil {
				t.Fatal(err)
			}
		}
		if i == 64 {
			break
		}
	}
	got := read(t, j, t0.Add(30*time.Second))
	if len(got) != 35 || got[0].Message() != "30" {
		t.Errorf("got %d entries from %v on, want 35 from 30 on", len(got), got[0].Message())
	}
}

// A follower that is behind memory reads on in the file, and is told only of
// what neither has.
func TestSlowFollowerReadsOnInTheFile(t *testing.T) {
	j := openJournal(t, Config{Dir: t.TempDir(), Limit: 4})
	appendTexts(j, "1")
	if err := flushed(t, j); err != nil {
		t.Fatal(err)
	}
	var got []string
	err := j.Read(t.Context(), Query{}, func(e Entry) error {
		got = append(got, e.Message())
		if len(got) == 1 {
			for i := range 12 {
				appendTexts(j, fmt.Sprint(i+2))
				if i%4 == 3 {
					if err := flushed(t, j); err != nil {
						return err
					}
				}
			}
		}
		return nil
	})
	if err != nil || strings.Join(got, " ") != "1 2 3 4 5 6 7 8 9 10 11 12 13" {
		t.Fatalf("got %q, %v", got, err)
	}
}

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

func TestPrune(t *testing.T) {
	now := time.Now()
	for name, tc := range map[string]struct {
		cfg  Config
		want int
	}{
		"events": {Config{MaxEvents: 25}, 25},
		"age":    {Config{MaxAge: 40*time.Minute + 30*time.Second}, 41},
		"bytes":  {Config{MaxBytes: 10 * 1024}, 9},
	} {
		t.Run(name, func(t *testing.T) {
			tc.cfg.Dir, tc.cfg.Limit = t.TempDir(), 10
			j := openJournal(t, tc.cfg)
			for i := range 100 {
				j.Append(Entry{Time: now.Add(time.Duration(i-99) * time.Minute), Text: strings.Repeat("x", 1024)})
				if i%10 == 9 {
					if err := flushed(t, j); err != nil {
						t.Fatal(err)
					}
				}
			}
			got := read(t, j, time.Time{})
			if name == "bytes" {
				got = got[max(0, len(got)-tc.want):] // memory has ten anyway
			}
			if len(got) != tc.want || got[len(got)-1].Seq != 100 {
				t.Errorf("%d are left, the last is %d; want %d", len(got), got[len(got)-1].Seq, tc.want)
			}
			closeJournal(t, j)
			j = openJournal(t, tc.cfg)
			if got := read(t, j, time.Time{}); len(got) != tc.want {
				t.Errorf("%d are on disk, want %d", len(got), tc.want)
			}
		})
	}
}

func TestRecords(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, Config{Dir: dir})
	appendTexts(j, "before")
	if err := write(t, j, Change{"revisions", "web/1", []byte("a")}, Change{"revisions", "web/2", []byte("b")}, Change{"other", "x", []byte{}}); err != nil {
		t.Fatal(err)
	}
	if err := write(t, j, Change{"revisions", "web/1", nil}, Change{"none", "x", nil}); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []Change{{"events", "x", []byte("v")}, {"", "x", nil}, {"b", "", nil}, {"b", strings.Repeat("k", 2000), nil}, {"b", "k", make([]byte, 2<<20)}} {
		if err := write(t, j, bad); err == nil {
			t.Errorf("%q %q was taken", bad.Bucket, bad.Key)
		}
	}
	kill(j)
	if err := write(t, j, Change{"b", "k", []byte("v")}); !errors.Is(err, ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
	j = openJournal(t, Config{Dir: dir})
	list, err := j.List("revisions")
	if err != nil || len(list) != 1 || list[0].Key != "web/2" || string(list[0].Value) != "b" {
		t.Errorf("List: %v, %v", list, err)
	}
	if v, err := j.Get("other", "x"); err != nil || v == nil || len(v) != 0 {
		t.Errorf("an empty value came back as %v, %v", v, err)
	}
	if v, err := j.Get("revisions", "web/1"); err != nil || v != nil {
		t.Errorf("a deleted value came back as %v, %v", v, err)
	}
	// What was appended before is on disk too.
	if got := read(t, j, time.Time{}); len(got) != 2 || got[0].Message() != "before" {
		t.Errorf("events are %q", messages(got))
	}
	memory := New(3)
	if err := write(t, memory, Change{"b", "k", []byte("v")}); err == nil {
		t.Error("memory is not durable")
	}
	if _, err := memory.Get("b", "k"); err == nil {
		t.Error("memory has no records")
	}
}

// Numbers by a clock that stands before those of the file do not overwrite what
// is there.
func TestFileAheadOfTheClock(t *testing.T) {
	dir := t.TempDir()
	first := openJournal(t, Config{Dir: dir})
	first.mu.Lock()
	first.begun, first.last, first.written = 1<<60, 1<<60, 1<<60
	first.mu.Unlock()
	appendTexts(first, "far ahead")
	if err := flushed(t, first); err != nil {
		t.Fatal(err)
	}
	second := openJournal(t, Config{Dir: dir}) // the lock is held
	closeJournal(t, first)
	appendTexts(second, "mine")
	until(t, "the file is looked at", func() bool {
		err := flushed(t, second)
		return err != nil && strings.Contains(err.Error(), "numbered beyond")
	})
	closeJournal(t, second)
	third := openJournal(t, Config{Dir: dir})
	if got := read(t, third, time.Time{}); len(got) != 1 || got[0].Seq != 1<<60+1 {
		t.Errorf("the file holds %+v", got)
	}
}

// A disk that takes too long does not hold up a start: numbers are the clock's,
// and are not begun a second time.
func TestNumbersBeginOnce(t *testing.T) {
	j := &Journal{limit: 3}
	j.numberByClock()
	begun := j.Begun()
	j.numberAfter(5)
	if j.Begun() != begun || begun < 1e15 {
		t.Errorf("numbered after %d, then after %d", begun, j.Begun())
	}
}

// What came in one turn is one transaction, and so is what came until the next.
func TestGathers(t *testing.T) {
	j := openJournal(t, Config{Dir: t.TempDir()})
	for range 3000 {
		appendTexts(j, "x")
	}
	if err := flushed(t, j); err != nil {
		t.Fatal(err)
	}
	tx := 0
	err := j.view(func(t *bolt.Tx) error { tx = t.ID(); return nil })
	// One makes the file, and a batch is bounded.
	if err != nil || tx > 8 {
		t.Errorf("3000 entries took %d transactions, %v", tx, err)
	}
}
