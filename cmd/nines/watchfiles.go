package main

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settled is how long spec files must be left alone before they are read again:
// editors and deployments write in several steps.
const settled = time.Second

// fileWatch tells when the spec files may have changed. Folders are watched and
// not files, so that files that are renamed into place, removed and made again, or
// reached by a symbolic link that is moved (as Kubernetes does with a ConfigMap's
// ..data) are seen. What really changed is for changed to find out.
type fileWatch struct {
	paths   []string
	watcher *fsnotify.Watcher
	log     *slog.Logger
	settle  time.Duration
	changed func()
}

// watchFiles calls changed, in one goroutine, after settle and then each time that
// something happened to the files that paths name and nothing more for settle. It ends when stop is
// called.
func watchFiles(paths []string, settle time.Duration, log *slog.Logger, changed func()) (stop func(), err error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	f := &fileWatch{paths: paths, watcher: w, log: log, settle: settle, changed: changed}
	if err := f.add(); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	done := make(chan struct{})
	go func() { defer close(done); f.run() }()
	return func() {
		if err := w.Close(); err != nil {
			log.Warn("cannot end watching the spec files", "err", err)
		}
		<-done
	}, nil
}

// add watches every folder that a change could be seen in; doing it again is
// harmless, and needed where a link leads elsewhere now.
func (f *fileWatch) add() error {
	added := 0
	var errs []error
	for _, p := range f.paths {
		dirs := []string{filepath.Dir(p)} // where p itself is replaced
		if fi, err := os.Stat(p); err == nil && fi.IsDir() {
			dirs = append(dirs, p)
		}
		if real, err := filepath.EvalSymlinks(p); err == nil && real != p {
			dirs = append(dirs, filepath.Dir(real))
		}
		for _, d := range dirs {
			if err := f.watcher.Add(d); err != nil {
				errs = append(errs, err)
			} else {
				added++
			}
		}
	}
	if added == 0 {
		return errors.Join(errs...)
	}
	return nil
}

func (f *fileWatch) run() {
	// Once at the start: something may have happened while nobody watched.
	timer := time.NewTimer(f.settle)
	for {
		select {
		case ev, ok := <-f.watcher.Events:
			if !ok {
				timer.Stop()
				return
			}
			if ev.Op != fsnotify.Chmod && f.concerns(ev.Name) {
				timer.Reset(f.settle)
			}
		case err, ok := <-f.watcher.Errors:
			if !ok {
				continue // Events is closed as well
			}
			// Something was lost (the queue is full): look.
			f.log.Warn("cannot see every change of the spec files", "err", err)
			timer.Reset(f.settle)
		case <-timer.C:
			if err := f.add(); err != nil {
				f.log.Error("cannot watch the spec files any more", "err", err)
			}
			f.changed()
		}
	}
}

// concerns says whether what happened to that name may be of our files. Others
// stand in the same folders, and a log that is written to all the time must not
// keep the files from settling.
func (f *fileWatch) concerns(name string) bool {
	base := filepath.Base(name)
	if strings.HasPrefix(base, "..") || strings.HasSuffix(base, ".hcl") && !strings.HasPrefix(base, ".") {
		return true
	}
	for _, p := range f.paths {
		if base == filepath.Base(p) {
			return true
		}
		if real, err := filepath.EvalSymlinks(p); err == nil && base == filepath.Base(real) {
			return true
		}
	}
	return false
}
