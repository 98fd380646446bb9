package ipc

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// shortCore is a backend whose cores break off.
type shortCore struct{ fake }

func (b *shortCore) Core(context.Context, string) (Core, error) { return fakeCore{short: true}, nil }

// failing fails each write.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestQuarantineCalls(t *testing.T) {
	st := sampleStatus(2)
	st.Services[0].Quarantine = []Quarantined{{ID: "web/0.17", Service: "s0", Instance: "s0/0", State: "frozen", PID: 7, Reason: "deaf"}}
	c := NewClient(serve(t, &fake{status: st}))
	ctx := t.Context()
	list, err := c.Quarantined(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var want []Quarantined
	for i := range st.Services {
		want = append(want, st.Services[i].Quarantine...)
	}
	if d := cmp.Diff(want, list); d != "" {
		t.Error(d)
	}
	for _, verb := range []string{VerbKill, VerbResume} {
		if res, err := c.Quarantine(ctx, "web/0.17", verb); err != nil || res.Message != verb+" web/0.17" {
			t.Errorf("%s: %+v, %v", verb, res, err)
		}
	}
	if doc, err := c.InspectJSON(ctx, "web/0.17"); err != nil || string(doc) != "{\"id\":\"web/0.17\"}\n" {
		t.Errorf("%q, %v", doc, err)
	}
	var b bytes.Buffer
	if n, err := c.Core(ctx, "web/0.17", &b); err != nil || n != 4 || b.String() != "core" {
		t.Errorf("%d %q, %v", n, b.String(), err)
	}
	if _, err := c.Core(ctx, "web/0.17", failing{}); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("a file that cannot be written: %v", err)
	}
	none := []func() error{
		func() error { _, err := c.Quarantine(ctx, "web/0", VerbKill); return err },
		func() error { _, err := c.InspectJSON(ctx, "../status"); return err },
		func() error { _, err := c.Core(ctx, "", &b); return err },
	}
	for i, call := range none {
		var e *Error
		if err := call(); !errors.As(err, &e) || e.Code != CodeNoSuchInstance && e.Code != CodeNotFound {
			t.Errorf("call %d: %v", i, err)
		}
	}
}

// TestShortCore: a core that broke off is not taken for a whole one.
func TestShortCore(t *testing.T) {
	var b bytes.Buffer
	n, err := NewClient(serve(t, &shortCore{})).Core(t.Context(), "web/0.17", &b)
	var lost *ErrLost
	if !errors.As(err, &lost) || n > 4 {
		t.Errorf("%d bytes, %v", n, err)
	}
}
