package notify

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// service makes a socket, and a connection to it.
func service(t *testing.T) (*Socket, int) {
	t.Helper()
	dir, err := os.MkdirTemp("", "nines")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s, err := ListenService(Address(dir+"/notify"), 0o666, -1, -1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, dial(t, s.Address())
}

func dial(t *testing.T, a Address) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: string(a)}); err != nil {
		t.Fatal(err)
	}
	return fd
}

func say(t *testing.T, fd int, text string, fds ...int) {
	t.Helper()
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	if err := unix.Sendmsg(fd, []byte(text), oob, nil, 0); err != nil {
		t.Fatal(err)
	}
}

func TestServiceSocket(t *testing.T) {
	s, c := service(t)
	buf := make([]byte, MaxDatagram)
	if _, err := s.Look(buf); !errors.Is(err, ErrWouldBlock) {
		t.Fatalf("Look at nothing: %v", err)
	}
	before := openFDs(t)
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	say(t, c, "FDSTORE=1\nFDNAME=x", int(null.Fd()))
	say(t, c, "WATCHDOG=1")
	if n, err := s.Look(buf); err != nil || string(buf[:n]) != "FDSTORE=1\nFDNAME=x" {
		t.Fatalf("Look = %q, %v", buf[:n], err)
	}
	for _, peek := range []bool{true, true, false} {
		d, err := s.Take(buf, peek)
		if err != nil || string(d.Text) != "FDSTORE=1\nFDNAME=x" || len(d.FDs) != 1 || d.Sender.PID != os.Getpid() || d.Sender.UID != uint32(os.Geteuid()) || d.Lost {
			t.Fatalf("Take = %+v, %v", d, err)
		}
		CloseAll(d.FDs)
	}
	if err := s.Drop(); err != nil {
		t.Fatal(err)
	}
	if err := s.Drop(); !errors.Is(err, ErrWouldBlock) {
		t.Fatalf("Drop of nothing: %v", err)
	}
	if after := openFDs(t); after != before+1 {
		t.Errorf("%d descriptors open, were %d", after, before+1)
	}
}

func TestTooLongADatagramIsTakenAway(t *testing.T) {
	s, c := service(t)
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	before := openFDs(t)
	say(t, c, strings.Repeat("x", MaxDatagram+1), int(null.Fd()))
	buf := make([]byte, MaxDatagram)
	if _, err := s.Look(buf); !errors.Is(err, ErrTruncated) {
		t.Errorf("Look: %v", err)
	}
	if d, err := s.Take(buf, true); !errors.Is(err, ErrTruncated) || d.FDs != nil || d.Sender.PID != os.Getpid() {
		t.Errorf("Take = %+v, %v", d, err)
	}
	if err := s.Drop(); err != nil {
		t.Fatal(err)
	}
	if after := openFDs(t); after != before {
		t.Errorf("%d descriptors open, were %d", after, before)
	}
}

func TestAbstractAndImpossibleAddresses(t *testing.T) {
	a := Address("@nines-test-" + t.TempDir())[:40]
	s, err := ListenService(a, 0, -1, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if s.Address() != a || !s.Reachable() {
		t.Errorf("it is at %q", s.Address())
	}
	say(t, dial(t, a), "READY=1")
	if _, err := ListenService(a, 0, -1, -1); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("a second one there: %v", err)
	}
	for _, a := range []Address{"", "/", "notify", "@", Address("/" + strings.Repeat("x", MaxAddress)), "/a\x00b"} {
		if _, err := ListenService(a, 0, -1, -1); err == nil || !strings.HasPrefix(err.Error(), "cannot make a socket at ") {
			t.Errorf("%q: %v", a, err)
		}
	}
	if _, err := ListenService("/nowhere/at/all", 0, -1, -1); !errors.Is(err, unix.ENOENT) {
		t.Errorf("no folder: %v", err)
	}
}

func TestTakeSocket(t *testing.T) {
	s, c := service(t)
	if !s.Reachable() {
		t.Error("it cannot be reached")
	}
	say(t, c, "READY=1")
	fd, err := unix.FcntlInt(uintptr(s.Descriptor()), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		t.Fatal(err)
	}
	next, err := TakeSocket(fd)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	buf := make([]byte, MaxDatagram)
	if d, err := next.Take(buf, false); err != nil || !bytes.Equal(d.Text, []byte("READY=1")) {
		t.Errorf("Take = %q, %v", d.Text, err)
	}
	if err := os.Remove(string(s.Address())); err != nil {
		t.Fatal(err)
	}
	if next.Reachable() {
		t.Error("it is reached where there is no file")
	}
	a, b, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(b)
	if _, err := TakeSocket(a); !errors.Is(err, unix.EPROTOTYPE) {
		t.Errorf("a socket of another kind: %v", err)
	}
}

// asSender is the variable by which this program is a process that sends READY=1
// to a socket, and ends.
const asSender = "NINES_TEST_SENDER"

func beSender(to string) int {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Sendto(fd, []byte("READY=1"), 0, &unix.SockaddrUnix{Name: to})
	}
	if err != nil {
		return 1
	}
	return 0
}

// The cgroup of a sender is told even when it has been reaped before anybody
// read what it sent.
func TestCgroupOfADeadSender(t *testing.T) {
	s, _ := service(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asSender+"="+string(s.Address()))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	buf := make([]byte, MaxDatagram)
	d, err := s.Take(buf, false)
	if err != nil {
		t.Fatal(err)
	}
	if d.Sender.PID != cmd.Process.Pid {
		t.Errorf("sender %+v, it was %d", d.Sender, cmd.Process.Pid)
	}
	t.Logf("sender: %+v", d.Sender)
}

func TestNewline(t *testing.T) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	want := func(found, ended bool) {
		t.Helper()
		if f, e, err := Newline(p[0]); f != found || e != ended || err != nil {
			t.Fatalf("Newline = %v, %v, %v", f, e, err)
		}
	}
	want(false, false)
	unix.Write(p[1], bytes.Repeat([]byte("x"), 10000))
	want(false, false)
	want(false, false)
	unix.Write(p[1], []byte("up\nand more"))
	want(true, false)
	want(true, false) // it stays
	unix.Close(p[1])
	want(true, false)
	unix.Read(p[0], make([]byte, 100))
	want(false, true)
	unix.Close(p[0])
	if _, ended, err := Newline(p[0]); !ended || err == nil {
		t.Errorf("a closed one: %v, %v", ended, err)
	}
}

func TestPoller(t *testing.T) {
	p, err := NewPoller()
	if err != nil {
		t.Fatal(err)
	}
	s, c := service(t)
	if err := p.Add(s.Descriptor(), 7); err != nil {
		t.Fatal(err)
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	if err := p.AddHangup(pipe[0], 9); err != nil {
		t.Fatal(err)
	}
	unix.Write(pipe[1], []byte("of no interest"))
	got := make(chan uint32)
	done := make(chan error)
	go func() {
		tokens := make([]uint32, 4)
		for {
			n, err := p.Wait(tokens)
			if err != nil {
				done <- err
				return
			}
			for _, token := range tokens[:n] {
				got <- token
				if token == 7 {
					s.Drop()
				}
			}
		}
	}()
	for range 3 {
		say(t, c, "WATCHDOG=1")
		if token := <-got; token != 7 {
			t.Fatalf("token %d", token)
		}
	}
	unix.Close(pipe[1])
	if token := <-got; token != 9 {
		t.Fatalf("token %d", token)
	}
	if err := errors.Join(p.Remove(s.Descriptor()), p.Remove(s.Descriptor()), p.Remove(pipe[0])); err != nil {
		t.Error(err)
	}
	if err := p.Add(1<<20, 1); !errors.Is(err, unix.EBADF) {
		t.Errorf("Add of nothing: %v", err)
	}
	file, err := os.Open("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := p.AddHangup(int(file.Fd()), 1); !errors.Is(err, unix.EPERM) {
		t.Errorf("a file: %v", err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Errorf("Wait after Close: %v", err)
	}
	unix.Close(pipe[0])
}
