package ipc

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// asClient makes the test binary be a client: its value is "SOCKET METHOD PATH".
const asClient = "NINES_TEST_CLIENT"

func TestMain(m *testing.M) {
	if v := os.Getenv(asClient); v != "" {
		os.Exit(beClient(v))
	}
	goleak.VerifyTestMain(m)
}

// beClient makes one request and prints the status and the body.
func beClient(v string) int {
	f := strings.Fields(v)
	conn, err := net.Dial("unix", f[0])
	if err != nil {
		fmt.Println("dial:", err)
		return 1
	}
	defer conn.Close()
	status, body, err := roundTrip(conn, f[1], f[2], "")
	if err != nil {
		fmt.Println("request:", err)
		return 1
	}
	fmt.Printf("%d %s", status, body)
	return 0
}

// publicDir is a folder that every user reaches, unlike t.TempDir.
func publicDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "ipc-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	return dir
}

// publicCopy is the test binary where every user may run it: the go command
// builds it in a private folder.
func publicCopy(t *testing.T) string {
	t.Helper()
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	path := filepath.Join(publicDir(t), "client")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(f, self); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// serve starts a server and returns its socket.
func serve(t *testing.T, b Backend, change ...func(*ServerConfig)) string {
	t.Helper()
	return serveIn(t, t.TempDir(), b, change...)
}

func serveIn(t *testing.T, dir string, b Backend, change ...func(*ServerConfig)) string {
	t.Helper()
	cfg := ServerConfig{Backend: b, Path: filepath.Join(dir, "c.sock"), Mode: 0o600, UID: uint32(os.Getuid())}
	for _, f := range change {
		f(&cfg)
	}
	l, err := Listen(cfg.Path, cfg.Mode, cfg.Group)
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(cfg)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return cfg.Path
}

// fakeCaller makes every connection come from c.
func fakeCaller(c credentials) func(*ServerConfig) {
	return func(cfg *ServerConfig) {
		cfg.credentials = func(net.Conn) (*credentials, error) { return &c, nil }
	}
}

func limits(l Limits) func(*ServerConfig) {
	return func(cfg *ServerConfig) { cfg.Limits = l }
}

func dial(t *testing.T, socket string) net.Conn {
	t.Helper()
	c, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// roundTrip makes one request by hand.
func roundTrip(c net.Conn, method, path, body string) (int, string, error) {
	// A refused connection may be closed before it was written to.
	_, werr := fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", method, path, len(body), body)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, "", fmt.Errorf("%w (write: %v)", err, werr)
	}
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

func ask(t *testing.T, socket, method, path, body string) (int, string) {
	t.Helper()
	c := dial(t, socket)
	status, answer, err := roundTrip(c, method, path, body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return status, answer
}

// errorOf reads the error of an answer.
func errorOf(t *testing.T, body string) Error {
	t.Helper()
	var b errorBody
	if err := json.Unmarshal([]byte(body), &b); err != nil || b.Error == nil {
		t.Fatalf("no error in %q: %v", body, err)
	}
	return *b.Error
}

// eventually waits for cond, which becomes true soon or never.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !cond(); {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// closedByServer reads until the server closes.
func closedByServer(t *testing.T, c net.Conn) string {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil && !strings.Contains(err.Error(), "connection reset") {
		t.Fatalf("not closed: %v (%q)", err, b)
	}
	return string(b)
}
