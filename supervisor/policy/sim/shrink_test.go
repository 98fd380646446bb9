package sim

import (
	"strings"
	"testing"
	"time"

	"nines/supervisor/policy"
)

// TestShrink breaks an invariant on purpose (the machine is given another
// shutdown timeout than the specification says) and wants the history made
// small, with the same invariant broken at its end.
func TestShrink(t *testing.T) {
	broken := func(s *Scenario) *Result {
		return run(s, Options{Trace: true}, policy.Config{Seed: s.Seed, ShutdownTimeout: time.Hour, SpawnPatience: spawnPatience})
	}
	var s *Scenario
	var before *Result
	for seed := uint64(1); ; seed++ {
		if seed == 1000 {
			t.Fatal("no history breaks the invariant")
		}
		s = Generate(seed, Limits{})
		if before = broken(s); before.Failure != nil && len(s.Spec.Services) > 3 {
			break
		}
	}
	small, after := shrink(s, 1000, broken)
	if after.Failure == nil || after.Failure.Invariant != "15" {
		t.Fatalf("the shrunk history breaks %v, not invariant 15", after.Failure)
	}
	if again := broken(small); again.Failure == nil || *again.Failure != *after.Failure {
		t.Fatalf("the shrunk scenario does not give its failure again: %v", again.Failure)
	}
	if len(small.Spec.Services) >= len(s.Spec.Services) || after.Steps >= before.Steps {
		t.Errorf("shrunk from %d services and %d steps to %d and %d only", len(s.Spec.Services), before.Steps, len(small.Spec.Services), after.Steps)
	}
	if len(s.Spec.Services) < 4 {
		t.Error("the scenario that was shrunk has changed")
	}
	t.Logf("%d services, %d acts, %d steps; shrunk to\n%s%s", len(s.Spec.Services), len(s.Script), before.Steps, small, after.Trace)
}

// TestReport: a history that breaks nothing says so; a trace begins as the
// package comment says.
func TestReport(t *testing.T) {
	s := Generate(1, Limits{Services: 2})
	if got := Report(s, 10, 10); got != "no invariant is broken" {
		t.Errorf("report of a good history: %s", got)
	}
	res := Run(s, Options{Trace: true})
	lines := strings.Split(strings.TrimSuffix(string(res.Trace), "\n"), "\n")
	if f := strings.Fields(lines[0]); len(f) < 3 || f[0] != "1" || f[1] != "0.000000" || f[2] != "spec" {
		t.Errorf("the trace begins with %q", lines[0])
	}
	if last := lines[len(lines)-1]; !strings.Contains(last, ", end ") {
		t.Errorf("the trace ends with %q", last)
	}
}
