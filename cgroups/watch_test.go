package cgroups

import (
	"context"
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestWatch: cgroup.events of one of two groups changes. The kernel holds a
// second change within 10 ms back, but loses none.
func TestWatch(t *testing.T) {
	tree := open(t)
	w, err := NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	changes := make(chan Change, 16)
	done := make(chan error, 1)
	go func() { done <- w.Run(func(c Change) { changes <- c }) }()
	g, fd := create(t, tree, "web/0.1")
	other, fd2 := create(t, tree, "web/1.1")
	unix.Close(fd2)
	for _, x := range []*Group{g, other, g} {
		if err := w.Add(x, "cgroup.events"); err != nil {
			t.Fatal(err)
		}
	}
	cmd := start(t, fd, "echo; exec sleep 1000")
	unix.Close(fd)
	next := func() Change {
		select {
		case c := <-changes:
			return c
		case <-within(t).Done():
			t.Fatal("no change was told")
		}
		return Change{}
	}
	if c := next(); c != (Change{"web/0.1", "cgroup.events"}) {
		t.Errorf("%+v", c)
	}
	if err := g.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if err := g.WaitEmpty(within(t)); err != nil {
		t.Fatal(err)
	}
	for populated := true; populated; populated, err = g.Populated() {
		if c := next(); c.Name != "web/0.1" || err != nil {
			t.Errorf("%+v, %v", c, err)
		}
	}
	w.Remove(g, "cgroup.events")
	w.Remove(g, "memory.events") // never added
	if len(w.watches) != 1 || len(w.ids) != 1 {
		t.Errorf("%v, %v", w.watches, w.ids)
	}
	if err := w.Add(tree.Group("web/none"), "cgroup.events"); !errors.Is(err, unix.ENOENT) {
		t.Errorf("%v", err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := w.Add(g, "cgroup.events"); err == nil {
		t.Error("a closed one watches")
	}
}

func TestParsePressure(t *testing.T) {
	some, full, ok := ParsePressure([]byte("some avg10=1.50 avg60=0.25 avg300=0.00 total=2000000\nfull avg10=0.50 avg60=0.00 avg300=0.00 total=1000\n"))
	if !ok || some != (Pressure{1.5, 0.25, 0, 2 * time.Second}) || full != (Pressure{0.5, 0, 0, time.Millisecond}) {
		t.Errorf("%+v %+v %v", some, full, ok)
	}
	for _, text := range []string{"", "some", "some avg10=x avg60=0 avg300=0 total=0\n", "some avg10=NaN avg60=0 avg300=0 total=0\n", "some avg60=0 avg10=0 avg300=0 total=0\n", "full avg10=0 avg60=0 avg300=0 total=0\n"} {
		if _, _, ok := ParsePressure([]byte(text)); ok {
			t.Errorf("%q taken", text)
		}
	}
}

func FuzzPressure(f *testing.F) {
	f.Add([]byte("some avg10=1.50 avg60=0.25 avg300=0.00 total=2000000\nfull avg10=0.50 avg60=0.00 avg300=0.00 total=1000\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		some, full, _ := ParsePressure(b)
		for _, p := range []Pressure{some, full} {
			if !(p.Avg10 >= 0 && p.Avg60 >= 0 && p.Avg300 >= 0 && p.Total >= 0) {
				t.Errorf("%+v", p)
			}
		}
	})
}

// TestTrigger: processes of a group that have to share processors are held up,
// and the kernel says so.
func TestTrigger(t *testing.T) {
	tree := open(t)
	g, fd := create(t, tree, "web/0.1")
	tr, err := g.Trigger("cpu", false, 50*time.Millisecond, time.Second)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) {
		t.Skipf("skipped: this kernel has no PSI: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if tr.Window != time.Second && tr.Window != 2*time.Second {
		t.Errorf("window %s", tr.Window)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	told := make(chan struct{}, 1)
	done := make(chan error, 1)
	go func() {
		done <- tr.Run(ctx, func() {
			select {
			case told <- struct{}{}:
			default:
			}
		})
	}()
	cmd := start(t, fd, "for i in 1 2 3 4 5 6 7 8; do (while :; do :; done) & done; echo; wait")
	unix.Close(fd)
	for range 2 {
		select {
		case <-told:
		case err := <-done:
			t.Fatal(err)
		case <-within(t).Done():
			t.Fatal("nothing was told")
		}
	}
	if err := g.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := tr.Close(); err != nil {
		t.Error(err)
	}
	if _, err := tree.Group("web/none").Trigger("cpu", false, time.Second, time.Second); !errors.Is(err, unix.ENOENT) {
		t.Errorf("%v", err)
	}
	if _, err := g.Trigger("cpu", false, 20*time.Second, 2*time.Second); !errors.Is(err, unix.EINVAL) {
		t.Errorf("longer than its window: %v", err)
	}
}
