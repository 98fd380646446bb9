package supervisor

import (
	"errors"
	"fmt"
	"maps"
	"slices"
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
//	inmate:web/0.17 who is in quarantine: policy.InmateMemory
//	rev:web     its revisions, where it is not at its first: policy.RevisionMemory
//	applied     the number of the specification that runs
//	group:app   where the restart of a group is
//	ports:web/0 "http=8123 admin=8124": free ports that it was given
//	listen:web/http "ID ADDRESS": what the descriptor of that name listens on
//	main:812    start time of the main process with that pid: the keeper keeps its
//	            exit, should it become the keeper's child
//	exit:812    "START STATUS": how it ended; written by whoever reaps it. With
//	            "START STATUS CGROUP" it is of a process that the keeper reaped and
//	            was not told of: perhaps one that had just been cloned
//	sync        sent back by the keeper when all that had ended by then has been
//	            reaped and told
//	cgroups     the folder of our cgroup tree, which the keeper kills if all else
//	            fails
//	logs        "EPOCH SEQ": what was heard of nines-log, see heard
//	upgrade     how the last upgrade of nines itself stands, words separated by
//	            tabs: see Upgrade. The keeper changes its first and adds the last
//	upgrade-told  the number of the last one whose end was told as an event
//	shutdown    "EXIT DEADLINE [ACTION]": one is in progress, to end by DEADLINE on
//	            CLOCK_MONOTONIC in nanoseconds; ACTION becomes of the machine
//	status:web/0.17 what it last said of itself (STATUS)
//	watchdog    the hardware watchdog that the keeper is to pet
const (
	keySlot        = "slot:"
	keyIncarnation = "inc:"
	keyStopped     = "stop:"
	keyStarted     = "start:"
	keyScale       = "scale:"
	keyRevision    = "rev:"
	keyApplied     = "applied"
	keyGroup       = "group:"
	keyInmate      = "inmate:"
	keyShutdown    = "shutdown"
	keyPorts       = "ports:"
	keyListen      = "listen:"
	keyMain        = "main:"
	keyExit        = "exit:"
	keyCgroups     = "cgroups"
	keyWatchdog    = "watchdog"
	keyHeard       = "logs"
	keyUpgrade     = "upgrade"
	keyUpgradeTold = "upgrade-told"
	keySync        = "sync"
)

// Past is what an earlier supervisor left with the keeper.
type Past struct {
	policy.Past
	Exits map[int]exitRecord        // by pid: main processes that ended
	Ports map[string]map[string]int // by instance id: the free ports it was given
	// Sockets is by name in the store: what each listened on, see sockets.record.
	Sockets map[string]string
	// Statuses is what incarnations last said of themselves, by name ("web/0.17").
	Statuses map[string]string
	Applied  uint64 // number of the specification that ran; 0: not known
	Heard    heard
	Upgrade  Upgrade
	// UpgradeTold is the ID of the last one whose end was told.
	UpgradeTold string
}

// OnTrial says that the supervisor which reads this is one that shows whether it
// works. It may end before it is ready: then the last good one goes on.
func (p *Past) OnTrial() bool {
	return p.Upgrade.State == UpgradeTrying && p.Upgrade.What == UpgradeSupervisor
}

// exitRecord is how a main process ended.
type exitRecord struct {
	start uint64 // of the process: a pid alone names nobody
	raw   uint32 // as wait4(2) has it
	// cgroup is that of a process which nobody has told the keeper of, as
	// /proc/PID/cgroup has it.
	cgroup string
}

// endedIn finds, among the exits that nobody had told of, that of the main
// process in the cgroup at path in the file system: of several session leaders,
// the oldest.
func (p *Past) endedIn(path string) (pid int, e exitRecord, ok bool) {
	for id, x := range p.Exits {
		if !isCgroup(path, x.cgroup) {
			continue
		}
		if !ok || x.start < e.start || x.start == e.start && id < pid {
			pid, e, ok = id, x, true
		}
	}
	return pid, e, ok
}

// isCgroup says whether a cgroup, as /proc/PID/cgroup has it, is that at path in the
// file system: the kernel names it from the root of the hierarchy.
func isCgroup(path, cgroup string) bool {
	return cgroup != "" && cgroup != "/" && strings.HasSuffix(path, cgroup)
}

// encode turns records, and values of the loop's own, into messages for the
// keeper, as few as fit.
func encode(records []policy.Record, values []string) [][]byte {
	var msgs [][]byte
	var b []byte
	fields := 0
	add := func(line string) {
		if len(b)+len(line) > notify.MaxMessage || fields == notify.MaxFields {
			msgs, b, fields = append(msgs, b), nil, 0
		}
		b = append(b, line...)
		fields++
	}
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
			key = keyScale + r.ID
			if r.Value >= 0 {
				value = strconv.FormatInt(r.Value, 10)
			}
		case policy.RecordRevision:
			key, value = keyRevision+r.ID, string(r.Append(nil))
		case policy.RecordApplied:
			key, value = keyApplied, strconv.FormatInt(r.Value, 10)
		case policy.RecordInmate:
			key, value = keyInmate+r.ID, ""
			if r.Value != 0 {
				value = string(r.Append(nil))
			}
		case policy.RecordGroup:
			key, value = keyGroup+r.ID, ""
			if r.Value != 0 {
				value = strconv.FormatInt(r.Value, 10)
			}
		case policy.RecordShutdown:
			key, value = keyShutdown, strings.TrimSpace(fmt.Sprintf("%d %d %s", r.Value, r.Deadline, r.Action))
			add(notify.KeyStopping + "=1\n") // also the word to whoever keeps the keeper
		}
		add(notify.KeyValue + "=" + key + " " + value + "\n")
	}
	for _, v := range values {
		add(notify.KeyValue + "=" + v + "\n")
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
func ReadPast(values map[string]string) (Past, error) {
	p := Past{Exits: map[int]exitRecord{}, Ports: map[string]map[string]int{}, Sockets: map[string]string{}, Statuses: map[string]string{}}
	p.Past = policy.Past{
		Slots: map[string]policy.SlotMemory{}, Incarnations: map[string]uint64{},
		Stopped: map[string]bool{}, Started: map[string]bool{}, Scale: map[string]int{},
		Revisions: map[string]policy.RevisionMemory{}, Groups: map[string]int64{},
		Inmates: map[string]policy.InmateMemory{},
	}
	var bad []string
	for key, value := range values {
		ok := true
		switch {
		case strings.HasPrefix(key, keySlot):
			w, err := policy.ParseSlotMemory(value)
			if ok = err == nil; ok {
				p.Slots[key[len(keySlot):]] = w
			}
		case strings.HasPrefix(key, keyInmate):
			w, err := policy.ParseInmateMemory(value)
			if ok = err == nil; ok {
				p.Inmates[key[len(keyInmate):]] = w
			}
		case strings.HasPrefix(key, keyPorts):
			p.Ports[key[len(keyPorts):]], ok = parsePorts(value)
		case strings.HasPrefix(key, keyListen):
			p.Sockets[key] = value
		case strings.HasPrefix(key, keySaid):
			p.Statuses[key[len(keySaid):]] = value
		case strings.HasPrefix(key, keyMain), key == keyCgroups, key == keyWatchdog:
			// For the keeper; the slot knows the pid as well.
		case strings.HasPrefix(key, keyExit):
			pid, e, err := parseExit(key[len(keyExit):], value)
			if ok = err == nil; ok {
				p.Exits[pid] = e
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
		case strings.HasPrefix(key, keyRevision):
			w, err := policy.ParseRevisionMemory(value)
			if ok = err == nil; ok {
				p.Revisions[key[len(keyRevision):]] = w
			}
		case key == keyApplied:
			n, err := strconv.ParseUint(value, 10, 63)
			p.Applied, ok = n, err == nil
		case strings.HasPrefix(key, keyGroup):
			n, err := strconv.ParseInt(value, 10, 64)
			if ok = err == nil; ok {
				p.Groups[key[len(keyGroup):]] = n
			}
		case key == keyHeard:
			p.Heard, ok = parseHeard(value)
		case key == keySync: // a predecessor died while it waited for it
			ok = true
		case key == keyShutdown:
			sd, err := parseShutdown(value)
			if ok = err == nil; ok {
				p.Shutdown = sd
			}
		case key == keyUpgrade:
			p.Upgrade, ok = parseUpgrade(value)
		case key == keyUpgradeTold:
			p.UpgradeTold = value
		default:
			// Of a newer version, which has made way for this one: it stays there.
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

func parseExit(pid, value string) (int, exitRecord, error) {
	start, raw, _ := strings.Cut(value, " ")
	raw, cgroup, _ := strings.Cut(raw, " ")
	p, err1 := strconv.Atoi(pid)
	t, err2 := strconv.ParseUint(start, 10, 64)
	w, err3 := strconv.ParseUint(raw, 10, 32)
	if err := errors.Join(err1, err2, err3); err != nil {
		return 0, exitRecord{}, fmt.Errorf("malformed exit of %q: %w", pid, err)
	}
	return p, exitRecord{t, uint32(w), cgroup}, nil
}

func formatPorts(ports map[string]int) string {
	var words []string
	for _, name := range slices.Sorted(maps.Keys(ports)) {
		words = append(words, name+"="+strconv.Itoa(ports[name]))
	}
	return strings.Join(words, " ")
}

func parsePorts(value string) (map[string]int, bool) {
	ports := map[string]int{}
	for word := range strings.FieldsSeq(value) {
		name, n, ok := strings.Cut(word, "=")
		port, err := strconv.Atoi(n)
		if !ok || err != nil {
			return nil, false
		}
		ports[name] = port
	}
	return ports, true
}

func parseShutdown(value string) (*policy.Shutdown, error) {
	code, rest, ok := strings.Cut(value, " ")
	deadline, action, _ := strings.Cut(rest, " ")
	c, err1 := strconv.Atoi(code)
	d, err2 := strconv.ParseInt(deadline, 10, 64)
	if !ok || err1 != nil || err2 != nil {
		return nil, fmt.Errorf("malformed shutdown value %q", value)
	}
	return &policy.Shutdown{Code: c, Deadline: policy.Time(d), Action: action, Cause: "the shutdown that the supervisor before this one had begun"}, nil
}
