package notify

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	if to := os.Getenv(asSender); to != "" {
		os.Exit(beSender(to))
	}
	goleak.VerifyTestMain(m)
}

// pair returns two connected ends.
func pair(t *testing.T) (a, b *Conn) {
	t.Helper()
	x, y, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	return conn(t, x), conn(t, y)
}

func conn(t *testing.T, fd int) *Conn {
	t.Helper()
	c, err := NewConn(fd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil && !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
	return c
}

// rawEnd returns a connected end, and the other as a plain descriptor.
func rawEnd(t *testing.T) (*Conn, int) {
	t.Helper()
	x, y, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	return conn(t, x), y
}

func openFDs(t *testing.T) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

func TestSendAndReceive(t *testing.T) {
	a, b := pair(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := a.Send([]byte("FDSTORE=1"), []int{int(w.Fd())}); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if err := a.Send([]byte("READY=1"), nil); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, MaxMessage)
	n, fds, err := b.Receive(buf)
	if err != nil || string(buf[:n]) != "FDSTORE=1" || len(fds) != 1 {
		t.Fatalf("Receive = %q, %v, %v", buf[:n], fds, err)
	}
	if flags, err := unix.FcntlInt(uintptr(fds[0]), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("the descriptor is not CLOEXEC: %v, %v", flags, err)
	}
	if _, err := unix.Write(fds[0], []byte("x")); err != nil {
		t.Errorf("cannot use what was received: %v", err)
	}
	CloseAll(fds)
	one := make([]byte, 1)
	if _, err := io.ReadFull(r, one); err != nil || one[0] != 'x' {
		t.Errorf("the pipe gave %q, %v", one, err)
	}
	// Boundaries are kept: the second message did not run into the first.
	if n, fds, err := b.Receive(buf); err != nil || string(buf[:n]) != "READY=1" || fds != nil {
		t.Fatalf("Receive = %q, %v, %v", buf[:n], fds, err)
	}
}

func TestAsManyDescriptorsAsAllowed(t *testing.T) {
	a, b := pair(t)
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	many := make([]int, MaxFDs+1)
	for i := range many {
		many[i] = int(null.Fd())
	}
	if err := a.Send([]byte("FDSTORE=1"), many); !errors.Is(err, unix.E2BIG) {
		t.Errorf("Send of one too many: %v", err)
	}
	if err := a.Send([]byte("FDSTORE=1"), many[:MaxFDs]); err != nil {
		t.Fatal(err)
	}
	_, fds, err := b.Receive(make([]byte, 64))
	if err != nil || len(fds) != MaxFDs {
		t.Fatalf("%d descriptors, %v", len(fds), err)
	}
	CloseAll(fds)
}

func TestLongestMessage(t *testing.T) {
	a, b := pair(t)
	long := bytes.Repeat([]byte("x"), MaxMessage+1)
	if err := a.Send(long, nil); !errors.Is(err, unix.EMSGSIZE) {
		t.Errorf("Send of one byte too many: %v", err)
	}
	if err := a.Send(nil, nil); !errors.Is(err, unix.EINVAL) {
		t.Errorf("Send of nothing: %v", err)
	}
	if err := a.Send(long[:MaxMessage], nil); err != nil {
		t.Fatal(err)
	}
	if n, _, err := b.Receive(make([]byte, MaxMessage)); n != MaxMessage || err != nil {
		t.Errorf("Receive = %d, %v", n, err)
	}
	if _, _, err := b.Receive(nil); !errors.Is(err, unix.EINVAL) {
		t.Errorf("Receive into nothing: %v", err)
	}
}

func TestCutOffMessagesLeakNothing(t *testing.T) {
	a, b := pair(t)
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	before := openFDs(t)
	if err := a.Send([]byte("FDSTORE=1 and more"), []int{int(null.Fd()), int(null.Fd())}); err != nil {
		t.Fatal(err)
	}
	if n, fds, err := b.Receive(make([]byte, 9)); !errors.Is(err, ErrTruncated) || n != 0 || fds != nil {
		t.Errorf("Receive into a small buffer = %d, %v, %v", n, fds, err)
	}
	// More descriptors than MaxFDs, sent by someone who does not know the rule.
	raw, y := rawEnd(t)
	many := make([]int, 200)
	for i := range many {
		many[i] = int(null.Fd())
	}
	if err := unix.Sendmsg(y, []byte("FDSTORE=1"), unix.UnixRights(many...), nil, 0); err != nil {
		t.Fatal(err)
	}
	if err := unix.Sendmsg(y, []byte("READY=1"), nil, nil, 0); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, MaxMessage)
	if _, fds, err := raw.Receive(buf); !errors.Is(err, ErrTruncated) || fds != nil {
		t.Errorf("Receive of 200 descriptors = %v, %v", fds, err)
	}
	if n, _, err := raw.Receive(buf); err != nil || string(buf[:n]) != "READY=1" {
		t.Errorf("the next message = %q, %v", buf[:n], err)
	}
	unix.Close(y)
	raw.Close()
	if after := openFDs(t); after != before {
		t.Errorf("%d descriptors open, were %d", after, before)
	}
}

// What was sent before the end is read, also when the dead peer had not read
// what was for it: the kernel then says ECONNRESET first.
func TestEndComesAfterEverything(t *testing.T) {
	for _, unread := range []bool{false, true} {
		a, y := rawEnd(t)
		if unread {
			if err := a.Send([]byte("X_NINES_VALUE=k v"), nil); err != nil {
				t.Fatal(err)
			}
		}
		for _, s := range []string{"READY=1", "X_NINES_END=0"} {
			if err := unix.Sendmsg(y, []byte(s), nil, nil, 0); err != nil {
				t.Fatal(err)
			}
		}
		unix.Close(y)
		buf := make([]byte, MaxMessage)
		for _, want := range []string{"READY=1", "X_NINES_END=0"} {
			if n, _, err := a.Receive(buf); err != nil || string(buf[:n]) != want {
				t.Fatalf("unread %v: Receive = %q, %v; want %q", unread, buf[:n], err, want)
			}
		}
		for range 2 {
			if _, _, err := a.Receive(buf); err != io.EOF {
				t.Fatalf("unread %v: at the end: %v", unread, err)
			}
		}
		if err := a.Send([]byte("A=1"), nil); !errors.Is(err, ErrClosed) {
			t.Errorf("Send to the dead: %v", err)
		}
		if err := a.WaitWritable(); err != nil {
			t.Errorf("WaitWritable at the end: %v", err)
		}
		if err := a.WaitReadable(); err != nil {
			t.Errorf("WaitReadable at the end: %v", err)
		}
	}
}

func TestEmptyDatagramIsNotTheEnd(t *testing.T) {
	a, y := rawEnd(t)
	defer unix.Close(y)
	if err := unix.Sendmsg(y, nil, nil, nil, 0); err != nil {
		t.Fatal(err)
	}
	if n, fds, err := a.Receive(make([]byte, 8)); n != 0 || fds != nil || err != nil {
		t.Errorf("Receive = %d, %v, %v", n, fds, err)
	}
}

func TestCloseWakesWhoWaits(t *testing.T) {
	a, _ := pair(t)
	got := make(chan error, 2)
	go func() {
		_, _, err := a.Receive(make([]byte, 8))
		got <- err
	}()
	fill(t, a)
	go func() { got <- a.WaitWritable() }()
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-got; !errors.Is(err, ErrClosed) {
			t.Errorf("who waited got %v", err)
		}
	}
	if err := a.Close(); !errors.Is(err, ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
	for what, err := range map[string]error{
		"Send": a.Send([]byte("A=1"), nil), "TrySend": a.TrySend([]byte("A=1"), nil),
		"CloseWrite": a.CloseWrite(), "WaitReadable": a.WaitReadable(),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s after Close: %v", what, err)
		}
	}
	if _, _, err := a.TryReceive(make([]byte, 8)); !errors.Is(err, ErrClosed) {
		t.Errorf("TryReceive after Close: %v", err)
	}
}

// fill sends until there is no room, and returns how many messages that took.
func fill(t *testing.T, c *Conn) int {
	t.Helper()
	for n := 0; ; n++ {
		switch err := c.TrySend(bytes.Repeat([]byte("x"), 4096), nil); {
		case errors.Is(err, ErrWouldBlock):
			return n
		case err != nil:
			t.Fatal(err)
		case n > 1<<20:
			t.Fatal("there is no end of room")
		}
	}
}

func TestSendWaitsForRoom(t *testing.T) {
	a, b := pair(t)
	n := fill(t, a)
	sent := make(chan error, 1)
	go func() { sent <- a.Send([]byte("LAST=1"), nil) }()
	buf := make([]byte, MaxMessage)
	for range n {
		if m, _, err := b.Receive(buf); m != 4096 || err != nil {
			t.Fatalf("Receive = %d, %v", m, err)
		}
	}
	if m, _, err := b.Receive(buf); string(buf[:m]) != "LAST=1" || err != nil {
		t.Fatalf("Receive = %q, %v", buf[:m], err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
}

func TestWaiting(t *testing.T) {
	a, b := pair(t)
	buf := make([]byte, MaxMessage)
	if _, _, err := b.TryReceive(buf); !errors.Is(err, ErrWouldBlock) {
		t.Fatalf("TryReceive of nothing: %v", err)
	}
	ready := make(chan error, 1)
	go func() { ready <- b.WaitReadable() }()
	n := fill(t, a)
	if err := <-ready; err != nil {
		t.Fatal(err)
	}
	room := make(chan error, 1)
	go func() { room <- a.WaitWritable() }()
	for range n {
		if _, _, err := b.TryReceive(buf); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-room; err != nil {
		t.Fatal(err)
	}
	if err := a.TrySend([]byte("A=1"), nil); err != nil {
		t.Errorf("no room after WaitWritable: %v", err)
	}
}

func TestCloseWriteEndsTheOtherSideAlone(t *testing.T) {
	a, b := pair(t)
	if err := a.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.Receive(make([]byte, 8)); err != io.EOF {
		t.Errorf("Receive = %v", err)
	}
	if err := b.Send([]byte("A=1"), nil); err != nil {
		t.Errorf("the way back: %v", err)
	}
	if n, _, err := a.Receive(make([]byte, 8)); n != 3 || err != nil {
		t.Errorf("the way back: %d, %v", n, err)
	}
}

func TestManySendersAtOnce(t *testing.T) {
	a, b := pair(t)
	const senders, each = 8, 500
	var wg sync.WaitGroup
	for range senders {
		wg.Go(func() {
			for range each {
				if err := a.Send([]byte("WATCHDOG=1"), nil); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	buf := make([]byte, MaxMessage)
	for range senders * each {
		if n, _, err := b.Receive(buf); err != nil || string(buf[:n]) != "WATCHDOG=1" {
			t.Fatalf("Receive = %q, %v", buf[:n], err)
		}
	}
	wg.Wait()
}

func TestNewConnRefuses(t *testing.T) {
	null, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(stream[1])
	inet, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		fd   int
		want error
	}{{null, unix.ENOTSOCK}, {stream[0], unix.EPROTOTYPE}, {inet, unix.EPROTOTYPE}, {1 << 20, unix.EBADF}, {-1, unix.EBADF}} {
		if _, err := NewConn(c.fd); !errors.Is(err, c.want) || !strings.HasPrefix(err.Error(), "cannot take messages from descriptor ") {
			t.Errorf("NewConn = %v, want %v", err, c.want)
		}
		if _, err := unix.FcntlInt(uintptr(c.fd), unix.F_GETFD, 0); err != unix.EBADF {
			t.Errorf("descriptor %d was left open: %v", c.fd, err)
		}
	}
}

// A service's socket: datagrams, from many, and no end.
func TestDatagrams(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	c := conn(t, fd)
	buf := make([]byte, MaxMessage)
	for _, s := range []string{"READY=1", "", "STATUS=x"} {
		out, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Sendto(out, []byte(s), 0, &unix.SockaddrUnix{Name: path}); err != nil {
			t.Fatal(err)
		}
		unix.Close(out)
		if n, _, err := c.Receive(buf); err != nil || string(buf[:n]) != s {
			t.Errorf("Receive = %q, %v; want %q", buf[:n], err, s)
		}
	}
}

// Waiting costs no thread: a hundred parked receivers, and not a hundred threads.
func TestParkedReceiversHoldNoThread(t *testing.T) {
	threads := func() int {
		names, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Fatal(err)
		}
		return len(names)
	}
	before := threads()
	var wg sync.WaitGroup
	var ends []*Conn
	for range 100 {
		a, b := pair(t)
		ends = append(ends, a)
		wg.Go(func() {
			buf := make([]byte, 64)
			for {
				if _, _, err := b.Receive(buf); err != nil {
					return
				}
			}
		})
		if err := a.Send([]byte("A=1"), nil); err != nil {
			t.Fatal(err)
		}
	}
	deadline := time.Now().Add(10 * time.Second)
	for threads() > before+20 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	if n := threads(); n > before+20 {
		t.Errorf("%d threads for 100 receivers, were %d", n, before)
	}
	for _, a := range ends {
		a.Close()
	}
	wg.Wait()
}
