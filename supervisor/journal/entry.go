package journal

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"
	"unicode/utf8"

	"nines/supervisor/policy"
)

// Entry is one event.
type Entry struct {
	Seq      uint64    // set by Append
	Time     time.Time // wall clock: a label, nothing is decided by it
	Kind     policy.Kind
	Service  string
	Instance string // id: "web/0"; "": about the service or the supervisor
	Revision int
	PID      int // 0: none
	Reason   policy.Reason
	Text     string // instead of Reason, where policy had no part in it

	fields map[string]string // of one that was read from disk
}

// Message is what happened in plain words.
func (e Entry) Message() string {
	if e.Text != "" {
		return e.Text
	}
	return e.Reason.String()
}

// Fields is what of it a program may want, as in the API; never nil.
func (e Entry) Fields() map[string]string {
	f := maps.Clone(e.fields)
	if f == nil {
		f = e.Reason.Fields()
	}
	if f == nil {
		f = map[string]string{}
	}
	if e.PID != 0 {
		f["pid"] = strconv.Itoa(e.PID)
	}
	return f
}

// WithField is e with one more of Fields.
func (e Entry) WithField(name, value string) Entry {
	e.fields = e.Fields()
	e.fields[name] = value
	return e
}

// On disk the key of an entry is its number, 8 bytes big-endian; its value is
//
//	1 byte   format, 1
//	8 bytes  time, nanoseconds since 1970, big-endian: a search need not read more
//	rest     diskEntry as JSON
//
// The words are those of the version that wrote it: what a Reason means may
// change, what was said does not.
const (
	entryFormat = 1
	entryHeader = 1 + 8
	// What a service or the kernel says goes into a message: bounded here.
	maxMessage = 8 << 10
	maxField   = 1 << 10
	maxFields  = 64
)

type diskEntry struct {
	Kind     string            `json:"kind,omitempty"`
	Service  string            `json:"service,omitempty"`
	Instance string            `json:"instance,omitempty"`
	Revision int               `json:"revision,omitempty"`
	PID      int               `json:"pid,omitempty"`
	Message  string            `json:"message,omitempty"`
	Fields   map[string]string `json:"fields,omitempty"`
}

func entryKey(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }

// encode makes the value of an entry.
func encode(e *Entry) ([]byte, error) {
	d := diskEntry{
		Kind: string(e.Kind), Service: e.Service, Instance: e.Instance, Revision: e.Revision, PID: e.PID,
		Message: clip(e.Message(), maxMessage), Fields: e.fields,
	}
	if d.Fields == nil {
		d.Fields = e.Reason.Fields()
	}
	for k, v := range d.Fields {
		d.Fields[k] = clip(v, maxField)
	}
	rest, err := json.Marshal(&d)
	if err != nil {
		return nil, fmt.Errorf("cannot encode event %d: %w", e.Seq, err)
	}
	b := make([]byte, 0, entryHeader+len(rest))
	b = binary.BigEndian.AppendUint64(append(b, entryFormat), uint64(e.Time.UnixNano()))
	return append(b, rest...), nil
}

var errEntry = errors.New("cannot read the event")

// entryTime is the time of an encoded entry.
func entryTime(value []byte) (time.Time, error) {
	if len(value) < entryHeader || value[0] != entryFormat {
		return time.Time{}, errEntry
	}
	return time.Unix(0, int64(binary.BigEndian.Uint64(value[1:]))), nil
}

// decode reads key and value of an entry; it takes any bytes. The result shares
// nothing with them.
func decode(key, value []byte) (Entry, error) {
	at, err := entryTime(value)
	if err != nil {
		return Entry{}, err
	}
	if len(key) != 8 {
		return Entry{}, fmt.Errorf("%w: its number has %d bytes", errEntry, len(key))
	}
	var d diskEntry
	if err := json.Unmarshal(value[entryHeader:], &d); err != nil {
		return Entry{}, fmt.Errorf("%w: %w", errEntry, err)
	}
	if len(d.Fields) > maxFields {
		return Entry{}, fmt.Errorf("%w: it has %d fields", errEntry, len(d.Fields))
	}
	if d.Fields == nil {
		d.Fields = map[string]string{}
	}
	return Entry{
		Seq: binary.BigEndian.Uint64(key), Time: at, Kind: policy.Kind(d.Kind), Service: d.Service, Instance: d.Instance,
		Revision: d.Revision, PID: d.PID, Text: clip(d.Message, maxMessage), fields: d.Fields,
	}, nil
}

// clip keeps a string at most n bytes long, whole runes, and says that it did.
func clip(s string, n int) string {
	const more = "…"
	if len(s) <= n {
		return s
	}
	cut := n - len(more)
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + more
}
