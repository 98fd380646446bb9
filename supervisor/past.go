package supervisor

import (
	"fmt"
	"strconv"
	"strings"

	"nines/supervisor/notify"
	"nines/supervisor/policy"
)

// The keys of the values that the keeper holds for the next supervisor:
//
//	slot:web/0  what must be remembered of the slot: policy.SlotMemory
//	inc:web     the last incarnation number that instances which are no more used
//	stop:web    or stop:web/0: stopped by a person
//	start:web   started by a person although the spec says enabled = false
//	scale:web   instances set by a person
//	shutdown    "EXIT DEADLINE": one is in progress, to end by DEADLINE on
//	            CLOCK_MONOTONIC in nanoseconds
const (
	keySlot        = "slot:"
	keyIncarnation = "inc:"
	keyStopped     = "stop:"
	keyStarted     = "start:"
	keyScale       = "scale:"
	keyShutdown    = "shutdown"
)

// encode turns records into messages for the keeper, as few as fit.
func (s *Supervisor) encode(records []policy.Record) [][]byte {
	var msgs [][]byte
	var b []byte
	for i := range records {
		r := &records[i]
		var key, value string
		switch r.Kind {
		case policy.RecordSlot:
			key, value = keySlot+r.ID, string(r.Append(nil))
		case policy.RecordIncarnations:
			key, value = keyIncarnation+r.ID, strconv.FormatInt(r.Value, 10)
		case policy.RecordStopped:
			key, value = keyStopped+r.ID, yes(r.Value)
		case policy.RecordStarted:
			key, value = keyStarted+r.ID, yes(r.Value)
		case policy.RecordScale:
			key, value = keyScale+r.ID, strconv.FormatInt(r.Value, 10)
		case policy.RecordShutdown:
			key, value = keyShutdown, fmt.Sprintf("%d %d", r.Value, r.Deadline)
		}
		line := notify.KeyValue + "=" + key + " " + value + "\n"
		if len(b)+len(line) > notify.MaxMessage {
			msgs, b = append(msgs, b), nil
		}
		b = append(b, line...)
	}
	if len(b) > 0 {
		msgs = append(msgs, b)
	}
	return msgs
}

// yes is the value of what is so, and nothing, which deletes it, of what is not.
func yes(v int64) string {
	if v != 0 {
		return "1"
	}
	return ""
}

// ReadPast makes a Past of the values that the keeper handed back. A value that
// this version does not understand is an error that names it; the rest is used.
func ReadPast(values map[string]string) (policy.Past, error) {
	p := policy.Past{
		Slots: map[string]policy.SlotMemory{}, Incarnations: map[string]uint64{},
		Stopped: map[string]bool{}, Started: map[string]bool{}, Scale: map[string]int{},
	}
	var bad []string
	for key, value := range values {
		ok := true
		switch {
		case strings.HasPrefix(key, keySlot):
			w, err := policy.ParseSlotMemory(value)
			if ok = err == nil; ok {
				// Whatever lives is ended before anything is started (endLeftovers), so
				// that of what is remembered only the number counts.
				p.Slots[key[len(keySlot):]] = policy.SlotMemory{Phase: "down", Incarnation: w.Incarnation, First: true}
			}
		case strings.HasPrefix(key, keyIncarnation):
			n, err := strconv.ParseUint(value, 10, 64)
			p.Incarnations[key[len(keyIncarnation):]], ok = n, err == nil
		case strings.HasPrefix(key, keyStopped):
			p.Stopped[key[len(keyStopped):]] = true
		case strings.HasPrefix(key, keyStarted):
			p.Started[key[len(keyStarted):]] = true
		case strings.HasPrefix(key, keyScale):
			n, err := strconv.Atoi(value)
			if ok = err == nil && n >= 0; ok {
				p.Scale[key[len(keyScale):]] = n
			}
		case key == keyShutdown:
			sd, err := parseShutdown(value)
			if ok = err == nil; ok {
				p.Shutdown = sd
			}
		default:
			ok = false
		}
		if !ok {
			bad = append(bad, key+"="+value)
		}
	}
	if len(bad) > 0 {
		return p, fmt.Errorf("cannot use what an earlier supervisor left: %s", strings.Join(bad, ", "))
	}
	return p, nil
}

func parseShutdown(value string) (*policy.Shutdown, error) {
	code, deadline, ok := strings.Cut(value, " ")
	c, err1 := strconv.Atoi(code)
	d, err2 := strconv.ParseInt(deadline, 10, 64)
	if !ok || err1 != nil || err2 != nil {
		return nil, fmt.Errorf("malformed shutdown value %q", value)
	}
	return &policy.Shutdown{Code: c, Deadline: policy.Time(d), Cause: "the shutdown that the supervisor before this one had begun"}, nil
}
