package ipc

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// readerServer serves one user who may only read.
func readerServer(t *testing.T, b Backend, l Limits, more ...func(*ServerConfig)) (string, *caller) {
	t.Helper()
	c := &caller{}
	c.become(4242, 4242)
	return serve(t, b, append([]func(*ServerConfig){limits(l), c.config}, more...)...), c
}

// TestBodiesNobodyReads: a request that is answered without its body being read
// is not waited for, however long the caller takes: else each would hold a
// connection for ever.
func TestBodiesNobodyReads(t *testing.T) {
	f := &fake{}
	socket, _ := readerServer(t, f, Limits{ReadTimeout: time.Hour, IdleTimeout: time.Hour, MaxUserConns: 64})
	for name, tc := range map[string]struct {
		head string
		want int
	}{
		"GET":              {"GET /v1/status HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n", 400},
		"GET, some of it":  {"GET /v1/status HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{", 400},
		"GET, chunked":     {"GET /v1/events?follow=1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{", 400},
		"GET, unannounced": {"GET /v1/logs HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n", 400},
		"no such path":     {"GET /v2 HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n", 404},
		"no such method":   {"DELETE /v1/status HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n", 405},
		"forbidden":        {"POST /v1/services/s0/stop HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n", 403},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, socket)
			if _, err := io.WriteString(c, tc.head); err != nil {
				t.Fatal(err)
			}
			got := closedByServer(t, c)
			if !strings.HasPrefix(got, fmt.Sprintf("HTTP/1.1 %d", tc.want)) {
				t.Errorf("%q", got)
			}
		})
	}
	if n := len(f.seen()); n > 0 {
		t.Errorf("%d reached the backend", n)
	}
}

// TestHalfClosed: a caller that says it will send no more is answered still.
func TestHalfClosed(t *testing.T) {
	socket := serve(t, &fake{})
	c := dial(t, socket)
	if _, err := io.WriteString(c, "GET /v1/services/s0 HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.UnixConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got := closedByServer(t, c); !strings.HasPrefix(got, "HTTP/1.1 200") {
		t.Errorf("%q", got)
	}
}

// TestPipelinedRequests are answered one after the other, at the pace of a
// reader, and hold up nobody else.
func TestPipelinedRequests(t *testing.T) {
	const burst, more = 5, 10
	const pace = 20 * time.Millisecond
	socket, who := readerServer(t, &fake{}, Limits{ReaderPace: pace, ReaderBurst: burst})
	c := dial(t, socket)
	begin := time.Now()
	if _, err := io.WriteString(c, strings.Repeat("GET /v1/services/s0 HTTP/1.1\r\nHost: x\r\n\r\n", burst+more)); err != nil {
		t.Fatal(err)
	}
	br := bufio.NewReader(c)
	for i := range burst + more {
		resp, err := http.ReadResponse(br, nil)
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("answer %d: %v, %v", i, resp, err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(begin); took < more*pace {
		t.Errorf("%d requests took %v: that is faster than one every %v", burst+more, took, pace)
	}
	who.become(0, 0)
	for range 10 * burst {
		if status, _ := ask(t, socket, "GET", "/v1/services/s0", ""); status != 200 {
			t.Errorf("the owner: %d", status)
		}
	}
}

func TestPacer(t *testing.T) {
	const each = 50 * time.Millisecond
	p := newPacer(each, 3)
	at := time.Unix(1000, 0)
	for i, want := range []time.Duration{0, 0, 0, each, 2 * each} {
		if got := p.reserve(1, at); got != want {
			t.Errorf("request %d waits %v, want %v", i, got, want)
		}
	}
	if got := p.reserve(2, at); got != 0 {
		t.Errorf("another user waits %v", got)
	}
	at = at.Add(5 * each) // worked off
	if got := p.reserve(1, at); got != 0 {
		t.Errorf("later: waits %v", got)
	}
	p.reserve(3, at.Add(2*time.Minute))
	if len(p.next) != 1 {
		t.Errorf("%d users are remembered", len(p.next))
	}
}

func TestPacerEnds(t *testing.T) {
	p := newPacer(time.Hour, 1)
	p.reserve(1, time.Now())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.wait(ctx, nil, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	done := make(chan struct{})
	close(done)
	if e := (*Error)(nil); !errors.As(p.wait(t.Context(), done, 1), &e) || e.Code != CodeBusy {
		t.Errorf("%v", e)
	}
}

func TestRefusals(t *testing.T) {
	var r refusals
	at := time.Unix(1000, 0)
	for i, want := range []int{1, 0, 0} {
		if got := r.now(at); got != want {
			t.Errorf("%d: %d, want %d", i, got, want)
		}
	}
	if got := r.now(at.Add(time.Second)); got != 3 {
		t.Errorf("a second later: %d", got)
	}
}

// TestRefusedRequestsDoNotFloodTheLog: it may be a pipe that nobody reads.
func TestRefusedRequestsDoNotFloodTheLog(t *testing.T) {
	var mu sync.Mutex
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(writerFunc(func(b []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return out.Write(b)
	}), nil))
	socket, _ := readerServer(t, &fake{}, Limits{ReaderBurst: 1000}, func(c *ServerConfig) { c.Log = log })
	c := dial(t, socket)
	const n = 200
	begin := time.Now()
	for i := range n {
		if status, _, err := roundTrip(c, "POST", "/v1/shutdown", ""); err != nil || status != 403 {
			t.Fatalf("%d: %d, %v", i, status, err)
		}
	}
	most := 1 + int(time.Since(begin)/time.Second)
	mu.Lock()
	defer mu.Unlock()
	if lines := bytes.Count(out.Bytes(), []byte("control request refused")); lines == 0 || lines > most {
		t.Errorf("%d lines, at most %d expected", lines, most)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// TestUnreadAnswersAreBounded: readers who ask for much and read nothing take a
// bounded part of memory, for a bounded time, and do not disturb the owner.
func TestUnreadAnswersAreBounded(t *testing.T) {
	f := &fake{status: sampleStatus(10_000)} // some MB: no socket holds that
	socket, who := readerServer(t, f, Limits{MaxHeld: 1 << 20, WriteTimeout: 4 * time.Second, MaxUserConns: 16})
	slow := dial(t, socket)
	if _, err := io.WriteString(slow, "GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	// Once its first byte is here, its answer is being held.
	if _, err := slow.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if status, body := ask(t, socket, "GET", "/v1/status", ""); status != 503 {
		t.Errorf("a second reader: %d %.80s", status, body)
	}
	who.become(0, 0)
	if status, _ := ask(t, socket, "GET", "/v1/status", ""); status != 200 {
		t.Errorf("the owner: %d", status)
	}
	who.become(4242, 4242)
	eventually(t, "who does not read is dropped", func() bool {
		status, _ := ask(t, socket, "GET", "/v1/status", "")
		return status == 200
	})
}

// TestFollowersLeaveRoom: readers' streams, as many as they can have, leave the
// owner the right to wait.
func TestFollowersLeaveRoom(t *testing.T) {
	f := &fake{events: func(ctx context.Context, _ EventQuery, _ func(Event) error) error {
		<-ctx.Done()
		return ctx.Err()
	}}
	for _, descriptors := range []uint64{64, 1024} {
		l := fit(descriptors)
		socket, who := readerServer(t, f, l)
		for uid := range uint32(2 * l.MaxConns) {
			who.become(1000+uid, 1000)
			c := dial(t, socket)
			// Refused ones may be closed before they have asked.
			_, _ = io.WriteString(c, "GET /v1/events?follow=1 HTTP/1.1\r\nHost: x\r\n\r\n")
			if _, err := io.ReadFull(c, make([]byte, len("HTTP/1.1 200"))); err != nil {
				t.Fatal(err)
			}
		}
		who.become(0, 0)
		if status, body := ask(t, socket, "POST", "/v1/services/s0/stop", "{}"); status != 200 {
			t.Errorf("%d descriptors: %d %s", descriptors, status, body)
		}
	}
}

// counting is a Backend that takes its time for a status and counts them.
type counting struct {
	fake
	n       atomic.Int64
	at      atomic.Int64 // under way
	release chan struct{}
}

func (c *counting) Status(ctx context.Context) (*Status, error) {
	if c.at.Add(1) > 1 {
		panic("two at a time")
	}
	defer c.at.Add(-1)
	<-c.release
	c.n.Add(1)
	return c.fake.Status(ctx)
}

// TestShare: however many ask, one answer is made at a time, and everybody gets
// one that was begun after he asked.
func TestShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		n := 0
		s := newShare(func(context.Context) (int, error) { <-release; n++; return n, nil })
		answers := make(chan int, 100)
		askAll := func(many int, age time.Duration) {
			for range many {
				go func() { v, err := s.get(t.Context(), age); answers <- v; _ = err }()
			}
			synctest.Wait()
		}
		expect := func(many, want int) {
			t.Helper()
			for range many {
				if got := <-answers; got != want {
					t.Errorf("got answer %d, want %d", got, want)
				}
			}
		}
		askAll(1, 0)
		askAll(50, 0) // the first is under way: these need the second
		release <- struct{}{}
		expect(1, 1)
		release <- struct{}{}
		expect(50, 2)
		askAll(1, time.Second) // it says that older ones are worth keeping
		release <- struct{}{}
		expect(1, 3)
		askAll(10, time.Second)
		expect(10, 3)
		time.Sleep(2 * time.Second) // of the bubble
		askAll(10, time.Second)
		release <- struct{}{}
		expect(10, 4)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := s.get(ctx, 0); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
		release <- struct{}{}
	})
}

// TestStatusIsMadeOnce for all who ask meanwhile, whoever they are; and a bug
// in it is an answer.
func TestStatusIsMadeOnce(t *testing.T) {
	b := &counting{release: make(chan struct{})}
	socket := serve(t, b)
	const callers = 40
	answered := make(chan error, callers)
	for range callers {
		go func() { _, err := NewClient(socket).Status(context.Background()); answered <- err }()
	}
	// All of them wait: for the first, or for the one after it, which is begun when that
	// is released.
	stacks := make([]byte, 4<<20)
	for deadline := time.Now().Add(time.Minute); ; {
		waiting := bytes.Count(stacks[:runtime.Stack(stacks, true)], []byte("ipc.(*share[...]).get("))
		if waiting == callers {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d callers wait", waiting, callers)
		}
		time.Sleep(time.Millisecond)
	}
	ended := 0
	for ended < callers {
		select {
		case b.release <- struct{}{}:
		case err := <-answered:
			if ended++; err != nil {
				t.Error(err)
			}
		}
	}
	if n := b.n.Load(); n > 2 {
		t.Errorf("%d were made for %d callers", n, callers)
	}
}

type broken struct{ fake }

func (*broken) Status(context.Context) (*Status, error) { panic("bug") }

func TestPanicInStatusIsAnAnswer(t *testing.T) {
	socket := serve(t, &broken{})
	for range 2 {
		_, err := NewClient(socket).Status(t.Context())
		if e := (*Error)(nil); !errors.As(err, &e) || e.Code != CodeInternal {
			t.Errorf("%v", err)
		}
	}
}
