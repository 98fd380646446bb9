package ipc

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"
)

// call is one call of the fake backend.
type call struct {
	by      Caller
	service string
	verb    string
	command Command
	request ShutdownRequest
	files   []SpecFile
}

// fake is a Backend whose answers a test chooses.
type fake struct {
	mu    sync.Mutex
	calls []call

	status   *Status
	err      error // of every method, if not nil
	do       func(ctx context.Context) (Result, error)
	events   func(ctx context.Context, q EventQuery, fn func(Event) error) error
	logs     func(ctx context.Context, q LogQuery, fn func(LogLine) error) error
	shutdown func(ctx context.Context) (Result, error)
}

func (f *fake) note(c call) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, c)
}

func (f *fake) seen() []call {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]call(nil), f.calls...)
}

func (f *fake) Status(context.Context) (*Status, error) {
	if f.err != nil {
		return nil, f.err
	}
	if f.status == nil {
		return sampleStatus(2), nil
	}
	return f.status, nil
}

func (f *fake) Do(ctx context.Context, by Caller, service, verb string, c Command) (Result, error) {
	f.note(call{by: by, service: service, verb: verb, command: c})
	if f.err != nil {
		return Result{}, f.err
	}
	if f.do != nil {
		return f.do(ctx)
	}
	return Result{Message: verb + " " + service}, nil
}

func (f *fake) Events(ctx context.Context, q EventQuery, fn func(Event) error) error {
	if f.err != nil {
		return f.err
	}
	if f.events != nil {
		return f.events(ctx, q, fn)
	}
	return nil
}

func (f *fake) Incidents(_ context.Context, service string) ([]Incident, error) {
	if f.err != nil {
		return nil, f.err
	}
	end := moment()
	return []Incident{{Service: service, Instance: service + "/0", Cause: "why", Start: moment(), End: &end, Ending: "how"}}, nil
}

func (f *fake) History(_ context.Context, service string) ([]Revision, error) {
	if f.err != nil {
		return nil, f.err
	}
	return []Revision{{Revision: 2, State: "current", CreatedAt: moment(), By: "uid 0", Digest: "d", Change: "command", Reason: service}}, nil
}

func (f *fake) Deploy(_ context.Context, by Caller, service string, r DeployRequest) (Result, error) {
	f.note(call{by: by, service: service, verb: "deploy"})
	if f.err != nil {
		return Result{}, f.err
	}
	return Result{Message: "deploy " + service}, nil
}

func (f *fake) Rollback(_ context.Context, by Caller, service string, r RollbackRequest) (Result, error) {
	f.note(call{by: by, service: service, verb: "rollback"})
	if f.err != nil {
		return Result{}, f.err
	}
	return Result{Message: "rollback " + service}, nil
}

func (f *fake) Logs(ctx context.Context, q LogQuery, fn func(LogLine) error) error {
	if f.err != nil {
		return f.err
	}
	if f.logs != nil {
		return f.logs(ctx, q, fn)
	}
	return nil
}

func (f *fake) Shutdown(ctx context.Context, by Caller, r ShutdownRequest) (Result, error) {
	f.note(call{by: by, request: r})
	if f.err != nil {
		return Result{}, f.err
	}
	if f.shutdown != nil {
		return f.shutdown(ctx)
	}
	return Result{Message: "shutting down"}, nil
}

// moment is a time that survives its way through JSON unchanged.
func moment() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC) }

// sampleStatus has n services s0, s1, … of one instance each.
func sampleStatus(n int) *Status {
	at := moment()
	st := &Status{
		Supervisor: Supervisor{Version: "1.2.3", PID: 7, KeeperPID: 1, StartedAt: at, Cgroups: "full", Warnings: []string{}, Checks: []Check{}},
		Services:   []Service{},
	}
	for i := range n {
		name := fmt.Sprintf("s%d", i)
		st.Services = append(st.Services, Service{
			Name: name, Type: "service", Mode: "active-active", State: "running", Desired: "running",
			Revision: 1, InstancesDesired: 1, Update: Update{State: "idle", From: 1, To: 1},
			Instances: []Instance{{
				ID: name + "/0", State: "ready", Role: "active", PID: 1000 + i, Revision: 1, StartedAt: &at, ReadyAt: &at,
				LastExit:    &LastExit{Reason: "exited", Code: 1, At: at},
				MemoryBytes: uint64(i) << 12, CPUSeconds: 0.25, Checks: []Check{}, Cgroup: "/nines/" + name + "/0.1",
			}},
			Quarantine: []Quarantined{},
		})
	}
	return st
}

// The instances in quarantine are "web/0.17" and no other.
func (b *fake) Quarantine(_ context.Context, _ Caller, id, verb string) (Result, error) {
	if id != "web/0.17" {
		return Result{}, &Error{Code: CodeNoSuchInstance, Message: "cannot find " + id}
	}
	return Result{Message: verb + " " + id}, nil
}

func (b *fake) Inspect(_ context.Context, id string) (json.RawMessage, error) {
	if id != "web/0.17" {
		return nil, &Error{Code: CodeNoSuchInstance, Message: "cannot find " + id}
	}
	return json.RawMessage(`{"id":"web/0.17"}`), nil
}

func (b *fake) Core(_ context.Context, id string) (Core, error) {
	if id != "web/0.17" {
		return nil, &Error{Code: CodeNoSuchInstance, Message: "cannot find " + id}
	}
	return fakeCore{}, nil
}

// fakeCore says that it is longer than it is where it is short.
type fakeCore struct{ short bool }

func (c fakeCore) Close() error { return nil }

func (c fakeCore) Length() int64 { return 4 }

func (c fakeCore) WriteTo(w io.Writer) (int64, error) {
	text := "core"
	if c.short {
		text = "co"
	}
	n, err := io.WriteString(w, text)
	return int64(n), err
}

func (f *fake) Upgrade(_ context.Context, r UpgradeRequest) (Upgrade, error) {
	return Upgrade{ID: 1, What: "supervisor", State: "trying", Path: r.Path}, f.err
}

func (f *fake) UpgradeState(context.Context, bool) (Upgrade, error) { return Upgrade{}, f.err }
func (f *fake) Plan(_ context.Context, r PlanRequest) (*Plan, error) {
	f.note(call{verb: "plan", files: r.Files})
	return &Plan{Services: []PlanService{{Name: "web", Action: "restart", Why: []string{"command"}, From: 1, To: 1}}}, f.err
}

func (f *fake) Apply(_ context.Context, by Caller, r ApplyRequest) (Result, error) {
	f.note(call{by: by, verb: "apply", files: r.Files})
	return Result{Message: "applied"}, f.err
}

func (f *fake) Confirm(_ context.Context, by Caller) (Result, error) {
	f.note(call{by: by, verb: "confirm"})
	return Result{Message: "confirmed"}, f.err
}
