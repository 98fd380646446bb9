package supervisor

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"nines/cgroups"
	"nines/spec"
	"nines/supervisor/proc"
)

func TestLimitsOf(t *testing.T) {
	svc := &spec.Service{Name: "web", Limits: spec.Limits{
		Memory: &spec.Memory{Low: spec.Size{Bytes: 4096}, High: spec.Size{Percent: 50}, Max: spec.Size{Bytes: 1 << 20}, SwapSet: true, Required: true},
		CPU:    &spec.CPU{Max: 150, Weight: 300},
		Pids:   &spec.Pids{Max: 7},
		IO:     &spec.IO{Weight: 50},
	}}
	l := limitsOf(svc, 1<<20)
	want := []cgroups.Setting{
		{Controller: "memory", File: "memory.oom.group", Value: "1"}, {Controller: "memory", File: "memory.low", Value: "4096"},
		{Controller: "memory", File: "memory.high", Value: "524288"}, {Controller: "memory", File: "memory.max", Value: "1048576"},
		{Controller: "memory", File: "memory.swap.max", Value: "0"}, {Controller: "cpu", File: "cpu.max", Value: "150000 100000"},
		{Controller: "pids", File: "pids.max", Value: "7"},
	}
	if !slices.Equal(l.instance, want) {
		t.Errorf("instance: %v", l.instance)
	}
	folder := []cgroups.Setting{{Controller: "cpu", File: "cpu.weight", Value: "300"}, {Controller: "io", File: "io.weight", Value: "50"}}
	if !slices.Equal(l.folder, folder) || l.low != 4096 || !l.required["memory"] || l.required["cpu"] {
		t.Errorf("%+v", l)
	}
	// How much there is cannot be told: shares are left out, and no limit of 0 set.
	for _, s := range limitsOf(svc, 0).instance {
		if s.File == "memory.high" {
			t.Errorf("%v", s)
		}
	}
	if l := limitsOf(&spec.Service{}, 1<<20); len(l.instance) != 1 || asked(l.instance[0]) || len(l.folder) > 0 {
		t.Errorf("no limits: %+v", l)
	}
}

func TestFindUnenforced(t *testing.T) {
	services := []*spec.Service{
		{Name: "plain"},
		{Name: "watched", Limits: spec.Limits{Memory: &spec.Memory{RestartAbove: spec.Size{Bytes: 1}, Required: true}}},
		{Name: "web", Pos: spec.Pos{File: "a.hcl", Line: 3, Column: 1}, Limits: spec.Limits{
			Memory: &spec.Memory{High: spec.Size{Bytes: 1}, Max: spec.Size{Percent: 5}}, CPU: &spec.CPU{Weight: 100, Required: true},
		}},
	}
	found := FindUnenforced(services, nil, "the moon is full")
	if len(found) != 2 || found[0].Controller != "memory" || found[0].Required || found[1].Controller != "cpu" || !found[1].Required {
		t.Fatalf("%+v", found)
	}
	if s := found[0].String(); !strings.HasPrefix(s, "memory.high and memory.max of service web are not enforced: there is no memory controller: the moon is full. Give nines") {
		t.Error(s)
	}
	d := found[1].Diagnostic()
	if d.File != "a.hcl" || d.Line != 3 || d.Summary != "cpu.weight of service web is not enforced: there is no cpu controller, and it says required" {
		t.Errorf("%+v", d)
	}
}

// TestLimitsWithoutControllers: what is required fails the start, and says why;
// what is not is left out.
func TestLimitsWithoutControllers(t *testing.T) {
	l := newLimiter(&Supervisor{}, nil)
	loose := &spec.Service{Name: "loose", Limits: spec.Limits{Pids: &spec.Pids{Max: 7}, IO: &spec.IO{Weight: 50}, Memory: &spec.Memory{Low: spec.Size{Bytes: 1}}}}
	if err := l.set(&incarnation{svc: loose}, nil); err != nil {
		t.Error(err)
	}
	strict := &spec.Service{Name: "strict", Limits: spec.Limits{Pids: &spec.Pids{Max: 7, Required: true}}}
	err := l.set(&incarnation{svc: strict}, nil)
	var e *proc.Error
	if !errors.As(err, &e) || e.Step != proc.StepLimit || e.Again() || e.ExitCode() != 1 ||
		err.Error() != "cannot set its limit pids.max: its controller is not available, and it is required" {
		t.Errorf("%v", err)
	}
	// Another specification: what was of the old one is forgotten.
	l.low["loose"], l.low["strict"], l.said["loose io.weight"] = 1, 1, "x"
	l.apply(&spec.Spec{Services: []*spec.Service{strict}})
	if len(l.of) > 0 || len(l.said) > 0 || len(l.low) != 1 {
		t.Errorf("%+v", l)
	}
}
