package proc

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"nines/spec"
	"nines/testdata/testkit"
)

// failing starts c, which must fail, and gives the error. What is left of the
// process is reaped.
func failing(t *testing.T, s *Spawner, c *Command) *Error {
	t.Helper()
	_, confirm, exit, err := theReaper.start(s, c)
	if err == nil && confirm != nil {
		err = confirm()
		wait(t, exit)
	}
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("%q: no *Error but %v", c.Argv, err)
	}
	return e
}

// place makes a folder with everything that cannot be executed.
func place(t *testing.T) string {
	t.Helper()
	dir := publicDir(t)
	write := func(name, text string, mode os.FileMode) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("plain", "text\n", 0o644)
	write("script", "exit 3\n", 0o755)
	write("empty", "", 0o755)
	write("binary", "\x00\x01\x02", 0o755)
	write("lost", "#!/no/such/interpreter -x\nexit\n", 0o755)
	write("dos", "#!/bin/sh\r\nexit\r\n", 0o755)
	write("nameless", "#!\nexit\n", 0o755)
	write("weak", "#!"+dir+"/plain\nexit\n", 0o755)
	write("private", "#!/bin/sh\nexit\n", 0o700)
	write("elf", "\x7fELF\x02\x01\x01garbage", 0o755)
	// A real program for another machine: /bin/true with e_machine changed.
	b, err := os.ReadFile("/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	b[18], b[19] = 0xf3, 0 // RISC-V, which no test machine is
	write("foreign", string(b), 0o755)
	if b, err = os.ReadFile("/bin/true"); err != nil {
		t.Fatal(err)
	}
	// The same with another dynamic linker.
	at := strings.Index(string(b), "/lib64/ld-")
	if at < 0 {
		at = strings.Index(string(b), "/lib/ld-")
	}
	if at >= 0 {
		copy(b[at:], "/nix/x")
		write("unlinked", string(b), 0o755)
	}
	if err := os.Mkdir(dir+"/folder", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(dir+"/fifo", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir+"/closed", 0o700); err != nil {
		t.Fatal(err)
	}
	write("closed/prog", "#!/bin/sh\nexit\n", 0o755)
	if err := os.Symlink("loop", dir+"/loop"); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestWhyExecFails(t *testing.T) {
	dir := place(t)
	cases := []struct {
		argv0, want string
		code        int
	}{
		{"/no/such", "cannot exec /no/such: no such file (ENOENT)", 127},
		{dir + "/plain/x", "cannot exec DIR/plain/x: a part of its path is not a directory (ENOTDIR)", 127},
		{dir + "/loop", "cannot exec DIR/loop: too many levels of symbolic links (ELOOP)", 126},
		{dir + "/folder", "cannot exec DIR/folder: it is a folder (EACCES)", 126},
		{dir + "/fifo", "cannot exec DIR/fifo: it is not a regular file (EACCES)", 126},
		{dir + "/plain", "cannot exec DIR/plain: permission denied: it has no execute permission; try chmod +x (EACCES)", 126},
		{dir + "/script", "cannot exec DIR/script: not an executable format: a script must begin with #! and its interpreter (ENOEXEC)", 126},
		{dir + "/empty", "cannot exec DIR/empty: not an executable format: it is empty (ENOEXEC)", 126},
		{dir + "/binary", "cannot exec DIR/binary: not an executable format (ENOEXEC)", 126},
		{dir + "/nameless", "cannot exec DIR/nameless: not an executable format: its first line names no interpreter (ENOEXEC)", 126},
		{dir + "/foreign", "cannot exec DIR/foreign: not an executable format: it is made for another machine (EM_RISCV) (ENOEXEC)", 126},
		{dir + "/elf", "cannot exec DIR/elf: not an executable format: its ELF header is damaged (ENOEXEC)", 126},
		{dir + "/lost", "cannot exec DIR/lost: its interpreter /no/such/interpreter does not exist (ENOENT)", 126},
		{dir + "/dos", `cannot exec DIR/dos: its interpreter /bin/sh\r (the line ends in a carriage return; try dos2unix) does not exist (ENOENT)`, 126},
		{dir + "/weak", "cannot exec DIR/weak: permission denied: its interpreter DIR/plain is not executable (EACCES)", 126},
		{"./nothing", "cannot exec ./nothing: no such file (ENOENT)", 127},
		{"./plain", "cannot exec ./plain: permission denied: it has no execute permission; try chmod +x (EACCES)", 126},
	}
	if _, err := os.Stat(dir + "/unlinked"); err == nil {
		b := interpreter(dir + "/unlinked")
		cases = append(cases, struct {
			argv0, want string
			code        int
		}{dir + "/unlinked", "cannot exec DIR/unlinked: its interpreter " + b + " does not exist (ENOENT)", 126})
	}
	bothWays(t, func(t *testing.T, shim func(*Command) *Command) {
		s := spawner(t)
		for _, tc := range cases {
			c := shim(command())
			c.Argv, c.Dir = []string{tc.argv0}, dir
			e := failing(t, s, c)
			if want := strings.ReplaceAll(tc.want, "DIR/", dir+"/"); e.Error() != want || e.Step != StepExec {
				t.Errorf("%s: %v\nwant %s", e.Step, e, want)
			}
			if e.ExitCode() != tc.code || e.Again() {
				t.Errorf("%v: exit code %d, want %d; again %v", e, e.ExitCode(), tc.code, e.Again())
			}
		}
	})
}

// TestWhyExecFailsForAnother: root may enter what the user may not, so the
// reason must be looked for as the user.
func TestWhyExecFailsForAnother(t *testing.T) {
	needRoot(t)
	dir := place(t)
	bothWays(t, func(t *testing.T, shim func(*Command) *Command) {
		s := spawner(t)
		for _, tc := range []struct{ argv0, cwd, step, want string }{
			{dir + "/private", "", StepExec, "cannot exec DIR/private: permission denied: its mode or owner does not let this user execute it (EACCES)"},
			{dir + "/closed/prog", "", StepExec, "cannot exec DIR/closed/prog: permission denied: the folder DIR/closed may not be entered (EACCES)"},
			{"/bin/true", dir + "/closed", StepDirectory, "cannot change to directory DIR/closed: permission denied (EACCES)"},
			{"/bin/true", dir + "/closed/below", StepDirectory, "cannot change to directory DIR/closed/below: permission denied: the folder DIR/closed may not be entered (EACCES)"},
		} {
			c := shim(command())
			c.Argv, c.Dir, c.Credential = []string{tc.argv0}, tc.cwd, nobody()
			e := failing(t, s, c)
			if want := strings.ReplaceAll(tc.want, "DIR/", dir+"/"); e.Error() != want || e.Step != tc.step {
				t.Errorf("%s: %v\nwant %s", e.Step, e, want)
			}
		}
		// And no thread of ours has become somebody else.
		for range 20 {
			if fd, err := os.Open(dir + "/closed/prog"); err != nil {
				t.Fatal(err)
			} else if err := fd.Close(); err != nil {
				t.Fatal(err)
			}
		}
		tasks, err := filepath.Glob("/proc/self/task/*/status")
		if err != nil || len(tasks) == 0 {
			t.Fatal(tasks, err)
		}
		for _, task := range tasks {
			b, err := os.ReadFile(task)
			if err == nil && !strings.Contains(string(b), "\nUid:\t0\t0\t0\t0\n") {
				t.Errorf("%s is not root's any more", task)
			}
		}
	})
}

func TestWhyTheDirectoryFails(t *testing.T) {
	dir := place(t)
	bothWays(t, func(t *testing.T, shim func(*Command) *Command) {
		s := spawner(t)
		for _, tc := range []struct{ dir, want string }{
			{"/no/such", "cannot change to directory /no/such: no such directory (ENOENT)"},
			{dir + "/plain", "cannot change to directory " + dir + "/plain: not a directory (ENOTDIR)"},
			{dir + "/a\x00b", `cannot change to directory "` + dir + `/a\x00b": it contains a NUL byte (EINVAL)`},
		} {
			c := shim(command("exit", "0"))
			c.Dir = tc.dir
			if e := failing(t, s, c); e.Error() != tc.want || e.Step != StepDirectory || e.ExitCode() != 1 {
				t.Errorf("%s: %v (%d)\nwant %s", e.Step, e, e.ExitCode(), tc.want)
			}
		}
	})
}

func TestBusyAndTooLong(t *testing.T) {
	dir := publicDir(t)
	program, err := os.ReadFile("/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/busy", program, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(dir+"/busy", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	bothWays(t, func(t *testing.T, shim func(*Command) *Command) {
		s := spawner(t)
		c := shim(command())
		c.Argv = []string{dir + "/busy"}
		if e := failing(t, s, c); e.Error() != "cannot exec "+dir+"/busy: some process has it open for writing (ETXTBSY)" || e.ExitCode() != 126 {
			t.Error(e)
		}
		c = shim(command("echo", strings.Repeat("x", 3<<20)))
		if e := failing(t, s, c); e.Error() != "cannot exec "+bin+"/misbehave: its arguments and environment are too long (E2BIG)" {
			t.Error(e)
		}
		c = shim(command("echo", strings.Repeat("x", 9<<20)))
		if e := failing(t, s, c); e.Error() != "cannot exec "+bin+"/misbehave: its arguments and environment are too long (E2BIG)" {
			t.Error(e)
		}
	})
}

func TestNoDescriptorsLeft(t *testing.T) {
	text := asChild(t, "spawn-fail", nil, Command{})
	want := "clone true 1 cannot make a process: too many open files (EMFILE)\n" +
		"clone true 1 cannot make a process: cannot make a memfd (EMFILE)\n"
	if text != want {
		t.Errorf("%q\nwant %q", text, want)
	}
}

// TestProcessLimit: a user over the limit is told at exec, and it may pass.
func TestProcessLimit(t *testing.T) {
	needRoot(t)
	s := spawner(t)
	other := command("hang")
	other.Credential = &Credential{UID: 61234, GID: 61234}
	pid, exit := launch(t, s, other)
	c := command("exit", "0")
	c.Credential = other.Credential
	c.Rlimits = []spec.Rlimit{{Name: "nproc", Soft: 0, Hard: 0}}
	e := failing(t, s, c)
	if e.Step != StepExec || !e.Again() || e.ExitCode() != 1 {
		t.Errorf("%s %v: again %v, exit code %d", e.Step, e, e.Again(), e.ExitCode())
	}
	if err := Signal(pid, "SIGKILL"); err != nil {
		t.Fatal(err)
	}
	wait(t, exit)
}

func TestNotPermitted(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("skipped: root may; it runs this as another user in TestAsAnotherUser")
	}
	s := spawner(t)
	bothWays(t, func(t *testing.T, shim func(*Command) *Command) {
		c := shim(command("exit", "0"))
		c.Credential = &Credential{UID: 1, GID: 1}
		if e := failing(t, s, c); e.Error() != "cannot become uid 1 gid 1: only root may become another user (EPERM)" || e.Step != StepUser {
			t.Error(e)
		}
	})
	minus, low := -5, -1000
	c := command("exit", "0")
	c.Nice = &minus
	if e := failing(t, s, c); e.Error() != "cannot set nice -5: it may only be lowered with CAP_SYS_NICE (EACCES)" {
		t.Error(e)
	}
	c = command("exit", "0")
	c.OOMScoreAdj = &low
	if e := failing(t, s, c); e.Error() != "cannot set oom_score_adj -1000: it may only be lowered with CAP_SYS_RESOURCE (EACCES)" {
		t.Error(e)
	}
	c = command("exit", "0")
	c.Rlimits = []spec.Rlimit{{Name: "nofile", Soft: 10, Hard: 1 << 30}}
	if e := failing(t, s, c); e.Error() != "cannot set rlimit nofile: a hard limit may only be raised with CAP_SYS_RESOURCE (EPERM)" {
		t.Error(e)
	}
}

func TestSettingsThatCannotBe(t *testing.T) {
	s := spawner(t)
	umask, nice, oom := uint32(0o1000), 20, -1001
	for _, tc := range []struct {
		c    Command
		want string
	}{
		{Command{Umask: &umask}, "cannot set umask 1000: it is above 0777 (EINVAL)"},
		{Command{Nice: &nice}, "cannot set nice 20: it is not within -20 and 19 (EINVAL)"},
		{Command{OOMScoreAdj: &oom}, "cannot set oom_score_adj -1001: it is not within -1000 and 1000 (EINVAL)"},
		{Command{Rlimits: []spec.Rlimit{{Name: "bananas"}}}, "cannot set rlimit bananas: there is no such resource (EINVAL)"},
		{Command{Rlimits: []spec.Rlimit{{Name: "core", Soft: 2, Hard: 1}}}, "cannot set rlimit core: the soft limit is above the hard one (EINVAL)"},
	} {
		tc.c.Argv, tc.c.Stdout, tc.c.Stderr, tc.c.CgroupFD = []string{"/bin/true"}, -1, -1, -1
		if e := failing(t, s, &tc.c); e.Error() != tc.want || e.ExitCode() != 1 {
			t.Errorf("%v (%d)\nwant %s", e, e.ExitCode(), tc.want)
		}
	}
}

func TestWrongShim(t *testing.T) {
	dir := publicDir(t)
	if err := os.WriteFile(dir+"/liar", []byte("#!/bin/sh\necho nonsense >&4\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/victim", []byte("#!/bin/sh\nkill -9 $$\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	umask := uint32(0)
	for _, tc := range []struct{ shim, want string }{
		{"", "cannot run nines-exec: umask, rlimits, nice, oom_score_adj, listen and heartbeat need it, and it was not found beside nines (ENOENT)"},
		{"/no/nines-exec", "cannot run /no/nines-exec: no such file (ENOENT)"},
		{dir, "cannot run " + dir + ": it is a folder (EACCES)"},
		{dir + "/liar", "cannot run " + dir + "/liar: it is not of this version: install all programs of nines together"},
		{dir + "/victim", "cannot run " + dir + "/victim: it ended before the exec"},
	} {
		s, err := NewSpawner(tc.shim)
		if err != nil {
			t.Fatal(err)
		}
		c := command("exit", "0")
		c.Umask = &umask
		if e := failing(t, s, c); e.Error() != tc.want || e.Step != StepShim || e.ExitCode() != 1 {
			t.Errorf("%s: %v\nwant %s", e.Step, e, tc.want)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWrongCgroup(t *testing.T) {
	tree := cgroupTree(t)
	null, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	g, fd, err := tree.Create("removed")
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := g.Remove(within(t)); err != nil {
		t.Fatal(err)
	}
	bothWays(t, func(t *testing.T, shim func(*Command) *Command) {
		s := spawner(t)
		c := shim(command("exit", "0"))
		c.CgroupFD = int(null.Fd())
		if e := failing(t, s, c); e.Error() != "cannot make a process in its cgroup: the descriptor is not one of a cgroup (EBADF)" || e.Step != StepCgroup {
			t.Error(e)
		}
		c.CgroupFD = fd
		if e := failing(t, s, c); e.Error() != "cannot make a process in its cgroup: it has been removed (ENOENT)" || e.Step != StepCgroup {
			t.Error(e)
		}
	})
}

// TestNoexec: where nothing can be executed, that is said. In a mount namespace of its
// own a filesystem is mounted so.
func TestNoexec(t *testing.T) {
	if !testkit.InNamespace(t) {
		return
	}
	dir := testkit.Disk(t, "1m")
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_NOEXEC, ""); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "web")
	if err := os.WriteFile(name, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	c := command()
	c.Argv = []string{name}
	if e := failing(t, spawner(t), c); e.Error() != "cannot exec "+name+": permission denied: its filesystem is mounted noexec (EACCES)" {
		t.Error(e)
	}
}

func TestErrorKinds(t *testing.T) {
	for _, no := range []syscall.Errno{unix.EAGAIN, unix.ENOMEM, unix.EMFILE, unix.ENFILE} {
		e := &Error{Step: StepClone, Err: no}
		if !e.Again() || e.ExitCode() != 1 || !errors.Is(e, no) {
			t.Errorf("%v", e)
		}
	}
	if e := (&Error{Step: StepShim, Path: "x", Why: "why", Err: errors.New("because")}); e.Error() != "cannot run x: why: because" || e.Again() {
		t.Error(e)
	}
	if e := (&Error{Step: StepUser, Path: "user x", Why: "there is none", Err: ErrNoUser}); !errors.Is(e, ErrNoUser) {
		t.Error(e)
	}
}
