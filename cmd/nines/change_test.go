package main

import (
	"os"
	"testing"

	"nines/spec"
	"nines/spec/load"
	"nines/supervisor/applied"
)

// TestRereadUnchanged: files that say what they said when they were last looked at
// are not applied, whatever runs: somebody has applied that from elsewhere. There
// is no supervisor to apply to: to try would be a panic.
func TestRereadUnchanged(t *testing.T) {
	path := t.TempDir() + "/web.hcl"
	if err := os.WriteFile(path, []byte("service \"web\" {\n  command = [\"true\"]\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	files, diags := load.Read([]string{path})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	other := applied.State{Now: applied.Version{Files: []load.File{{Name: "other.hcl"}}}, Boot: applied.Digest(files)}
	c := newChanger(&running{state: other, spec: &spec.Spec{}}, []string{path}, &enforcer{}, &releases{}, nil, nil)
	c.reread("--watch", false)
	// Nor what runs already, though it was not looked at before.
	c = newChanger(&running{spec: &spec.Spec{}, state: applied.State{Now: applied.Version{Files: files}, Boot: "other"}}, []string{path}, &enforcer{}, &releases{}, nil, nil)
	c.reread("--watch", false)
	if c.seen != applied.Digest(files) {
		t.Errorf("it was not looked at")
	}
}
