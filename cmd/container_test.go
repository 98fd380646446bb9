package cmd_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// TestContainer runs nines-init as the entrypoint of real containers, with what
// an engine or Kubernetes may take away: the shell and /etc, root, a writable
// root filesystem, /run, cgroups, tasks. Every one of them is looked at as a
// user would: `nines` by exec inside, the container's output, its exit status.
func TestContainer(t *testing.T) {
	needContainers(t)
	all := &containers{}
	for name, test := range map[string]func(*testing.T, *containers){
		"scratch":          inScratch,
		"shell":            withShell,
		"another user":     asAnotherUser,
		"read-only":        readOnly,
		"nothing writable": nothingWritable,
		"no place at all":  noPlace,
		"cgroup v1":        cgroupV1,
		"cgroup delegated": cgroupDelegated,
		"essential":        essential,
		"grace period":     gracePeriod,
		"few tasks":        fewTasks,
		"enough tasks":     enoughTasks,
		"upgrade":          upgradeInContainer,
		"one command":      oneCommand,
		"terminal":         terminal,
		"wrong spec":       wrongSpec,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, all)
		})
	}
}

// sleeper is a spec of a service that needs nothing from the image.
const sleeper = `
service "main" {
  command = ["/misbehave", "slow-term", "0s"]
}
`

func inScratch(t *testing.T, all *containers) {
	c := box{scratch: true, env: []string{"GREETING=from outside"}, spec: `
service "env" {
  command = ["/misbehave", "env"]
}
service "web" {
  command   = ["/misbehave", "http"]
  instances = 2
  port "http" {}
}
service "alone" {
  command     = ["/misbehave", "env"]
  inherit_env = false
}
`}.run(t, all)
	c.ready()
	c.says("env/0")
	c.says("| GREETING=from outside")
	if out := c.std.String(); !strings.Contains(out, "| GREETING=from outside") || strings.Contains(out, "supervisor_started") {
		t.Errorf("on stdout are not the services' lines alone:\n%s", out)
	}
	st := c.status()
	if st.Supervisor.KeeperPID != 1 || st.Supervisor.Cgroups != "none" || len(st.Services) != 3 {
		t.Errorf("status: %+v", st)
	}
	if n := strings.Count(c.mustExec("/nines", "logs", "env", "alone"), "GREETING=from outside"); n != 1 {
		t.Errorf("GREETING is in %d environments, want that of env/0 alone", n)
	}
	c.mustExec("/nines", "restart", "web")
	c.stop()
	if !strings.Contains(c.out.String(), "shutdown") {
		t.Errorf("it does not say that it shuts down:\n%s", c.out.String())
	}
}

func withShell(t *testing.T, all *containers) {
	c := box{spec: `
service "storm" {
  command = ["sh", "-c", "(for i in $(seq 300); do sleep 0.2 & done); echo stormed; exec sleep 1000"]
}
service "app" {
  user    = "app"
  command = ["sh", "-c", "id -u >/dev/stdout; exec sleep 1000"]
}
service "first" {
  command = ["sh", "-c", "trap 'echo first ends; exit' TERM; echo first runs; while :; do sleep 0.05; done"]
}
service "second" {
  needs   = ["first"]
  command = ["sh", "-c", "trap 'echo second ends; exit' TERM; echo second runs; while :; do sleep 0.05; done"]
}
`}.run(t, all)
	c.ready()
	c.says("stormed")
	c.until("no orphan and no zombie is left", func() error {
		out := c.mustExec("/bin/sh", "-c", "cat /proc/[0-9]*/stat 2>/dev/null; true")
		if n := strings.Count(out, ") Z "); n > 0 {
			return fmt.Errorf("%d zombies", n)
		}
		if n := strings.Count(out, "(sleep) S 1 "); n > 0 {
			return fmt.Errorf("%d orphans", n)
		}
		return nil
	})
	c.says("second runs")
	c.says("| 1000\n")
	c.stop()
	out := c.out.String()
	if a, b := strings.Index(out, "second ends"), strings.Index(out, "first ends"); a < 0 || b < a {
		t.Errorf("not stopped in order:\n%s", out)
	}
}

// userSpec asks who its service is, and leaves a word where it may write.
const userSpec = `
service "who" {
  command = ["sh", "-c", "id -u; exec sleep 1000"]
}
`

func asAnotherUser(t *testing.T, all *containers) {
	c := box{uid: 1000, spec: userSpec}.run(t, all)
	c.ready()
	c.says("who/0 | 1000")
	c.says("lines are lost from files") // /home/app is not there, and / not his
	if out := c.mustExec("/nines", "logs", "who"); !strings.Contains(out, "1000") {
		t.Errorf("nines logs: %q", out)
	}
	c.stop()
}

func readOnly(t *testing.T, all *containers) {
	// The spec alone is larger than /run, where a copy of it is to be kept.
	big := userSpec + "\n" + strings.Repeat("# "+strings.Repeat("x", 98)+"\n", 1000)
	c := box{readOnly: true, tmpfs: map[string]string{"/run": "mode=755,size=64k"}, spec: big}.run(t, all)
	c.ready()
	c.says("who/0 | 0")
	c.says("no space left on device")
	c.says("read-only file system: lines are lost from files")
	before := c.status()
	c.mustExec("/bin/kill", "-9", strconv.Itoa(before.Supervisor.PID))
	c.until("there is another supervisor", func() error {
		out, err := c.exec("/nines", "status", "--json")
		if err == nil && !strings.Contains(out, `"restarts": 1`) && !strings.Contains(out, `"restarts":1`) {
			err = errors.New(out)
		}
		return err
	})
	if a, b := before.Services[0].Instances[0].PID, c.status().Services[0].Instances[0].PID; a != b {
		t.Errorf("the service's pid was %d, is %d", a, b)
	}
	if out := c.mustExec("/nines", "logs", "who"); out != "0\n" {
		t.Errorf("nines logs: %q", out)
	}
	c.mustExec("/nines", "restart", "who")
	c.stop()
}

// Kubernetes with readOnlyRootFilesystem, runAsNonRoot and no volume: all that
// can be written to is /dev/shm.
func nothingWritable(t *testing.T, all *containers) {
	for name, uid := range map[string]int{"root": 0, "another user": 1000} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := box{readOnly: true, uid: uid, scratch: true, spec: sleeper}.run(t, all)
			c.ready()
			c.says(fmt.Sprintf("/dev/shm/nines-%d", uid))
			c.mustExec("/nines", "restart", "main")
			c.stop()
		})
	}
}

func noPlace(t *testing.T, all *containers) {
	c := box{readOnly: true, uid: 1000, scratch: true, spec: sleeper, noShm: true}.run(t, all)
	c.end(1)
	c.says("cannot make the runtime directory /tmp/nines-1000: read-only file system")
	c.says("--runtime-dir")
}

func cgroupV1(t *testing.T, all *containers) {
	c := box{cgroups: "v1", spec: sleeper}.run(t, all)
	c.ready()
	if st := c.status(); st.Supervisor.Cgroups != "none" || len(st.Supervisor.Warnings) == 0 {
		t.Errorf("supervisor: %+v", st.Supervisor)
	}
	c.stop()
}

func cgroupDelegated(t *testing.T, all *containers) {
	c := box{cgroups: "delegated", spec: sleeper}.run(t, all)
	c.ready()
	st := c.status()
	if st.Supervisor.Cgroups == "none" || st.Services[0].Instances[0].Cgroup == "" {
		t.Errorf("supervisor: %+v, instance in %q", st.Supervisor, st.Services[0].Instances[0].Cgroup)
	}
	c.stop()
}

func essential(t *testing.T, all *containers) {
	for name, tc := range map[string]struct {
		command string
		code    int
	}{
		"exit code": {`["/misbehave", "exit", "7", "100ms"]`, 7},
		"signal":    {`["/misbehave", "crash", "SEGV", "100ms"]`, 139},
		"not found": {`["/no/such"]`, 127},
		"done":      {`["/misbehave", "exit", "0", "100ms"]`, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := box{scratch: true, spec: sleeper + `
service "job" {
  essential = true
  command   = ` + tc.command + `
  restart {
    policy = "never"
  }
}
`}.run(t, all)
			c.end(tc.code)
		})
	}
}

// What ignores SIGTERM is killed, and the container ends before the engine
// would kill it.
func gracePeriod(t *testing.T, all *containers) {
	c := box{scratch: true, spec: `
supervisor {
  shutdown_timeout = "1s"
}
service "deaf" {
  command = ["/misbehave", "ignore-term"]
  stop {
    timeout = "1h"
  }
}
`}.run(t, all)
	c.ready()
	c.says("misbehave ignore-term")
	c.stop()
}

func fewTasks(t *testing.T, all *containers) {
	for name, cgroups := range map[string]string{"hidden": "", "told": "v1"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tooFewTasks(box{scratch: true, pids: 16, cgroups: cgroups, spec: sleeper}.run(t, all))
		})
	}
}

func tooFewTasks(c *container) {
	c.t.Helper()
	c.end(1)
	c.says("are needed to supervise one service: raise it to 64 or more")
	if out := c.out.String(); strings.Contains(out, "goroutine") {
		c.t.Errorf("it ends with a dump:\n%s", out)
	}
}

// One command alone is content with them.
func oneCommand(t *testing.T, all *containers) {
	c := box{scratch: true, pids: 16, readOnly: true, noShm: true, uid: 1000, args: []string{"/nines-init", "--", "/misbehave", "exit", "3"}}.run(t, all)
	c.end(3)
}

func enoughTasks(t *testing.T, all *containers) {
	c := box{scratch: true, pids: 64, spec: sleeper}.run(t, all)
	c.ready()
	c.mustExec("/nines", "restart", "main")
	c.stop()
}

func terminal(t *testing.T, all *containers) {
	c := box{terminal: true, spec: `
service "tty" {
  command = ["sh", "-c", "if test -t 0 || test -t 1; then echo on a terminal; else echo on a pipe; fi; exec sleep 1000"]
}
`}.run(t, all)
	c.ready()
	c.says("on a pipe")
	// Ctrl-C reaches PID 1 alone, and is an orderly end.
	if _, err := c.tty.Write([]byte{3}); err != nil {
		t.Fatal(err)
	}
	c.end(0)
	c.says("shutting down: SIGINT")
}

func wrongSpec(t *testing.T, all *containers) {
	c := box{scratch: true, spec: "service \"main\" {\n  comand = [\"/misbehave\"]\n}\n"}.run(t, all)
	c.end(1)
	c.says("/nines.hcl:2:3: error")
}

// PID 1 becomes another program, with no more tasks than it had, and the rest of
// the container does not notice.
func upgradeInContainer(t *testing.T, all *containers) {
	c := box{scratch: true, pids: 64, spec: sleeper}.run(t, all)
	c.ready()
	pid := c.status().Services[0].Instances[0].PID
	for range 3 {
		c.mustExec("/nines", "upgrade", "/nines-init", "--keeper")
		c.mustExec("/nines", "upgrade", "/nines", "--probation", "100ms")
	}
	st := c.status()
	if now := st.Services[0].Instances[0].PID; now != pid || st.Supervisor.Restarts != 0 || st.Supervisor.KeeperPID != 1 {
		t.Errorf("pid %d became %d; %+v", pid, now, st.Supervisor)
	}
	c.mustExec("/nines", "restart", "main") // it still starts and reaps
	c.stop()
}
