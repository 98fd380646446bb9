package keeper

import (
	"strings"

	"nines/supervisor/notify"
)

// request is what a child's message asks for. A message is taken as a whole or
// refused as a whole, so it is read completely before anything is done.
type request struct {
	ready, stopping bool
	status          string
	hasStatus       bool
	put             []entry        // one for each descriptor, in order
	remove          []string       // names
	values          []notify.Field // Key and Value as the store has them
	end             int            // -1: not said
}

type entry struct {
	name, settings string
	log            bool
}

// parseRequest reads a message that came with n descriptors. Keys that it does
// not know are skipped, as sd_notify demands.
func parseRequest(m notify.Message, n int) (request, error) {
	r := request{end: -1}
	var fdstore, fdremove bool
	var names []entry
	for i, f := range m {
		switch f.Key {
		case notify.KeyReady:
			r.ready = r.ready || f.Value == "1"
		case notify.KeyStopping:
			r.stopping = r.stopping || f.Value == "1"
		case notify.KeyStatus:
			r.status, r.hasStatus = f.Value, true
		case notify.KeyFDStore:
			fdstore = fdstore || f.Value == "1"
		case notify.KeyFDStoreRemove:
			fdremove = fdremove || f.Value == "1"
		case notify.KeyFDName:
			if !goodName(f.Value, maxName) {
				return r, refusal("its FDNAME is empty, longer than 255 bytes or not printable ASCII")
			}
			names = append(names, entry{name: f.Value})
		case notify.KeyLog:
			if i == 0 || m[i-1].Key != notify.KeyFDName {
				return r, refusal("its X_NINES_LOG does not follow an FDNAME")
			}
			if len(f.Value) > maxSettings {
				return r, refusal("its X_NINES_LOG is longer than 16 KiB")
			}
			last := &names[len(names)-1]
			last.settings, last.log = f.Value, true
		case notify.KeyValue:
			key, value, _ := notify.SplitValue(f.Value)
			if !goodName(key, maxKey) {
				return r, refusal("the key of its X_NINES_VALUE is empty, longer than 256 bytes or not printable ASCII")
			}
			if len(value) > maxValue {
				return r, refusal("value " + key + " is longer than 4 KiB")
			}
			r.values = append(r.values, notify.Field{Key: key, Value: value})
		case notify.KeyEnd:
			code, ok := notify.ParseEnd(f.Value)
			if !ok {
				return r, refusal("its X_NINES_END is no exit code")
			}
			r.end = code
		}
	}
	switch {
	case fdstore && fdremove:
		return r, refusal("it has both FDSTORE=1 and FDSTOREREMOVE=1")
	case fdstore && len(names) != n:
		return r, refusal("it does not have one FDNAME for each descriptor")
	case !fdstore && n > 0:
		return r, refusal("it has descriptors and no FDSTORE=1")
	case !fdstore && !fdremove && len(names) > 0:
		return r, refusal("it has FDNAME without FDSTORE=1 or FDSTOREREMOVE=1")
	case fdstore:
		r.put = names
	case fdremove:
		for _, e := range names {
			r.remove = append(r.remove, e.name)
		}
	}
	return r, nil
}

// goodName keeps names fit for one line, one space-separated word, and a log.
func goodName(s string, limit int) bool {
	return s != "" && len(s) <= limit &&
		strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}
