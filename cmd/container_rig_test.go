package cmd_test

import (
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"nines/ipc"
	"nines/testdata/testkit"
)

// box is a container to be made: a bundle of our own, run by runc.
type box struct {
	spec     string            // of the services
	scratch  bool              // nothing but our programs: no shell, no /etc
	uid      int               // of nines-init
	readOnly bool              // the root filesystem
	tmpfs    map[string]string // mount point: options
	noShm    bool              // no /dev/shm, which engines have by default
	cgroups  string            // "": not mounted; "v1": as runc mounts them here, read-only; "delegated": a writable cgroup2 of its own
	pids     int               // limit of tasks
	env      []string          // as docker run -e
	terminal bool              // as docker run -t
	copied   map[string]string // path in the root filesystem: file outside. nil: our programs, and the spec
	args     []string          // entrypoint; nil: nines-init with the spec
}

// containers counts them, for unique names.
type containers struct{ n atomic.Int64 }

func (c *containers) name() string {
	return fmt.Sprintf("nines-test-%d-%d", os.Getpid(), c.n.Add(1))
}

// container is one that runs.
type container struct {
	t    *testing.T
	name string
	root string // of runc's own state
	fs   string // root filesystem, seen from outside
	cmd  *exec.Cmd
	out  testkit.Output // stdout and stderr
	std  testkit.Output // stdout alone; nothing with a terminal
	done chan struct{}
	tty  *os.File // the outer end of its terminal
}

func needContainers(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("skipped: runc needs root here")
	}
	if _, err := exec.LookPath("runc"); err != nil {
		t.Skip("skipped: runc is not installed")
	}
}

// staticBusybox is a busybox that runs without libraries.
func staticBusybox(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("skipped: busybox-static is not installed")
	}
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if libs, err := f.ImportedLibraries(); err != nil || len(libs) > 0 {
		t.Skipf("skipped: %s is not static (busybox-static): it needs %v, %v", path, libs, err)
	}
	return path
}

// rootFS makes the root filesystem of a container.
func (b *box) rootFS(t *testing.T, dir string) {
	t.Helper()
	bin := binaries(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	// Mount points must be there: the root may be read-only.
	for _, d := range append([]string{"proc", "dev", "sys", "tmp", "run", "var/log", "var/lib"}, slices.Collect(maps.Keys(b.tmpfs))...) {
		must(os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	must(os.Chmod(dir+"/tmp", 0o1777))
	if b.copied == nil {
		for _, p := range []string{"nines", "nines-init", "nines-exec", "nines-log", "misbehave"} {
			must(os.Link(bin+"/"+p, dir+"/"+p))
		}
		must(os.WriteFile(dir+"/nines.hcl", []byte(b.spec), 0o644))
	}
	for path, file := range b.copied {
		must(os.MkdirAll(filepath.Dir(dir+path), 0o755))
		text, err := os.ReadFile(file)
		must(err)
		must(os.WriteFile(dir+path, text, 0o755))
	}
	if !b.scratch {
		must(os.Mkdir(dir+"/bin", 0o755))
		box, err := os.ReadFile(staticBusybox(t))
		must(err)
		must(os.WriteFile(dir+"/bin/busybox", box, 0o755))
		for _, applet := range []string{"sh", "sleep", "cat", "env", "ps", "id", "test", "seq", "true", "setsid", "ls", "kill"} {
			must(os.Symlink("busybox", dir+"/bin/"+applet))
		}
		must(os.MkdirAll(dir+"/etc", 0o755))
		must(os.WriteFile(dir+"/etc/passwd", []byte("root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n"), 0o644))
		must(os.WriteFile(dir+"/etc/group", []byte("root:x:0:\napp:x:1000:\n"), 0o644))
	}
}

// config is config.json, as an engine writes it.
func (b *box) config(args []string) map[string]any {
	type object = map[string]any
	mount := func(point, kind, source string, options ...string) object {
		return object{"destination": point, "type": kind, "source": source, "options": options}
	}
	mounts := []object{
		mount("/proc", "proc", "proc"),
		mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
		mount("/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
		mount("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", "ro"),
	}
	namespaces := []object{{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}}
	if !b.noShm {
		mounts = append(mounts, mount("/dev/shm", "tmpfs", "shm", "nosuid", "noexec", "nodev", "mode=1777", "size=65536k"))
	}
	switch b.cgroups {
	case "v1":
		mounts = append(mounts, mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid", "noexec", "nodev", "relatime", "ro"))
	case "delegated":
		mounts = append(mounts, mount("/sys/fs/cgroup", "cgroup2", "cgroup2", "nosuid", "noexec", "nodev", "relatime"))
		namespaces = append(namespaces, object{"type": "cgroup"})
	}
	for _, point := range slices.Sorted(maps.Keys(b.tmpfs)) {
		mounts = append(mounts, mount(point, "tmpfs", "tmpfs", append([]string{"nosuid", "nodev"}, strings.Split(b.tmpfs[point], ",")...)...))
	}
	// Docker's default set.
	caps := []string{"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_KILL"}
	given := caps
	if b.uid != 0 {
		given = []string{}
	}
	resources := object{}
	if b.pids != 0 {
		resources["pids"] = object{"limit": b.pids}
	}
	return object{
		"ociVersion": "1.0.2",
		"process": object{
			"terminal": b.terminal, "user": object{"uid": b.uid, "gid": b.uid}, "args": args, "cwd": "/", "noNewPrivileges": true,
			"env":          append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME=box"}, b.env...),
			"capabilities": object{"bounding": caps, "effective": given, "permitted": given},
		},
		"root": object{"path": "rootfs", "readonly": b.readOnly}, "hostname": "box", "mounts": mounts,
		"linux": object{"namespaces": namespaces, "resources": resources,
			"maskedPaths": []string{"/proc/kcore", "/proc/keys"}, "readonlyPaths": []string{"/proc/sys", "/proc/sysrq-trigger"}},
	}
}

// run starts a container whose entrypoint is nines-init with the spec.
func (b box) run(t *testing.T, all *containers) *container {
	t.Helper()
	dir := t.TempDir()
	c := &container{t: t, name: all.name(), root: dir + "/runc", fs: dir + "/rootfs", done: make(chan struct{})}
	if err := os.Mkdir(c.fs, 0o755); err != nil {
		t.Fatal(err)
	}
	b.rootFS(t, c.fs)
	args := b.args
	if args == nil {
		args = []string{"/nines-init", "-f", "/nines.hcl"}
	}
	text, err := json.Marshal(b.config(args))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/config.json", text, 0o644); err != nil {
		t.Fatal(err)
	}
	c.cmd = exec.Command("runc", "--root", c.root, "run", "--bundle", dir, c.name)
	c.cmd.Stdout, c.cmd.Stderr = io.MultiWriter(&c.out, &c.std), &c.out
	if b.terminal {
		c.openTerminal()
	}
	t.Cleanup(c.remove)
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(c.done)
		// The status is read from ProcessState.
		_ = c.cmd.Wait()
	}()
	return c
}

// remove ends what is left of the container.
func (c *container) remove() {
	if c.cmd.Process == nil {
		return
	}
	if out, err := c.runc("delete", "--force", c.name); err != nil {
		c.t.Errorf("cannot remove container %s: %v: %s", c.name, err, out)
	}
	select {
	case <-c.done:
	case <-time.After(patience):
		c.t.Errorf("runc does not end")
		c.cmd.Process.Kill()
		<-c.done
	}
	if c.t.Failed() {
		c.t.Logf("the container said:\n%s", c.out.String())
	}
}

func (c *container) runc(args ...string) (string, error) {
	out, err := exec.Command("runc", append([]string{"--root", c.root}, args...)...).CombinedOutput()
	return string(out), err
}

// exec runs a command in the container, as docker exec does.
func (c *container) exec(args ...string) (string, error) {
	return c.runc(append([]string{"exec", c.name}, args...)...)
}

func (c *container) mustExec(args ...string) string {
	c.t.Helper()
	out, err := c.exec(args...)
	if err != nil {
		c.t.Fatalf("exec %v: %v: %s\n%s", args, err, out, c.out.String())
	}
	return out
}

// until polls from outside, and gives up when the container has ended.
func (c *container) until(what string, ok func() error) {
	c.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := ok()
		if err == nil {
			return
		}
		select {
		case <-c.done:
			if err = ok(); err == nil {
				return
			}
			c.t.Fatalf("waiting until %s: %v: the container ended (%v)", what, err, c.cmd.ProcessState)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("waited %s until %s: %v", patience, what, err)
		}
	}
}

// says waits for a text on the container's stdout or stderr.
func (c *container) says(text string) {
	c.t.Helper()
	c.until(fmt.Sprintf("it says %q", text), func() error {
		if !strings.Contains(c.out.String(), text) {
			return errors.New("it does not")
		}
		return nil
	})
}

// status is what `nines status --json` prints inside.
func (c *container) status() *ipc.Status {
	c.t.Helper()
	out := c.mustExec("/nines", "status", "--json")
	var st ipc.Status
	if err := json.Unmarshal([]byte(out), &st); err != nil {
		c.t.Fatalf("nines status --json: %v: %s", err, out)
	}
	return &st
}

// ready waits until `nines ready` says so, as an exec probe would.
func (c *container) ready() {
	c.t.Helper()
	c.until("nines ready exits 0", func() error {
		out, err := c.exec("/nines", "ready")
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
}

// end waits for the end, which must have that status.
func (c *container) end(code int) {
	c.t.Helper()
	select {
	case <-c.done:
	case <-time.After(patience):
		c.t.Fatalf("the container still runs after %s", patience)
	}
	if got := c.cmd.ProcessState.ExitCode(); got != code {
		c.t.Fatalf("the container ended with %d, want %d", got, code)
	}
}

// stop is docker stop: SIGTERM, and the container ends with 0, well within the
// grace period.
func (c *container) stop() {
	c.t.Helper()
	if out, err := c.runc("kill", c.name, "TERM"); err != nil {
		c.t.Fatalf("runc kill: %v: %s", err, out)
	}
	c.end(0)
}

// openTerminal gives runc a terminal of ours, whose other end we read.
func (c *container) openTerminal() {
	c.t.Helper()
	outer, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		c.t.Fatal(err)
	}
	c.tty = outer
	n, err := ptyNumber(outer)
	if err != nil {
		c.t.Fatal(err)
	}
	inner, err := os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		c.t.Fatal(err)
	}
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = inner, inner, inner
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	read := make(chan struct{})
	go func() {
		defer close(read)
		buf := make([]byte, 4096)
		for {
			k, err := outer.Read(buf)
			if _, werr := c.out.Write(buf[:k]); err != nil || werr != nil {
				return // EIO: no one holds the inner end any more
			}
		}
	}()
	c.t.Cleanup(func() {
		inner.Close()
		<-read
		outer.Close()
	})
}
