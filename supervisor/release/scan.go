package release

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"nines/supervisor/copytree"
)

// scanner reads a file or folder and makes a manifest of it.
type scanner struct {
	ctx    context.Context
	owners owners
	// inside makes absolute links relative; nil: they stay.
	inside func(link, target string) string
	// asIs refuses modes and owners that the store would not have given.
	asIs bool
	// unwritten is asked of each file, before and after it was read: an error ends it.
	unwritten func(fd int, mode uint32) error

	entries manifest
	stamps  []copytree.Stamp // of each entry
	dropped []string
	hash    hash.Hash
	buf     []byte
}

func newScanner(ctx context.Context, o owners) *scanner {
	return &scanner{ctx: ctx, owners: o, hash: sha256.New()}
}

// root scans what fd is: it stays open.
func (s *scanner) root(fd int) error {
	st, err := copytree.Stat(fd)
	if err != nil {
		return err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return copytree.Walk(s.ctx, fd, s.node, nil)
	case unix.S_IFREG:
		return s.file(fd, ".", st)
	}
	return ErrSpecial
}

func (s *scanner) node(n *copytree.Node) error {
	if len(s.entries) == maxEntries {
		return ErrMany
	}
	switch n.Type() {
	case unix.S_IFREG:
		fd, err := n.Open()
		if err != nil {
			if errors.Is(err, syscall.ELOOP) || errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("%q: %w", n.Path, ErrChanging)
			}
			return err
		}
		defer copytree.Close(fd)
		st, err := copytree.Stat(fd)
		if err != nil {
			return err
		}
		if st.Mode&unix.S_IFMT != unix.S_IFREG {
			return fmt.Errorf("%q: %w", n.Path, ErrChanging)
		}
		return s.file(fd, n.Path, st)
	case unix.S_IFDIR:
		e := entry{path: n.Path, kind: 'd'}
		if err := s.normal(&e, &n.Stat); err != nil {
			return err
		}
		s.add(e, &n.Stat)
		return nil
	case unix.S_IFLNK:
		target, err := n.Link()
		if err != nil {
			return err
		}
		if s.inside != nil {
			target = s.inside(n.Path, target)
		}
		s.add(entry{path: n.Path, kind: 'l', target: target}, &n.Stat)
		return nil
	}
	return fmt.Errorf("%q: %w", n.Path, ErrSpecial)
}

func (s *scanner) add(e entry, st *unix.Stat_t) {
	s.entries = append(s.entries, e)
	s.stamps = append(s.stamps, copytree.StampOf(st))
}

func (s *scanner) file(fd int, path string, st *unix.Stat_t) error {
	e := entry{path: path, kind: 'f', size: st.Size}
	if err := s.normal(&e, st); err != nil {
		return err
	}
	if err := s.unwritten(fd, st.Mode); err != nil {
		return fmt.Errorf("%q: %w", path, err)
	}
	if err := s.digest(fd, &e); err != nil {
		return err
	}
	if err := s.unwritten(fd, st.Mode); err != nil {
		return fmt.Errorf("%q: %w", path, err)
	}
	after, err := copytree.Stat(fd)
	if err != nil {
		return err
	}
	if copytree.StampOf(st) != copytree.StampOf(after) {
		return fmt.Errorf("%q: %w", path, ErrChanging)
	}
	if !s.asIs {
		s.drops(fd, path, st)
	}
	s.add(e, st)
	return nil
}

// digest reads all of a file.
func (s *scanner) digest(fd int, e *entry) error {
	if s.buf == nil {
		s.buf = make([]byte, 1<<20)
	}
	s.hash.Reset()
	var at int64
	for {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		n, err := unix.Pread(fd, s.buf, at)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return &fs.PathError{Op: "read", Path: e.path, Err: err}
		}
		if n == 0 {
			break
		}
		s.hash.Write(s.buf[:n])
		at += int64(n)
		if at > e.size {
			return fmt.Errorf("%q: %w", e.path, ErrChanging)
		}
	}
	if at != e.size {
		return fmt.Errorf("%q: %w", e.path, ErrChanging)
	}
	e.sum = hex.EncodeToString(s.hash.Sum(nil))
	return nil
}

// normal fills in mode and owner.
func (s *scanner) normal(e *entry, st *unix.Stat_t) error {
	s.owners.normal(e, st)
	if s.asIs && (st.Mode&0o7777 != e.mode || !e.owned && st.Uid != s.owners.uid) {
		return fmt.Errorf("%w: %q has another mode or owner", ErrCorrupt, e.path)
	}
	return nil
}

// drops notes what of a file is not kept.
func (s *scanner) drops(fd int, path string, st *unix.Stat_t) {
	switch {
	case st.Mode&unix.S_ISUID != 0:
		s.dropped = append(s.dropped, fmt.Sprintf("%q: set-user-ID", path))
	case st.Mode&unix.S_ISGID != 0 && st.Mode&0o010 != 0:
		s.dropped = append(s.dropped, fmt.Sprintf("%q: set-group-ID", path))
	}
	for _, attr := range []struct{ key, name string }{{"security.capability", "capabilities"}, {"system.posix_acl_access", "access control list"}} {
		// Where there are no extended attributes there are none of these.
		if n, err := unix.Fgetxattr(fd, attr.key, nil); err == nil && n > 0 {
			s.dropped = append(s.dropped, fmt.Sprintf("%q: %s", path, attr.name))
		}
	}
}

// relative makes a function for scanner.inside: absolute links into one of the
// folders (names of the same one) lead to the same place by a relative path.
func relative(folders ...string) func(link, target string) string {
	return func(link, target string) string {
		if !path.IsAbs(target) {
			return target
		}
		for _, f := range folders {
			rest, err := filepath.Rel(f, target)
			if err != nil || rest == ".." || strings.HasPrefix(rest, "../") {
				continue
			}
			if to, err := filepath.Rel(path.Dir(link), rest); err == nil {
				return to
			}
		}
		return target
	}
}

// sourceUnwritten is for what is added.
func sourceUnwritten(fd int, _ uint32) error {
	if written, known := copytree.Written(fd); known && written {
		return fmt.Errorf("%w (a process has it open)", ErrChanging)
	}
	return nil
}

// patience is how long a file of the store may be open for writing by a child that
// has not exec'ed yet.
const patience = 10 * time.Second

// storedUnwritten is for what services are to execute: see the package's doc on
// ETXTBSY.
func storedUnwritten(ctx context.Context, patience time.Duration) func(fd int, mode uint32) error {
	return func(fd int, mode uint32) error {
		if mode&0o111 == 0 {
			return nil
		}
		written, known := copytree.Written(fd)
		if !known {
			// Those who fork hold it from before the fork until after the vfork.
			syscall.ForkLock.RLock()
			defer syscall.ForkLock.RUnlock()
			return nil
		}
		if !written {
			return nil
		}
		end := time.NewTimer(patience)
		defer end.Stop()
		// The kernel tells nobody when a file is closed by the last who writes to it,
		// and it is a matter of microseconds.
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-end.C:
				return ErrBusy
			case <-tick.C:
				if written, _ := copytree.Written(fd); !written {
					return nil
				}
			}
		}
	}
}

// sameStamps compares two scans of the same place.
func sameStamps(a, b []copytree.Stamp) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// stamper walks without reading.
type stamper struct{ stamps []copytree.Stamp }

func stampsOf(ctx context.Context, fd int) ([]copytree.Stamp, error) {
	st, err := copytree.Stat(fd)
	if err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return []copytree.Stamp{copytree.StampOf(st)}, nil
	}
	var s stamper
	err = copytree.Walk(ctx, fd, func(n *copytree.Node) error {
		s.stamps = append(s.stamps, copytree.StampOf(&n.Stat))
		return nil
	}, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrChanging
	}
	return s.stamps, err
}
