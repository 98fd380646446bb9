package policy

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Revision is what the processes of a service run with, told apart by its digest.
type Revision struct {
	Number int // 1, 2, …; 0: none
	Digest string
}

// RevisionMemory is what a next supervisor must know of the revisions of a
// service. Which digest the current one has, it is told with the specification.
type RevisionMemory struct {
	Current int
	Top     int      // the highest number that was given
	Prior   Revision // the one before; Number 0: none
}

// Append appends w as text: "3 3 2 DIGEST", the current number, the highest, and
// the one before with its digest, or 0 and "-".
func (w *RevisionMemory) Append(dst []byte) []byte {
	dst = strconv.AppendInt(dst, int64(w.Current), 10)
	dst = strconv.AppendInt(append(dst, ' '), int64(w.Top), 10)
	dst = strconv.AppendInt(append(dst, ' '), int64(w.Prior.Number), 10)
	digest := w.Prior.Digest
	if digest == "" {
		digest = "-"
	}
	return append(append(dst, ' '), digest...)
}

var errRevision = errors.New("cannot read the memory of a revision")

// ParseRevisionMemory reads what Append wrote.
func ParseRevisionMemory(text string) (RevisionMemory, error) {
	f := strings.Fields(text)
	if len(f) != 4 || len(f[3]) > 128 {
		return RevisionMemory{}, fmt.Errorf("%w: %.40q", errRevision, text)
	}
	var n [3]int
	for i := range n {
		var err error
		if n[i], err = parseCount(f[i]); err != nil {
			return RevisionMemory{}, fmt.Errorf("%w: %.40q", errRevision, text)
		}
	}
	w := RevisionMemory{Current: n[0], Top: n[1], Prior: Revision{n[2], strings.Clone(f[3])}}
	if f[3] == "-" {
		w.Prior.Digest = ""
	}
	if w.Current < 1 || w.Top < w.Current || w.Top < w.Prior.Number {
		return RevisionMemory{}, fmt.Errorf("%w: %.40q", errRevision, text)
	}
	return w, nil
}

// recallRevision sets the revision of v to what was remembered, or the first.
func (m *Machine) recallRevision(v *service, digest string, w RevisionMemory) {
	v.revision = max(w.Current, 1)
	v.top = max(w.Top, v.revision)
	v.prior, v.digest = w.Prior, digest
}

// newRevision makes digest the one that v is to run. One that was before the
// current one comes back under its own number.
func (m *Machine) newRevision(v *service, digest string) {
	old := Revision{v.revision, v.digest}
	if v.prior.Number > 0 && v.prior.Digest == digest {
		v.revision = v.prior.Number
	} else {
		v.top++
		v.revision = v.top
	}
	v.prior, v.digest = old, digest
	m.recordRevision(v)
}

func (m *Machine) recordRevision(v *service) {
	w := RevisionMemory{Current: v.revision, Top: v.top, Prior: v.prior}
	m.record(Record{Kind: RecordRevision, ID: v.spec.Name, Value: int64(v.revision), text: string(w.Append(nil))})
}

// remembered says whether there is a record of v's revisions.
func (v *service) remembered() bool { return v.top > 1 }
