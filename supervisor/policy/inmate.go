package policy

import (
	"fmt"
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
