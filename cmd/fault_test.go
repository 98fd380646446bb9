package cmd_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"nines/ipc"
)

// TestKillPoints ends the supervisor at each point of a start and of an exit,
// by a hook that only this build has, and looks at what the next one makes of
// it: one process in the slot, started once more than it exited, and no exit
// status lost.
func TestKillPoints(t *testing.T) {
	bin := binaries(t)
	faulty, err := faultyOnce()
	if err != nil {
		t.Fatal(err)
	}
	starts := []string{"before-intent", "after-intent", "before-clone", "after-clone", "before-known"}
	exits := []string{"exit-peeked", "exit-told", "exit-reaped"}
	for _, level := range []string{"core", "none"} {
		for _, point := range append(starts, exits...) {
			t.Run(level+"/"+point, func(t *testing.T) {
				t.Parallel()
				killPoint(t, bin, faulty, killPointSpec, level, point, strings.HasPrefix(point, "exit-"))
			})
		}
	}
	// nines-exec has nobody to tell how far it got, and goes on.
	t.Run("core/after-clone/shim", func(t *testing.T) {
		t.Parallel()
		killPoint(t, bin, faulty, strings.Replace(killPointSpec, "  env =", "  umask = \"0022\"\n  env =", 1), "core", "after-clone", false)
	})
	// It had ended when the supervisor died, which had not told of its pid: the
	// cgroup tells whose it was.
	for _, point := range []string{"after-clone", "before-known"} {
		t.Run("core/"+point+"/ended", func(t *testing.T) {
			t.Parallel()
			killPoint(t, bin, faulty, killPointSpec, "core", point, true)
		})
	}
}

// The service writes a line for each start. With EXIT=1 it exits 7 at its first
// start, at once, or with "known" when there is a file of that name; so the second
// is the one that stays.
const killPointSpec = `
service "one" {
  command = ["sh", "-c", "echo $$ >>starts; if test $EXIT != 0 && test $(wc -l <starts) = 1; then while test $EXIT = known && ! test -e known; do sleep 0.01; done; exit 7; fi; exec sleep 100000"]
  directory = env.WORK
  env = {
    EXIT = env.EXIT
  }
  restart {
    delay = "10ms"
  }
}
`

// faultyRig is a folder of its own with a nines that ends at a point.
func faultyRig(t *testing.T, bin, faulty string) *running {
	t.Helper()
	dir, err := os.MkdirTemp("", "nines")
	if err != nil {
		t.Fatal(err)
	}
	r := &running{dir: dir, bin: bin}
	t.Cleanup(func() { r.cleanUp(t) })
	// It finds its companions beside itself.
	for _, name := range []string{"nines-init", "nines-log", "nines-exec"} {
		if err := os.Symlink(bin+"/"+name, dir+"/"+name); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(faulty, dir+"/nines"); err != nil {
		t.Fatal(err)
	}
	return r
}

// startFaulty starts nines-init over it, with the folder's nines.hcl. It ends at that
// point, once, when there is a file named once.
func (r *running) startFaulty(t *testing.T, point string, env ...string) {
	t.Helper()
	r.cmd = exec.Command(r.bin+"/nines-init", "-f", r.dir+"/nines.hcl", "--supervisor", r.dir+"/nines")
	r.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + r.dir, "TMPDIR=" + r.dir,
		"NINES_FAULT=" + point, "NINES_FAULT_ONCE=" + r.dir + "/once",
		"NINES_RUNTIME_DIR=" + r.dir + "/run", "NINES_STATE_DIR=" + r.dir + "/state", "NINES_LOG_DIR=" + r.dir + "/log"}, env...)
	r.cmd.Stdout, r.cmd.Stderr = &r.out, &r.out
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.done = make(chan error, 1)
	go func() { r.done <- r.cmd.Wait() }()
}

func killPoint(t *testing.T, bin, faulty, spec, level, point string, exit bool) {
	r := faultyRig(t, bin, faulty)
	dir := r.dir
	for file, text := range map[string]string{"nines.hcl": spec, "once": "x"} {
		if err := os.WriteFile(dir+"/"+file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	does := "0"
	// Without cgroups, what ends before its pid is known is nobody's, and its
	// status is lost: there it is known first.
	known := exit && level == "none"
	switch {
	case known:
		does = "known"
	case exit:
		does = "1"
	}
	env := []string{"WORK=" + dir, "EXIT=" + does}
	if level == "none" {
		env = append(env, "NINES_CGROUP=/cgroup.procs")
	}
	r.startFaulty(t, point, env...)
	if known {
		waitFor(t, "it is known", func() error {
			st, err := r.client().Status(t.Context())
			if err == nil && st.Services[0].Instances[0].PID == 0 {
				err = errors.New("it has no pid")
			}
			return err
		})
		if err := os.WriteFile(dir+"/known", nil, 0o644); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the supervisor died at "+point, func() error {
			if _, err := os.Stat(dir + "/once"); err == nil {
				return errors.New("it has not")
			}
			return nil
		})
	}
	waitFor(t, "the supervisor died at "+point+" and all is up", func() error { return allUp(r, 1) })
	if _, err := os.Stat(dir + "/once"); err == nil {
		t.Fatalf("it did not die at %s", point)
	}
	// That an exec succeeded does not say that the shell has written its line.
	var in ipc.Instance
	var lines []string
	waitFor(t, "the instance has told of its start", func() error {
		in = status(t, r).Services[0].Instances[0]
		b, err := os.ReadFile(dir + "/starts")
		if lines = strings.Fields(string(b)); err == nil && (len(lines) == 0 || lines[len(lines)-1] != strconv.Itoa(in.PID)) {
			err = fmt.Errorf("started: %v; the instance has pid %d", lines, in.PID)
		} else if err == nil && exit && in.LastExit == nil {
			err = errors.New("no exit is known")
		}
		return err
	})
	// A process that was cloned when the supervisor died is adopted where its
	// cgroup tells which it is; else it was ended and started again.
	most := 1
	if exit || level == "none" && (point == "after-clone" || point == "before-known") {
		most = 2
	}
	if len(lines) > most {
		t.Errorf("started %v, at most %d expected\n%s", lines, most, r.out.String())
	}
	if !exit && most == 1 && in.Restarts != 0 {
		t.Errorf("%d restarts, want none: it had not ended\n%s", in.Restarts, r.out.String())
	}
	if exit {
		if in.LastExit == nil || in.LastExit.Reason != "exited" || in.LastExit.Code != 7 {
			t.Errorf("the last exit is %+v, want exited with 7\n%s", in.LastExit, r.out.String())
		}
		if in.Restarts != 1 {
			t.Errorf("%d restarts, want 1", in.Restarts)
		}
	}
	if err := r.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	select {
	case <-r.done:
	case <-time.After(patience):
		t.Fatalf("nines-init does not end\n%s", r.out.String())
	}
	r.cmd = nil
	if left := r.marked(); len(left) > 0 {
		t.Errorf("pids %v are left", left)
	}
}
