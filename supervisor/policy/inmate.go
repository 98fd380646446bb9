package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Frozen answers Freeze: every process of the incarnation stands still, and holds
// so much memory, in bytes. From then on the driver hears of it as of any other,
// by its Ref: Exited and Emptied tell its end.
type Frozen struct {
	Ref
	Memory uint64
}

// FreezeFailed answers Freeze: it runs as before, and is not frozen later.
type FreezeFailed struct {
	Ref
	Cause string
}

// Thawed answers Thaw; Cause says why it could not be, and then it is frozen
// still. "": it runs.
type Thawed struct {
	Ref
	Cause string
}

// Inmate is what a person wants of an instance in quarantine: that it is killed,
// or, with Resume, that it runs on outside its slot. It is answered as a Command.
type Inmate struct {
	Request Request
	ID      string // "web/0.17"
	Resume  bool
	By      string
}

func (Frozen) event()       {}
func (FreezeFailed) event() {}
func (Thawed) event()       {}
func (Inmate) event()       {}

// InmateState is the state of an instance in quarantine, as in the API.
type InmateState string

// The states of an instance in quarantine.
const (
	IsFrozen InmateState = "frozen"
	Resumed  InmateState = "resumed" // a person let it run on
	Ending   InmateState = "ending"
)

// InmateView is an instance in quarantine as it is now.
type InmateView struct {
	ID       string // "web/0.17"
	Service  string
	Instance string // "web/0"
	Ref      Ref
	PID      int // 0: its main process has ended
	Start    uint64
	Since    Time
	Expires  Time // when it is killed; the end of time: not by age
	Why      string
	Memory   uint64 // when it was frozen, in bytes
	State    InmateState
}

// InmateMemory is what a next supervisor must know of an instance in quarantine.
type InmateMemory struct {
	Incarnation uint64
	PID         int
	Start       uint64
	Since       Time
	Expires     Time
	Memory      uint64
	Resumed     bool
	Exited      bool
	Ending      bool
	Why         string
}

func (w *InmateMemory) flags() [3]*bool { return [...]*bool{&w.Resumed, &w.Exited, &w.Ending} }

const inmateLetters = "rxe"

func (f *inmate) remember() InmateMemory {
	return InmateMemory{
		Incarnation: f.ref.Incarnation, PID: f.pid, Start: f.start, Since: f.since, Expires: f.expires, Memory: f.memory,
		Resumed: f.resumed, Exited: f.exited, Ending: f.ending, Why: f.why,
	}
}

func (m *Machine) saveInmate(f *inmate) {
	m.record(Record{Kind: RecordInmate, Ref: f.ref, ID: f.id(), Value: 1, inmate: f})
}

// Append appends w as one line of text, as SlotMemory.Append does:
//
//	1 17 pid=4242 start=88123 since=1730 until=3601730 mem=1048576 is=r cause=check "alive": no answer
func (w *InmateMemory) Append(dst []byte) []byte {
	dst = append(dst, memoryVersion...)
	dst = strconv.AppendUint(append(dst, ' '), w.Incarnation, 10)
	dst = appendInt(dst, "pid", int64(w.PID))
	if w.Start != 0 {
		dst = strconv.AppendUint(append(dst, " start="...), w.Start, 10)
	}
	dst = appendInt(dst, "since", int64(w.Since))
	if w.Expires != never {
		dst = strconv.AppendInt(append(dst, " until="...), int64(w.Expires), 10)
	}
	if w.Memory != 0 {
		dst = strconv.AppendUint(append(dst, " mem="...), w.Memory, 10)
	}
	first := true
	for i, f := range w.flags() {
		if *f {
			if first {
				dst, first = append(dst, " is="...), false
			}
			dst = append(dst, inmateLetters[i])
		}
	}
	if w.Why != "" {
		dst = appendLine(append(dst, " cause="...), w.Why)
	}
	return dst
}

// ParseInmateMemory reads what Append wrote.
func ParseInmateMemory(text string) (InmateMemory, error) {
	w := InmateMemory{Expires: never}
	bad := func(what string) (InmateMemory, error) {
		return InmateMemory{}, fmt.Errorf("cannot read the memory of an instance in quarantine: %.40q", what)
	}
	version, rest, _ := strings.Cut(text, " ")
	number, rest, _ := strings.Cut(rest, " ")
	n, err := strconv.ParseUint(number, 10, 62)
	if version != memoryVersion || err != nil || n == 0 || len(text) > MaxMemory {
		return bad(text)
	}
	w.Incarnation = n
	for rest != "" {
		var field string
		if strings.HasPrefix(rest, "cause=") {
			field, rest = rest, ""
		} else {
			field, rest, _ = strings.Cut(rest, " ")
		}
		key, value, _ := strings.Cut(field, "=")
		switch key {
		case "pid":
			w.PID, err = parseCount(value)
		case "start":
			w.Start, err = strconv.ParseUint(value, 10, 64)
		case "since":
			w.Since, err = parseTime(value)
		case "until":
			w.Expires, err = parseTime(value)
		case "mem":
			w.Memory, err = strconv.ParseUint(value, 10, 64)
		case "is":
			err = setFlags(value, inmateLetters, func(i int) { *w.flags()[i] = true })
		case "cause":
			if w.Why = string(appendLine(nil, value)); w.Why != value {
				err = errMemory
			}
		default:
			err = errMemory
		}
		if err != nil {
			return bad(field)
		}
	}
	return w, nil
}

// Detains says whether this incarnation is in quarantine.
func (m *Machine) Detains(ref Ref) bool {
	return ref.Slot >= 0 && int(ref.Slot) < len(m.slots) && m.slots[ref.Slot].inmate(ref) != nil
}

// inmateAsked carries out what a person wants of one.
func (m *Machine) inmateAsked(e Inmate) {
	verb := "kill "
	if e.Resume {
		verb = "resume "
	}
	i := slices.IndexFunc(m.quarantine, func(f *inmate) bool { return f.id() == e.ID })
	if i < 0 {
		m.refuse(e.Request, NoSuchInstance, "cannot "+verb+e.ID+": there is no such instance in quarantine", "nines quarantine lists them")
		return
	}
	f := m.quarantine[i]
	switch {
	case e.Resume && f.ending:
		m.refuse(e.Request, Conflict, "cannot resume "+e.ID+": it is being ended", "")
	case e.Resume && f.resumed:
		m.refuse(e.Request, Conflict, "cannot resume "+e.ID+": it runs already", "nines quarantine kill "+e.ID+" ends it")
	case e.Resume:
		m.then(Action{Kind: ActAccepted, Request: e.Request})
		if f.thawing = append(f.thawing, e.Request); len(f.thawing) == 1 {
			m.act(Action{Kind: ActThaw, Ref: f.ref})
			f.at = m.now.Add(FreezePatience)
			m.armInmates(f.slot)
		}
	default:
		m.then(Action{Kind: ActAccepted, Request: e.Request})
		f.requests = append(f.requests, e.Request)
		if f.ending {
			m.act(Action{Kind: ActKill, Ref: f.ref}) // it is answered by f.at
		}
		m.endInmate(f, Reason{kind: whyStopped, name: e.By})
	}
}

// restoreInmates puts back who was in quarantine. What the specification has no
// place for is forgotten here; what lives of it the driver ends as a leftover.
func (m *Machine) restoreInmates() {
	for id, w := range m.past.Inmates {
		s := m.inmateSlot(id)
		n := w.Incarnation
		if s == nil || n == 0 || s.phase.lives() && s.ref.Incarnation == n {
			// In the last case it was recorded that it stands still, and not yet that
			// its slot is free: it is still the slot's, which asks again.
			continue
		}
		s.ref.Incarnation = max(s.ref.Incarnation, n)
		f := &inmate{
			slot: s, ref: Ref{Slot: s.id, Incarnation: n}, pid: w.PID, start: w.Start,
			since: min(w.Since, m.now), expires: w.Expires, why: w.Why, memory: w.Memory, resumed: w.Resumed, exited: w.Exited, at: never,
		}
		m.quarantine = append(m.quarantine, f)
		if w.Ending {
			f.ending, f.ended = true, Reason{kind: whyWasEnding}
			f.at = m.now.Add(m.cfg.KillPatience)
			if m.down.on { // whose bound does not move, however often a supervisor dies
				f.at = min(f.at, m.down.deadline.Add(m.cfg.KillPatience))
			}
		}
	}
	slices.SortFunc(m.quarantine, func(a, b *inmate) int {
		if a.since != b.since {
			return int(max(-1, min(1, a.since-b.since)))
		}
		return strings.Compare(a.id(), b.id())
	})
	var forgotten []string
	for id := range m.past.Inmates {
		if !slices.ContainsFunc(m.quarantine, func(f *inmate) bool { return f.id() == id }) {
			forgotten = append(forgotten, id)
		}
	}
	slices.Sort(forgotten)
	for _, id := range forgotten {
		m.record(Record{Kind: RecordInmate, Ref: Ref{Slot: NoSlot}, ID: id})
	}
	for _, f := range m.quarantine {
		f.slot.inmates = append(f.slot.inmates, f)
		if f.ending {
			m.act(Action{Kind: ActKill, Ref: f.ref})
		}
		m.armInmates(f.slot)
	}
	for _, f := range slices.Clone(m.quarantine) {
		m.boundQuarantine(f.slot.svc)
		m.touch(f.slot)
		m.reconsider(f.slot)
	}
	m.past.Inmates = nil
}

// inmateSlot is the slot that the id of an inmate names, or nil.
func (m *Machine) inmateSlot(id string) *slot {
	at := strings.LastIndexByte(id, '.')
	if at < 0 {
		return nil
	}
	v, index := m.place(id[:at])
	if v == nil || index >= len(v.slots) || id != v.slots[index].name+"."+strconv.FormatUint(m.past.Inmates[id].Incarnation, 10) {
		return nil
	}
	return v.slots[index]
}

// viewInmates is the quarantine in the words of the API, the oldest first.
func (m *Machine) viewInmates() []InmateView {
	if len(m.quarantine) == 0 {
		return nil
	}
	list := make([]InmateView, len(m.quarantine))
	for i, f := range m.quarantine {
		list[i] = InmateView{
			ID: f.id(), Service: f.slot.svc.spec.Name, Instance: f.slot.name, Ref: f.ref, PID: f.pid, Start: f.start,
			Since: f.since, Expires: f.expires, Why: f.why, Memory: f.memory, State: IsFrozen,
		}
		switch {
		case f.ending:
			list[i].State = Ending
		case f.resumed:
			list[i].State = Resumed
		}
		if f.exited {
			list[i].PID, list[i].Start = 0, 0
		}
	}
	return list
}
