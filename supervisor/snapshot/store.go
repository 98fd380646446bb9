package snapshot

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"nines/supervisor/copytree"
)

const (
	format   = 1
	metaName = "snapshot.json"
	doneName = "restored.json"
	maxJSON  = 16 << 20
)

// Store is a folder of snapshots.
type Store struct {
	dir   string
	fault func(point string)

	// names is held where what stands under a name comes or goes, never for copying.
	names sync.Mutex
	busy  map[string]bool // by ID: a restore of it is under way; mu
	mu    sync.Mutex
}

// Snapshot is one copy of a service's data.
type Snapshot struct {
	ID       string    `json:"id"`
	Service  string    `json:"service"`
	Revision int       `json:"revision"`
	Time     time.Time `json:"time"`
	Paths    []Path    `json:"paths"`
	Size     int64     `json:"size_bytes"` // in files
	Files    int64     `json:"files"`
	Cloned   bool      `json:"cloned"` // blocks are shared: it takes less space than its size
}

// Path is one of the paths of a snapshot.
type Path struct {
	Path    string `json:"path"` // as in data.paths
	Real    string `json:"real"` // what that led to
	Absent  bool   `json:"absent,omitempty"`
	Mount   bool   `json:"mount,omitempty"` // a mount point
	Size    int64  `json:"size_bytes"`
	Space   int64  `json:"space_bytes"` // on disk
	Sockets int64  `json:"sockets,omitempty"`
}

type meta struct {
	Format int `json:"format"`
	Snapshot
}

// Open makes the store at dir, an absolute path, or takes up the one that is there.
// What it cannot clean up is left to Collect, which says so. fault is called at each
// step with its name; nil, but for tests that die there.
func Open(dir string, fault func(point string)) (*Store, error) {
	if fault == nil {
		fault = func(string) {}
	}
	if !filepath.IsAbs(dir) {
		return nil, fmt.Errorf("cannot open the snapshot store %s: its path must be absolute", dir)
	}
	s := &Store{dir: filepath.Clean(dir), fault: fault, busy: map[string]bool{}}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot open the snapshot store: %w", err)
	}
	// Leftovers do no harm, and Collect tells of them.
	_ = s.sweep()
	return s, nil
}

// List is every snapshot that there is, the oldest first. It goes on after an error.
func (s *Store) List() ([]Snapshot, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("cannot list snapshots: %w", err)
	}
	var all []Snapshot
	var errs []error
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || !e.IsDir() {
			continue
		}
		snap, err := s.Get(e.Name())
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all = append(all, snap)
	}
	slices.SortFunc(all, func(a, b Snapshot) int {
		if c := a.Time.Compare(b.Time); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return all, errors.Join(errs...)
}

// Get is one snapshot; ErrMissing, ErrDamaged.
func (s *Store) Get(id string) (Snapshot, error) {
	var m meta
	err := fs.ErrNotExist
	if validID(id) {
		err = readJSON(filepath.Join(s.dir, id, metaName), &m)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = ErrMissing
	case err == nil && (m.Format != format || m.ID != id):
		err = ErrDamaged
	}
	if err != nil {
		return Snapshot{}, fmt.Errorf("cannot read snapshot %s: %w", id, err)
	}
	return m.Snapshot, nil
}

// Collect removes every snapshot but those in keep and those that a restore is to
// finish from, and says which. It goes on after an error; what it could not remove it
// tries again the next time.
func (s *Store) Collect(keep []string) (removed []string, err error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("cannot collect old snapshots: %w", err)
	}
	var errs []error
	for _, e := range entries {
		id := e.Name()
		if !validID(id) || !e.IsDir() || slices.Contains(keep, id) {
			continue
		}
		if _, err := os.Lstat(s.journal(id)); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		s.names.Lock()
		err := os.Rename(filepath.Join(s.dir, id), filepath.Join(s.dir, ".trash-"+id+"-"+strconv.FormatInt(time.Now().UnixNano(), 36)))
		s.names.Unlock()
		if err != nil {
			errs = append(errs, err)
			continue
		}
		removed = append(removed, id)
	}
	s.fault("moved")
	if err := errors.Join(append(errs, s.sweep())...); err != nil {
		return removed, fmt.Errorf("cannot collect old snapshots: %w", err)
	}
	return removed, nil
}

// sweep removes what was moved away, and what whoever began it did not end.
func (s *Store) sweep() error {
	s.names.Lock()
	entries, err := os.ReadDir(s.dir)
	s.names.Unlock()
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		path := filepath.Join(s.dir, e.Name())
		switch {
		case strings.HasPrefix(e.Name(), ".trash-"), strings.HasPrefix(e.Name(), ".new-"):
			errs = append(errs, copytree.Remove(path))
		case strings.HasPrefix(e.Name(), ".tmp-"):
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

// temporary makes a folder that is ours as long as fd is open.
func (s *Store) temporary() (path string, fd int, err error) {
	s.names.Lock() // sweep must not see it unlocked
	defer s.names.Unlock()
	if path, err = os.MkdirTemp(s.dir, ".tmp-"); err != nil {
		return "", -1, err
	}
	if fd, err = copytree.Lock(path); err != nil {
		return "", -1, errors.Join(err, os.Remove(path))
	}
	return path, fd, nil
}

// validID says whether a name may be one of a snapshot, or a label: part of a file's
// name, and nothing that leads elsewhere.
func validID(id string) bool {
	if id == "" || id[0] == '.' || len(id) > 200 {
		return false
	}
	for _, c := range []byte(id) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}

// readJSON reads a file of ours; ErrDamaged if it is none.
func readJSON(path string, to any) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close() // was only read
	b, err := io.ReadAll(io.LimitReader(f, maxJSON))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, to); err != nil {
		return fmt.Errorf("%w: %s: %v", ErrDamaged, path, err)
	}
	return nil
}

// writeJSON replaces a file, whole and synced.
func writeJSON(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	tmp := filepath.Join(filepath.Dir(path), ".new-"+filepath.Base(path))
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err = f.Write(b); err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return copytree.SyncFolder(filepath.Dir(path))
}
