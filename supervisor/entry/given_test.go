package entry

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// brokenPipe is one that nobody reads any more.
func brokenPipe(t *testing.T) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	t.Cleanup(func() { w.Close() })
	return w
}

// masks are the ignored and the blocked signals of what prints its status. (cat
// does; grep catches SIGSEGV.)
func (r *run) masks() string {
	r.t.Helper()
	var ignored, blocked string
	for ignored == "" {
		l := r.line()
		if l == "" {
			r.t.Fatal("no status")
		}
		if v, ok := strings.CutPrefix(l, "SigBlk:\t"); ok {
			blocked = v
		}
		if v, ok := strings.CutPrefix(l, "SigIgn:\t"); ok {
			ignored = v
		}
	}
	return ignored + " " + blocked
}

func TestSignalsAsGiven(t *testing.T) {
	all := ^setOf(unix.SIGKILL, unix.SIGSTOP)
	for _, c := range []struct{ ignored, blocked set }{
		{0, 0},
		{setOf(unix.SIGTTOU, unix.SIGSEGV, unix.SIGINT), setOf(unix.SIGTTIN, unix.SIGILL, unix.SIGTERM)},
		{setOf(unix.SIGPIPE), 0},
		{setOf(unix.SIGHUP, unix.SIGCHLD, 64), setOf(unix.SIGCHLD)},
		{0, all},
		{all, 0},
		{all, all},
	} {
		argv := append(role(t, "given", format(c.ignored), format(c.blocked)), program(t, binary), "--", "cat", "/proc/self/status")
		r := startAs(t, argv, nil)
		if got, want := r.masks(), fmt.Sprintf("%016x %016x", uint64(c.ignored), uint64(c.blocked)); got != want {
			t.Errorf("ignored and blocked: %s, want %s", got, want)
		}
		r.ends(0)
	}
}

// What we were to block or ignore is passed on all the same, as tini does: the
// command may want it by then.
func TestBlockedSignalsArePassedOn(t *testing.T) {
	sigs := setOf(unix.SIGUSR1, unix.SIGHUP, unix.SIGILL, unix.SIGINT)
	for _, how := range [][]string{{format(sigs), "0"}, {"0", format(sigs)}} {
		// The command does not get what is blocked in it, so: -v says it.
		argv := append(role(t, "given", how...), program(t, binary), "-v", "--", "sh", "-c", "echo ready; exec sleep 1000")
		r := startAs(t, argv, nil)
		r.says("ready")
		for _, sig := range []unix.Signal{unix.SIGUSR1, unix.SIGHUP, unix.SIGILL, unix.SIGINT} {
			r.signal(sig)
			until(t, "it passes "+signalName(sig)+" on", func() bool {
				return strings.Contains(r.stderr.String(), "passing "+signalName(sig)+" on as "+signalName(sig)+"\n")
			})
		}
		r.signal(unix.SIGTERM)
		r.ends(143)
	}
}

func TestDescriptorLimitAsGiven(t *testing.T) {
	init := program(t, binary)
	for _, before := range []string{"", "trap '' PIPE; "} { // directly, by the shim
		r := startAs(t, []string{"sh", "-c", before + "ulimit -Sn 123; exec " + init + " -- sh -c 'ulimit -Sn; ulimit -Hn'"}, nil)
		want := startAs(t, []string{"sh", "-c", "ulimit -Sn 123; ulimit -Sn; ulimit -Hn"}, nil)
		for range 2 {
			r.says(want.line())
		}
		r.ends(0)
	}
}

func TestDescriptorsAsGiven(t *testing.T) {
	init := program(t, binary)
	for _, before := range []string{"", "trap '' PIPE; "} { // directly, by the shim
		show := func(by, open string) (fds []string) {
			// One of them is the folder that ls lists.
			r := startAs(t, []string{"sh", "-c", before + "exec " + by + " ls /proc/self/fd " + open}, nil)
			defer r.ends(0)
			for l := r.line(); l != ""; l = r.line() {
				fds = append(fds, l)
			}
			return fds
		}
		// Those that were left open for the command.
		open := "5</dev/null 7</dev/null"
		want := show("env", open)
		if got := show(init+" --", open); !slices.Contains(got, "5") || !slices.Contains(got, "7") || !slices.Equal(got, want) {
			t.Errorf("%sdescriptors %s, want %s", before, got, want)
		}
		// One that was closed: Go opens /dev/null for it.
		want = show("env", "<&-")
		if got := show(init+" --", "<&-"); len(got) != len(want)+1 {
			t.Errorf("%sdescriptors %s, want one more than %s", before, got, want)
		}
	}
}

// What the command closes is closed, though nines-init inherited it as well.
func TestNothingIsKeptOpen(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	r := startAs(t, []string{program(t, binary), "--", "sh", "-c", "exec 3>&-; echo closed; read line"}, func(c *exec.Cmd) {
		c.ExtraFiles = []*os.File{write}
	})
	write.Close()
	r.says("closed")
	if n, err := read.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("read %d, %v", n, err)
	}
	r.stdin.Close()
	r.ends(1)
}

func TestWorkingDirectory(t *testing.T) {
	dir := t.TempDir()
	r := startAs(t, []string{program(t, binary), "--", "sh", "-c", "pwd; read line"}, func(c *exec.Cmd) { c.Dir = dir })
	r.says(dir)
	until(t, "it has let go of its folder", func() bool {
		cwd, err := os.Readlink("/proc/" + strconv.Itoa(r.cmd.Process.Pid) + "/cwd")
		return err == nil && cwd == "/"
	})
	r.stdin.Close()
	r.ends(1)
}

func TestListenPID(t *testing.T) {
	init := program(t, binary)
	show := ` -- sh -c 'echo $LISTEN_PID $LISTEN_FDS ${LISTEN_PIDFDID-none} $$'`
	r := startAs(t, []string{"sh", "-c", "LISTEN_FDS=1 LISTEN_PIDFDID=5 LISTEN_PID=$$ exec " + init + show}, nil)
	got := strings.Fields(r.line())
	if len(got) != 4 || got[0] != got[3] || got[1] != "1" || got[2] != "none" {
		t.Errorf("LISTEN_PID of ours: %v", got)
	}
	r.ends(0)
	r = startAs(t, []string{"sh", "-c", "LISTEN_FDS=1 LISTEN_PIDFDID=5 LISTEN_PID=77777777 exec " + init + show}, nil)
	if got := strings.Fields(r.line()); len(got) != 4 || got[0] != "77777777" || got[2] != "5" {
		t.Errorf("LISTEN_PID of another: %v", got)
	}
	r.ends(0)
}

func TestShimRefusesNonsense(t *testing.T) {
	for _, args := range [][]string{nil, {"0", "0", "9", "/bin/true"}, {"x", "0", "9", "/bin/true", "true"}, {"0", "-", "9", "/bin/true", "true"}, {"0", "0", "", "/bin/true", "true"}} {
		if code := Shim(args, nil); code != 2 {
			t.Errorf("%q: %d", args, code)
		}
	}
}
