package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"nines/supervisor/copytree"
)

// Restored is what a restore has done.
type Restored struct {
	ID    string  `json:"id"`
	Label string  `json:"label"`
	Paths []Aside `json:"paths"`
}

// Aside is one path that was put back.
type Aside struct {
	Path string   `json:"path"`
	To   []string `json:"to,omitempty"` // where the newer state is now; none: there was none
}

// journal is a restore that has begun.
type journal struct {
	Format int    `json:"format"`
	ID     string `json:"id"`
	Label  string `json:"label"`
	// Staged: everything lies beside its place; from here on it goes forward only.
	Staged bool   `json:"staged"`
	Paths  []step `json:"paths"`
}

// step is one path of a restore.
type step struct {
	Path   string `json:"path"`
	Real   string `json:"real"`
	Absent bool   `json:"absent,omitempty"` // nothing is put in its place
	There  bool   `json:"there,omitempty"`  // something was, when it began
	Mount  bool   `json:"mount,omitempty"`
	Moved  bool   `json:"moved,omitempty"` // of a mount point: all that was there is aside
}

// staging is where the copy waits, aside where the newer state goes.
func (st *step) staging(label string) string {
	if st.Mount {
		return st.Real + "/.nines-new-" + label
	}
	return st.Real + ".nines-new-" + label
}

func (st *step) aside(label string) string {
	if st.Mount {
		return st.Real + "/.nines-" + label
	}
	return st.Real + ".nines-" + label
}

// doneFile is every restore that was made of a snapshot.
type doneFile struct {
	Format   int        `json:"format"`
	Restored []Restored `json:"restored"`
}

func (s *Store) journal(id string) string { return filepath.Join(s.dir, ".restore-"+id) }

// ErrBegun is a restore that could not be ended, and is to be gone on with: by
// Restore with the same label, or Resume. Until then its service must not start.
type ErrBegun struct {
	ID, Label string
	Err       error
}

func (e *ErrBegun) Error() string {
	return fmt.Sprintf("cannot put back snapshot %s (it has begun, and goes on when this is mended): %v", e.ID, e.Err)
}
func (e *ErrBegun) Unwrap() error { return e.Err }

// Restore puts a snapshot's data back. label, of letters, digits and ".-_", is part
// of the names that the newer state gets (say, the revision that it belongs to, and the
// time), and names this restore for ever: called again with it, it goes on with what it
// has begun, or answers what it did. The error is an
// *ErrBegun if anything may have changed; any other has changed nothing.
func (s *Store) Restore(ctx context.Context, id, label string, progress Progress) (Restored, error) {
	if !validID(label) || strings.HasPrefix(label, "new-") {
		return Restored{}, fmt.Errorf("cannot put back snapshot %s: %q cannot be part of a file's name", id, label)
	}
	release, ok := s.claim(id)
	if !ok {
		return Restored{}, fmt.Errorf("cannot put back snapshot %s: that is being done", id)
	}
	defer release()
	snap, err := s.Get(id)
	if err != nil {
		return Restored{}, fmt.Errorf("cannot put back snapshot %s: %w", id, err)
	}
	j, err := s.begun(id)
	if err != nil {
		return Restored{}, &ErrBegun{ID: id, Label: label, Err: err}
	}
	if j != nil && j.Label != label {
		return Restored{}, &ErrBegun{ID: id, Label: j.Label, Err: fmt.Errorf("another restore of it, %s, is not done: go on with that first", j.Label)}
	}
	done, err := s.done(id)
	if err != nil {
		return Restored{}, fmt.Errorf("cannot put back snapshot %s: %w", id, err)
	}
	for _, r := range done.Restored {
		if r.Label == label {
			return r, s.forget(id)
		}
	}
	return s.restore(ctx, snap, j, label, progress)
}

// claim keeps others from restoring the same at the same time.
func (s *Store) claim(id string) (release func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy[id] {
		return nil, false
	}
	s.busy[id] = true
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.busy, id)
	}, true
}

// Pending are the restores that have begun and are not done, with their labels, by
// snapshot.
func (s *Store) Pending() (map[string]string, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("cannot look for restores that are not done: %w", err)
	}
	pending := map[string]string{}
	var errs []error
	for _, e := range entries {
		id, ok := strings.CutPrefix(e.Name(), ".restore-")
		if !ok {
			continue
		}
		j, err := s.begun(id)
		if err != nil || j == nil {
			errs = append(errs, err)
			continue
		}
		pending[id] = j.Label
	}
	return pending, errors.Join(errs...)
}

// Resume goes on with all of them, and answers what was done. It goes on after an
// error: each is an *ErrBegun, joined.
func (s *Store) Resume(ctx context.Context, progress Progress) ([]Restored, error) {
	pending, err := s.Pending()
	errs := []error{err}
	var all []Restored
	ids := make([]string, 0, len(pending))
	for id := range pending {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		r, err := s.Restore(ctx, id, pending[id], progress)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all = append(all, r)
	}
	return all, errors.Join(errs...)
}

// begun reads the journal of a restore; nil: there is none.
func (s *Store) begun(id string) (*journal, error) {
	var j journal
	err := readJSON(s.journal(id), &j)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && (j.Format != format || j.ID != id || !validID(j.Label)) {
		err = fmt.Errorf("%w: %s", ErrDamaged, s.journal(id))
	}
	if err != nil {
		return nil, err
	}
	return &j, nil
}

func (s *Store) done(id string) (d doneFile, err error) {
	err = readJSON(filepath.Join(s.dir, id, doneName), &d)
	if errors.Is(err, fs.ErrNotExist) {
		return doneFile{Format: format}, nil
	}
	if err == nil && d.Format != format {
		err = ErrDamaged
	}
	return d, err
}

// forget removes the journal.
func (s *Store) forget(id string) error {
	err := os.Remove(s.journal(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return copytree.SyncFolder(s.dir)
}

func (s *Store) restore(ctx context.Context, snap Snapshot, j *journal, label string, progress Progress) (Restored, error) {
	begun := func(err error) (Restored, error) {
		return Restored{}, &ErrBegun{ID: snap.ID, Label: label, Err: err}
	}
	if j == nil {
		steps, err := plan(snap, label)
		if err != nil {
			return Restored{}, fmt.Errorf("cannot put back snapshot %s: %w", snap.ID, err)
		}
		j = &journal{Format: format, ID: snap.ID, Label: label, Paths: steps}
		if err := writeJSON(s.journal(snap.ID), j); err != nil {
			return Restored{}, errors.Join(fmt.Errorf("cannot put back snapshot %s: %w", snap.ID, err), s.forget(snap.ID))
		}
		s.fault("journaled")
	}
	if err := mountedStill(j); err != nil {
		return begun(err)
	}
	if !j.Staged {
		err := s.stage(ctx, snap, j, progress)
		if err != nil && ctx.Err() != nil {
			return begun(err) // it is to be gone on with
		}
		if err != nil {
			if uerr := s.unstage(j); uerr != nil {
				return begun(errors.Join(err, uerr))
			}
			return Restored{}, fmt.Errorf("cannot put back snapshot %s: %w", snap.ID, err)
		}
		s.fault("staged")
		j.Staged = true
		if err := writeJSON(s.journal(snap.ID), j); err != nil {
			return begun(err)
		}
	}
	s.fault("swapping")
	r := Restored{ID: snap.ID, Label: label}
	for i := range j.Paths {
		st := &j.Paths[i]
		var err error
		if st.Mount {
			err = s.swapIn(ctx, snap.ID, j, st)
		} else {
			err = s.swap(ctx, st, label)
		}
		if err != nil {
			return begun(fmt.Errorf("%s: %w", st.Path, err))
		}
		r.Paths = append(r.Paths, Aside{Path: st.Path, To: asides(st.aside(label))})
	}
	if err := s.record(snap.ID, r); err != nil {
		return begun(err)
	}
	s.fault("recorded")
	if err := s.forget(snap.ID); err != nil {
		return begun(err)
	}
	s.fault("forgotten")
	return r, nil
}

func (s *Store) record(id string, r Restored) error {
	d, err := s.done(id)
	if err != nil {
		return err
	}
	d.Restored = append(d.Restored, r)
	return writeJSON(filepath.Join(s.dir, id, doneName), d)
}

// plan looks where everything goes.
func plan(snap Snapshot, label string) ([]step, error) {
	var steps []step
	for _, p := range snap.Paths {
		real, err := realPath(p.Path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.Path, err)
		}
		if real != p.Real {
			return nil, fmt.Errorf("%s: %w: to %s, then to %s", p.Path, ErrMoved, real, p.Real)
		}
		mount, err := mounted(p.Real)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s: %w", p.Path, err)
		}
		if mount {
			if fi, err := os.Stat(p.Real); err != nil || !fi.IsDir() {
				return nil, fmt.Errorf("%s: %w: %v", p.Path, ErrMount, err)
			}
		}
		st := step{Path: p.Path, Real: p.Real, Absent: p.Absent, There: err == nil, Mount: mount}
		if there := asides(st.aside(label)); len(there) > 0 {
			return nil, fmt.Errorf("%s is there already: choose another label", there[0])
		}
		steps = append(steps, st)
	}
	return steps, nil
}

// mountedStill says whether what was a mount point is one: after a boot, its
// filesystem may not be there yet, and what is below it is nobody's data.
func mountedStill(j *journal) error {
	for _, st := range j.Paths {
		if !st.Mount {
			continue
		}
		if is, err := mounted(st.Real); err != nil || !is {
			return errors.Join(err, fmt.Errorf("%s: %w", st.Path, ErrUnmounted))
		}
	}
	return nil
}

// stage copies everything beside its place.
func (s *Store) stage(ctx context.Context, snap Snapshot, j *journal, progress Progress) error {
	count := counter(progress, snap.Size)
	for i, p := range snap.Paths {
		st := &j.Paths[i]
		if st.Absent {
			continue
		}
		if err := s.stageOne(ctx, filepath.Join(s.dir, snap.ID, fmt.Sprint(i)), p, st, j.Label, count); err != nil {
			return fmt.Errorf("%s: %w", st.Path, err)
		}
	}
	return nil
}

func (s *Store) stageOne(ctx context.Context, from string, p Path, st *step, label string, count func(int64)) error {
	to := st.staging(label)
	if err := copytree.Remove(to); err != nil { // of the time before
		return err
	}
	src, err := copytree.Open(from)
	if err != nil {
		return err
	}
	defer copytree.Close(src)
	dir, err := copytree.Open(filepath.Dir(to))
	if err != nil {
		return err
	}
	defer copytree.Close(dir)
	sample := &source{Path: Path{Real: from}, fd: src}
	if sample.survey, err = look(ctx, src, false); err != nil {
		return err
	}
	if err := s.fits(p.Space, filepath.Dir(to), []*source{sample}); err != nil {
		return err
	}
	if _, err := copyTree(ctx, dir, filepath.Base(to), src, false, count); err != nil {
		return err
	}
	s.fault("copied-back")
	return copytree.SyncAll(dir)
}

// unstage takes back all that was begun.
func (s *Store) unstage(j *journal) error {
	var errs []error
	for i := range j.Paths {
		if st := &j.Paths[i]; !st.Absent {
			errs = append(errs, copytree.Remove(st.staging(j.Label)))
		}
	}
	return errors.Join(append(errs, s.forget(j.ID))...)
}

// swap moves what is there aside, and the copy into its place. Where it is can be
// seen: as long as the copy waits, what stands in its place is the newer state.
func (s *Store) swap(ctx context.Context, st *step, label string) error {
	dir := filepath.Dir(st.Real)
	new := st.staging(label)
	for {
		waits, err := exists(new)
		if err != nil {
			return err
		}
		if !waits && st.Absent && len(asides(st.aside(label))) > 0 {
			return copytree.SyncFolder(dir) // done, perhaps by one that died before it had synced
		}
		there, err := exists(st.Real)
		if err != nil {
			return err
		}
		switch {
		case !waits && !there && (!st.Absent || st.There):
			return ErrUnmounted // it cannot have gone
		case !waits && !st.Absent:
			return copytree.SyncFolder(dir) // done, as above
		}
		if there {
			if err := moveAside(st.Real, st.aside(label)); err != nil {
				return err
			}
			if err := copytree.SyncFolder(dir); err != nil {
				return err
			}
			s.fault("aside")
		}
		if !waits {
			return nil
		}
		err = rename(new, st.Real)
		if err == nil {
			s.fault("in-place")
			continue
		}
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := ctx.Err(); err != nil { // somebody makes it again and again
			return err
		}
	}
}

// swapIn is swap for the entries of a mount point.
func (s *Store) swapIn(ctx context.Context, id string, j *journal, st *step) error {
	new, old := st.staging(j.Label), st.aside(j.Label)
	if !st.Moved {
		if err := s.moveAll(ctx, st.Real, old, func(name string) bool { return !own(name) }, "entry-aside"); err != nil {
			return err
		}
		st.Moved = true
		if err := writeJSON(s.journal(id), j); err != nil {
			return err
		}
		s.fault("aside")
	}
	waits, err := exists(new)
	if err != nil || !waits {
		return err
	}
	entries, err := os.ReadDir(new)
	if err != nil {
		return err
	}
	for _, e := range entries {
		to := filepath.Join(st.Real, e.Name())
		for {
			err := rename(filepath.Join(new, e.Name()), to)
			if err == nil {
				break
			}
			if !errors.Is(err, fs.ErrExist) || ctx.Err() != nil {
				return errors.Join(err, ctx.Err())
			}
			// Made since it was moved away.
			if err := os.Mkdir(old, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
			if err := moveAside(to, filepath.Join(old, e.Name())); err != nil {
				return err
			}
		}
		s.fault("entry-in")
	}
	if err := s.dress(new, st.Real); err != nil {
		return err
	}
	s.fault("in-place")
	return errors.Join(os.Remove(new), copytree.SyncFolder(st.Real))
}

// moveAll moves entries of a folder into another, which is made if need be.
func (s *Store) moveAll(ctx context.Context, from, to string, which func(name string) bool, point string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return !which(e.Name()) })
	if len(entries) == 0 {
		return nil
	}
	if err := os.Mkdir(to, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := moveAside(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
			return err
		}
		s.fault(point)
	}
	return errors.Join(copytree.SyncFolder(to), copytree.SyncFolder(from))
}

// dress gives a folder the owner, mode and so on of another.
func (s *Store) dress(from, to string) error {
	var st unix.Stat_t
	if err := unix.Lstat(from, &st); err != nil {
		return &fs.PathError{Op: "stat", Path: from, Err: err}
	}
	p := place{to: unix.AT_FDCWD, name: to, from: from, path: to, st: &st}
	return p.attributes()
}

// asides are the names that a restore has moved something to.
func asides(name string) []string {
	var all []string
	for n := 1; ; n++ {
		to := numbered(name, n)
		if there, err := exists(to); err != nil || !there {
			return all
		}
		all = append(all, to)
	}
}

// moveAside renames path to the first name that is free, and replaces nothing.
func moveAside(path, name string) error {
	for n := 1; ; n++ {
		err := rename(path, numbered(name, n))
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
}

func numbered(name string, n int) string {
	if n == 1 {
		return name
	}
	return fmt.Sprintf("%s~%d", name, n) // no label has a ~
}

// rename never replaces. Where the filesystem cannot promise that, we look first:
// nobody else is there, the service being stopped.
func rename(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if err == unix.EINVAL || err == unix.ENOSYS {
		there, lerr := exists(to)
		switch {
		case lerr != nil:
			return lerr
		case there:
			err = unix.EEXIST
		default:
			return os.Rename(from, to)
		}
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

func exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
