// Package testkit is what the tests of several packages need: an output that is read
// while it is written, and mounts of one's own. Only tests import it.
package testkit

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// Output is what a program has written so far; it may still be writing. Its zero
// value is ready for use.
type Output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// Pass says whether text is there, and if so lets go of all up to its end: the next
// one is looked for behind it.
func (o *Output) Pass(text string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	i := bytes.Index(o.b.Bytes(), []byte(text))
	if i >= 0 {
		o.b.Next(i + len(text))
	}
	return i >= 0
}

// envNamespace says that mounts are our own.
const envNamespace = "NINES_TESTKIT_NAMESPACE"

// InNamespace runs the test again in a mount namespace of its own (and where that
// needs root, in a user namespace), and says whether this is it: where it is not,
// the test has been run, and returns.
func InNamespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv(envNamespace) != "" {
		if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
			t.Fatalf("cannot make the mounts private: %v", err)
		}
		return true
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$", "-test.v")
	cmd.Env = append(os.Environ(), envNamespace+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	switch {
	case err != nil && cmd.ProcessState == nil:
		t.Skipf("skipped: cannot make a mount namespace: %v", err)
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	case bytes.Contains(out, []byte("--- SKIP")):
		t.Skipf("skipped: %s", out)
	case !bytes.Contains(out, []byte("--- PASS")):
		t.Errorf("it did not run:\n%s", out)
	}
	return false
}

// Mount mounts a filesystem of that kind on dir until the test ends.
func Mount(t *testing.T, dir, kind, options string) {
	t.Helper()
	if err := syscall.Mount(kind, dir, kind, 0, options); err != nil {
		t.Fatalf("cannot mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// Disk is the folder of a small filesystem in memory, of that size ("1m").
func Disk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	Mount(t, dir, "tmpfs", "mode=755,size="+size)
	return dir
}
