package main

import (
	"os"

	"nines/cgroups"
	"nines/ipc"
	"nines/spec"
	"nines/spec/load"
	"nines/supervisor"
	"nines/supervisor/proc"
)

// enforcer is our part of the cgroup tree, and what of a specification's limits
// cannot be enforced there.
type enforcer struct {
	tree *cgroups.Tree // nil: level none
	why  string        // not more than tree has
}

// warnings are the limits that are not enforced.
func (e *enforcer) warnings(sp *spec.Spec) (said []string) {
	for _, u := range supervisor.FindUnenforced(sp.Services, e.tree, e.why) {
		said = append(said, u.String())
	}
	return said
}

// required are the errors of those that the specification requires.
func (e *enforcer) required(sp *spec.Spec) (d load.Diagnostics) {
	for _, u := range supervisor.FindUnenforced(sp.Services, e.tree, e.why) {
		if u.Required {
			d = append(d, u.Diagnostic())
		}
	}
	return d
}

// openCgroups opens our part of the cgroup tree, or says why there is none.
func openCgroups(a *app, runtimeDir string, keeperPID int, about *ipc.Supervisor) *enforcer {
	h := cgroups.Detect()
	none := func(why string) *enforcer {
		about.Cgroups = string(cgroups.None)
		about.Warnings = append(about.Warnings, "cgroups: "+why)
		return &enforcer{why: why}
	}
	if h.Level == cgroups.None {
		return none(h.Why)
	}
	// In a container of ours all is ours to move, but a shell that we were started
	// from is not.
	all := keeperPID == 1 || h.Own == "/"
	cannot := h.Vacate(func(pid int) bool {
		return all || pid == os.Getpid() || pid == keeperPID || proc.Parent(pid) == keeperPID
	})
	name := "nines"
	if !a.isDefaultRuntime(runtimeDir) {
		name = "nines-" + supervisor.Mark(runtimeDir)[:8]
	}
	t, err := h.Open(h.Base(a.getenv("NINES_CGROUP"), name))
	if err != nil {
		return none(err.Error())
	}
	level, why := t.Level()
	about.Cgroups = string(level)
	if level != cgroups.Full && cannot != nil {
		why = cannot.Error()
	}
	return &enforcer{tree: t, why: why}
}
