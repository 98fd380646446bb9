package cgroups

import (
	"encoding/binary"
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Watcher tells when files of groups change: memory.events, pids.events,
// cgroup.events. It holds one descriptor (inotify), however many groups it
// watches, and nothing runs while nothing changes. Its methods may be called
// from many goroutines.
type Watcher struct {
	f *os.File

	mu      sync.Mutex
	watches map[int32]Change
	ids     map[Change]int32
}

// Change is a file of a group that has changed since it was added, or since the
// last Change of it; what and how often, the file says.
type Change struct {
	Name string // of the group
	File string // "memory.events"
}

// NewWatcher makes a Watcher. An error is of the kernel: EMFILE when the user
// has too many inotify descriptors (fs.inotify.max_user_instances).
func NewWatcher() (*Watcher, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, &Error{Op: "watch", Path: "files", Err: err}
	}
	return &Watcher{f: os.NewFile(uintptr(fd), "inotify"), watches: map[int32]Change{}, ids: map[Change]int32{}}, nil
}

// Add watches a file of a group. It is no error to add it twice.
func (w *Watcher) Add(g *Group, file string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	id, err := w.control(func(fd int) (int, error) {
		return unix.InotifyAddWatch(fd, g.Path()+"/"+file, unix.IN_MODIFY)
	})
	if err != nil {
		return &Error{Op: "watch " + file + " of", Path: g.Path(), Err: err}
	}
	c := Change{g.name, file}
	if old, ok := w.ids[c]; ok && old != id {
		delete(w.watches, old) // of an earlier group of that name
	}
	w.watches[id], w.ids[c] = c, id
	return nil
}

// Remove ends the watching of a file; a group that is removed should not be
// watched any more, since what is watched stays in the kernel's memory. It is no
// error if it was not watched. A Change of it may still come.
func (w *Watcher) Remove(g *Group, file string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := Change{g.name, file}
	id, ok := w.ids[c]
	if !ok {
		return
	}
	delete(w.ids, c)
	delete(w.watches, id)
	// EINVAL: the kernel has dropped it already.
	_, _ = w.control(func(fd int) (int, error) { return unix.InotifyRmWatch(fd, uint32(id)) })
}

func (w *Watcher) control(fn func(fd int) (int, error)) (id int32, err error) {
	conn, err := w.f.SyscallConn()
	if err != nil {
		return -1, err
	}
	var n int
	var ferr error
	if err := conn.Control(func(fd uintptr) { n, ferr = fn(int(fd)) }); err != nil {
		return -1, err
	}
	return int32(n), ferr
}

// Run calls fn for each change until Close, which ends it with nil. If the
// kernel had more to tell than it could keep, fn is called for all there is.
func (w *Watcher) Run(fn func(Change)) error {
	// Without names (files are watched, not folders) each event is as long as its
	// header.
	buf := make([]byte, 256*unix.SizeofInotifyEvent)
	var list []Change
	for {
		n, err := w.f.Read(buf)
		if errors.Is(err, os.ErrClosed) {
			return nil
		}
		if err != nil {
			return &Error{Op: "hear of changes of", Path: "files", Err: unwrap(err)}
		}
		list = list[:0]
		w.mu.Lock()
		for b := buf[:n]; len(b) >= unix.SizeofInotifyEvent; {
			id, mask := int32(binary.NativeEndian.Uint32(b)), binary.NativeEndian.Uint32(b[4:])
			length := uint64(binary.NativeEndian.Uint32(b[12:])) + unix.SizeofInotifyEvent
			b = b[min(length, uint64(len(b))):]
			switch c, ok := w.watches[id]; {
			case mask&unix.IN_Q_OVERFLOW != 0:
				list = list[:0]
				for _, c := range w.watches {
					list = append(list, c)
				}
			case ok && mask&unix.IN_IGNORED != 0: // the group was removed
				delete(w.watches, id)
				if w.ids[c] == id {
					delete(w.ids, c)
				}
			case ok:
				list = append(list, c)
			}
		}
		w.mu.Unlock()
		for _, c := range list {
			fn(c)
		}
	}
}

// Close ends Run and all watching.
func (w *Watcher) Close() error { return w.f.Close() }
