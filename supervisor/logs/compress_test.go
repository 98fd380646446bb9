package logs

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"nines/testdata/testkit"
)

func packedBytes(t testing.TB, text []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	check(t, newPacker().copy(&out, bytes.NewReader(text), func() bool { return false }))
	return out.Bytes()
}

// TestPackedProperty: every gzip reads it, and any part of it is found.
func TestPackedProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		text := bytes.Repeat([]byte(rapid.StringN(1, 200, 300).Draw(rt, "line")+"\n"), rapid.IntRange(0, 3000).Draw(rt, "times"))
		b := packedBytes(t, text)
		if len(text) > 0 {
			z, err := gzip.NewReader(bytes.NewReader(b))
			check(t, err)
			all, err := io.ReadAll(z)
			check(t, err)
			if !bytes.Equal(all, text) {
				rt.Fatal("gzip reads something else")
			}
		}
		u, err := openPacked(bytes.NewReader(b), int64(len(b)))
		check(t, err)
		if u.size() != int64(len(text)) {
			rt.Fatalf("size %d, want %d", u.size(), len(text))
		}
		for range 5 {
			off := rapid.IntRange(0, len(text)).Draw(rt, "off")
			n := rapid.IntRange(0, 3*gzBlock).Draw(rt, "n")
			got := make([]byte, n)
			k, err := u.ReadAt(got, int64(off))
			want := text[off:min(len(text), off+n)]
			if !bytes.Equal(got[:k], want) || (k < n) != (err == io.EOF) || err != nil && err != io.EOF {
				rt.Fatalf("ReadAt(%d, %d): %d bytes, %v", off, n, k, err)
			}
		}
	})
}

// rotated returns what the files beside path hold, the oldest first, and their
// names; a file in both forms counts once.
func rotated(t testing.TB, path string) (text string, names []string) {
	t.Helper()
	var all bytes.Buffer
	for n := 100; n >= 0; n-- {
		plain, err := os.ReadFile(numbered(path, n))
		if err == nil {
			names = append(names, filepath.Base(numbered(path, n)))
		}
		f, zerr := os.Open(packed(path, n))
		if zerr == nil {
			names = append(names, filepath.Base(packed(path, n)))
			z, err := gzip.NewReader(f)
			check(t, err)
			b, err := io.ReadAll(z)
			check(t, err)
			check(t, f.Close())
			if plain != nil && !bytes.Equal(plain, b) {
				t.Errorf("%s is there twice, with different text", names[len(names)-1])
			}
			plain = b
		}
		for line := range bytes.Lines(plain) {
			all.Write(line[stampLen:])
		}
	}
	return all.String(), names
}

// writer writes to a sink as a pump does.
type writer struct {
	k   *sink
	now time.Time
}

func newWriter(fsys filesystem, s Settings, said *testkit.Output) *writer {
	v := newVolume(s.Dir, fsys, func(m string) { fmt.Fprintln(said, m) }, newNotices())
	return &writer{newSink(s, fsys, v, newBudget(ringsBytes)), time.Unix(1e9, 0)}
}

func (w *writer) write(text string) {
	w.k.take(time.Minute)
	w.k.write("a", []byte(text), nil, w.now)
	w.k.give()
	w.now = w.now.Add(time.Second)
}

// settle waits until all that can be is compressed.
func (w *writer) settle() { w.k.vol.Load().pack.wait() }

func (w *writer) close() {
	w.k.vol.Load().pack.stop()
	w.settle()
	w.k.file.close()
}

func TestCompress(t *testing.T) {
	dir := t.TempDir()
	s := Settings{Service: "web", Instance: "web/0", Stream: Out, Dir: dir, ToFile: true, MaxSize: 200, Keep: 3, Compress: true}
	said := &testkit.Output{}
	w := newWriter(disk{}, s, said)
	line := func(n int) string { return fmt.Sprintf("%-100d\n", n) }
	for n := range 9 {
		w.write(line(n))
		w.settle()
	}
	text, names := rotated(t, s.path())
	if want := []string{"0.log.3.gz", "0.log.2.gz", "0.log.1.gz", "0.log"}; !slices.Equal(names, want) {
		t.Errorf("files %q, want %q; said %s", names, want, said)
	}
	if want := line(5) + line(6) + line(7) + line(8); text != want {
		t.Errorf("kept %q", text)
	}
	fi, err := os.Stat(filepath.Join(dir, "web", "0.log.2.gz"))
	check(t, err)
	if fi.Mode().Perm() != fileMode {
		t.Errorf("mode %v", fi.Mode())
	}
	// A smaller keep holds at once, a rotation or not.
	s.Keep = 1
	w.k.set.Store(&s)
	w.k.vol.Load().pack.put(w.k)
	w.settle()
	if _, names := rotated(t, s.path()); !slices.Equal(names, []string{"0.log.1.gz", "0.log"}) {
		t.Errorf("after keep became 1: %q", names)
	}
	w.close()
	if said.String() != "" {
		t.Errorf("said %q", said)
	}
}

// TestCompressCrash dies before each step of what one rotation sets off, starts
// again, and looks that nothing is lost, doubled, or left over.
func TestCompressCrash(t *testing.T) {
	line := func(n int) string { return fmt.Sprintf("%-100d\n", n) }
	for step := 1; ; step++ {
		dir := t.TempDir()
		s := Settings{Service: "web", Instance: "web/0", Stream: Out, Dir: dir, ToFile: true, MaxSize: 200, Keep: 3, Compress: true}
		fsys := &faulty{}
		w := newWriter(fsys, s, &testkit.Output{})
		for n := range 5 {
			w.write(line(n))
			w.settle()
		}
		steps := 0
		dead := false
		fsys.set(func(op, _ string, n int) (int, error) {
			if steps++; steps >= step {
				dead = true
				return 0, errCrash // and every one after it
			}
			return n, nil
		})
		w.write(line(5))
		w.settle()
		fsys.set(nil)
		w.close()
		if !dead {
			if step < 10 {
				t.Fatalf("only %d steps", steps)
			}
			return
		}
		_, before := rotated(t, s.path())
		w = newWriter(disk{}, s, &testkit.Output{})
		w.k.vol.Load().pack.begin()
		w.write(line(6))
		w.write(line(7))
		w.settle()
		w.close()
		text, names := rotated(t, s.path())
		// The line that was being written is lost with its process; of the
		// others there are the newest, each once.
		text = strings.ReplaceAll(text, line(5), "")
		want := line(0) + line(1) + line(2) + line(3) + line(4) + line(6) + line(7)
		if !strings.HasSuffix(want, text) || strings.Count(text, "\n") < 3 {
			t.Errorf("death before step %d: %q became %q:\n%s", step, before, names, text)
		}
		if len(names) > 4 || slices.ContainsFunc(names[:len(names)-1], func(n string) bool { return !strings.HasSuffix(n, ".gz") }) {
			t.Errorf("death before step %d: left %q", step, names)
		}
		left, err := filepath.Glob(filepath.Join(dir, "web", "*"+tempSuffix))
		if err != nil || len(left) > 0 {
			t.Errorf("death before step %d: %q, %v", step, left, err)
		}
	}
}

// TestCompressErrors: a disk that takes no more costs nothing but space.
func TestCompressErrors(t *testing.T) {
	for _, op := range []string{"create", "write", "sync", "chtimes", "rename", "syncdir"} {
		dir := t.TempDir()
		s := Settings{Service: "web", Instance: "web/0", Stream: Out, Dir: dir, ToFile: true, MaxSize: 200, Keep: 5, Compress: true}
		fsys := &faulty{}
		said := &testkit.Output{}
		w := newWriter(fsys, s, said)
		fsys.set(func(o, path string, n int) (int, error) {
			if o == op && (strings.HasSuffix(path, tempSuffix) || op == "syncdir") {
				return 0, syscall.ENOSPC
			}
			return n, nil
		})
		want := ""
		for n := range 4 {
			line := fmt.Sprintf("%-100d\n", n)
			want += line
			w.write(line)
			w.settle()
		}
		if n := strings.Count(said.String(), "cannot compress"); n != 1 || !strings.Contains(said.String(), "no space left") {
			t.Errorf("%s: said %d times: %q", op, n, said)
		}
		if text, names := rotated(t, s.path()); text != want {
			t.Errorf("%s: %q hold %q", op, names, text)
		}
		fsys.set(nil)
		want += fmt.Sprintf("%-100d\n", 4)
		w.write(fmt.Sprintf("%-100d\n", 4))
		w.settle()
		text, names := rotated(t, s.path())
		if text != want || !slices.Equal(names, []string{"0.log.4.gz", "0.log.3.gz", "0.log.2.gz", "0.log.1.gz", "0.log"}) {
			t.Errorf("%s: afterwards %q hold %q", op, names, text)
		}
		w.close()
	}
}

// TestCompressWhileRotating: however the two meet, the text is whole.
func TestCompressWhileRotating(t *testing.T) {
	dir := t.TempDir()
	s := Settings{Service: "web", Instance: "web/0", Stream: Out, Dir: dir, ToFile: true, MaxSize: 4 << 10, Keep: 1000, Compress: true}
	w := newWriter(disk{}, s, &testkit.Output{})
	var want strings.Builder
	for n := range 600 {
		line := fmt.Sprintf("%-200d\n", n)
		want.WriteString(line)
		w.write(line)
	}
	w.settle()
	w.close()
	if text, names := rotated(t, s.path()); text != want.String() {
		t.Errorf("%q", names)
	}
}

// TestHistoryPacked: queries go through compressed files as through others.
func TestHistoryPacked(t *testing.T) {
	r := newRig(t, disk{})
	s := r.settings("web/0")
	s.MaxSize, s.Keep, s.Compress = 8<<10, 500, true
	w, _ := r.pipe("web/0.1:out", s)
	const total = 4000
	var all []string
	for i := range total {
		line := fmt.Sprintf("line %d %s", i, strings.Repeat("x", 60))
		all = append(all, line)
		write(t, w, line+"\n")
	}
	check(t, w.Close())
	r.waitEnd("web/0.1:out")
	path := filepath.Join(r.dir, "web", "0.log")
	eventually(t, "compressed", func() bool {
		old, err := filepath.Glob(path + ".*")
		return err == nil && len(old) > 10 && !slices.ContainsFunc(old, func(n string) bool { return !strings.HasSuffix(n, ".gz") })
	})
	for _, n := range []int{-1, 1, 1500, 3999} {
		want := all
		if n >= 0 {
			want = all[total-n:]
		}
		if d := cmp.Diff(want, texts(r.read(Query{Lines: n}))); d != "" {
			t.Errorf("%d lines: %.500s", n, d)
		}
	}
	lines := r.read(Query{Lines: -1})
	since := lines[total/3].Time
	got := r.read(Query{Lines: -1, Since: since})
	first := slices.IndexFunc(lines, func(l Line) bool { return !l.Time.Before(since) })
	if len(got) != total-first || got[0].Line != all[first] {
		t.Errorf("since: %d lines, want %d", len(got), total-first)
	}

	// One of them is spoilt: that is said, the others are read.
	names, err := filepath.Glob(path + ".*.gz")
	check(t, err)
	check(t, os.WriteFile(names[len(names)/2], []byte("\x1f\x8b not of ours"), 0o600))
	said := 0
	for _, l := range r.read(Query{Lines: -1}) {
		if strings.HasPrefix(l.Line, "nines: cannot read "+path) {
			said++
		}
	}
	if said != 1 {
		t.Errorf("said %d times", said)
	}
	// And one whose header is right and whose text is not.
	b, err := os.ReadFile(names[0])
	check(t, err)
	b[len(b)-6] ^= 1 // the checksum
	check(t, os.WriteFile(names[0], b, 0o600))
	if got := r.read(Query{Lines: -1}); len(got) < total/2 {
		t.Errorf("%d lines", len(got))
	}
}

func TestStopCompressing(t *testing.T) {
	p := newPacker()
	if err := p.copy(io.Discard, strings.NewReader("x"), func() bool { return true }); !errors.Is(err, errStopped) {
		t.Error(err)
	}
}

// FuzzPacked: no file makes a reader panic, hang or take memory without bound.
func FuzzPacked(f *testing.F) {
	f.Add([]byte{})
	f.Add(packedBytes(f, []byte("2026-11-22T10:00:00.000000Z one\n")))
	f.Add(packedBytes(f, bytes.Repeat([]byte("2026-11-22T10:00:00.000000Z line\n"), 5000)))
	f.Add([]byte("\x1f\x8b\x08\x04\x00\x00\x00\x00\x00\xff\x0c\x00NL\x08\x00\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		u, err := openPacked(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		buf := make([]byte, 1000)
		for off := int64(0); off < u.size(); off += u.size()/8 + 1 {
			if _, err := u.ReadAt(buf, off); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, errForeign) {
				t.Fatal(err)
			}
		}
		if _, err := seekTime(u, u.size(), time.Unix(1e9, 0)); err != nil && !errors.Is(err, errForeign) {
			t.Fatal(err)
		}
	})
}
