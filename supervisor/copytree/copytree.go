// Package copytree is what copies of files and folders are made of: a walk that
// cannot be led astray, the copying of what a file holds, and the signs by which
// a file that somebody is just writing is told.
//
// It decides nothing about names, owners or where a copy goes: packages release
// and snapshot do, each in its own way.
//
//   - Walk goes through a folder by descriptors and follows no symbolic link, so
//     whoever may write there cannot make root read elsewhere.
//   - Content copies by FICLONE where the filesystem shares blocks (btrfs, XFS,
//     bcachefs), else inside the kernel (copy_file_range), else through a buffer.
//     Holes stay holes.
//   - Lock and Remove are for the folders that stores make copies in.
//   - Stamp tells that a file has changed since; Written that somebody has it open
//     for writing now, which is exactly when execve says ETXTBSY.
//
// All of it stops within a chunk, or one file, when its context ends. Descriptors
// are close-on-exec, EINTR is retried. Errors are of *fs.PathError or
// *os.SyscallError, with the errno for errors.Is (ENOSPC, EROFS, EDQUOT).
package copytree

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// MaxDepth bounds how deep folders may lie in each other: each costs a
// descriptor while what is below it is walked.
const MaxDepth = 128

// ErrDeep says that folders lie deeper in each other than MaxDepth.
var ErrDeep = errors.New("folders lie more than 128 deep in each other")

// Node is what a walk has come to.
type Node struct {
	Path string      // from the root of the walk, which is "."
	Dir  int         // the folder that it is in; of the root, itself
	Name string      // its name in Dir; of the root, "."
	FD   int         // of a folder: open for reading, until its leave; else -1
	Stat unix.Stat_t // of itself, not of what a link leads to
}

// Type is its type, one of unix.S_IFREG, S_IFDIR, ….
func (n *Node) Type() uint32 { return n.Stat.Mode & unix.S_IFMT }

// Open opens a regular file for reading. It is the one that the walk has seen or,
// if somebody has put another in its place, no link and no FIFO that would block.
func (n *Node) Open() (int, error) { return openat(n.Dir, n.Name, n.Path) }

// Link is where a symbolic link leads.
func (n *Node) Link() (string, error) {
	b := make([]byte, unix.PathMax)
	var l int
	err := retry(func() (err error) { l, err = unix.Readlinkat(n.Dir, n.Name, b); return err })
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: n.Path, Err: err}
	}
	return string(b[:l]), nil
}

// Walk calls enter for the folder root and all that is in it, a folder before what
// it holds, names in the order of their bytes, and leave after what it holds (nil:
// not). What enter answers with fs.SkipDir is not entered, nor left. The first error ends it.
// root stays open.
func Walk(ctx context.Context, root int, enter, leave func(*Node) error) error {
	n := &Node{Path: ".", Dir: root, Name: ".", FD: root}
	if err := retry(func() error { return unix.Fstat(root, &n.Stat) }); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	err := walk(ctx, n, 0, enter, leave)
	if errors.Is(err, fs.SkipDir) {
		return nil
	}
	return err
}

func walk(ctx context.Context, n *Node, depth int, enter, leave func(*Node) error) error {
	if depth > MaxDepth {
		return &fs.PathError{Op: "walk", Path: n.Path, Err: ErrDeep}
	}
	if err := enter(n); err != nil {
		return err
	}
	names, err := list(n.FD)
	if err != nil {
		return &fs.PathError{Op: "readdir", Path: n.Path, Err: err}
	}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		c := &Node{Path: name, Dir: n.FD, Name: name, FD: -1}
		if n.Path != "." {
			c.Path = n.Path + "/" + name
		}
		err := retry(func() error { return unix.Fstatat(n.FD, name, &c.Stat, unix.AT_SYMLINK_NOFOLLOW) })
		switch {
		case err != nil:
			return &fs.PathError{Op: "stat", Path: c.Path, Err: err}
		case c.Type() == unix.S_IFDIR:
			err = walkFolder(ctx, c, depth, enter, leave)
		default:
			err = enter(c)
		}
		if err != nil && !errors.Is(err, fs.SkipDir) {
			return err
		}
	}
	if leave == nil {
		return nil
	}
	return leave(n)
}

func walkFolder(ctx context.Context, c *Node, depth int, enter, leave func(*Node) error) error {
	err := retry(func() (err error) {
		c.FD, err = unix.Openat(c.Dir, c.Name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return &fs.PathError{Op: "open", Path: c.Path, Err: err}
	}
	defer Close(c.FD)
	return walk(ctx, c, depth+1, enter, leave)
}

// list is the names in a folder, in order.
func list(fd int) ([]string, error) {
	if _, err := unix.Seek(fd, 0, io.SeekStart); err != nil {
		return nil, err
	}
	var names []string
	buf := make([]byte, 8<<10)
	for {
		var n int
		err := retry(func() (err error) { n, err = unix.ReadDirent(fd, buf); return err })
		if err != nil {
			return nil, err
		}
		if n == 0 {
			slices.Sort(names)
			return names, nil
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
}

// Open opens a file or folder for reading, following links. Anything else (a
// FIFO, a device) is opened without waiting and without effect; whoever calls
// looks at its type.
func Open(path string) (int, error) {
	var fd int
	err := retry(func() (err error) {
		fd, err = unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return -1, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return fd, nil
}

func openat(dir int, name, path string) (int, error) {
	var fd int
	err := retry(func() (err error) {
		fd, err = unix.Openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return -1, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return fd, nil
}

// Close closes a descriptor. What was written to it counts only once it was
// synced, which says what close could.
func Close(fd int) { _ = unix.Close(fd) }

// Stamp tells whether a file is still as it was. A change that leaves all of it
// alone is one within the clock's tick of the one before; whoever cares compares
// what the file holds as well.
type Stamp struct {
	dev, ino     uint64
	mode         uint32
	size         int64
	mtime, ctime unix.Timespec
}

// StampOf is the stamp of what a stat has shown.
func StampOf(st *unix.Stat_t) Stamp {
	s := Stamp{dev: st.Dev, ino: st.Ino, mode: st.Mode, size: st.Size, mtime: st.Mtim, ctime: st.Ctim}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		s.size = 0 // means nothing, and differs between two looks on some filesystems
	}
	return s
}

// String is the same for the same stamp.
func (s Stamp) String() string {
	return fmt.Sprintf("%x.%x.%o.%d.%d.%09d.%d.%09d", s.dev, s.ino, s.mode, s.size, s.mtime.Sec, s.mtime.Nsec, s.ctime.Sec, s.ctime.Nsec)
}

// Stat is a descriptor's stat.
func Stat(fd int) (*unix.Stat_t, error) {
	var st unix.Stat_t
	if err := retry(func() error { return unix.Fstat(fd, &st) }); err != nil {
		return nil, os.NewSyscallError("fstat", err)
	}
	return &st, nil
}

// Written says whether any process has the file, open for reading in fd, open for
// writing; known is false where the filesystem or our rights do not let us know.
//
// A read lease is refused exactly then. It is given back at once: somebody who
// wants to write meanwhile waits for these microseconds, and the SIGIO that this
// would bring is one that the runtime drops.
func Written(fd int) (written, known bool) {
	err := retry(func() error { _, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_RDLCK); return err })
	if err != nil {
		return err == unix.EAGAIN, err == unix.EAGAIN
	}
	// It cannot fail: the lease is ours.
	_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_UNLCK)
	return false, true
}

// retry calls fn until it is not interrupted.
func retry(fn func() error) error {
	for {
		if err := fn(); err != syscall.EINTR {
			return err
		}
	}
}

// Signature stands for a file, or a folder with all that is in it: the same as long
// as nothing of it has changed. It reads no file. written says, of a file, that some
// process has it open for writing.
func Signature(ctx context.Context, fd int) (signature string, written bool, err error) {
	st, err := Stat(fd)
	if err != nil {
		return "", false, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		written, _ = Written(fd)
		return StampOf(st).String(), written, nil
	}
	h := sha256.New()
	err = Walk(ctx, fd, func(n *Node) error {
		_, err := fmt.Fprintf(h, "%q %s\n", n.Path, StampOf(&n.Stat))
		return err
	}, nil)
	return hex.EncodeToString(h.Sum(nil)), false, err
}
