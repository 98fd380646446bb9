package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"nines/ipc"
)

// fakeBackend answers as a supervisor with a fixed state would. Services whose
// name says so misbehave: "stuck" never finishes a command, "broken" fails
// each, "forbidden" refuses, "busy" is too busy.
type fakeBackend struct {
	mu    sync.Mutex
	calls []string
	ended func() error // what follows a shutdown
	st    *ipc.Status
}

func newFakeBackend() *fakeBackend { return &fakeBackend{st: fakeStatus(time.Now())} }

func (b *fakeBackend) note(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls = append(b.calls, fmt.Sprintf(format, args...))
}

func (b *fakeBackend) taken() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.calls
	b.calls = nil
	return c
}

func (b *fakeBackend) busy() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.calls) > 0
}

func (b *fakeBackend) Status(context.Context) (*ipc.Status, error) { return b.st, nil }

func (b *fakeBackend) Do(ctx context.Context, _ ipc.Caller, service, verb string, c ipc.Command) (ipc.Result, error) {
	target := service
	if c.Instance != nil {
		target = fmt.Sprintf("%s/%d", service, *c.Instance)
	}
	s := verb + " " + target
	if verb == ipc.VerbScale {
		s += fmt.Sprintf(" %d", c.Instances)
	}
	if c.Signal != "" {
		s += " " + c.Signal
	}
	if c.NoWait {
		s += " no-wait"
	}
	b.note("%s", s)
	switch service {
	case "broken":
		return ipc.Result{}, &ipc.Error{Code: ipc.CodeFailed, Message: "broken/0 did not become ready: exited with 3", Hint: `see "nines logs broken"`}
	case "forbidden":
		return ipc.Result{}, &ipc.Error{Code: ipc.CodeForbidden, Message: "cannot let you: not permitted"}
	case "busy":
		return ipc.Result{}, &ipc.Error{Code: ipc.CodeBusy, Message: "cannot take more", Hint: "try again"}
	case "off":
		return ipc.Result{}, &ipc.Error{Code: ipc.CodeConflict, Message: "cannot " + verb + " off: it is stopped"}
	case "stuck":
		if !c.NoWait {
			<-ctx.Done()
			return ipc.Result{}, ctx.Err()
		}
	case "web":
		if c.Instance != nil && *c.Instance > 2 {
			return ipc.Result{}, &ipc.Error{Code: ipc.CodeNoSuchInstance, Message: "cannot find instance " + target}
		}
	case "db", "job":
	default:
		return ipc.Result{}, &ipc.Error{Code: ipc.CodeNoSuchService, Message: "cannot find service " + service, Hint: `"nines status" lists them`}
	}
	return ipc.Result{Message: verb + " " + target}, nil
}

func (b *fakeBackend) Events(ctx context.Context, q ipc.EventQuery, fn func(ipc.Event) error) error {
	b.note("events since=%v follow=%v", !q.Since.IsZero(), q.Follow)
	for i, kind := range []string{"starting", "ready", "exited"} {
		at := time.Date(2026, 1, 2, 3, 4, 5+i, 0, time.UTC)
		e := ipc.Event{Seq: uint64(i + 1), Time: at, Kind: kind, Service: "web", Instance: "web/0", Message: kind + "\x1b[31m it", Fields: map[string]string{}}
		if err := fn(e); err != nil {
			return err
		}
	}
	if q.Follow {
		<-ctx.Done()
	}
	return nil
}

func (b *fakeBackend) History(_ context.Context, service string) ([]ipc.Revision, error) {
	return []ipc.Revision{
		{Revision: 2, State: "bad", By: "uid 0", Digest: "0123456789abcdef", Change: "release", Reason: "web/0: exited with code 1"},
		{Revision: 1, State: "current", CreatedAt: time.Unix(1, 0), Digest: "fedcba", Change: "first"},
	}, nil
}

func (b *fakeBackend) Deploy(_ context.Context, _ ipc.Caller, service string, r ipc.DeployRequest) (ipc.Result, error) {
	b.note("deploy %s %s %t %t", service, r.Path, r.Force, r.NoWait)
	return ipc.Result{Message: service + " runs revision 3"}, nil
}

func (b *fakeBackend) Rollback(_ context.Context, _ ipc.Caller, service string, r ipc.RollbackRequest) (ipc.Result, error) {
	b.note("rollback %s %d %t", service, r.Revision, r.NoWait)
	return ipc.Result{Message: service + " runs revision 1"}, nil
}

func (b *fakeBackend) Incidents(_ context.Context, service string) ([]ipc.Incident, error) {
	if service != "loop" {
		return nil, nil
	}
	start := time.Now().Add(-time.Hour)
	end := start.Add(10 * time.Minute)
	return []ipc.Incident{
		{Service: "loop", Instance: "loop/0", Cause: "3 ends within 1m", Start: start, End: &end, Ending: "ready for 1m: its crash loop is over"},
		{Service: "loop", Instance: "loop/0", Cause: "5 ends within 1m", Start: end},
	}, nil
}

func (b *fakeBackend) Logs(ctx context.Context, q ipc.LogQuery, fn func(ipc.LogLine) error) error {
	b.note("logs %s lines=%d follow=%v since=%v", strings.Join(append(q.Services, q.Instances...), ","), q.Lines, q.Follow, !q.Since.IsZero())
	for i, l := range []ipc.LogLine{
		{Instance: "web/0", Line: "zero"}, {Instance: "web/1", Line: "one, the fir", Partial: true}, {Instance: "web/1", Line: "st"},
		{Instance: "web/1", Line: "cut", Partial: true}, {Instance: "web/0", Line: "last"},
	} {
		l.Service, l.Stream, l.Time = "web", "out", time.Date(2026, 1, 2, 3, 4, 5, i, time.UTC)
		if err := fn(l); err != nil {
			return err
		}
	}
	if q.Follow {
		<-ctx.Done()
	}
	return nil
}

func (b *fakeBackend) Shutdown(_ context.Context, _ ipc.Caller, r ipc.ShutdownRequest) (ipc.Result, error) {
	b.note("shutdown %s no-wait=%v", r.Action, r.NoWait)
	if r.Action != "" {
		return ipc.Result{}, &ipc.Error{Code: ipc.CodeConflict, Message: "cannot " + r.Action + ": nines is not the init of this machine", Hint: `"nines shutdown" alone ends nines`}
	}
	if !r.NoWait {
		go b.ended() // the script asks for its error
	}
	return ipc.Result{Message: "everything has stopped"}, nil
}

func (b *fakeBackend) Plan(_ context.Context, r ipc.PlanRequest) (*ipc.Plan, error) {
	b.note("plan %d files", len(r.Files))
	return &ipc.Plan{
		Services: []ipc.PlanService{
			{Name: "web", Action: "restart", Why: []string{"command", "env"}, From: 2, To: 3},
			{Name: "db", Action: "nothing", Why: []string{}, From: 1, To: 1},
			{Name: "old", Action: "stop", Why: []string{"removed"}, From: 1, Destructive: true},
		},
		InEffect: []string{"group"}, AfterRestart: []string{"supervisor.log_dir"}, Warnings: []string{},
	}, nil
}

func (b *fakeBackend) Apply(_ context.Context, _ ipc.Caller, r ipc.ApplyRequest) (ipc.Result, error) {
	b.note("apply %d files confirm=%v no-wait=%v", len(r.Files), r.ConfirmSeconds, r.NoWait)
	return ipc.Result{Message: "applied: 1 updated"}, nil
}

func (b *fakeBackend) Confirm(context.Context, ipc.Caller) (ipc.Result, error) {
	return ipc.Result{}, &ipc.Error{Code: ipc.CodeConflict, Message: "cannot confirm: nothing waits for it", Hint: "see the events"}
}

// fakeStatus has one service of each kind that the table tells apart.
func fakeStatus(now time.Time) *ipc.Status {
	ago := func(d time.Duration) *time.Time { t := now.Add(-d); return &t }
	started := ago(2*time.Hour + 5*time.Minute + 30*time.Second)
	next := now.Add(90*time.Second + 500*time.Millisecond)
	instance := func(svc string, i int, state string) ipc.Instance {
		in := ipc.Instance{ID: fmt.Sprintf("%s/%d", svc, i), Index: i, State: state, Role: "active", Revision: 3, Checks: []ipc.Check{}}
		if state == "ready" {
			in.PID, in.StartedAt, in.ReadyAt, in.MemoryBytes, in.CPUSeconds = 4000+i, started, started, 15<<20, 12.5
		}
		return in
	}
	web := ipc.Service{
		Name: "web", Type: "service", Mode: "active-active", State: "degraded", Desired: "running", Reason: "1 of 3 is not ready",
		Revision: 3, InstancesDesired: 3, Update: ipc.Update{State: "rolling", From: 2, To: 3},
		Availability: ipc.Availability{WindowSeconds: 86400, Ratio: 0.9999, MTTRSeconds: 1.2, Failures: 3},
		Instances:    []ipc.Instance{instance("web", 0, "ready"), instance("web", 1, "ready"), instance("web", 2, "backoff")},
	}
	web.Instances[0].Checks = []ipc.Check{{Name: "alive", State: "passing"}, {Name: "fast", State: "failing", Output: "took 2s\nafter 1s"}}
	web.Instances[0].Cgroup = "/nines/web/0.17"
	crashed := &web.Instances[2]
	crashed.Restarts, crashed.NextStartAt = 4, &next
	crashed.LastExit = &ipc.LastExit{Reason: "signaled", Signal: "SIGSEGV", At: *ago(3*time.Second + 500*time.Millisecond)}
	one := func(name, typ, state, inState, desired string) ipc.Service {
		return ipc.Service{
			Name: name, Type: typ, Mode: "active-active", State: state, Desired: desired, Revision: 1, InstancesDesired: 1,
			Update: ipc.Update{State: "idle", From: 1, To: 1}, Instances: []ipc.Instance{instance(name, 0, inState)},
		}
	}
	return &ipc.Status{
		Supervisor: ipc.Supervisor{Version: "1.2.3", PID: 7, KeeperPID: 1, StartedAt: *started, Cgroups: "core", Warnings: []string{"cgroups: no memory controller"},
			Checks: []ipc.Check{{Name: "root", State: "failing", Output: "/ has 2% of its space free,\x1b[2J less than 5% (free)"}, {Name: "net", State: "passing", Output: "x"},
				{Name: "psi", State: "unknown", Output: "cannot read the pressure of io"}, {Name: "new", State: "unknown"}}},
		Services: []ipc.Service{
			web, one("db", "service", "running", "ready", "running"), one("job", "task", "completed", "completed", "running"),
			one("off", "service", "stopped", "stopped", "stopped"),
			{Name: "none", Type: "service", Mode: "active-active", State: "stopped", Desired: "running", Instances: []ipc.Instance{}},
		},
	}
}

// The instances in quarantine are "web/0.17" and no other.
func (b *fakeBackend) Quarantine(_ context.Context, _ ipc.Caller, id, verb string) (ipc.Result, error) {
	if id != "web/0.17" {
		return ipc.Result{}, &ipc.Error{Code: ipc.CodeNoSuchInstance, Message: "cannot find " + id}
	}
	return ipc.Result{Message: verb + " " + id}, nil
}

func (b *fakeBackend) Inspect(_ context.Context, id string) (json.RawMessage, error) {
	if id != "web/0.17" {
		return nil, &ipc.Error{Code: ipc.CodeNoSuchInstance, Message: "cannot find " + id}
	}
	return json.RawMessage(`{"id":"web/0.17"}`), nil
}

func (b *fakeBackend) Core(_ context.Context, id string) (ipc.Core, error) {
	if id != "web/0.17" {
		return nil, &ipc.Error{Code: ipc.CodeNoSuchInstance, Message: "cannot find " + id}
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

func (f *fakeBackend) Upgrade(context.Context, ipc.UpgradeRequest) (ipc.Upgrade, error) {
	return ipc.Upgrade{}, nil
}

func (f *fakeBackend) UpgradeState(context.Context, bool) (ipc.Upgrade, error) {
	return ipc.Upgrade{}, nil
}
