package journal

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
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
