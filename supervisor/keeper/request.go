package keeper

import (
	"strings"

	"nines/supervisor/notify"
)

// request is what a child's message asks for. A message is taken as a whole or
// refused as a whole, so it is read completely before anything is done.
type request struct {
	ready, stopping bool
	watchdog        bool
	status          string
	hasStatus       bool
	put, remove     bool           // what is to be done with names
	relog           bool           // names, all of log pipes, are to get these settings
	names           []entry        // with put: one for each descriptor, in order
	values          []notify.Field // Key and Value as the store has them
	end             int            // -1: not said
	upgrade         upgradeRequest // with one or two descriptors
	reexec          string         // the path of a keeper, with one descriptor
}

type entry struct {
	name, settings string
	log            bool
}

// read reads a message that came with n descriptors. Keys that it does not know
// are skipped, as sd_notify demands. The slices of r are used again; what they
// hold is part of the message.
func (r *request) read(m notify.Message, n int) error {
	*r = request{end: -1, names: r.names[:0], values: r.values[:0]}
	for i, f := range m {
		switch f.Key {
		case notify.KeyReady:
			r.ready = r.ready || f.Value == "1"
		case notify.KeyStopping:
			r.stopping = r.stopping || f.Value == "1"
		case notify.KeyWatchdog:
			r.watchdog = r.watchdog || f.Value == "1"
		case notify.KeyStatus:
			r.status, r.hasStatus = f.Value, true
		case notify.KeyFDStore:
			r.put = r.put || f.Value == "1"
		case notify.KeyFDStoreRemove:
			r.remove = r.remove || f.Value == "1"
		case notify.KeyFDName:
			if !goodName(f.Value, maxName) {
				return refusal("its FDNAME is empty, longer than 255 bytes or not printable ASCII")
			}
			r.names = append(r.names, entry{name: f.Value})
		case notify.KeyLog:
			if i == 0 || m[i-1].Key != notify.KeyFDName {
				return refusal("its X_NINES_LOG does not follow an FDNAME")
			}
			if len(f.Value) > maxSettings {
				return refusal("its X_NINES_LOG is longer than 16 KiB")
			}
			last := &r.names[len(r.names)-1]
			last.settings, last.log = f.Value, true
		case notify.KeyValue:
			key, value, _ := notify.SplitValue(f.Value)
			if !goodName(key, maxKey) {
				return refusal("the key of its X_NINES_VALUE is empty, longer than 256 bytes or not printable ASCII")
			}
			if len(value) > maxValue {
				return refusal("value " + key + " is longer than 4 KiB")
			}
			r.values = append(r.values, notify.Field{Key: key, Value: value})
		case notify.KeyEnd:
			code, ok := notify.ParseEnd(f.Value)
			if !ok {
				return refusal("its X_NINES_END is no exit code")
			}
			r.end = code
		case notify.KeyUpgrade:
			u, ok := parseUpgrade(f.Value)
			if !ok {
				return refusal("its X_NINES_UPGRADE is not two times in milliseconds and an absolute path")
			}
			r.upgrade = u
		case notify.KeyReexec:
			if len(f.Value) < 2 || f.Value[0] != '/' {
				return refusal("its X_NINES_REEXEC is no absolute path")
			}
			r.reexec = f.Value
		}
	}
	switch {
	case r.put && r.remove:
		return refusal("it has both FDSTORE=1 and FDSTOREREMOVE=1")
	case r.put && len(r.names) != n:
		return refusal("it does not have one FDNAME for each descriptor")
	case r.upgrade.path != "" && (r.reexec != "" || r.put || n < 1 || n > 2):
		return refusal("its X_NINES_UPGRADE does not stand alone with one or two descriptors")
	case r.reexec != "" && (r.put || n != 1):
		return refusal("its X_NINES_REEXEC does not stand alone with one descriptor")
	case !r.put && n > 0 && r.upgrade.path == "" && r.reexec == "":
		return refusal("it has descriptors and no FDSTORE=1")
	case !r.put && !r.remove:
		for _, e := range r.names {
			if r.relog = e.log; !e.log {
				return refusal("it has FDNAME without FDSTORE=1, FDSTOREREMOVE=1 or X_NINES_LOG")
			}
		}
	}
	return nil
}

// goodName keeps names fit for one line, one space-separated word, and a log.
func goodName(s string, limit int) bool {
	return s != "" && len(s) <= limit &&
		strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}
