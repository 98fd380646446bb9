package proc

import (
	"bufio"
	"context"
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var markCounter atomic.Int64

// instance is a started misbehave with its tree.
type instance struct {
	Tree
	exit  <-chan Status
	lines *bufio.Scanner
}

// bothLevels runs a test without cgroups and in one.
func bothLevels(t *testing.T, fn func(t *testing.T, start func(t *testing.T, args ...string) *instance)) {
	t.Run("none", func(t *testing.T) {
		fn(t, func(t *testing.T, args ...string) *instance { return startInstance(t, nil, args) })
	})
	t.Run("core", func(t *testing.T) {
		tree := cgroupTree(t)
		fn(t, func(t *testing.T, args ...string) *instance {
			return startInstance(t, func(c *Command, tr *Tree) {
				g, fd, err := tree.Create("web/0." + strconv.FormatInt(markCounter.Add(1), 10))
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { unix.Close(fd) })
				c.CgroupFD, tr.Group = fd, g
			}, args)
		})
	})
}

func startInstance(t *testing.T, prepare func(*Command, *Tree), args []string) *instance {
	t.Helper()
	in := &instance{}
	in.Mark = "test" + strconv.Itoa(os.Getpid()) + ":web/0." + strconv.FormatInt(markCounter.Add(1), 10)
	in.KeeperPID = os.Getpid()
	c := command(args...)
	c.Env = []string{MarkVariable + "=" + in.Mark}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Stdout = int(w.Fd())
	if prepare != nil {
		prepare(c, &in.Tree)
	}
	in.PID, in.exit = launch(t, spawner(t), c)
	// ESRCH: it has ended and was reaped already.
	if in.Start, err = StartTime(in.PID); err != nil && !errors.Is(err, unix.ESRCH) {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	in.lines = bufio.NewScanner(r)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := in.Kill(ctx); err != nil {
			t.Error(err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return in
}

// line waits for a line that begins with prefix and gives its last word.
func (in *instance) line(t *testing.T, prefix string) int {
	t.Helper()
	for in.lines.Scan() {
		if f := strings.Fields(in.lines.Text()); f[0] == prefix {
			n, err := strconv.Atoi(f[len(f)-1])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("no line %q: %v", prefix, in.lines.Err())
	return 0
}

// alive says that there is a process that is no zombie.
func alive(pid int) bool {
	st, err := readStat(pid)
	return err == nil && st.lives()
}

// ended fails the test unless a process that was killed has ended. The kernel
// says that a cgroup is empty a moment before its last process is a zombie: that
// one runs nothing any more, and its files are closed (do_exit: cgroup_exit comes
// before exit_notify).
func ended(t *testing.T, pid int) {
	t.Helper()
	until(t, "the end of "+strconv.Itoa(pid), func() bool { return !alive(pid) })
}

func (in *instance) mustBeEmpty(t *testing.T, want bool) {
	t.Helper()
	empty, err := in.Empty()
	if err != nil || empty != want {
		t.Fatalf("empty %v, %v; want %v", empty, err, want)
	}
}

func TestTreeIsEmptyAfterAnOrdinaryExit(t *testing.T) {
	bothLevels(t, func(t *testing.T, start func(*testing.T, ...string) *instance) {
		for range 20 {
			in := start(t, "exit", "0")
			wait(t, in.exit)
			in.mustBeEmpty(t, true)
		}
	})
}

// TestTreeWithLeftovers: what a main process that has ended leaves behind is
// seen, and ended.
func TestTreeWithLeftovers(t *testing.T) {
	for _, mode := range []string{"daemon", "leave", "clear-env"} {
		t.Run(mode, func(t *testing.T) {
			bothLevels(t, func(t *testing.T, start func(*testing.T, ...string) *instance) {
				in := start(t, mode)
				pid := in.line(t, "left")
				wait(t, in.exit)
				if !alive(pid) {
					t.Fatal("it has left nothing")
				}
				in.mustBeEmpty(t, false)
				if err := in.Kill(within(t)); err != nil {
					t.Fatal(err)
				}
				ended(t, pid)
				in.mustBeEmpty(t, true)
			})
		})
	}
}

// TestKillWithMain: Kill ends the main process too, and what only it gives
// away.
func TestKillWithMain(t *testing.T) {
	for _, args := range [][]string{{"ignore-term"}, {"setsid"}, {"clear-all"}, {"stop"}, {"spin"}, {"forkbomb", "60"}, {"forkbomb", "60", "setsid"}} {
		t.Run(strings.Join(args, "-"), func(t *testing.T) {
			bothLevels(t, func(t *testing.T, start func(*testing.T, ...string) *instance) {
				in := start(t, args...)
				in.line(t, "misbehave")
				pid := 0
				switch args[0] {
				case "setsid", "clear-all":
					pid = in.line(t, "left")
				case "ignore-term":
					if err := Signal(in.PID, "SIGTERM"); err != nil {
						t.Fatal(err)
					}
				case "stop":
					until(t, "it is stopped", func() bool { st, err := readStat(in.PID); return err == nil && st.state == 'T' })
				}
				if err := in.Kill(within(t)); err != nil {
					t.Fatal(err)
				}
				if st := wait(t, in.exit); st.Signal != "SIGKILL" {
					t.Errorf("%+v", st)
				}
				if pid != 0 {
					ended(t, pid)
				}
				in.mustBeEmpty(t, true)
				if left, err := FindMarked(in.Mark); err != nil || len(left) > 0 {
					t.Errorf("left: %v, %v", left, err)
				}
			})
		})
	}
}

// TestKillAfterMainOfABomb: the bomb's main process has been killed by someone
// else; its children go on.
func TestKillAfterMainOfABomb(t *testing.T) {
	bothLevels(t, func(t *testing.T, start func(*testing.T, ...string) *instance) {
		in := start(t, "forkbomb", "60", "setsid")
		in.line(t, "misbehave")
		until(t, "there are children", func() bool { m, err := FindMarked(in.Mark); return err == nil && len(m) > 5 })
		if err := Signal(in.PID, "SIGKILL"); err != nil {
			t.Fatal(err)
		}
		wait(t, in.exit)
		in.mustBeEmpty(t, false)
		if err := in.Kill(within(t)); err != nil {
			t.Fatal(err)
		}
		in.mustBeEmpty(t, true)
		if left, err := FindMarked(in.Mark); err != nil || len(left) > 0 {
			t.Errorf("left: %v, %v", left, err)
		}
	})
}

// TestTreesDoNotTouchEachOther: of many instances one is ended, with others
// known or not known.
func TestTreesDoNotTouchEachOther(t *testing.T) {
	bothLevels(t, func(t *testing.T, start func(*testing.T, ...string) *instance) {
		var all []*instance
		mains := map[int]bool{}
		for range 10 {
			in := start(t, "setsid")
			in.line(t, "left")
			all = append(all, in)
			mains[in.PID] = true
		}
		for i, in := range all[:5] {
			if i%2 == 0 {
				in.Known = func(pid int) bool { return mains[pid] && pid != in.PID }
			}
			if err := in.Kill(within(t)); err != nil {
				t.Fatal(err)
			}
			in.mustBeEmpty(t, true)
		}
		for _, in := range all[5:] {
			if !alive(in.PID) {
				t.Errorf("%d was killed", in.PID)
			}
			if m, err := FindMarked(in.Mark); err != nil || len(m) != 2 {
				t.Errorf("marked: %v, %v", m, err)
			}
		}
	})
}

func TestKillAtOnce(t *testing.T) {
	bothLevels(t, func(t *testing.T, start func(*testing.T, ...string) *instance) {
		var all []*instance
		for range 20 {
			in := start(t, "daemon")
			in.line(t, "left")
			all = append(all, in)
		}
		var wg sync.WaitGroup
		for _, in := range all {
			wg.Go(func() {
				if err := in.Kill(within(t)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for _, in := range all {
			wait(t, in.exit)
			in.mustBeEmpty(t, true)
		}
	})
}

// TestUsedAgain: the main process's number has been given to another process,
// which then leads a session of that number.
func TestUsedAgain(t *testing.T) {
	other := startInstance(t, nil, []string{"setsid"})
	other.line(t, "left")
	old := &Tree{PID: other.PID, Start: other.Start - 1, Mark: "gone:web/0.1", KeeperPID: os.Getpid()}
	if empty, err := old.Empty(); err != nil || !empty {
		t.Errorf("empty %v, %v", empty, err)
	}
	if err := old.Kill(within(t)); err != nil {
		t.Error(err)
	}
	if !alive(other.PID) {
		t.Fatal("the wrong process was killed")
	}
	if err := SignalProcess(other.PID, other.Start-1, "SIGKILL"); err != nil {
		t.Error(err)
	}
	if !alive(other.PID) {
		t.Fatal("the wrong process was signalled")
	}
	if err := SignalProcess(other.PID, other.Start, "SIGKILL"); err != nil {
		t.Error(err)
	}
	if st := wait(t, other.exit); st.Signal != "SIGKILL" {
		t.Errorf("%+v", st)
	}
}

// TestWithoutChildrenFiles is the way of kernels without CONFIG_PROC_CHILDREN,
// and of a keeper that is not known.
func TestWithoutChildrenFiles(t *testing.T) {
	in := startInstance(t, nil, []string{"setsid"})
	pid := in.line(t, "left")
	in.KeeperPID = 0
	found, err := in.search(searchAll, nil)
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, st := range found {
		pids = append(pids, st.pid)
	}
	slices.Sort(pids)
	want := []int{in.PID, pid}
	slices.Sort(want)
	if !slices.Equal(pids, want) {
		t.Errorf("%v, want %v", pids, want)
	}
	if err := in.Kill(within(t)); err != nil {
		t.Fatal(err)
	}
	wait(t, in.exit)
	in.mustBeEmpty(t, true)
}

// TestKillInTime: a context that has ended is honoured, and what is left is
// named.
func TestKillInTime(t *testing.T) {
	bothLevels(t, func(t *testing.T, start func(*testing.T, ...string) *instance) {
		in := start(t, "ignore-term")
		in.line(t, "misbehave")
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		// It is killed all the same, and may or may not have ended by then.
		err := in.Kill(ctx)
		var k *KillError
		if err != nil && (!errors.As(err, &k) || !errors.Is(err, context.Canceled) || k.Mark != in.Mark) {
			t.Error(err)
		}
		if st := wait(t, in.exit); st.Signal != "SIGKILL" {
			t.Errorf("%+v", st)
		}
	})
}

// TestKillRefused: a process of another user cannot be ended, and that is said.
func TestKillRefused(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("skipped: nothing is refused to root; it runs this as another user in TestAsAnotherUser")
	}
	fi, err := os.Stat("/proc/1")
	if err != nil {
		t.Fatal(err)
	}
	if owner := fi.Sys().(*syscall.Stat_t).Uid; owner == uint32(os.Geteuid()) {
		t.Skip("skipped: even PID 1 is ours here")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	tr := &Tree{Mark: "x"}
	err = tr.killAll(ctx, []stat{{pid: 1}})
	if !errors.Is(err, unix.EPERM) {
		t.Error(err)
	}
}

func TestFindMarked(t *testing.T) {
	in := startInstance(t, nil, []string{"setsid"})
	pid := in.line(t, "left")
	all, err := FindMarked("test" + strconv.Itoa(os.Getpid()) + ":")
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, m := range all {
		if m.Mark == in.Mark {
			pids = append(pids, m.PID)
			if start, err := StartTime(m.PID); err != nil || start != m.Start {
				t.Errorf("start time %d, %v; want %d", m.Start, err, start)
			}
		}
	}
	slices.Sort(pids)
	want := []int{in.PID, pid}
	slices.Sort(want)
	if !slices.Equal(pids, want) {
		t.Errorf("%v, want %v", pids, want)
	}
}

// TestMarkDuringExec: right after its exec a process may have no environment
// for a moment; that must not be taken for none.
func TestMarkDuringExec(t *testing.T) {
	s := spawner(t)
	var r markReader
	unclear := 0
	for range 200 {
		c := command("hang")
		c.Env = []string{MarkVariable + "=exec:web/0.1"}
		pid, exit := launch(t, s, c)
		mark, m := r.mark(pid)
		switch {
		case m == markUnclear:
			unclear++
		case m != markFound || mark != "exec:web/0.1":
			t.Errorf("%q, %v", mark, m)
		}
		if mark, ok := r.settled(pid); !ok || mark != "exec:web/0.1" {
			t.Errorf("settled: %q, %v", mark, ok)
		}
		if err := Signal(pid, "SIGKILL"); err != nil {
			t.Fatal(err)
		}
		wait(t, exit)
	}
	t.Logf("%d of 200 were looked at in the middle of the exec", unclear)
	c := command("hang") // an empty environment is none, and not unclear
	pid, exit := launch(t, s, c)
	if mark, ok := r.settled(pid); ok {
		t.Errorf("%q", mark)
	}
	if _, m := r.mark(pid); m != markNone {
		t.Errorf("an empty environment: %v", m)
	}
	if err := Signal(pid, "SIGKILL"); err != nil {
		t.Fatal(err)
	}
	wait(t, exit)
}

// TestMarkBeforeExec: what a supervisor was starting when it died shows that
// supervisor's environment until its exec, so that it is not known to have no mark. A
// shell's subshell is one that never comes to its exec.
func TestMarkBeforeExec(t *testing.T) {
	s := spawner(t)
	var r markReader
	for _, c := range []struct {
		env  string
		want marking
	}{{supervisorVariable + "=3", markUnclear}, {"A=1", markNone}} {
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd := &Command{Argv: []string{"/bin/sh", "-c", "(while :; do read x; done) & echo $!; wait"}, Env: []string{c.env}, CgroupFD: -1, Stdout: int(write.Fd()), Stderr: -1}
		pid, exit := launch(t, s, cmd)
		write.Close()
		line, err := bufio.NewReader(read).ReadString('\n')
		read.Close()
		if err != nil {
			t.Fatal(err)
		}
		child, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		if _, m := r.mark(child); m != c.want {
			t.Errorf("%s: before its exec: %v, want %v", c.env, m, c.want)
		}
		if _, m := r.mark(pid); m != markNone {
			t.Errorf("%s: after its exec: %v, want none", c.env, m)
		}
		tree := Tree{PID: pid, KeeperPID: os.Getpid()}
		if err := tree.Kill(within(t)); err != nil {
			t.Fatal(err)
		}
		wait(t, exit)
	}
}

func TestFindMark(t *testing.T) {
	for _, c := range []struct {
		env, mark string
		ok        bool
	}{
		{"", "", false},
		{"NINES_INCARNATION=a\x00", "a", true},
		{"A=1\x00NINES_INCARNATION=a:web/0.1\x00B=2\x00", "a:web/0.1", true},
		{"A=1\x00NINES_INCARNATION=cut", "cut", false},
		{"XNINES_INCARNATION=a\x00", "", false},
		{"A=NINES_INCARNATION=a\x00", "", false},
		{"NINES_INCARNATIONS=a\x00", "", false},
	} {
		mark, ok := findMark([]byte(c.env))
		if ok != c.ok || ok && mark != c.mark {
			t.Errorf("%q: %q, %v", c.env, mark, ok)
		}
	}
}

// TestMarkInALargeEnvironment: it is found wherever it is.
func TestMarkInALargeEnvironment(t *testing.T) {
	s := spawner(t)
	c := command("hang")
	for i := range 5 {
		c.Env = append(c.Env, "V"+strconv.Itoa(i)+"="+strings.Repeat("x", 100<<10))
	}
	c.Env = append(c.Env, MarkVariable+"=large:web/0.1")
	pid, exit := launch(t, s, c)
	var r markReader
	if mark, ok := r.settled(pid); !ok || mark != "large:web/0.1" {
		t.Errorf("%q, %v", mark, ok)
	}
	if err := Signal(pid, "SIGKILL"); err != nil {
		t.Fatal(err)
	}
	wait(t, exit)
}
