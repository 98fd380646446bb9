package cmd_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// TestManyAdopted kills the supervisor of NINES_MANY instances (500): the next
// one has all of them handed back, disturbs none and starts none.
func TestManyAdopted(t *testing.T) {
	n := envInt(t, "NINES_MANY", 500)
	long := time.Minute + time.Duration(n)*20*time.Millisecond
	bin := binaries(t)
	dir, err := os.MkdirTemp("", "nines")
	if err != nil {
		t.Fatal(err)
	}
	r := &running{dir: dir, bin: bin}
	t.Cleanup(func() { r.cleanUp(t) })
	text := fmt.Sprintf(`
service "many" {
  command   = ["sleep", "100000"]
  instances = %d
}
supervisor {
  shutdown_timeout = "10m"
}
`, n)
	if err := os.WriteFile(dir+"/nines.hcl", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	r.cmd = exec.Command(bin+"/nines-init", "-f", dir+"/nines.hcl")
	r.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir,
		"NINES_RUNTIME_DIR=" + dir + "/run", "NINES_STATE_DIR=" + dir + "/state", "NINES_LOG_DIR=" + dir + "/log"}
	r.cmd.Stdout, r.cmd.Stderr = &r.out, &r.out
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.done = make(chan error, 1)
	go func() { r.done <- r.cmd.Wait() }()
	began := time.Now()
	// Once a second: to ask for all of them is work too.
	all := func(restarts int) {
		t.Helper()
		deadline := time.Now().Add(long)
		for {
			err := allUp(r, restarts)
			if err == nil {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("waited %s: %v\n%s", long, err, r.out.String())
			}
			<-time.After(time.Second)
		}
	}
	all(0)
	t.Logf("%d instances up after %s", n, time.Since(began).Round(time.Second))
	before := steadyPIDs(t, r)
	if len(before) != n {
		t.Fatalf("%d instances", len(before))
	}
	if err := syscall.Kill(status(t, r).Supervisor.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	began = time.Now()
	all(1)
	t.Logf("adopted after at most %s", time.Since(began).Round(time.Millisecond))
	changed := 0
	for id, pid := range steadyPIDs(t, r) {
		if before[id] != pid {
			changed++
		}
	}
	if changed > 0 {
		t.Errorf("%d of %d instances have another pid\n%s", changed, n, r.out.String())
	}
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		t.Fatal("nines-init does not end")
	}
	r.cmd = nil
	if left := r.marked(); len(left) > 0 {
		t.Errorf("pids %v are left", left)
	}
}
