package release

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"nines/supervisor/copytree"
)

// Collect removes every release but those in keep, and says which those were. keep
// must name all that anything runs from or may go back to. What was added since the
// Collect before, or while a Hold lasted, is kept too: its Add may not have come to
// the knowledge of whoever wrote keep. It goes on after an error, and what it could
// not remove it tries again the next time.
func (s *Store) Collect(ctx context.Context, keep []string) (removed []string, err error) {
	s.mu.Lock()
	added := maps.Clone(s.added)
	if s.holds == 0 {
		clear(s.added)
	}
	s.mu.Unlock()
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("cannot collect old releases: %w", err)
	}
	var errs []error
	for _, e := range entries {
		id := e.Name()
		if !validID(id) || added[id] || slices.Contains(keep, id) {
			continue
		}
		if err := ctx.Err(); err != nil {
			errs = append(errs, err)
			break
		}
		switch gone, err := s.retire(id); {
		case err != nil:
			errs = append(errs, err)
		case gone:
			removed = append(removed, id)
		}
	}
	s.fault("moved")
	errs = append(errs, s.sweep())
	s.fault("removed")
	if err := errors.Join(errs...); err != nil {
		return removed, fmt.Errorf("cannot collect old releases: %w", err)
	}
	return removed, nil
}

// Hold has what is added or verified from now on kept, by the first Collect that begins
// after done too, however many there are before: whoever adds a release holds until
// those who say what is to be kept know of it. done is to be called once.
func (s *Store) Hold() (done func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holds++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.holds--
	}
}

// retire takes a release out of use, unless it was added meanwhile.
func (s *Store) retire(id string) (gone bool, err error) {
	s.names.Lock()
	defer s.names.Unlock()
	s.mu.Lock()
	again := s.added[id]
	s.mu.Unlock()
	if again {
		return false, nil
	}
	return true, s.trash(id)
}

// trash moves a release away; names is held.
func (s *Store) trash(id string) error {
	s.mu.Lock()
	delete(s.verified, id)
	s.mu.Unlock()
	err := os.Rename(filepath.Join(s.dir, id), filepath.Join(s.dir, "trash-"+id+"-"+strconv.FormatInt(time.Now().UnixNano(), 36)))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// sweep removes what was moved away, and what whoever began it did not end.
func (s *Store) sweep() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		path := filepath.Join(s.dir, e.Name())
		switch {
		case strings.HasPrefix(e.Name(), "trash-"):
			errs = append(errs, copytree.Remove(path))
		case strings.HasPrefix(e.Name(), "tmp-"):
			s.names.Lock()
			fd, err := copytree.Lock(path)
			s.names.Unlock()
			if err != nil {
				continue // it is being filled, or gone
			}
			errs = append(errs, copytree.Remove(path))
			copytree.Close(fd)
		}
	}
	return errors.Join(errs...)
}
