package sim

import (
	"time"

	"nines/supervisor/policy"
)

// journal keeps what the driver keeps: records, durable after a while and in
// order, and the actions that wait for them.
type journal struct {
	last    policy.Time // when the newest record becomes durable
	pending []*outbox   // outputs that wait for that, in order
	base    *model      // what the observer knew before the first of them
	ended   *model      // … at the end

	slots   map[string]string // the memory of each, as text
	floors  map[string]uint64
	intents map[policy.Ref]bool // durable
	stopped map[string]bool
	started map[string]bool
	scale   map[string]int
	groups  map[string]int64
	inmates map[string]string
	revs    map[string]string
	applied int // the number of the specification that has begun
	end     *policy.Record
}

// outbox is the driver's copy of an Output.
type outbox struct {
	now, then []policy.Action
	records   []policy.Record
	texts     []string // of records, where they have one
	model     *model   // what the observer knew after the step
}

// accept copies what a step asks for: it belongs to the machine.
func (j *journal) accept(w *world, out *policy.Output) *outbox {
	box := &outbox{}
	if n := len(out.Now) + len(out.Then); n > 0 {
		all := make([]policy.Action, 0, n)
		all = append(append(all, out.Now...), out.Then...)
		box.now, box.then = all[:len(out.Now)], all[len(out.Now):]
	}
	if len(out.Records) > 0 {
		box.records = append(box.records, out.Records...)
		box.texts = make([]string, len(out.Records))
		for i := range out.Records {
			box.texts[i] = string(out.Records[i].Append(nil))
		}
	}
	return box
}

// release makes the records durable after a while, then lets Then leave: in
// the order of the outputs, also where there is no record.
func (j *journal) release(w *world, box *outbox) {
	if len(box.records) == 0 && len(j.pending) == 0 {
		w.durable(box)
		return
	}
	j.pending = append(j.pending, box)
	if w.deaths > 0 {
		box.model = w.check.save()
		if w.check.ended { // a machine that has ended hears nothing any more
			if j.ended == nil {
				j.ended = box.model
			}
			box.model = j.ended
		}
	}
	if len(box.records) == 0 {
		w.q.push(item{at: j.last, kind: itDurable, out: box})
		return
	}
	c := w.chance("journal")
	d := c.spread(stepTime, time.Millisecond)
	if w.late(&c) {
		d = c.spread(time.Millisecond, 3*time.Second)
		w.marks[MarkSlowRecord]++
	}
	j.last = max(w.now.Add(d), j.last)
	w.q.push(item{at: j.last, kind: itDurable, out: box})
}

// durable is the moment at which the records of box are durable.
func (w *world) durable(box *outbox) {
	w.journal.keep(box)
	for i := range box.then {
		if !w.end && w.check.failure == nil {
			w.check.leaves(&box.then[i])
			w.carryOut(&box.then[i])
		}
	}
}

// keep keeps the records of box.
func (j *journal) keep(box *outbox) {
	for i, r := range box.records {
		switch r.Kind {
		case policy.RecordSlot:
			j.intents[r.Ref] = true
			if j.slots[r.ID] = box.texts[i]; r.Value == 0 {
				delete(j.slots, r.ID)
			}
		case policy.RecordIncarnations:
			j.floors[r.ID] = uint64(r.Value)
		case policy.RecordStopped:
			set(j.stopped, r.ID, r.Value != 0)
		case policy.RecordStarted:
			set(j.started, r.ID, r.Value != 0)
		case policy.RecordScale:
			if j.scale[r.ID] = int(r.Value); r.Value < 0 {
				delete(j.scale, r.ID)
			}
		case policy.RecordRevision:
			if j.revs[r.ID] = box.texts[i]; r.Value == 0 {
				delete(j.revs, r.ID)
			}
		case policy.RecordApplied:
			j.applied = int(r.Value)
		case policy.RecordGroup:
			if j.groups[r.ID] = r.Value; r.Value == 0 {
				delete(j.groups, r.ID)
			}
		case policy.RecordInmate:
			if j.inmates[r.ID] = box.texts[i]; r.Value == 0 {
				delete(j.inmates, r.ID)
			}
		case policy.RecordShutdown:
			j.end = &r
		}
	}
}

func set(m map[string]bool, id string, yes bool) {
	if yes {
		m[id] = true
	} else {
		delete(m, id)
	}
}
