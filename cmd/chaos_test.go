package cmd_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"nines/ipc"
	"nines/supervisor"
)

// TestSupervisorChaos kills the supervisor again and again, each time in
// another way and at a random moment, while 50 instances run, some crash-loop
// and some write numbered lines, and looks from outside: no steady instance
// changed its pid, no slot ever had two processes, no number is missing from
// the logs, nobody who connects to a listener is refused or left without an
// answer, no zombie is left. NINES_CHAOS_KILLS (10) says how often a level,
// NINES_CHAOS_SEED repeats a run.
func TestSupervisorChaos(t *testing.T) {
	kills := envInt(t, "NINES_CHAOS_KILLS", 10)
	seed := uint64(envInt(t, "NINES_CHAOS_SEED", int(time.Now().UnixNano()&0x7fffffff)))
	t.Logf("NINES_CHAOS_SEED=%d", seed)
	for _, level := range []string{"core", "none"} {
		t.Run(level, func(t *testing.T) { chaos(t, level, kills, rand.New(rand.NewPCG(seed, 0))) })
	}
}

const chaosSpec = `
service "steady" {
  command   = ["sleep", "100000"]
  instances = 30
}
service "talk" {
  command   = ["sh", "-c", "i=1; while :; do echo $i; i=$((i+1)); sleep 0.01; done"]
  instances = 5
}
service "door" {
  command   = ["BIN/misbehave", "listen"]
  instances = 2
  listen "s" {
    address = "unix://DIR/door"
  }
}
service "crash" {
  command   = ["sh", "-c", "sleep 0.2; exit 3"]
  instances = 15
  restart {
    delay     = "50ms"
    max_delay = "300ms"
  }
  crash_loop {
    failures = 10000
  }
}
`

func chaos(t *testing.T, level string, kills int, rng *rand.Rand) {
	bin := binaries(t)
	dir, err := os.MkdirTemp("", "nines")
	if err != nil {
		t.Fatal(err)
	}
	r := &running{dir: dir, bin: bin}
	t.Cleanup(func() { r.cleanUp(t) })
	text := strings.NewReplacer("DIR", dir, "BIN", bin).Replace(chaosSpec)
	if err := os.WriteFile(dir+"/nines.hcl", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	r.cmd = exec.Command(bin+"/nines-init", "-f", dir+"/nines.hcl")
	r.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir, "NINES_WATCHDOG=500ms",
		"NINES_RUNTIME_DIR=" + dir + "/run", "NINES_STATE_DIR=" + dir + "/state", "NINES_LOG_DIR=" + dir + "/log"}
	if level == "none" {
		r.cmd.Env = append(r.cmd.Env, "NINES_CGROUP=/cgroup.procs")
	}
	r.cmd.Stdout, r.cmd.Stderr = &r.out, &r.out
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.done = make(chan error, 1)
	go func() { r.done <- r.cmd.Wait() }()
	waitFor(t, "all are up", func() error { return allUp(r, 0) })
	before := steadyPIDs(t, r)
	mark := supervisor.Mark(dir + "/run")
	asked := visit(t, r)

	for i := range kills {
		pid := status(t, r).Supervisor.PID
		sig := []syscall.Signal{syscall.SIGKILL, syscall.SIGSEGV, syscall.SIGABRT, syscall.SIGSTOP}[rng.IntN(4)]
		// The moment is what is random; nothing depends on how long it is.
		<-time.After(time.Duration(rng.IntN(150)) * time.Millisecond)
		if err := syscall.Kill(pid, sig); err != nil && err != syscall.ESRCH { // its watchdog was sooner
			t.Fatalf("kill %d: %v", i, err)
		}
		if rng.IntN(4) == 0 {
			if log := child(r, "nines-log"); log != 0 {
				if err := syscall.Kill(log, syscall.SIGKILL); err != nil {
					t.Logf("nines-log had just ended: %v", err)
				}
			}
		}
		waitFor(t, fmt.Sprintf("the supervisor is back after %s, kill %d", sig, i), func() error { return allUp(r, i+1) })
		if twice := slotsTwice(r, mark); twice != "" {
			t.Fatalf("after kill %d (%s): two processes in one slot: %s\n%s", i, sig, twice, r.out.String())
		}
	}
	asked()
	after := steadyPIDs(t, r)
	for id, pid := range before {
		if after[id] != pid {
			t.Errorf("%s: pid %d became %d", id, pid, after[id])
		}
	}
	if z := zombies(r.cmd.Process.Pid); len(z) > 0 {
		waitFor(t, "no zombie is left", func() error {
			if z := zombies(r.cmd.Process.Pid); len(z) > 0 {
				return fmt.Errorf("zombies %v", z)
			}
			return nil
		})
	}
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-r.done:
	case <-time.After(patience):
		t.Fatalf("nines-init does not end\n%s", r.out.String())
	}
	if code := r.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("nines-init exited with %d\n%s", code, r.out.String())
	}
	r.cmd = nil
	if left := r.marked(); len(left) > 0 {
		t.Errorf("pids %v are left", left)
	}
	numbers(t, dir+"/log/talk")
}

// visit asks at the door until the returned function is called, which fails the
// test if one question was refused or not answered.
func visit(t *testing.T, r *running) (end func()) {
	t.Helper()
	cmd := exec.Command(r.bin+"/misbehave", "ask", "unix", r.dir+"/door", "until", r.dir+"/enough")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			cmd.Process.Kill()
			cmd.Wait()
		}
	})
	return func() {
		if err := os.WriteFile(r.dir+"/enough", nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil || !strings.Contains(out.String(), " lost 0 pids ") {
			t.Errorf("asking at a listener: %v\n%s", err, out.String())
		}
		t.Logf("%s", out.String())
	}
}

// allUp says whether the supervisor was restarted so often and every steady
// instance is ready.
func allUp(r *running, restarts int) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	st, err := r.client().Status(ctx)
	if err != nil {
		return err
	}
	if st.Supervisor.Restarts < restarts {
		return fmt.Errorf("restarted %d times", st.Supervisor.Restarts)
	}
	for _, s := range st.Services {
		if s.Name != "crash" && s.State != "running" {
			return fmt.Errorf("%s is %s (%s)", s.Name, s.State, s.Reason)
		}
	}
	return nil
}

// status asks until there is an answer: where the machine is busy, a supervisor's
// watchdog of half a second may end it at any moment.
func status(t *testing.T, r *running) *ipc.Status {
	t.Helper()
	var st *ipc.Status
	waitFor(t, "the supervisor answers", func() (err error) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		st, err = r.client().Status(ctx)
		return err
	})
	return st
}

func steadyPIDs(t *testing.T, r *running) map[string]int {
	t.Helper()
	pids := map[string]int{}
	for _, s := range status(t, r).Services {
		for _, in := range s.Instances {
			if s.Name != "crash" {
				pids[in.ID] = in.PID
			}
		}
	}
	return pids
}

// slotsTwice looks at the session leaders that carry our mark: two incarnations
// of one slot at once are what must never be.
func slotsTwice(r *running, mark string) string {
	seen := map[string]string{}
	for _, pid := range r.marked() {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if len(fields) < 4 || fields[0] == "Z" || fields[3] != strconv.Itoa(pid) {
			continue
		}
		env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil {
			continue
		}
		for kv := range strings.SplitSeq(string(env), "\x00") {
			name, ok := strings.CutPrefix(kv, "NINES_INCARNATION="+mark)
			if !ok {
				continue
			}
			slot := name[:strings.LastIndexByte(name, '.')]
			who := fmt.Sprintf("%s pid %d", name, pid)
			if other := seen[slot]; other != "" {
				return other + ", " + who
			}
			seen[slot] = who
		}
	}
	return ""
}

func children(pid int) []int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil
	}
	var pids []int
	for word := range strings.FieldsSeq(string(b)) {
		if n, err := strconv.Atoi(word); err == nil {
			pids = append(pids, n)
		}
	}
	return pids
}

func child(r *running, name string) int {
	for _, pid := range children(r.cmd.Process.Pid) {
		if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err == nil && filepath.Base(exe) == name {
			return pid
		}
	}
	return 0
}

func zombies(pid int) []int {
	var found []int
	for _, c := range children(pid) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c))
		if err == nil && strings.Contains(string(stat), ") Z ") {
			found = append(found, c)
		}
	}
	return found
}

// numbers checks that each log in dir counts from 1 without a gap. A log process
// that is killed may lose one buffer a pipe and says so; what a writer had in
// the pipe is never lost, so a gap is at most what one read takes.
func numbers(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(dir + "/*.log")
	if err != nil || len(files) != 5 {
		t.Fatalf("logs %v, %v", files, err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want, lines := 1, 0
		for line := range strings.Lines(string(b)) {
			_, text, _ := strings.Cut(strings.TrimSpace(line), " ")
			n, err := strconv.Atoi(text)
			if err != nil {
				continue // nines-log's own word about a loss
			}
			lines++
			if n != want {
				t.Errorf("%s: %d after %d", file, n, want-1)
			}
			want = n + 1
		}
		if lines < 10 {
			t.Errorf("%s: only %d lines", file, lines)
		}
	}
}

func envInt(t *testing.T, key string, or int) int {
	t.Helper()
	v := os.Getenv(key)
	if v == "" {
		return or
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		t.Fatalf("%s=%s: %v", key, v, err)
	}
	return n
}
