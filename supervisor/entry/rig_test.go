package entry

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nines/testdata/testkit"
)

// patience is how long a test waits for what must happen, on a slow machine.
const patience = 60 * time.Second

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		if role, ok := strings.CutPrefix(os.Args[1], "role:"); ok {
			os.Exit(play(role, os.Args[2:]))
		}
	}
	// The signals that these tests are about leave no core files.
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		panic(err)
	}
	code := m.Run()
	for _, dir := range []func() (string, error){binary, portable} {
		if path, err := dir(); err == nil {
			os.RemoveAll(filepath.Dir(path))
		}
	}
	os.Exit(code)
}

// build makes the real program, as the Makefile does.
func build(args ...string) (string, error) {
	dir, err := os.MkdirTemp("", "nines-entry-test")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "nines-init")
	cmd := exec.Command("go", append(append([]string{"build", "-trimpath", "-buildvcs=false"}, args...), "-o", path, "nines/cmd/nines-init")...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, os.Chmod(dir, 0o755)
}

var binary = sync.OnceValues(func() (string, error) {
	return build("-ldflags=-s -w -X=runtime.godebugDefault=asyncpreemptoff=1 -E=nines_start")
})

// portable is what it is on processors that catch_amd64.s does not know, built
// without any of the linker's flags.
var portable = sync.OnceValues(func() (string, error) { return build("-tags=portable") })

func program(t *testing.T, which func() (string, error)) string {
	t.Helper()
	path, err := which()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// role is the command line of one of this test program's parts.
func role(t *testing.T, name string, args ...string) []string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return append([]string{self, "role:" + name}, args...)
}

// run is one nines-init with its command.
type run struct {
	t      *testing.T
	cmd    *exec.Cmd
	lines  chan string // of its stdout; closed when nobody has it open any more
	stderr *testkit.Output
	stdin  io.WriteCloser
	done   chan struct{}
}

// start runs nines-init with these arguments.
func start(t *testing.T, args ...string) *run {
	t.Helper()
	return startAs(t, append([]string{program(t, binary)}, args...), nil)
}

// startAs runs any program, as start does. change may be nil.
func startAs(t *testing.T, argv []string, change func(*exec.Cmd)) *run {
	t.Helper()
	r := &run{t: t, cmd: exec.Command(argv[0], argv[1:]...), lines: make(chan string, 4096), stderr: &testkit.Output{}, done: make(chan struct{})}
	r.cmd.SysProcAttr = &syscall.SysProcAttr{}
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.cmd.Stdout = in
	r.cmd.Stderr = r.stderr
	r.cmd.WaitDelay = time.Millisecond // what outlives it may have stderr
	if r.stdin, err = r.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(r.cmd)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in.Close()
	go func() {
		defer close(r.lines)
		defer out.Close()
		for s := bufio.NewScanner(out); s.Scan(); {
			r.lines <- s.Text()
		}
	}()
	go func() {
		defer close(r.done)
		// Its status is in ProcessState.
		_ = r.cmd.Wait()
	}()
	t.Cleanup(func() {
		r.stdin.Close()
		if err := r.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Error(err)
		}
		<-r.done
		if t.Failed() {
			t.Logf("%q said:\n%s", argv, r.stderr)
		}
	})
	return r
}

// line is the next line of stdout, "" at its end.
func (r *run) line() string {
	r.t.Helper()
	select {
	case l := <-r.lines:
		return l
	case <-time.After(patience):
		r.t.Fatalf("nothing on stdout:\n%s", r.stderr)
		return ""
	}
}

func (r *run) says(want string) {
	r.t.Helper()
	if got := r.line(); got != want {
		r.t.Fatalf("stdout has %q, want %q", got, want)
	}
}

// number is a line that is a number.
func (r *run) number() int {
	r.t.Helper()
	l := r.line()
	n, err := strconv.Atoi(l)
	if err != nil {
		r.t.Fatalf("%q is no number", l)
	}
	return n
}

func (r *run) signal(sig syscall.Signal) {
	r.t.Helper()
	if err := r.cmd.Process.Signal(sig); err != nil {
		r.t.Fatal(err)
	}
}

// ends waits for the end and checks the exit code.
func (r *run) ends(code int) {
	r.t.Helper()
	select {
	case <-r.done:
	case <-time.After(patience):
		r.t.Fatal("it does not end")
	}
	if got := r.cmd.ProcessState.ExitCode(); got != code {
		r.t.Errorf("exit code %d (%v), want %d:\n%s", got, r.cmd.ProcessState, code, r.stderr)
	}
}

// silent waits until nobody has its stdout any more.
func (r *run) silent() {
	r.t.Helper()
	if l := r.line(); l != "" {
		r.t.Errorf("stdout has %q", l)
	}
}

// until waits for a condition that nothing announces.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// state is a process's state letter and its parent, "" if it is gone.
func state(pid int) (letter string, parent int) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return "", 0
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	parent, err = strconv.Atoi(fields[1])
	if err != nil {
		panic(err)
	}
	return fields[0], parent
}

func alive(pid int) bool {
	letter, _ := state(pid)
	return letter != "" && letter != "Z" && letter != "X"
}

// children counts the children of a process, and the zombies among them.
func children(t *testing.T, pid int) (all, zombies int) {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		n, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			t.Fatal(err)
		}
		if letter, parent := state(n); parent == pid && letter != "" {
			all++
			if letter == "Z" {
				zombies++
			}
		}
	}
	return all, zombies
}

// inPIDNamespace makes the program PID 1 of a namespace.
func inPIDNamespace(c *exec.Cmd) {
	c.SysProcAttr.Cloneflags = unix.CLONE_NEWPID
	if os.Geteuid() != 0 {
		c.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
	}
}
