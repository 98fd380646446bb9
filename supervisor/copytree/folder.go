package copytree

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// Lock takes a folder for this process, until fd is closed: what no process has is
// left from a crash. It fails at once (EWOULDBLOCK) where another has it.
func Lock(path string) (fd int, err error) {
	if fd, err = Open(path); err != nil {
		return -1, err
	}
	for {
		if err = unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != syscall.EINTR {
			break
		}
	}
	if err != nil {
		Close(fd)
		return -1, os.NewSyscallError("flock", err)
	}
	return fd, nil
}

// Remove removes a tree, also one in whose folders its owner may not write: who is
// not root may not take names out of such. Nothing in it may be a mount point; what
// is copied never is.
func Remove(path string) error {
	var err error
	if os.Geteuid() != 0 { // root may anyway, and must not change what a link leads to
		err = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				err = os.Chmod(p, 0o700)
			}
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		})
	}
	if rerr := os.RemoveAll(path); rerr == nil {
		return nil // whatever stood in the way of the first
	} else if err == nil {
		err = rerr
	}
	return err
}
