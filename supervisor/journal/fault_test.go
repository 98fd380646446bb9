package journal

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"nines/testdata/testkit"
)

// envWriter makes the test binary append for ever, to a journal in that folder.
const envWriter = "JOURNAL_TEST_WRITER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(envWriter); dir != "" {
		writeForEver(dir)
	}
	os.Exit(m.Run())
}

// writeForEver appends, and tells on stdout what was shown to somebody and what
// is on disk.
func writeForEver(dir string) {
	// Each time that something was written all of it is copied, so that a kill falls
	// into that as well.
	always := func(free, size int64) bool { return true }
	j := Open(Config{Dir: dir, Limit: 1000, MaxEvents: 500, patience: patience, sparse: always, every: 1})
	for n := 0; ; n++ {
		for range 1 + n%7 {
			appendTexts(j, "x")
		}
		j.mu.Lock()
		last := j.last
		j.mu.Unlock()
		fmt.Println("shown", last)
		done := make(chan error, 1)
		j.Write([]Change{{"b", "last", []byte(strconv.FormatUint(last, 10))}}, func(err error) { done <- err })
		if err := <-done; err != nil {
			fmt.Println("failed", err)
			os.Exit(1)
		}
		fmt.Println("durable", last)
	}
}

// SIGKILL at any instant: what was said to be durable is there, nothing is
// damaged, no number is given twice.
func TestKilledAtAnyPoint(t *testing.T) {
	dir := t.TempDir()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	var shown, durable uint64
	for range 15 {
		lines := 1 + rng.IntN(60)
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), envWriter+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		before := shown
		sc := bufio.NewScanner(out)
		for n := 0; sc.Scan(); n++ {
			word, rest, _ := strings.Cut(sc.Text(), " ")
			seq, err := strconv.ParseUint(rest, 10, 64)
			if err != nil {
				t.Fatalf("the writer said %q", sc.Text())
			}
			if seq <= before {
				t.Fatalf("number %d was given before: %d had been shown", seq, before)
			}
			switch word {
			case "shown":
				shown = max(shown, seq)
			case "durable":
				durable = max(durable, seq)
			}
			if n == lines {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = cmd.Wait() // it was killed
		j := Open(Config{Dir: dir, Limit: 1000, MaxEvents: 500, patience: patience})
		var last, prev uint64
		for _, e := range read(t, j, time.Time{}) {
			if e.Seq <= prev {
				t.Fatalf("%d follows %d", e.Seq, prev)
			}
			prev, last = e.Seq, e.Seq
		}
		v, err := j.Get("b", "last")
		if err != nil {
			t.Fatal(err)
		}
		if n, err := strconv.ParseUint(string(v), 10, 64); err != nil || n < durable || last < durable {
			t.Fatalf("on disk are event %d and record %q, but %d was said to be there", last, v, durable)
		}
		if j.Trouble() != "" {
			t.Fatal(j.Trouble())
		}
		kill(j)
	}
	if bad, err := filepath.Glob(filepath.Join(dir, fileName+".*")); err != nil || len(bad) > 0 {
		t.Errorf("left beside it: %v, %v", bad, err)
	}
}

func remount(t *testing.T, dir string, flags uintptr, data string) {
	t.Helper()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT|flags, data); err != nil {
		t.Fatalf("cannot remount: %v", err)
	}
}

func TestFullDisk(t *testing.T) {
	if !testkit.InNamespace(t) {
		return
	}
	dir := testkit.Disk(t, "300k")
	j := openJournal(t, Config{Dir: dir, Limit: 1000})
	wrote := 0
	var err error
	for ; err == nil && wrote < 900; wrote++ {
		appendTexts(j, strings.Repeat("x", 1000))
		err = flushed(t, j)
	}
	if err == nil || !strings.Contains(err.Error(), "no space left on device: free some space") {
		t.Fatalf("after %d entries: %v", wrote, err)
	}
	appendTexts(j, "goes on")
	got := read(t, j, time.Time{})
	if len(got) != wrote+2 || got[wrote].Kind != KindJournalFailed {
		t.Fatalf("memory has %d entries, want %d", len(got), wrote+2)
	}
	if !strings.Contains(j.Trouble(), "no space") {
		t.Errorf("trouble: %q", j.Trouble())
	}
	// Nobody asks: it is tried again by itself.
	remount(t, dir, 0, "size=4m")
	until(t, "it is written again", func() bool { return j.Trouble() == "" })
	if err := flushed(t, j); err != nil {
		t.Fatal(err)
	}
	closeJournal(t, j)
	j = openJournal(t, Config{Dir: dir})
	got = read(t, j, time.Time{})
	if len(got) != wrote+3 || got[wrote+1].Message() != "goes on" || got[wrote+2].Kind != KindJournalRecovered {
		t.Errorf("%d entries are on disk, want %d", len(got), wrote+3)
	}
}

// What memory cannot hold until the disk takes it again is lost, and counted.
func TestFullForTooLong(t *testing.T) {
	if !testkit.InNamespace(t) {
		return
	}
	dir := testkit.Disk(t, "200k")
	j := openJournal(t, Config{Dir: dir, Limit: 20})
	big := strings.Repeat("x", 1000)
	for failures := 0; failures < 3; { // at the edge one may fit, and the next not
		appendTexts(j, big)
		if failures++; flushed(t, j) == nil {
			failures = 0
		}
	}
	for range 100 {
		appendTexts(j, big)
	}
	remount(t, dir, 0, "size=4m")
	until(t, "it is written again", func() bool { return flushed(t, j) == nil })
	got := read(t, j, time.Time{})
	last := got[len(got)-1]
	// At the edge a last write may have fitted: then it has lost some without having
	// failed.
	if m := last.Message(); last.Kind != KindJournalRecovered || !strings.Contains(m, " of those since ") && !strings.Contains(m, "they came faster than the disk takes them") {
		t.Errorf("it says %q", m)
	}
	missed := 0
	for _, e := range got {
		if e.Kind == KindLost {
			missed++
		}
	}
	if missed != 1 {
		t.Errorf("a reader was told %d times that some are missing", missed)
	}
}

func TestReadOnlyDisk(t *testing.T) {
	if !testkit.InNamespace(t) {
		return
	}
	dir := testkit.Disk(t, "4m")
	j := openJournal(t, Config{Dir: dir})
	appendTexts(j, "one", "two")
	closeJournal(t, j)
	remount(t, dir, syscall.MS_RDONLY, "")
	j = openJournal(t, Config{Dir: dir})
	appendTexts(j, "three")
	if !strings.Contains(j.Trouble(), "read-only file system: mount it writable") {
		t.Errorf("trouble: %q", j.Trouble())
	}
	// What is there can be read, and numbers go on.
	got := read(t, j, time.Time{})
	if len(got) != 4 || got[0].Message() != "one" || got[3].Message() != "three" || got[3].Seq != 4 {
		t.Fatalf("read %q", messages(got))
	}
	remount(t, dir, 0, "")
	until(t, "it is written again", func() bool { return flushed(t, j) == nil })
	closeJournal(t, j)
	j = openJournal(t, Config{Dir: dir})
	if got := messages(read(t, j, time.Time{})); !strings.HasPrefix(got, "one|two|cannot write") || !strings.Contains(got, "|three|events are written to ") {
		t.Errorf("on disk are %q", got)
	}
}

// FuzzEntry: any bytes on disk are an entry or an error; an entry survives being
// written and read.
func FuzzEntry(f *testing.F) {
	e := Entry{Seq: 7, Time: time.Unix(1, 2), Kind: "exited", Service: "web", Instance: "web/0", Revision: 3, PID: 9, Text: "exited with code 1"}
	v, err := encode(&e)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(entryKey(7), v)
	f.Add([]byte{}, []byte{})
	f.Add(entryKey(1), []byte("\x01\x00\x00\x00\x00\x00\x00\x00\x00{\"fields\":{\"a\":\"b\"}}"))
	f.Add(entryKey(1), []byte("\x01\xff\xff\xff\xff\xff\xff\xff\xff{\"kind\":1}"))
	f.Add(entryKey(1), []byte("\x02\x00\x00\x00\x00\x00\x00\x00\x00{}"))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		if len(value) > maxValue {
			return
		}
		e, err := decode(key, value)
		if err != nil {
			return
		}
		again, err := encode(&e)
		if err != nil {
			t.Fatalf("cannot write what was read: %v", err)
		}
		back, err := decode(entryKey(e.Seq), again)
		if err != nil {
			t.Fatalf("cannot read what was written: %v", err)
		}
		if back.Message() != e.Message() || !back.Time.Equal(e.Time) || back.Seq != e.Seq || len(back.fields) != len(e.fields) {
			t.Fatalf("%+v became %+v", e, back)
		}
	})
}

// FuzzFile: any file in our place is read, or set aside; nothing panics.
func FuzzFile(f *testing.F) {
	dir := f.TempDir()
	j := Open(Config{Dir: dir})
	appendTexts(j, "one", "two")
	close(j.stop)
	<-j.ended
	sound, err := os.ReadFile(filepath.Join(dir, fileName))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint32(0), []byte{}, uint32(len(sound)))
	f.Add(uint32(16), []byte{1, 2, 3, 4}, uint32(len(sound)))
	f.Add(uint32(4096), bytes.Repeat([]byte{0}, 100), uint32(len(sound)))
	f.Add(uint32(8200), []byte{0xff, 0xff, 1, 0}, uint32(len(sound)))
	f.Add(uint32(0), []byte{}, uint32(8192))
	f.Fuzz(func(t *testing.T, at uint32, patch []byte, length uint32) {
		b := bytes.Clone(sound[:min(int(length), len(sound))])
		if int(at) < len(b) {
			copy(b[at:], patch)
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, fileName), b, 0o600); err != nil {
			t.Fatal(err)
		}
		j := Open(Config{Dir: dir})
		appendTexts(j, "new")
		_ = flushed(t, j) // a file of another format is left alone
		// Before what the journal says of itself, or after it: a slow machine opens the file
		// when it is there already.
		if got := read(t, j, time.Time{}); !slices.ContainsFunc(got, func(e Entry) bool { return e.Text == "new" }) {
			t.Fatalf("the new entry is not there: %q", messages(got))
		}
		kill(j)
	})
}
