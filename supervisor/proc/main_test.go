package proc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nines/cgroups"
	reaping "nines/supervisor/wait"
)

// The test binary is also the programs that some tests run: with this set, it
// is the one of that name.
const childVariable = "NINES_TEST_CHILD"

// binVariable tells a test binary that another test has started where the
// programs are.
const binVariable = "NINES_TEST_BIN"

// bin is where TestMain has put nines-exec and misbehave.
var bin string

// theReaper reaps for all tests, as the loop does for all services.
var theReaper *reaper

func TestMain(m *testing.M) {
	if name := os.Getenv(childVariable); name != "" {
		os.Exit(childPrograms()[name]())
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	if bin = os.Getenv(binVariable); bin == "" {
		dir, err := build()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		bin = dir
		defer os.RemoveAll(dir)
	}
	// The tests are their own keeper: orphans come to them.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	theReaper = newReaper()
	before := openFiles()
	code := m.Run()
	if after := openFiles(); code == 0 && len(after) > len(before)+pollerFDs {
		fmt.Fprintf(os.Stderr, "descriptors leaked: %q, before %q\n", after, before)
		code = 1
	}
	return code
}

// pollerFDs are the runtime's, opened when it first needs them.
const pollerFDs = 2

// build makes the programs, where every user can run them.
func build() (string, error) {
	dir, err := os.MkdirTemp("", "nines-proc-test-")
	if err != nil {
		return "", err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", err
	}
	for _, pkg := range []string{"nines/cmd/nines-exec", "nines/testdata/programs/misbehave"} {
		cmd := exec.Command("go", "build", "-o", dir+"/", pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("cannot build %s: %w\n%s", pkg, err, out)
		}
	}
	// This binary too, for tests that run it as another user.
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	if out, err := exec.Command("cp", self, dir+"/test").CombinedOutput(); err != nil {
		return "", fmt.Errorf("cannot copy %s: %w\n%s", self, err, out)
	}
	return dir, nil
}

func openFiles() []string {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil
	}
	var files []string
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			files = append(files, e.Name()+" "+to)
		}
	}
	return files
}

// reaper is the loop's part as the package documentation asks for it.
type reaper struct {
	mu        sync.Mutex
	waiting   map[int]chan Status
	unclaimed map[int]Status
	inFlight  int
	reaped    map[int]bool // every pid that was ever reaped and not claimed
}

func newReaper() *reaper {
	r := &reaper{waiting: map[int]chan Status{}, unclaimed: map[int]Status{}, reaped: map[int]bool{}}
	c := make(chan os.Signal, 1)
	signal.Notify(c, unix.SIGCHLD)
	go func() {
		for range c {
			r.mu.Lock()
			for {
				pid, raw, ok := reaping.Peek()
				if !ok {
					break
				}
				reaping.Reap(pid)
				if w := r.waiting[pid]; w != nil {
					delete(r.waiting, pid)
					w <- StatusOf(raw)
				} else {
					r.unclaimed[pid] = StatusOf(raw)
				}
			}
			if r.inFlight == 0 {
				clear(r.unclaimed)
			}
			r.mu.Unlock()
		}
	}()
	return r
}

// start starts c; the channel gives its status.
func (r *reaper) start(s *Spawner, c *Command) (pid int, confirm func() error, exit <-chan Status, err error) {
	r.mu.Lock()
	r.inFlight++
	r.mu.Unlock()
	pid, confirm, err = s.Start(c)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inFlight--
	if err != nil {
		return 0, nil, nil, err
	}
	ch := make(chan Status, 1)
	if st, ok := r.unclaimed[pid]; ok {
		delete(r.unclaimed, pid)
		ch <- st
	} else {
		r.waiting[pid] = ch
	}
	return pid, confirm, ch, nil
}

func spawner(t testing.TB) *Spawner {
	t.Helper()
	s, err := NewSpawner(bin + "/nines-exec")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// command is misbehave with these arguments.
func command(args ...string) *Command {
	return &Command{Argv: append([]string{bin + "/misbehave"}, args...), Stdout: -1, Stderr: -1, CgroupFD: -1}
}

// run starts c, waits for its exec and its end.
func run(t testing.TB, s *Spawner, c *Command) Status {
	t.Helper()
	_, exit := launch(t, s, c)
	return wait(t, exit)
}

// launch starts c and waits for its exec.
func launch(t testing.TB, s *Spawner, c *Command) (int, <-chan Status) {
	t.Helper()
	pid, confirm, exit, err := theReaper.start(s, c)
	if err != nil {
		t.Fatal(err)
	}
	if confirm != nil {
		if err := confirm(); err != nil {
			t.Fatal(err)
		}
	}
	return pid, exit
}

const patience = 30 * time.Second

func wait(t testing.TB, exit <-chan Status) Status {
	t.Helper()
	select {
	case st := <-exit:
		return st
	case <-time.After(patience):
		t.Fatal("it does not end")
		return Status{}
	}
}

// within is the test's context with patience.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// until polls a condition that nothing announces.
func until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// publicDir is a folder that every user may write to.
func publicDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("skipped: this part needs root, which runs it before it runs the rest as another user")
	}
}

// nobody is who unprivileged tests run as.
func nobody() *Credential { return &Credential{UID: 65534, GID: 65534, Groups: []uint32{65534}} }

// report is what misbehave's mode of that name writes.
type report struct {
	PID, PPID, Group, Session int
	Args, Env                 []string
	Dir                       string
	UID, GID                  int
	Groups                    []int
	Umask                     string
	Nice, OOMScoreAdj         int
	FDs, Limits               map[string]string
	Cgroup                    string
}

// runReport runs misbehave's report with what else is set in c.
func runReport(t testing.TB, s *Spawner, c *Command) report {
	t.Helper()
	file := publicDir(t) + "/report"
	c.Argv = []string{bin + "/misbehave", "report", file}
	if st := run(t, s, c); st != (Status{}) {
		t.Fatalf("report ended with %+v", st)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// output gives a Command a pipe as standard output, and what to read from it.
func output(t testing.TB, c *Command) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Stdout = int(w.Fd())
	t.Cleanup(func() { r.Close(); w.Close() })
	return r
}

// tree makes a cgroup tree for the test, or nil where there are none.
func cgroupTree(t testing.TB) *cgroups.Tree {
	t.Helper()
	h := cgroups.Detect()
	if h.Level == cgroups.None {
		if os.Geteuid() == 0 {
			t.Skipf("skipped: no cgroups: %s", h.Why)
		}
		t.Skip("skipped: this part needs root")
	}
	name := "nines-proc-test-" + strconv.Itoa(os.Getpid()) + "-" + strings.NewReplacer("/", "-", ".", "-").Replace(t.Name())
	tree, err := h.Open(h.Base("", name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := errors.Join(tree.Group(".").Kill(), tree.Remove(ctx), tree.Close()); err != nil {
			t.Error(err)
		}
	})
	return tree
}
