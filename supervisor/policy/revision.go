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
	Top     int        // the highest number that was given
	Prior   []Revision // earlier ones, the newest first; at most maxPrior
}

// maxPrior is how many earlier revisions are known by their digest: one of these
// comes back under its own number.
const maxPrior = 4

// Append appends w as text: "3 3 2:DIGEST 1:DIGEST", the current number, the
// highest, and earlier ones.
func (w *RevisionMemory) Append(dst []byte) []byte {
	dst = strconv.AppendInt(dst, int64(w.Current), 10)
	dst = strconv.AppendInt(append(dst, ' '), int64(w.Top), 10)
	for _, r := range w.Prior {
		dst = strconv.AppendInt(append(dst, ' '), int64(r.Number), 10)
		dst = append(append(dst, ':'), r.Digest...)
	}
	return dst
}

var errRevision = errors.New("cannot read the memory of a revision")

// ParseRevisionMemory reads what Append wrote.
func ParseRevisionMemory(text string) (RevisionMemory, error) {
	bad := func() (RevisionMemory, error) {
		return RevisionMemory{}, fmt.Errorf("%w: %.40q", errRevision, text)
	}
	f := strings.Fields(text)
	if len(f) < 2 || len(f) > 2+maxPrior || len(text) > MaxMemory {
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
		number, digest, ok := strings.Cut(p, ":")
		n, err := parseCount(number)
		if !ok || err != nil || n < 1 || n > w.Top {
			return bad()
		}
		w.Prior = append(w.Prior, Revision{n, strings.Clone(digest)})
	}
	return w, nil
}

// recallRevision sets the revision of v to what was remembered, or the first.
func (m *Machine) recallRevision(v *service, digest string, w RevisionMemory) {
	v.revision = max(w.Current, 1)
	v.top = max(w.Top, v.revision)
	v.prior, v.digest = w.Prior, digest
}

// newRevision makes digest the one that v is to run. An earlier one comes back
// under its own number.
func (m *Machine) newRevision(v *service, digest string) {
	number := v.top + 1
	earlier := []Revision{{v.revision, v.digest}}
	for _, r := range v.prior {
		if r.Digest == digest {
			number = r.Number
		} else if len(earlier) < maxPrior {
			earlier = append(earlier, r)
		}
	}
	v.revision, v.digest, v.prior = number, digest, earlier
	v.top = max(v.top, number)
	m.recordRevision(v)
}

func (m *Machine) recordRevision(v *service) {
	w := RevisionMemory{Current: v.revision, Top: v.top, Prior: v.prior}
	m.record(Record{Kind: RecordRevision, ID: v.spec.Name, Value: int64(v.revision), text: string(w.Append(nil))})
}

// remembered says whether there is a record of v's revisions.
func (v *service) remembered() bool { return v.top > 1 }
