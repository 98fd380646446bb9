package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"
)

const (
	// maxTries is how often the opening of a file may end the supervisor before
	// the file is taken to be the reason.
	maxTries = 3
	// maxAside is how many files set aside are kept; the oldest go.
	maxAside = 3
)

// setAside says what became of a file that could not be used.
type setAside struct{ path, why string }

// marker counts openings that did not end: its size is their number. bbolt
// trusts its pages; a wrong count in one may end the process by a want of memory,
// which nothing recovers, at each start again.
func (s *store) marker() string { return s.path + ".opening" }

func (s *store) tries() int {
	fi, err := os.Lstat(s.marker())
	if err != nil {
		return 0
	}
	return int(fi.Size())
}

// begin counts one more opening. Where that cannot be written nothing is
// counted, and nothing much can be written to the file either.
func (s *store) begin() {
	f, err := os.OpenFile(s.marker(), os.O_WRONLY|os.O_CREATE|os.O_APPEND|syscall.O_NOFOLLOW, 0o600)
	if err == nil {
		_, _ = f.Write([]byte{'x'}) // see above
		_ = f.Close()               // see above
	}
}

func (s *store) succeeded() {
	_ = os.Remove(s.marker()) // it may never have been made
}

// moveAway gives the file another name, and removes the oldest of those that
// were moved away before.
func (s *store) moveAway(why string) (*setAside, error) {
	s.drop()
	base := s.path + ".bad-" + time.Now().UTC().Format("20060102T150405Z")
	to := base
	for n := 2; ; n++ {
		if _, err := os.Lstat(to); errors.Is(err, fs.ErrNotExist) {
			break
		}
		to = base + "-" + strconv.Itoa(n)
	}
	if err := os.Rename(s.path, to); err != nil {
		return nil, fmt.Errorf("cannot set aside a file that cannot be used (%s): %w", why, err)
	}
	s.succeeded()
	if err := syncFolder(s.cfg.Dir); err != nil {
		return nil, err
	}
	old, err := filepath.Glob(s.path + ".bad-*")
	if err != nil {
		return nil, err
	}
	slices.Sort(old)
	for _, path := range old[:max(0, len(old)-maxAside)] {
		_ = os.Remove(path) // a folder that somebody filled stays
	}
	return &setAside{to, why}, nil
}
