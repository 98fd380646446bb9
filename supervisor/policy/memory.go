package policy

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// SlotMemory is all that a next supervisor must know of a slot so that it goes
// on as if nothing had happened. The machine hands it out with every RecordSlot
// and takes it back in Past.Slots. Times are on CLOCK_MONOTONIC: they hold for
// as long as the machine has not been booted again.
type SlotMemory struct {
	// Phase is where the slot is: down, backoff, completed, failed; or, where
	// something of it lives or may: spawning (Spawn was not answered), starting,
	// ready, stopping, killing, clearing (the main process has ended, what it
	// left behind is killed), stuck. The words are stable.
	Phase       string
	Incarnation uint64 // the last one used; at least 1
	Revision    int    // that this one was started with; 0 is 1
	Target      int    // that the next one is started with; 0: the same
	Candidate   bool   // of what is beside its place (ID ends with "+"): it is to take it

	// Of an incarnation that lives.
	PID                int
	Start              uint64 // the driver's: see Spawned
	StartedAt, ReadyAt Time
	Deadline           Time   // of spawning, stopping, killing and clearing, and of starting where it asked for more time; the end of time: none
	End                string // why it is being ended: "" (it is not), stop, timeout, check, memory, self
	Hook               bool   // stopping: the stop command had not been answered
	Answered           bool   // Spawn was
	Early              bool   // spawning: it has said that it is ready
	WasReady           bool
	Exited             bool // the main process ended, and was judged

	// What comes next: in clearing and stuck a phase in which nothing lives.
	Next        string
	NextStartAt Time // of backoff, now or next

	// Memory of failures; see retry.
	First        bool // not up yet since a boot or a person's start
	Held         bool
	Auto         bool // the next start counts as an automatic one
	Streak       int
	Base, Spread float64
	FailedStarts int
	Again        time.Duration // the last delay after a passing failure of the machine
	Ends         []Time        // of unrequested ends, the oldest first; the newest MaxEnds
	Restarts     int

	// Turn: an automatic act took it down, and its replacement is awaited: planned,
	// act; faltered: the replacement of a planned one has ended.
	Turn string

	LastExit LastExit
	Cause    string // where the last end was that there was no process, or by a judgement: why
	Why      string // backoff: "" or again; failed: never, untold, loop, starts, fatal
}

// MaxMemory is how long the text of a SlotMemory is at most. MaxEnds is how many
// ends it carries: of a longer window (crash_loop.failures) the oldest are
// forgotten with the supervisor.
const (
	MaxMemory = 2048
	MaxEnds   = 64

	memoryVersion = "1"
	maxCause      = 160
	maxWord       = 24
)

// Lives says whether something of the slot lives, or may.
func (w *SlotMemory) Lives() bool { return phaseNamed(w.Phase).lives() }

// phaseNamed is the phase of that name; phaseDown where there is none.
func phaseNamed(name string) phase {
	for p := range numPhases {
		if p.String() == name {
			return p
		}
	}
	return phaseDown
}

// flags are the letters of the booleans in the text, in their order.
func (w *SlotMemory) flags() [9]*bool {
	return [...]*bool{&w.Answered, &w.Early, &w.WasReady, &w.Exited, &w.Hook, &w.First, &w.Held, &w.Auto, &w.Candidate}
}

const flagLetters = "aewxkfhuc"

// Append appends w as one line of text without its end: the version, the phase,
// the incarnation, then key=value of what is not zero. cause is last and runs to
// the end.
//
//	1 ready 17 pid=4242 start=88123 at=1730 ready=1731 is=aw streak=2 base=2e+08 …
func (w *SlotMemory) Append(dst []byte) []byte {
	dst = append(dst, memoryVersion...)
	dst = append(append(dst, ' '), w.Phase...)
	dst = strconv.AppendUint(append(dst, ' '), w.Incarnation, 10)
	if w.Revision > 1 {
		dst = appendInt(dst, "rev", int64(w.Revision))
	}
	dst = appendInt(dst, "to", int64(w.Target))
	dst = appendInt(dst, "pid", int64(w.PID))
	if w.Start != 0 {
		dst = strconv.AppendUint(append(dst, " start="...), w.Start, 10)
	}
	dst = appendInt(dst, "at", int64(w.StartedAt))
	dst = appendInt(dst, "ready", int64(w.ReadyAt))
	if w.Deadline != never {
		dst = strconv.AppendInt(append(dst, " by="...), int64(w.Deadline), 10)
	}
	dst = appendWord(dst, "end", w.End)
	dst = appendWord(dst, "next", w.Next)
	dst = appendWord(dst, "turn", w.Turn)
	dst = appendInt(dst, "nextat", int64(w.NextStartAt))
	first := true
	for i, f := range w.flags() {
		if *f {
			if first {
				dst, first = append(dst, " is="...), false
			}
			dst = append(dst, flagLetters[i])
		}
	}
	dst = appendInt(dst, "streak", int64(w.Streak))
	dst = appendFloat(dst, "base", w.Base)
	dst = appendFloat(dst, "spread", w.Spread)
	dst = appendInt(dst, "failed", int64(w.FailedStarts))
	dst = appendInt(dst, "again", int64(w.Again))
	dst = appendInt(dst, "restarts", int64(w.Restarts))
	last := Time(0)
	for i, at := range w.Ends[max(0, len(w.Ends)-MaxEnds):] {
		if i == 0 {
			dst = append(dst, " ends="...)
		} else {
			dst = append(dst, ',')
		}
		dst = strconv.AppendInt(dst, int64(at-last), 10) // the first as it is, each other since the one before
		last = at
	}
	if e := &w.LastExit; e.Reason != ExitNone {
		dst = appendWord(dst, "exit", string(e.Reason))
		dst = strconv.AppendInt(append(dst, ':'), int64(e.Status.Code), 10)
		dst = append(append(dst, ':'), word(e.Status.Signal)...)
		dst = append(dst, ':')
		for i, f := range e.Status.flags() {
			if *f {
				dst = append(dst, statusLetters[i])
			}
		}
		dst = appendInt(dst, "exitat", int64(e.At))
	}
	dst = appendWord(dst, "why", w.Why)
	if w.Cause != "" {
		dst = appendLine(append(dst, " cause="...), w.Cause)
	}
	return dst
}

func (s *Status) flags() [3]*bool { return [...]*bool{&s.Core, &s.OOM, &s.Unknown} }

const statusLetters = "cou"

func appendInt(dst []byte, key string, n int64) []byte {
	if n == 0 {
		return dst
	}
	dst = append(append(append(dst, ' '), key...), '=')
	return strconv.AppendInt(dst, n, 10)
}

func appendFloat(dst []byte, key string, f float64) []byte {
	if f == 0 {
		return dst
	}
	dst = append(append(append(dst, ' '), key...), '=')
	return strconv.AppendFloat(dst, f, 'g', -1, 64)
}

func appendWord(dst []byte, key, value string) []byte {
	if value = word(value); value == "" {
		return dst
	}
	dst = append(append(append(dst, ' '), key...), '=')
	return append(dst, value...)
}

// word is s if it is one word of the text, and else nothing.
func word(s string) string {
	if len(s) > maxWord {
		return ""
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == ':' {
			return ""
		}
	}
	return s
}

// appendLine appends as much of a cause as is kept, on one line.
func appendLine(dst []byte, s string) []byte {
	n := len(dst)
	for _, r := range s {
		switch {
		case r == utf8.RuneError:
			r = '?'
		case r < ' ' || r == 0x7f || r == 0x2028 || r == 0x2029 || 0x80 <= r && r < 0xa0:
			r = ' '
		}
		if len(dst)-n+utf8.RuneLen(r) > maxCause {
			break
		}
		dst = utf8.AppendRune(dst, r)
	}
	return dst
}

var errMemory = errors.New("malformed")

// ParseSlotMemory reads what Append wrote. An error says that this version of
// the machine cannot know what became of the slot.
func ParseSlotMemory(text string) (SlotMemory, error) {
	w := SlotMemory{Deadline: never}
	if len(text) > MaxMemory {
		return SlotMemory{}, fmt.Errorf("cannot read the memory of an instance: %d bytes are more than %d", len(text), MaxMemory)
	}
	version, rest, _ := strings.Cut(text, " ")
	if version != memoryVersion {
		return SlotMemory{}, fmt.Errorf("cannot read the memory of an instance: version %.20q is not %s: another nines wrote it", version, memoryVersion)
	}
	var inc string
	w.Phase, rest, _ = strings.Cut(rest, " ")
	inc, rest, _ = strings.Cut(rest, " ")
	p := phaseNamed(w.Phase)
	w.Phase = p.String() // not a piece of text
	n, err := strconv.ParseUint(inc, 10, 62)
	if err != nil || n == 0 || !strings.HasPrefix(text[len(version)+1:], w.Phase+" ") {
		return SlotMemory{}, fmt.Errorf("cannot read the memory of an instance: %.40q has no phase and incarnation", text)
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
		if err := w.set(key, value); err != nil {
			return SlotMemory{}, fmt.Errorf("cannot read the memory of an instance: %.40q is %w", field, err)
		}
	}
	return w, nil
}

// set takes one field of the text.
func (w *SlotMemory) set(key, value string) (err error) {
	switch key {
	case "rev":
		w.Revision, err = parseCount(value)
	case "to":
		w.Target, err = parseCount(value)
	case "pid":
		w.PID, err = parseCount(value)
	case "start":
		w.Start, err = strconv.ParseUint(value, 10, 64)
	case "at":
		w.StartedAt, err = parseTime(value)
	case "ready":
		w.ReadyAt, err = parseTime(value)
	case "by":
		w.Deadline, err = parseTime(value)
	case "end":
		w.End, err = oneOf(value, "stop", "timeout", "check", "memory", "self")
	case "turn":
		w.Turn, err = oneOf(value, "planned", "act", "faltered")
	case "next":
		w.Next, err = oneOf(value, "down", "backoff", "completed", "failed")
	case "nextat":
		w.NextStartAt, err = parseTime(value)
	case "is":
		err = setFlags(value, flagLetters, func(i int) { *w.flags()[i] = true })
	case "streak":
		w.Streak, err = parseCount(value)
	case "base":
		w.Base, err = parseFloat(value)
	case "spread":
		w.Spread, err = parseFloat(value)
	case "failed":
		w.FailedStarts, err = parseCount(value)
	case "again":
		var t Time
		t, err = parseTime(value)
		w.Again = time.Duration(t)
	case "restarts":
		w.Restarts, err = parseCount(value)
	case "ends":
		err = w.setEnds(value)
	case "exit":
		err = w.LastExit.set(value)
	case "exitat":
		w.LastExit.At, err = parseTime(value)
	case "why":
		w.Why, err = oneOf(value, "again", "never", "untold", "loop", "starts", "fatal")
	case "cause":
		if w.Cause = string(appendLine(nil, value)); w.Cause != value {
			err = errMemory
		}
	case "":
		err = errMemory
	default:
		// Of a newer version. One that may not be passed over comes with another
		// memoryVersion.
	}
	return err
}

func (w *SlotMemory) setEnds(value string) error {
	at := Time(0)
	for n := range strings.SplitSeq(value, ",") {
		since, err := parseTime(n)
		if err != nil || at+since < at || len(w.Ends) == MaxEnds {
			return errMemory
		}
		at += since
		w.Ends = append(w.Ends, at)
	}
	return nil
}

// set reads reason:code:signal:flags.
func (e *LastExit) set(value string) error {
	f := strings.Split(value, ":")
	if len(f) != 4 || word(f[2]) != f[2] {
		return errMemory
	}
	reason, err := oneOf(f[0], string(ExitExited), string(ExitSignaled), string(ExitOOM), string(ExitStartTimeout),
		string(ExitCheckFailed), string(ExitMemory), string(ExitStop), string(ExitUnknown))
	if err != nil {
		return err
	}
	e.Reason = ExitReason(reason)
	code, err := strconv.Atoi(f[1])
	if err != nil {
		return errMemory
	}
	e.Status.Code, e.Status.Signal = code, strings.Clone(f[2])
	return setFlags(f[3], statusLetters, func(i int) { *e.Status.flags()[i] = true })
}

func setFlags(value, letters string, set func(int)) error {
	for i := range len(value) {
		at := strings.IndexByte(letters, value[i])
		if at < 0 {
			return errMemory
		}
		set(at)
	}
	return nil
}

// oneOf returns the word, which is then not a piece of the text.
func oneOf(value string, words ...string) (string, error) {
	if i := slices.Index(words, value); i >= 0 {
		return words[i], nil
	}
	return "", errMemory
}

func parseCount(s string) (int, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt32 {
		return 0, errMemory
	}
	return int(n), nil
}

func parseTime(s string) (Time, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return 0, errMemory
	}
	return Time(n), nil
}

func parseFloat(s string) (float64, error) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || !(f >= 0) || math.IsInf(f, 0) {
		return 0, errMemory
	}
	return f, nil
}
