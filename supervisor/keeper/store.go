package keeper

import (
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"nines/supervisor/notify"
)

// What the store takes. Beyond it a message is refused, with a line that says so.
const (
	maxName       = 512                           // bytes, of a descriptor's name: an instance's, and one that its service gave
	maxSettings   = 16 << 10                      // bytes, of a log pipe's settings
	maxKey        = 256                           // bytes, of a value's key
	maxValue      = 4 << 10                       // bytes
	maxValues     = 64 << 10                      // values
	maxValueBytes = 16 << 20                      // bytes, keys and values together
	fdReserve     = 128                           // descriptors kept free for the keeper's own work
	_             = fdReserve - notify.MaxFDs - 1 // a full message must fit beside the store
)

// storedFD is a descriptor that outlives whoever sent it.
type storedFD struct {
	name     string
	settings string // of a log pipe
	log      bool
	fd       int // -1: dropped; an outbox may still point here
	seq      uint64
}

type storedValue struct {
	value string
	seq   uint64
}

// store holds what must outlive the supervisor and the log process. It belongs
// to the loop.
type store struct {
	maxFDs     int
	fds        map[string]*storedFD
	values     map[string]*storedValue
	valueBytes int
	seq        uint64 // grows with every entry: the order of hand-back
}

func newStore(maxFDs int) *store {
	return &store{maxFDs: maxFDs, fds: map[string]*storedFD{}, values: map[string]*storedValue{}}
}

// A refusal says why the store did not take something.
type refusal string

func (r refusal) Error() string { return string(r) }

// put keeps fd, which is the store's from here on, error or not. It returns the
// entry if the log process must hear of it: it is new, or its settings are.
func (s *store) put(name, settings string, log bool, fd int) (*storedFD, error) {
	old := s.fds[name]
	if old != nil && old.log == log && sameFile(old.fd, fd) {
		// Sent twice, by a supervisor that could not know it had arrived.
		notify.CloseAll([]int{fd})
		if old.settings == settings {
			return nil, nil
		}
		old.settings = strings.Clone(settings)
		return old, nil
	}
	if old == nil && len(s.fds) >= s.maxFDs {
		notify.CloseAll([]int{fd})
		return nil, refusal("cannot keep descriptor " + name + ": " + strconv.Itoa(s.maxFDs) +
			" are kept already: raise the limit of open files (ulimit -n, LimitNOFILE=)")
	}
	if old != nil {
		s.drop(old)
	}
	s.seq++
	// Clone: the strings of a message share its memory.
	e := &storedFD{name: strings.Clone(name), settings: strings.Clone(settings), log: log, fd: fd, seq: s.seq}
	s.fds[e.name] = e
	return e, nil
}

// relog gives the log pipe of that name other settings, and returns it if the
// log process must hear of that; nil: they are as they were, or the pipe has
// ended meanwhile.
func (s *store) relog(name, settings string) *storedFD {
	e := s.fds[name]
	if e == nil || !e.log || e.settings == settings {
		return nil
	}
	e.settings = strings.Clone(settings)
	return e
}

// remove drops the descriptor of that name; false: there is none.
func (s *store) remove(name string, onlyLog bool) bool {
	e := s.fds[name]
	if e == nil || onlyLog && !e.log {
		return false
	}
	s.drop(e)
	return true
}

func (s *store) drop(e *storedFD) {
	delete(s.fds, e.name)
	notify.CloseAll([]int{e.fd})
	e.fd = -1
}

// listed returns the log pipes, or all that are none, oldest first.
func (s *store) listed(log bool) []*storedFD {
	var all []*storedFD
	for _, e := range s.fds {
		if e.log == log {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b *storedFD) int { return compare(a.seq, b.seq) })
	return all
}

// set keeps value under key; an empty value deletes it.
func (s *store) set(key, value string) error {
	old, had := s.values[key]
	size := s.valueBytes
	if had {
		size -= len(key) + len(old.value)
	}
	if value == "" {
		delete(s.values, key)
		s.valueBytes = size
		return nil
	}
	size += len(key) + len(value)
	// An upgrade that could not be decided would be the last one.
	if (size > maxValueBytes || !had && len(s.values) >= maxValues) && key != keyUpgrade {
		return refusal("cannot keep value " + key + ": the store is full")
	}
	if had {
		// Not by assigning to the map: that would put key, which is part of a
		// message, in the place of our own copy.
		old.value = strings.Clone(value)
	} else {
		s.seq++
		s.values[strings.Clone(key)] = &storedValue{strings.Clone(value), s.seq}
	}
	s.valueBytes = size
	return nil
}

// keys returns the keys of all values, oldest first.
func (s *store) keys() []string {
	all := make([]string, 0, len(s.values))
	for k := range s.values {
		all = append(all, k)
	}
	slices.SortFunc(all, func(a, b string) int { return compare(s.values[a].seq, s.values[b].seq) })
	return all
}

func (s *store) empty() bool { return len(s.fds) == 0 && len(s.values) == 0 }

func compare(a, b uint64) int {
	if a < b {
		return -1
	}
	return 1
}

// sameFile reports whether both name the same open pipe or socket.
func sameFile(a, b int) bool {
	var x, y unix.Stat_t
	return unix.Fstat(a, &x) == nil && unix.Fstat(b, &y) == nil && x.Dev == y.Dev && x.Ino == y.Ino
}

// descriptorLimit returns how many descriptors the process may have open. Go's
// runtime has raised the soft limit to the hard one already.
func descriptorLimit() (int, error) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 0, os.NewSyscallError("getrlimit", err)
	}
	return int(min(l.Cur, 1<<30)), nil
}
