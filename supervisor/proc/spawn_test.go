package proc

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"nines/spec"
)

// bothWays runs a test for a start by one clone and for one through the shim.
func bothWays(t *testing.T, fn func(t *testing.T, shim func(c *Command) *Command)) {
	t.Run("direct", func(t *testing.T) { fn(t, func(c *Command) *Command { return c }) })
	t.Run("shim", func(t *testing.T) {
		fn(t, func(c *Command) *Command {
			umask := uint32(0o27)
			c.Umask = &umask
			return c
		})
	})
}

func TestWhatAServiceInherits(t *testing.T) {
	bothWays(t, func(t *testing.T, shim func(*Command) *Command) {
		s := spawner(t)
		dir := publicDir(t)
		c := shim(command())
		c.Dir = dir
		c.Env = []string{"A=1", "NINES_INCARNATION=x:web/0.1"}
		r := runReport(t, s, c)
		if r.PPID != os.Getpid() || r.Session != r.PID || r.Group != r.PID {
			t.Errorf("parent %d, session %d, group %d of pid %d", r.PPID, r.Session, r.Group, r.PID)
		}
		if !slices.Equal(r.Env, c.Env) {
			t.Errorf("environment %q, want %q", r.Env, c.Env)
		}
		if r.Dir != dir {
			t.Errorf("directory %s, want %s", r.Dir, dir)
		}
		want := map[string]string{"0": "/dev/null", "1": "/dev/null", "2": "/dev/null"}
		if len(r.FDs) != 3 || r.FDs["0"] != want["0"] || r.FDs["1"] != want["1"] || r.FDs["2"] != want["2"] {
			t.Errorf("descriptors %q", r.FDs)
		}
		if r.UID != os.Getuid() || r.GID != os.Getgid() {
			t.Errorf("uid %d gid %d", r.UID, r.GID)
		}
	})
}

func TestOutput(t *testing.T) {
	bothWays(t, func(t *testing.T, shim func(*Command) *Command) {
		s := spawner(t)
		c := shim(command("echo", "hello"))
		out := output(t, c)
		er, ew, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer er.Close()
		c.Stderr = int(ew.Fd())
		run(t, s, c)
		if err := errors.Join(unix.Close(c.Stdout), ew.Close()); err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(out)
		e, _ := io.ReadAll(er)
		if string(b) != "hello\n" || string(e) != "err: hello\n" {
			t.Errorf("%q, %q", b, e)
		}
	})
}

func TestStatuses(t *testing.T) {
	bothWays(t, func(t *testing.T, shim func(*Command) *Command) {
		s := spawner(t)
		for _, c := range []struct {
			args []string
			want Status
		}{
			{[]string{"exit", "0"}, Status{}},
			{[]string{"exit", "7"}, Status{Code: 7}},
			{[]string{"exit", "255"}, Status{Code: 255}},
			{[]string{"crash", "KILL"}, Status{Signal: "SIGKILL"}},
			{[]string{"crash", "TERM"}, Status{Signal: "SIGTERM"}},
			{[]string{"crash", "SEGV"}, Status{Signal: "SIGSEGV"}},
			{[]string{"crash", "ABRT"}, Status{Signal: "SIGABRT"}},
		} {
			got := run(t, s, shim(command(c.args...)))
			got.Core = false // what core_pattern says is the machine's affair
			if got != c.want {
				t.Errorf("%q: %+v, want %+v", c.args, got, c.want)
			}
		}
	})
}

func TestCredentials(t *testing.T) {
	needRoot(t)
	bothWays(t, func(t *testing.T, shim func(*Command) *Command) {
		c := shim(command())
		c.Credential = &Credential{UID: 65534, GID: 65533, Groups: []uint32{65533, 4242}}
		r := runReport(t, spawner(t), c)
		slices.Sort(r.Groups)
		if r.UID != 65534 || r.GID != 65533 || !slices.Equal(r.Groups, []int{4242, 65533}) {
			t.Errorf("uid %d gid %d groups %v", r.UID, r.GID, r.Groups)
		}
	})
}

func TestOurOwnCredentialNeedsNoPrivilege(t *testing.T) {
	bothWays(t, func(t *testing.T, shim func(*Command) *Command) {
		u, err := LookupUser("", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		c := shim(command("exit", "3"))
		c.Credential = &u.Credential
		if st := run(t, spawner(t), c); st.Code != 3 {
			t.Errorf("%+v", st)
		}
	})
}

func TestShimSettings(t *testing.T) {
	umask, nice, oom := uint32(0o137), 19, 321 // 19: allowed under any nice(1)
	c := command()
	c.Umask, c.Nice, c.OOMScoreAdj = &umask, &nice, &oom
	c.Rlimits = []spec.Rlimit{
		{Name: "nofile", Soft: 300, Hard: 400},
		{Name: "core", Soft: 0, Hard: 0},
		{Name: "fsize", Soft: 1 << 20, Hard: spec.Unlimited},
		{Name: "nproc", Soft: 5000, Hard: 6000},
	}
	r := runReport(t, spawner(t), c)
	if r.Umask != "137" || r.Nice != nice || r.OOMScoreAdj != 321 {
		t.Errorf("umask %s, nice %d, oom_score_adj %d", r.Umask, r.Nice, r.OOMScoreAdj)
	}
	for name, want := range map[string]string{
		"Max open files":     "300 400",
		"Max core file size": "0 0",
		"Max file size":      "1048576 unlimited",
		"Max processes":      "5000 6000",
	} {
		if r.Limits[name] != want {
			t.Errorf("%s: %s, want %s", name, r.Limits[name], want)
		}
	}
}

// TestShimUnderItsOwnLimits: the Go runtime in the shim must get along with
// limits that are meant for the service.
func TestShimUnderItsOwnLimits(t *testing.T) {
	big := "BIG=" + strings.Repeat("x", 120<<10)
	for _, limits := range [][]spec.Rlimit{
		{{Name: "as", Soft: 64 << 20, Hard: 64 << 20}},
		{{Name: "data", Soft: 1 << 20, Hard: 1 << 20}},
		{{Name: "stack", Soft: 1 << 20, Hard: 1 << 20}},
		{{Name: "nofile", Soft: 3, Hard: 3}},
		{{Name: "nproc", Soft: 1, Hard: 1}},
		{{Name: "fsize", Soft: 0, Hard: 0}},
		{{Name: "as", Soft: 32 << 20, Hard: 32 << 20}, {Name: "nproc", Soft: 1, Hard: 1}, {Name: "data", Soft: 1 << 20, Hard: 1 << 20}},
	} {
		c := &Command{Argv: []string{"/bin/true"}, Stdout: -1, Stderr: 2, CgroupFD: -1, Rlimits: limits}
		if limits[0].Name == "nofile" {
			c.Stderr = -1 // it cannot load its libraries then, but it was started
		}
		if limits[0].Name != "stack" {
			c.Env = []string{big, big, big, big, big, big, big, big}
		}
		s := spawner(t)
		if os.Geteuid() == 0 {
			c.Credential = &Credential{UID: 61235, GID: 61235} // who has no other process
		}
		if st := run(t, s, c); st != (Status{}) && limits[0].Name != "nofile" {
			t.Errorf("%v: %+v", limits, st)
		}
	}
}

// asChild runs the test binary as one of its child programs, started by start.
func asChild(t *testing.T, name string, wrap []string, c Command, args ...string) string {
	t.Helper()
	c.Argv = append(append(wrap, bin+"/test"), args...)
	c.Env = append(c.Env, childVariable+"="+name, binVariable+"="+bin)
	c.CgroupFD = -1
	out := output(t, &c)
	c.Stderr = 2
	if st := run(t, spawner(t), &c); st != (Status{}) {
		t.Fatalf("%s ended with %+v", name, st)
	}
	if err := unix.Close(c.Stdout); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestSoftLimitOfDescriptors: the runtime raises it in the supervisor and in
// the shim; a service must see the one that the supervisor was started with.
func TestSoftLimitOfDescriptors(t *testing.T) {
	limits := []spec.Rlimit{{Name: "nofile", Soft: 321, Hard: 1234}}
	text := asChild(t, "spawn-cat", nil, Command{Rlimits: limits}, "/proc/self/limits")
	var got []string
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "Max open files"); ok {
			got = append(got, strings.Join(strings.Fields(rest), " "))
		}
	}
	if want := []string{"321 1234 files", "321 1234 files"}; !slices.Equal(got, want) {
		t.Errorf("direct and through the shim: %q, want %q", got, want)
	}
}

func TestCleanSignals(t *testing.T) {
	for _, wrap := range [][]string{
		nil,
		{"/usr/bin/env", "--ignore-signal=HUP", "--ignore-signal=INT", "--ignore-signal=PIPE", "--ignore-signal=USR1"},
		{"/usr/bin/env", "--block-signal=USR1", "--block-signal=TERM"},
	} {
		text := asChild(t, "spawn-cat", wrap, Command{}, "/proc/self/status")
		n := 0
		for line := range strings.Lines(text) {
			name, v, _ := strings.Cut(strings.TrimSpace(line), ":\t")
			if name != "SigBlk" && name != "SigIgn" && name != "SigCgt" {
				continue
			}
			n++
			if v != "0000000000000000" {
				t.Errorf("%q: %s is %s", wrap, name, v)
			}
		}
		if n != 6 {
			t.Errorf("%q: %d of 6 lines seen", wrap, n)
		}
	}
}

// TestInheritedDescriptors: what whoever started the supervisor has left open
// goes no further.
func TestInheritedDescriptors(t *testing.T) {
	text := asChild(t, "spawn-cat", []string{"/bin/sh", "-c", `exec 7</dev/zero; exec "$0" "$@" 2>&1`}, Command{}, "/proc/self/fdinfo/7")
	if strings.Contains(text, "flags:") || strings.Count(text, "No such file") != 2 {
		t.Errorf("descriptor 7: %q", text)
	}
}

func TestLookup(t *testing.T) {
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"a/prog": 0o644, "b/prog": 0o755, "a/only": 0o644} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("#!/bin/sh\nexit 4\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(dir+"/a/folder", 0o755); err != nil {
		t.Fatal(err)
	}
	system, err := exec.LookPath("true")
	if err != nil {
		t.Fatal(err)
	}
	path := "PATH=" + dir + "/a:relative::" + dir + "/b"
	for _, c := range []struct {
		argv0, env, want, err string
		code                  int
	}{
		{"prog", path, dir + "/b/prog", "", 0},
		{"/x/y", path, "/x/y", "", 0},
		{"./y", path, "./y", "", 0},
		{"true", "", system, "", 0},
		{"only", path, "", "cannot find only: the only one in PATH, " + dir + "/a/only, has no permission to be executed (EACCES)", 126},
		{"folder", path, "", "cannot find folder: it is in no folder of PATH " + path[5:] + " (ENOENT)", 127},
		{"nothing-so-called", "", "", "cannot find nothing-so-called: it is in no folder of PATH " + DefaultPath + " (ENOENT)", 127},
		{"", "", "", "cannot find a program: the command is empty (EINVAL)", 126},
		{"a\x00b", "", "", `cannot exec ` + "a\x00b" + `: an argument or variable contains a NUL byte: "a\x00b" (EINVAL)`, 126},
	} {
		cmd := &Command{Argv: []string{c.argv0}}
		if c.env != "" {
			cmd.Env = []string{c.env}
		}
		got, err := cmd.resolve()
		if c.err == "" {
			if err != nil || got != c.want {
				t.Errorf("%q: %q, %v; want %q", c.argv0, got, err, c.want)
			}
			continue
		}
		var e *Error
		if !errors.As(err, &e) || e.Error() != c.err || e.ExitCode() != c.code {
			t.Errorf("%q: %v\nwant %s", c.argv0, err, c.err)
		}
	}
}

// TestMany starts 200 at once, a third of which cannot be executed, while all
// of them end at once and are reaped by someone else.
func TestMany(t *testing.T) {
	bothWays(t, func(t *testing.T, shim func(*Command) *Command) {
		s := spawner(t)
		before := len(openFiles())
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				c := shim(command("exit", strconv.Itoa(i)))
				if i%3 == 0 {
					c.Argv[0] = "/no/such/program"
				}
				_, confirm, exit, err := theReaper.start(s, c)
				if err == nil && confirm != nil {
					err = confirm()
				}
				if i%3 == 0 {
					if !errors.Is(err, unix.ENOENT) {
						t.Errorf("%d: %v", i, err)
					}
					if exit != nil {
						wait(t, exit)
					}
					return
				}
				if err != nil {
					t.Errorf("%d: %v", i, err)
					return
				}
				if st := wait(t, exit); st.Code != i {
					t.Errorf("%d: %+v", i, st)
				}
			})
		}
		wg.Wait()
		until(t, "descriptors are given back", func() bool { return len(openFiles()) <= before })
	})
}
