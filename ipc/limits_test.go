package ipc

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// hold opens a connection and makes sure that the server has counted it.
func hold(t *testing.T, socket string) net.Conn {
	t.Helper()
	c := dial(t, socket)
	status, _, err := roundTrip(c, "GET", "/v1/services/s0", "")
	if err != nil || status != 200 {
		t.Fatalf("held connection: %d, %v", status, err)
	}
	return c
}

func TestMaxConns(t *testing.T) {
	socket := serve(t, &fake{}, limits(Limits{MaxConns: 3}))
	held := []net.Conn{hold(t, socket), hold(t, socket), hold(t, socket)}
	_, err := NewClient(socket).Status(t.Context())
	if e := (*Error)(nil); !errors.As(err, &e) || e.Code != CodeBusy {
		t.Errorf("fourth: %v", err)
	}
	if status, _, err := roundTrip(held[0], "GET", "/v1/status", ""); err != nil || status != 200 {
		t.Errorf("a held one: %d, %v", status, err)
	}
	held[1].Close()
	eventually(t, "a place is free again", func() bool {
		_, err := NewClient(socket).Status(t.Context())
		return err == nil
	})
}

// caller lets a test say who the next connections come from.
type caller struct {
	mu  sync.Mutex
	now credentials
}

func (c *caller) become(uid, gid uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = credentials{Caller: Caller{UID: uid, GID: gid}}
}

func (c *caller) config(cfg *ServerConfig) {
	cfg.Mode = 0o666
	cfg.credentials = func(net.Conn) (*credentials, error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		cred := c.now
		return &cred, nil
	}
}

// TestNobodyLocksOutWhoMayDoMore: one reader not the next, readers not who may
// act, and nobody the owner.
func TestNobodyLocksOutWhoMayDoMore(t *testing.T) {
	const members = 54321
	c := &caller{}
	socket := serve(t, &fake{}, limits(Limits{MaxConns: 12, MaxOtherConns: 8}), c.config, func(cfg *ServerConfig) {
		if os.Getuid() == 0 { // else the socket could not be given to the group
			cfg.Group = strconv.Itoa(members)
		}
	})
	full := func(who string) {
		t.Helper()
		if status, _ := ask(t, socket, "GET", "/v1/status", ""); status != 503 {
			t.Errorf("one more %s: %d", who, status)
		}
	}
	many := func(n int) {
		t.Helper()
		for range n {
			hold(t, socket)
		}
	}
	c.become(4242, 4242)
	many(2)
	full("of the first reader")
	c.become(4243, 4243)
	many(2)
	c.become(4244, 4244)
	full("reader")
	if os.Getuid() == 0 {
		c.become(4245, members)
		many(4)
		full("member")
	}
	c.become(0, 0)
	many(4)
}

// TestPlacesComeBack: whoever leaves leaves nothing behind in the counts.
func TestPlacesComeBack(t *testing.T) {
	g := &gate{limits: Limits{}.withDefaults()}
	peers := []*peer{{owner: true, access: accessWrite}, {Caller: Caller{UID: 7}, access: accessWrite}, {Caller: Caller{UID: 8}, access: accessRead}}
	for range 3 {
		for _, p := range peers {
			if !g.enter(p) {
				t.Fatalf("refused: %+v", p)
			}
		}
	}
	for range 3 {
		for _, p := range peers {
			g.leave(p)
		}
	}
	if g.open != 0 || g.other != 0 || g.readers != 0 || len(g.byUID) != 0 {
		t.Errorf("%d, %d, %d, %v", g.open, g.other, g.readers, g.byUID)
	}
}

func TestFit(t *testing.T) {
	for descriptors, want := range map[uint64]int{0: 8, 64: 8, 256: 64, 512: 192, 1024: 256, 1 << 20: 256, math.MaxUint64: 256} {
		if got := fit(descriptors).MaxConns; got != want {
			t.Errorf("%d descriptors: %d connections, want %d", descriptors, got, want)
		}
	}
	if l, err := FitDescriptors(); err != nil || l.MaxConns < 8 {
		t.Errorf("%+v, %v", l, err)
	}
}

func TestMaxWaits(t *testing.T) {
	began := make(chan struct{})
	f := &fake{do: func(ctx context.Context) (Result, error) {
		began <- struct{}{}
		<-ctx.Done()
		return Result{}, ctx.Err()
	}}
	c := NewClient(serve(t, f, limits(Limits{MaxWaits: 1})))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { _, err := c.Do(ctx, "s0", VerbStop, Command{}); ended <- err }()
	<-began
	_, err := c.Do(t.Context(), "s0", VerbStart, Command{})
	if e := (*Error)(nil); !errors.As(err, &e) || e.Code != CodeBusy {
		t.Errorf("second: %v", err)
	}
	if _, err := c.Status(t.Context()); err != nil {
		t.Errorf("status does not wait: %v", err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	// The server sees that its client left, and has a place again.
	go func() { <-began }()
	eventually(t, "a place to wait", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		_, err := c.Do(ctx, "s0", VerbStart, Command{})
		return errors.Is(err, context.DeadlineExceeded)
	})
}

// TestWaitOutlastsTheTimeouts: a request that waits is not ended by the bounds
// of reading, idling and writing.
func TestWaitOutlastsTheTimeouts(t *testing.T) {
	const bound = 20 * time.Millisecond
	f := &fake{do: func(ctx context.Context) (Result, error) {
		select {
		case <-time.After(10 * bound):
			return Result{Message: "done"}, nil
		case <-ctx.Done():
			return Result{}, ctx.Err()
		}
	}}
	c := NewClient(serve(t, f, limits(Limits{ReadTimeout: bound, IdleTimeout: bound, WriteTimeout: bound})))
	if res, err := c.Do(t.Context(), "s0", VerbStop, Command{}); err != nil || res.Message != "done" {
		t.Errorf("%v, %v", res, err)
	}
}

func TestHalfRequests(t *testing.T) {
	f := &fake{}
	socket := serve(t, f, limits(Limits{ReadTimeout: 30 * time.Millisecond, IdleTimeout: 30 * time.Millisecond}))
	for name, text := range map[string]string{
		"nothing":        "",
		"half a line":    "GET /v1/sta",
		"half a header":  "GET /v1/status HTTP/1.1\r\nHost: x\r\nX-",
		"half a body":    "POST /v1/services/s0/stop HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
		"half a chunk":   "POST /v1/services/s0/stop HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
		"idle after one": "GET /v1/services/s0 HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, socket)
			if _, err := c.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
			closedByServer(t, c)
		})
	}
	if n := len(f.seen()); n > 0 {
		t.Errorf("half a request reached the backend %d times", n)
	}
}

// TestSlowloris: a caller that sends a byte now and then is cut off all the
// same: the bound is on the whole header.
func TestSlowloris(t *testing.T) {
	socket := serve(t, &fake{}, limits(Limits{ReadTimeout: 100 * time.Millisecond}))
	c := dial(t, socket)
	for i := 0; ; i++ {
		if i > 10_000 {
			t.Fatal("never cut off")
		}
		if _, err := c.Write([]byte("GET /v1/status HTTP/1.1\r\nX-Slow: aaaaaaaaaaaaaaaaaaaa"[min(i, 30) : min(i, 30)+1])); err != nil {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestGarbage(t *testing.T) {
	socket := serve(t, &fake{}, limits(Limits{MaxHeader: 8 << 10}))
	for name, text := range map[string]string{
		"binary":          "\x00\x01\x02\xff\xfe\r\n\r\n",
		"TLS":             "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
		"no version":      "GET /v1/status\r\n\r\n",
		"HTTP/2 preface":  "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"huge header":     "GET /v1/status HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("a", 64<<10) + "\r\n\r\n",
		"huge line":       "GET /" + strings.Repeat("a", 64<<10) + " HTTP/1.1\r\n\r\n",
		"two lengths":     "POST /v1/shutdown HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
		"negative length": "POST /v1/shutdown HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n{}",
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, socket)
			// The server may have had enough before all is written.
			_, _ = c.Write([]byte(text))
			if err := c.(*net.UnixConn).CloseWrite(); err != nil && !errors.Is(err, unix.ENOTCONN) {
				t.Fatal(err)
			}
			if got := closedByServer(t, c); got != "" && !strings.HasPrefix(got, "HTTP/1.1 4") && !strings.HasPrefix(got, "HTTP/1.1 5") {
				t.Errorf("%q", got)
			}
		})
	}
	if _, err := NewClient(socket).Status(t.Context()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestHugeBodies(t *testing.T) {
	f := &fake{}
	socket := serve(t, f)
	for name, head := range map[string]string{
		"said":  "Content-Length: 1000000000\r\n\r\n",
		"found": "Transfer-Encoding: chunked\r\n\r\n20000\r\n" + strings.Repeat(" ", 0x20000) + "\r\n",
	} {
		c := dial(t, socket)
		// The server answers and closes without reading the rest.
		_, _ = c.Write([]byte("POST /v1/services/s0/stop HTTP/1.1\r\nHost: x\r\n" + head))
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: %s", name, resp.Status)
		}
	}
	if n := len(f.seen()); n > 0 {
		t.Errorf("reached the backend %d times", n)
	}
}

// TestTenThousandConnections: whoever was there is served during the flood,
// the server holds no more than its bound, and afterwards all is as before.
func TestTenThousandConnections(t *testing.T) {
	var rl unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &rl); err != nil {
		t.Fatal(err)
	}
	n := 10_000
	if most := int(rl.Max) - 1000; n > most {
		n = most
		t.Logf("only %d connections: the descriptor limit is %d", n, rl.Max)
	}
	socket := serve(t, &fake{}, limits(Limits{MaxConns: 64}))
	mine := hold(t, socket)
	conns := make([]net.Conn, 0, n)
	var mu sync.Mutex
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	before := openFiles(t)
	flooded := make(chan error, 1)
	go func() {
		flooded <- func() error {
			for len(conns) < n {
				c, err := net.Dial("unix", socket)
				if errors.Is(err, unix.EAGAIN) { // the backlog is full: the server is busy refusing
					time.Sleep(time.Millisecond)
					continue
				}
				if err != nil {
					return err
				}
				mu.Lock()
				conns = append(conns, c)
				mu.Unlock()
			}
			return nil
		}()
	}()
	var worst time.Duration
	for answered := 0; ; answered++ {
		begin := time.Now()
		status, _, err := roundTrip(mine, "GET", "/v1/services/s0", "")
		if err != nil || status != 200 {
			t.Fatalf("during the flood: %d, %v", status, err)
		}
		worst = max(worst, time.Since(begin))
		select {
		case err := <-flooded:
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d connections; %d answers meanwhile, the slowest after %v", n, answered, worst)
		default:
			continue
		}
		break
	}
	if worst > 5*time.Second {
		t.Errorf("an answer took %v", worst)
	}
	// Each of ours is one descriptor; the server's are bounded.
	eventually(t, "the server has closed what is beyond its bound", func() bool {
		return openFiles(t)-before-n <= 64
	})
	for _, c := range conns {
		c.Close()
	}
	eventually(t, "a new connection is served", func() bool {
		_, err := NewClient(socket).Status(t.Context())
		return err == nil
	})
}

func openFiles(t *testing.T) int {
	t.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(d)
}

// TestDialWaitsForABusyServer: a full backlog is not the absence of a server.
func TestDialWaitsForABusyServer(t *testing.T) {
	path := t.TempDir() + "/s"
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), path)
	l, err := net.FileListener(f)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	first := dial(t, path) // fills the backlog
	defer first.Close()
	answered := make(chan error, 1)
	go func() { _, err := NewClient(path).Status(t.Context()); answered <- err }()
	select {
	case err := <-answered:
		t.Fatalf("gave up at once: %v", err)
	case <-time.After(10 * dialPause):
	}
	for range 2 {
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		body := string(appendStatus(nil, sampleStatus(1)))
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		c.Close()
	}
	if err := <-answered; err != nil {
		t.Errorf("%v", err)
	}
}
