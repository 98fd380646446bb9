package policy

import (
	"testing"

	"nines/spec"
)

// TestPlanRevision: what a plan says that an apply, and a revert of it, would bring.
func TestPlanRevision(t *testing.T) {
	revisions := func(verdicts ...Verdict) (known []Revision) { // the highest number first
		for i, v := range verdicts {
			n := len(verdicts) - i
			known = append(known, Revision{Number: n, Digest: string(rune('a' + n - 1)), Verdict: v})
		}
		return known
	}
	for name, tc := range map[string]struct {
		known   []Revision
		current int
		roll    rollout
		edit    func(*spec.Service)
		digest  string // "new" unless said
		want    RevisionPlan
	}{
		"the first":                   {known: revisions(Unproven), current: 1, want: RevisionPlan{Back: 1}},
		"the current one is good":     {known: revisions(Good, Good), current: 2, want: RevisionPlan{Back: 2}},
		"an earlier one is good":      {known: revisions(Unproven, Good, Good), current: 3, want: RevisionPlan{Back: 2}},
		"none is good":                {known: revisions(Unproven, Unproven), current: 2, want: RevisionPlan{Back: 2}},
		"one is tried":                {known: revisions(Unproven, Unproven), current: 2, roll: rollout{state: rollCanary, from: 1}, want: RevisionPlan{Back: 1}},
		"it was good":                 {known: revisions(Unproven, Good), current: 2, digest: "a", want: RevisionPlan{Back: 2}},
		"it is marked bad":            {known: []Revision{{Number: 1, Digest: "a"}, {Number: 2, Digest: "b", Verdict: Bad}}, current: 1, digest: "b", want: RevisionPlan{Bad: 2}},
		"it runs that":                {known: revisions(Unproven, Unproven), current: 2, digest: "b", want: RevisionPlan{Runs: 2}},
		"it goes back to that":        {known: revisions(Unproven, Unproven), current: 2, roll: rollout{state: rollRest, from: 1}, digest: "a"},
		"auto_revert = false":         {known: revisions(Good), current: 1, edit: func(s *spec.Service) { s.Update.AutoRevert = false }},
		"crash_loop.then = hold":      {known: revisions(Good), current: 1, edit: func(s *spec.Service) { s.CrashLoop.Then = spec.ThenHold }},
		"a task":                      {known: revisions(Good), current: 1, edit: func(s *spec.Service) { s.Type = spec.TypeTask }},
		"a service that is not there": {edit: func(s *spec.Service) { s.Name = "other" }},
	} {
		sp := &spec.Service{
			Name: "web", Type: spec.TypeService, Update: spec.Update{AutoRevert: true}, CrashLoop: spec.CrashLoop{Then: spec.ThenRollback},
		}
		v := &service{spec: sp, known: tc.known, revision: tc.current, roll: tc.roll}
		m := &Machine{byName: map[string]*service{"web": v}}
		asked := *sp
		if tc.edit != nil {
			tc.edit(&asked)
		}
		digest := tc.digest
		if digest == "" {
			digest = "new"
		}
		if got := m.PlanRevision(&asked, digest); got != tc.want {
			t.Errorf("%s: %+v, want %+v", name, got, tc.want)
		}
	}
}
