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
