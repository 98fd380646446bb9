package ipc

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestPlanApplyConfirm(t *testing.T) {
	b := &fake{}
	c := NewClient(serve(t, b))
	files := []SpecFile{{Name: "a.hcl", Text: "x = \"ü\"\n"}}
	p, err := c.Plan(t.Context(), PlanRequest{Files: files})
	if err != nil || len(p.Services) != 1 || p.Services[0].Action != "restart" {
		t.Errorf("%+v %v", p, err)
	}
	if res, err := c.Apply(t.Context(), ApplyRequest{Files: files, ConfirmSeconds: 1.5}); err != nil || res.Message != "applied" {
		t.Errorf("%+v %v", res, err)
	}
	if res, err := c.Confirm(t.Context()); err != nil || res.Message != "confirmed" {
		t.Errorf("%+v %v", res, err)
	}
	for _, call := range b.seen()[:2] {
		if fmt.Sprint(call.files) != fmt.Sprint(files) {
			t.Errorf("%s: %v", call.verb, call.files)
		}
	}
	// Diagnostics travel with the refusal.
	b.err = &Error{Code: CodeFailed, Message: "the spec has 1 error", Detail: "a.hcl:1:1: error: x\n"}
	var e *Error
	if _, err := c.Apply(t.Context(), ApplyRequest{Files: files}); !errors.As(err, &e) || e.Detail != "a.hcl:1:1: error: x\n" {
		t.Errorf("%v", err)
	}
}

func TestApplyRefusals(t *testing.T) {
	b := &fake{}
	socket := serve(t, b, limits(Limits{MaxSpec: 1000}))
	for _, tc := range []struct {
		path, body string
		status     int
	}{
		{"/v1/plan", "", 400},
		{"/v1/plan", "[]", 400},
		{"/v1/plan", `{"files":[]}`, 400},
		{"/v1/apply", `{"files":[{"name":"a"}],"other":1}`, 400},
		{"/v1/apply", `{"files":[{"name":"a"}],"confirm_seconds":-1}`, 400},
		{"/v1/apply", `{"files":[{"name":"a"}],"confirm_seconds":1e300}`, 400},
		{"/v1/apply", `{"files":[{"name":"` + strings.Repeat("x", 1000) + `"}]}`, 413},
		{"/v1/confirm", `{"x":1}`, 400},
	} {
		status, body, err := roundTrip(dial(t, socket), "POST", tc.path, tc.body)
		if err != nil || status != tc.status {
			t.Errorf("%s %.60s: %d %s %v", tc.path, tc.body, status, body, err)
		}
	}
	if calls := b.seen(); len(calls) > 0 {
		t.Errorf("the backend was asked: %+v", calls)
	}
	// Who may only read may not even plan: a plan evaluates env.* as we do.
	socket = serve(t, b, fakeCaller(credentials{Caller: Caller{UID: 4242, GID: 4242}}), func(c *ServerConfig) { c.Mode = 0o666 })
	for _, path := range []string{"/v1/plan", "/v1/apply", "/v1/confirm"} {
		if status, _, err := roundTrip(dial(t, socket), "POST", path, `{"files":[{"name":"a"}]}`); err != nil || status != 403 {
			t.Errorf("%s: %d %v", path, status, err)
		}
	}
}

// TestFewSpecsAtOnce: bodies that may be large are read two at a time.
func TestFewSpecsAtOnce(t *testing.T) {
	socket := serve(t, &fake{}, limits(Limits{MaxSpecs: 1}))
	slow := dial(t, socket)
	if _, err := fmt.Fprintf(slow, "POST /v1/plan HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another is turned away", func() bool {
		status, _, err := roundTrip(dial(t, socket), "POST", "/v1/plan", `{"files":[{"name":"a"}]}`)
		return err == nil && status == 503
	})
}
