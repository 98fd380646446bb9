package cmd_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"nines/ipc"
)

// TestAttackedSocket: while hostile callers do all that attacks lists, first as
// somebody who may only read and then as the owner, a service that is killed
// is started again about as soon as before, root is answered, commands are
// carried out, and the supervisor's memory and descriptors are bounded. Its
// limit of open files is so low that the attackers alone could use it up.
func TestAttackedSocket(t *testing.T) {
	const files = 256
	r, spawned := attackedRun(t, files)
	supervisor := status(t, r).Supervisor.PID
	calm := respawns(t, spawned)
	t.Logf("unattacked: %v", calm)

	uids := []int{os.Getuid()}
	if os.Getuid() == 0 {
		uids = []int{65534, 0}
	}
	for _, uid := range uids {
		t.Run("uid "+strconv.Itoa(uid), func(t *testing.T) {
			stop := startAttackers(t, r, uid)
			defer stop()
			attacked := respawns(t, spawned)
			t.Logf("attacked: %v; %d descriptors, %d MiB", attacked, openOf(t, supervisor), resident(t, supervisor)>>20)
			// Both were measured on the same machine just now. An attacked
			// supervisor shares it with the attackers, so some delay is theirs.
			if most := 25*calm.median + 100*time.Millisecond; attacked.median > most {
				t.Errorf("a killed service was started after %v, at most %v expected", attacked.median, most)
			}
			if n := openOf(t, supervisor); n > files*3/4 {
				t.Errorf("the supervisor has %d descriptors open, of %d", n, files)
			}
			if b := resident(t, supervisor); b > 128<<20 {
				t.Errorf("the supervisor has %d MiB", b>>20)
			}
			if uid == 0 || uid == os.Getuid() {
				return // the owner may take all connections there are
			}
			begin := time.Now()
			st, err := r.client().Status(t.Context())
			if err != nil || st.Supervisor.PID != supervisor {
				t.Errorf("root asks for the status: %v", err)
			}
			if _, err := r.client().Do(t.Context(), "other", ipc.VerbRestart, ipc.Command{}); err != nil {
				t.Errorf("root restarts a service: %v", err)
			}
			t.Logf("root was answered, twice, in %v", time.Since(begin))
		})
	}
	waitFor(t, "all is as before", func() error {
		st, err := r.client().Status(t.Context())
		if err == nil && st.Supervisor.PID != supervisor {
			err = errors.New("the supervisor is another")
		}
		if err == nil && st.Services[0].State != "running" {
			err = fmt.Errorf("web is %s", st.Services[0].State)
		}
		return err
	})
	if strings.Contains(r.out.String(), "panic") {
		t.Errorf("it panicked:\n%s", r.out.String())
	}
}

// TestThousandsOfCommands: what one caller queues is bounded, and holds up
// neither the services nor the shutdown.
func TestThousandsOfCommands(t *testing.T) {
	r, spawned := attackedRun(t, 4096)
	calm := respawns(t, spawned)
	refused := 0
	for range 3000 {
		// "stubborn" takes long to stop: whatever is asked of it is under way.
		_, err := r.client().Do(t.Context(), "stubborn", ipc.VerbRestart, ipc.Command{NoWait: true})
		var e *ipc.Error
		switch {
		case errors.As(err, &e) && e.Code == ipc.CodeBusy:
			refused++
		case err != nil && !errors.As(err, &e):
			t.Fatal(err)
		}
	}
	attacked := respawns(t, spawned)
	t.Logf("%d of 3000 commands refused; a killed service is back after %v, before it was %v", refused, attacked, calm)
	if most := 25*calm.median + 100*time.Millisecond; attacked.median > most {
		t.Errorf("a killed service was started after %v, at most %v expected", attacked.median, most)
	}
	if b := resident(t, status(t, r).Supervisor.PID); b > 128<<20 {
		t.Errorf("the supervisor has %d MiB", b>>20)
	}
}

const attackedSpec = `
supervisor {
  shutdown_timeout = "2s"
  control {
    mode = "0666"
  }
}
service "web" {
  command   = ["sh", "-c", "echo $$ >spawned; exec sleep 100000"]
  directory = env.WORK
  restart {
    delay     = "1ms"
    max_delay = "1ms"
    jitter    = 0
  }
  crash_loop {
    failures = 1000
    within   = "1s"
  }
}
service "other" {
  command = ["sleep", "100000"]
}
service "stubborn" {
  command = ["sh", "-c", "trap '' TERM; while :; do sleep 100; done"]
  stop {
    timeout = "2m"
  }
}
`

// attackedRun starts nines with a limit of open files. Of each process of web
// the pid comes through the pipe that is returned.
func attackedRun(t *testing.T, files int) (*running, *bufio.Reader) {
	t.Helper()
	dir, err := os.MkdirTemp("", "nines")
	if err != nil {
		t.Fatal(err)
	}
	r := &running{dir: dir, bin: binaries(t)}
	t.Cleanup(func() { r.cleanUp(t) })
	err = errors.Join(os.Chmod(dir, 0o711), os.WriteFile(dir+"/nines.hcl", []byte(attackedSpec), 0o644), syscall.Mkfifo(dir+"/spawned", 0o600))
	if err != nil {
		t.Fatal(err)
	}
	// Open for writing too: there is never an end of file.
	pipe, err := os.OpenFile(dir+"/spawned", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pipe.Close() })
	limit := strconv.Itoa(files)
	r.cmd = exec.Command("prlimit", "--nofile="+limit+":"+limit, "--", r.bin+"/nines-init", "-f", dir+"/nines.hcl")
	r.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir, "WORK=" + dir,
		"NINES_RUNTIME_DIR=" + dir + "/run", "NINES_STATE_DIR=" + dir + "/state", "NINES_LOG_DIR=" + dir + "/log"}
	r.cmd.Stdout, r.cmd.Stderr = &r.out, &r.out
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.done = make(chan error, 1)
	go func() { r.done <- r.cmd.Wait() }()
	waitFor(t, "all is up", func() error { return allUp(r, 0) })
	return r, bufio.NewReader(pipe)
}

// latency is what it takes from a kill to the next process of the service.
type latency struct{ median, worst time.Duration }

func (l latency) String() string { return fmt.Sprintf("median %v, worst %v", l.median, l.worst) }

// respawns kills web again and again.
func respawns(t *testing.T, spawned *bufio.Reader) latency {
	t.Helper()
	pid := 0
	next := func() {
		line, err := spawned.ReadString('\n')
		if err == nil {
			pid, err = strconv.Atoi(strings.TrimSpace(line))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	next() // the first, or who follows the last one killed here
	var took []time.Duration
	for range 101 {
		begin := time.Now()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		next()
		took = append(took, time.Since(begin))
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	slices.Sort(took)
	return latency{took[len(took)/2], took[len(took)-1]}
}

// startAttackers runs hostile callers as uid, and returns once they are at it.
func startAttackers(t *testing.T, r *running, uid int) (stop func()) {
	t.Helper()
	// The go command builds the test binary in a folder of its own.
	program := filepath.Join(r.dir, "attacker-"+strconv.Itoa(uid))
	if err := copyFile("/proc/self/exe", program); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	// Nice: it is not their use of the processor that is to be measured.
	cmd := exec.CommandContext(ctx, "nice", "-n", "19", program)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), asAttacker + "=" + r.dir + "/run/control.sock 800"}
	cmd.Dir = "/"
	cmd.Stderr = os.Stderr
	if uid != os.Getuid() {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "attacking\n" {
		t.Fatalf("%q, %v", line, err)
	}
	return func() {
		cancel()
		// It is killed: that is the error.
		_ = cmd.Wait()
	}
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

func openOf(t *testing.T, pid int) int {
	t.Helper()
	d, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(d)
}

// resident is how many bytes of memory a process has.
func resident(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(b))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}
