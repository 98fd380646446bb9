package cmd_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"nines/ipc"
)

// upgraded is a nines-init that runs a spec, and programs to upgrade to.
type upgraded struct {
	*running
	t     *testing.T
	env   []string
	pids  map[string]int // of the steady instances, when it began
	asked func()
}

const upgradeSpec = `
service "steady" {
  command   = ["sleep", "100000"]
  instances = STEADY
}
service "talk" {
  command   = ["sh", "-c", "i=1; while :; do echo $i; i=$((i+1)); sleep 0.01; done"]
  instances = 5
}
service "door" {
  command   = ["BIN/misbehave", "listen"]
  listen "s" {
    address = "unix://DIR/door"
  }
}
`

// beginUpgrades starts nines-init and somebody who asks at the listener.
func beginUpgrades(t *testing.T, steady int, more string, env ...string) *upgraded {
	t.Helper()
	bin := binaries(t)
	dir, err := os.MkdirTemp("", "nines")
	if err != nil {
		t.Fatal(err)
	}
	u := &upgraded{running: &running{dir: dir, bin: bin}, t: t}
	t.Cleanup(func() { u.cleanUp(t) })
	text := strings.NewReplacer("DIR", dir, "BIN", bin, "STEADY", fmt.Sprint(steady)).Replace(upgradeSpec + more)
	if err := os.WriteFile(dir+"/nines.hcl", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	u.env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir,
		"NINES_RUNTIME_DIR=" + dir + "/run", "NINES_STATE_DIR=" + dir + "/state", "NINES_LOG_DIR=" + dir + "/log"}, env...)
	u.cmd = exec.Command(bin+"/nines-init", "-f", dir+"/nines.hcl")
	u.cmd.Env = u.env
	u.cmd.Stdout, u.cmd.Stderr = &u.out, &u.out
	if err := u.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	u.done = make(chan error, 1)
	go func() { u.done <- u.cmd.Wait() }()
	waitFor(t, "all are up", func() error { return allUp(u.running, 0) })
	u.pids = steadyPIDs(t, u.running)
	waitFor(t, "all who talk have talked", func() error {
		for i := range 5 {
			b, err := os.ReadFile(fmt.Sprintf("%s/log/talk/%d.log", dir, i))
			if n := bytes.Count(b, []byte("\n")); err != nil || n < 10 {
				return fmt.Errorf("talk/%d has written %d lines, %v", i, n, err)
			}
		}
		return nil
	})
	u.asked = visit(t, u.running)
	return u
}

// nines runs the command, and returns its exit status and all that it printed.
func (u *upgraded) nines(args ...string) (int, string) {
	u.t.Helper()
	ctx, cancel := context.WithTimeout(u.t.Context(), 3*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, u.bin+"/nines", args...)
	cmd.Env = u.env
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		u.t.Fatalf("nines %v: %v\n%s", args, err, out)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// does wants a command to succeed.
func (u *upgraded) does(args ...string) string {
	u.t.Helper()
	code, out := u.nines(args...)
	if code != 0 {
		u.t.Fatalf("nines %v exits with %d:\n%s\n%s", args, code, out, u.out.String())
	}
	return out
}

// refused wants an upgrade to fail, say why, and leave the services be.
func (u *upgraded) refused(why string, args ...string) {
	u.t.Helper()
	code, out := u.nines(append([]string{"upgrade"}, args...)...)
	if code != 1 || !strings.Contains(out, why) {
		u.t.Errorf("nines upgrade %v exits with %d and says %q, want 1 and %q\n%s", args, code, out, why, u.out.String())
	}
	waitFor(u.t, "all are up again", func() error { return allUp(u.running, 0) })
	u.same()
}

// same wants every steady instance to be the process that it was.
func (u *upgraded) same() {
	u.t.Helper()
	now := steadyPIDs(u.t, u.running)
	for id, pid := range u.pids {
		if now[id] != pid {
			u.t.Errorf("%s: pid %d became %d", id, pid, now[id])
		}
	}
}

// events counts those of that kind whose message has the text.
func (u *upgraded) events(kind, text string) int {
	u.t.Helper()
	n := 0
	for line := range bytes.Lines([]byte(u.does("events", "--json"))) {
		var e ipc.Event
		if err := json.Unmarshal(line, &e); err != nil {
			u.t.Fatalf("%v: %s", err, line)
		}
		if e.Kind == kind && strings.Contains(e.Message, text) {
			n++
		}
	}
	return n
}

// kill ends the supervisor and waits for the next.
func (u *upgraded) killSupervisor() {
	u.t.Helper()
	before := status(u.t, u.running).Supervisor
	if err := syscall.Kill(before.PID, syscall.SIGKILL); err != nil {
		u.t.Fatal(err)
	}
	waitFor(u.t, "the supervisor is back", func() error { return allUp(u.running, before.Restarts+1) })
}

// runs wants the supervisor to be of that version.
func (u *upgraded) runs(version string) {
	u.t.Helper()
	if v := status(u.t, u.running).Supervisor.Version; v != version {
		u.t.Errorf("%s runs, want %s\n%s", v, version, u.out.String())
	}
}

// end stops all, and looks at what is left.
func (u *upgraded) end() {
	u.t.Helper()
	u.asked()
	u.same()
	if err := u.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		u.t.Fatal(err)
	}
	u.ended()
	numbers(u.t, u.dir+"/log/talk")
}

// ended waits until nines-init ends by itself.
func (u *upgraded) ended() {
	u.t.Helper()
	if err := <-u.done; err != nil {
		u.t.Errorf("nines-init: %v\n%s", err, u.out.String())
	}
	u.cmd = nil
	if left := u.marked(); len(left) > 0 {
		u.t.Errorf("pids %v are left", left)
	}
}

// program builds one of ours at dir/name; args are go build's.
func program(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", append(append([]string{"build", "-o", dir + "/" + name}, args...), "nines/cmd/"+name)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build %v: %v\n%s", args, err, out)
	}
}

// impostors makes programs that are none of ours, by folder: names.
func impostors(t *testing.T, dir string, names map[string][]string) {
	t.Helper()
	cmd := exec.Command("go", "build", "-o", dir+"/impostor", "nines/testdata/programs/impostor")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for folder, files := range names {
		for _, name := range files {
			link(t, dir+"/impostor", filepath.Join(dir, folder, name))
		}
	}
}

// link gives a file another name, in a folder that is made.
func link(t *testing.T, from, to string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(from, to); err != nil {
		t.Fatal(err)
	}
}
