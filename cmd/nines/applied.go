package main

import (
	"fmt"
	"log/slog"
	"slices"
	"time"

	"nines/spec"
	"nines/spec/load"
	"nines/supervisor"
	"nines/supervisor/applied"
	"nines/supervisor/journal"
)

// running is what a supervisor is to run, and how that was found.
type running struct {
	state  applied.State
	spec   *spec.Spec
	diags  load.Diagnostics   // of it
	before *spec.Spec         // what it was applied to; nil: nothing, or nobody knows
	next   *supervisor.Change // that is it, where it was kept and had not begun; then …
	begins supervisor.Change  // … this is what ran
	keepAt []string
	saved  []string // of keepAt, those that have the state
	notes  []string // events
}

// firstSpec is what runs after a boot, or where nothing ran: what the files say;
// or what was applied, as long as nobody has changed the files since. What was
// never confirmed is undone.
func firstSpec(a *app, paths []string, runtimeDir string) (*running, load.Diagnostics) {
	files, diags := load.Read(paths)
	if diags.HasErrors() {
		return nil, diags
	}
	r := &running{keepAt: []string{appliedPath(runtimeDir, runtimeDir)}}
	if r.spec, r.diags = load.LoadFiles(files, load.Options{}); r.diags.HasErrors() {
		return nil, r.diags
	}
	boot := applied.Digest(files)
	r.state = applied.State{Boot: boot, Now: applied.Version{Number: 1, Files: files, By: "the start", At: time.Now().UTC()}}
	statePath := ""
	if dir, err := a.statePath(r.spec.Supervisor.StateDir); err == nil { // else a user without a home
		statePath = appliedPath(dir, runtimeDir)
		r.keepAt = append(r.keepAt, statePath)
	}
	holds := statePath != "" && r.recall(statePath, boot)
	if r.state.Now.Digests == nil {
		r.state.Now.Digests = digestsOf(r.spec)
	}
	list := r.keepAt
	if !holds {
		// What was applied without the files is no more; there is nothing to keep
		// over a boot but the files.
		list = list[:1]
		if statePath != "" {
			r.note(applied.Remove(statePath))
		}
	}
	r.saved = list
	for _, path := range list {
		r.note(applied.Save(path, &r.state))
	}
	return r, r.diags
}

// withReleases completes the digests of what a boot starts by those of releases.
func (r *running) withReleases(rel *releases, events *journal.Journal) {
	if rel.store == nil || len(r.saved) == 0 {
		return // a predecessor has
	}
	if !slices.ContainsFunc(r.spec.Services, func(s *spec.Service) bool { return s.Release != nil }) {
		return
	}
	rel.begin(r.spec, r.state.Now.Digests, supervisor.AskedDigests(events, rel.log))
	for _, path := range r.saved {
		r.note(applied.Save(path, &r.state))
	}
}

func (r *running) note(err error) {
	if err != nil {
		r.notes = append(r.notes, err.Error())
	}
}

// recall takes what was applied before the boot, if that holds.
func (r *running) recall(path, boot string) bool {
	kept, err := applied.Load(path)
	r.note(err)
	if kept == nil {
		return false
	}
	v := kept.Now
	if kept.Undo != nil {
		v = *kept.Undo
		r.notes = append(r.notes, "what "+kept.Now.By+" had applied was not confirmed: the boot has undone it")
	}
	r.state.Now.Number = kept.Now.Number + 1
	what := fmt.Sprintf("what %s applied on %s", v.By, v.At.Format(time.RFC3339))
	switch {
	case applied.Digest(v.Files) == boot:
		r.state.Now.Undo = kept.Undo != nil
		return false // the files say the same
	case kept.Boot != boot:
		r.notes = append(r.notes, "the spec files have changed since: they are used, not "+what)
		return false
	}
	sp, diags := load.LoadFiles(v.Files, load.Options{})
	if diags.HasErrors() {
		r.notes = append(r.notes, "cannot go on with "+what+": "+diags[0].Summary+": the spec files are used")
		return false
	}
	r.notes = append(r.notes, what+" holds: the spec files have not changed since")
	r.spec, r.diags = sp, diags
	v.Undo = kept.Undo != nil
	v.Number, v.Digests = r.state.Now.Number, nil // env_file may have changed meanwhile, and nothing runs
	r.state.Now = v
	return true
}

// nextSpec is what a supervisor goes on with whose predecessor died: what that had
// applied, not what the files have become since. begun is the number of the
// specification that the keeper knows to have begun.
func nextSpec(a *app, paths []string, runtimeDir string, begun uint64, log *slog.Logger) (*running, load.Diagnostics) {
	path := appliedPath(runtimeDir, runtimeDir)
	st, err := applied.Load(path)
	if err != nil {
		log.Error(err.Error())
	}
	if st == nil {
		r, diags := firstSpec(a, paths, runtimeDir)
		if r != nil && begun > 0 {
			r.state.Now.Number = begun
		}
		return r, diags
	}
	r := &running{state: *st, keepAt: []string{path}}
	if r.spec, r.diags = load.LoadFiles(st.Now.Files, load.Options{}); r.diags.HasErrors() {
		return nil, r.diags
	}
	if dir, err := a.statePath(r.spec.Supervisor.StateDir); err == nil {
		r.keepAt = append(r.keepAt, appliedPath(dir, runtimeDir))
	}
	if st.Before == nil {
		return r, r.diags
	}
	before, diags := load.LoadFiles(st.Before.Files, load.Options{})
	if diags.HasErrors() {
		return r, r.diags // what it had and this has not is ended without order
	}
	if begun != 0 && begun == st.Before.Number {
		// It was kept, and then the supervisor died: it begins now.
		next := changeTo(&st.Now, r.spec)
		r.next, r.begins = &next, changeTo(st.Before, before)
		return r, r.diags
	}
	r.before = before
	return r, r.diags
}

func changeTo(v *applied.Version, sp *spec.Spec) supervisor.Change {
	return supervisor.Change{Spec: sp, Digests: v.Digests, Number: v.Number, By: v.By, Undo: v.Undo}
}

// begin is what the supervisor begins with.
func (r *running) begin() supervisor.Change {
	c := changeTo(&r.state.Now, r.spec)
	if r.next != nil {
		c = r.begins
	}
	c.By = "" // nobody asks now
	return c
}
