package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
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
	switch role := filepath.Base(os.Args[0]); role {
	case "nines", "nines-log":
		os.Exit(fakeMain(role))
	}
	os.Exit(m.Run())
}

// buildOnce makes the real nines-init, as the Makefile does.
var buildOnce = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "nines-init-test")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "nines-init")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags=-s -w -X main.version=v1.2.3 -X=runtime.godebugDefault=asyncpreemptoff=1 -E=nines_start", "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	return os.ReadFile(path)
})

// programs makes a folder with nines-init and the two fakes, for all to run.
func programs(t *testing.T) string {
	t.Helper()
	binary, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	dir := publicDir(t)
	if err := os.WriteFile(filepath.Join(dir, "nines-init"), binary, 0o755); err != nil {
		t.Fatal(err)
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "nines"), self, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(filepath.Join(dir, "nines"), filepath.Join(dir, "nines-log")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// publicDir is t.TempDir that other users may enter.
func publicDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// world is one nines-init with its fakes.
type world struct {
	t       *testing.T
	bin     string
	runtime string
	cmd     *exec.Cmd
	control net.Listener
	stderr  *testkit.Output
	done    chan struct{}         // it has ended
	waiting map[string]chan *proc // by role
}

// proc is one fake process, seen from the test.
type proc struct {
	t          *testing.T
	role       string
	generation string
	pid, group int
	stdin      string
	runtime    string
	keeper     string // its pid, and what NOTIFY_SOCKET was left
	args       string
	control    net.Conn
	lines      chan string
}

// newWorld prepares a nines-init that is not started yet.
func newWorld(t *testing.T, args ...string) *world {
	t.Helper()
	w := &world{t: t, bin: programs(t), stderr: &testkit.Output{}, done: make(chan struct{}), waiting: map[string]chan *proc{}}
	for _, role := range []string{"nines", "nines-log"} {
		w.waiting[role] = make(chan *proc, 64)
	}
	w.runtime = filepath.Join(w.bin, "run")
	socket := filepath.Join(w.bin, "control")
	var err error
	if w.control, err = net.Listen("unix", socket); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(socket, 0o777); err != nil {
		t.Fatal(err)
	}
	go w.accept()
	w.cmd = exec.Command(filepath.Join(w.bin, "nines-init"), append([]string{"-v", "--runtime-dir", w.runtime}, args...)...)
	w.cmd.Env = append(os.Environ(), "NINES_TEST_CONTROL="+socket, "NOTIFY_SOCKET=")
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL} // if this test is killed
	w.cmd.Stderr = w.stderr
	w.cmd.Stdout = w.stderr
	t.Cleanup(w.close)
	return w
}

// start is newWorld and run.
func start(t *testing.T, args ...string) *world {
	t.Helper()
	w := newWorld(t, args...)
	w.run()
	return w
}

func (w *world) run() {
	w.t.Helper()
	if err := w.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() {
		defer close(w.done)
		// Its status is in ProcessState; I/O cannot fail in memory.
		_ = w.cmd.Wait()
	}()
}

// close ends all: the fakes end with their control sockets.
func (w *world) close() {
	if w.cmd.Process != nil {
		if err := w.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			w.t.Error(err)
		}
	}
	w.control.Close()
	if w.cmd.Process != nil {
		select {
		case <-w.done:
		case <-time.After(patience):
			w.t.Error("its output stays open")
		}
	}
	if w.t.Failed() {
		w.t.Logf("nines-init said:\n%s", w.stderr)
	}
}

func (w *world) accept() {
	var procs []*proc
	for {
		c, err := w.control.Accept()
		if err != nil {
			for _, p := range procs {
				p.control.Close()
			}
			return
		}
		p := &proc{t: w.t, control: c, lines: make(chan string, 1024)}
		procs = append(procs, p)
		go w.hear(p)
	}
}

func (w *world) hear(p *proc) {
	defer close(p.lines)
	s := bufio.NewScanner(p.control)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		line := s.Text()
		if !strings.HasPrefix(line, "hello ") {
			p.lines <- line
			continue
		}
		if _, err := fmt.Sscanf(line, "hello %s %s %d %d %q %q %q %q", &p.role, &p.generation, &p.pid, &p.group,
			&p.stdin, &p.runtime, &p.keeper, &p.args); err != nil {
			w.t.Errorf("%s: %v", line, err)
			return
		}
		w.waiting[p.role] <- p
	}
}

// next waits for the next process of that role.
func (w *world) next(role string) *proc {
	w.t.Helper()
	select {
	case p := <-w.waiting[role]:
		return p
	case <-w.done:
		w.t.Fatalf("nines-init ended (%v) before %s started:\n%s", w.cmd.ProcessState, role, w.stderr)
	case <-time.After(patience):
		w.t.Fatalf("no %s started", role)
	}
	return nil
}

// none fails if a process of that role has started.
func (w *world) none(role string) {
	w.t.Helper()
	select {
	case p := <-w.waiting[role]:
		w.t.Errorf("another %s started, pid %d", role, p.pid)
	default:
	}
}

func (w *world) both() (sup, log *proc) {
	w.t.Helper()
	return w.next("nines"), w.next("nines-log")
}

// ends waits for the end of nines-init and checks its exit code.
func (w *world) ends(code int) {
	w.t.Helper()
	select {
	case <-w.done:
	case <-time.After(patience):
		w.t.Fatal("nines-init does not end")
	}
	if got := w.cmd.ProcessState.ExitCode(); got != code {
		w.t.Errorf("exit code %d (%v), want %d", got, w.cmd.ProcessState, code)
	}
}

func (w *world) signal(sig syscall.Signal) {
	w.t.Helper()
	if err := w.cmd.Process.Signal(sig); err != nil {
		w.t.Fatal(err)
	}
}

// says waits until it has said something.
func (w *world) says(part string) {
	w.t.Helper()
	w.until("it says "+strconv.Quote(part), func() bool { return strings.Contains(w.stderr.String(), part) })
}

// until waits for a condition that nothing announces.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			w.t.Fatalf("not in time: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// descriptors is how many nines-init has open.
func (w *world) descriptors() int {
	w.t.Helper()
	names, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", w.cmd.Process.Pid))
	if err != nil {
		w.t.Fatal(err)
	}
	return len(names)
}

// status reads a number of /proc/PID/status of nines-init.
func (w *world) status(key string) int {
	w.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.cmd.Process.Pid))
	if err != nil {
		w.t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		if v, ok := strings.CutPrefix(line, key+":"); ok {
			n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(v), " kB"))
			if err != nil {
				w.t.Fatal(err)
			}
			return n
		}
	}
	w.t.Fatalf("no %s", key)
	return 0
}

// want waits for a line of the process; it may be preceded by others only if
// skip allows them.
func (p *proc) want(line string) {
	p.t.Helper()
	select {
	case got, ok := <-p.lines:
		if !ok {
			p.t.Fatalf("%s (pid %d) ended instead of %s", p.role, p.pid, line)
		}
		if got != line {
			p.t.Fatalf("%s (pid %d): %s, want %s", p.role, p.pid, got, line)
		}
	case <-time.After(patience):
		p.t.Fatalf("%s (pid %d) does not say %s", p.role, p.pid, line)
	}
}

func (p *proc) wantGot(fds int, text string) {
	p.t.Helper()
	p.want(fmt.Sprintf("got %d %q", fds, text))
}

// order gives a command and does not wait.
func (p *proc) order(format string, args ...any) {
	p.t.Helper()
	if _, err := fmt.Fprintf(p.control, format+"\n", args...); err != nil {
		p.t.Fatal(err)
	}
}

// do gives a command and waits until it is carried out.
func (p *proc) do(format string, args ...any) {
	p.t.Helper()
	p.order(format, args...)
	p.want(`done ""`)
}

func (p *proc) send(text string) {
	p.t.Helper()
	p.do("send %q", text)
}

// killed kills it and waits until it is gone.
func (p *proc) killed(sig unix.Signal) {
	p.t.Helper()
	if err := unix.Kill(p.pid, sig); err != nil {
		p.t.Fatal(err)
	}
	p.gone()
}

// gone waits for its end.
func (p *proc) gone() {
	p.t.Helper()
	for {
		select {
		case _, ok := <-p.lines:
			if !ok {
				return
			}
		case <-time.After(patience):
			p.t.Fatalf("%s (pid %d) does not end", p.role, p.pid)
		}
	}
}

// handedBack reads an empty store.
func (p *proc) handedBack() {
	p.t.Helper()
	p.wantGot(0, "X_NINES_STORE=end")
}
