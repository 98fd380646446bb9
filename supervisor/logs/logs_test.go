package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"nines/supervisor/notify"
	"nines/testdata/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a log process in this one, with us as its keeper.
type rig struct {
	t       testing.TB
	keeper  *notify.Conn
	runtime string
	dir     string
	said    *testkit.Output
	done    chan error
	ended   chan string // names reported
	fds     map[string]int
	barrier int
}

type rigOption func(*Config)

func newRig(t testing.TB, fs filesystem, opts ...rigOption) *rig {
	t.Helper()
	r := &rig{t: t, runtime: t.TempDir(), dir: t.TempDir(), fds: make(map[string]int)}
	r.start(fs, opts...)
	t.Cleanup(r.stop)
	return r
}

func (r *rig) start(fsys filesystem, opts ...rigOption) {
	r.t.Helper()
	a, b, err := notify.Pair()
	check(r.t, err)
	r.keeper, err = notify.NewConn(a)
	check(r.t, err)
	r.said, r.done, r.ended = &testkit.Output{}, make(chan error, 1), make(chan string, 20000)
	c := Config{KeeperFD: b, RuntimeDir: r.runtime, Stderr: r.said}
	for _, o := range opts {
		o(&c)
	}
	conn, err := notify.NewConn(b)
	check(r.t, err)
	go func() { r.done <- run(context.Background(), c, conn, fsys) }()
	if m := r.receive(); m[0] != notify.Ready() {
		r.t.Fatalf("first message: %v", m)
	}
	keeper, ended := r.keeper, r.ended
	go func() {
		defer close(ended)
		buf := make([]byte, notify.MaxMessage)
		for {
			n, _, err := keeper.Receive(buf)
			if err != nil {
				return
			}
			m, err := notify.Parse(buf[:n])
			if err != nil {
				r.t.Errorf("keeper: %v", err)
				return
			}
			if _, ok := m.Get(notify.KeyFDStoreRemove); ok {
				name, _ := m.Get(notify.KeyFDName)
				ended <- name
			}
		}
	}()
}

func (r *rig) receive() notify.Message {
	r.t.Helper()
	buf := make([]byte, notify.MaxMessage)
	n, _, err := r.keeper.Receive(buf)
	check(r.t, err)
	m, err := notify.Parse(buf[:n])
	check(r.t, err)
	return m
}

// stop ends it in an orderly way; a second stop does nothing.
func (r *rig) stop() {
	r.t.Helper()
	if r.done == nil {
		return
	}
	err := r.keeper.Send(notify.Message{notify.Stopping()}.Append(nil), nil)
	if err != nil && !errors.Is(err, notify.ErrClosed) {
		r.t.Error(err)
	}
	select {
	case err := <-r.done:
		if err != nil {
			r.t.Errorf("run: %v", err)
		}
	case <-time.After(20 * time.Second):
		r.t.Fatal("run does not end")
	}
	r.done = nil
	check(r.t, r.keeper.Close())
	for range r.ended { // until the receiver has ended
	}
}

func (r *rig) settings(id string) Settings {
	service, _, _ := bytesCut(id)
	return Settings{Service: service, Instance: id, Stream: Out, Dir: r.dir, MaxSize: 10 << 20, Keep: 5, ToFile: true, Format: FormatText}
}

func bytesCut(id string) (string, string, bool) {
	i := bytes.IndexByte([]byte(id), '/')
	return id[:i], id[i+1:], true
}

// pipe makes a pipe and hands its read end over. The test has the write end,
// and, as the keeper does, a read end.
func (r *rig) pipe(name string, s Settings) (w *os.File, keep int) {
	r.t.Helper()
	var fds [2]int
	check(r.t, unix.Pipe2(fds[:], unix.O_CLOEXEC))
	r.fds[name] = fds[0]
	r.hand(name, s, fds[0])
	w = os.NewFile(uintptr(fds[1]), "pipe")
	r.t.Cleanup(func() { _ = w.Close() })
	r.t.Cleanup(func() { _ = unix.Close(fds[0]) })
	return w, fds[0]
}

func (r *rig) hand(name string, s Settings, fd int) {
	r.t.Helper()
	m := notify.Message{notify.FDStore(), notify.FDName(name), notify.Log(s.Encode())}
	check(r.t, r.keeper.Send(m.Append(nil), []int{fd}))
}

// rehand hands the same pipe over once more, with other settings, as the keeper
// does when they are changed, and waits until they hold.
func (r *rig) rehand(name string, s Settings) {
	r.t.Helper()
	r.hand(name, s, r.fds[name])
	// Messages are taken in order: when another pipe has come and gone, so has
	// this one.
	r.barrier++
	other := fmt.Sprintf("barrier/%d.1:out", r.barrier)
	b := r.settings("barrier/0")
	b.ToFile = false
	w, _ := r.pipe(other, b)
	check(r.t, w.Close())
	r.waitEnd(other)
}

func (r *rig) waitEnd(name string) {
	r.t.Helper()
	select {
	case got := <-r.ended:
		if got != name {
			r.t.Fatalf("end of %s reported, not of %s", got, name)
		}
	case <-time.After(20 * time.Second):
		r.t.Fatalf("end of %s not reported; said: %s", name, r.said)
	}
}

func (r *rig) read(q Query) []Line {
	r.t.Helper()
	var lines []Line
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	check(r.t, Read(ctx, filepath.Join(r.runtime, SocketName), q, func(l Line) error {
		lines = append(lines, l)
		return nil
	}))
	return lines
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, w io.Writer, s string) {
	t.Helper()
	_, err := io.WriteString(w, s)
	check(t, err)
}

// eventually waits for a condition that nothing announces.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func texts(lines []Line) []string {
	var s []string
	for _, l := range lines {
		s = append(s, l.Line)
	}
	return s
}

// stripped is a log file's text without the stamps; it fails on a line without.
func stripped(t testing.TB, paths ...string) string {
	t.Helper()
	var out bytes.Buffer
	for _, path := range paths {
		b, err := os.ReadFile(path)
		check(t, err)
		for line := range bytes.Lines(b) {
			if len(line) < stampLen {
				t.Fatalf("%s: a line without a stamp: %q", path, line)
			}
			if _, err := time.Parse(stampLayout, string(line[:stampLen-1])); err != nil || line[stampLen-1] != ' ' {
				t.Fatalf("%s: a line without a stamp: %.80q: %v", path, line, err)
			}
			out.Write(line[stampLen:])
		}
	}
	return out.String()
}
