package logs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"nines/testdata/testkit"
)

// faulty is the real disk with faults: before each changing step, hook says
// whether it fails, and of a write how many bytes still get there.
type faulty struct {
	disk
	mu   sync.Mutex
	hook func(op, path string, n int) (int, error)
}

func (f *faulty) ask(op, path string, n int) (int, error) {
	f.mu.Lock()
	hook := f.hook
	f.mu.Unlock()
	if hook == nil {
		return n, nil
	}
	return hook(op, path, n)
}

func (f *faulty) set(hook func(op, path string, n int) (int, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hook = hook
}

func (f *faulty) MkdirAll(path string, mode fs.FileMode) error {
	if _, err := f.ask("mkdir", path, 0); err != nil {
		return &fs.PathError{Op: "mkdir", Path: path, Err: err}
	}
	return f.disk.MkdirAll(path, mode)
}

func (f *faulty) OpenAppend(path string, mode fs.FileMode) (file, error) {
	if _, err := f.ask("open", path, 0); err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	g, err := f.disk.OpenAppend(path, mode)
	if err != nil {
		return nil, err
	}
	return &faultyFile{g, f, path}, nil
}

func (f *faulty) Rename(from, to string) error {
	if _, err := f.ask("rename", from, 0); err != nil {
		return &fs.PathError{Op: "rename", Path: from, Err: err}
	}
	return f.disk.Rename(from, to)
}

func (f *faulty) Remove(path string) error {
	if _, err := f.ask("remove", path, 0); err != nil {
		return &fs.PathError{Op: "remove", Path: path, Err: err}
	}
	return f.disk.Remove(path)
}

func (f *faulty) Create(path string, mode fs.FileMode) (file, error) {
	if _, err := f.ask("create", path, 0); err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	g, err := f.disk.Create(path, mode)
	if err != nil {
		return nil, err
	}
	return &faultyFile{g, f, path}, nil
}

func (f *faulty) Chtimes(path string, at time.Time) error {
	if _, err := f.ask("chtimes", path, 0); err != nil {
		return &fs.PathError{Op: "chtimes", Path: path, Err: err}
	}
	return f.disk.Chtimes(path, at)
}

func (f *faulty) SyncDir(path string) error {
	if _, err := f.ask("syncdir", path, 0); err != nil {
		return &fs.PathError{Op: "fsync", Path: path, Err: err}
	}
	return f.disk.SyncDir(path)
}

type faultyFile struct {
	file
	fs   *faulty
	path string
}

func (f *faultyFile) Write(b []byte) (int, error) {
	n, err := f.fs.ask("write", f.path, len(b))
	if err == nil {
		return f.file.Write(b)
	}
	n, werr := f.file.Write(b[:n])
	return n, errors.Join(&fs.PathError{Op: "write", Path: f.path, Err: err}, werr)
}

func (f *faultyFile) Sync() error {
	if _, err := f.fs.ask("sync", f.path, 0); err != nil {
		return &fs.PathError{Op: "fsync", Path: f.path, Err: err}
	}
	return f.file.Sync()
}

// logFiles returns the files of path, the oldest first.
func logFiles(t testing.TB, path string) []string {
	t.Helper()
	var files []string
	for n := 200; n >= 0; n-- {
		if _, err := os.Stat(numbered(path, n)); err == nil {
			files = append(files, numbered(path, n))
		} else if !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	return files
}

func newLog(fsys filesystem, dir string, said *testkit.Output) *logFile {
	return &logFile{fs: fsys, clean: true, vol: newVolume(dir, fsys, func(s string) { fmt.Fprintln(said, s) }, newNotices())}
}

// put is what a sink does with a buffer.
func put(l *logFile, s *Settings, src any, b string, now time.Time) {
	if !l.prepare(s, now) {
		l.dropHeld(src, []byte(b))
		return
	}
	if s.Format == FormatJSON {
		l.appendObjects(s, src, []byte(b), nil, now)
		return
	}
	l.append(s, src, []byte(b), nil, now)
}

func TestRotationProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		check(t, err)
		s := Settings{Service: "web", Instance: "web/0", Dir: dir, ToFile: true,
			MaxSize: uint64(rapid.IntRange(1, 2000).Draw(rt, "max")), Keep: 150}
		l := newLog(disk{}, dir, &testkit.Output{})
		var want strings.Builder
		now := time.Unix(1e9, 0)
		for range rapid.IntRange(1, 20).Draw(rt, "buffers") {
			var b strings.Builder
			for range rapid.IntRange(1, 6).Draw(rt, "lines") {
				b.WriteString(strings.Repeat("x", rapid.IntRange(0, 300).Draw(rt, "length")))
				if rapid.IntRange(0, 5).Draw(rt, "end") > 0 {
					b.WriteByte('\n')
				}
			}
			if b.Len() == 0 {
				continue
			}
			want.WriteString(b.String())
			put(l, &s, "a", b.String(), now)
			now = now.Add(time.Millisecond)
			if rapid.IntRange(0, 9).Draw(rt, "restart") == 0 && strings.HasSuffix(b.String(), "\n") {
				l.close()
				l = newLog(disk{}, dir, &testkit.Output{})
			}
		}
		l.close()
		files := logFiles(t, s.path())
		if got := stripped(t, files...); got != want.String() {
			rt.Fatalf("got %q, want %q", got, want.String())
		}
		for i, f := range files {
			b, err := os.ReadFile(f)
			check(t, err)
			if i < len(files)-1 && b[len(b)-1] != '\n' {
				rt.Fatalf("%s ends within a line", f)
			}
		}
	})
}

func TestKeep(t *testing.T) {
	dir := t.TempDir()
	s := Settings{Service: "web", Instance: "web/0", Dir: dir, ToFile: true, MaxSize: 100, Keep: 4}
	l := newLog(disk{}, dir, &testkit.Output{})
	line := func(n int) string { return fmt.Sprintf("%-60d\n", n) }
	for n := range 10 {
		put(l, &s, "a", line(n), time.Now())
	}
	if got, want := stripped(t, logFiles(t, s.path())...), line(5)+line(6)+line(7)+line(8)+line(9); got != want {
		t.Errorf("kept %q", got)
	}
	s.Keep = 1
	put(l, &s, "a", line(10), time.Now())
	if got, want := stripped(t, logFiles(t, s.path())...), line(9)+line(10); got != want {
		t.Errorf("kept after keep became 1: %q", got)
	}
	s.Keep = 0
	put(l, &s, "a", line(11), time.Now())
	if got := stripped(t, s.path()); got != line(11) {
		t.Errorf("kept after keep became 0: %q", got)
	}
	l.close()
}

var errCrash = errors.New("the process died")

// TestRotationCrash dies before each step of a rotation in turn, starts again
// and looks whether anything that ought to be kept is gone.
func TestRotationCrash(t *testing.T) {
	line := func(n int) string { return fmt.Sprintf("%-60d\n", n) }
	for step := 1; ; step++ {
		dir := t.TempDir()
		s := Settings{Service: "web", Instance: "web/0", Dir: dir, ToFile: true, MaxSize: 100, Keep: 4}
		fsys := &faulty{}
		l := newLog(fsys, dir, &testkit.Output{})
		for n := range 5 {
			put(l, &s, "a", line(n), time.Now())
		}
		steps := 0
		fsys.set(func(op, _ string, n int) (int, error) {
			if steps++; steps >= step {
				return 0, errCrash // and every one after it
			}
			return n, nil
		})
		put(l, &s, "a", line(5), time.Now())
		if steps < step {
			if step < 6 {
				t.Fatalf("a rotation of five files took only %d steps", steps)
			}
			return
		}
		fsys.set(nil)
		l = newLog(fsys, dir, &testkit.Output{})
		for n := 6; n < 8; n++ {
			put(l, &s, "a", line(n), time.Now())
		}
		l.close()
		// The line that was being written is lost with its process; of the
		// five newest others none may be.
		got := stripped(t, logFiles(t, s.path())...)
		want := line(3) + line(4) + line(6) + line(7)
		if !strings.HasSuffix(got, want) || strings.Count(got, "\n") != 5 {
			t.Errorf("death before step %d: kept\n%s", step, got)
		}
	}
}

func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	s := Settings{Service: "web", Instance: "web/0", Dir: dir, ToFile: true}
	fsys := &faulty{}
	said := &testkit.Output{}
	l := newLog(fsys, dir, said)
	now := time.Unix(1e9, 0)
	put(l, &s, "a", "1\n2\n", now)
	var room atomic.Int64
	room.Store(int64(stampLen + 2 + stampLen)) // one line, and a stamp
	fsys.set(func(op, _ string, n int) (int, error) {
		if op != "write" {
			return n, nil
		}
		if left := int(room.Load()); n > left {
			room.Store(0)
			return left, syscall.ENOSPC
		}
		room.Add(int64(-n))
		return n, nil
	})
	put(l, &s, "a", "3\n4\n5\nunfinished", now)
	put(l, &s, "a", " end\n6\n", now)
	now = now.Add(time.Minute)
	put(l, &s, "a", "7\n", now) // tried, and still full
	fsys.set(nil)
	now = now.Add(time.Minute)
	put(l, &s, "a", "8\n", now)
	l.close()
	got := strings.Split(stripped(t, s.path()), "\n")
	want := []string{"1", "2", "3", "", "nines: 5 lines lost: no space left on device", "8", ""}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if n := strings.Count(said.String(), "cannot write"); n != 1 || !strings.Contains(said.String(), "written again") {
		t.Errorf("said %q", said)
	}
}

// TestLostExactly: whatever is lost where, the lines in the file and those said
// to be lost are those that were written.
func TestLostExactly(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		check(t, err)
		s := Settings{Service: "web", Instance: "web/0", Dir: dir, ToFile: true, Keep: 100,
			MaxSize: uint64(rapid.SampledFrom([]int{0, 200}).Draw(rt, "max"))}
		fsys := &faulty{}
		l := newLog(fsys, dir, &testkit.Output{})
		now := time.Unix(1e9, 0)
		wrote := 0
		for range rapid.IntRange(1, 12).Draw(rt, "buffers") {
			fail := rapid.IntRange(0, 2).Draw(rt, "fault") == 0
			fsys.set(func(op, _ string, n int) (int, error) {
				if fail && op == "write" {
					return rapid.IntRange(0, n-1).Draw(rt, "room"), syscall.EIO
				}
				if fail && op == "rename" {
					return 0, syscall.EROFS
				}
				return n, nil
			})
			b := strings.Repeat("line\n", rapid.IntRange(1, 5).Draw(rt, "lines"))
			wrote += strings.Count(b, "\n")
			if rapid.Bool().Draw(rt, "split") {
				k := rapid.IntRange(1, len(b)-1).Draw(rt, "at")
				put(l, &s, "a", b[:k], now)
				b = b[k:]
			}
			put(l, &s, "a", b, now)
			now = now.Add(time.Duration(rapid.IntRange(0, 1).Draw(rt, "wait")) * time.Hour)
		}
		fsys.set(nil)
		put(l, &s, "a", "last\n", now.Add(time.Hour))
		l.close()
		whole, lost := 0, 0
		for _, f := range logFiles(t, s.path()) {
			b, err := os.ReadFile(f)
			check(t, err)
			for line := range strings.Lines(string(b)) {
				text := strings.TrimSuffix(line[min(len(line), stampLen):], "\n")
				if n := 0; strings.HasPrefix(text, "nines: ") && strings.HasSuffix(text, "output error") {
					if _, err := fmt.Sscanf(text, "nines: %d line", &n); err != nil {
						rt.Fatal(text)
					}
					lost += n
				} else if text == "line" {
					whole++
				}
			}
		}
		// Where only a newline came too late, a line is in the file and counted
		// as lost too; none may go uncounted.
		if whole+lost < wrote || lost > wrote {
			rt.Fatalf("%d lines written, %d in the file, %d said to be lost", wrote, whole, lost)
		}
	})
}

func TestTakenAway(t *testing.T) {
	dir := t.TempDir()
	s := Settings{Service: "web", Instance: "web/0", Dir: dir, ToFile: true}
	l := newLog(disk{}, dir, &testkit.Output{})
	now := time.Now()
	put(l, &s, "a", "1\n", now)
	check(t, os.Rename(s.path(), filepath.Join(dir, "moved")))
	put(l, &s, "a", "2\n", now.Add(2*checkEvery))
	check(t, os.Truncate(s.path(), 0))
	put(l, &s, "a", "3\n", now.Add(4*checkEvery))
	l.close()
	if got := stripped(t, filepath.Join(dir, "moved"), s.path()); got != "1\n3\n" {
		t.Errorf("%q", got)
	}
	if l.size != int64(stampLen+2) {
		t.Errorf("size %d after truncation", l.size)
	}
}
