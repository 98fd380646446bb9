package policy

import "nines/spec"

// RevisionPlan is what an apply would do about the revisions of a service whose digest
// changes. At most one is not 0.
type RevisionPlan struct {
	Runs int // it is the revision that runs, or is on its way: none is started
	Bad  int // it is that one, which is marked bad: the service stays at what it runs
	Back int // it brings another, which a revert would undo by bringing back this one
}

// PlanRevision says what an apply of that specification of a service, with that digest,
// would do.
func (m *Machine) PlanRevision(sp *spec.Service, digest string) RevisionPlan {
	v := m.byName[sp.Name]
	if v == nil {
		return RevisionPlan{}
	}
	switch r := v.findDigest(digest); {
	case r == nil:
	case r.Verdict == Bad:
		return RevisionPlan{Bad: r.Number}
	case r.Number == v.revision:
		return RevisionPlan{Runs: r.Number}
	case v.roll.forward() && r.Number == v.roll.from:
		return RevisionPlan{} // to go back to what had run is not reverted
	}
	if !sp.Update.AutoRevert || sp.CrashLoop.Then != spec.ThenRollback || sp.Type == spec.TypeTask {
		return RevisionPlan{}
	}
	for _, r := range v.known {
		if r.Verdict == Good && r.Digest != digest {
			return RevisionPlan{Back: r.Number}
		}
	}
	from := v.revision
	if v.roll.forward() {
		from = v.roll.from
	}
	if r := v.find(from); r != nil && r.Verdict != Bad {
		return RevisionPlan{Back: r.Number}
	}
	return RevisionPlan{}
}
