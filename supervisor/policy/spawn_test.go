package policy

import (
	"testing"
	"time"

	"nines/spec"
)

// start.timeout counts from when the process exists: one that waits for its turn
// among thousands is not late; one that never comes is given up all the same.
func TestSpawnPatience(t *testing.T) {
	m := New(Config{})
	sp := &spec.Spec{Services: []*spec.Service{newService("web")}}
	sp.Services[0].StartTimeout = 5 * time.Second
	out := m.Step(0, SpecChanged{Spec: sp})
	if len(out.Then) != 1 || out.Then[0].Kind != ActSpawn {
		t.Fatalf("it is not started: %+v", out.Then)
	}
	ref := out.Then[0].Ref
	last := Time(0).Add(5*time.Second + DefaultSpawnPatience)
	if out = m.Step(last-1, Tick{}); len(out.Now) > 0 {
		t.Errorf("it is given up before its turn may have come: %+v", out.Now)
	}
	if at, ok := m.Deadline(); !ok || at != last {
		t.Errorf("the deadline is %v, %v, want %v", at, ok, last)
	}
	if out = m.Step(last, Tick{}); len(out.Now) != 1 || out.Now[0].Kind != ActKill || out.Now[0].Ref != ref {
		t.Errorf("it is not given up: %+v", out.Now)
	}
}
