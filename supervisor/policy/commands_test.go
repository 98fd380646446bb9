package policy

import (
	"testing"

	"nines/spec"
)

func TestHas(t *testing.T) {
	m := New(Config{})
	m.Step(1, SpecChanged{Spec: &spec.Spec{Services: []*spec.Service{{Name: "web", Instances: 2, Enabled: true}}}})
	for _, tc := range []struct {
		service string
		index   int
		want    bool
	}{{"web", -1, true}, {"web", 0, true}, {"web", 1, true}, {"web", 2, false}, {"we", -1, false}, {"", 0, false}} {
		if got := m.Has(tc.service, tc.index); got != tc.want {
			t.Errorf("Has(%q, %d) = %v", tc.service, tc.index, got)
		}
	}
}

func TestIncarnation(t *testing.T) {
	e := newEnv(t)
	e.autoSpawn = true
	e.step(SpecChanged{Spec: parseSpec(t, "web instances=2")})
	for _, tc := range []struct {
		service string
		index   int
		number  uint64
		want    bool
	}{{"web", 1, 1, true}, {"web", 1, 0, false}, {"web", 1, 2, false}, {"web", 2, 1, false}, {"web", -1, 1, false}, {"db", 0, 1, false}} {
		if ref, ok := e.m.Incarnation(tc.service, tc.index, tc.number); ok != tc.want || ok && ref != e.ref("web/1") {
			t.Errorf("%v: %+v %v", tc, ref, ok)
		}
	}
	s := e.m.slots[e.ref("web/1").Slot]
	e.m.theTwin(s).ref.Incarnation = 7
	if ref, ok := e.m.Incarnation("web", 1, 7); !ok || ref.Slot == s.id {
		t.Errorf("its twin: %+v %v", ref, ok)
	}
}
