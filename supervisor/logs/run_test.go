package logs

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"nines/supervisor/notify"
)

func TestCapture(t *testing.T) {
	r := newRig(t, disk{})
	w, _ := r.pipe("web/0.1:out", r.settings("web/0"))
	want := "one\ntwo\n\nbinary \x00\xff\x80 \r\nlong " + strings.Repeat("x", 200<<10) + "\nlast without newline"
	write(t, w, want)
	check(t, w.Close())
	r.waitEnd("web/0.1:out")
	file := filepath.Join(r.dir, "web", "0.log")
	if got := stripped(t, file); got != want+"\n" {
		t.Errorf("the file holds %d bytes, want %d; begins %.100q", len(got), len(want)+1, got)
	}
	got := texts(r.read(Query{Lines: -1}))
	for i := range got {
		if len(got[i]) > 100 {
			got[i] = got[i][:10] + got[i][maxRingLine:]
		}
	}
	if d := cmp.Diff([]string{"one", "two", "", "binary \x00\ufffd\ufffd \r", "long xxxxx… [188421 more bytes]", "last without newline"}, got); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"last without newline"}, texts(r.read(Query{Lines: 1, Instances: []string{"web/0"}}))); d != "" {
		t.Error(d)
	}
	if got := r.read(Query{Lines: 5, Services: []string{"other"}}); got != nil {
		t.Error(got)
	}
}

func BenchmarkFlood(b *testing.B) {
	for _, size := range []int{64, 1024} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			r := newRig(b, disk{})
			w, _ := r.pipe("web/0.1:out", r.settings("web/0"))
			line := []byte(strings.Repeat("x", size-1) + "\n")
			b.SetBytes(int64(size))
			for b.Loop() {
				if _, err := w.Write(line); err != nil {
					b.Fatal(err)
				}
			}
			check(b, w.Close())
			r.waitEnd("web/0.1:out")
		})
	}
}

// TestRestart: what is in the pipes when the log process ends, or comes while
// there is none, is read by the next.
func TestRestart(t *testing.T) {
	r := newRig(t, disk{})
	s := r.settings("web/0")
	w, keep := r.pipe("web/0.1:out", s)
	var want strings.Builder
	for i := range 5 {
		for j := range 300 {
			line := fmt.Sprintf("run %d line %d\n", i, j)
			want.WriteString(line)
			write(t, w, line)
		}
		r.stop()
		write(t, w, "while it was away\n")
		want.WriteString("while it was away\n")
		r.start(disk{})
		r.hand("web/0.1:out", s, keep)
		r.hand("web/0.1:out", s, keep) // and once more, as settings are changed
	}
	check(t, w.Close())
	r.waitEnd("web/0.1:out")
	if got := stripped(t, filepath.Join(r.dir, "web", "0.log")); got != want.String() {
		t.Errorf("got %d bytes, want %d", len(got), want.Len())
	}
	// The memory of the last process has only the end; the rest is in files.
	got := r.read(Query{Lines: -1})
	if d := cmp.Diff(strings.Split(strings.TrimSuffix(want.String(), "\n"), "\n"), texts(got)); d != "" {
		t.Error(d)
	}
	if got[0].Instance != "web/0" || got[0].Service != "web" || got[0].Stream != Out || got[0].Time.IsZero() {
		t.Errorf("%+v", got[0])
	}
	if d := cmp.Diff(strings.Split(strings.TrimSuffix(want.String(), "\n"), "\n")[1500-3+5-300:], texts(r.read(Query{Lines: 303}))); d != "" {
		t.Error(d)
	}
}

// TestOverlap: two pipes of one instance never mix within a line.
func TestOverlap(t *testing.T) {
	r := newRig(t, disk{})
	a, _ := r.pipe("web/0.1:out", r.settings("web/0"))
	b, _ := r.pipe("web/0.2:out", r.settings("web/0"))
	var done sync.WaitGroup
	for name, w := range map[string]*os.File{"a": a, "b": b} {
		done.Go(func() {
			for range 200 {
				_, err := w.WriteString(strings.Repeat(name, 5000) + "\n")
				if err != nil {
					t.Error(err)
				}
			}
			if err := w.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	done.Wait()
	for range 2 {
		if name := <-r.ended; !strings.HasPrefix(name, "web/0.") {
			t.Errorf("end of %s", name)
		}
	}
	count := 0
	for line := range strings.Lines(stripped(t, filepath.Join(r.dir, "web", "0.log"))) {
		line = strings.TrimSuffix(line, "\n")
		if strings.Trim(line, "a") != "" && strings.Trim(line, "b") != "" {
			t.Fatalf("mixed: %.80q", line)
		}
		count += len(line)
	}
	if count != 2*200*5000 {
		t.Errorf("%d bytes", count)
	}
}

// TestFair: while one floods, another's line arrives.
func TestFair(t *testing.T) {
	r := newRig(t, disk{})
	s := r.settings("flood/0")
	s.Keep = 0
	flood, _ := r.pipe("flood/0.1:out", s)
	quiet, _ := r.pipe("quiet/0.1:out", r.settings("quiet/0"))
	stop := make(chan struct{})
	var flooding sync.WaitGroup
	flooding.Go(func() {
		b := []byte(strings.Repeat(strings.Repeat("x", 63)+"\n", 1000))
		for {
			select {
			case <-stop:
				return
			default:
				if _, err := flood.Write(b); err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	got := make(chan Line)
	ended := make(chan error, 1)
	go func() {
		ended <- Read(ctx, filepath.Join(r.runtime, SocketName), Query{Services: []string{"quiet"}, Lines: -1, Follow: true}, func(l Line) error {
			got <- l
			return nil
		})
	}()
	var worst time.Duration
	for i := range 50 {
		start := time.Now()
		write(t, quiet, fmt.Sprintln(i))
		select {
		case <-got:
			worst = max(worst, time.Since(start))
		case <-ctx.Done():
			t.Fatal("starved")
		}
	}
	t.Logf("worst delay beside a flood: %v", worst)
	if worst > 2*time.Second {
		t.Errorf("a line took %v beside a flood", worst)
	}
	close(stop)
	flooding.Wait()
	cancel()
	<-ended
}

// TestStuckDisk: a write that does not return costs its own instance lines,
// which are counted, and nobody else anything.
func TestStuckDisk(t *testing.T) {
	fsys := &faulty{}
	r := newRig(t, fsys, func(c *Config) { c.stuckAfter = 50 * time.Millisecond })
	release := make(chan struct{})
	fsys.set(func(op, path string, n int) (int, error) {
		if op == "write" && strings.Contains(path, "/web/") {
			<-release
		}
		return n, nil
	})
	web, _ := r.pipe("web/0.1:out", r.settings("web/0"))
	db, _ := r.pipe("db/0.1:out", r.settings("db/0"))
	write(t, web, "stuck\n")
	eventually(t, "stuck", func() bool { return strings.Contains(r.said.String(), "does not return") })
	for i := range 20000 { // far more than a pipe holds
		write(t, web, fmt.Sprintf("%060d\n", i))
	}
	write(t, db, "fine\n")
	eventually(t, "db", func() bool { return len(r.read(Query{Lines: 1, Services: []string{"db"}})) == 1 })
	last := fmt.Sprintf("%060d", 19999)
	eventually(t, "web in memory", func() bool {
		got := r.read(Query{Lines: 1, Services: []string{"web"}})
		return len(got) == 1 && got[0].Line == last
	})
	fsys.set(nil)
	close(release)
	file := filepath.Join(r.dir, "web", "0.log")
	eventually(t, "the loss is said", func() bool {
		b, err := os.ReadFile(file)
		return err == nil && strings.Contains(string(b), "lines lost")
	})
	write(t, web, "after\n")
	check(t, web.Close())
	r.waitEnd("web/0.1:out")
	if got := stripped(t, file); got != "stuck\nnines: 20000 lines lost: "+errStuck.Error()+"\nafter\n" {
		t.Errorf("%.300q", got)
	}
}

// TestStdout: prefixes, prompts, and a stdout that nobody reads.
func TestStdout(t *testing.T) {
	pr, pw, err := os.Pipe()
	check(t, err)
	r := newRig(t, disk{}, func(c *Config) { c.Stdout, c.ForceStdout = pw, true })
	web, _ := r.pipe("web/0.1:out", r.settings("web/0"))
	db, _ := r.pipe("database/0.1:out", r.settings("database/0"))
	in := bufio.NewReader(pr)
	expect := func(want string) {
		t.Helper()
		got := make([]byte, len(want))
		_, err := io.ReadFull(in, got)
		check(t, err)
		if string(got) != want {
			t.Errorf("stdout %q, want %q", got, want)
		}
	}
	write(t, web, "one\n")
	expect("web/0 | one\n")
	write(t, db, "two\n")
	expect("database/0 | two\n")
	write(t, web, "name? ")
	expect("web/0      | name? ")
	write(t, web, "nines\nage? ")
	expect("nines\nweb/0      | age? ")
	write(t, db, "three\n")
	expect("\ndatabase/0 | three\n")
	write(t, web, "1\n")
	expect("web/0      | 1\n")

	// Now nobody reads; files and memory go on.
	for i := range 40000 {
		write(t, web, fmt.Sprintf("%060d\n", i))
	}
	write(t, db, "still here\n")
	eventually(t, "db", func() bool {
		got := r.read(Query{Lines: 1, Services: []string{"database"}})
		return len(got) == 1 && got[0].Line == "still here"
	})
	eventually(t, "all in files", func() bool {
		n := 0
		for _, f := range logFiles(t, filepath.Join(r.dir, "web", "0.log")) {
			n += strings.Count(stripped(t, f), "\n")
		}
		return n == 40000+3
	})
	// And again: what was lost is said.
	shown, lost := 0, 0
	for shown+lost < 40001 {
		line, err := in.ReadString('\n')
		check(t, err)
		_, text, _ := strings.Cut(line, " | ")
		n := 0
		if _, err := fmt.Sscanf(text, "nines: %d lines lost", &n); err == nil {
			lost += n
		} else {
			shown++
		}
	}
	if lost == 0 {
		t.Error("nothing was lost?")
	}
	r.stop()
	check(t, pw.Close())
	check(t, pr.Close())
}

// TestBadPipes: what the keeper should never hand over.
func TestBadPipes(t *testing.T) {
	r := newRig(t, disk{})
	f, err := os.CreateTemp(t.TempDir(), "")
	check(t, err)
	defer f.Close()
	r.hand("web/0.1:out", r.settings("web/0"), int(f.Fd()))
	eventually(t, "a file is refused", func() bool { return strings.Contains(r.said.String(), "cannot read the output of web/0.1:out") })
	check(t, r.keeper.Send([]byte("FDSTORE=1\nFDNAME=a\nFDNAME=b\n"), []int{int(f.Fd())}))
	eventually(t, "names do not match", func() bool { return strings.Contains(r.said.String(), "not as many names") })
	check(t, r.keeper.Send([]byte("no message"), []int{int(f.Fd())}))
	eventually(t, "no message", func() bool { return strings.Contains(r.said.String(), "cannot understand the keeper") })
	var fds [2]int
	check(t, unix.Pipe2(fds[:], unix.O_CLOEXEC))
	m := notify.Message{notify.FDStore(), notify.FDName("web/0.2:out"), notify.Log("nonsense")}
	check(t, r.keeper.Send(m.Append(nil), []int{fds[0]}))
	check(t, unix.Close(fds[0]))
	_, err = unix.Write(fds[1], []byte("kept\n"))
	check(t, err)
	eventually(t, "kept", func() bool {
		got := r.read(Query{Lines: 1, Instances: []string{"web/0"}})
		return len(got) == 1 && got[0].Line == "kept"
	})
	check(t, unix.Close(fds[1]))
	r.waitEnd("web/0.2:out")
}
