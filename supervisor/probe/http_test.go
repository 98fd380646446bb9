package probe

import (
	"bufio"
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"nines/spec"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patient is a timeout that no test waits for.
const patient = time.Minute

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func block(edit func(*spec.CheckHTTP)) *spec.CheckHTTP {
	b := &spec.CheckHTTP{Method: "GET", StatusLow: 200, StatusHigh: 399}
	if edit != nil {
		edit(b)
	}
	return b
}

func newHTTP(t *testing.T, b *spec.CheckHTTP, url, socket string) *HTTP {
	t.Helper()
	rule, err := NewClient().HTTPRule(b)
	if err != nil {
		t.Fatal(err)
	}
	h, err := rule.At(url, socket)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// wantResult compares: cause "" is a pass, and text must stand in the message.
func wantResult(t *testing.T, r Result, cause Cause, text string) {
	t.Helper()
	var e *Error
	switch {
	case r.Err == nil && cause == "":
	case r.Err == nil:
		t.Fatalf("passed, want %s", cause)
	case !errors.As(r.Err, &e):
		t.Fatalf("error is a %T: %v", r.Err, r.Err)
	case e.Cause != cause || !strings.Contains(e.Text, text):
		t.Fatalf("%s: %q (beneath: %v), want %s with %q", e.Cause, e.Text, e.Err, cause, text)
	}
	if r.Took <= 0 {
		t.Errorf("took %s", r.Took)
	}
}

func TestHTTP(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/ok", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "all is well") })
	mux.HandleFunc("/code/{n}", func(w http.ResponseWriter, r *http.Request) {
		var n int
		fmt.Sscan(r.PathValue("n"), &n)
		w.Header().Set("Location", "/ok")
		w.WriteHeader(n)
		fmt.Fprintf(w, "this is \x1b[31m%d", n)
	})
	mux.HandleFunc("/interim", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(103)
		w.WriteHeader(103)
		io.WriteString(w, "late")
	})
	mux.HandleFunc("/long", func(w http.ResponseWriter, r *http.Request) {
		for range 100 {
			io.WriteString(w, strings.Repeat("x", 1000))
			w.(http.Flusher).Flush()
		}
	})
	mux.HandleFunc("/cut", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, "half of it")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	mux.HandleFunc("/headers", func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		fmt.Fprint(w, r.Method, " ", r.Host, " ", r.URL.RawQuery, " ", r.Header.Get("X-Probe"), " ", r.UserAgent(), " ", user, ":", password, " ", r.ContentLength, " close=", r.Close)
	})
	srv := httptest.NewServer(mux)
	defer srv.Close()
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)

	for _, tc := range []struct {
		name, path string
		edit       func(*spec.CheckHTTP)
		cause      Cause
		text       string
		output     string
	}{
		{name: "ok", path: "/ok"},
		{name: "status", path: "/code/503", cause: Wrong, text: "answered 503 Service Unavailable, not 200 to 399", output: "this is ?[31m503"},
		{name: "one status", path: "/code/204", edit: func(b *spec.CheckHTTP) { b.StatusLow, b.StatusHigh = 200, 200 }, cause: Wrong, text: "answered 204 No Content, not 200"},
		{name: "unknown status", path: "/code/599", cause: Wrong, text: "answered 599, not"},
		{name: "wanted status", path: "/code/503", edit: func(b *spec.CheckHTTP) { b.StatusLow, b.StatusHigh = 503, 503 }},
		{name: "redirect is not followed", path: "/code/302", edit: func(b *spec.CheckHTTP) { b.BodyMatch = "well" }, cause: Wrong, text: "body_match"},
		{name: "redirect passes", path: "/code/302"},
		{name: "match", path: "/ok", edit: func(b *spec.CheckHTTP) { b.BodyMatch = "^all .* well$" }},
		{name: "no match", path: "/ok", edit: func(b *spec.CheckHTTP) { b.BodyMatch = "^ok" }, cause: Wrong, text: `does not match "^ok" (body_match)`, output: "all is well"},
		{name: "interim answers", path: "/interim", edit: func(b *spec.CheckHTTP) { b.BodyMatch = "late" }},
		{name: "head", path: "/ok", edit: func(b *spec.CheckHTTP) { b.Method = "HEAD" }},
		{name: "long body in chunks", path: "/long"},
		{name: "what is matched is bounded", path: "/long", edit: func(b *spec.CheckHTTP) { b.BodyMatch = "xy" }, cause: Wrong, text: "body_match"},
		{name: "cut", path: "/cut", cause: Broken, text: "the connection was closed before the answer was whole", output: "half of it"},
		{name: "post, host and headers", path: "/headers?token=secret", edit: func(b *spec.CheckHTTP) {
			b.Method = "POST"
			b.Headers = map[string]string{"host": "example.com", "X-Probe": " yes ", "User-Agent": "me", "Content-Length": "77", "Connection": "keep-alive"}
			b.BodyMatch = "^POST example.com token=secret yes me : 0 close=true$"
		}},
		{name: "too slow", path: "/ok", edit: func(b *spec.CheckHTTP) { b.MaxLatency = 1 }, cause: Slow, text: "(max_latency)"},
		{name: "fast enough", path: "/ok", edit: func(b *spec.CheckHTTP) { b.MaxLatency = time.Hour }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHTTP(t, block(tc.edit), srv.URL+tc.path, "")
			r := h.Probe(within(t, patient))
			wantResult(t, r, tc.cause, tc.text)
			if tc.output != "" && r.Output != tc.output {
				t.Errorf("output %q, want %q", r.Output, tc.output)
			}
			if r.Err != nil && strings.Contains(r.Err.Error(), "secret") {
				t.Errorf("a query is shown: %v", r.Err)
			}
			if len(r.Output) > MaxOutput {
				t.Errorf("%d bytes of output", len(r.Output))
			}
		})
	}

	t.Run("user of the URL", func(t *testing.T) {
		u := strings.Replace(srv.URL, "://", "://me:secret@", 1) + "/headers"
		r := newHTTP(t, block(func(b *spec.CheckHTTP) { b.BodyMatch = " me:secret -?0" }), u, "").Probe(within(t, patient))
		wantResult(t, r, "", "")
		r = newHTTP(t, block(func(b *spec.CheckHTTP) { b.StatusLow, b.StatusHigh = 404, 404 }), u, "").Probe(within(t, patient))
		wantResult(t, r, Wrong, "/headers answered 200 OK, not 404")
		if strings.Contains(r.Err.Error(), "secret") || strings.Contains(r.Err.Error(), "me") {
			t.Errorf("a password is shown: %v", r.Err)
		}
	})
}

// serveRaw answers each connection with what fn does; it ends with the test.
func serveRaw(t *testing.T, network, address string, fn func(net.Conn)) net.Listener {
	t.Helper()
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() { ln.Close(); all.Wait() })
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() { defer c.Close(); fn(c) })
		}
	})
	return ln
}

// readRequest reads up to the blank line.
func readRequest(c net.Conn) {
	br := bufio.NewReader(c)
	for {
		if line, err := br.ReadString('\n'); err != nil || line == "\r\n" {
			return
		}
	}
}

// untilGone waits until the other side has closed.
func untilGone(c net.Conn) { io.Copy(io.Discard, c) }

func TestHTTPFromWhatIsNotAServer(t *testing.T) {
	for _, tc := range []struct {
		name  string
		serve func(net.Conn)
		d     time.Duration
		cause Cause
		text  string
	}{
		{"says nothing", untilGone, 50 * time.Millisecond, Timeout, "no answer within "},
		{"says half", func(c net.Conn) { io.WriteString(c, "HTTP/1.1 200 OK\r\nA: b\r\n"); untilGone(c) }, 50 * time.Millisecond, Timeout, "no answer within "},
		{"body never ends", func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
			untilGone(c)
		}, 50 * time.Millisecond, Timeout, "read the whole answer"},
		{"closes", readRequest, patient, Broken, "the connection was closed before the answer was whole"},
		{"another tongue", func(c net.Conn) { io.WriteString(c, "SSH-2.0-OpenSSH_9.2\r\n"); untilGone(c) }, patient, Broken, "malformed HTTP"},
		{"head without end", func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\n")
			for {
				if _, err := io.WriteString(c, "A: "+strings.Repeat("x", 1000)+"\r\n"); err != nil {
					return
				}
			}
		}, patient, Broken, "its head is longer than 32768 bytes"},
		{"body without end", func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
			for {
				if _, err := io.WriteString(c, "more and more"); err != nil {
					return
				}
			}
		}, patient, "", ""},
		{"1xx without end", func(c net.Conn) {
			for {
				if _, err := io.WriteString(c, "HTTP/1.1 103 Early\r\n\r\n"); err != nil {
					return
				}
			}
		}, patient, Broken, "too many 1xx"},
		{"resets", func(c net.Conn) { readRequest(c); c.(*net.TCPConn).SetLinger(0) }, patient, Broken, "connection reset by peer"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ln := serveRaw(t, "tcp", "127.0.0.1:0", tc.serve)
			r := newHTTP(t, block(nil), "http://"+ln.Addr().String()+"/", "").Probe(within(t, tc.d))
			wantResult(t, r, tc.cause, tc.text)
		})
	}
}

func TestHTTPOverUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Host) })}
	go srv.Serve(ln)
	defer srv.Close()
	h := newHTTP(t, block(func(b *spec.CheckHTTP) { b.BodyMatch = "^app$" }), "http://app/healthz", path)
	wantResult(t, h.Probe(within(t, patient)), "", "")
	srv.Close()
	wantResult(t, h.Probe(within(t, patient)), Unreachable, "cannot connect to "+path+": no such file")
}

// A unix socket whose queue is full refuses at once; TCP would let us wait.
func TestHTTPOverFullUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	first, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	wantResult(t, newHTTP(t, block(nil), "http://app/", path).Probe(within(t, patient)), Unreachable, "queue of connections is full")
}

func TestHTTPS(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "safe") }))
	defer srv.Close()
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	if err := os.WriteFile(ca, cert, 0o600); err != nil {
		t.Fatal(err)
	}
	plain := newHTTP(t, block(nil), srv.URL, "")
	wantResult(t, plain.Probe(within(t, patient)), Broken, "cannot trust "+srv.URL)
	wantResult(t, newHTTP(t, block(func(b *spec.CheckHTTP) { b.Insecure = true }), srv.URL, "").Probe(within(t, patient)), "", "")
	wantResult(t, newHTTP(t, block(func(b *spec.CheckHTTP) { b.CAFile = ca; b.BodyMatch = "safe" }), srv.URL, "").Probe(within(t, patient)), "", "")
	// The name is verified, not only the certificate.
	other := newHTTP(t, block(func(b *spec.CheckHTTP) { b.CAFile = ca }), strings.Replace(srv.URL, "127.0.0.1", "localhost", 1), "")
	wantResult(t, other.Probe(within(t, patient)), Broken, "cannot trust https://localhost")

	missing := newHTTP(t, block(func(b *spec.CheckHTTP) { b.CAFile = ca + ".no" }), srv.URL, "")
	wantResult(t, missing.Probe(within(t, patient)), Unable, "cannot read ca_file")
	if err := os.WriteFile(ca+".no", []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantResult(t, missing.Probe(within(t, patient)), Unable, "holds no certificate")

	// A file that is renewed takes effect with the attempt after the one that failed.
	stale := filepath.Join(t.TempDir(), "ca.pem")
	h := newHTTP(t, block(func(b *spec.CheckHTTP) { b.CAFile = stale }), srv.URL, "")
	if err := os.WriteFile(stale, otherCertificate(t), 0o600); err != nil {
		t.Fatal(err)
	}
	wantResult(t, h.Probe(within(t, patient)), Broken, "cannot trust")
	if err := os.WriteFile(stale, cert, 0o600); err != nil {
		t.Fatal(err)
	}
	wantResult(t, h.Probe(within(t, patient)), "", "")
	// What speaks no TLS.
	ln := serveRaw(t, "tcp", "127.0.0.1:0", func(c net.Conn) { io.WriteString(c, "HTTP/1.1 400 Bad\r\n\r\n"); untilGone(c) })
	wantResult(t, newHTTP(t, block(nil), "https://"+ln.Addr().String(), "").Probe(within(t, patient)), Broken, "cannot agree on TLS")
}

// A probe that is given up, and one whose time is over, leave no connection.
func TestHTTPLeavesNoConnection(t *testing.T) {
	open := make(chan struct{}, 100)
	ln := serveRaw(t, "tcp", "127.0.0.1:0", func(c net.Conn) { open <- struct{}{}; untilGone(c); <-open })
	h := newHTTP(t, block(nil), "http://"+ln.Addr().String(), "")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan Result)
	go func() { done <- h.Probe(ctx) }()
	open <- <-open // there is one
	cancel()
	wantResult(t, <-done, Canceled, "given up")
	wantResult(t, h.Probe(within(t, 20*time.Millisecond)), Timeout, "within 20ms")
	for len(open) > 0 { // until the server has seen both end
		runtime.Gosched()
	}
}

func TestTCP(t *testing.T) {
	ln := serveRaw(t, "tcp", "127.0.0.1:0", untilGone)
	c := NewClient()
	wantResult(t, c.TCP(ln.Addr().String()).Probe(within(t, patient)), "", "")
	ln.Close()
	wantResult(t, c.TCP(ln.Addr().String()).Probe(within(t, patient)), Unreachable, "cannot connect to "+ln.Addr().String()+": connection refused")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantResult(t, c.TCP(ln.Addr().String()).Probe(ctx), Canceled, "given up")
	// No answer to SYN: a listener whose queue is full.
	full := fullListener(t)
	wantResult(t, c.TCP(full).Probe(within(t, 50*time.Millisecond)), Timeout, "no answer within 50ms")
}

// fullListener is an address that does not answer: nobody accepts, and what the
// kernel would hold has come already.
func fullListener(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", sa.(*syscall.SockaddrInet4).Port)
	for range 10 {
		c, err := net.DialTimeout("tcp", address, 100*time.Millisecond)
		if err != nil {
			return address
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Fatal("it accepts everything")
	return ""
}

// Without a descriptor we cannot ask: that says nothing about who is asked.
func TestOursIsTold(t *testing.T) {
	for _, no := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOBUFS, syscall.EADDRNOTAVAIL} {
		err := failed(t.Context(), time.Now(), "connect to x", &net.OpError{Op: "dial", Err: os.NewSyscallError("socket", no)})
		if err.Cause != Unable {
			t.Errorf("%v: %s", no, err.Cause)
		}
	}
	err := failed(t.Context(), time.Now(), "connect to x", &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", IsNotFound: true}})
	if err.Cause != Unreachable || err.Text != "cannot connect to x: no such host" {
		t.Errorf("%s: %s", err.Cause, err.Text)
	}
}

func TestAtRefuses(t *testing.T) {
	rule, err := NewClient().HTTPRule(block(nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range []string{"", "ftp://x/", "http://", "http://a b/", "http://x/\r\nEvil: 1", "/only/path"} {
		if _, err := rule.At(u, ""); err == nil {
			t.Errorf("%q is accepted", u)
		}
	}
	if _, err := NewClient().HTTPRule(block(func(b *spec.CheckHTTP) { b.BodyMatch = "(" })); err == nil {
		t.Error("a broken pattern is accepted")
	}
	for _, tc := range []struct{ url, address, host string }{
		{"http://h", "h:80", "Host: h\r\n"}, {"https://h/x", "h:443", "Host: h\r\n"}, {"http://[::1]:8/", "[::1]:8", "Host: [::1]:8\r\n"},
	} {
		h, err := rule.At(tc.url, "")
		if err != nil || h.address != tc.address || !bytes.Contains(h.request, []byte(tc.host)) {
			t.Errorf("%s: %v, %+v", tc.url, err, h)
		}
	}
}

func TestExcerpt(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"", ""}, {"a\tb\n", "a\tb\n"}, {"\x00\x1b[1m\xff", "??[1m?"}, {"é€", "é€"},
		{strings.Repeat("a", MaxOutput-1) + "€", strings.Repeat("a", MaxOutput-1)},
		{strings.Repeat("a", MaxOutput) + "b", strings.Repeat("a", MaxOutput)},
	} {
		if got := excerpt([]byte(tc.in)); got != tc.want {
			t.Errorf("excerpt(%.20q…) = %.20q… (%d bytes)", tc.in, got, len(got))
		}
	}
}

// Whatever comes, reading it ends, within bounds.
func FuzzHTTPAnswer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"))
	f.Add([]byte("HTTP/1.0 503 No\r\n\r\nbody"))
	f.Add([]byte("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\n\r\n"))
	rule, err := NewClient().HTTPRule(block(func(b *spec.CheckHTTP) { b.BodyMatch = "ok" }))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		resp, err := readHead(bufio.NewReader(bytes.NewReader(answer)), &rule.request)
		if err != nil {
			return
		}
		body, err := readBody(resp.Body, nil, MaxBody)
		if len(body) > MaxBody {
			t.Fatalf("%d bytes", len(body))
		}
		wrong, cut := rule.judge(resp, body, err)
		if out := excerpt(body); len(out) > MaxOutput {
			t.Fatalf("%d bytes of output", len(out))
		}
		if wrong == "" && !cut && !bytes.Contains(body, []byte("ok")) {
			t.Fatal("passed")
		}
	})
}

// One HTTP check in full, server and all.
func BenchmarkHTTP(b *testing.B) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") }))
	defer srv.Close()
	rule, err := NewClient().HTTPRule(block(nil))
	if err != nil {
		b.Fatal(err)
	}
	h, err := rule.At(srv.URL, "")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		ctx, cancel := context.WithTimeout(b.Context(), patient)
		if r := h.Probe(ctx); r.Err != nil {
			b.Fatal(r.Err)
		}
		cancel()
	}
}
