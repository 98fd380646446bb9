package cgroups

import (
	"context"
	"errors"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Tree is a cgroup that is ours, with all below it. Its methods may be called
// from many goroutines.
type Tree struct {
	h    *Hierarchy
	base string // relative to h.Mount
	dir  string // absolute
	fd   int    // O_PATH of dir: groups are found from it without walking there
}

// Open makes the cgroup base (see Hierarchy.Base) with what is missing above
// it, or takes it as it is if it exists.
func (h *Hierarchy) Open(base string) (*Tree, error) {
	if h.Mount == "" {
		return nil, errors.New("cannot open cgroup " + base + ": " + h.Why)
	}
	base = path.Join("/", base)
	dir := h.dir(base)
	if err := mkdirAll(dir); err != nil {
		return nil, &Error{Op: "create", Path: dir, Err: err}
	}
	var fd int
	err := retry(func() (err error) {
		fd, err = unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, &Error{Op: "open", Path: dir, Err: err}
	}
	return &Tree{h: h, base: base, dir: dir, fd: fd}, nil
}

// mkdirAll is os.MkdirAll with the plain errno.
func mkdirAll(dir string) error {
	err := unix.Mkdir(dir, 0o755)
	if err == unix.ENOENT && path.Dir(dir) != dir {
		if err := mkdirAll(path.Dir(dir)); err != nil {
			return err
		}
		err = unix.Mkdir(dir, 0o755)
	}
	if err == unix.EEXIST {
		return nil
	}
	return err
}

// Level says what can be used at the place of the tree, and why not more.
func (t *Tree) Level() (Level, string) { return t.h.inspect(path.Dir(t.base)) }

// Path is the absolute path of the tree's folder.
func (t *Tree) Path() string { return t.dir }

// Close gives the descriptor back; the cgroups stay.
func (t *Tree) Close() error { return unix.Close(t.fd) }

// Group names a group of the tree. It makes no system call: the group need
// not exist.
func (t *Tree) Group(name string) *Group { return &Group{t: t, name: name} }

// Create makes the group with what is missing above it, or takes it as it is
// if it exists, and opens it. The descriptor is for CLONE_INTO_CGROUP, and the
// caller closes it after that.
func (t *Tree) Create(name string) (*Group, int, error) {
	g := t.Group(name)
	if err := checkName(name); err != nil {
		return nil, -1, &Error{Op: "create", Path: g.Path(), Err: err}
	}
	err := t.mkdir(name)
	if err != nil {
		return nil, -1, &Error{Op: "create", Path: g.Path(), Err: err}
	}
	fd, err := t.open(name, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return nil, -1, &Error{Op: "open", Path: g.Path(), Err: err}
	}
	return g, fd, nil
}

// mkdir tries the whole name first: only the first instance of a service lacks
// the folder above.
func (t *Tree) mkdir(name string) error {
	err := unix.Mkdirat(t.fd, name, 0o755)
	if err == unix.ENOENT {
		if i := strings.LastIndexByte(name, '/'); i > 0 {
			if err := t.mkdir(name[:i]); err != nil {
				return err
			}
			err = unix.Mkdirat(t.fd, name, 0o755)
		}
	}
	if err == unix.EEXIST {
		return nil
	}
	return err
}

func (t *Tree) open(name string, flags int) (fd int, err error) {
	err = retry(func() (err error) {
		fd, err = unix.Openat(t.fd, name, flags|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return -1, err
	}
	return fd, nil
}

// checkName refuses what would leave the tree, or what the kernel would take
// for one of its own files.
func checkName(name string) error {
	if name == "" || len(name) > 1024 {
		return errors.New("a group's name has 1 to 1024 bytes")
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == "." || part == ".." || len(part) > 255 || strings.ContainsAny(part, "\n\x00") {
			return errors.New("not a name of a group")
		}
		if core, _, ok := strings.Cut(part, "."); ok {
			switch core {
			case "cgroup", "cpu", "cpuset", "io", "memory", "pids", "rdma", "hugetlb", "misc", "irq", "dmem":
				return errors.New(part + " may be a file of the kernel's own")
			}
		}
	}
	return nil
}

// List is the names of the groups directly in the tree: "web". What is in
// those, Group.List tells.
func (t *Tree) List() ([]string, error) { return t.list("") }

// list is the names, from the tree, of the groups directly in name.
func (t *Tree) list(name string) ([]string, error) {
	dir := path.Join(t.dir, name)
	entries, err := os.ReadDir(dir)
	if err != nil {
		if gone(err) {
			return nil, nil
		}
		return nil, &Error{Op: "list", Path: dir, Err: unwrap(err)}
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, path.Join(name, e.Name()))
		}
	}
	return names, nil
}

// unwrap is the errno of an error of package os, whose path Error tells anew.
func unwrap(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// Remove removes every group of the tree and the tree itself, as soon as they
// are empty; it does not empty them. The Tree must be closed all the same.
func (t *Tree) Remove(ctx context.Context) error {
	return t.Group(".").Remove(ctx)
}
