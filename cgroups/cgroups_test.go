package cgroups

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// open makes a tree for the test, and removes it afterwards.
func open(t testing.TB) *Tree {
	t.Helper()
	h := Detect()
	if h.Level == None {
		if os.Geteuid() == 0 && os.Getenv("CI") == "" {
			t.Fatalf("no cgroups, although root: %s", h.Why)
		}
		t.Skipf("skipped: %s", h.Why)
	}
	name := "nines-test-" + strconv.Itoa(os.Getpid()) + "-" + strings.NewReplacer("/", "-", ".", "-").Replace(t.Name())
	tree, err := h.Open(h.Base("", name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := tree.Group(".").Kill(); err != nil {
			t.Error(err)
		}
		if err := tree.Remove(ctx); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(tree.Path()); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there: %v", tree.Path(), err)
		}
		if err := tree.Close(); err != nil {
			t.Error(err)
		}
	})
	return tree
}

func create(t testing.TB, tree *Tree, name string) (*Group, int) {
	t.Helper()
	g, fd, err := tree.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	return g, fd
}

// start runs a shell script in the group and returns once it has printed a
// line.
func start(t testing.TB, fd int, script string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", script)
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: fd}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("%s said nothing: %v", script, err)
	}
	return cmd
}

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestCreateIsLikeMkdirP(t *testing.T) {
	tree := open(t)
	g, fd := create(t, tree, "web/0.17")
	defer unix.Close(fd)
	if want := tree.Path() + "/web/0.17"; g.Path() != want {
		t.Errorf("path %s, want %s", g.Path(), want)
	}
	_, other := create(t, tree, "web/1.3")
	unix.Close(other)
	_, db := create(t, tree, "db/0.1")
	unix.Close(db)
	names, err := tree.List()
	slices.Sort(names)
	if err != nil || !slices.Equal(names, []string{"db", "web"}) {
		t.Errorf("tree lists %q, %v", names, err)
	}
	names, err = tree.Group("web").List()
	slices.Sort(names)
	if err != nil || !slices.Equal(names, []string{"web/0.17", "web/1.3"}) {
		t.Errorf("web lists %q, %v", names, err)
	}
	if names, err = tree.Group("none").List(); err != nil || len(names) != 0 {
		t.Errorf("a missing group lists %q, %v", names, err)
	}
}

func TestNamesThatAreRefused(t *testing.T) {
	tree := open(t)
	for _, name := range []string{"", ".", "..", "/", "a//b", "../x", "a/../../x", "a/", "cgroup.procs", "web/memory.max", "a\nb", strings.Repeat("x", 256)} {
		if _, _, err := tree.Create(name); err == nil {
			t.Errorf("%q was made", name)
		}
	}
}

func TestBornInTheGroup(t *testing.T) {
	tree := open(t)
	g, fd := create(t, tree, "web/0.1")
	cmd := start(t, fd, "echo; exec sleep 1000")
	unix.Close(fd)
	pids, err := g.Procs()
	if err != nil || !slices.Equal(pids, []int{cmd.Process.Pid}) {
		t.Errorf("procs %v, %v; want %d", pids, err, cmd.Process.Pid)
	}
	// The parent's list holds what is below it.
	if pids, err = tree.Group("web").Procs(); err != nil || !slices.Equal(pids, []int{cmd.Process.Pid}) {
		t.Errorf("procs of web: %v, %v", pids, err)
	}
	if p, err := g.Populated(); err != nil || !p {
		t.Errorf("populated %v, %v", p, err)
	}
	if err := g.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if err := g.WaitEmpty(within(t)); err != nil {
		t.Fatal(err)
	}
	if err := g.Remove(within(t)); err != nil {
		t.Fatal(err)
	}
}

// TestUsedAgain: a group that was killed is made anew, and one that is not
// empty is refused.
func TestUsedAgain(t *testing.T) {
	tree := open(t)
	for range 3 {
		g, fd := create(t, tree, "web/0.1")
		_, below := create(t, tree, "web/0.1/below")
		unix.Close(below)
		cmd := start(t, fd, "echo; exec sleep 1000")
		unix.Close(fd)
		if _, _, err := tree.Create("web/0.1"); !errors.Is(err, unix.EBUSY) {
			t.Errorf("not EBUSY but %v", err)
		}
		if err := g.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		if err := g.WaitEmpty(within(t)); err != nil {
			t.Fatal(err)
		}
	}
}

const killedVariable = "NINES_TEST_IN_KILLED_CGROUP"

// TestWhereOthersWereKilled: our own cgroup was killed before we came.
func TestWhereOthersWereKilled(t *testing.T) {
	tree := open(t)
	if os.Getenv(killedVariable) != "" {
		g, fd := create(t, tree, "web/0.1")
		cmd := start(t, fd, "echo; exec sleep 1000")
		unix.Close(fd)
		if err := g.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		t.Logf("age %d", tree.age)
		return
	}
	g, fd := create(t, tree, "old")
	unix.Close(fd)
	for range 3 {
		if err := g.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("/bin/sh", "-c", `echo $$ >"$0/cgroup.procs" && exec "$@"`,
		g.Path(), os.Args[0], "-test.v", "-test.run", "^TestWhereOthersWereKilled$")
	cmd.Env = append(os.Environ(), killedVariable+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Errorf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
	if err := g.Remove(within(t)); err != nil {
		t.Fatal(err)
	}
}

// TestPopulatedJustAfterReaping is the order that the supervisor relies on: it
// reaps the main process and asks in the same turn whether anything is left.
func TestPopulatedJustAfterReaping(t *testing.T) {
	tree := open(t)
	late := 0
	const rounds = 400
	for range rounds {
		g, fd := create(t, tree, "web/0.1")
		pid, err := syscall.ForkExec("/bin/true", []string{"true"}, &syscall.ProcAttr{
			Sys: &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: fd},
		})
		unix.Close(fd)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := unix.Wait4(pid, nil, 0, nil); err != nil {
			t.Fatal(err)
		}
		p, err := g.Populated()
		if err != nil {
			t.Fatal(err)
		}
		if p {
			late++
		}
		if err := g.WaitEmpty(within(t)); err != nil {
			t.Fatal(err)
		}
		if err := g.Remove(within(t)); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("populated after reaping: %d of %d", late, rounds)
}
