package main

import (
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"nines/supervisor/pathwatch"
)

// watchFiles calls changed, in one goroutine, after settle and then each time that
// the files which paths name are others, and have been left alone for settle. It ends
// when stop is called.
func watchFiles(paths []string, settle time.Duration, log *slog.Logger, changed func()) (stop func(), err error) {
	abs := make([]string, len(paths))
	for i, p := range paths {
		if abs[i], err = filepath.Abs(p); err != nil {
			return nil, err
		}
	}
	w, err := pathwatch.New(settle, func(c pathwatch.Change) {
		if c.Err != nil {
			log.Error("cannot see every change of the spec files", "err", c.Err)
			return
		}
		changed()
	})
	if err != nil {
		return nil, err
	}
	w.WatchFiles("spec", abs, func(name string) bool { return isSpec(name, paths) })
	return func() {
		if err := w.Close(); err != nil {
			log.Warn("cannot end watching the spec files", "err", err)
		}
	}, nil
}

// isSpec says whether a name in a folder of specifications is one, or one of those by
// which Kubernetes replaces all of a ConfigMap at once (..data). Others stand in the
// same folders, and a log that is written to all the time must not keep the files from
// settling.
func isSpec(name string, paths []string) bool {
	if strings.HasPrefix(name, "..") || strings.HasSuffix(name, ".hcl") && !strings.HasPrefix(name, ".") {
		return true
	}
	for _, p := range paths {
		if name == filepath.Base(p) {
			return true
		}
	}
	return false
}
