package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"nines/ipc"
	"nines/spec"
	"nines/spec/diff"
	"nines/spec/load"
	"nines/supervisor"
	"nines/supervisor/applied"
	"nines/supervisor/journal"
	"nines/supervisor/pathwatch"
	"nines/supervisor/policy"
	"nines/supervisor/proc"
	"nines/supervisor/snapshot"
)

// changer changes what runs: it validates, keeps the new specification, and only
// then lets the supervisor act. One change begins at a time.
//
// What was applied is kept in the runtime folder, for the next supervisor, and in
// the state folder, for the next boot (see package applied). What waits to be
// confirmed is kept with it, so that it is undone also by a supervisor that was
// not there when it was applied; a boot undoes it at once.
type changer struct {
	sup       *supervisor.Supervisor
	log       *slog.Logger
	paths     []string // of the files that nines-init was started with
	keepAt    []string // where the state is kept
	enforce   *enforcer
	releases  *releases
	snapshots *snapshot.Store // nil: there is none

	mu      sync.Mutex
	watcher *pathwatch.Watcher // of releases; nil: there is none
	watched map[string]string  // by service: what it watches
	state   applied.State
	spec    *spec.Spec  // that state.Now is
	timer   *time.Timer // undoes what is not confirmed
	seen    string      // Digest of the files at paths when they were last looked at

	// warnings is of spec. It is read without mu, which is held while the disk is
	// written to: a slow one must not hold up who only looks.
	warnings atomic.Pointer[[]string]
}

// newChanger goes on with what run says.
func newChanger(run *running, paths []string, enforce *enforcer, rel *releases, snapshots *snapshot.Store, log *slog.Logger) *changer {
	c := &changer{log: log, paths: paths, keepAt: run.keepAt, enforce: enforce, releases: rel, snapshots: snapshots, state: run.state, spec: run.spec, seen: run.state.Boot}
	c.warn(run.spec, run.diags)
	return c
}

func (c *changer) warn(sp *spec.Spec, diags load.Diagnostics) {
	list := c.warningsOf(sp, diags)
	c.warnings.Store(&list)
}

// undoAgain is after how long an undo that failed is tried again.
const undoAgain = 10 * time.Second

// change is one that is to be made.
type change struct {
	files   []load.File
	by      string
	confirm time.Duration
	wait    bool
	only    uint64 // only while the unconfirmed change of that number is what runs; 0: always
}

// plan says what applying files would do now.
func (c *changer) plan(ctx context.Context, files []load.File) (*ipc.Plan, error) {
	next, err := c.loadFiles(files)
	if err != nil {
		return nil, err
	}
	c.releases.would(ctx, next.spec, next.digests)
	st, err := c.sup.State(ctx)
	if err != nil {
		return nil, ended(err)
	}
	c.mu.Lock()
	before := diff.Side{Spec: c.spec, Digests: c.state.Now.Digests, Instances: map[string]int{}}
	c.mu.Unlock()
	for i := range st.Services {
		if v := &st.Services[i]; !v.Removed {
			before.Instances[v.Name] = v.Instances
		}
	}
	after := diff.Side{Spec: next.spec, Digests: next.digests}
	p := &ipc.Plan{Services: []ipc.PlanService{}}
	for _, ch := range diff.Services(before, after) {
		s := ipc.PlanService{
			Name: ch.Service, Action: string(ch.Action), Why: append([]string{}, ch.Why...), From: ch.From, To: ch.To, Destructive: ch.Destructive,
		}
		if err := c.planRevision(ctx, &s, next.spec.Service(ch.Service), next.digests[ch.Service]); err != nil {
			return nil, ended(err)
		}
		if err := c.planData(ctx, &s, next.spec.Service(ch.Service), next.digests[ch.Service]); err != nil {
			return nil, ended(err)
		}
		p.Services = append(p.Services, s)
	}
	now, later := diff.Supervisor(before.Spec, after.Spec)
	p.InEffect, p.AfterRestart = append([]string{}, now...), append([]string{}, later...)
	p.Warnings = c.warningsOf(next.spec, next.diags)
	for i := range st.Services {
		v := &st.Services[i]
		if s := next.spec.Service(v.Name); s != nil && v.Pinned != "" && before.Digests[v.Name] == after.Digests[v.Name] {
			p.Warnings = append(p.Warnings, v.Pinned)
		}
	}
	return p, nil
}

// planRevision adds what would come back if what is asked for fails, and corrects what
// the specifications alone tell: the one that a service was left at since is no restart.
func (c *changer) planRevision(ctx context.Context, s *ipc.PlanService, svc *spec.Service, digest string) error {
	if svc == nil || s.Action != string(diff.Restart) {
		return nil
	}
	r, err := c.sup.PlanRevision(ctx, svc, digest)
	if err != nil {
		return err
	}
	switch {
	case r.Runs != 0:
		s.Action = string(diff.InPlace)
		s.Why = append(s.Why, fmt.Sprintf("that is revision %d, which it runs", r.Runs))
	case r.Bad != 0:
		s.Action = string(diff.InPlace)
		s.Why = append(s.Why, fmt.Sprintf("that is revision %d, which is bad: it stays at what it runs", r.Bad))
	case r.Back != 0:
		s.RevertsTo = r.Back
		s.Why = append(s.Why, fmt.Sprintf("a revert would bring back revision %d", r.Back))
	}
	return nil
}

// planData adds to what would be done with a service what would be done with its data.
func (c *changer) planData(ctx context.Context, s *ipc.PlanService, svc *spec.Service, digest string) error {
	if svc == nil || svc.Data == nil || s.Action != string(diff.Restart) {
		return nil
	}
	move, err := c.sup.PlanData(ctx, svc, digest)
	if err != nil {
		return err
	}
	switch {
	case move.Back != 0:
		s.Destructive, s.DataOf = true, move.Back
		s.Why = append(s.Why, fmt.Sprintf("goes back to revision %d and puts its data back; what is there is moved aside", move.Back))
	case move.Keeps && svc.Data.Restore:
		s.Why = append(s.Why, "all of it stops, and its data are kept: a revert puts them back")
	case move.Keeps:
		s.Why = append(s.Why, "all of it stops, and its data are kept: a revert does not put them back (restore = false)")
	}
	return nil
}

// apply makes a change. A specification with errors changes nothing.
func (c *changer) apply(ctx context.Context, ch change) (ipc.Result, error) {
	next, err := c.loadFiles(ch.files)
	if err != nil {
		c.rejected(ch.by, err)
		return ipc.Result{}, err
	}
	defer c.releases.hold()()
	if err := c.releases.add(ctx, next.spec, next.digests); err != nil {
		err = &ipc.Error{Code: ipc.CodeFailed, Message: err.Error(), Hint: "nothing was changed"}
		c.rejected(ch.by, err)
		return ipc.Result{}, err
	}
	c.mu.Lock()
	old := c.state
	if ch.only != 0 && (old.Now.Number != ch.only || old.Confirm == nil) {
		c.mu.Unlock()
		return ipc.Result{}, nil
	}
	now := applied.Version{Number: old.Now.Number + 1, Files: ch.files, Digests: next.digests, By: ch.by, At: time.Now().UTC(), Undo: ch.only != 0}
	st := applied.State{Now: now, Before: &old.Now, Boot: c.bootDigest()}
	if ch.confirm > 0 {
		st.Confirm, st.Undo = &applied.Confirm{Within: ch.confirm}, &old.Now
		if old.Undo != nil {
			st.Undo = old.Undo // what nobody has confirmed is nothing to go back to
		}
	}
	unkept, err := c.keep(&st)
	if err != nil {
		c.mu.Unlock()
		return ipc.Result{}, &ipc.Error{Code: ipc.CodeFailed, Message: err.Error(), Hint: "nothing was changed: make room in that folder, or let it be written to"}
	}
	was := c.spec
	c.state, c.spec = st, next.spec
	c.watchAgain()
	c.disarm()
	locked := true
	unlock := func() {
		if locked {
			locked = false
			c.mu.Unlock()
		}
	}
	a, err := c.sup.Apply(ctx, supervisor.Change{Spec: next.spec, Digests: next.digests, Number: now.Number, By: ch.by, Undo: now.Undo}, ch.wait, unlock)
	if locked { // it was refused, or the supervisor has ended
		c.state, c.spec = old, was
		c.watchAgain()
		if _, kerr := c.keep(&c.state); kerr != nil {
			c.log.Error(kerr.Error())
		}
		c.armConfirm()
	}
	begun := !locked
	if begun {
		c.warn(next.spec, next.diags)
	}
	unlock()
	more := ""
	if unkept != nil {
		more += "; it does not hold over a boot: " + unkept.Error()
	}
	if ch.confirm > 0 && begun && c.count(now.Number) {
		more += fmt.Sprintf("; undone in %s unless \"nines confirm\" comes", ch.confirm)
	}
	res, err := answer(a, err)
	var failed *ipc.Error
	switch {
	case err == nil:
		res.Message += more
		res.Warnings = c.warningsOf(next.spec, next.diags)
	case begun && errors.As(err, &failed):
		failed.Message += more // it is what runs all the same
	}
	return res, err
}

func (c *changer) rejected(by string, err error) {
	text := "the specification of " + by + " was refused"
	var e *ipc.Error
	if errors.As(err, &e) {
		text += ": " + e.Message
		if first, _, _ := strings.Cut(e.Detail, "\n"); first != "" {
			text += ": " + first
		}
	} else {
		text += ": " + err.Error()
	}
	c.sup.Note(journal.Entry{Kind: policy.KindSpecRejected, Text: text})
}

// keep makes the state durable before anything acts on it. Where one of the places
// cannot be written, unkept says so; where none can, nothing may act.
func (c *changer) keep(st *applied.State) (unkept, err error) {
	kept := 0
	var errs []error
	for _, path := range c.keepAt {
		if e := applied.Save(path, st); e != nil {
			errs = append(errs, e)
		} else {
			kept++
		}
	}
	if kept == 0 {
		return nil, errors.Join(errs...)
	}
	if err := errors.Join(errs...); err != nil {
		return err, nil
	}
	return nil, nil
}

// bootDigest is of the files that the next boot would read.
func (c *changer) bootDigest() string {
	files, diags := load.Read(c.paths)
	if diags.HasErrors() {
		return ""
	}
	return applied.Digest(files)
}

// count begins to count the time to confirm the change of that number, and says
// whether that one still waits for it.
func (c *changer) count(number uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state.Now.Number != number || c.state.Confirm == nil {
		return false
	}
	c.state.Confirm.Deadline = proc.Monotonic() + int64(c.state.Confirm.Within)
	if _, err := c.keep(&c.state); err != nil {
		// A next supervisor would count from its own start: later, not never.
		c.log.Error(err.Error())
	}
	c.armConfirm()
	return true
}

func (c *changer) disarm() {
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
}

// armConfirm has what is not confirmed undone in time; mu is held.
func (c *changer) armConfirm() {
	c.disarm()
	if c.state.Confirm == nil || c.state.Confirm.Deadline == 0 {
		return
	}
	number := c.state.Now.Number
	left := time.Duration(c.state.Confirm.Deadline - proc.Monotonic())
	c.timer = time.AfterFunc(max(left, 0), func() { c.undo(number) })
}

// resume goes on with what a predecessor left to be confirmed. Whoever waited for
// its answer is gone, so the time counts from now where it did not count yet.
func (c *changer) resume() {
	c.mu.Lock()
	number := c.state.Now.Number
	counts := c.state.Confirm == nil || c.state.Confirm.Deadline != 0
	if counts {
		c.armConfirm()
	}
	c.mu.Unlock()
	if !counts {
		c.count(number)
	}
}

// stop: the supervisor has ended; nothing is undone any more.
func (c *changer) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.disarm()
}

// undo goes back from a change that nobody has confirmed.
func (c *changer) undo(number uint64) {
	c.mu.Lock()
	if c.state.Now.Number != number || c.state.Confirm == nil {
		c.mu.Unlock()
		return
	}
	back := *c.state.Undo
	by := "nobody confirmed what " + c.state.Now.By + " had applied"
	c.mu.Unlock()
	if _, err := c.apply(context.Background(), change{files: back.Files, by: by, only: number}); err != nil {
		c.log.Error("cannot undo what was not confirmed: tried again", "err", err)
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.state.Now.Number == number {
			c.disarm()
			c.timer = time.AfterFunc(undoAgain, func() { c.undo(number) })
		}
	}
}

// confirm keeps what was applied.
func (c *changer) confirm(by string) (ipc.Result, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state.Confirm == nil {
		return ipc.Result{}, &ipc.Error{
			Code: ipc.CodeConflict, Message: "cannot confirm: nothing waits for it (it may have been undone already)", Hint: `"nines events" shows what was applied and undone`,
		}
	}
	st := c.state
	st.Confirm, st.Undo = nil, nil
	if _, err := c.keep(&st); err != nil {
		return ipc.Result{}, &ipc.Error{Code: ipc.CodeFailed, Message: err.Error(), Hint: "it will be undone unless that is mended and you confirm again"}
	}
	c.state = st
	c.disarm()
	c.sup.Note(journal.Entry{Kind: policy.KindSpecApplied, Text: "what " + st.Now.By + " had applied is confirmed (" + by + ")"})
	return ipc.Result{Message: "confirmed"}, nil
}

// reread applies the files that nines-init was started with; unless force, only
// when they say something else than when they were last looked at: what somebody
// has applied from other files must not be undone by a change to none of them.
func (c *changer) reread(by string, force bool) {
	files, diags := load.Read(c.paths)
	digest := ""
	if !diags.HasErrors() {
		digest = applied.Digest(files)
	}
	c.mu.Lock()
	same := digest != "" && (digest == c.seen || digest == applied.Digest(c.state.Now.Files))
	c.seen = digest
	c.mu.Unlock()
	if diags.HasErrors() {
		c.rejected(by, errors.New(diags[0].File+": "+diags[0].Summary))
		return
	}
	if same && !force {
		return
	}
	if _, err := c.apply(context.Background(), change{files: files, by: by}); err != nil {
		c.log.Error("cannot apply the spec files", "by", by, "err", err)
	}
}

// appliedPath is where a folder keeps what was applied. In a state folder that
// several supervisors share, each has its own.
func appliedPath(dir, runtimeDir string) string {
	return filepath.Join(dir, "applied-"+strings.TrimSuffix(supervisor.Mark(runtimeDir), ":")+".json")
}
