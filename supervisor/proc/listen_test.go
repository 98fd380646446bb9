package proc

import (
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nines/spec"
	"nines/supervisor/proc/shim"
)

// sockets makes n sockets that can be told apart, and what each is called in
// /proc.
func sockets(t *testing.T, n int) (fds []int, names []string) {
	t.Helper()
	for range n {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { closeAll(fd) })
		name, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
		if err != nil {
			t.Fatal(err)
		}
		fds, names = append(fds, fd), append(names, name)
	}
	return fds, names
}

// TestListen: the sockets are 3 and up in their order, nothing of the shim's is
// left beside them, and LISTEN_PID is the pid of the service.
func TestListen(t *testing.T) {
	s := spawner(t)
	for _, n := range []int{1, 2, 3, 7} {
		fds, names := sockets(t, n)
		slices.Reverse(fds)
		slices.Reverse(names)
		c := command()
		c.Listen, c.Env = fds, []string{"LISTEN_FDS=" + strconv.Itoa(n)}
		r := runReport(t, s, c)
		if want := append(slices.Clone(c.Env), "LISTEN_PID="+strconv.Itoa(r.PID)); !slices.Equal(r.Env, want) {
			t.Errorf("%d: environment %q, want %q", n, r.Env, want)
		}
		if len(r.FDs) != 3+n {
			t.Errorf("%d: descriptors %v", n, r.FDs)
		}
		for i, name := range names {
			if got := r.FDs[strconv.Itoa(3+i)]; got != name {
				t.Errorf("%d: descriptor %d is %s, want %s", n, 3+i, got, name)
			}
		}
		// A limit that has no room for what the shim itself needs.
		c = command("exit", "0")
		c.Listen = fds
		c.Rlimits = []spec.Rlimit{{Name: "nofile", Soft: uint64(3 + n), Hard: uint64(3 + n)}}
		if st := run(t, s, c); st != (Status{}) {
			t.Errorf("%d: %+v", n, st)
		}
	}
}

// TestListenFailures: what is said of a start with sockets is still heard.
func TestListenFailures(t *testing.T) {
	fds, _ := sockets(t, 4)
	failure := func(s *Spawner, c *Command) *Error {
		_, confirm, exit, err := theReaper.start(s, c)
		if err == nil {
			err = confirm()
			wait(t, exit)
		}
		var e *Error
		if !errors.As(err, &e) {
			t.Fatalf("%v", err)
		}
		return e
	}
	c := command()
	c.Listen = fds
	c.Argv[0] = "/no/such/program"
	if e := failure(spawner(t), c); e.Step != StepExec || !errors.Is(e, unix.ENOENT) {
		t.Errorf("no program: %v", e)
	}
	c = command()
	c.Listen = slices.Repeat(fds, shim.MaxListen)
	if e := failure(spawner(t), c); e.Step != StepListen || e.Error() != "cannot listen on 1024 sockets: a service can be given 256 at most (EINVAL)" {
		t.Errorf("too many: %v", e)
	}
	c = command()
	c.Listen = fds
	if e := failure(&Spawner{null: -1}, c); e.Step != StepShim || e.Err != unix.ENOENT {
		t.Errorf("no shim: %v", e)
	}
}

// TestReadyDescriptor: it has the number that was asked for, beside sockets and
// without, and nothing else is open.
func TestReadyDescriptor(t *testing.T) {
	s := spawner(t)
	for _, as := range []struct{ sockets, ready int }{{0, 3}, {0, 9}, {0, 1000}, {1, 4}, {1, 5}, {2, 5}, {2, 6}, {3, 6}, {7, 200}} {
		fds, _ := sockets(t, as.sockets)
		r, w, err := ReadyPipe(nil)
		if err != nil {
			t.Fatal(err)
		}
		name, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(w))
		if err != nil {
			t.Fatal(err)
		}
		c := command()
		c.Listen, c.Ready, c.ReadyAs, c.Watchdog = fds, w, as.ready, as.sockets == 2
		report := runReport(t, s, c)
		closeAll(r, w)
		if got := report.FDs[strconv.Itoa(as.ready)]; got != name || len(report.FDs) != 3+as.sockets+1 {
			t.Errorf("%+v: descriptors %v, want %s", as, report.FDs, name)
		}
		if got := slices.Contains(report.Env, "WATCHDOG_PID="+strconv.Itoa(report.PID)); got != c.Watchdog {
			t.Errorf("%+v: environment %q", as, report.Env)
		}
	}
	fds, _ := sockets(t, 2)
	c := command()
	c.Listen, c.Ready, c.ReadyAs = fds, fds[0], 4
	if _, _, err := s.Start(c); err == nil || !strings.Contains(err.Error(), "descriptor 4: it is one of those that the 2 sockets get") {
		t.Errorf("one of the sockets': %v", err)
	}
}
