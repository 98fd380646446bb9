package cmd_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
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
	"nines/supervisor/inspect"
)

// The tests here judge instances as a check would, by a hook that only a build with
// the tag ninesfault has: a FIFO that takes "INSTANCE isolate WHY".

const quarantineSpec = `
service "web" {
  command = [env.MISBEHAVE, "known", env.WORK]
  env = {
    PASSWORD = "hunter2-in-the-environment"
  }
  restart {
    delay = "10ms"
  }
  isolate {
    keep = 2
    ttl  = "1h"
  }
  port "free" {}
}
`

// quarantineRig is a nines-init whose supervisor takes judgements.
type quarantineRig struct {
	*running
	t   *testing.T
	cli []string // environment of commands
}

func newQuarantineRig(t *testing.T, level string) *quarantineRig {
	t.Helper()
	bin := binaries(t)
	dir, err := os.MkdirTemp("", "nines")
	if err != nil {
		t.Fatal(err)
	}
	q := &quarantineRig{running: &running{dir: dir, bin: bin}, t: t}
	t.Cleanup(func() { q.cleanUp(t) })
	build := exec.Command("go", "build", "-tags", "ninesfault", "-o", dir+"/nines", "nines/cmd/nines")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range []string{"nines-init", "nines-log", "nines-exec"} {
		if err := os.Symlink(bin+"/"+name, dir+"/"+name); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(dir+"/nines.hcl", []byte(quarantineSpec), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(dir+"/judge", 0o600); err != nil {
		t.Fatal(err)
	}
	q.cli = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir, "WORK=" + dir, "MISBEHAVE=" + bin + "/misbehave", "NINES_FAULT_JUDGE=" + dir + "/judge",
		"NINES_RUNTIME_DIR=" + dir + "/run", "NINES_STATE_DIR=" + dir + "/state", "NINES_LOG_DIR=" + dir + "/log",
	}
	if level == "none" {
		q.cli = append(q.cli, "NINES_CGROUP=/cgroup.procs")
	}
	q.cmd = exec.Command(bin+"/nines-init", "-f", dir+"/nines.hcl", "--supervisor", dir+"/nines")
	q.cmd.Env = q.cli
	q.cmd.Stdout, q.cmd.Stderr = &q.out, &q.out
	if err := q.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	q.done = make(chan error, 1)
	go func() { q.done <- q.cmd.Wait() }()
	waitFor(t, "all is up", func() error { return allUp(q.running, 0) })
	return q
}

// nines runs a command, which must exit with code.
func (q *quarantineRig) nines(code int, args ...string) (stdout, stderr string) {
	q.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, q.dir+"/nines", args...)
	cmd.Env = q.cli
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	// What it exited with says all.
	_ = cmd.Run()
	if got := cmd.ProcessState.ExitCode(); got != code {
		q.t.Fatalf("nines %v exited with %d, want %d\n%s%s\n%s", args, got, code, out.String(), errs.String(), q.out.String())
	}
	return out.String(), errs.String()
}

// judge has an instance isolated, as a failed check would.
func (q *quarantineRig) judge(why string) {
	q.t.Helper()
	if err := os.WriteFile(q.dir+"/judge", []byte("web/0 isolate "+why+"\n"), 0); err != nil {
		q.t.Fatal(err)
	}
}

func (q *quarantineRig) web() *ipc.Service {
	q.t.Helper()
	return &status(q.t, q.running).Services[0]
}

// list waits until so many are in quarantine and the instance is ready again.
func (q *quarantineRig) list(n int) []ipc.Quarantined {
	q.t.Helper()
	var list []ipc.Quarantined
	waitFor(q.t, fmt.Sprintf("%d are in quarantine, and web/0 is ready", n), func() error {
		out, _ := q.nines(0, "quarantine", "--json")
		if err := json.Unmarshal([]byte(out), &list); err != nil {
			return err
		}
		if svc := q.web(); len(list) != n || svc.State != "running" {
			return fmt.Errorf("%d: %+v; web is %s", len(list), list, svc.State)
		}
		return nil
	})
	return list
}

// said waits for the first line of the current output of the known process of pid.
func (q *quarantineRig) said(pid int) (listens, connected string) {
	q.t.Helper()
	waitFor(q.t, "the program has said where it is", func() error {
		out, _ := q.nines(0, "logs", "web")
		for line := range strings.Lines(out) {
			_, line, _ = strings.Cut(line, "misbehave known ")
			if w := strings.Fields(line); len(w) == 3 && w[0] == strconv.Itoa(pid) {
				listens, connected = w[1], w[2]
				return nil
			}
		}
		return fmt.Errorf("not yet: %q", out)
	})
	return listens, connected
}

func cgroupFrozen(t *testing.T, pid int) bool {
	t.Helper()
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			for _, root := range []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup"} {
				if events, err := os.ReadFile(root + path + "/cgroup.events"); err == nil {
					return strings.Contains(string(events), "frozen 1")
				}
			}
		}
	}
	return false
}

func gone(pid int) func() error {
	return func() error {
		if _, err := os.Stat("/proc/" + strconv.Itoa(pid)); err == nil {
			return fmt.Errorf("%d lives", pid)
		}
		return nil
	}
}

// TestQuarantine: a judged instance is frozen with its evidence, another takes its
// place, and what is seen of it is what is so.
func TestQuarantine(t *testing.T) {
	q := newQuarantineRig(t, "core")
	pid := q.web().Instances[0].PID
	listens, connected := q.said(pid)
	waitFor(t, "a thread stands in knownInner", func() error {
		for _, p := range inspect.Inspect([]int{pid}) {
			for i := range p.Threads {
				if slices.ContainsFunc(p.Threads[i].UserStack, func(f inspect.Frame) bool { return f.Function == "main.knownInner" }) {
					return nil
				}
			}
		}
		return fmt.Errorf("not yet")
	})
	if out, _ := q.nines(0, "quarantine", "list"); out != "" {
		t.Errorf("nothing is in quarantine, and the list is %q", out)
	}
	q.judge("it does not answer")
	one := q.list(1)[0]
	now := q.web().Instances[0]
	if one.ID != "web/0.1" || one.PID != pid || one.State != "frozen" || one.Instance != "web/0" || one.Reason != "it does not answer" || one.MemoryBytes == 0 {
		t.Errorf("listed as %+v", one)
	}
	if d := one.ExpiresAt.Sub(one.Since); d != time.Hour {
		t.Errorf("kept for %v", d)
	}
	if now.PID == pid || now.LastExit == nil || now.LastExit.Reason != "check_failed" {
		t.Errorf("the instance is %+v", now)
	}
	if !cgroupFrozen(t, pid) {
		t.Error("it is not frozen")
	}

	out, _ := q.nines(0, "quarantine", "inspect", "web/0.1", "--json")
	var in struct {
		Processes []inspect.Process
		Cgroup    struct{ Files map[string]string }
		Log       []ipc.LogLine
	}
	if err := json.Unmarshal([]byte(out), &in); err != nil || len(in.Processes) != 1 {
		t.Fatalf("%v: %d processes\n%s", err, len(in.Processes), out)
	}
	p := in.Processes[0]
	stack := func(names ...string) bool {
		for i := range p.Threads {
			at := 0
			for _, f := range p.Threads[i].UserStack {
				if at < len(names) && f.Function == names[at] && f.Sure {
					at++
				}
			}
			if at == len(names) && p.Threads[i].Syscall == "read" && len(p.Threads[i].KernelStack) > 0 {
				return true
			}
		}
		return false
	}
	if !stack("main.knownInner", "main.knownOuter") {
		t.Errorf("no thread stands in read, called by knownInner, called by knownOuter: %+v", p.Threads)
	}
	has := func(what string, is func(f *inspect.File) bool) {
		if !slices.ContainsFunc(p.Files, func(f inspect.File) bool { return is(&f) }) {
			t.Errorf("%s is not among its files: %s", what, out)
		}
	}
	has("the file", func(f *inspect.File) bool {
		return f.Path == q.dir+"/known.file" && strings.HasPrefix(f.Flags, "write append")
	})
	has("the listening socket", func(f *inspect.File) bool {
		return f.Socket != nil && *f.Socket == inspect.Socket{Kind: "tcp", Local: listens, State: "listen"}
	})
	has("the connection", func(f *inspect.File) bool {
		return f.Socket != nil && *f.Socket == inspect.Socket{Kind: "tcp", Local: connected, Remote: listens, State: "established"}
	})
	has("the unix socket", func(f *inspect.File) bool {
		return f.Socket != nil && *f.Socket == inspect.Socket{Kind: "unix", Local: fmt.Sprintf("%s/known.%d.sock", q.dir, pid), State: "listen"}
	})
	if !slices.ContainsFunc(p.Largest, func(m inspect.Mapping) bool {
		return m.Size >= 64<<20 && m.Path == "" && m.Perms == "rw-p"
	}) || p.Memory.Anonymous < 8<<20 || p.Memory.RSS < p.Memory.PrivateDirty {
		t.Errorf("the mapping of 64 MiB, of which 8 are touched: %+v %+v", p.Memory, p.Largest)
	}
	if p.Exe != q.bin+"/misbehave" || p.ExeDeleted || p.Cwd == "" || len(p.Limits) == 0 || len(p.Notes) != 0 {
		t.Errorf("exe %s, cwd %s, limits %v, notes %v", p.Exe, p.Cwd, p.Limits, p.Notes)
	}
	if !strings.Contains(in.Cgroup.Files["cgroup.events"], "frozen 1") || !strings.Contains(in.Cgroup.Files["cpu.stat"], "usage_usec") {
		t.Errorf("counters: %v", in.Cgroup.Files)
	}
	if len(in.Log) == 0 || !strings.Contains(in.Log[len(in.Log)-1].Line, strconv.Itoa(pid)) {
		t.Errorf("last lines: %v", in.Log)
	}
	// The environment is told by its names alone, everywhere.
	if !slices.Contains(p.EnvNames, "PASSWORD") {
		t.Errorf("names: %v", p.EnvNames)
	}
	text, _ := q.nines(0, "quarantine", "inspect", "web/0.1")
	events, _ := q.nines(0, "events", "--json")
	for where, s := range map[string]string{"--json": out, "text": text, "events": events, "output": q.out.String()} {
		if strings.Contains(s, "hunter2") {
			t.Errorf("the value of a secret is in %s", where)
		}
	}
	for _, s := range []string{"main.knownInner", listens + " listen", "PASSWORD", "not to be had"} {
		if !strings.Contains(text, s) {
			t.Errorf("%q is not in\n%s", s, text)
		}
	}
	for _, e := range []string{"quarantined", `"check_failed"`} {
		if !strings.Contains(events, e) {
			t.Errorf("%s is not in the events\n%s", e, events)
		}
	}
	q.core(pid)
	q.errors()
	q.ends(pid)
}

// core: a debugger reads the core, and the process did not notice.
func (q *quarantineRig) core(pid int) {
	t, file := q.t, q.dir+"/core"
	q.nines(1, "quarantine", "inspect", "web/0.1", "--core", q.dir+"/none/core")
	q.nines(0, "quarantine", "inspect", "web/0.1", "--core", file)
	st, err := os.Stat(file)
	if err != nil || st.Mode().Perm() != 0o600 || st.Size() < 8<<20 {
		t.Fatalf("the core: %v %v", st, err)
	}
	if left, err := filepath.Glob(q.dir + "/.core*"); err != nil || len(left) > 0 {
		t.Errorf("left: %v %v", left, err)
	}
	b, err := os.ReadFile(file)
	if err != nil || !bytes.Contains(b, []byte("the known word")) {
		t.Errorf("what was written to its memory is not in its core: %v", err)
	}
	if !cgroupFrozen(t, pid) {
		t.Error("it is not frozen any more")
	}
	gdb, err := exec.LookPath("gdb")
	if err != nil {
		t.Log("no gdb here, so that no debugger has read the core")
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, gdb, "--nx", "-batch", "-ex", "thread apply all bt", q.bin+"/misbehave", file).CombinedOutput()
	_, below, found := strings.Cut(string(out), "main.knownInner")
	if err != nil || !found || !strings.Contains(below, "main.knownOuter") {
		t.Errorf("gdb does not read the core: %v\n%s", err, out)
	}
}

// errors: wrong use, and its exit codes.
func (q *quarantineRig) errors() {
	for _, args := range [][]string{{"inspect", "web/0.9"}, {"kill", "web/0"}, {"resume", "none"}, {"inspect", "web/0.2", "--core", q.dir + "/x"}} {
		if _, errs := q.nines(5, append([]string{"quarantine"}, args...)...); !strings.Contains(errs, "quarantine") {
			q.t.Errorf("%v says %q", args, errs)
		}
	}
	q.nines(2, "quarantine", "thaw")
	q.nines(2, "quarantine", "kill")
	q.nines(2, "quarantine", "inspect", "a", "b")
	q.nines(3, "--socket", q.dir+"/nobody", "quarantine")
}

// ends: it outlives the supervisor, runs on when a person says so, is one too many,
// is killed from outside, and does not outlive a stop.
func (q *quarantineRig) ends(pid int) {
	t := q.t
	st := status(t, q.running)
	if err := syscall.Kill(st.Supervisor.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the next supervisor is there", func() error { return allUp(q.running, 1) })
	if one := q.list(1)[0]; one.ID != "web/0.1" || one.PID != pid || one.State != "frozen" || one.Reason != "it does not answer" || !cgroupFrozen(t, pid) {
		t.Errorf("the next supervisor has %+v", one)
	}
	q.nines(0, "quarantine", "resume", "web/0.1")
	if one := q.list(1)[0]; one.State != "resumed" || cgroupFrozen(t, pid) {
		t.Errorf("resumed, it is %+v", one)
	}
	q.nines(1, "quarantine", "resume", "web/0.1")
	q.nines(1, "quarantine", "inspect", "web/0.1", "--core", q.dir+"/x")
	second := q.web().Instances[0].PID
	q.judge("again")
	q.list(2)
	third := q.web().Instances[0].PID
	q.judge("and again")
	waitFor(t, "the oldest is killed", gone(pid))
	if list := q.list(2); list[0].ID != "web/0.2" || list[1].ID != "web/0.3" {
		t.Errorf("kept are %+v", list)
	}
	if err := syscall.Kill(second, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if list := q.list(1); list[0].ID != "web/0.3" {
		t.Errorf("kept are %+v", list)
	}
	q.nines(0, "quarantine", "kill", "web/0.3")
	if gone(third)() != nil {
		t.Error("kill has not waited for its end")
	}
	q.list(0)
	last := q.web().Instances[0].PID
	q.judge("before the stop")
	q.list(1)
	q.nines(0, "stop", "web")
	if gone(last)() != nil {
		t.Error("it outlives the stop")
	}
	q.nines(0, "start", "web")
	last = q.web().Instances[0].PID
	q.judge("before the end")
	q.list(1)
	events, _ := q.nines(0, "events")
	if n := strings.Count(events, "no longer in quarantine"); n != 4 {
		t.Errorf("%d ends of a quarantine are told, want 4\n%s", n, events)
	}
	if err := q.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	select {
	case <-q.done:
	case <-time.After(patience):
		t.Fatalf("nines-init does not end\n%s", q.out.String())
	}
	q.cmd = nil
	if left := q.marked(); len(left) > 0 || gone(last)() != nil {
		t.Errorf("pids %v are left", left)
	}
}

// TestQuarantineWithoutCgroups: it cannot be frozen, so it is restarted, and the
// event says why.
func TestQuarantineWithoutCgroups(t *testing.T) {
	q := newQuarantineRig(t, "none")
	pid := q.web().Instances[0].PID
	q.judge("it does not answer")
	waitFor(t, "it is restarted", func() error {
		if in := q.web().Instances[0]; in.State != "ready" || in.PID == pid {
			return fmt.Errorf("%+v", in)
		}
		return nil
	})
	q.list(0)
	if events, _ := q.nines(0, "events"); !strings.Contains(events, "cannot be frozen (there are no cgroups here") {
		t.Errorf("no event says why\n%s", events)
	}
}
