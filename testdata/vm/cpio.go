package vm

import (
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// archive writes a cpio archive in the newc format, which the kernel unpacks
// into its first root filesystem (Documentation/driver-api/early-userspace/
// buffer-format.rst). Folders are made as they are needed.
type archive struct {
	w    io.Writer
	n    uint64 // inode numbers only have to differ
	made map[string]bool
	err  error
}

func newArchive(w io.Writer) *archive {
	return &archive{w: w, made: map[string]bool{"/": true}}
}

// entry adds one file; its name is absolute. The first error stays.
func (a *archive) entry(name string, mode uint32, device uint64, body []byte) {
	a.folders(path.Dir(name))
	a.made[name] = true
	a.header(strings.TrimPrefix(name, "/"), mode, device, body)
}

func (a *archive) header(name string, mode uint32, device uint64, body []byte) {
	if a.err != nil {
		return
	}
	a.n++
	// ino mode uid gid nlink mtime size major minor rmajor rminor namesize check
	head := fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00", a.n, mode, 0, 0, 1, 0, len(body),
		0, 0, unix.Major(device), unix.Minor(device), len(name)+1, 0, name)
	_, a.err = io.WriteString(a.w, head+padding(len(head)))
	if a.err == nil {
		_, a.err = a.w.Write(body)
	}
	if a.err == nil {
		_, a.err = io.WriteString(a.w, padding(len(body)))
	}
}

// padding is what a part of n bytes lacks to a multiple of 4.
func padding(n int) string { return "\x00\x00\x00"[:-n&3] }

func (a *archive) folders(dir string) {
	if a.made[dir] {
		return
	}
	a.folders(path.Dir(dir))
	a.made[dir] = true
	a.header(strings.TrimPrefix(dir, "/"), unix.S_IFDIR|0o755, 0, nil)
}

func (a *archive) file(name string, body []byte, perm fs.FileMode) {
	a.entry(name, unix.S_IFREG|uint32(perm.Perm()), 0, body)
}

func (a *archive) symlink(name, to string) { a.entry(name, unix.S_IFLNK|0o777, 0, []byte(to)) }

func (a *archive) device(name string, major, minor uint32) {
	a.entry(name, unix.S_IFCHR|0o600, unix.Mkdev(major, minor), nil)
}

// close ends the archive; it says what went wrong in all of it.
func (a *archive) close() error {
	a.header("TRAILER!!!", 0, 0, nil)
	return a.err
}
