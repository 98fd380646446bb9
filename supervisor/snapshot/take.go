package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"nines/supervisor/copytree"
)

// Progress hears how much of a copy is done, in bytes that files hold. It is called
// often, from the goroutine that copies, and must be quick.
type Progress func(done, total int64)

// Request is what is to be kept.
type Request struct {
	Service  string
	Revision int      // that the data belong to
	Paths    []string // absolute
	Time     time.Time
	Progress Progress // nil: nobody asks
}

// Take makes a snapshot. After an error there is none.
func (s *Store) Take(ctx context.Context, r Request) (Snapshot, error) {
	snap, err := s.take(ctx, r)
	if err != nil {
		return Snapshot{}, fmt.Errorf("cannot take a snapshot of %s: %w", r.Service, err)
	}
	return snap, nil
}

// source is one path that is being copied.
type source struct {
	Path
	fd     int // -1: absent
	survey survey
}

func (s *Store) take(ctx context.Context, r Request) (snap Snapshot, err error) {
	base := r.Service + "-" + strconv.Itoa(r.Revision) + "-" + r.Time.UTC().Format("20060102T150405Z")
	if !validID(base) {
		return snap, fmt.Errorf("%q cannot be part of a file's name", base)
	}
	sources, err := openSources(ctx, r.Paths)
	defer func() {
		for _, src := range sources {
			if src.fd >= 0 {
				copytree.Close(src.fd)
			}
		}
	}()
	if err != nil {
		return snap, err
	}
	snap = Snapshot{Service: r.Service, Revision: r.Revision, Time: r.Time.UTC()}
	var space int64
	for _, src := range sources {
		snap.Paths = append(snap.Paths, src.Path)
		snap.Size += src.survey.size
		snap.Files += src.survey.files
		space += src.survey.space
	}
	if err := s.fits(space, s.dir, sources); err != nil {
		return snap, err
	}
	tmp, dir, err := s.temporary()
	if err != nil {
		return snap, err
	}
	defer copytree.Close(dir)
	defer func() {
		if err != nil {
			err = errors.Join(err, copytree.Remove(tmp))
		}
	}()
	s.fault("made")
	progress := counter(r.Progress, snap.Size)
	for i, src := range sources {
		if src.fd < 0 {
			continue
		}
		cloned, err := copyTree(ctx, dir, strconv.Itoa(i), src.fd, src.Mount, progress)
		snap.Cloned = snap.Cloned || cloned
		if err == nil {
			err = src.unchanged(ctx)
		}
		if err != nil {
			return snap, fmt.Errorf("%s: %w", src.Path.Path, err)
		}
	}
	s.fault("copied")
	return s.finish(snap, base, tmp, dir)
}

// finish gives what was copied its name.
func (s *Store) finish(snap Snapshot, base, tmp string, dir int) (Snapshot, error) {
	s.names.Lock()
	defer s.names.Unlock()
	snap.ID = base
	for n := 2; ; n++ {
		if _, err := os.Lstat(filepath.Join(s.dir, snap.ID)); errors.Is(err, fs.ErrNotExist) {
			break
		} else if err != nil {
			return snap, err
		}
		snap.ID = base + "-" + strconv.Itoa(n)
	}
	if err := writeJSON(filepath.Join(tmp, metaName), meta{Format: format, Snapshot: snap}); err != nil {
		return snap, err
	}
	if err := copytree.SyncAll(dir); err != nil {
		return snap, err
	}
	s.fault("synced")
	if err := os.Rename(tmp, filepath.Join(s.dir, snap.ID)); err != nil {
		return snap, err
	}
	s.fault("renamed")
	if err := copytree.SyncFolder(s.dir); err != nil {
		return snap, errors.Join(err, copytree.Remove(filepath.Join(s.dir, snap.ID)))
	}
	return snap, nil
}

// counter adds up what was copied; nobody hears of it where progress is nil.
func counter(progress Progress, total int64) func(int64) {
	var done int64
	return func(n int64) {
		if done += n; progress != nil {
			progress(done, total)
		}
	}
}

// openSources opens the paths and looks at what there is. The caller closes what it
// gets, with an error too.
func openSources(ctx context.Context, paths []string) (sources []*source, err error) {
	for _, path := range paths {
		if !filepath.IsAbs(path) {
			return sources, fmt.Errorf("%q is no absolute path", path)
		}
		src := &source{Path: Path{Path: filepath.Clean(path)}, fd: -1}
		sources = append(sources, src)
		if err := src.open(ctx); err != nil {
			return sources, fmt.Errorf("%s: %w", path, err)
		}
	}
	for i, a := range sources {
		for j, b := range sources {
			if i != j && within(b.Real, a.Real) {
				return sources, fmt.Errorf("%w: %s, %s", ErrNested, a.Path.Path, b.Path.Path)
			}
		}
	}
	return sources, nil
}

// within says whether a path is dir or below it.
func within(path, dir string) bool {
	rest, err := filepath.Rel(dir, path)
	return err == nil && rest != ".." && !strings.HasPrefix(rest, "../")
}

func (src *source) open(ctx context.Context) (err error) {
	src.Real, err = realPath(src.Path.Path)
	if err != nil {
		return err
	}
	src.Mount, err = mounted(src.Real)
	if errors.Is(err, fs.ErrNotExist) {
		src.Absent = true
		return nil
	}
	if err != nil {
		return err
	}
	if src.fd, err = copytree.Open(src.Real); err != nil {
		src.fd = -1
		return err
	}
	st, err := copytree.Stat(src.fd)
	if err != nil {
		return err
	}
	if src.Mount && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return fmt.Errorf("a file that is mounted cannot be put back: %w", ErrMount)
	}
	src.survey, err = look(ctx, src.fd, src.Mount)
	src.Size, src.Space, src.Sockets = src.survey.size, src.survey.space, src.survey.sockets
	return err
}

// realPath is where a path leads to, of what is not there as well: what is missing
// of it stays as it is.
func realPath(path string) (string, error) {
	real, err := filepath.EvalSymlinks(path)
	if err == nil {
		return real, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if to, lerr := os.Readlink(path); lerr == nil {
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(path), to)
		}
		return realPath(filepath.Clean(to)) // a link that leads nowhere yet; circles are ELOOP above
	}
	dir := filepath.Dir(path)
	if dir == path {
		return "", err
	}
	if dir, err = realPath(dir); err != nil {
		return "", err
	}
	return filepath.Join(dir, filepath.Base(path)), nil
}

// unchanged looks again.
func (src *source) unchanged(ctx context.Context) error {
	now, err := look(ctx, src.fd, src.Mount)
	if err == nil && now.signature != src.survey.signature {
		err = ErrChanging
	}
	return err
}

// fits says whether what is to be copied will have space in the filesystem of dir,
// where that can be known beforehand: not where blocks are shared.
func (s *Store) fits(space int64, dir string, sources []*source) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return &fs.PathError{Op: "statfs", Path: dir, Err: err}
	}
	free := int64(st.Bavail) * st.Bsize
	if os.Geteuid() == 0 {
		free = int64(st.Bfree) * st.Bsize
	}
	if space <= free {
		return nil
	}
	for _, src := range sources {
		if src.fd >= 0 && src.survey.sample != "" && clones(dir, filepath.Join(src.Real, src.survey.sample)) {
			return nil
		}
	}
	return &ErrSpace{Path: dir, Need: space, Free: free}
}

// clones tries whether a file can share its blocks with one in dir.
func clones(dir, path string) bool {
	from, err := copytree.Open(path)
	if err != nil {
		return false
	}
	defer copytree.Close(from)
	to, err := unix.Open(dir, unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return false
	}
	defer copytree.Close(to)
	return unix.IoctlFileClone(to, from) == nil
}
