package keeper

import (
	"bufio"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nines/supervisor/notify"
)

// listen is a service manager that reads nothing by itself.
func listen(t *testing.T, address string) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: address}); err != nil {
		t.Fatal(err)
	}
	return fd
}

func read(t *testing.T, fd int) string {
	t.Helper()
	buf := make([]byte, 1<<16)
	n, err := unix.Read(fd, buf)
	if err == unix.EAGAIN {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}

func TestServiceManager(t *testing.T) {
	for _, address := range []string{filepath.Join(t.TempDir(), "notify"), "@nines-test-" + filepath.Base(t.TempDir()) + t.Name()} {
		fd := listen(t, address)
		r := newRig(t, "NOTIFY_SOCKET="+address)
		r.up()
		r.tell("sup", nil, notify.Status("loading"))
		r.tell("sup", nil, notify.Ready(), notify.Status("2 of 2"))
		r.dies("sup", killedBy(unix.SIGKILL))
		r.tell("sup", nil, notify.Ready()) // no business of the manager's
		r.tell("sup", nil, notify.Stopping())
		r.tell("sup", nil, notify.End(0))
		r.dies("sup", exitedWith(0))
		for _, want := range []string{"STATUS=loading", "STATUS=2 of 2", "READY=1", "STOPPING=1", ""} {
			if got := read(t, fd); got != want {
				t.Errorf("%s: the manager hears %q, want %q", address, got, want)
			}
		}
	}
}

// READY=1 is not lost because the manager's queue is full; of several states
// the last counts.
func TestBusyServiceManager(t *testing.T) {
	address := filepath.Join(t.TempDir(), "notify")
	fd := listen(t, address)
	var said []string
	clock := time.Unix(1e9, 0)
	m := newManager(address, func(s string) { said = append(said, s) }, func() time.Time { return clock })
	n := 0
	for ; m.retryAt.IsZero(); n++ {
		if n > 1<<20 {
			t.Fatal("its queue takes everything")
		}
		m.status("x")
	}
	m.ready()
	m.status("last")
	if want := clock.Add(managerRetry); m.retryAt != want {
		t.Errorf("tried again at %v", m.retryAt)
	}
	for range n - 1 {
		if got := read(t, fd); got != "STATUS=x" {
			t.Fatalf("the manager hears %q", got)
		}
	}
	m.send()
	if got := read(t, fd); got != "STATUS=last\nREADY=1" || !m.retryAt.IsZero() {
		t.Errorf("then it hears %q, tried again at %v", got, m.retryAt)
	}
	if len(said) > 0 {
		t.Errorf("said %q", said)
	}
}

func TestServiceManagerThatIsNotThere(t *testing.T) {
	address := filepath.Join(t.TempDir(), "none")
	r := newRig(t, "NOTIFY_SOCKET="+address)
	r.up()
	r.tell("sup", nil, notify.Ready())
	r.wantSaid("cannot notify " + address + ": sendmsg: no such file or directory: it is not told READY")
	if !r.nextDeadline().IsZero() {
		t.Error("it is tried again")
	}
	r = newRig(t, "NOTIFY_SOCKET=vsock:2:1234")
	r.wantSaid("cannot notify vsock:2:1234")
	r.up()
	r.tell("sup", nil, notify.Ready())
}

// Nobody reads stderr: the loop goes on, and says what was lost.
func TestConsoleNeverBlocks(t *testing.T) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	con := newConsole(p[1], false)
	line := strings.Repeat("x", 1000)
	con.note("not said without -v")
	for range 1000 {
		con.say(line)
	}
	reader := os.NewFile(uintptr(p[0]), "stderr")
	defer reader.Close()
	lines := make(chan string)
	go func() {
		defer close(lines)
		s := bufio.NewScanner(reader)
		for s.Scan() {
			lines <- s.Text()
		}
	}()
	got, lost := 0, ""
	closed := make(chan struct{})
	first := true
	for l := range lines {
		if first {
			// What fits into the queue now is said, behind the loss.
			first = false
			go func() {
				defer close(closed)
				con.close()
				unix.Close(p[1])
			}()
		}
		if strings.Contains(l, "messages were lost") {
			lost = l
			continue
		}
		if l != "nines-init: "+line {
			t.Fatalf("a line %q", l)
		}
		got++
	}
	<-closed
	if got < consoleQueue || got > 500 || !strings.HasPrefix(lost, "nines-init: ") {
		t.Errorf("%d lines, %q", got, lost)
	}
}

// A broken stderr is no signal and no end.
func TestBrokenStderr(t *testing.T) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	unix.Close(p[0])
	defer unix.Close(p[1])
	WriteLine(p[1], "x")
	WriteLine(-1, "x")
}

// A terminal that somebody made nonblocking takes its time.
func TestNonblockingStderr(t *testing.T) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 1<<20)
	done := make(chan struct{})
	go func() {
		defer close(done)
		WriteLine(p[1], long)
		unix.Close(p[1])
	}()
	b, err := readAll(p[0])
	<-done
	if err != nil || string(b) != "nines-init: "+long+"\n" {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

func readAll(fd int) ([]byte, error) {
	defer unix.Close(fd)
	var all []byte
	buf := make([]byte, 1<<16)
	for {
		n, err := unix.Read(fd, buf)
		if err == unix.EAGAIN {
			if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1); err != nil && err != unix.EINTR {
				return all, err
			}
			continue
		}
		if n <= 0 || err != nil {
			return all, err
		}
		all = append(all, buf[:n]...)
	}
}

func TestKernelSpawns(t *testing.T) {
	ours, theirs, err := notify.Pair()
	if err != nil {
		t.Fatal(err)
	}
	if err := sealInherited(); err != nil { // as Run does
		t.Fatal(err)
	}
	before := openFDs(t)
	_, err = kernel{}.spawn(openProgram("/nonexistent/x"), []string{"/nonexistent/x"}, nil, theirs)
	if !errors.Is(err, unix.ENOENT) || err.Error() != "exec /nonexistent/x: no such file or directory" {
		t.Errorf("spawn of nothing: %v", err)
	}
	if after := openFDs(t); after != before {
		t.Errorf("%d descriptors open, were %d", after, before)
	}
	conn, err := notify.NewConn(ours)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	pid, err := kernel{}.spawn(openProgram("/bin/sh"), []string{"/bin/sh", "-c", `read x
		for i in $(seq 0 300); do [ -e /proc/$$/fd/$i ] && fds="$fds $i"; done; echo "$X$fds" >&3; exit 3`}, []string{"X=y", "PATH=/bin:/usr/bin"}, theirs)
	notify.CloseAll([]int{theirs})
	if err != nil {
		t.Fatal(err)
	}
	if group, err := unix.Getpgid(pid); group != pid || err != nil {
		t.Errorf("its group is %d, %v", group, err)
	}
	buf := make([]byte, 256)
	n, _, err := conn.Receive(buf)
	if err != nil || string(buf[:n]) != "y 0 1 2 3\n" {
		t.Errorf("it says %q, %v", buf[:n], err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for {
		got, status := kernel{}.ended()
		if got == pid {
			if who := (kernel{}).identify(pid); who.leader || who.start == 0 {
				t.Errorf("it is taken for %+v", who)
			}
			if same, ended := (kernel{}).hasEnded(pid); !ended || same != status {
				t.Errorf("asked for by its pid it has ended: %v, with %#x, not %#x", ended, same, status)
			}
			kernel{}.reap(pid)
			if howEnded(status) != "exited with 3" {
				t.Error(howEnded(status))
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("it does not end")
		}
		time.Sleep(time.Millisecond)
	}
	if pid, _ := (kernel{}).ended(); pid != 0 {
		t.Errorf("%d has not been reaped", pid)
	}
	if err := (kernel{}).kill(math.MaxInt32, unix.SIGKILL); err != unix.ESRCH {
		t.Errorf("kill of nobody: %v", err)
	}
}

func TestHowEnded(t *testing.T) {
	for status, want := range map[unix.WaitStatus]string{
		0: "exited with 0", 7 << 8: "exited with 7", 9: "was killed by SIGKILL", 11 | 0x80: "was killed by SIGSEGV (core dumped)",
	} {
		if got := howEnded(status); got != want {
			t.Errorf("howEnded(%#x) = %q, want %q", status, got, want)
		}
	}
}

func TestSealInherited(t *testing.T) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(p[0])
	defer unix.Close(p[1])
	for name, seal := range map[string]func() error{"close_range": sealInherited, "/proc": sealByProc} {
		if _, err := unix.FcntlInt(uintptr(p[0]), unix.F_SETFD, 0); err != nil {
			t.Fatal(err)
		}
		if err := seal(); err != nil {
			t.Fatal(name, err)
		}
		if flags, err := unix.FcntlInt(uintptr(p[0]), unix.F_GETFD, 0); flags&unix.FD_CLOEXEC == 0 || err != nil {
			t.Errorf("%s: flags %d, %v", name, flags, err)
		}
	}
}

func TestDescriptorLimit(t *testing.T) {
	if n, err := descriptorLimit(); n < 64 || err != nil {
		t.Errorf("descriptorLimit = %d, %v", n, err)
	}
}
