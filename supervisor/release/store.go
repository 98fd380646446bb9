package release

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"nines/supervisor/copytree"
)

const manifestName = ".manifest"

// Store is a folder of releases.
type Store struct {
	dir    string
	owners owners
	fault  func(point string)
	// patience is how long a writer of the store's files is waited for.
	patience time.Duration

	// names is held where what stands under an ID comes or goes: for renames and
	// their sync, never for copying.
	names sync.Mutex
	// mu is held for a moment, so that Verified may be asked by a loop.
	mu       sync.Mutex
	verified map[string]bool // in this life
	added    map[string]bool // since the Collect before, or a Hold that has not ended
	holds    int             // that have not ended
}

// Release is one thing in the store.
type Release struct {
	ID     string // SHA-256 in hex: see the package's doc
	Path   string // of the file or folder, under the name that was asked for
	Size   int64  // bytes in all files
	Folder bool
	Known  bool // it was in the store before
	Cloned bool // its blocks are shared with the original
	// Dropped are the files that had rights which the store does not keep, with what
	// they were, in the original's order; for people.
	Dropped []string
}

// Open makes the store at dir, an absolute path, or takes up the one that is there,
// and removes what a crash has left in it; what cannot be removed (a filesystem that
// is read-only now) is left to Collect, which says so. fault is called at each step
// with its name; nil, but for tests that die there.
func Open(dir string, fault func(point string)) (*Store, error) {
	if fault == nil {
		fault = func(string) {}
	}
	uid := os.Geteuid()
	s := &Store{dir: filepath.Clean(dir), owners: owners{uid: uint32(uid), root: uid == 0}, fault: fault, patience: patience,
		verified: map[string]bool{}, added: map[string]bool{}}
	if !filepath.IsAbs(dir) {
		return nil, fmt.Errorf("cannot open the release store %s: its path must be absolute", dir)
	}
	if err := os.MkdirAll(s.dir, 0o711); err != nil {
		return nil, fmt.Errorf("cannot open the release store: %w", err)
	}
	// Leftovers do no harm, and Collect tells of them.
	_ = s.sweep()
	return s, nil
}

// Path is where the release of the service whose release.path is releasePath
// stands. It does not look whether it does.
func (s *Store) Path(id, releasePath string) string {
	return filepath.Join(s.dir, id, filepath.Base(releasePath))
}

// Resolve maps a command's path: releasePath, or a path under it, to the release
// with that ID. ok is false for a path that is elsewhere, which stays as it is.
func (s *Store) Resolve(command, releasePath, id string) (path string, ok bool) {
	if !filepath.IsAbs(command) {
		return command, false
	}
	rest, err := filepath.Rel(releasePath, command)
	if err != nil || rest == ".." || strings.HasPrefix(rest, "../") {
		return command, false
	}
	return filepath.Join(s.Path(id, releasePath), rest), true
}

// Digest is the ID that Add would give path now, and whether the store has it.
// It fails as Add does.
func (s *Store) Digest(ctx context.Context, path string) (id string, stored bool, err error) {
	src, err := s.source(ctx, path)
	if err != nil {
		return "", false, fmt.Errorf("cannot read release %s: %w", path, err)
	}
	defer copytree.Close(src.fd)
	if err := src.unchanged(ctx); err != nil {
		return "", false, fmt.Errorf("cannot read release %s: %w", path, err)
	}
	id = src.scan.entries.id()
	_, err = os.Lstat(filepath.Join(s.dir, id))
	return id, err == nil, nil
}

// Add puts what path leads to into the store. name is what it is called there: the
// last part of release.path, which is not path's where something else is deployed.
// What the store has already is verified and not copied. After an error all is as
// it was.
func (s *Store) Add(ctx context.Context, path, name string) (Release, error) {
	r, err := s.add(ctx, path, name)
	if err != nil {
		return Release{}, fmt.Errorf("cannot add release %s: %w", path, err)
	}
	return r, nil
}

func (s *Store) add(ctx context.Context, path, name string) (Release, error) {
	if name == manifestName || filepath.Base(name) != name || !valid(name) {
		return Release{}, fmt.Errorf("a release cannot be named %q", name)
	}
	src, err := s.source(ctx, path)
	if err != nil {
		return Release{}, err
	}
	defer copytree.Close(src.fd)
	m := src.scan.entries
	r := Release{ID: m.id(), Size: m.size(), Folder: m.folder(), Dropped: src.scan.dropped, Known: true}
	s.mu.Lock()
	s.added[r.ID] = true // from here on Collect leaves it alone
	s.mu.Unlock()
	_, err = s.verify(ctx, r.ID)
	switch {
	case err == nil:
		// Whoever added it may have died before its name was on disk.
		err = errors.Join(src.unchanged(ctx), copytree.SyncFolder(s.dir))
	case errors.Is(err, ErrMissing) || errors.Is(err, ErrCorrupt):
		// A damaged one is replaced: what was added is what it should have been.
		r.Known = false
		r.Cloned, err = s.copyIn(ctx, src, r.ID, name)
	}
	if err != nil {
		return Release{}, err
	}
	if r.Path, err = s.named(r.ID, name); err != nil {
		return Release{}, err
	}
	return r, nil
}

// source is what is being added.
type source struct {
	fd   int
	path string
	scan *scanner
}

// source opens path once and reads it. Whoever gets it closes its fd.
func (s *Store) source(ctx context.Context, path string) (*source, error) {
	fd, err := copytree.Open(path)
	if err != nil {
		return nil, err
	}
	sc := newScanner(ctx, s.owners)
	sc.unwritten = sourceUnwritten
	sc.inside = relative(folderNames(path)...)
	if err := sc.root(fd); err != nil {
		copytree.Close(fd)
		return nil, err
	}
	return &source{fd: fd, path: path, scan: sc}, nil
}

// folderNames are the absolute names that a link may call path by.
func folderNames(path string) []string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil // the working folder is gone: then no name is known
	}
	names := []string{abs}
	if real, err := filepath.EvalSymlinks(abs); err == nil && real != abs {
		names = append(names, real)
	}
	return names
}

// unchanged looks at all of it again.
func (src *source) unchanged(ctx context.Context) error {
	now, err := stampsOf(ctx, src.fd)
	if err != nil {
		return err
	}
	if !sameStamps(src.scan.stamps, now) {
		return ErrChanging
	}
	return nil
}

// Verify reads the release and compares it with its ID. It must be called before
// the first use in each life of the supervisor; it fails with ErrMissing, ErrCorrupt
// (which says where) or ErrBusy. A Release that it returns has no Path.
func (s *Store) Verify(ctx context.Context, id string) (Release, error) {
	s.mu.Lock()
	if s.holds > 0 {
		s.added[id] = true
	}
	s.mu.Unlock()
	m, err := s.verify(ctx, id)
	if err != nil {
		return Release{}, fmt.Errorf("cannot use release %s: %w", Short(id), err)
	}
	return Release{ID: id, Size: m.size(), Folder: m.folder(), Known: true}, nil
}

// Verified says whether the release was verified, or added, since Open, and not
// found wrong since.
func (s *Store) Verified(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.verified[id]
}

// Short is an ID as people are shown it.
func Short(id string) string { return id[:min(len(id), 12)] }

func (s *Store) verify(ctx context.Context, id string) (manifest, error) {
	m, err := s.check(ctx, id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.verified[id] = true
	} else if errors.Is(err, ErrMissing) || errors.Is(err, ErrCorrupt) {
		delete(s.verified, id)
	}
	return m, err
}

func (s *Store) check(ctx context.Context, id string) (manifest, error) {
	if !validID(id) {
		return nil, ErrMissing
	}
	dir := filepath.Join(s.dir, id)
	name, err := first(dir)
	if err != nil {
		return nil, err
	}
	m, err := s.read(ctx, filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	if m.id() == id {
		return m, nil
	}
	return nil, fmt.Errorf("%w: %s", ErrCorrupt, explain(dir, id, name, m))
}

// read makes the manifest of what is in the store.
func (s *Store) read(ctx context.Context, path string) (manifest, error) {
	fd, err := copytree.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrMissing // removed at this moment
	}
	if err != nil {
		return nil, err
	}
	defer copytree.Close(fd)
	sc := newScanner(ctx, s.owners)
	sc.asIs, sc.unwritten = true, storedUnwritten(ctx, s.patience)
	switch err := sc.root(fd); {
	case errors.Is(err, ErrSpecial) || errors.Is(err, ErrChanging) || errors.Is(err, ErrMany):
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	case err != nil:
		return nil, err
	}
	return sc.entries, nil
}

// explain says what is wrong with a release whose digest is.
func explain(dir, id, name string, have manifest) string {
	b, err := os.ReadFile(filepath.Join(dir, manifestName))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Sprintf("%q holds something else", name)
	}
	if err != nil {
		return err.Error()
	}
	want, err := decode(b)
	if err == nil && want.id() != id {
		err = errors.New("it is another's")
	}
	if err != nil {
		return "its digest is not its name, and neither is that of its manifest: " + err.Error()
	}
	return difference(want, have)
}

// first is the name of what is in a release's folder: the one entry that is no link.
func first(dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return "", ErrMissing
	}
	if err != nil {
		return "", err
	}
	name := ""
	for _, e := range entries {
		if e.Name() == manifestName || e.Type()&fs.ModeSymlink != 0 {
			continue
		}
		if name != "" {
			return "", fmt.Errorf("%w: %q is not of it", ErrCorrupt, e.Name())
		}
		name = e.Name()
	}
	if name == "" {
		return "", fmt.Errorf("%w: it is empty", ErrCorrupt)
	}
	return name, nil
}

// named sees to it that the release can be reached under name, and says where.
func (s *Store) named(id, name string) (string, error) {
	s.names.Lock()
	defer s.names.Unlock()
	dir := filepath.Join(s.dir, id)
	path := filepath.Join(dir, name)
	is, err := first(dir)
	if err != nil || is == name {
		return path, err
	}
	err = os.Symlink(is, path)
	if errors.Is(err, fs.ErrExist) {
		to, err := os.Readlink(path)
		if err == nil && to == is {
			return path, nil
		}
		return "", fmt.Errorf("%w: %q leads to %q: %v", ErrCorrupt, name, to, err)
	}
	if err != nil {
		return "", err
	}
	s.fault("named")
	return path, copytree.SyncFolder(dir)
}
