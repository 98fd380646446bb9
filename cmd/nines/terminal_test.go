package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nines/ipc"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares got with a file in testdata/golden.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", "golden", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s (go test -update writes it anew): %s", name, d)
	}
}

func fixedNow() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

// person is an app in front of a person.
func person(out, err *bytes.Buffer) *app {
	return &app{
		out: out, err: err, outTTY: true, errTTY: true, now: fixedNow, uid: 1000,
		getenv: func(string) string { return "" },
	}
}

func TestTables(t *testing.T) {
	now := fixedNow()
	st := fakeStatus(now)
	st.Services[0].Instances[2].Reason = "evil\x1b]0;title\x07\nline\u202e"
	table := func(color bool, width int) []byte {
		tb := newStatusTable(true, color, width)
		statusRows(tb, st.Services, now)
		return append(tb.bytes(), warnings(st, color)...)
	}
	golden(t, "status.txt", table(false, 0))
	golden(t, "status-color.txt", table(true, 0))
	golden(t, "status-narrow.txt", table(false, 70))
	golden(t, "service.txt", serviceDetails(&st.Services[0], now, false, 0))
	golden(t, "service-color.txt", serviceDetails(&st.Services[0], now, true, 0))
	golden(t, "service-off.txt", serviceDetails(&st.Services[3], now, false, 0))
	golden(t, "instance.txt", instanceDetails(&st.Services[0], &st.Services[0].Instances[0], now, false))
	golden(t, "instance-backoff.txt", instanceDetails(&st.Services[0], &st.Services[0].Instances[2], now, false))
	empty := newStatusTable(true, false, 0)
	statusRows(empty, nil, now)
	golden(t, "status-empty.txt", empty.bytes())
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 59*time.Second + 999*time.Millisecond: "59s", time.Minute: "1m", 200 * time.Second: "3m20s",
		time.Hour: "1h", 2*time.Hour + 5*time.Minute: "2h5m", 99 * time.Hour: "4d3h", 100 * 24 * time.Hour: "100d",
	} {
		if got := age(d); got != want {
			t.Errorf("age(%v) = %s, want %s", d, got, want)
		}
	}
	for d, want := range map[time.Duration]string{-time.Second: "0.0s", 1500 * time.Millisecond: "1.5s", 90 * time.Second: "1m30s"} {
		if got := soon(d); got != want {
			t.Errorf("soon(%v) = %s, want %s", d, got, want)
		}
	}
}

func TestBytesText(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0B", 1023: "1023B", 1024: "1.0KiB", 10188: "9.9KiB", 10 << 10: "10KiB", 1 << 20: "1.0MiB", 118 << 20: "118MiB",
		1023<<20 + 900<<10: "1.0GiB", 1 << 63: "8.0EiB",
	} {
		if got := bytesText(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestLastExitText(t *testing.T) {
	for want, e := range map[string]ipc.LastExit{
		"exited with code 3":          {Reason: "exited", Code: 3},
		"killed by SIGKILL":           {Reason: "signaled", Signal: "SIGKILL"},
		"out of memory":               {Reason: "oom", Signal: "SIGKILL"},
		"not ready in time":           {Reason: "start_timeout"},
		"a check failed":              {Reason: "check_failed"},
		"too much memory":             {Reason: "memory"},
		"stopped (killed by SIGTERM)": {Reason: "stop", Signal: "SIGTERM"},
		"something new":               {Reason: "something_new"},
		"exited with code 0":          {},
	} {
		if got := lastExitText(&e); got != want {
			t.Errorf("%+v: %q, want %q", e, got, want)
		}
	}
}

func TestFrame(t *testing.T) {
	for _, tc := range []struct {
		text string
		rows int
		want string
	}{
		{"a\nb\n", 0, "\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J"},
		{"a\nb\n", 3, "\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J"},
		{"a\nb\nc\nd\n", 4, "\x1b[Ha\x1b[K\nb\x1b[K\n…\x1b[K\n\x1b[J"},
		{"", 10, "\x1b[H\x1b[J"},
	} {
		if got := string(frame([]byte(tc.text), tc.rows)); got != tc.want {
			t.Errorf("%q in %d rows: %q, want %q", tc.text, tc.rows, got, tc.want)
		}
	}
}

func TestPlaces(t *testing.T) {
	env := map[string]string{}
	a := &app{uid: 1000, getenv: func(k string) string { return env[k] }}
	check := func(what, want string, f func() (string, error)) {
		t.Helper()
		if got, err := f(); err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", what, got, err, want)
		}
	}
	state := func(spec string) func() (string, error) {
		return func() (string, error) { return a.statePath(spec) }
	}
	logs := func(spec, st string) func() (string, error) {
		return func() (string, error) { return a.logPath(spec, st) }
	}
	check("tmp", "/tmp/nines-1000", a.runtimePath)
	env["XDG_RUNTIME_DIR"] = "relative: ignored"
	check("bad XDG", "/tmp/nines-1000", a.runtimePath)
	env["XDG_RUNTIME_DIR"], env["HOME"] = "/run/user/1000", "/home/u"
	check("XDG", "/run/user/1000/nines", a.runtimePath)
	check("socket", "/run/user/1000/nines/control.sock", a.socketPath)
	check("state", "/home/u/.local/state/nines", state(""))
	check("logs", "/home/u/.local/state/nines/log", logs("", ""))
	check("logs under the spec's state", "/s/log", logs("", "/s"))
	env["XDG_STATE_HOME"] = "/xdg"
	check("XDG state", "/xdg/nines", state(""))
	check("spec", "/s", state("/s"))
	env["NINES_RUNTIME_DIR"], env["NINES_STATE_DIR"], env["NINES_LOG_DIR"] = "/er", "/es", "/el"
	check("env runtime", "/er/control.sock", a.socketPath)
	check("env state", "/es", state("/s"))
	check("env logs", "/el", logs("/l", "/s"))
	env["NINES_SOCKET"] = "/esock"
	check("env socket", "/esock", a.socketPath)
	a.flags.socket, a.flags.runtimeDir, a.flags.stateDir, a.flags.logDir = "/fsock", "/fr", "/fs", "/fl"
	check("flag runtime", "/fr", a.runtimePath)
	check("flag socket", "/fsock", a.socketPath)
	check("flag state", "/fs", state("/s"))
	check("flag logs", "/fl", logs("/l", "/s"))
	root := &app{getenv: func(string) string { return "" }}
	check("root runtime", "/run/nines", root.runtimePath)
	if s, err := root.statePath(""); err != nil || s != "/var/lib/nines" {
		t.Errorf("root state: %s, %v", s, err)
	}
	if s, err := root.logPath("", ""); err != nil || s != "/var/log/nines" {
		t.Errorf("root logs: %s, %v", s, err)
	}
}

func TestOwnFolder(t *testing.T) {
	dir := t.TempDir()
	ours := filepath.Join(dir, "ours")
	if err := os.Mkdir(ours, 0o700); err != nil {
		t.Fatal(err)
	}
	open := filepath.Join(dir, "open")
	if err := errors.Join(os.Mkdir(open, 0o700), os.Chmod(open, 0o777), os.Symlink(ours, filepath.Join(dir, "link"))); err != nil {
		t.Fatal(err)
	}
	uid := os.Getuid()
	for _, ok := range []string{ours, filepath.Join(dir, "none")} {
		if err := ownFolder(ok, uid); err != nil {
			t.Errorf("%s: %v", ok, err)
		}
	}
	for _, bad := range []string{open, filepath.Join(dir, "link")} {
		if err := ownFolder(bad, uid); err == nil {
			t.Errorf("%s is trusted", bad)
		}
	}
	if err := ownFolder(ours, uid+1); err == nil {
		t.Error("somebody else's is trusted")
	}
}

func TestProgressIsForPeople(t *testing.T) {
	var out, errb bytes.Buffer
	a := person(&out, &errb)
	targets, err := parseTargets([]string{"a", "b", "c", "d", "e", "f/1", "g"})
	if err != nil {
		t.Fatal(err)
	}
	p := newProgress(a, "stop", targets)
	p.done(targets[0])
	p.done(targets[5])
	p.clear()
	want := "\r\x1b[Kstop: waiting for a, b, c, d, e and 2 more" +
		"\r\x1b[Kstop: waiting for b, c, d, e, f/1 and 1 more" +
		"\r\x1b[Kstop: waiting for b, c, d, e and g\r\x1b[K"
	if got := errb.String(); got != want || out.Len() > 0 {
		t.Errorf("%q, want %q; stdout %q", got, want, out.String())
	}
	a.errTTY = false
	errb.Reset()
	newProgress(a, "stop", targets).clear()
	if errb.Len() > 0 {
		t.Errorf("in a pipe: %q", errb.String())
	}
}

func TestEventsOnATerminal(t *testing.T) {
	var out, errb bytes.Buffer
	a := person(&out, &errb)
	o := newOutput(a)
	for _, e := range []ipc.Event{
		{Time: fixedNow().Add(-time.Minute), Kind: "ready", Instance: "web/0", Message: "up"},
		{Time: fixedNow().AddDate(0, 0, -1), Kind: "shutdown", Message: "bye"},
	} {
		if err := a.eventLine(o, &e); err != nil {
			t.Fatal(err)
		}
	}
	a.outColor = true
	if err := a.eventLine(o, &ipc.Event{Time: fixedNow(), Kind: "held", Service: "web", Message: "x"}); err != nil {
		t.Fatal(err)
	}
	if err := o.flush(); err != nil {
		t.Fatal(err)
	}
	golden(t, "events.txt", out.Bytes())
}

func TestWatchRedraws(t *testing.T) {
	var out, errb bytes.Buffer
	a := person(&out, &errb)
	path := filepath.Join(t.TempDir(), "s")
	l, err := ipc.Listen(path, 0o600, "")
	if err != nil {
		t.Fatal(err)
	}
	b := newFakeBackend()
	b.st = fakeStatus(fixedNow())
	srv := ipc.NewServer(ipc.ServerConfig{Backend: b, Path: path, UID: uint32(os.Getuid())})
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	ctx, cancel := context.WithCancelCause(t.Context())
	v := &view{app: a, client: ipc.NewClient(path)}
	ended := make(chan error, 1)
	go func() { ended <- v.watch(ctx) }()
	for end := time.Now().Add(20 * time.Second); len(b.taken()) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not follow the events")
		}
	}
	cancel(&interrupted{2})
	var f *failure
	if err := <-ended; !errors.As(err, &f) || f.code != 130 || f.Error() != "" {
		t.Errorf("%v", err)
	}
	if err := errors.Join(srv.Shutdown(t.Context()), <-served); err != nil {
		t.Fatal(err)
	}
	if s := out.String(); !strings.HasPrefix(s, "\x1b[HNAME") || !strings.HasSuffix(s, "\x1b[J") {
		t.Errorf("%q", s)
	}
	// What follows the supervisor's end is an error with its exit code.
	if err := v.watch(t.Context()); !errors.As(err, &f) || f.code != exitNoSupervisor {
		t.Errorf("without a supervisor: %v", err)
	}
}

func TestExplain(t *testing.T) {
	var out, errb bytes.Buffer
	a := person(&out, &errb)
	for _, tc := range []struct {
		err  error
		code int
		want string
	}{
		{&ipc.ErrLost{Err: errors.New("EOF")}, 1, `nines: stop web: the supervisor closed the connection before it had answered: what was asked for may have been done: see "nines status"`},
		{&ipc.ErrNoSupervisor{Socket: "/s", Stale: true}, 3, `nines: cannot reach the supervisor: nobody listens at /s: start it with "nines up", or name its socket with --socket`},
		{&ipc.Error{Code: ipc.CodeForbidden, Message: "no\x1b[2J"}, 4, "nines: stop web: no [2J"},
		{errors.New("odd"), 1, "nines: stop web: odd"},
		{&interrupted{15}, 143, `nines: stop web: interrupted: it goes on; see "nines status"`},
	} {
		errb.Reset()
		if code := a.finish(a.explain("stop web", tc.err)); code != tc.code || errb.String() != tc.want+"\n" {
			t.Errorf("%v: %d %q, want %d %q", tc.err, code, errb.String(), tc.code, tc.want)
		}
	}
	if a.explain("x", nil) != nil || a.finish(nil) != 0 {
		t.Error("no error is an error")
	}
}

func TestInitArgs(t *testing.T) {
	a := &app{}
	if d := cmp.Diff([]string{"/i", "-f", "x"}, a.initArgs("/i", "", []string{"x"}, false)); d != "" {
		t.Error(d)
	}
	a.flags.socket, a.flags.runtimeDir, a.flags.stateDir, a.flags.logDir = "s", "r", "st", "l"
	want := []string{"/i", "-f", "x", "-f", "y", "--runtime-dir", "r", "--socket", "s", "--state-dir", "st", "--log-dir", "l", "--supervisor", "/n", "--watch"}
	if d := cmp.Diff(want, a.initArgs("/i", "/n", []string{"x", "y"}, true)); d != "" {
		t.Error(d)
	}
}

func TestFindInit(t *testing.T) {
	dir := t.TempDir()
	init := filepath.Join(dir, "nines-init")
	a := &app{getenv: func(string) string { return "relative:/nowhere:" + dir }}
	var f *failure
	if got, _, err := a.findInit(); !errors.As(err, &f) || f.code != exitFailed || !strings.Contains(f.Error(), "neither beside") {
		t.Errorf("there is none: %s, %v", got, err)
	}
	if err := os.WriteFile(init, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if got, _, err := a.findInit(); err == nil {
		t.Errorf("not executable: %s", got)
	}
	if err := os.Chmod(init, 0o755); err != nil {
		t.Fatal(err)
	}
	if got, self, err := a.findInit(); err != nil || got != init || self != "" {
		t.Errorf("%s, %s, %v", got, self, err)
	}
	err := a.execInit([]string{"x"}, false)
	if !errors.As(err, &f) || f.code != exitFailed || !strings.Contains(f.Error(), "cannot start "+init) {
		t.Errorf("an empty program: %v", err)
	}
}
