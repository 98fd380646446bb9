package cgroups

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func openFiles(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestWaitEmptyWakes(t *testing.T) {
	tree := open(t)
	g, fd := create(t, tree, "web/0.1")
	cmd := start(t, fd, "echo; exec sleep 1000")
	unix.Close(fd)
	done := make(chan error, 1)
	go func() { done <- g.WaitEmpty(within(t)) }()
	select {
	case err := <-done:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestWaitEmptyEndsWithItsContext(t *testing.T) {
	tree := open(t)
	g, fd := create(t, tree, "web/0.1")
	cmd := start(t, fd, "echo; exec sleep 1000")
	unix.Close(fd)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- g.WaitEmpty(ctx) }()
	go func() { done <- g.Remove(ctx) }()
	cancel()
	for range 2 {
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	}
	expired, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if err := g.WaitEmpty(expired); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if err := g.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
}

func TestWhatDoesNotExistIsEmpty(t *testing.T) {
	tree := open(t)
	g := tree.Group("web/0.1")
	if p, err := g.Populated(); err != nil || p {
		t.Errorf("populated %v, %v", p, err)
	}
	pids, err := g.Procs()
	if err != nil || len(pids) > 0 {
		t.Errorf("procs %v, %v", pids, err)
	}
	if err := errors.Join(g.Kill(), g.WaitEmpty(within(t)), g.Remove(within(t))); err != nil {
		t.Error(err)
	}
	if err := g.Freeze(within(t)); !errors.Is(err, unix.ENOENT) {
		t.Errorf("freeze: %v", err)
	}
}

func TestFreezeAndThaw(t *testing.T) {
	tree := open(t)
	g, fd := create(t, tree, "web/0.1")
	cmd := start(t, fd, "echo; while :; do :; done")
	unix.Close(fd)
	if err := g.Freeze(within(t)); err != nil {
		t.Fatal(err)
	}
	used := func() string {
		b, err := os.ReadFile("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/schedstat")
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	before := used()
	for range 30 { // were it not frozen, it would be seen to go on
		time.Sleep(time.Millisecond)
		if after := used(); after != before {
			t.Fatalf("it goes on: %s, then %s", before, after)
		}
	}
	if err := g.Thaw(within(t)); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); used() == before; {
		if time.Now().After(deadline) {
			t.Fatal("it does not go on")
		}
	}
	// A frozen group dies as any other.
	if err := errors.Join(g.Freeze(within(t)), g.Kill()); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if err := g.WaitEmpty(within(t)); err != nil {
		t.Fatal(err)
	}
}

// TestKill: children in sessions and groups of their own, below and beside.
func TestKill(t *testing.T) {
	for name, kill := range map[string]func(*Group) error{
		"cgroup.kill": (*Group).Kill,
		"one by one":  (*Group).killOneByOne,
	} {
		t.Run(name, func(t *testing.T) {
			tree := open(t)
			g, fd := create(t, tree, "web/0.1")
			_, below := create(t, tree, "web/0.1/below")
			other, beside := create(t, tree, "web/1.1")
			cmds := []*exec.Cmd{
				start(t, fd, "trap '' TERM; setsid sleep 1000 & sleep 1000 & echo; exec sleep 1000"),
				start(t, below, "setsid sh -c 'while :; do sleep 0.001 & wait; done' & echo; exec sleep 1000"),
			}
			spared := start(t, beside, "echo; exec sleep 1000")
			for _, fd := range []int{fd, below, beside} {
				unix.Close(fd)
			}
			if err := kill(g); err != nil {
				t.Fatal(err)
			}
			for _, cmd := range cmds {
				_ = cmd.Wait()
				if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); ws.Signal() != unix.SIGKILL {
					t.Errorf("%v", cmd.ProcessState)
				}
			}
			if err := g.WaitEmpty(within(t)); err != nil {
				t.Fatal(err)
			}
			if p, err := other.Populated(); err != nil || !p {
				t.Errorf("what is beside it is gone: %v, %v", p, err)
			}
			// It may be used again: it has not been left frozen.
			_, again := create(t, tree, "web/0.1")
			cmd := start(t, again, "echo")
			unix.Close(again)
			_ = cmd.Wait()
			if err := g.Remove(within(t)); err != nil {
				t.Fatal(err)
			}
			if err := other.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = spared.Wait()
		})
	}
}

func TestRemoveWaitsForTheLast(t *testing.T) {
	tree := open(t)
	g, fd := create(t, tree, "web/0.1")
	_, below := create(t, tree, "web/0.1/a/b")
	cmd := start(t, below, "echo; exec sleep 1000")
	unix.Close(fd)
	unix.Close(below)
	done := make(chan error, 1)
	go func() { done <- g.Remove(within(t)) }()
	select {
	case err := <-done:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	if err := g.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(g.Path()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
}

func TestManyAtOnce(t *testing.T) {
	tree := open(t)
	before := openFiles(t)
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			g, fd, err := tree.Create("web/" + strconv.Itoa(i) + ".1")
			if err != nil {
				t.Error(err)
				return
			}
			cmd := exec.Command("/bin/sleep", "1000")
			cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: fd}
			err = cmd.Start()
			unix.Close(fd)
			if err != nil {
				t.Error(err)
				return
			}
			if err := g.Kill(); err != nil {
				t.Error(err)
			}
			_ = cmd.Wait()
			if err := errors.Join(g.WaitEmpty(within(t)), g.Remove(within(t))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if after := openFiles(t); after > before+2 { // the runtime's poller
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

func TestErrorText(t *testing.T) {
	err := error(&Error{Op: "create", Path: "/x", Err: unix.EACCES})
	if err.Error() != "cannot create cgroup /x: permission denied (EACCES)" || !errors.Is(err, unix.EACCES) {
		t.Error(err)
	}
	if err := (&Error{Op: "remove", Path: "/x", Err: context.Canceled}); err.Error() != "cannot remove cgroup /x: context canceled" {
		t.Error(err)
	}
}

func BenchmarkCreateAndRemove(b *testing.B) {
	tree := open(b)
	b.ReportAllocs()
	for b.Loop() {
		g, fd := create(b, tree, "web/0.1")
		unix.Close(fd)
		if err := g.Remove(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCreate(b *testing.B) {
	tree := open(b)
	b.ReportAllocs()
	for b.Loop() {
		g, fd := create(b, tree, "web/0.1")
		unix.Close(fd)
		b.StopTimer()
		if err := g.Remove(context.Background()); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
