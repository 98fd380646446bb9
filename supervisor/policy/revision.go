package policy

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"nines/spec"
)

// Revision is what the processes of a service run with, told apart by its digest.
type Revision struct {
	Number  int // 1, 2, …; 0: none
	Digest  string
	Verdict Verdict
	// Snapshot is the copy of its data that was taken when it was left last, by the
	// driver's name; "": there is none.
	Snapshot string
	// Spec is the service as it was when the revision was made; of it, what is part
	// of a revision counts. nil: the current specification's. It is no part of the
	// text: the driver keeps it.
	Spec *spec.Service

	runs *spec.Service // Spec in the specification that counts now
	in   *spec.Service // … that one
}

// Verdict is what became of a revision.
type Verdict uint8

// The verdicts.
const (
	Unproven   Verdict = iota
	Good               // it survived its probation
	Bad                // it was reverted: never started again without a person's word
	Superseded         // another came before it had been through
)

const verdictLetters = "-gbs"

// RevisionMemory is what a next supervisor must know of the revisions of a
// service, and of an update that is under way.
type RevisionMemory struct {
	Current int
	Top     int        // the highest number that was given
	Asked   int        // the one that the specification asks for; 0: the current
	Known   []Revision // the one that was current last first; at most maxRevisions

	State string // of an update: "" (none), canary, rest, back
	From  int    // what it replaces
	Last  bool   // it is not reverted: it reverts another, or a person wants it
	Until Time   // the probation of the current one ends; 0: it has none

	// Of its data; see data.go.
	DataOf    int    // the revision that they belong to; 0: the current one
	DataBack  bool   // those of the current one are to be put back
	Restoring int    // whose data a restore that has begun puts back; 0: there is none
	Restore   string // … from that snapshot
	Aside     string // … with that label
	Restores  int    // how many there have been
	Untried   int    // a revision that was given up, since the data could not be kept
}

// MaxRevisionMemory is how long the text of a RevisionMemory is at most.
const MaxRevisionMemory = 4096

// maxRevisions is how many revisions of a service are known: one of these comes
// back under its own number, and a bad one is not tried again.
const maxRevisions = 10

// Append appends w as text: the current number, the highest, those known as
// NUMBER:DIGEST:VERDICT, then key=value.
//
//	3 4 3:DIGEST:g 4:DIGEST:b asked=4 state=back from=4 last=1
func (w *RevisionMemory) Append(dst []byte) []byte {
	dst = strconv.AppendInt(dst, int64(w.Current), 10)
	dst = strconv.AppendInt(append(dst, ' '), int64(w.Top), 10)
	for _, r := range w.Known {
		dst = strconv.AppendInt(append(dst, ' '), int64(r.Number), 10)
		dst = append(append(dst, ':'), r.Digest...)
		if r.Verdict != Unproven {
			dst = append(dst, ':', verdictLetters[r.Verdict])
		}
	}
	if w.Asked != w.Current {
		dst = appendInt(dst, "asked", int64(w.Asked))
	}
	dst = appendWord(dst, "state", w.State)
	dst = appendInt(dst, "from", int64(w.From))
	if w.Last {
		dst = append(dst, " last=1"...)
	}
	return w.dataText(appendInt(dst, "until", int64(w.Until)))
}

var errRevision = errors.New("cannot read the memory of a revision")

// ParseRevisionMemory reads what Append wrote.
func ParseRevisionMemory(text string) (RevisionMemory, error) {
	bad := func() (RevisionMemory, error) {
		return RevisionMemory{}, fmt.Errorf("%w: %.40q", errRevision, text)
	}
	f := strings.Fields(text)
	if len(f) < 2 || len(text) > MaxRevisionMemory {
		return bad()
	}
	var w RevisionMemory
	var err1, err2 error
	w.Current, err1 = parseCount(f[0])
	w.Top, err2 = parseCount(f[1])
	if errors.Join(err1, err2) != nil || w.Current < 1 || w.Top < w.Current {
		return bad()
	}
	for _, p := range f[2:] {
		if err := w.set(p); err != nil {
			return bad()
		}
	}
	if len(w.Known) > maxRevisions || w.Asked > w.Top || w.From > w.Top || max(w.DataOf, w.Restoring, w.Untried) > w.Top {
		return bad()
	}
	return w, nil
}

// set takes one word of the text.
func (w *RevisionMemory) set(word string) (err error) {
	if key, value, ok := strings.Cut(word, "="); ok && !strings.Contains(key, ":") {
		if ok, err := w.setData(key, value); ok {
			return err
		}
		switch key {
		case "asked":
			w.Asked, err = parseCount(value)
		case "state":
			w.State, err = oneOf(value, "canary", "rest", "back")
		case "from":
			w.From, err = parseCount(value)
		case "last":
			w.Last = value == "1"
		case "until":
			w.Until, err = parseTime(value)
		}
		return err // others are of a newer version
	}
	parts := strings.Split(word, ":")
	n, err := parseCount(parts[0])
	if err != nil || len(parts) < 2 || len(parts) > 3 || n < 1 || n > w.Top {
		return errRevision
	}
	r := Revision{Number: n, Digest: strings.Clone(parts[1])}
	if len(parts) == 3 {
		i := strings.Index(verdictLetters, parts[2])
		if i < 0 || len(parts[2]) != 1 {
			return errRevision
		}
		r.Verdict = Verdict(i)
	}
	if slices.ContainsFunc(w.Known, func(o Revision) bool { return o.Number == n }) {
		return errRevision
	}
	w.Known = append(w.Known, r)
	return nil
}

// find returns what is known of a revision, or nil.
func (v *service) find(number int) *Revision {
	for i := range v.known {
		if v.known[i].Number == number {
			return &v.known[i]
		}
	}
	return nil
}

func (v *service) findDigest(digest string) *Revision {
	for i := range v.known {
		if v.known[i].Digest == digest {
			return &v.known[i]
		}
	}
	return nil
}

// runs is the specification of what an instance of that revision runs.
func (v *service) runs(number int) *spec.Service {
	r := v.find(number)
	if r == nil || r.Spec == nil {
		return v.file
	}
	if r.in != v.file {
		r.runs, r.in = v.file.Running(r.Spec), v.file
	}
	return r.runs
}

// firstRevision makes digest the first one of v.
func (v *service) firstRevision(digest string) {
	v.revision, v.top, v.asked = 1, 1, 1
	v.known = []Revision{{Number: 1, Digest: digest, Spec: v.file}}
	v.roll = rollout{}
}

// recallRevision sets the revisions of v to what was remembered, or the first.
// digest is what the specification asks for.
func (m *Machine) recallRevision(v *service, digest string, w RevisionMemory) {
	if w.Current < 1 {
		v.firstRevision(digest)
		return
	}
	v.revision, v.top, v.asked = w.Current, max(w.Top, w.Current), w.Asked
	v.known = slices.Clone(w.Known)
	if v.asked == 0 {
		v.asked = v.revision
	}
	if v.find(v.revision) == nil { // of a version that did not keep it
		v.known = slices.Insert(v.known, 0, Revision{Number: v.revision, Digest: digest})
	}
	if v.find(v.asked) == nil {
		v.asked = v.revision
	}
	if r := v.find(v.asked); r.Digest == digest {
		r.Spec = v.file
	}
	v.roll = rollout{from: w.From, last: w.Last, until: w.Until}
	for s := range numRollStates {
		if s.String() == w.State {
			v.roll.state = s
		}
	}
	v.recallData(&w)
	v.spec = v.runs(v.revision)
}

// newRevision makes digest the one that v is to run. An earlier one comes back
// under its own number.
func (m *Machine) newRevision(v *service, digest string, sp *spec.Service) {
	r := Revision{Number: v.top + 1, Digest: digest}
	if old := v.findDigest(digest); old != nil {
		r = *old
		if r.Verdict != Good {
			r.Verdict = Unproven
		}
	}
	r.Spec = sp
	v.top = max(v.top, r.Number)
	v.known = slices.DeleteFunc(v.known, func(o Revision) bool { return o.Number == r.Number })
	v.known = slices.Insert(v.known, 0, r)
	v.revision = r.Number
	v.trim()
}

// trim forgets the oldest revisions where there are too many: those that nobody
// would go back to first, bad ones last.
func (v *service) trim() {
	for rank := 0; len(v.known) > maxRevisions && rank < 3; rank++ {
		for i := len(v.known) - 1; i > 0 && len(v.known) > maxRevisions; i-- {
			r := &v.known[i]
			if d := &v.data; r.Number == d.of || r.Number == d.restoring || r.Number == d.taking {
				continue
			}
			if r.Number == v.asked || r.Number == v.roll.from || v.inUse(r.Number) || r.Number == v.goodOne() {
				continue
			}
			if rank == 0 && r.Verdict == Superseded || rank == 1 && r.Verdict != Bad || rank == 2 {
				v.known = slices.Delete(v.known, i, i+1)
			}
		}
	}
}

// inUse says whether an instance runs that revision, or is to.
func (v *service) inUse(number int) bool {
	return v.revision == number || slices.ContainsFunc(v.slots, func(s *slot) bool {
		return s.target == number || s.phase.lives() && s.revision == number
	})
}

// pinned says why v does not run what its specification asks for.
func (v *service) pinned() string {
	why := "which was left since"
	if v.find(v.asked).Verdict == Bad {
		why = "which is bad"
	}
	if v.asked == v.data.untried {
		why = "which was not tried, since the data could not be kept; nines apply, or nines deploy, tries again"
	}
	holds := "its specification"
	if v.file.Release != nil {
		holds += ", or the file at " + v.file.Release.Path + ","
	}
	return v.spec.Name + " stays at revision " + itoa(int32(v.revision)) + ": " + holds + " still holds revision " + itoa(int32(v.asked)) + ", " + why
}

// goodOne is the newest good revision but for the current one; 0: there is none.
func (v *service) goodOne() int {
	for _, r := range v.known {
		if r.Verdict == Good && r.Number != v.revision {
			return r.Number
		}
	}
	return 0
}

// recordRevision has what is known of the revisions of v recorded, once, when the
// step is over.
func (m *Machine) recordRevision(v *service) {
	if !v.revisionDirty {
		v.revisionDirty = true
		m.dirtyRevisions = append(m.dirtyRevisions, v)
	}
}

func (m *Machine) saveRevision(v *service) {
	v.revisionDirty = false
	if !v.removed {
		m.record(Record{Kind: RecordRevision, ID: v.spec.Name, Value: int64(v.revision), text: v.revisionText()})
	}
}

func (v *service) revisionText() string {
	w := RevisionMemory{
		Current: v.revision, Top: v.top, Asked: v.asked, Known: v.known,
		State: v.roll.state.String(), From: v.roll.from, Last: v.roll.last, Until: v.roll.until,
		DataOf: v.data.of, DataBack: v.data.back, Restoring: v.data.restoring, Restore: v.data.snapshot, Aside: v.data.aside, Restores: v.data.count, Untried: v.data.untried,
	}
	return string(w.Append(nil))
}

// RevisionMemory is the text of what must be known of the revisions of a service,
// also where there is no record of it yet; "": there is no such service.
func (m *Machine) RevisionMemory(service string) string {
	if v := m.byName[service]; v != nil {
		return v.revisionText()
	}
	return ""
}

// remembered says whether there is a record of v's revisions.
func (v *service) remembered() bool { return v.top > 1 }
