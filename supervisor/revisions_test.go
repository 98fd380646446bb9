package supervisor

import (
	"testing"

	"nines/spec"
	"nines/supervisor/policy"
)

// While it is not on disk what became of a revision, that service alone waits; and
// who is to be told that something is done.
func TestHoldBack(t *testing.T) {
	sp := &spec.Spec{Services: []*spec.Service{
		{Name: "api", Enabled: true, Instances: 2, Type: spec.TypeService},
		{Name: "web", Enabled: true, Instances: 1, Type: spec.TypeService},
	}}
	s := &Supervisor{machine: policy.New(policy.Config{}), books: books{writing: map[string]int{}}}
	s.machine.Step(1, policy.SpecChanged{Spec: sp})
	slots := map[string]policy.Slot{}
	for _, v := range s.machine.Snapshot().Instances {
		slots[v.ID] = v.Slot
	}
	spawn := func(id string) policy.Action {
		return policy.Action{Kind: policy.ActSpawn, Ref: policy.Ref{Slot: slots[id], Incarnation: 1}}
	}
	leave := func(want ...string) {
		t.Helper()
		var got []string
		for _, a := range s.due() {
			switch a.Kind {
			case policy.ActDone:
				got = append(got, "done")
			case policy.ActRestore:
				got = append(got, "restore "+a.Service)
			default:
				got = append(got, s.machine.ID(a.Ref.Slot))
			}
		}
		if len(got) != len(want) {
			t.Fatalf("%q, not %q", got, want)
		}
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("%q, not %q", got, want)
			}
		}
	}
	restore := func(service string) policy.Action {
		return policy.Action{Kind: policy.ActRestore, Service: service}
	}
	first, second := s.holdBack([]string{"api"}), s.holdBack([]string{"api"})
	s.then = []policy.Action{spawn("api/0"), spawn("web/0"), {Kind: policy.ActDone}, restore("api"), restore("web"), spawn("api/1")}
	leave("web/0", "restore web")
	if !first() || first() {
		t.Error("it is not told when it let go")
	}
	leave()
	s.then = append(s.then, spawn("web/0"))
	leave("web/0")
	second()
	leave("api/0", "done", "restore api", "api/1")
	leave()
}
