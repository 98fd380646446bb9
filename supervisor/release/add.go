package release

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"nines/supervisor/copytree"
)

// points are the steps of adding and collecting, in order, as fault hears of them.
var points = []string{"made", "copied", "verified", "synced", "renamed", "added", "named", "moved", "removed"}

// copyIn copies src into the store as id, under name. After an error nothing of it
// is left.
func (s *Store) copyIn(ctx context.Context, src *source, id, name string) (cloned bool, err error) {
	tmp, dir, err := s.temporary()
	if err != nil {
		return false, err
	}
	defer copytree.Close(dir)
	defer func() {
		if err != nil {
			err = errors.Join(err, copytree.Remove(tmp))
		}
	}()
	s.fault("made")
	c := copier{ctx: ctx, scan: src.scan, name: name, stack: []int{dir}}
	defer c.close()
	if err := c.root(src.fd); err != nil {
		return false, err
	}
	s.fault("copied")
	have, err := s.read(ctx, filepath.Join(tmp, name))
	if err != nil {
		return false, err
	}
	if have.id() != id {
		return false, fmt.Errorf("%w (%s)", ErrChanging, difference(src.scan.entries, have))
	}
	if err := src.unchanged(ctx); err != nil {
		return false, err
	}
	s.fault("verified")
	if !have.program() {
		if err := writeManifest(filepath.Join(tmp, manifestName), have); err != nil {
			return false, err
		}
	}
	if err := os.Chmod(tmp, 0o711); err != nil {
		return false, err
	}
	if have.folder() {
		err = copytree.SyncAll(dir)
	} else {
		err = copytree.Sync(dir) // the file was synced when it was written
	}
	if err != nil {
		return false, err
	}
	s.fault("synced")
	return c.cloned, s.place(tmp, id)
}

// temporary makes a folder that is ours as long as fd is open.
func (s *Store) temporary() (path string, fd int, err error) {
	s.names.Lock() // sweep must not see it unlocked
	defer s.names.Unlock()
	if path, err = os.MkdirTemp(s.dir, "tmp-"); err != nil {
		return "", -1, err
	}
	if fd, err = copytree.Lock(path); err != nil {
		return "", -1, errors.Join(err, os.Remove(path))
	}
	return path, fd, nil
}

// place gives what was made its name.
func (s *Store) place(tmp, id string) error {
	s.names.Lock()
	defer s.names.Unlock()
	to := filepath.Join(s.dir, id)
	err := os.Rename(tmp, to)
	if errors.Is(err, fs.ErrExist) || errors.Is(err, syscall.ENOTEMPTY) {
		if s.Verified(id) {
			return copytree.Remove(tmp) // added by somebody else meanwhile
		}
		// It was found to be damaged.
		if err = s.trash(id); err != nil {
			return err
		}
		err = os.Rename(tmp, to)
	}
	if err != nil {
		return err
	}
	s.fault("renamed")
	if err := copytree.SyncFolder(s.dir); err != nil {
		return errors.Join(err, s.trash(id)) // or the next Add would think it safe
	}
	s.fault("added")
	s.mu.Lock()
	s.verified[id] = true
	s.mu.Unlock()
	return nil
}

func writeManifest(path string, m manifest) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	b := m.encode()
	if len(b) > maxManifest {
		err = ErrMany
	} else if _, err = f.Write(b); err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// copier makes what a scanner has seen again, as the store keeps it.
type copier struct {
	ctx    context.Context
	scan   *scanner // for what becomes of modes, owners and links
	name   string   // of the root
	stack  []int    // the folders that are being filled; the first is not ours
	cloned bool
}

func (c *copier) root(fd int) error {
	st, err := copytree.Stat(fd)
	if err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return copytree.Walk(c.ctx, fd, c.enter, c.leave)
	}
	to, err := c.file(fd, c.name, st)
	if err != nil {
		return err
	}
	defer copytree.Close(to)
	return copytree.Sync(to)
}

func (c *copier) enter(n *copytree.Node) error {
	name := n.Name
	if n.Path == "." {
		name = c.name
	}
	dir := c.stack[len(c.stack)-1]
	switch n.Type() {
	case unix.S_IFREG:
		from, err := n.Open()
		if err != nil {
			return err
		}
		defer copytree.Close(from)
		st, err := copytree.Stat(from)
		if err != nil {
			return err
		}
		to, err := c.file(from, name, st)
		if err == nil {
			copytree.Close(to) // all is synced at the end
		}
		return err
	case unix.S_IFDIR:
		if err := unix.Mkdirat(dir, name, 0o700); err != nil {
			return &fs.PathError{Op: "mkdir", Path: n.Path, Err: err}
		}
		fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return &fs.PathError{Op: "open", Path: n.Path, Err: err}
		}
		c.stack = append(c.stack, fd)
		return nil
	case unix.S_IFLNK:
		target, err := n.Link()
		if err != nil {
			return err
		}
		if err := unix.Symlinkat(c.scan.inside(n.Path, target), dir, name); err != nil {
			return &fs.PathError{Op: "symlink", Path: n.Path, Err: err}
		}
		return nil
	}
	return fmt.Errorf("%q: %w", n.Path, ErrSpecial)
}

func (c *copier) leave(n *copytree.Node) error {
	fd := c.stack[len(c.stack)-1]
	defer func() { copytree.Close(fd); c.stack = c.stack[:len(c.stack)-1] }()
	return c.finish(fd, n.Path, &n.Stat)
}

// file copies a file. Whoever gets its descriptor closes it.
func (c *copier) file(from int, name string, st *unix.Stat_t) (to int, err error) {
	to, err = unix.Openat(c.stack[len(c.stack)-1], name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return -1, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	cloned, err := copytree.Content(c.ctx, to, from, st.Size, nil)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("%q: %w", name, ErrChanging)
	}
	if err == nil {
		err = c.finish(to, name, st)
	}
	if err != nil {
		copytree.Close(to)
		return -1, err
	}
	c.cloned = c.cloned || cloned
	return to, nil
}

// finish sets mode and owner.
func (c *copier) finish(fd int, path string, st *unix.Stat_t) error {
	var e entry
	c.scan.owners.normal(&e, st)
	if e.owned {
		if err := unix.Fchown(fd, int(e.uid), int(e.gid)); err != nil {
			return &fs.PathError{Op: "chown", Path: path, Err: err}
		}
	}
	if err := unix.Fchmod(fd, e.mode); err != nil {
		return &fs.PathError{Op: "chmod", Path: path, Err: err}
	}
	return nil
}

// close ends what an error has left open.
func (c *copier) close() {
	for _, fd := range c.stack[1:] {
		copytree.Close(fd)
	}
	c.stack = c.stack[:1]
}
