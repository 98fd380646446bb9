package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestParse(t *testing.T) {
	for _, tc := range []struct {
		name    string
		args    []string
		port    string
		sockets string // LISTEN_FDS
		want    string // address, or "" for an error; "inherited": the socket
	}{
		{"port from nines", nil, "8081", "", "127.0.0.1:8081"},
		{"address wins", []string{"-addr", ":1"}, "8081", "1", ":1"},
		{"socket from nines", nil, "8081", "1", "inherited"},
		{"no address", nil, "", "", ""},
		{"argument", []string{"-addr", ":1", "extra"}, "", "", ""},
		{"unknown flag", []string{"-nosuch"}, "1", "", ""},
		{"migrate without db", []string{"-migrate"}, "1", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Setenv("NINES_PORT_http", tc.port)
			t.Setenv("LISTEN_FDS", tc.sockets)
			t.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()))
			c, err := parse(tc.args, io.Discard)
			if err == nil && c.addr == "" {
				c.addr = "inherited"
			}
			if (err != nil) != (tc.want == "") || (err == nil && c.addr != tc.want) {
				t.Errorf("parse(%q) = %q, %v; want %q", tc.args, c.addr, err, tc.want)
			}
		})
	}
}

func TestMigrateThenStart(t *testing.T) {
	db := filepath.Join(t.TempDir(), "db")
	ended, cancel := context.WithCancel(t.Context())
	cancel() // a service that is told to stop before it listens

	if code, err := run(ended, config{db: db, addr: "127.0.0.1:0"}, quiet()); code != 1 || err == nil {
		t.Errorf("without a database: %d, %v; want 1 and an error", code, err)
	}
	if code, err := run(t.Context(), config{db: db, migrate: true}, quiet()); code != 0 || err != nil {
		t.Fatalf("migrate: %d, %v", code, err)
	}
	if _, err := os.Stat(db + ".tmp"); !os.IsNotExist(err) {
		t.Errorf("the temporary file is still there: %v", err)
	}
	if code, err := run(ended, config{db: db, addr: "127.0.0.1:0", startDelay: time.Hour}, quiet()); code != 0 || err != nil {
		t.Errorf("SIGTERM during the start: %d, %v; want 0", code, err)
	}
	if code, err := run(t.Context(), config{db: filepath.Join(db, "x"), migrate: true}, quiet()); code != 1 || err == nil {
		t.Errorf("migrate into a file: %d, %v; want 1 and an error", code, err)
	}
}

func TestServesAndDrains(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	type end struct {
		code int
		err  error
	}
	ended := make(chan end, 1)
	go func() {
		code, err := serve(ctx, l, config{drain: 10 * time.Second}, quiet())
		ended <- end{code, err}
	}()
	base := "http://" + l.Addr().String()

	var p page
	if err := json.Unmarshal([]byte(get(t, base+"/", 200)), &p); err != nil || p.PID != os.Getpid() || p.Served != 1 || p.Version != version {
		t.Errorf("/ = %+v, %v", p, err)
	}
	get(t, base+"/healthz", 200)
	get(t, base+"/nosuch", 404)
	get(t, base+"/work?for=forever", 400)

	// A request in flight when the stop comes is answered before the end.
	before := served(t, base)
	answered := make(chan int, 1)
	go func() {
		resp, err := http.Get(base + "/work?for=300ms")
		if err != nil {
			answered <- 0
			return
		}
		defer resp.Body.Close()
		answered <- resp.StatusCode
	}()
	for asked := uint64(1); served(t, base) == before+asked; asked++ {
		// Our own requests are all that was served: it has not arrived yet.
	}
	stop()
	if code := <-answered; code != 200 {
		t.Errorf("the request in flight got %d, want 200", code)
	}
	if e := <-ended; e.code != 0 || e.err != nil {
		t.Errorf("serve = %d, %v; want 0", e.code, e.err)
	}
}

func TestCrashAfter(t *testing.T) {
	c := config{addr: "127.0.0.1:0", crashAfter: time.Millisecond, exitCode: 7}
	if code, err := run(t.Context(), c, quiet()); code != 7 || err == nil {
		t.Errorf("run = %d, %v; want 7 and why", code, err)
	}
}

// served is how many requests have arrived, the one that asks included.
func served(t *testing.T, base string) uint64 {
	t.Helper()
	var p page
	if err := json.Unmarshal([]byte(get(t, base+"/", 200)), &p); err != nil {
		t.Fatal(err)
	}
	return p.Served
}

func get(t *testing.T, url string, want int) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != want {
		t.Fatalf("GET %s = %d, %v; want %d\n%s", url, resp.StatusCode, err, want, body)
	}
	return string(body)
}
