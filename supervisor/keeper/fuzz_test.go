package keeper

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nines/supervisor/notify"
)

// FuzzStore: whatever is put into the store and taken out of it, in whatever
// order and also while it is handed back, the store keeps its accounts and its
// bounds, and both outboxes frame it in messages that the other side can read:
// each entry that stays is handed over once, as it is, and then the end.
func FuzzStore(f *testing.F) {
	f.Add([]byte("v1av2bp1xl2yhn\xffn\xffn\xff"))
	f.Add([]byte("p1ap2bp3chnnr1n\x01n\xff"))
	f.Add([]byte("l1al2bl3cqn\x02r2n\x01n\xff"))
	f.Add([]byte("v1\xffv2\xffv3\xffhn\x03v1\x00v2!n\xff"))
	f.Add([]byte("l1ae1be1bp1bl1a"))
	f.Fuzz(func(t *testing.T, program []byte) {
		m := &storeModel{t: t, store: newStore(6), fds: map[string]modelFD{}, values: map[string]string{}}
		for steps := 0; len(program) >= 3 && steps < 200; steps++ {
			m.step(program[0], program[1], program[2])
			m.accounts()
			program = program[3:]
		}
		m.drain()
		for _, e := range m.store.fds {
			notify.CloseAll([]int{e.fd})
		}
	})
}

type modelFD struct {
	settings, device string
	log              bool
}

// storeModel is a store, what should be in it, and an outbox under way.
type storeModel struct {
	t      *testing.T
	store  *store
	fds    map[string]modelFD
	values map[string]string

	out     outbox
	due     map[string]int // what stood in the store when out began and was not touched since: how often it came
	ended   bool
	forLogs bool
}

func (m *storeModel) step(op, who, what byte) {
	name, key := "n"+strconv.Itoa(int(who%9)), "k"+strconv.Itoa(int(who%32))
	value := strings.Repeat(string(rune('a'+what%26)), int(what)*16)
	switch op % 8 {
	case 0, 1:
		log := op%8 == 1
		device := []string{"/dev/null", "/dev/zero"}[what%2]
		settings := ""
		if log {
			settings = value
		}
		m.put(name, settings, log, device)
	case 2:
		had := m.fds[name]
		if e := m.store.relog(name, value); e != nil || had.log && had.settings != value {
			if e == nil || !had.log || e.settings != value {
				m.t.Fatalf("relog %s: %v, %v", name, e, had)
			}
			had.settings = value
			m.fds[name] = had
		}
		delete(m.due, "fd "+name)
	case 3:
		had, ok := m.fds[name]
		onlyLog := what%2 == 1
		if got := m.store.remove(name, onlyLog); got != (ok && (had.log || !onlyLog)) {
			m.t.Fatalf("remove %s: %v", name, got)
		} else if got {
			delete(m.fds, name)
			delete(m.due, "fd "+name)
		}
	case 4, 5:
		if err := m.store.set(key, value); err != nil {
			m.t.Fatal(err)
		}
		m.values[key] = value
		if value == "" {
			delete(m.values, key)
		}
		delete(m.due, "value "+key)
	case 6:
		m.drain()
		m.begin(what%2 == 1)
	case 7:
		m.send(1 + int(what))
	}
}

func (m *storeModel) put(name, settings string, log bool, device string) {
	fd, err := unix.Open(device, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		m.t.Fatal(err)
	}
	_, had := m.fds[name]
	_, err = m.store.put(name, settings, log, fd)
	if full := !had && len(m.fds) == m.store.maxFDs; full != (err != nil) {
		m.t.Fatalf("put %s: %v", name, err)
	}
	if err == nil {
		m.fds[name] = modelFD{settings, device, log}
		delete(m.due, "fd "+name)
	}
}

// accounts: the store holds what it should, and counts it rightly.
func (m *storeModel) accounts() {
	bytes := 0
	for k, v := range m.store.values {
		bytes += len(k) + len(v.value)
		if m.values[k] != v.value {
			m.t.Fatalf("value %s is %q", k, v.value)
		}
	}
	if bytes != m.store.valueBytes || len(m.values) != len(m.store.values) || len(m.fds) != len(m.store.fds) {
		m.t.Fatalf("%d bytes counted as %d, %d values, %d descriptors", bytes, m.store.valueBytes, len(m.store.values), len(m.store.fds))
	}
	for name, e := range m.store.fds {
		want := m.fds[name]
		if e.fd < 0 || e.name != name || e.log != want.log || e.settings != want.settings || !isDevice(m.t, e.fd, want.device) {
			m.t.Fatalf("descriptor %s is %+v, not %+v", name, e, want)
		}
	}
}

func isDevice(t *testing.T, fd int, path string) bool {
	t.Helper()
	var a, b unix.Stat_t
	if err := unix.Fstat(fd, &a); err != nil {
		t.Fatal(err)
	}
	if err := unix.Stat(path, &b); err != nil {
		t.Fatal(err)
	}
	return a.Dev == b.Dev && a.Ino == b.Ino
}

// begin hands the store back, to the log process or to the supervisor.
func (m *storeModel) begin(forLogs bool) {
	m.due, m.ended, m.forLogs = map[string]int{}, false, forLogs
	for name, e := range m.fds {
		if e.log == forLogs {
			m.due["fd "+name] = 0
		}
	}
	if forLogs {
		m.out = &pipes{pending: m.store.listed(true), stopping: true}
		return
	}
	for k := range m.values {
		m.due["value "+k] = 0
	}
	m.out = newHandBack(m.store)
}

// send takes one message of at most limit items from the outbox, as the loop
// does, and reads it as the other side does. false: there was none.
func (m *storeModel) send(limit int) bool {
	if m.out == nil {
		return false
	}
	if m.out.next() == "" {
		m.t.Fatal("the next item has no name")
	}
	b, fds, n := m.out.fill(nil, nil, min(limit, notify.MaxFields))
	if n == 0 {
		return false
	}
	if n > limit && limit > 1 || len(b) == 0 || len(fds) > notify.MaxFDs {
		m.t.Fatalf("%d items of %d, %d bytes, %d descriptors", n, limit, len(b), len(fds))
	}
	msg, err := notify.Parse(b)
	if err != nil || m.ended {
		m.t.Fatalf("after the end (%v), or %v:\n%.200q", m.ended, err, b)
	}
	names := 0
	for i, field := range msg {
		switch field.Key {
		case notify.KeyFDStore:
			if i != 0 {
				m.t.Fatalf("FDSTORE=1 is field %d", i)
			}
		case notify.KeyFDName:
			want, ok := m.fds[field.Value]
			if !ok || want.log != m.forLogs || names >= len(fds) || !isDevice(m.t, fds[names], want.device) {
				m.t.Fatalf("descriptor %s was handed over, and is %+v", field.Value, want)
			}
			if m.forLogs && (i+1 == len(msg) || msg[i+1] != notify.Log(want.settings)) {
				m.t.Fatalf("log pipe %s goes without its settings", field.Value)
			}
			names++
			m.came("fd " + field.Value)
		case notify.KeyLog:
		case notify.KeyValue:
			key, value, ok := notify.SplitValue(field.Value)
			if !ok || m.values[key] != value || m.forLogs {
				m.t.Fatalf("value %s was handed over as %.50q", key, value)
			}
			m.came("value " + key)
		case notify.KeyStore, notify.KeyStopping:
			if m.ended = true; len(msg) != 1 || (field.Key == notify.KeyStore) == m.forLogs {
				m.t.Fatalf("the end is %v", msg)
			}
		default:
			m.t.Fatalf("unknown field %v", field)
		}
	}
	if names != len(fds) {
		m.t.Fatalf("%d names for %d descriptors", names, len(fds))
	}
	m.out.advance(n)
	return true
}

func (m *storeModel) came(what string) {
	if _, ok := m.due[what]; ok {
		m.due[what]++
	}
}

// drain sends the rest: everything due came once, and the end last.
func (m *storeModel) drain() {
	if m.out == nil {
		return
	}
	for range 1000 {
		if !m.send(notify.MaxFields) {
			break
		}
	}
	var wrong []string
	for what, times := range m.due {
		if times != 1 {
			wrong = append(wrong, what+" came "+strconv.Itoa(times)+" times")
		}
	}
	if slices.Sort(wrong); !m.ended || len(wrong) > 0 {
		m.t.Fatalf("ended: %v; %v", m.ended, wrong)
	}
	m.out = nil
}
