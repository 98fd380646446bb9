package cmd_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"nines/ipc"
	"nines/testdata/testkit"
)

// TestPIDNamespace is PID 1 without any container runtime: unshare alone, in
// the machine's own filesystem, and in one that is empty but for our programs.
func TestPIDNamespace(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("skipped: needs root to make namespaces")
	}
	if _, err := exec.LookPath("unshare"); err != nil {
		t.Skip("skipped: unshare is not installed")
	}
	spec := sleeper + `
service "env" {
  command = ["/misbehave", "env"]
}
`
	t.Run("with proc", func(t *testing.T) {
		t.Parallel()
		n := unshare(t, spec, "/run/nines", func(root string) []string {
			return []string{"-mpf", "--mount-proc=" + root + "/proc", "chroot", root}
		})
		n.ready()
		st, err := n.client.Status(context.Background())
		if err != nil || st.Supervisor.KeeperPID != 1 {
			t.Errorf("status: %+v, %v", st, err)
		}
		n.says("GREETING=from outside")
		n.stop()
	})
	// No /proc, no /dev, no HOME: what needs them says so, and the rest runs.
	t.Run("nothing mounted", func(t *testing.T) {
		t.Parallel()
		n := unshare(t, spec, "/run/nines", func(root string) []string { return []string{"-mpf", "chroot", root} })
		n.ready()
		st, err := n.client.Status(context.Background())
		if err != nil || !strings.Contains(strings.Join(st.Supervisor.Warnings, "\n"), "cannot read /proc/self/cgroup") {
			t.Errorf("status: %+v, %v", st, err)
		}
		n.says("GREETING=from outside")
		n.stop()
	})
	t.Run("another user", func(t *testing.T) {
		t.Parallel()
		n := unshare(t, spec, "/tmp/nines-1000", func(root string) []string {
			return []string{"-mpf", "--mount-proc=" + root + "/proc", "chroot", "--userspec=1000:1000", root}
		})
		n.ready()
		n.says("logs are not written to files")
		n.says("GREETING=from outside")
		n.stop()
	})
}

// namespace is a nines-init that unshare runs.
type namespace struct {
	t      *testing.T
	cmd    *exec.Cmd
	out    testkit.Output
	done   chan struct{}
	client *ipc.Client
}

// unshare starts nines-init as PID 1 of a namespace, whose runtime directory is
// to be runtime there; args says how, given the root filesystem.
func unshare(t *testing.T, spec, runtime string, args func(root string) []string) *namespace {
	t.Helper()
	// Short: the socket's path is used from outside.
	root, err := os.MkdirTemp("", "nines")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	b := box{scratch: true, spec: spec}
	b.rootFS(t, root)
	n := &namespace{t: t, done: make(chan struct{}), client: ipc.NewClient(filepath.Join(root, runtime, "control.sock"))}
	n.cmd = exec.Command("unshare", append(append([]string{"--kill-child"}, args(root)...), "/nines-init", "-f", "/nines.hcl")...)
	n.cmd.Env = []string{"GREETING=from outside", "PATH=" + os.Getenv("PATH")}
	n.cmd.Stdout, n.cmd.Stderr = &n.out, &n.out
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(n.done)
		// The status is read from ProcessState.
		_ = n.cmd.Wait()
	}()
	t.Cleanup(func() {
		n.cmd.Process.Kill() // --kill-child ends PID 1, and that all
		<-n.done
		if t.Failed() {
			t.Logf("it said:\n%s", n.out.String())
		}
	})
	return n
}

func (n *namespace) until(what string, ok func() error) {
	n.t.Helper()
	waitFor(n.t, what, func() error {
		err := ok()
		select {
		case <-n.done:
			if err != nil {
				n.t.Fatalf("waiting until %s: %v: it ended (%v)", what, err, n.cmd.ProcessState)
			}
		default:
		}
		return err
	})
}

func (n *namespace) ready() {
	n.t.Helper()
	n.until("all is running", func() error {
		st, err := n.client.Status(context.Background())
		if err != nil {
			return err
		}
		for _, s := range st.Services {
			if s.State != "running" {
				return fmt.Errorf("%s is %s (%s)", s.Name, s.State, s.Reason)
			}
		}
		return nil
	})
}

func (n *namespace) says(text string) {
	n.t.Helper()
	n.until(fmt.Sprintf("it says %q", text), func() error {
		if !strings.Contains(n.out.String(), text) {
			return errors.New("it does not")
		}
		return nil
	})
}

// stop sends SIGTERM to PID 1 from outside.
func (n *namespace) stop() {
	n.t.Helper()
	pids := children(n.cmd.Process.Pid)
	if len(pids) != 1 {
		n.t.Fatalf("unshare has children %v", pids)
	}
	if err := syscall.Kill(pids[0], syscall.SIGTERM); err != nil {
		n.t.Fatal(err)
	}
	select {
	case <-n.done:
	case <-time.After(patience):
		n.t.Fatal("it does not end")
	}
	if code := n.cmd.ProcessState.ExitCode(); code != 0 {
		n.t.Errorf("it ended with %d", code)
	}
}
