// Package pathwatch tells when what a path leads to has become another file, or
// another content: for releases that are deployed by copying them into place, and
// for specifications.
//
// Seen are a file written in place, one renamed into place, a link anywhere in the
// path that leads elsewhere now, a folder of the path that was replaced, and, of a
// folder, whatever happens below it. That works because folders are watched and not
// files: every one that the path goes through, links included, each for the one name
// that matters there.
//
// A path is reported once nothing has happened to it for the settle time, and only
// if its Signature differs from the last: what was touched and put back, or lies
// beside it, is nobody's business. A file that any process has open for writing is
// not settled, however long it writes nothing (where the kernel tells: see
// copytree.Written). A path that leads nowhere is not reported; it is waited for.
//
// When the kernel's queue has overflowed, all is looked at again. There is one
// goroutine and one inotify instance for all paths, and what an event costs does not
// depend on their number. All looking is done by that goroutine, so a path on a dead
// NFS server holds up the others.
package pathwatch

import (
	"cmp"
	"container/list"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Settle is how long a file must be left alone: copying tools write in many steps.
const Settle = time.Second

// Change is what is reported.
type Change struct {
	Key, Path string
	// Signature stands for what is there now; whoever keeps it can hand it to Watch
	// in another life, and is told of what happened in between.
	Signature string
	// Err, where set, is why the path cannot be watched any more, or not completely; it is
	// reported once, and Signature is empty.
	Err error
}

// Watcher watches paths.
type Watcher struct {
	settle time.Duration
	report func(Change)
	in     *fsnotify.Watcher
	ctx    context.Context // ends with Close
	cancel context.CancelFunc

	mu       sync.Mutex
	commands []command
	kick     chan struct{} // holds one: there are commands
	ended    chan struct{}

	// What follows is the goroutine's.
	targets map[string]*target
	folders map[string]*folder
	pending *list.List // of *target, the next to settle first
	timer   *time.Timer
}

// command is what others ask of the goroutine.
type command struct {
	key, signature string
	paths          []string
	concerns       func(name string) bool
	forget, again  bool
}

// target is what is watched under one key.
type target struct {
	key       string
	paths     []string
	concerns  func(name string) bool // nil: a folder is all that is below it
	signature string
	trouble   string // what was reported of it
	steps     []step
	due       time.Time
	place     *list.Element // in pending; nil: it has settled
}

// step is a name in a folder that has no link in its path; "" is any name.
type step struct{ folder, name string }

// folder is one that is watched, and for whom.
type folder struct{ names map[string]map[*target]int }

// New begins to watch, nothing yet. report is called from the watcher's goroutine
// and must not wait for anything that waits for Close. settle is Settle, but in tests.
func New(settle time.Duration, report func(Change)) (*Watcher, error) {
	in, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("cannot watch files: %w: raise fs.inotify.max_user_instances", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := &Watcher{settle: settle, report: report, in: in, ctx: ctx, cancel: cancel, kick: make(chan struct{}, 1), ended: make(chan struct{}),
		targets: map[string]*target{}, folders: map[string]*folder{}, pending: list.New(), timer: time.NewTimer(settle)}
	go w.run()
	return w, nil
}

// Watch watches what path, an absolute one, leads to, under a key, in place of what
// that key stood for. It is looked at once after the settle time, and reported then
// unless signature is still right; "" never is. Watch waits for nothing.
func (w *Watcher) Watch(key, path, signature string) {
	w.do(command{key: key, paths: []string{filepath.Clean(path)}, signature: signature})
}

// WatchFiles is Watch for some files that belong together: they settle together and
// are one Change, with the first as its Path. Of a folder only the names directly in
// it that concern somebody are meant. It is reported once at the start.
func (w *Watcher) WatchFiles(key string, paths []string, concerns func(name string) bool) {
	clean := make([]string, len(paths))
	for i, p := range paths {
		clean[i] = filepath.Clean(p)
	}
	w.do(command{key: key, paths: clean, concerns: concerns})
}

// Forget ends watching; what is being reported at this moment may still come.
func (w *Watcher) Forget(key string) { w.do(command{key: key, forget: true}) }

// Again reports the path once more after the settle time, whether it has changed or
// not: for whoever has found it in the middle of a change.
func (w *Watcher) Again(key string) { w.do(command{key: key, again: true}) }

func (w *Watcher) do(c command) {
	w.mu.Lock()
	w.commands = append(w.commands, c)
	w.mu.Unlock()
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

// Close ends it. Nothing is reported after it has returned.
func (w *Watcher) Close() error {
	w.cancel()
	err := w.in.Close()
	<-w.ended
	if err != nil {
		return fmt.Errorf("cannot end watching files: %w", err)
	}
	return nil
}

func (w *Watcher) run() {
	defer close(w.ended)
	defer w.timer.Stop()
	for {
		select {
		case ev, ok := <-w.in.Events:
			if !ok {
				return
			}
			w.happened(ev.Name)
		case _, ok := <-w.in.Errors:
			if ok {
				w.lost()
			}
		case <-w.kick:
			w.obey()
		case now := <-w.timer.C:
			w.settled(now)
		}
	}
}

// obey does what was asked.
func (w *Watcher) obey() {
	w.mu.Lock()
	commands := w.commands
	w.commands = nil
	w.mu.Unlock()
	for _, c := range commands {
		t := w.targets[c.key]
		switch {
		case c.again:
			if t != nil {
				t.signature = ""
				w.arm(t)
			}
			continue
		case t != nil:
			_ = w.register(t, nil) // only adding fails
			w.disarm(t)
			delete(w.targets, c.key)
		}
		if !c.forget {
			t = &target{key: c.key, paths: c.paths, concerns: c.concerns, signature: c.signature}
			w.targets[c.key] = t
			w.arm(t)
		}
	}
}

// happened is an event at a name.
func (w *Watcher) happened(name string) {
	f := w.folders[filepath.Dir(name)]
	if f == nil {
		return
	}
	for t := range f.names[filepath.Base(name)] {
		w.arm(t)
	}
	for t := range f.names[""] {
		if t.concerns == nil || t.concerns(filepath.Base(name)) {
			w.arm(t)
		}
	}
}

// lost looks at everything: the queue has overflowed, or something worse.
func (w *Watcher) lost() {
	for _, t := range w.targets {
		w.arm(t)
	}
}

// arm lets the path settle from now on. All settle equally long, so the last to be
// armed is the last to settle.
func (w *Watcher) arm(t *target) {
	w.disarm(t)
	t.due = time.Now().Add(w.settle)
	t.place = w.pending.PushBack(t)
	if w.pending.Len() == 1 {
		w.timer.Reset(w.settle)
	}
}

func (w *Watcher) disarm(t *target) {
	if t.place != nil {
		w.pending.Remove(t.place)
		t.place = nil
	}
}

// settled looks at those whose time has come.
func (w *Watcher) settled(now time.Time) {
	for e := w.pending.Front(); e != nil; e = w.pending.Front() {
		t := e.Value.(*target)
		if left := t.due.Sub(now); left > 0 {
			w.timer.Reset(left)
			return
		}
		w.disarm(t)
		w.look(t)
	}
}

// look watches what there is now, and reports it if it is something else. Watching
// comes first: what happens after it arms the target again.
func (w *Watcher) look(t *target) {
	var steps []step
	var there []string
	var failed error
	for _, path := range t.paths {
		way, real, err := trace(path)
		if err == nil && real != "" {
			there = append(there, real)
			way, err = t.below(way, real)
		}
		steps = append(steps, way...)
		failed = cmp.Or(failed, err)
	}
	failed = cmp.Or(failed, w.register(t, steps))
	if failed != nil {
		w.trouble(t, failed)
		return
	}
	if len(there) == 0 {
		t.trouble = ""
		return
	}
	signature, writing, err := t.sign(w.ctx, there)
	switch {
	case w.ctx.Err() != nil:
	case errors.Is(err, fs.ErrNotExist):
		w.arm(t) // it has just gone
	case err != nil:
		w.trouble(t, err)
	case writing:
		w.arm(t)
	default:
		t.trouble = ""
		if signature != t.signature {
			t.signature = signature
			w.report(Change{Key: t.key, Path: t.paths[0], Signature: signature})
		}
	}
}

// trouble reports what is wrong, once.
func (w *Watcher) trouble(t *target, err error) {
	if text := err.Error(); text != t.trouble {
		t.trouble = text
		w.report(Change{Key: t.key, Path: t.paths[0], Err: fmt.Errorf("cannot watch %s: %w: a new file there may not be seen", t.paths[0], err)})
	}
}

// register has the folders of steps watched for t, and those of before no more. It
// goes on after an error.
func (w *Watcher) register(t *target, steps []step) error {
	var failed error
	for i, s := range steps {
		f := w.folders[s.folder]
		if f == nil {
			f = &folder{names: map[string]map[*target]int{}}
			w.folders[s.folder] = f
		}
		if f.names[s.name] == nil {
			f.names[s.name] = map[*target]int{}
		}
		f.names[s.name][t]++
		// Again for those that are watched already: it may be another folder by now.
		err := w.in.Add(s.folder)
		if errors.Is(err, fs.ErrPermission) && s.name != "" && i+1 < len(steps) && steps[i+1].name != "" {
			continue // /home, which only root may read: what is renamed there is not seen
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) && failed == nil {
			failed = fmt.Errorf("inotify: %s: %w: if it is ENOSPC, raise fs.inotify.max_user_watches", s.folder, err)
		}
	}
	for _, s := range t.steps {
		f := w.folders[s.folder]
		who := f.names[s.name]
		if who[t]--; who[t] > 0 {
			continue
		}
		delete(who, t)
		if len(who) == 0 {
			delete(f.names, s.name)
		}
		if len(f.names) == 0 {
			delete(w.folders, s.folder)
			// It may be gone, and with it the watch.
			_ = w.in.Remove(s.folder)
		}
	}
	t.steps = steps
	return failed
}
