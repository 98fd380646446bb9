package logs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// listener is a supervisor that hears notices.
type listener struct {
	mu     sync.Mutex
	epoch  string
	got    []Notice
	counts []Count
	end    chan error
	stop   context.CancelFunc
}

func listenTo(r *rig, epoch string, after uint64) *listener {
	ctx, stop := context.WithCancel(context.Background())
	l := &listener{end: make(chan error, 1), stop: stop}
	go func() {
		l.end <- Notices(ctx, filepath.Join(r.runtime, SocketName), epoch, after, Hearing{
			Epoch: func(epoch string) error {
				l.mu.Lock()
				defer l.mu.Unlock()
				l.epoch = epoch
				return nil
			},
			Notice: func(n Notice) error {
				l.mu.Lock()
				defer l.mu.Unlock()
				l.got = append(l.got, n)
				return nil
			},
			Count: func(c Count) error {
				l.mu.Lock()
				defer l.mu.Unlock()
				l.counts = append(l.counts, c)
				return nil
			},
		})
	}()
	return l
}

func (l *listener) texts() (all []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range l.got {
		all = append(all, n.Text)
	}
	return all
}

func (l *listener) heard(text string) bool {
	return slices.ContainsFunc(l.texts(), func(s string) bool { return strings.Contains(s, text) })
}

// TestNotices: what is lost is told to whoever listens, when it begins and,
// with numbers, when it is over; nothing twice, and nothing is missed.
func TestNotices(t *testing.T) {
	fsys := &faulty{}
	r := newRig(t, fsys)
	first := listenTo(r, "", 0)
	web, _ := r.pipe("web/0.1:out", r.settings("web/0"))
	var broken atomic.Bool
	broken.Store(true)
	fsys.set(func(op, _ string, n int) (int, error) {
		if broken.Load() && op == "write" {
			return 0, syscall.EROFS
		}
		return n, nil
	})
	write(t, web, "1\n2\n3\n")
	eventually(t, "the beginning", func() bool { return first.heard("cannot be written: read-only file system") })
	if first.heard("3 lines lost") {
		t.Error("told before it is over")
	}
	first.stop()
	if err := <-first.end; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	seen := first.got[len(first.got)-1].Seq

	broken.Store(false)
	eventually(t, "it is written again", func() bool {
		write(t, web, "more\n")
		b, err := os.ReadFile(filepath.Join(r.dir, "web", "0.log"))
		return err == nil && strings.Contains(string(b), "lines lost")
	})
	second := listenTo(r, first.epoch, seen)
	eventually(t, "the end", func() bool { return second.heard("lines lost: read-only") })
	n := second.got[0]
	if n.Seq != seen+1 || n.Instance != "web/0" || n.Service != "web" || n.Lines < 3 || n.Time.IsZero() {
		t.Errorf("%+v", n)
	}
	if len(second.texts()) != 1 {
		t.Errorf("%q", second.texts())
	}
	// Another epoch is told all that is kept.
	third := listenTo(r, "another", 500)
	eventually(t, "all", func() bool { return len(third.texts()) == int(n.Seq) })

	// What could not be written at the end is told too; the end is in order.
	broken.Store(true)
	write(t, web, "last\n")
	eventually(t, "last", func() bool {
		got := r.read(Query{Lines: 1})
		return len(got) == 1 && got[0].Line == "last"
	})
	r.stop()
	for _, l := range []*listener{second, third} {
		if err := <-l.end; err != nil {
			t.Error(err)
		}
		if !l.heard("1 line lost: read-only file system") {
			t.Errorf("%q", l.texts())
		}
		l.stop()
	}
}

func TestNoticesOverflow(t *testing.T) {
	n := newNotices()
	for i := range 3 * maxNotices {
		n.add(Notice{Text: fmt.Sprint(i + 1)})
	}
	batch, _ := n.after(0)
	if len(batch) > maxNotices || batch[len(batch)-1].Seq != 3*maxNotices {
		t.Errorf("%d kept, the last %d", len(batch), batch[len(batch)-1].Seq)
	}
	for i, v := range batch {
		if v.Text != fmt.Sprint(v.Seq) || i > 0 && v.Seq != batch[i-1].Seq+1 {
			t.Fatalf("%+v", v)
		}
	}
	if batch, _ := n.after(3*maxNotices - 2); len(batch) != 2 {
		t.Errorf("%d after the last but two", len(batch))
	}
}

// TestStuckIsNoticed: also a write that does not return.
func TestStuckIsNoticed(t *testing.T) {
	fsys := &faulty{}
	r := newRig(t, fsys, func(c *Config) { c.stuckAfter = 50 * time.Millisecond })
	release := make(chan struct{})
	fsys.set(func(op, _ string, n int) (int, error) {
		if op == "write" {
			<-release
		}
		return n, nil
	})
	l := listenTo(r, "", 0)
	web, _ := r.pipe("web/0.1:out", r.settings("web/0"))
	write(t, web, "stuck\n")
	eventually(t, "stuck", func() bool { return l.heard("does not return") })
	write(t, web, "lost\n")
	eventually(t, "lost is read", func() bool { return len(r.read(Query{Lines: -1})) == 2 })
	fsys.set(nil)
	close(release)
	eventually(t, "the count", func() bool { return l.heard("1 line lost: " + errStuck.Error()) })
	r.stop()
	l.stop()
	<-l.end
}

// TestStdoutAlone: what only stdout was to carry, and did not, is told; and that it
// cannot be written at all.
func TestStdoutAlone(t *testing.T) {
	pr, pw, err := os.Pipe()
	check(t, err)
	defer pw.Close()
	r := newRig(t, disk{}, func(c *Config) { c.Stdout, c.ForceStdout = pw, true })
	l := listenTo(r, "", 0)
	defer func() {
		l.stop()
		<-l.end
	}()
	s := r.settings("web/0")
	s.ToFile, s.ToStdout = false, true
	web, _ := r.pipe("web/0.1:out", s)
	const written = 40000
	for i := range written { // nobody reads
		write(t, web, fmt.Sprintf("%060d\n", i))
	}
	write(t, web, "the last\n")
	eventually(t, "all is taken", func() bool {
		got := r.read(Query{Lines: 1})
		return len(got) == 1 && got[0].Line == "the last"
	})
	in := bufio.NewReader(pr)
	lost := uint64(0)
	for seen := uint64(0); seen < written+1; {
		line, err := in.ReadString('\n')
		check(t, err)
		n := uint64(0)
		if _, text, _ := strings.Cut(line, " | "); strings.HasPrefix(text, "nines: ") {
			_, err := fmt.Sscanf(text, "nines: %d lines lost", &n)
			check(t, err)
			lost += n
			seen += n
		} else {
			seen++
		}
	}
	if lost == 0 {
		t.Fatal("nothing was lost?")
	}
	// What was not told yet is, at the latest when stdout is given up.
	check(t, pr.Close())
	eventually(t, "stdout is given up", func() bool {
		write(t, web, "more\n")
		return l.heard("cannot write to stdout: broken pipe: lines that were to go there alone are kept in memory only")
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	told := uint64(0)
	for _, n := range l.got {
		if told += n.Lines; n.Lines > 0 && (n.Instance != "web/0" || !strings.Contains(n.Text, "lines lost: stdout")) {
			t.Errorf("%+v", n)
		}
	}
	if told != lost {
		t.Errorf("%d lines are told to be lost, %d were", told, lost)
	}
}
