package ipc

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestEvents(t *testing.T) {
	want := make([]Event, 3000) // more than one buffer
	for i := range want {
		want[i] = Event{Seq: uint64(i + 1), Time: moment(), Kind: "ready", Service: "web", Instance: "web/0", Message: "<ready> & \"well\"", Fields: map[string]string{"pid": "7"}}
	}
	ask := EventQuery{Since: moment(), After: 12, Service: "we b", Follow: true}
	var asked EventQuery
	f := &fake{events: func(_ context.Context, q EventQuery, fn func(Event) error) error {
		asked = q
		for _, e := range want {
			if err := fn(e); err != nil {
				return err
			}
		}
		return nil
	}}
	var got []Event
	err := NewClient(serve(t, f)).Events(t.Context(), ask, func(e Event) error { got = append(got, e); return nil })
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(ask, asked); d != "" {
		t.Errorf("asked for: %s", d)
	}
}

// lineByLine is a follower's backend: it sends what the test says.
func lineByLine(lines <-chan LogLine, ended chan<- error) func(context.Context, LogQuery, func(LogLine) error) error {
	return func(ctx context.Context, _ LogQuery, fn func(LogLine) error) error {
		err := func() error {
			for {
				select {
				case l, ok := <-lines:
					if !ok {
						return nil
					}
					if err := fn(l); err != nil {
						return err
					}
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}()
		ended <- err
		return err
	}
}

func TestFollowedLinesComeSoon(t *testing.T) {
	lines, ended := make(chan LogLine), make(chan error, 1)
	c := NewClient(serve(t, &fake{logs: lineByLine(lines, ended)}))
	got := make(chan LogLine)
	stop := errors.New("enough")
	done := make(chan error, 1)
	go func() {
		done <- c.Logs(t.Context(), LogRequest{Follow: true}, func(l LogLine) error {
			got <- l
			if l.Line == "last" {
				return stop
			}
			return nil
		})
	}()
	for _, text := range []string{"first", "second", "last"} {
		lines <- LogLine{Line: text}
		if l := <-got; l.Line != text {
			t.Errorf("%q, want %q", l.Line, text)
		}
	}
	if err := <-done; !errors.Is(err, stop) {
		t.Errorf("fn's error: %v", err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the backend, after its reader left: %v", err)
	}
}

// TestSilentStreamIsAnswered: the header of a stream does not wait for a line.
func TestSilentStreamIsAnswered(t *testing.T) {
	ended := make(chan error, 1)
	socket := serve(t, &fake{logs: lineByLine(nil, ended)})
	c := dial(t, socket)
	if _, err := c.Write([]byte("GET /v1/logs?follow=1 HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/x-ndjson" {
		t.Errorf("%v, %v", resp, err)
	}
	c.Close()
	<-ended
}

func TestErrorInMidStream(t *testing.T) {
	f := &fake{logs: func(_ context.Context, _ LogQuery, fn func(LogLine) error) error {
		if err := fn(LogLine{Line: `{"error":{}}`}); err != nil {
			return err
		}
		return &Error{Code: CodeFailed, Message: "cannot read on", Hint: "mend the disk"}
	}}
	n := 0
	err := NewClient(serve(t, f)).Logs(t.Context(), LogRequest{}, func(LogLine) error { n++; return nil })
	if e := (*Error)(nil); !errors.As(err, &e) || e.Code != CodeFailed || e.Hint != "mend the disk" {
		t.Errorf("%v", err)
	}
	if n != 1 {
		t.Errorf("%d lines", n)
	}
}

// TestSlowReaderIsDropped: the backend gets its goroutine back.
func TestSlowReaderIsDropped(t *testing.T) {
	ended := make(chan error, 1)
	f := &fake{logs: func(ctx context.Context, _ LogQuery, fn func(LogLine) error) error {
		line := LogLine{Line: strings.Repeat("x", 1000)}
		for {
			if err := fn(line); err != nil {
				ended <- err
				return err
			}
		}
	}}
	socket := serve(t, f, limits(Limits{WriteTimeout: 50 * time.Millisecond}))
	c := dial(t, socket)
	if _, err := c.Write([]byte("GET /v1/logs?follow=1 HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("no error")
	}
	eventually(t, "the connection is closed", func() bool {
		_, err := c.Write([]byte("x"))
		return err != nil
	})
}

func TestServerShutdownEndsStreams(t *testing.T) {
	ended := make(chan error, 1)
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(path, 0o600, "")
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(ServerConfig{Backend: &fake{logs: lineByLine(nil, ended)}, Path: path, UID: uint32(os.Getuid())})
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	conn := dial(t, path)
	if _, err := conn.Write([]byte("GET /v1/logs?follow=1 HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	br := bufio.NewReader(conn)
	if line, err := br.ReadString('\n'); err != nil || !strings.Contains(line, "200") {
		t.Fatalf("%q, %v", line, err)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown again: %v", err)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("backend: %v", err)
	}
}

// TestServerShutdownIsBounded: a backend that does not return holds it up no
// longer than the caller says.
func TestServerShutdownIsBounded(t *testing.T) {
	began, release := make(chan struct{}), make(chan struct{})
	f := &fake{do: func(context.Context) (Result, error) { close(began); <-release; return Result{}, nil }}
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(path, 0o600, "")
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(ServerConfig{Backend: f, Path: path, UID: uint32(os.Getuid())})
	go s.Serve(l)
	ended := make(chan error, 1)
	go func() { _, err := NewClient(path).Do(t.Context(), "s0", VerbStop, Command{}); ended <- err }()
	<-began
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if err := <-ended; !errors.As(err, new(*ErrLost)) {
		t.Errorf("client: %v", err)
	}
	close(release)
}

func TestClientShutdownWaitsForTheEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(path, 0o600, "")
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan struct{}, 1)
	f := &fake{shutdown: func(context.Context) (Result, error) {
		asked <- struct{}{}
		return Result{Message: "everything has stopped"}, nil
	}}
	s := NewServer(ServerConfig{Backend: f, Path: path, UID: uint32(os.Getuid())})
	go s.Serve(l)
	type answer struct {
		res Result
		err error
	}
	ended := make(chan answer, 1)
	go func() {
		res, err := NewClient(path).Shutdown(t.Context(), ShutdownRequest{})
		ended <- answer{res, err}
	}()
	<-asked
	select {
	case a := <-ended:
		t.Fatalf("before the supervisor is gone: %+v", a)
	case <-time.After(50 * time.Millisecond):
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a := <-ended; a.err != nil || a.res.Message != "everything has stopped" {
		t.Errorf("%+v", a)
	}
}

// TestClientShutdownGoesOnWithTheNext: the supervisor crashes during the
// shutdown; its successor is asked again.
func TestClientShutdownGoesOnWithTheNext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	asked := make(chan int, 2)
	start := func(n int) *Server {
		l, err := Listen(path, 0o600, "")
		if err != nil {
			t.Fatal(err)
		}
		l.(*listener).once.Do(func() {}) // a crash leaves the socket behind
		f := &fake{shutdown: func(ctx context.Context) (Result, error) {
			asked <- n
			<-ctx.Done()
			return Result{}, ctx.Err()
		}}
		s := NewServer(ServerConfig{Backend: f, Path: path, UID: uint32(os.Getuid())})
		go s.Serve(l)
		return s
	}
	first := start(1)
	ended := make(chan error, 1)
	go func() { _, err := NewClient(path).Shutdown(t.Context(), ShutdownRequest{}); ended <- err }()
	if n := <-asked; n != 1 {
		t.Fatal(n)
	}
	first.http.Close()
	second := start(2)
	if n := <-asked; n != 2 {
		t.Fatal(n)
	}
	if err := removeSocket(path); err != nil {
		t.Fatal(err)
	}
	second.http.Close()
	if err := <-ended; err != nil {
		t.Errorf("%v", err)
	}
}

func TestShutdownRequestTravels(t *testing.T) {
	f := &fake{}
	c := NewClient(serve(t, f))
	want := ShutdownRequest{Action: "reboot", NoWait: true}
	if res, err := c.Shutdown(t.Context(), want); err != nil || res.Message != "shutting down" {
		t.Errorf("%v, %v", res, err)
	}
	if got := f.seen()[0].request; got != want {
		t.Errorf("%+v", got)
	}
}

func TestNoSupervisor(t *testing.T) {
	dir := t.TempDir()
	c := NewClient(filepath.Join(dir, "none"))
	_, err := c.Status(t.Context())
	var none *ErrNoSupervisor
	if !errors.As(err, &none) || none.Stale || !strings.Contains(err.Error(), dir) {
		t.Errorf("no socket: %v", err)
	}
	if _, err := c.Shutdown(t.Context(), ShutdownRequest{}); !errors.As(err, &none) {
		t.Errorf("shutdown: %v", err)
	}
	l, err := Listen(c.Socket(), 0o600, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.(*listener).UnixListener.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Status(t.Context()); !errors.As(err, &none) || !none.Stale {
		t.Errorf("stale socket: %v", err)
	}
}

func TestStrangeServers(t *testing.T) {
	for name, tc := range map[string]struct {
		answer string
		want   any
	}{
		"nothing":       {"", new(*ErrLost)},
		"no HTTP":       {"SSH-2.0-OpenSSH\r\n", new(*ErrLost)},
		"half a body":   {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", new(*ErrLost)},
		"no JSON":       {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", new(*Error)},
		"plain error":   {"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 5\r\n\r\nhello", new(*Error)},
		"huge":          {"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", new(*ErrLost)},
		"unknown error": {"HTTP/1.1 400 Bad\r\nContent-Length: 2\r\n\r\n{}", new(*Error)},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "s")
			l, err := Listen(path, 0o600, "")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				c, err := l.Accept()
				if err != nil {
					return
				}
				fmt.Fprint(c, tc.answer)
				c.Close()
			}()
			if _, err := NewClient(path).Status(t.Context()); err == nil || !errors.As(err, tc.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestReady(t *testing.T) {
	in := func(states ...string) []Instance {
		var out []Instance
		for _, s := range states {
			out = append(out, Instance{State: s})
		}
		return out
	}
	st := &Status{Services: []Service{
		{Name: "up", State: "running", Desired: "running", InstancesDesired: 2, Instances: in("ready", "standby")},
		{Name: "half", State: "degraded", Desired: "running", InstancesDesired: 2, Instances: in("ready", "backoff"), Reason: "one is down"},
		{Name: "off", State: "stopped", Desired: "stopped", InstancesDesired: 1, Instances: in("stopped")},
		{Name: "none", State: "running", Desired: "running"},
		{Name: "job", Type: "task", State: "running", Desired: "running", InstancesDesired: 1, Instances: in("ready")},
		{Name: "done", Type: "task", State: "completed", Desired: "running", InstancesDesired: 1, Instances: in("completed")},
	}}
	c := NewClient(serve(t, &fake{status: st}))
	names := func(not []NotReady) (out []string) {
		for _, n := range not {
			out = append(out, n.Service)
		}
		return out
	}
	for _, tc := range []struct{ ask, want []string }{
		{nil, []string{"half", "job"}},
		{[]string{"up", "none", "done"}, nil},
		{[]string{"off", "up"}, []string{"off"}},
	} {
		not, err := c.Ready(t.Context(), tc.ask...)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(tc.want, names(not)); d != "" {
			t.Errorf("%v: %s", tc.ask, d)
		}
	}
	if _, err := c.Ready(t.Context(), "up", "nope"); err == nil {
		t.Error("unknown service")
	}
}
