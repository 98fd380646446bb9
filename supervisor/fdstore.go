package supervisor

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"nines/supervisor/notify"
	"nines/supervisor/policy"
	"nines/supervisor/proc"
)

// keyStore is what the keeper knows descriptors by that services have given away
// to have them again (FDSTORE): store:web/0:17:NAME, the number in the order in
// which they came; with a "+" behind it, one that hung up is dropped.
const keyStore = "store:"

// maxStored is how many descriptors are kept for one instance: systemd has no
// default for FileDescriptorStoreMax, which is a person's to set.
const maxStored = 64

// fdStore holds what instances have stored, across restarts of theirs and of ours.
// It is dropped when an instance is down and nobody wants it up: stopped, scaled
// away, completed, failed for good. The loop changes it, the spawner looks.
type fdStore struct {
	n *notifier

	mu      sync.Mutex
	last    uint64
	held    map[string][]*storedFD // by instance id, the oldest first
	resting map[string]policy.Slot // those of which something has ended; the loop's
}

type storedFD struct {
	key, name string
	src       *source
}

func newFDStore(n *notifier) *fdStore {
	return &fdStore{n: n, held: map[string][]*storedFD{}, resting: map[string]policy.Slot{}}
}

// take takes over what the keeper handed back: called by Run, before anything is
// started.
func (f *fdStore) take(back map[string]int) {
	type old struct {
		number uint64
		id     string
		name   string
		poll   bool
		key    string
	}
	var all []old
	for key, fd := range back {
		rest, ok := strings.CutPrefix(key, keyStore)
		if !ok {
			continue
		}
		id, rest, _ := strings.Cut(rest, ":")
		number, name, _ := strings.Cut(rest, ":")
		number, poll := strings.CutSuffix(number, "+")
		n, err := strconv.ParseUint(number, 10, 63)
		if err != nil || notify.FDNameOr(name) != name {
			proc.Close(fd)
			delete(back, key)
			f.n.forgetFD(key)
			continue
		}
		all = append(all, old{n, id, name, poll, key})
	}
	slices.SortFunc(all, func(a, b old) int {
		if a.number < b.number {
			return -1
		}
		return 1
	})
	for _, o := range all {
		f.last = max(f.last, o.number)
		f.hold(o.id, o.key, o.name, back[o.key], o.poll)
		delete(back, o.key)
	}
}

// begun: what lives was taken over; what is stored for the rest is looked at.
func (f *fdStore) begun() {
	s := f.n.s
	slots := map[string]policy.Slot{}
	for _, v := range s.machine.Snapshot().Instances {
		slots[v.ID] = v.Slot
	}
	for _, id := range slices.Sorted(maps.Keys(f.held)) {
		slot, known := slots[id]
		switch {
		case !known:
			f.drop(id)
		case s.live[slot] == nil:
			f.resting[id] = slot
		}
	}
}

func (f *fdStore) hold(id, key, name string, fd int, poll bool) {
	e := &storedFD{key: key, name: name, src: &source{key: key, fd: fd}}
	e.src.told = func() { f.remove(id, func(x *storedFD) bool { return x == e }) }
	if poll {
		f.n.wait(e.src, true)
	} else {
		f.n.own(e.src)
	}
	f.mu.Lock()
	f.held[id] = append(f.held[id], e)
	f.mu.Unlock()
}

// store keeps descriptors for an instance. Those that it does not keep are left to
// the caller to close; the others are the store's. The loop's.
func (f *fdStore) store(t *talker, from *notify.Sender, said *notify.Said, fds []int) (rest []int) {
	if r := t.svc.Ready; r != nil && r.FD != 0 {
		f.n.complain(t, from, "FDSTORE: descriptors cannot be given back where ready.fd is one of them: say ready by notify")
		return fds
	}
	name := said.FDName
	if name == "" {
		name = notify.FDNameOr("")
	}
	for i, fd := range fds {
		if f.has(t.id, fd) {
			rest = append(rest, fd) // it is there already, perhaps since before our predecessor died
			continue
		}
		f.mu.Lock()
		full := len(f.held[t.id]) >= maxStored
		f.mu.Unlock()
		if full {
			f.n.complain(t, from, "FDSTORE: "+itoa(maxStored)+" descriptors are kept already: remove some (FDSTOREREMOVE=1)")
			return append(rest, fds[i:]...)
		}
		f.last++
		key := keyStore + t.id + ":" + strconv.FormatUint(f.last, 10)
		if !said.KeepHungUp {
			key += "+"
		}
		key += ":" + name
		f.n.keepFD(key, fd)
		f.hold(t.id, key, name, fd, !said.KeepHungUp)
	}
	return rest
}

func (f *fdStore) has(id string, fd int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.ContainsFunc(f.held[id], func(e *storedFD) bool { return notify.SameFile(e.src.fd, fd) })
}

// unstore drops what has a name.
func (f *fdStore) unstore(id, name string) {
	f.remove(id, func(e *storedFD) bool { return e.name == name })
}

func (f *fdStore) remove(id string, is func(*storedFD) bool) {
	f.mu.Lock()
	var gone []*storedFD
	f.held[id] = slices.DeleteFunc(f.held[id], func(e *storedFD) bool {
		if is(e) {
			gone = append(gone, e)
			return true
		}
		return false
	})
	if len(f.held[id]) == 0 {
		delete(f.held, id)
	}
	f.mu.Unlock()
	for _, e := range gone {
		f.n.drop(e.src, true)
	}
}

func (f *fdStore) drop(id string) {
	f.remove(id, func(*storedFD) bool { return true })
	delete(f.resting, id)
}

// ended: nothing of an incarnation lives.
func (f *fdStore) ended(in *incarnation) {
	f.mu.Lock()
	has := len(f.held[in.id]) > 0
	f.mu.Unlock()
	if has {
		f.resting[in.id] = in.ref.Slot
	}
}

// look drops what is stored for instances that nobody wants up any more. It looks
// at those alone that have something stored and are down.
func (f *fdStore) look() {
	for id, slot := range f.resting {
		m := f.n.s.machine
		switch {
		case m.ID(slot) != id || m.Rests(slot):
			f.drop(id)
		case f.n.s.live[slot] != nil || f.n.s.live[m.Twin(slot)] != nil:
			delete(f.resting, id) // it has it again, or still
		}
	}
}

// give adds what is stored for an instance to what it is started with, behind its
// sockets. The descriptors stay the store's: a clone copies them. The spawner's.
func (f *fdStore) give(id string, c *proc.Command) {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := f.held[id]
	if len(list) == 0 {
		return
	}
	var names []string
	c.Env = slices.DeleteFunc(slices.Clone(c.Env), func(kv string) bool {
		key, value, _ := strings.Cut(kv, "=")
		if key == "LISTEN_FDNAMES" && len(c.Listen) > 0 {
			names = strings.Split(value, ":")
		}
		return key == "LISTEN_FDNAMES" || key == "LISTEN_FDS" || key == "LISTEN_PID" || key == "LISTEN_PIDFDID"
	})
	c.Listen = slices.Clone(c.Listen)
	for _, e := range list {
		c.Listen, names = append(c.Listen, e.src.fd), append(names, e.name)
	}
	c.Env = append(c.Env, "LISTEN_FDS="+itoa(len(c.Listen)), "LISTEN_FDNAMES="+strings.Join(names, ":"))
}
