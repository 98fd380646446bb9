package cgroups

import (
	"context"
	"errors"
	"os"
	"path"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Tree is a cgroup that is ours, with all below it. Its methods may be called
// from many goroutines.
type Tree struct {
	h    *Hierarchy
	base string // relative to h.Mount
	dir  string // absolute
	fd   int    // O_PATH of dir: groups are found from it without walking there
	age  int    // how often a new group must be killed before a process is born in it

	level       Level
	why         string
	controllers []string                       // that its groups have
	fault       func(name, value string) error // for tests: fails a write to a file of a group
}

// Open makes the cgroup base (see Hierarchy.Base) with what is missing above
// it, or takes it as it is if it exists, and gives its groups what controllers
// there are. Which these are is not taken back, also not by Remove.
func (h *Hierarchy) Open(base string) (*Tree, error) {
	if h.Mount == "" {
		return nil, errors.New("cannot open cgroup " + base + ": " + h.Why)
	}
	base = path.Join("/", base)
	dir := h.dir(base)
	from := h.Own
	if _, ok := below(h.Own, base); !ok || base == h.Own {
		from = h.nearest(path.Dir(base))
	}
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
	t := &Tree{h: h, base: base, dir: dir, fd: fd}
	t.delegate(from)
	if err := t.comeOfAge(); err != nil {
		_ = unix.Close(fd) // opened for its path alone
		return nil, err
	}
	return t, nil
}

// ErrBirths is in the error of Open where no process can be born in a group.
var ErrBirths = errors.New("processes started in it are killed at once")

// ageMax bounds how old our own cgroup may be.
const ageMax = 64

// comeOfAge finds the age that new groups of the tree must have.
//
// The kernel counts the kills of each cgroup, so that a fork which overlaps
// with one can be seen. Since Linux 6.14 it compares, for a process that is
// born in another cgroup, the count there with the count of the cgroup of its
// parent, which are two different things: if they differ, it kills the child
// as it is born. So a group that was ever killed must not be used again, and if
// our own cgroup was killed before we came to live in it, every new group has
// to be killed as often, empty as it is.
func (t *Tree) comeOfAge() error {
	const name = "nines.probe"
	var err error
	for t.age = 0; t.age <= ageMax; t.age++ {
		var g *Group
		var fd int
		if g, fd, err = t.Create(name); err != nil {
			return err
		}
		err = tryBirth(fd)
		_ = unix.Close(fd) // opened for its path alone
		// Dying may take the kernel a moment; this is once, at start.
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		if rerr := g.Remove(ctx); err == nil {
			err = rerr
		}
		cancel()
		if err == nil || !errors.Is(err, ErrBirths) {
			break
		}
	}
	if err != nil {
		return &Error{Op: "use", Path: t.dir, Err: err}
	}
	return nil
}

// tryBirth starts a process in a group: to execute a folder is refused, so
// that it ends at once, and tells us; unless it was killed before.
func tryBirth(fd int) error {
	pid, err := syscall.ForkExec("/", []string{"/"}, &syscall.ProcAttr{
		Sys: &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: fd},
	})
	if errors.Is(err, unix.EACCES) {
		return nil
	}
	if err != nil {
		return err
	}
	err = retry(func() error {
		_, err := unix.Wait4(pid, nil, 0, nil)
		return err
	})
	if err != nil && err != unix.ECHILD { // reaped by whoever reaps here
		return err
	}
	return ErrBirths
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

// Level says what can be used in the tree, and why not more.
func (t *Tree) Level() (Level, string) { return t.level, t.why }

// Path is the absolute path of the tree's folder.
func (t *Tree) Path() string { return t.dir }

// Close gives the descriptor back; the cgroups stay.
func (t *Tree) Close() error { return unix.Close(t.fd) }

// Group names a group of the tree. It makes no system call: the group need
// not exist.
func (t *Tree) Group(name string) *Group { return &Group{t: t, name: name} }

// Create makes the group, with what is missing above it, and opens it. The
// descriptor is for CLONE_INTO_CGROUP, and the caller closes it after that. A
// group of that name that is empty is removed before: it may have been killed,
// and then nothing can be born in it any more (see comeOfAge). If it is not
// empty, the error is EBUSY.
func (t *Tree) Create(name string) (*Group, int, error) {
	g := t.Group(name)
	if err := checkName(name); err != nil {
		return nil, -1, &Error{Op: "create", Path: g.Path(), Err: err}
	}
	err := t.mkdir(name)
	if err == unix.EEXIST {
		if err = g.remove(); err == nil {
			err = t.mkdir(name)
		}
	}
	if err != nil {
		return nil, -1, &Error{Op: "create", Path: g.Path(), Err: err}
	}
	for range t.age {
		if err := g.Kill(); err != nil {
			return nil, -1, err
		}
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
	if err != unix.ENOENT {
		return err
	}
	i := strings.LastIndexByte(name, '/')
	if i <= 0 {
		return err
	}
	switch err := t.mkdir(name[:i]); err {
	case nil:
		t.pass(name[:i])
	case unix.EEXIST:
	default:
		return err
	}
	return unix.Mkdirat(t.fd, name, 0o755)
}

// pass gives a folder that was just made, and so has what the tree has and no
// process, its controllers for the groups in it. What could not be given is missed,
// and said, when a limit is set.
func (t *Tree) pass(name string) {
	if len(t.controllers) == 0 {
		return
	}
	file := t.dir + "/" + name + "/cgroup.subtree_control"
	if t.h.write(file, "+"+strings.Join(t.controllers, " +")) == nil {
		return
	}
	for _, c := range t.controllers {
		// A write of several fails as a whole. What this one refuses is said when a
		// limit is set.
		_ = t.h.write(file, "+"+c)
	}
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

// NameOf is the name in the tree of the group that a process is in; false: it is
// in none of the tree, or it has ended and was reaped.
func (t *Tree) NameOf(pid int) (string, bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil {
		return "", false
	}
	for line := range strings.Lines(string(b)) {
		if of, ok := strings.CutPrefix(line, "0::"); ok {
			name, in := below(t.base, strings.TrimSuffix(strings.TrimSuffix(of, "\n"), " (deleted)"))
			return strings.TrimPrefix(name, "/"), in && name != "/"
		}
	}
	return "", false
}
