package policy

import (
	"nines/spec"
)

// RevisionView is a revision as it is now.
type RevisionView struct {
	Number  int
	Digest  string
	State   RevisionState
	Verdict Verdict
	Spec    *spec.Service // nil: not known any more
	// Snapshot is the copy of its data; "": there is none.
	Snapshot string
}

// RevisionState is the state of a revision, as in the API.
type RevisionState string

// The states of revisions.
const (
	RevisionCandidate  RevisionState = "candidate"
	RevisionCurrent    RevisionState = "current"
	RevisionPrevious   RevisionState = "previous"
	RevisionGood       RevisionState = "good" // an earlier one that survived its probation
	RevisionBad        RevisionState = "bad"
	RevisionSuperseded RevisionState = "superseded"
)

// Revisions is what is known of the revisions of a service, the one that was
// current last first; nil: there is no such service.
func (m *Machine) Revisions(service string) []RevisionView {
	v := m.byName[service]
	if v == nil {
		return nil
	}
	list := make([]RevisionView, len(v.known))
	for i, r := range v.known {
		list[i] = RevisionView{Number: r.Number, Digest: r.Digest, Verdict: r.Verdict, Spec: r.Spec, State: v.state(&r), Snapshot: r.Snapshot}
	}
	return list
}

func (v *service) state(r *Revision) RevisionState {
	switch {
	case r.Number == v.revision && (v.roll.state == rollCanary || v.roll.state == rollRest):
		return RevisionCandidate
	case r.Number == v.revision:
		return RevisionCurrent
	case r.Verdict == Bad:
		return RevisionBad
	case r.Verdict == Superseded:
		return RevisionSuperseded
	case r.Verdict == Good:
		return RevisionGood
	}
	return RevisionPrevious
}

// Runs is the specification that an instance of that revision runs with; nil for a
// slot that was never given.
func (m *Machine) Runs(id Slot, revision int) *spec.Service {
	if id < 0 || int(id) >= len(m.slots) {
		return nil
	}
	return m.slots[id].svc.runs(revision)
}

// Spec is the service as it runs now: what the specification says, and of the
// current revision what is part of one.
func (m *Machine) Spec(service string) *spec.Service {
	if v := m.byName[service]; v != nil {
		return v.spec
	}
	return nil
}

// Digest is that of a revision of the slot's service; "": it is not known.
func (m *Machine) Digest(id Slot, revision int) string {
	if id >= 0 && int(id) < len(m.slots) {
		if r := m.slots[id].svc.find(revision); r != nil {
			return r.Digest
		}
	}
	return ""
}
