// Package pathwatch tells when what a path leads to has become another file, or
// another content: for releases that are deployed by copying them into place.
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
	"container/list"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"nines/supervisor/copytree"
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
	key, path, signature string
	forget, again        bool
}

// target is one path.
type target struct {
	key, path string
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
	w.do(command{key: key, path: filepath.Clean(path), signature: signature})
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
			w.register(t, nil)
			w.disarm(t)
			delete(w.targets, c.key)
		}
		if !c.forget {
			t = &target{key: c.key, path: c.path, signature: c.signature}
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
		w.arm(t)
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
	steps, real, err := trace(t.path)
	if err == nil && real != "" {
		steps, err = below(steps, real)
	}
	if werr := w.register(t, steps); err == nil {
		err = werr
	}
	if err != nil {
		w.trouble(t, err)
		return
	}
	if real == "" {
		t.trouble = ""
		return
	}
	signature, writing, err := sign(w.ctx, real)
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
			w.report(Change{Key: t.key, Path: t.path, Signature: signature})
		}
	}
}

// trouble reports what is wrong, once.
func (w *Watcher) trouble(t *target, err error) {
	if text := err.Error(); text != t.trouble {
		t.trouble = text
		w.report(Change{Key: t.key, Path: t.path, Err: fmt.Errorf("cannot watch %s: %w: a new file there may not be seen", t.path, err)})
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

// maxLinks is the kernel's.
const maxLinks = 40

// trace is the way that the kernel takes to path: each name that it looks up, in
// which folder. real is where it ends; "" where that leads nowhere yet.
func trace(path string) (steps []step, real string, err error) {
	at := "/"
	rest := split(path)
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		if name == ".." {
			at = filepath.Dir(at)
			continue
		}
		steps = append(steps, step{at, name})
		full := filepath.Join(at, name)
		fi, err := os.Lstat(full)
		if errors.Is(err, fs.ErrNotExist) {
			return steps, "", nil
		}
		if err != nil {
			return steps, "", err
		}
		if fi.Mode()&fs.ModeSymlink == 0 {
			if len(rest) > 0 && !fi.IsDir() {
				return steps, "", nil
			}
			at = full
			continue
		}
		if links++; links > maxLinks {
			return steps, "", nil // it leads in circles, until somebody changes it
		}
		to, err := os.Readlink(full)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) {
			return steps, "", nil
		}
		if err != nil {
			return steps, "", err
		}
		if filepath.IsAbs(to) {
			at = "/"
		}
		rest = append(split(to), rest...)
	}
	return steps, at, nil
}

// split is the names of a path.
func split(path string) []string {
	var names []string
	for rest := path; rest != ""; {
		var name string
		if name, rest = cut(rest); name != "" && name != "." {
			names = append(names, name)
		}
	}
	return names
}

func cut(path string) (name, rest string) {
	for i := range len(path) {
		if path[i] == '/' {
			return path[:i], path[i+1:]
		}
	}
	return path, ""
}

// maxFolders bounds how many folders of one release are watched.
const maxFolders = 4096

// below adds the folders of a folder, for any name in them.
func below(steps []step, real string) ([]step, error) {
	fi, err := os.Lstat(real)
	if err != nil || !fi.IsDir() {
		return steps, nil // gone is for the next look
	}
	n := 0
	err = filepath.WalkDir(real, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !d.IsDir() {
			return err
		}
		if n++; n > maxFolders {
			return fmt.Errorf("there are more than %d folders below %s", maxFolders, real)
		}
		steps = append(steps, step{path, ""})
		return nil
	})
	return steps, err
}

// sign makes the signature of a file or folder, and says whether somebody is
// writing to the file.
func sign(ctx context.Context, real string) (signature string, writing bool, err error) {
	fd, err := copytree.Open(real)
	if err != nil {
		return "", false, err
	}
	defer copytree.Close(fd)
	return copytree.Signature(ctx, fd)
}
