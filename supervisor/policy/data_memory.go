package policy

import "strings"

// dataText appends how the data stand, as a RevisionMemory has it.
func (w *RevisionMemory) dataText(dst []byte) []byte {
	for _, r := range w.Known {
		if r.Snapshot != "" {
			dst = append(appendInt(dst, "snap", int64(r.Number)), ':')
			dst = append(dst, r.Snapshot...)
		}
	}
	dst = appendInt(dst, "data", int64(w.DataOf))
	if w.DataBack {
		dst = append(dst, " back=1"...)
	}
	if w.Restoring != 0 {
		dst = append(appendInt(dst, "restoring", int64(w.Restoring)), ':')
		dst = append(append(append(dst, w.Restore...), ':'), w.Aside...)
	}
	dst = appendInt(dst, "restores", int64(w.Restores))
	return appendInt(dst, "untried", int64(w.Untried))
}

// setData takes one word of that; false: it is none.
func (w *RevisionMemory) setData(key, value string) (ok bool, err error) {
	number, id, _ := strings.Cut(value, ":")
	n, err := parseCount(number)
	switch key {
	case "snap":
		for i := range w.Known {
			if w.Known[i].Number == n {
				w.Known[i].Snapshot = strings.Clone(id)
			}
		}
	case "data":
		w.DataOf = n
	case "back":
		w.DataBack = n == 1
	case "restoring":
		from, aside, _ := strings.Cut(strings.Clone(id), ":")
		w.Restoring, w.Restore, w.Aside = n, from, aside
	case "restores":
		w.Restores = n
	case "untried":
		w.Untried = n
	default:
		return false, nil
	}
	return true, err
}

// Restore is a restore that has begun and is not done.
type Restore struct {
	Revision int // whose data are put back
	Snapshot string
	Label    string
}

// resumeRestore: the driver has found a restore that has begun. Where nobody remembers
// it (what is known of the revisions was lost), it is ended all the same before
// anything is started on what may be half of the data.
func (v *service) resumeRestore(r Restore) {
	d := &v.data
	if r.Revision < 1 || d.restoring != 0 {
		return
	}
	if d.of == 0 {
		d.of = v.revision
	}
	d.restoring, d.snapshot, d.aside, d.count = r.Revision, r.Snapshot, r.Label, d.count+1
	v.top = max(v.top, r.Revision)
}

// recallData puts the data of v where w says they are.
func (v *service) recallData(w *RevisionMemory) {
	v.data = data{
		of: w.DataOf, back: w.DataBack, restoring: w.Restoring, snapshot: w.Restore, aside: w.Aside, count: w.Restores, untried: w.Untried,
	}
	d := &v.data
	if d.restoring != 0 && d.of == 0 {
		d.of = v.revision // it can be of no other; that was not written by a machine
	}
	if d.restoring == 0 && (v.file.Data == nil || d.of == v.revision || v.find(d.of) == nil) {
		d.of, d.back = 0, false
	}
}
