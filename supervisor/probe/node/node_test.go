package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"nines/spec"
	"nines/supervisor/probe"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// want compares: cause "" is a pass.
func want(t *testing.T, r probe.Result, cause probe.Cause, text string) {
	t.Helper()
	var e *probe.Error
	if r.Err == nil {
		if cause != "" || !strings.Contains(r.Output, text) {
			t.Fatalf("passed with %q, want %s %q", r.Output, cause, text)
		}
	} else if !errors.As(r.Err, &e) || e.Cause != cause || !strings.Contains(e.Text, text) {
		t.Fatalf("%v, want %s %q", r.Err, cause, text)
	}
}

func TestDisk(t *testing.T) {
	dir := t.TempDir()
	ctx := t.Context()
	d := newDisk(&spec.NodeDisk{Path: dir, Writable: true})
	want(t, d.probe(ctx), "", "of its inodes free")
	if _, err := os.Lstat(filepath.Join(dir, CanaryName)); !os.IsNotExist(err) {
		t.Errorf("the canary is still there: %v", err)
	}
	// One that was left behind is no trouble, and a link there is not followed.
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, filepath.Join(dir, CanaryName)); err != nil {
		t.Fatal(err)
	}
	want(t, d.probe(ctx), "", "")
	if b, err := os.ReadFile(victim); err != nil || string(b) != "mine" {
		t.Errorf("the link was followed: %q, %v", b, err)
	}
	missing := newDisk(&spec.NodeDisk{Path: filepath.Join(dir, "no")})
	want(t, missing.probe(ctx), probe.Wrong, "no: no such file or directory")

	for _, tc := range []struct {
		name  string
		st    syscall.Statfs_t
		werr  error
		cause probe.Cause
		text  string
	}{
		{"enough", syscall.Statfs_t{Blocks: 1000, Bfree: 150, Bavail: 100, Files: 100, Ffree: 50}, nil, "", "has 10.5% of its space and 50% of its inodes free"},
		{"little", syscall.Statfs_t{Blocks: 1000, Bfree: 150, Bavail: 40, Files: 100, Ffree: 50}, nil, probe.Bound, "has 4.5% of its space free, less than 5% (free)"},
		{"few inodes", syscall.Statfs_t{Blocks: 1000, Bfree: 900, Bavail: 900, Files: 100, Ffree: 4}, nil, probe.Bound, "has 4% of its inodes free, less than 5% (inodes)"},
		{"nothing is counted", syscall.Statfs_t{}, nil, "", "100% of its space"},
		{"more free than there is", syscall.Statfs_t{Blocks: 10, Bfree: 90, Bavail: 90, Files: 1, Ffree: 9}, nil, "", "100%"},
		{"read-only", syscall.Statfs_t{Flags: readOnly}, nil, probe.Wrong, "is read-only"},
		{"full", syscall.Statfs_t{}, syscall.ENOSPC, probe.Wrong, "no space left on device"},
		{"broken", syscall.Statfs_t{}, syscall.EIO, probe.Wrong, "input/output error"},
		{"not allowed", syscall.Statfs_t{}, syscall.EACCES, probe.Unable, "writable = false"},
		{"no descriptors", syscall.Statfs_t{}, syscall.EMFILE, probe.Unable, "too many open files"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := newDisk(&spec.NodeDisk{Path: "/x", Free: 5, Inodes: 5, Writable: true})
			interrupted := true
			d.statfs = func(_ string, st *syscall.Statfs_t) error {
				if interrupted {
					interrupted = false
					return syscall.EINTR
				}
				*st = tc.st
				return nil
			}
			d.write = func(string) error { return tc.werr }
			want(t, d.probe(ctx), tc.cause, tc.text)
		})
	}
}

// What can really not be written, where this user cannot be stopped by modes.
func TestCanary(t *testing.T) {
	if err := writeCanary("/proc"); err == nil {
		t.Error("/proc can be written")
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := writeCanary(file); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("a file as folder: %v", err)
	}
	if err := os.MkdirAll(filepath.Join(filepath.Dir(file), CanaryName, "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := writeCanary(filepath.Dir(file)); !errors.Is(err, syscall.ENOTEMPTY) {
		t.Errorf("a folder in its place: %v", err)
	}
}

// A filesystem that does not answer holds one goroutine, and fails each attempt
// until it comes back.
func TestDiskStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := make(chan struct{})
		var calls atomic.Int32
		d := newDisk(&spec.NodeDisk{Path: "/nfs"})
		d.statfs = func(string, *syscall.Statfs_t) error { calls.Add(1); <-back; return nil }
		for range 5 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			want(t, d.probe(ctx), probe.Timeout, "/nfs does not answer")
			cancel()
		}
		if n := calls.Load(); n != 1 {
			t.Errorf("%d attempts are stuck", n)
		}
		close(back)
		synctest.Wait()
		want(t, d.probe(t.Context()), "", "")
	})
}

func TestClock(t *testing.T) {
	c := &clock{step: time.Second}
	base := 1790000000 * time.Second
	for _, s := range []struct {
		offset time.Duration
		cause  probe.Cause
		text   string
	}{
		{base, "", ""}, {base + 500*time.Millisecond, "", ""},
		{base + 1500*time.Millisecond, "", ""}, // a second exactly
		{base + 2600*time.Millisecond, probe.Bound, "the clock was set forward by 1.1s, more than 1s (step)"},
		{base + 2600*time.Millisecond, "", ""}, // it is told once
		{base - time.Hour, probe.Bound, "set back by 1h0m2.6s"},
	} {
		want(t, c.judge(s.offset, nil), s.cause, s.text)
	}
	want(t, c.judge(0, errors.New("none")), probe.Unable, "cannot read the clock: none")
	a, err := readClock()
	if err != nil {
		t.Fatal(err)
	}
	b, err := readClock()
	if err != nil || (b-a).Abs() > time.Minute {
		t.Errorf("offsets %s and %s, %v", a, b, err)
	}
}

func TestPressure(t *testing.T) {
	p := &spec.NodePressure{Of: "io", Above: 20}
	file := func(avg10 string) []byte {
		return []byte("some avg10=" + avg10 + " avg60=1.00 avg300=2.00 total=3\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n")
	}
	want(t, pressure(p, file("20.00"), nil), "", "pressure of io is 20%")
	want(t, pressure(p, file("20.10"), nil), probe.Bound, "pressure of io is 20.1%, above 20% (some, avg10)")
	want(t, pressure(p, []byte("what"), nil), probe.Unable, "unknown format")
	want(t, pressure(p, nil, os.ErrNotExist), probe.Unable, "psi=1")
}

// told gathers what a Runner tells.
type told struct {
	changes chan Change
	results chan probe.Result
}

func runner(t *testing.T) (*Runner, *told) {
	x := &told{make(chan Change, 100), make(chan probe.Result, 100)}
	return New(Config{
		Client: probe.NewClient(), Log: slog.New(slog.DiscardHandler), Tell: func(c Change) { x.changes <- c },
		Eval: func(e spec.Expr) (string, error) {
			if e == "" {
				return "", errors.New("nothing there")
			}
			return string(e), nil
		},
	}), x
}

func (x *told) all() string {
	s := ""
	for len(x.changes) > 0 {
		c := <-x.changes
		s += fmt.Sprintf("%s %v %s; ", c.Name, c.Failed, c.Text)
	}
	return s
}

// TestRunner: rows of failures and passes are counted, times are kept, and
// nothing is told twice.
func TestRunner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, x := runner(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { r.Run(ctx); close(done) }()
		node := spec.NodeCheck{Name: "disk", Timing: spec.Timing{Interval: 10 * time.Second, Timeout: time.Second, Failures: 3, Successes: 2, InitialDelay: 5 * time.Second}, Disk: &spec.NodeDisk{}}
		r.Set([]spec.NodeCheck{node})
		var attempts []time.Duration
		begin := time.Now()
		next := probe.Result{Output: "good"}
		block := false
		var mu sync.Mutex
		set := func(hang bool, result probe.Result) {
			mu.Lock()
			defer mu.Unlock()
			block, next = hang, result
		}
		r.mu.Lock()
		c := r.checks[0]
		c.attempt = func(ctx context.Context) probe.Result {
			mu.Lock()
			attempts = append(attempts, time.Since(begin))
			hang, result := block, next
			mu.Unlock()
			if hang {
				<-ctx.Done()
				return probe.Result{Err: &probe.Error{Cause: probe.Timeout, Text: "late"}}
			}
			return result
		}
		r.mu.Unlock()
		state := func(wantState, output, changes string) {
			t.Helper()
			synctest.Wait()
			st := r.Status()
			if len(st) != 1 || st[0].State != wantState || st[0].Output != output {
				t.Errorf("at %s: %+v", time.Since(begin), st)
			}
			if got := x.all(); got != changes {
				t.Errorf("at %s: told %q, want %q", time.Since(begin), got, changes)
			}
		}
		state(Unknown, "", "")
		time.Sleep(6 * time.Second) // 6: attempt at 5
		state(Passing, "good", "")
		bad := probe.Result{Output: "more", Err: &probe.Error{Cause: probe.Bound, Text: "full"}}
		set(false, bad)
		time.Sleep(20 * time.Second) // 26: two failed
		state(Passing, "full", "")
		set(false, probe.Result{Err: &probe.Error{Cause: probe.Unable, Text: "no descriptor"}})
		time.Sleep(10 * time.Second) // 36: counts neither way
		state(Passing, "no descriptor", "")
		set(true, bad)
		time.Sleep(11 * time.Second) // 47: the third, by its timeout at 46
		state(Failing, "late", "disk true late; ")
		set(false, bad)
		time.Sleep(10 * time.Second) // 57
		state(Failing, "full", "")
		set(false, probe.Result{Output: "good"})
		time.Sleep(10 * time.Second) // 67: passed once
		state(Failing, "good", "")
		// An apply that does not change it changes nothing.
		r.Set([]spec.NodeCheck{node})
		time.Sleep(10 * time.Second) // 77
		state(Passing, "good", "disk false good; ")
		mu.Lock()
		if got, want := fmt.Sprint(attempts), "[5s 15s 25s 35s 45s 55s 1m5s 1m15s]"; got != want {
			t.Errorf("attempts at %s, want %s", got, want)
		}
		mu.Unlock()
		// One that is changed begins anew.
		node.Timing.Failures = 1
		r.Set([]spec.NodeCheck{node})
		state(Unknown, "", "")
		r.Set(nil)
		synctest.Wait()
		if st := r.Status(); len(st) != 0 {
			t.Errorf("%+v", st)
		}
		time.Sleep(time.Minute)
		mu.Lock()
		if len(attempts) != 8 {
			t.Errorf("%d attempts", len(attempts))
		}
		mu.Unlock()
		cancel()
		<-done
	})
}

// A step of the clock is told at the attempt that sees it, whatever failures is.
func TestRunnerClock(t *testing.T) {
	c := &check{spec: spec.NodeCheck{Name: "clock", Timing: spec.Timing{Failures: 3, Successes: 3}, Clock: &spec.NodeClock{}}, state: Passing}
	if told, _ := c.take(probe.Result{Err: &probe.Error{Cause: probe.Bound, Text: "stepped"}}); told == nil || !told.Failed {
		t.Errorf("%+v", told)
	}
	if told, _ := c.take(probe.Result{}); told == nil || told.Failed {
		t.Errorf("%+v", told)
	}
}

// All kinds are made of a specification, and work.
func TestKinds(t *testing.T) {
	r, _ := runner(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for _, tc := range []struct {
		check spec.NodeCheck
		cause probe.Cause
		text  string
	}{
		{spec.NodeCheck{Disk: &spec.NodeDisk{Path: t.TempDir(), Writable: true}}, "", "free"},
		{spec.NodeCheck{Clock: &spec.NodeClock{Step: time.Hour}}, "", ""},
		{spec.NodeCheck{TCP: &spec.CheckTCP{Address: spec.Expr(ln.Addr().String())}}, "", ""},
		{spec.NodeCheck{TCP: &spec.CheckTCP{}}, probe.Unable, "nothing there"},
		{spec.NodeCheck{Pressure: &spec.NodePressure{Of: "nothing"}}, probe.Unable, "pressure of nothing"},
		{spec.NodeCheck{}, probe.Unable, "no kind"},
	} {
		want(t, r.kind(&tc.check)(t.Context()), tc.cause, tc.text)
	}
}
