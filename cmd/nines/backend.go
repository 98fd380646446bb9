package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"nines/cgroups"
	"nines/ipc"
	"nines/supervisor"
	"nines/supervisor/journal"
	"nines/supervisor/logs"
	"nines/supervisor/policy"
	"nines/supervisor/proc"
)

// backend answers the control API from the supervisor.
type backend struct {
	sup        *supervisor.Supervisor
	change     *changer
	about      ipc.Supervisor // what does not change
	logSocket  string
	machine    bool // nines is its init
	usage      usageCache
	inspecting sync.Mutex // one inspection at a time
}

func newBackend(sup *supervisor.Supervisor, ch *changer, about ipc.Supervisor, runtimeDir string, machine bool) *backend {
	return &backend{machine: machine, sup: sup, change: ch, about: about, logSocket: filepath.Join(runtimeDir, "log.sock")}
}

func (b *backend) Plan(ctx context.Context, r ipc.PlanRequest) (*ipc.Plan, error) {
	return b.change.plan(ctx, specFiles(r.Files))
}

func (b *backend) Apply(ctx context.Context, by ipc.Caller, r ipc.ApplyRequest) (ipc.Result, error) {
	return b.change.apply(ctx, change{
		files: specFiles(r.Files), by: caller(by), wait: !r.NoWait, confirm: time.Duration(r.ConfirmSeconds * float64(time.Second)),
	})
}

func (b *backend) Confirm(_ context.Context, by ipc.Caller) (ipc.Result, error) {
	return b.change.confirm(caller(by))
}

func (b *backend) Status(ctx context.Context) (*ipc.Status, error) {
	st, err := b.sup.State(ctx)
	if err != nil {
		return nil, ended(err)
	}
	wall := b.sup.Wall()
	out := &ipc.Status{Supervisor: b.about, Services: make([]ipc.Service, 0, len(st.Services))}
	out.Supervisor.Warnings = append(slices.Clip(out.Supervisor.Warnings), *b.change.warnings.Load()...)
	if why := b.sup.Journal().Trouble(); why != "" {
		out.Supervisor.Warnings = append(out.Supervisor.Warnings, why)
	}
	out.Supervisor.Warnings = append(out.Supervisor.Warnings, b.sup.Warnings()...)
	for _, c := range b.sup.NodeChecks() {
		out.Supervisor.Checks = append(out.Supervisor.Checks, ipc.Check{Name: c.Name, State: c.State, Output: c.Output})
	}
	used := b.usage.read(&st)
	all := make([]ipc.Instance, len(st.Instances))
	next := 0
	for i := range st.Services {
		v := &st.Services[i]
		svc := v.Spec
		mine := all[next : next+len(v.Slots) : next+len(v.Slots)]
		for k := range mine {
			in := &st.Instances[next+k]
			mine[k] = instance(in, used[in.PID], wall)
			if g := st.Groups[in.Slot]; g != nil {
				mine[k].Cgroup = g.Path()
			}
			mine[k].Status = st.Status[in.Slot]
			if held := st.Memory[in.Slot]; held > 0 {
				// What its memory block is judged by, so that people see the same.
				mine[k].MemoryBytes = held
			}
		}
		next += len(v.Slots)
		out.Services = append(out.Services, ipc.Service{
			Name: v.Name, Type: string(svc.Type), Mode: string(svc.Mode),
			State: string(v.State), Desired: v.Desired, Reason: cmp.Or(v.Reason.String(), v.Pinned),
			Revision: v.Revision, InstancesDesired: v.Instances,
			Update:    ipc.Update{State: v.Update.State, From: v.Update.From, To: v.Update.To},
			Instances: mine, Quarantine: []ipc.Quarantined{},
		})
		for k := range st.Quarantine {
			if q := &st.Quarantine[k]; q.Service == v.Name {
				s := &out.Services[i]
				s.Quarantine = append(s.Quarantine, quarantined(q, wall))
			}
		}
	}
	return out, nil
}

func (b *backend) Incidents(ctx context.Context, service string) ([]ipc.Incident, error) {
	list, err := b.sup.Incidents(ctx, service)
	if err != nil {
		return nil, ended(err)
	}
	out := make([]ipc.Incident, 0, len(list))
	for _, i := range list {
		x := ipc.Incident{Service: i.Service, Instance: i.Instance, Cause: i.Cause, Start: i.Start, Ending: i.Ending}
		if end := i.End; !end.IsZero() {
			x.End = &end
		}
		out = append(out, x)
	}
	return out, nil
}

func instance(v *policy.SlotView, u usage, wall func(policy.Time) time.Time) ipc.Instance {
	at := func(t policy.Time) *time.Time {
		if t == 0 {
			return nil
		}
		w := wall(t).UTC().Truncate(time.Millisecond)
		return &w
	}
	in := ipc.Instance{
		ID: v.ID, Index: v.Index, State: string(v.State), Reason: v.Reason.String(), Role: "active",
		PID: v.PID, Revision: v.Revision, Restarts: v.Restarts,
		StartedAt: at(v.StartedAt), ReadyAt: at(v.ReadyAt), NextStartAt: at(v.NextStartAt),
		MemoryBytes: u.memory, CPUSeconds: u.cpu.Seconds(), Checks: make([]ipc.Check, 0, len(v.Checks)),
	}
	for i := range v.Checks {
		in.Checks = append(in.Checks, check(&v.Checks[i]))
	}
	if v.LastExit.Reason != policy.ExitNone {
		in.LastExit = &ipc.LastExit{
			Reason: string(v.LastExit.Reason), Code: v.LastExit.Status.Code, Signal: v.LastExit.Status.Signal,
			At: *at(v.LastExit.At),
		}
	}
	return in
}

// check is one check of an instance. Its output is what the last failure said, the
// line of the event first where there is more.
func check(v *policy.CheckView) ipc.Check {
	c := ipc.Check{Name: v.Name, State: string(v.State), Output: v.Reason}
	if v.Excuse != policy.ExcuseNone {
		c.Output = "not counted, since " + v.Excuse.String() + ": " + c.Output
	}
	if v.Output != "" && !strings.HasSuffix(v.Reason, v.Output) {
		c.Output += "\n" + v.Output
	}
	return c
}

var verbs = map[string]policy.Verb{
	"start": policy.VerbStart, "stop": policy.VerbStop, "restart": policy.VerbRestart,
	"reload": policy.VerbReload, "scale": policy.VerbScale, "signal": policy.VerbSignal,
}

func (b *backend) Do(ctx context.Context, by ipc.Caller, service, verb string, c ipc.Command) (ipc.Result, error) {
	v, ok := verbs[verb]
	if !ok {
		return ipc.Result{}, &ipc.Error{Code: ipc.CodeNotFound, Message: "no such verb: " + verb}
	}
	pc := policy.Command{Verb: v, Service: service, Instance: -1, Instances: c.Instances, Signal: c.Signal, By: caller(by)}
	if c.Instance != nil {
		pc.Instance = *c.Instance
	}
	if v == policy.VerbSignal {
		if _, ok := proc.SignalNumber(c.Signal); !ok {
			return ipc.Result{}, &ipc.Error{Code: ipc.CodeBadRequest, Message: fmt.Sprintf("no such signal: %q", c.Signal), Hint: "a name as in signal(7), such as SIGHUP"}
		}
	}
	a, err := b.sup.Do(ctx, pc, !c.NoWait)
	return answer(a, err)
}

func (b *backend) Shutdown(ctx context.Context, by ipc.Caller, r ipc.ShutdownRequest) (ipc.Result, error) {
	if r.Action != "" && !b.machine {
		return ipc.Result{}, &ipc.Error{
			Code: ipc.CodeConflict, Message: "cannot " + r.Action + ": nines is not the init of this machine",
			Hint: `"nines shutdown" alone stops all services and ends nines`,
		}
	}
	a, err := b.sup.Shutdown(ctx, "nines shutdown by "+caller(by), 0, r.Action, !r.NoWait)
	return answer(a, err)
}

func (b *backend) Upgrade(ctx context.Context, r ipc.UpgradeRequest) (ipc.Upgrade, error) {
	within, probation := r.Times()
	u, err := b.sup.Upgrade(ctx, supervisor.UpgradeRequest{Keeper: r.Keeper, Path: r.Path, Within: within, Probation: probation})
	return upgradeAnswer(u, err)
}

func (b *backend) UpgradeState(ctx context.Context, wait bool) (ipc.Upgrade, error) {
	u, err := b.sup.UpgradeState(ctx, wait)
	return upgradeAnswer(u, err)
}

func upgradeAnswer(u supervisor.Upgrade, err error) (ipc.Upgrade, error) {
	var no *supervisor.ErrUpgrade
	if errors.As(err, &no) {
		code := ipc.CodeFailed
		if no.Refused {
			code = ipc.CodeConflict
		}
		return ipc.Upgrade{}, &ipc.Error{Code: code, Message: no.Error(), Hint: "what ran before runs"}
	}
	return ipc.Upgrade{ID: u.ID, What: u.What, State: u.State, From: u.From, Path: u.Path, Why: u.Why}, ended(err)
}

func caller(by ipc.Caller) string { return "uid " + strconv.FormatUint(uint64(by.UID), 10) }

func answer(a supervisor.Answer, err error) (ipc.Result, error) {
	switch {
	case err != nil:
		return ipc.Result{}, ended(err)
	case a.Code != "":
		return ipc.Result{}, &ipc.Error{Code: ipc.Code(a.Code), Message: a.Message, Hint: a.Hint}
	case a.Failed:
		return ipc.Result{}, &ipc.Error{Code: ipc.CodeFailed, Message: a.Message, Hint: a.Hint}
	}
	return ipc.Result{Message: a.Message}, nil
}

func ended(err error) error {
	if errors.Is(err, supervisor.ErrEnded) {
		return &ipc.Error{Code: ipc.CodeBusy, Message: err.Error(), Hint: "start nines-init again"}
	}
	return err
}

func (b *backend) Events(ctx context.Context, q ipc.EventQuery, fn func(ipc.Event) error) error {
	return b.sup.Journal().Read(ctx, journal.Query{Since: q.Since, After: q.After, Follow: q.Follow}, func(e journal.Entry) error {
		if q.Service != "" && e.Service != "" && e.Service != q.Service {
			return nil
		}
		return fn(event(e))
	})
}

func event(e journal.Entry) ipc.Event {
	return ipc.Event{
		Seq: e.Seq, Time: e.Time.UTC(), Kind: string(e.Kind), Service: e.Service, Instance: e.Instance,
		Revision: e.Revision, Message: e.Message(), Fields: e.Fields(),
	}
}

func (b *backend) Logs(ctx context.Context, q ipc.LogQuery, fn func(ipc.LogLine) error) error {
	lq := logs.Query{Instances: q.Instances, Services: q.Services, Lines: q.Lines, Follow: q.Follow, Since: q.Since}
	return logs.Read(ctx, b.logSocket, lq, func(l logs.Line) error {
		return fn(ipc.LogLine{Time: l.Time, Service: l.Service, Instance: l.Instance, Stream: l.Stream, Line: l.Line, Partial: l.Partial})
	})
}

// usage is what an instance uses.
type usage struct {
	memory uint64
	cpu    time.Duration
}

// usageFresh is how long a reading serves: reading /proc for a thousand
// processes takes longer than all the rest of a status.
const usageFresh = time.Second

// usageCache reads what is used when somebody asks, at most once in usageFresh:
// from an instance's cgroup all that it has used, as far as that tells (memory
// only where the memory controller is, and without page cache); the rest from /proc, of its main process
// alone.
type usageCache struct {
	mu      sync.Mutex
	at      time.Time
	used    map[int]usage
	sampler *cgroups.Sampler
}

// read returns the usage by main process; it is nobody's to change.
func (c *usageCache) read(st *supervisor.State) map[int]usage {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.at) < usageFresh {
		return c.used
	}
	if c.sampler == nil {
		c.sampler = cgroups.NewSampler()
	}
	const want = cgroups.MemoryPart | cgroups.CPUPart
	const all = want | cgroups.SwapPart | cgroups.MemoryStatPart
	used := make(map[int]usage, len(st.Instances))
	for i := range st.Instances {
		in := &st.Instances[i]
		if in.PID == 0 {
			continue
		}
		var u usage
		var s cgroups.Stats
		if g := st.Groups[in.Slot]; g != nil {
			// An error: it has just ended. What was read stands in s.
			_ = c.sampler.Read(g, all, &s)
		}
		// Page cache is nobody's: what a memory block is judged by leaves it out too.
		u.memory, u.cpu = s.Held(), s.CPU.Usage
		if s.Has&want != want {
			rss, cpu, _, err := proc.ReadStat(in.PID)
			if err != nil {
				continue // it has just ended
			}
			if s.Has&cgroups.MemoryPart == 0 {
				u.memory = rss
			}
			if s.Has&cgroups.CPUPart == 0 {
				u.cpu = cpu
			}
		}
		used[in.PID] = u
	}
	c.used, c.at = used, time.Now()
	return used
}
