package snapshot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"nines/supervisor/copytree"
)

// own says whether a name at the top of a mount point is not part of its data.
func own(path string) bool {
	return strings.HasPrefix(path, ".nines-") && !strings.Contains(path, "/") || path == "lost+found"
}

// survey is what there is to copy.
type survey struct {
	signature string
	size      int64  // bytes in files: what progress counts
	space     int64  // bytes that they take on disk
	files     int64  // of any kind but folders and sockets
	sockets   int64  //
	sample    string // some file with something in it
}

// look walks what fd is. mount: see own.
func look(ctx context.Context, fd int, mount bool) (survey, error) {
	st, err := copytree.Stat(fd)
	if err != nil {
		return survey{}, err
	}
	var s survey
	h := sha256.New()
	add := func(path string, st *unix.Stat_t) error {
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			s.size += st.Size
			if s.sample == "" && st.Blocks > 0 {
				s.sample = path
			}
		case unix.S_IFSOCK:
			s.sockets++
			return nil
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			s.files++
		}
		s.space += st.Blocks * 512
		stamp := copytree.StampOf(st).String()
		if path == "." && st.Mode&unix.S_IFMT == unix.S_IFDIR {
			stamp = "" // its times may change by what is moved there
		}
		_, err := fmt.Fprintf(h, "%q %s\n", path, stamp)
		return err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		err = add(".", st)
	case unix.S_IFDIR:
		err = copytree.Walk(ctx, fd, func(n *copytree.Node) error {
			if mount && own(n.Path) {
				return fs.SkipDir
			}
			return add(n.Path, &n.Stat)
		}, nil)
	default:
		err = ErrSpecial
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = ErrChanging
	}
	s.signature = hex.EncodeToString(h.Sum(nil))
	return s, err
}

// copier copies a tree as it is.
type copier struct {
	ctx      context.Context
	mount    bool // the source is a mount point: see own
	name     string
	stack    []int    // the folders that are being filled; the first is not ours
	devs     []uint64 // and the devices of what they are copied from
	links    map[inode]string
	progress func(int64)
	cloned   bool
}

type inode struct{ dev, ino uint64 }

// copyTree makes a copy of what src is, as name in the folder to.
func copyTree(ctx context.Context, to int, name string, src int, mount bool, progress func(int64)) (cloned bool, err error) {
	st, err := copytree.Stat(src)
	if err != nil {
		return false, err
	}
	c := &copier{ctx: ctx, mount: mount, name: name, stack: []int{to}, devs: []uint64{st.Dev}, links: map[inode]string{}, progress: progress}
	defer func() {
		for _, fd := range c.stack[1:] {
			copytree.Close(fd)
		}
	}()
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		err = copytree.Walk(ctx, src, c.enter, c.leave)
	} else {
		err = c.content(&place{to: to, name: name, from: "/proc/self/fd/" + strconv.Itoa(src), follow: true, path: name, st: st}, src)
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("%w (%v)", ErrChanging, err)
	}
	return c.cloned, err
}

// place is where one copy goes, and where its attributes come from.
type place struct {
	to     int    // folder
	name   string // in it
	from   string // path of the original
	follow bool   // from is a link to it
	path   string // for messages
	st     *unix.Stat_t
}

func (c *copier) place(n *copytree.Node) *place {
	p := &place{to: c.stack[len(c.stack)-1], name: n.Name, from: "/proc/self/fd/" + strconv.Itoa(n.Dir) + "/" + n.Name, path: n.Path, st: &n.Stat}
	if n.Path == "." {
		p.name = c.name
	}
	return p
}

func (c *copier) enter(n *copytree.Node) error {
	if c.mount && own(n.Path) {
		return fs.SkipDir
	}
	p := c.place(n)
	fail := func(op string, err error) error { return &fs.PathError{Op: op, Path: n.Path, Err: err} }
	switch n.Type() {
	case unix.S_IFDIR:
		if n.Path != "." && mountPoint(n.Dir, n.Name, n.Stat.Dev != c.devs[len(c.devs)-1]) {
			return fmt.Errorf("%q: %w", n.Path, ErrMount)
		}
		if err := unix.Mkdirat(p.to, p.name, 0o700); err != nil {
			return fail("mkdir", err)
		}
		fd, err := unix.Openat(p.to, p.name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return fail("open", err)
		}
		c.stack, c.devs = append(c.stack, fd), append(c.devs, n.Stat.Dev)
		if n.Path == "." {
			// What the folder around it would have all inherit.
			for _, name := range []string{"system.posix_acl_default", "system.posix_acl_access"} {
				if err := unix.Fremovexattr(fd, name); err != nil && err != unix.ENODATA && err != unix.EOPNOTSUPP {
					return fail("fremovexattr", err)
				}
			}
		}
		return nil
	case unix.S_IFREG:
		if n.Stat.Dev != c.devs[len(c.devs)-1] {
			return fmt.Errorf("%q: %w", n.Path, ErrMount)
		}
		return c.file(n, p)
	case unix.S_IFLNK:
		to, err := n.Link()
		if err != nil {
			return err
		}
		if err := unix.Symlinkat(to, p.to, p.name); err != nil {
			return fail("symlink", err)
		}
		return p.attributes()
	case unix.S_IFSOCK:
		return nil
	}
	if err := unix.Mknodat(p.to, p.name, n.Stat.Mode&unix.S_IFMT|0o600, int(n.Stat.Rdev)); err != nil {
		return fail("mknod", err)
	}
	return p.attributes()
}

func (c *copier) leave(n *copytree.Node) error {
	last := len(c.stack) - 1
	copytree.Close(c.stack[last])
	c.stack, c.devs = c.stack[:last], c.devs[:last]
	return c.place(n).attributes()
}

// file copies a regular file, or makes a link to the copy of one with more names.
func (c *copier) file(n *copytree.Node, p *place) error {
	id := inode{n.Stat.Dev, n.Stat.Ino}
	if first, ok := c.links[id]; ok {
		if err := unix.Linkat(c.stack[1], first, p.to, p.name, 0); err != nil {
			return &fs.PathError{Op: "link", Path: n.Path, Err: err}
		}
		c.progress(n.Stat.Size)
		return nil
	}
	fd, err := n.Open()
	if errors.Is(err, unix.ELOOP) {
		return fmt.Errorf("%q: %w", n.Path, ErrChanging)
	}
	if err != nil {
		return err
	}
	defer copytree.Close(fd)
	if st, err := copytree.Stat(fd); err != nil || copytree.StampOf(st) != copytree.StampOf(p.st) {
		return errors.Join(err, fmt.Errorf("%q: %w", n.Path, ErrChanging))
	}
	if n.Stat.Nlink > 1 {
		c.links[id] = n.Path
	}
	return c.content(p, fd)
}

func (c *copier) content(p *place, from int) error {
	to, err := unix.Openat(p.to, p.name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return &fs.PathError{Op: "open", Path: p.path, Err: err}
	}
	defer copytree.Close(to) // all is synced at the end
	cloned, err := copytree.Content(c.ctx, to, from, p.st.Size, c.progress)
	if err != nil {
		return &fs.PathError{Op: "copy", Path: p.path, Err: err}
	}
	c.cloned = c.cloned || cloned
	return p.attributes()
}

// attributes gives the copy all but what it holds. The order matters: a change of
// owner takes set-user-ID and capabilities away, and everything changes times.
func (p *place) attributes() error {
	fail := func(op string, err error) error { return &fs.PathError{Op: op, Path: p.path, Err: err} }
	var now unix.Stat_t
	if err := unix.Fstatat(p.to, p.name, &now, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fail("stat", err)
	}
	if now.Uid != p.st.Uid || now.Gid != p.st.Gid {
		if err := unix.Fchownat(p.to, p.name, int(p.st.Uid), int(p.st.Gid), unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return fail("chown", err)
		}
	}
	link := p.st.Mode&unix.S_IFMT == unix.S_IFLNK
	if !link {
		if err := unix.Fchmodat(p.to, p.name, p.st.Mode&0o7777, 0); err != nil {
			return fail("chmod", err)
		}
	}
	if err := p.xattrs(); err != nil {
		return err
	}
	times := []unix.Timespec{p.st.Atim, p.st.Mtim}
	if err := unix.UtimesNanoAt(p.to, p.name, times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fail("utimes", err)
	}
	return nil
}

// xattrs copies extended attributes, access control lists among them.
func (p *place) xattrs() error {
	list, get := unix.Llistxattr, unix.Lgetxattr
	if p.follow {
		list, get = unix.Listxattr, unix.Getxattr
	}
	names, err := sized(func(b []byte) (int, error) { return list(p.from, b) })
	if errors.Is(err, unix.ENOTSUP) || err == nil && len(names) == 0 {
		return nil
	}
	if err != nil {
		return &fs.PathError{Op: "listxattr", Path: p.path, Err: err}
	}
	to := p.name // absolute, if it is in no folder
	if p.to != unix.AT_FDCWD {
		to = filepath.Join("/proc/self/fd", strconv.Itoa(p.to), p.name)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names), "\x00"), "\x00") {
		value, err := sized(func(b []byte) (int, error) { return get(p.from, name, b) })
		if errors.Is(err, unix.ENODATA) {
			continue // only listed for those who may read it
		}
		if err == nil {
			err = unix.Lsetxattr(to, name, value, 0)
		}
		if err != nil && !policys(name, err) {
			return &fs.PathError{Op: "setxattr " + name, Path: p.path, Err: err}
		}
	}
	return nil
}

// policys says whether an attribute that could not be kept is one that a security
// module gives by its own rules.
func policys(name string, err error) bool {
	return (strings.HasPrefix(name, "security.") && name != "security.capability" || strings.HasPrefix(name, "trusted.")) &&
		(errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EACCES))
}

// sized calls fn with a buffer that is large enough.
func sized(fn func([]byte) (int, error)) ([]byte, error) {
	for {
		n, err := fn(nil)
		if err != nil || n == 0 {
			return nil, err
		}
		b := make([]byte, n)
		if n, err = fn(b); !errors.Is(err, unix.ERANGE) {
			return b[:max(n, 0)], err
		}
	}
}

// mountPoint says whether a name in a folder is one. Where the kernel (before 5.8)
// does not tell, another device does.
func mountPoint(dir int, name string, other bool) bool {
	var st unix.Statx_t
	if err := unix.Statx(dir, name, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, 0, &st); err != nil || st.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT == 0 {
		return other
	}
	return st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
}

// mounted is mountPoint of a path.
func mounted(path string) (bool, error) {
	fi, err := os.Lstat(path)
	if err != nil {
		return false, err
	}
	around, err := os.Lstat(filepath.Dir(path))
	if err != nil {
		return false, err
	}
	a, b := fi.Sys().(*syscall.Stat_t), around.Sys().(*syscall.Stat_t)
	return mountPoint(unix.AT_FDCWD, path, a.Dev != b.Dev), nil
}
