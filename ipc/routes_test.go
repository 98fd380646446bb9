package ipc

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestEveryRowGivesAccess(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range routes() {
		key := r.method + " " + r.path
		if seen[key] {
			t.Errorf("%s stands twice", key)
		}
		seen[key] = true
		want := accessRead
		if r.method == http.MethodPost {
			want = accessWrite
		}
		if r.access != want {
			t.Errorf("%s: access %d, want %d", key, r.access, want)
		}
	}
}

func TestStatusAndService(t *testing.T) {
	want := sampleStatus(3)
	c := NewClient(serve(t, &fake{status: want}))
	got, err := c.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	svc, err := c.Service(t.Context(), "s1")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(&want.Services[1], svc); d != "" {
		t.Error(d)
	}
	_, err = c.Service(t.Context(), "nope")
	if e := (*Error)(nil); !errors.As(err, &e) || e.Code != CodeNoSuchService {
		t.Errorf("unknown service: %v", err)
	}
}

func TestServiceNamesAreEscaped(t *testing.T) {
	st := sampleStatus(1)
	st.Services[0].Name = "a b%/ü?"
	f := &fake{status: st}
	c := NewClient(serve(t, f))
	svc, err := c.Service(t.Context(), st.Services[0].Name)
	if err != nil || svc.Name != st.Services[0].Name {
		t.Errorf("Service = %v, %v", svc, err)
	}
	if _, err := c.Do(t.Context(), st.Services[0].Name, VerbStop, Command{}); err != nil {
		t.Fatal(err)
	}
	if got := f.seen()[0].service; got != st.Services[0].Name {
		t.Errorf("Do of %q", got)
	}
}

func TestVerbs(t *testing.T) {
	one := 1
	for _, tc := range []struct {
		verb string
		in   Command
		want Command
	}{
		{VerbStart, Command{}, Command{}},
		{VerbStop, Command{Instance: &one}, Command{Instance: &one}},
		{VerbRestart, Command{NoWait: true}, Command{NoWait: true}},
		{VerbReload, Command{}, Command{}},
		{VerbScale, Command{Instances: 0}, Command{Instances: 0}},
		{VerbScale, Command{Instances: 7, NoWait: true}, Command{Instances: 7, NoWait: true}},
		{VerbSignal, Command{Signal: "hup", Instance: &one}, Command{Signal: "SIGHUP", Instance: &one}},
		// What does not belong to the verb does not travel.
		{VerbStart, Command{Signal: "SIGHUP", Instances: 3}, Command{}},
	} {
		f := &fake{}
		res, err := NewClient(serve(t, f)).Do(t.Context(), "web", tc.verb, tc.in)
		if err != nil || res.Message != tc.verb+" web" {
			t.Errorf("%s: %v, %v", tc.verb, res, err)
			continue
		}
		got := f.seen()[0]
		if d := cmp.Diff(tc.want, got.command); d != "" || got.verb != tc.verb || got.service != "web" {
			t.Errorf("%s: %+v: %s", tc.verb, got, d)
		}
	}
}

func TestRefusedRequests(t *testing.T) {
	f := &fake{}
	socket := serve(t, f)
	for _, tc := range []struct {
		method, path, body string
		code               Code
	}{
		{"GET", "/", "", CodeNotFound},
		{"GET", "/v1", "", CodeNotFound},
		{"GET", "/v1/statusx", "", CodeNotFound},
		{"GET", "/v1/services/", "", CodeNotFound},
		{"GET", "/v1/services/a/b", "", CodeNotFound},
		{"POST", "/v1/services/web/explode", "", CodeNotFound},
		{"POST", "/v1/services//start", "", CodeNotFound},
		{"POST", "/v1/status", "", CodeMethod},
		{"DELETE", "/v1/services/s0", "", CodeMethod},
		{"GET", "/v1/services/s0/start", "", CodeMethod},
		{"GET", "/v1/shutdown", "", CodeMethod},
		{"GET", "/v1/services/nope", "", CodeNoSuchService},
		{"POST", "/v1/services/s0/start", "{", CodeBadRequest},
		{"POST", "/v1/services/s0/start", "[]", CodeBadRequest},
		{"POST", "/v1/services/s0/start", "null", CodeBadRequest},
		{"POST", "/v1/services/s0/start", `{"instnace":1}`, CodeBadRequest},
		{"POST", "/v1/services/s0/start", `{}{}`, CodeBadRequest},
		{"POST", "/v1/services/s0/start", `{} x`, CodeBadRequest},
		{"POST", "/v1/services/s0/start", `{"instance":-1}`, CodeBadRequest},
		{"POST", "/v1/services/s0/start", `{"instance":"0"}`, CodeBadRequest},
		{"POST", "/v1/services/s0/start", `{"instances":1}`, CodeBadRequest},
		{"POST", "/v1/services/s0/start", `{"signal":"HUP"}`, CodeBadRequest},
		{"POST", "/v1/services/s0/scale", `{}`, CodeBadRequest},
		{"POST", "/v1/services/s0/scale", `{"instances":-1}`, CodeBadRequest},
		{"POST", "/v1/services/s0/scale", `{"instances":100001}`, CodeBadRequest},
		{"POST", "/v1/services/s0/scale", `{"instances":1e99}`, CodeBadRequest},
		{"POST", "/v1/services/s0/scale", `{"instances":1,"instance":0}`, CodeBadRequest},
		{"POST", "/v1/services/s0/signal", `{}`, CodeBadRequest},
		{"POST", "/v1/services/s0/signal", `{"signal":"SIGNOPE"}`, CodeBadRequest},
		{"POST", "/v1/services/s0/signal", `{"signal":"0"}`, CodeBadRequest},
		{"POST", "/v1/services/s0/stop", strings.Repeat(" ", 64<<10+1), CodeTooLarge},
		{"POST", "/v1/shutdown", `{"action":"explode"}`, CodeBadRequest},
		{"GET", "/v1/events?folow=1", "", CodeBadRequest},
		{"GET", "/v1/events?follow=maybe", "", CodeBadRequest},
		{"GET", "/v1/events?follow=1&follow=1", "", CodeBadRequest},
		{"GET", "/v1/events?since=yesterday", "", CodeBadRequest},
		{"GET", "/v1/events?since=-5m", "", CodeBadRequest},
		{"GET", "/v1/events?after=-5", "", CodeBadRequest},
		{"GET", "/v1/events?after=1&after=2", "", CodeBadRequest},
		{"GET", "/v1/events?%zz", "", CodeBadRequest},
		{"GET", "/v1/logs?lines=many", "", CodeBadRequest},
		{"GET", "/v1/logs?service=nope", "", CodeNoSuchService},
		{"GET", "/v1/logs?instance=nope/0", "", CodeNoSuchService},
		{"GET", "/v1/logs?instance=s0/9", "", CodeNoSuchInstance},
	} {
		status, body := ask(t, socket, tc.method, tc.path, tc.body)
		e := errorOf(t, body)
		if e.Code != tc.code || status != tc.code.HTTPStatus() {
			t.Errorf("%s %s %.40q: %d %+v, want %s", tc.method, tc.path, tc.body, status, e, tc.code)
		}
		if !strings.HasPrefix(e.Message, "cannot ") {
			t.Errorf("%s %s: message %q", tc.method, tc.path, e.Message)
		}
	}
	if n := len(f.seen()); n > 0 {
		t.Errorf("%d refused requests reached the backend", n)
	}
}

func TestAllowNamesTheMethods(t *testing.T) {
	socket := serve(t, &fake{})
	c := dial(t, socket)
	if _, err := c.Write([]byte("PUT /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if got := closedByServer(t, c); !strings.Contains(got, "\r\nAllow: GET\r\n") {
		t.Errorf("%q", got)
	}
}

func TestEveryErrorCodeTravels(t *testing.T) {
	for _, row := range codeTable() {
		f := &fake{err: &Error{Code: row.code, Message: "cannot do it", Hint: "do that"}}
		socket := serve(t, f)
		c := NewClient(socket)
		calls := map[string]func() error{
			"status":    func() error { _, err := c.Status(t.Context()); return err },
			"do":        func() error { _, err := c.Do(t.Context(), "web", VerbStart, Command{}); return err },
			"events":    func() error { return c.Events(t.Context(), EventQuery{}, nil) },
			"incidents": func() error { _, err := c.Incidents(t.Context(), "web"); return err },
			"history":   func() error { _, err := c.History(t.Context(), "web"); return err },
			"deploy":    func() error { _, err := c.Deploy(t.Context(), "web", DeployRequest{Path: "/x"}); return err },
			"rollback":  func() error { _, err := c.Rollback(t.Context(), "web", RollbackRequest{}); return err },
			"logs":      func() error { return c.Logs(t.Context(), LogRequest{}, nil) },
			"shutdown":  func() error { _, err := c.Shutdown(t.Context(), ShutdownRequest{}); return err },
			"ready":     func() error { _, err := c.Ready(t.Context()); return err },
		}
		for name, call := range calls {
			var e *Error
			if err := call(); !errors.As(err, &e) || *e != *f.err.(*Error) {
				t.Errorf("%s: %s gives %v", row.code, name, err)
			}
		}
		if status, _ := ask(t, socket, "GET", "/v1/status", ""); status != row.http {
			t.Errorf("%s: HTTP %d, want %d", row.code, status, row.http)
		}
		if row.code.ExitCode() != row.exit {
			t.Errorf("%s: exit %d", row.code, row.code.ExitCode())
		}
	}
	if c := Code("new"); c.HTTPStatus() != 500 || c.ExitCode() != 1 {
		t.Error("an unknown code is not internal")
	}
}

func TestOtherErrorsAreInternal(t *testing.T) {
	_, err := NewClient(serve(t, &fake{err: errors.New("disk on fire")})).Status(t.Context())
	if e := (*Error)(nil); !errors.As(err, &e) || e.Code != CodeInternal || e.Message != "disk on fire" {
		t.Errorf("%v", err)
	}
}

func TestPanicIsAnAnswer(t *testing.T) {
	f := &fake{do: func(context.Context) (Result, error) { panic("bug") }}
	socket := serve(t, f)
	_, err := NewClient(socket).Do(t.Context(), "web", VerbStart, Command{})
	if e := (*Error)(nil); !errors.As(err, &e) || e.Code != CodeInternal {
		t.Errorf("%v", err)
	}
	if _, err := NewClient(socket).Status(t.Context()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestLogQueryTravels(t *testing.T) {
	since := moment()
	for _, tc := range []struct {
		in   LogRequest
		want LogQuery
	}{
		{LogRequest{Lines: -1}, LogQuery{Lines: -1}},
		{LogRequest{Lines: 0, Follow: true}, LogQuery{Lines: 0, Follow: true}},
		{LogRequest{Services: []string{"s0", "s1"}, Instances: []string{"s1/0"}, Lines: 5, Since: since},
			LogQuery{Services: []string{"s0", "s1"}, Instances: []string{"s1/0"}, Lines: 5, Since: since}},
	} {
		var got LogQuery
		want := []LogLine{{Time: since, Service: "s0", Instance: "s0/0", Stream: "out", Line: "hi \"there\" \u2028"}, {Time: since, Partial: true}}
		f := &fake{logs: func(_ context.Context, q LogQuery, fn func(LogLine) error) error {
			got = q
			for _, l := range want {
				if err := fn(l); err != nil {
					return err
				}
			}
			return nil
		}}
		var lines []LogLine
		err := NewClient(serve(t, f)).Logs(t.Context(), tc.in, func(l LogLine) error { lines = append(lines, l); return nil })
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(tc.want, got); d != "" {
			t.Error(d)
		}
		if d := cmp.Diff(want, lines); d != "" {
			t.Error(d)
		}
	}
}

func TestSince(t *testing.T) {
	now := moment()
	for in, want := range map[string]time.Time{
		"": {}, "10m": now.Add(-10 * time.Minute), "2d": now.Add(-48 * time.Hour), "0s": now,
		"2026-01-02T03:04:05Z": time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	} {
		if got, err := ParseSince(in, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"-1s", "-2d", "x", "1w", "d", "999999999999d"} {
		if got, err := ParseSince(in, now); err == nil {
			t.Errorf("%q: %v", in, got)
		}
	}
}

func TestSignals(t *testing.T) {
	for in, want := range map[string]string{
		"HUP": "SIGHUP", "sighup": "SIGHUP", "SIGUSR1": "SIGUSR1", "9": "SIGKILL", "chld": "SIGCHLD",
	} {
		if got, err := ParseSignal(in); err != nil || got != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "0", "-9", "65", "SIG", "SIGSIGHUP", "SIGRTMIN", "hup hup"} {
		if got, err := ParseSignal(in); err == nil {
			t.Errorf("%q: %q", in, got)
		}
	}
}

// TestJSONShape holds the wire form against the contract's field names: one
// that is renamed breaks whoever reads `nines status --json`.
func TestJSONShape(t *testing.T) {
	st := sampleStatus(1)
	st.Services[0].Quarantine = []Quarantined{{}}
	st.Services[0].Instances[0].Checks = []Check{{}}
	st.Supervisor.Checks = []Check{{}}
	var got map[string]any
	if err := json.Unmarshal(appendStatus(nil, st), &got); err != nil {
		t.Fatal(err)
	}
	want := `{"services":[{"availability":{"failures":0,"mttr_seconds":0,"ratio":0,"window_seconds":0},"desired":"","instances":[` +
		`{"cgroup":"","checks":[{"name":"","output":"","state":""}],"cpu_seconds":0,"id":"","index":0,"last_exit":{"at":"","code":0,"reason":"","signal":""},` +
		`"memory_bytes":0,"next_start_at":null,"pid":0,"ready_at":"","reason":"","restarts":0,"revision":0,"role":"","started_at":"","state":"","status":""}],` +
		`"instances_desired":0,"mode":"","name":"","quarantine":[{"expires_at":"","id":"","instance":"","memory_bytes":0,"pid":0,"reason":"","service":"","since":"","state":""}],` +
		`"reason":"","revision":0,"state":"","type":"","update":{"from":0,"state":"","to":0}}],` +
		`"supervisor":{"cgroups":"","checks":[{"name":"","output":"","state":""}],"keeper_pid":0,"pid":0,"restarts":0,"started_at":"","version":"","warnings":[]}}`
	b, err := json.Marshal(blank(got))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, string(b)); d != "" {
		t.Error(d)
	}
}

// blank empties all values and keeps the names.
func blank(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = blank(v[k])
		}
		return v
	case []any:
		for i := range v {
			v[i] = blank(v[i])
		}
		return v
	case nil:
		return nil
	}
	return reflect.Zero(reflect.TypeOf(v)).Interface()
}
