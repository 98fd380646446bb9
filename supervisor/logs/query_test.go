package logs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// TestCold: the log of what has no pipe any more is read from its folder.
func TestCold(t *testing.T) {
	r := newRig(t, disk{})
	w, _ := r.pipe("task/0.1:out", r.settings("task/0"))
	write(t, w, "done\n")
	check(t, w.Close())
	r.waitEnd("task/0.1:out")
	r.stop()
	r.start(disk{}, func(c *Config) { c.LogDir = r.dir })
	if d := cmp.Diff([]string{"done"}, texts(r.read(Query{Lines: 5, Services: []string{"task"}}))); d != "" {
		t.Error(d)
	}
	if got := r.read(Query{Lines: 5, Services: []string{"tas"}}); got != nil {
		t.Error(got)
	}
	if got := r.read(Query{Lines: -1, Since: time.Now().Add(time.Hour)}); got != nil {
		t.Error(got)
	}
}

func TestSplit(t *testing.T) {
	r := newRig(t, disk{})
	so, se := r.settings("web/0"), r.settings("web/0")
	se.Stream = Err
	o, _ := r.pipe("web/0.1:out", so)
	e, _ := r.pipe("web/0.1:err", se)
	write(t, o, "1\n")
	eventually(t, "1", func() bool { return len(r.read(Query{Lines: -1})) == 1 })
	write(t, e, "2\n")
	eventually(t, "2", func() bool { return len(r.read(Query{Lines: -1})) == 2 })
	got := r.read(Query{Lines: -1})
	if got[0].Stream != Out || got[1].Stream != Err || got[1].Line != "2" {
		t.Errorf("%+v", got)
	}
	if got := r.read(Query{Lines: 1}); len(got) != 1 || got[0].Line != "2" {
		t.Errorf("the last line: %+v", got)
	}
}

// TestFollow: whatever the moment at which a reader begins, it gets each line
// once and in order.
func TestFollow(t *testing.T) {
	for _, format := range []string{FormatText, FormatJSON} {
		for _, compress := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s %v", format, compress), func(t *testing.T) { testFollow(t, format, compress) })
		}
	}
}

func testFollow(t *testing.T, format string, compress bool) {
	r := newRig(t, disk{})
	s := r.settings("web/0")
	s.MaxSize, s.Keep, s.Format, s.Compress = 20<<10, 1000, format, compress
	w, _ := r.pipe("web/0.1:out", s)
	const total = 6000
	var readers sync.WaitGroup
	for i := range 12 {
		lines := []int{-1, 0, 10, 2000}[i%4]
		readers.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			eventually(t, "lines", func() bool {
				b, err := os.ReadFile(filepath.Join(r.dir, "web", "0.log"))
				return err == nil && len(b) > i
			})
			next, part := -1, ""
			err := Read(ctx, filepath.Join(r.runtime, SocketName), Query{Services: []string{"web"}, Lines: lines, Follow: true}, func(l Line) error {
				part += l.Line
				if l.Partial {
					return nil
				}
				text := part
				part = ""
				if next < 0 && lines == 0 && !strings.HasPrefix(text, "line ") {
					return nil // it began within a line
				}
				var n int
				if _, err := fmt.Sscanf(text, "line %d", &n); err != nil {
					return fmt.Errorf("%q: %w", text, err)
				}
				if next >= 0 && n != next {
					return fmt.Errorf("line %d after %d", n, next-1)
				}
				if next < 0 && lines < 0 && n != 0 {
					return fmt.Errorf("all lines begin with %d", n)
				}
				if next = n + 1; next == total {
					return io.EOF
				}
				return nil
			})
			if err != io.EOF {
				t.Errorf("lines %d: %v (next %d)", lines, err, next)
			}
		})
	}
	for i := range total {
		if i%7 == 0 { // in two parts
			write(t, w, "line ")
			write(t, w, fmt.Sprintf("%d\n", i))
			continue
		}
		write(t, w, fmt.Sprintf("line %d\n", i))
		if i%50 == 0 {
			time.Sleep(time.Millisecond) // spreads the moments; decides nothing
		}
	}
	readers.Wait()
}

// TestFollowNew: an instance that appears later is followed, also one whose
// pipe has a prompt that is not a whole line.
func TestFollowNew(t *testing.T) {
	r := newRig(t, disk{})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	lines := make(chan Line, 10)
	ended := make(chan error, 1)
	go func() {
		ended <- Read(ctx, filepath.Join(r.runtime, SocketName), Query{Services: []string{"web"}, Lines: -1, Follow: true}, func(l Line) error {
			lines <- l
			return nil
		})
	}()
	other, _ := r.pipe("db/0.1:out", r.settings("db/0"))
	write(t, other, "not asked for\n")
	w, _ := r.pipe("web/1.1:out", r.settings("web/1"))
	write(t, w, "hello\npassword: ")
	if l := <-lines; l.Line != "hello" || l.Instance != "web/1" || l.Partial {
		t.Errorf("%+v", l)
	}
	if l := <-lines; l.Line != "password: " || !l.Partial {
		t.Errorf("%+v", l)
	}
	if got := stripped(t, filepath.Join(r.dir, "web", "1.log")); got != "hello\npassword: " {
		t.Errorf("%q", got)
	}
	write(t, w, "secret\nnext\n")
	if l := <-lines; l.Line != "secret" || l.Partial {
		t.Errorf("%+v", l)
	}
	if l := <-lines; l.Line != "next" {
		t.Errorf("%+v", l)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestBadClients: garbage, half requests and too many leave it answering.
func TestBadClients(t *testing.T) {
	r := newRig(t, disk{})
	w, _ := r.pipe("web/0.1:out", r.settings("web/0"))
	write(t, w, "hello\n")
	eventually(t, "hello", func() bool { return len(r.read(Query{Lines: -1})) == 1 })
	socket := filepath.Join(r.runtime, SocketName)
	ask := func(request string) string {
		conn, err := net.Dial("unix", socket)
		check(t, err)
		defer conn.Close()
		_, err = conn.Write([]byte(request)) // it may hang up before it has all
		if err != nil && !errors.Is(err, unix.EPIPE) && !errors.Is(err, unix.ECONNRESET) {
			t.Error(err)
		}
		b, err := io.ReadAll(conn)
		if err != nil && !errors.Is(err, unix.ECONNRESET) {
			t.Error(err)
		}
		return string(b)
	}
	for request, want := range map[string]string{
		"garbage\n":                  "cannot understand",
		`{"lines":"x"}` + "\n":       "cannot understand",
		"\x00\xff\n":                 "cannot understand",
		strings.Repeat("x", 100<<10): "longer than",
		`{"instances":["` + strings.Repeat(`a","`, maxNames) + `a"]}` + "\n": "more than",
	} {
		if got := ask(request); !strings.Contains(got, want) {
			t.Errorf("%.40q: %q", request, got)
		}
	}
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			check(t, c.Close())
		}
	}()
	for range maxClients {
		c, err := net.Dial("unix", socket)
		check(t, err)
		conns = append(conns, c)
		write(t, c, `{"follow":true,"lines":1}`+"\n")
	}
	for _, c := range conns {
		if _, err := bufio.NewReader(c).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	err := Read(t.Context(), socket, Query{}, func(Line) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "readers already") {
		t.Errorf("one too many: %v", err)
	}
	for _, c := range conns {
		check(t, c.Close())
	}
	conns = nil
	eventually(t, "an answer again", func() bool {
		return Read(t.Context(), socket, Query{}, func(Line) error { return nil }) == nil
	})
}

func TestReadErrors(t *testing.T) {
	none := func(Line) error { return nil }
	if err := Read(t.Context(), filepath.Join(t.TempDir(), "none"), Query{}, none); !errors.Is(err, ErrNotRunning) {
		t.Error(err)
	}
	r := newRig(t, disk{})
	w, _ := r.pipe("web/0.1:out", r.settings("web/0"))
	write(t, w, "a\n")
	eventually(t, "a", func() bool { return len(r.read(Query{Lines: -1})) == 1 })
	socket := filepath.Join(r.runtime, SocketName)
	mine := errors.New("mine")
	if err := Read(t.Context(), socket, Query{Lines: 1}, func(Line) error { return mine }); err != mine {
		t.Error(err)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Read(canceled, socket, Query{}, none); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	fi, err := os.Stat(socket)
	check(t, err)
	if fi.Mode().Perm() != 0o600 {
		t.Errorf("the socket's mode is %v", fi.Mode())
	}
	r.stop()
	if err := Read(t.Context(), socket, Query{}, none); !errors.Is(err, ErrNotRunning) {
		t.Errorf("after the end: %v", err)
	}
}
