package proc

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestAsAnotherUser runs the tests that mean something without privileges once
// more, without privileges.
func TestAsAnotherUser(t *testing.T) {
	needRoot(t)
	c := &Command{
		Argv: []string{bin + "/test", "-test.v", "-test.run",
			"^Test(WhatAServiceInherits|Output|Statuses|OurOwn|ShimSettings|ShimUnder|CleanSignals|Soft|Why|NotPermitted|Tree|KillWithMain|KillRefused|Without|FindMarked|Many)"},
		Dir:        publicDir(t),
		Env:        []string{binVariable + "=" + bin, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + publicDir(t)},
		Credential: nobody(),
		CgroupFD:   -1,
	}
	log, err := os.Create(c.Dir + "/log")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	c.Stdout, c.Stderr = int(log.Fd()), int(log.Fd())
	_, exit := launch(t, spawner(t), c)
	var st Status
	select {
	case st = <-exit:
	case <-time.After(4 * patience):
		t.Error("it does not end")
	}
	text, err := os.ReadFile(log.Name())
	if err != nil {
		t.Fatal(err)
	}
	if st != (Status{}) || !strings.Contains(string(text), "--- PASS: TestNotPermitted") {
		t.Errorf("%+v:\n%s", st, text)
	}
}

func TestSignalNumber(t *testing.T) {
	for name, want := range map[string]int{
		"SIGTERM": 15, "TERM": 15, "sigterm": 15, "15": 15, "SIGKILL": 9, "SIGCLD": 17, "SIGIOT": 6, "SIGPOLL": 29,
		"SIGRTMIN": 34, "SIGRTMIN+3": 37, "RTMIN+30": 64, "SIGRTMAX": 64, "SIGRTMAX-2": 62,
	} {
		if n, ok := SignalNumber(name); !ok || n != want {
			t.Errorf("%s: %d, %v; want %d", name, n, ok, want)
		}
	}
	for _, name := range []string{"", "SIG", "SIGNOTHING", "0", "65", "-1", "SIGRTMIN-1", "SIGRTMAX+1", "SIGRTMIN3", "SIGRTMIN+x"} {
		if n, ok := SignalNumber(name); ok {
			t.Errorf("%q is %d", name, n)
		}
	}
	for n := 1; n <= 64; n++ {
		name := SignalName(n)
		if back, ok := SignalNumber(name); n != 32 && n != 33 && (!ok || back != n) {
			t.Errorf("%d is %s is %d, %v", n, name, back, ok)
		}
	}
}

func TestSignalIsCareful(t *testing.T) {
	for _, pid := range []int{-1, 0, 1, os.Getpid()} {
		if err := Signal(pid, "SIGKILL"); err == nil {
			t.Errorf("%d was signalled", pid)
		}
		if err := SignalProcess(pid, 0, "SIGKILL"); err == nil {
			t.Errorf("%d was signalled", pid)
		}
	}
	if err := Signal(2, "SIGNOTHING"); err == nil {
		t.Error("no such signal, no error")
	}
	pid, exit := launch(t, spawner(t), command("exit", "0"))
	wait(t, exit)
	if err := Signal(pid, "SIGTERM"); err != nil {
		t.Errorf("a process that has ended: %v", err)
	}
}

func TestStat(t *testing.T) {
	rss, cpu, start, err := ReadStat(os.Getpid())
	if err != nil || rss < 1<<20 || rss > 1<<34 || cpu > time.Hour || start == 0 {
		t.Errorf("rss %d, cpu %v, start %d, %v", rss, cpu, start, err)
	}
	if again, err := StartTime(os.Getpid()); err != nil || again != start {
		t.Errorf("start %d, %v; want %d", again, err, start)
	}
	if _, err := StartTime(1 << 30); !errors.Is(err, unix.ESRCH) {
		t.Errorf("%v", err)
	}
	pid, exit := launch(t, spawner(t), command("spin", "1"))
	until(t, "it has used the CPU", func() bool { _, cpu, _, err := ReadStat(pid); return err == nil && cpu >= 20*time.Millisecond })
	if err := Signal(pid, "SIGKILL"); err != nil {
		t.Fatal(err)
	}
	wait(t, exit)
}

func TestParseStat(t *testing.T) {
	const rest = " S 1 12 11 0 -1 4194560 100 0 0 0 7 8 0 0 20 0 1 0 4242 12345 99 18446744073709551615 1 1 0 0 0 0 0 4096 0 0 0 0 17 3 0 0 0 0 0\n"
	want := stat{pid: 12, parent: 1, group: 12, session: 11, state: 'S', cpu: 15, start: 4242, rss: 99}
	for _, name := range []string{"a", "a b", "a) b (c", ") R 1", ""} {
		if st, ok := parseStat([]byte("12 (" + name + ")" + rest)); !ok || st != want {
			t.Errorf("%q: %+v, %v", name, st, ok)
		}
	}
	released := strings.Replace("12 (a)"+rest, "12 11 0", "-1 -1 0", 1)
	if st, ok := parseStat([]byte(released)); !ok || st.group != 0 || st.session != 0 {
		t.Errorf("%+v, %v", st, ok)
	}
	for _, bad := range []string{"", "12", "12 (a)", "12 (a) S", "x (a)" + rest, "12 a" + rest, "12 (a) S 1 2 3 4 5 6 7 8 9 10 11 12"} {
		if st, ok := parseStat([]byte(bad)); ok {
			t.Errorf("%q: %+v", bad, st)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	b, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte("1 () Z 0 -1 -1 0"))
	f.Fuzz(func(t *testing.T, b []byte) { parseStat(b) })
}

func TestReapLeavesNobodyBehind(t *testing.T) {
	// The reaper of the tests is at work; nothing must be left for us.
	pid, exit := launch(t, spawner(t), command("exit", "0"))
	wait(t, exit)
	if _, err := StartTime(pid); !errors.Is(err, unix.ESRCH) {
		t.Errorf("%d is a zombie: %v", pid, err)
	}
}

func TestStatusOf(t *testing.T) {
	for ws, want := range map[unix.WaitStatus]Status{
		0:           {},
		0x0700:      {Code: 7},
		9:           {Signal: "SIGKILL"},
		0x80 | 11:   {Signal: "SIGSEGV", Core: true},
		34:          {Signal: "SIGRTMIN"},
		(255 << 8):  {Code: 255},
		(128 << 8):  {Code: 128},
		0x80 | 0x06: {Signal: "SIGABRT", Core: true},
	} {
		if got := status(ws); got != want {
			t.Errorf("%#x: %+v, want %+v", int(ws), got, want)
		}
	}
}

const testPasswd = `root:x:0:0:root:/root:/bin/bash
# a comment
www:x:33:34:web:/var/www:/usr/sbin/nologin
bare:x:50:51:::
12:x:60:61:a name that is a number:/n:/bin/n
broken:x:abc:1::/:
short:x:1
`

const testGroup = `root:x:0:
web:x:34:
ssl:x:100:www,postgres
logs:x:101:postgres,www
bad:x:none:www
7:x:77:
`

func TestLookupUser(t *testing.T) {
	db := &users{passwd: testPasswd, group: testGroup}
	for _, c := range []struct {
		user, group string
		groups      []string
		want        User
		err         string
	}{
		{"www", "", nil, User{Credential{33, 34, []uint32{34, 100, 101}}, "www", "/var/www", "/usr/sbin/nologin"}, ""},
		{"33", "", nil, User{Credential{33, 34, []uint32{34, 100, 101}}, "www", "/var/www", "/usr/sbin/nologin"}, ""},
		{"www", "root", []string{"ssl", "7", "500"}, User{Credential{33, 0, []uint32{0, 77, 100, 101, 500}}, "www", "/var/www", "/usr/sbin/nologin"}, ""},
		{"bare", "", nil, User{Credential{50, 51, []uint32{51}}, "bare", "/", "/bin/sh"}, ""},
		{"12", "", nil, User{Credential{60, 61, []uint32{61}}, "12", "/n", "/bin/n"}, ""},
		{"4711", "4712", nil, User{Credential{4711, 4712, []uint32{4712}}, "4711", "/", "/bin/sh"}, ""},
		{"4711", "", nil, User{}, "cannot become user 4711: a number that is not in /etc/passwd needs a group too: no such user"},
		{"nobody-here", "", nil, User{}, "cannot become user nobody-here: there is none in /etc/passwd: no such user"},
		{"broken", "", nil, User{}, "cannot become user broken: its record in /etc/passwd is damaged: no such user"},
		{"short", "", nil, User{}, "cannot become user short: there is none in /etc/passwd: no such user"},
		{"4294967295", "root", nil, User{}, "cannot become user 4294967295: there is none in /etc/passwd: no such user"},
		{"www", "none", nil, User{}, "cannot become group none: there is none in /etc/group: no such group"},
		{"www", "bad", nil, User{}, "cannot become group bad: its record in /etc/group is damaged: no such group"},
		{"www", "", []string{"none"}, User{}, "cannot become group none: there is none in /etc/group: no such group"},
	} {
		got, err := db.lookup(c.user, c.group, c.groups)
		if c.err != "" {
			if err == nil || err.Error() != c.err {
				t.Errorf("%s %s %v: %v\nwant %s", c.user, c.group, c.groups, err, c.err)
			}
			continue
		}
		if err != nil || got.UID != c.want.UID || got.GID != c.want.GID || !slices.Equal(got.Groups, c.want.Groups) ||
			got.Name != c.want.Name || got.Home != c.want.Home || got.Shell != c.want.Shell {
			t.Errorf("%s %s %v: %+v, %v\nwant %+v", c.user, c.group, c.groups, got, err, c.want)
		}
	}
}

func TestLookupCurrentUser(t *testing.T) {
	for _, db := range []*users{{}, {passwd: testPasswd, group: testGroup}} {
		u, err := db.lookup("", "", nil)
		if err != nil || u.UID != uint32(os.Geteuid()) || u.GID != uint32(os.Getegid()) || u.Name == "" || u.Home == "" || u.Shell == "" {
			t.Errorf("%+v, %v", u, err)
		}
		self, err := current()
		if err != nil || !u.Credential.same(self) {
			t.Errorf("%+v is not %+v, %v", u.Credential, self, err)
		}
	}
	// And with the machine's own files.
	if u, err := LookupUser("0", "", nil); err != nil || u.Name != "root" {
		t.Errorf("%+v, %v", u, err)
	}
	dir := t.TempDir()
	if db, err := readUsers(dir+"/passwd", dir+"/group"); err != nil || db.passwd != "" {
		t.Errorf("missing files: %v", err)
	}
	if _, err := readUsers(dir, dir); !errors.Is(err, syscall.EISDIR) {
		t.Errorf("unreadable files: %v", err)
	}
}

func TestSame(t *testing.T) {
	a := &Credential{1, 2, []uint32{3, 4}}
	if !a.same(&Credential{1, 2, []uint32{4, 3, 3}}) {
		t.Error("the order of groups matters")
	}
	for _, b := range []*Credential{{0, 2, a.Groups}, {1, 0, a.Groups}, {1, 2, nil}, {1, 2, []uint32{3, 5}}} {
		if a.same(b) {
			t.Errorf("%+v is the same", b)
		}
	}
}

func TestHoldWithoutPidfd(t *testing.T) {
	pid, exit := launch(t, spawner(t), command("hang"))
	h := handle{pid: pid, fd: -1}
	if err := h.signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	h.await(within(t), time.Second)
	h.close()
	wait(t, exit)
	if _, err := hold(pid, 1); !errors.Is(err, unix.ESRCH) {
		t.Errorf("%s: %v", strconv.Itoa(pid), err)
	}
}

// Without /dev/null there is still nothing to read.
func TestOpenNull(t *testing.T) {
	for _, path := range []string{os.DevNull, filepath.Join(t.TempDir(), "none")} {
		fd, err := openNull(path)
		if err != nil {
			t.Fatal(err)
		}
		n, err := unix.Read(fd, make([]byte, 1))
		if n != 0 || err != nil {
			t.Errorf("%s: read %d, %v", path, n, err)
		}
		Close(fd)
	}
}
