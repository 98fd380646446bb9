package snapshot

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"nines/supervisor/copytree"

	"golang.org/x/sys/unix"
)

func try(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, path, text string) string {
	t.Helper()
	try(t, os.MkdirAll(filepath.Dir(path), 0o755))
	try(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func open(t *testing.T) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "snapshots"), nil)
	try(t, err)
	t.Cleanup(func() { try(t, copytree.Remove(s.dir)) }) // TempDir cannot, but as root
	return s
}

func request(paths ...string) Request {
	return Request{Service: "web", Revision: 3, Paths: paths, Time: time.Unix(1e9, 0)}
}

func take(t *testing.T, s *Store, paths ...string) Snapshot {
	t.Helper()
	snap, err := s.Take(t.Context(), request(paths...))
	try(t, err)
	return snap
}

// names is what stands in a folder.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	try(t, err)
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// describe is all that must be kept of a tree, as text. Of the folder itself only
// what is said.
func describe(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	first := map[uint64]string{}
	try(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		kind := st.Mode & unix.S_IFMT
		if kind == unix.S_IFSOCK {
			return nil
		}
		fmt.Fprintf(&b, "%q %o %d:%d %d.%09d", rel, st.Mode, st.Uid, st.Gid, st.Mtim.Sec, st.Mtim.Nsec)
		switch kind {
		case unix.S_IFREG:
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			same := first[st.Ino]
			if same == "" {
				first[st.Ino] = rel
			}
			fmt.Fprintf(&b, " %d %x sparse=%v same=%q", st.Size, sha256.Sum256(text), st.Blocks*512 < st.Size, same)
		case unix.S_IFLNK:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " -> %q", to)
		case unix.S_IFCHR, unix.S_IFBLK:
			fmt.Fprintf(&b, " %d", st.Rdev)
		}
		list := make([]byte, 4096)
		n, err := unix.Llistxattr(path, list)
		if err != nil && !errors.Is(err, unix.ENOTSUP) {
			return err
		}
		attrs := strings.FieldsFunc(string(list[:max(n, 0)]), func(r rune) bool { return r == 0 })
		slices.Sort(attrs)
		for _, a := range attrs {
			value := make([]byte, 4096)
			n, err := unix.Lgetxattr(path, a, value)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %s=%x", a, value[:n])
		}
		b.WriteString("\n")
		return nil
	}))
	return b.String()
}

// data makes a folder that has one of everything.
func data(t *testing.T, dir string) {
	t.Helper()
	put(t, dir+"/db/base/1", "rows")
	put(t, dir+"/db/wal/\xff odd\n", "log")
	put(t, dir+"/empty", "")
	try(t, os.Link(dir+"/db/base/1", dir+"/linked"))
	try(t, os.Symlink("db/base/1", dir+"/link"))
	try(t, os.Symlink("/nowhere", dir+"/dangling"))
	try(t, os.Mkdir(dir+"/none", 0o700))
	f, err := os.Create(dir + "/sparse")
	try(t, err)
	_, err = f.WriteAt([]byte("end"), 1<<20)
	try(t, err)
	_, err = f.WriteAt([]byte("middle"), 512<<10)
	try(t, err)
	try(t, f.Truncate(3<<20))
	try(t, f.Close())
	try(t, unix.Mkfifo(dir+"/fifo", 0o640))
	l, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	try(t, err)
	t.Cleanup(func() { _ = unix.Close(l) })
	try(t, os.Chdir(dir)) // the path of a socket is short
	try(t, unix.Bind(l, &unix.SockaddrUnix{Name: "socket"}))
	try(t, os.Chdir("/"))
	if err := unix.Setxattr(dir+"/empty", "user.note", []byte("hello"), 0); err != nil && !errors.Is(err, unix.ENOTSUP) {
		t.Fatal(err)
	}
	// Root of a user namespace may make no device, and knows no other user.
	err = unix.Mknod(dir+"/null", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3)))
	if err == nil {
		try(t, os.Chown(dir+"/db", 1234, 5678))
		try(t, os.Chown(dir+"/db/base/1", 1234, 5678))
		try(t, os.Lchown(dir+"/link", 1234, 5678))
		try(t, os.Chmod(dir+"/db/base/1", 0o640|fs.ModeSetuid))
		// user:1234:r-- as setfacl writes it.
		acl := []byte{2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 0xd2, 4, 0, 0, 4, 0, 0, 0, 255, 255, 255, 255, 16, 0, 4, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255}
		if err := unix.Setxattr(dir+"/sparse", "system.posix_acl_access", acl, 0); err != nil && !errors.Is(err, unix.ENOTSUP) {
			t.Fatal(err)
		}
	}
	try(t, os.Chmod(dir, 0o750|fs.ModeSetgid))
	try(t, os.Chmod(dir+"/none", 0o500))
	old := time.Unix(1234567890, 123456789)
	for _, name := range []string{"none", "db", "sparse", ""} {
		try(t, os.Chtimes(dir+"/"+name, old, old))
	}
}

func TestTakeAndRestore(t *testing.T) {
	s := open(t)
	dir := t.TempDir()
	path := dir + "/data"
	data(t, path)
	want := describe(t, path)
	file := put(t, dir+"/app.db", "one")
	absent := dir + "/later"
	var last, total int64
	r := request(path, file, absent)
	r.Progress = func(done, of int64) { last, total = done, of }
	snap, err := s.Take(t.Context(), r)
	try(t, err)
	if snap.ID != "web-3-20010909T014640Z" || snap.Size != 4+3+4+3<<20+3 || last != total || total != snap.Size || len(snap.Paths) != 3 ||
		!snap.Paths[2].Absent || snap.Paths[0].Sockets != 1 || snap.Paths[0].Space >= 1<<20 {
		t.Errorf("%+v; told %d of %d", snap, last, total)
	}
	if got := describe(t, s.dir+"/"+snap.ID+"/0"); got != want {
		t.Errorf("kept:\n%s\nof:\n%s", got, want)
	}
	if describe(t, path) != want {
		t.Error("it was changed by being copied")
	}
	if fi, err := os.Stat(s.dir); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("%v %v", fi.Mode(), err)
	}
	if got, err := s.Get(snap.ID); err != nil || fmt.Sprint(got) != fmt.Sprint(snap) {
		t.Errorf("%+v %v", got, err)
	}

	// The next version migrates all of it.
	try(t, os.RemoveAll(path+"/db"))
	put(t, path+"/db2/rows", "new")
	put(t, file, "two")
	put(t, absent+"/x", "new too")
	newer := describe(t, path)
	last = 0
	res, err := s.Restore(t.Context(), snap.ID, "4-20010909", r.Progress)
	try(t, err)
	if last != snap.Size || fmt.Sprint(res.Paths) != fmt.Sprintf("[{%s [%s.nines-4-20010909]} {%s [%s.nines-4-20010909]} {%s [%s.nines-4-20010909]}]", path, path, file, file, absent, absent) {
		t.Errorf("%+v, told of %d", res, last)
	}
	if got := describe(t, path); got != want {
		t.Errorf("put back:\n%s\nwant:\n%s", got, want)
	}
	if got := describe(t, path+".nines-4-20010909"); got != newer {
		t.Errorf("aside:\n%s\nwant:\n%s", got, newer)
	}
	for name, text := range map[string]string{file: "one", file + ".nines-4-20010909": "two", absent + ".nines-4-20010909/x": "new too"} {
		if b, err := os.ReadFile(name); err != nil || string(b) != text {
			t.Errorf("%s: %q %v", name, b, err)
		}
	}
	if got := names(t, dir); len(got) != 5 {
		t.Errorf("%q", got)
	}
	if got := names(t, s.dir); !slices.Equal(got, []string{snap.ID}) {
		t.Errorf("%q", got)
	}
	// Once is enough: the service has written since.
	put(t, file, "one and more")
	again, err := s.Restore(t.Context(), snap.ID, "4-20010909", nil)
	if err != nil || fmt.Sprint(again) != fmt.Sprint(res) {
		t.Errorf("%+v %v", again, err)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "one and more" {
		t.Errorf("%q %v", b, err)
	}
	// And again by another name, from the same snapshot.
	if _, err := s.Restore(t.Context(), snap.ID, "5", nil); err != nil {
		t.Error(err)
	}
	if got := describe(t, path); got != want {
		t.Errorf("put back twice:\n%s", got)
	}
	if _, err := s.Restore(t.Context(), snap.ID, "5-2", nil); err != nil {
		t.Error(err)
	}
}

func TestRefused(t *testing.T) {
	s := open(t)
	dir := t.TempDir()
	put(t, dir+"/data/x", "x")
	try(t, os.Symlink("data", dir+"/alias"))
	try(t, os.Symlink("loop", dir+"/loop"))
	for name, tc := range map[string]struct {
		paths []string
		want  error
		text  string
	}{
		"nested":       {[]string{dir + "/data", dir + "/data/x"}, ErrNested, dir + "/data"},
		"twice":        {[]string{dir + "/data", dir + "/data/"}, ErrNested, dir + "/data"},
		"by a link":    {[]string{dir + "/data", dir + "/alias"}, ErrNested, dir + "/alias"},
		"none yet":     {[]string{dir + "/no", dir + "/no/deeper"}, ErrNested, dir + "/no"},
		"relative":     {[]string{"data"}, nil, "no absolute path"},
		"special":      {[]string{os.DevNull}, ErrSpecial, ""},
		"in circles":   {[]string{dir + "/loop"}, nil, "too many links"},
		"below a file": {[]string{dir + "/data/x/y"}, syscall.ENOTDIR, ""},
	} {
		_, err := s.Take(t.Context(), request(tc.paths...))
		if err == nil || tc.want != nil && !errors.Is(err, tc.want) || !strings.HasPrefix(err.Error(), "cannot take a snapshot of web: ") || !strings.Contains(err.Error(), tc.text) {
			t.Errorf("%s: %v", name, err)
		}
	}
	r := request(dir + "/data")
	r.Service = "../x"
	if _, err := s.Take(t.Context(), r); err == nil {
		t.Error("a service named ../x")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Take(ctx, request(dir+"/data")); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for _, id := range []string{"no", "", "../x", ".restore-x"} {
		if _, err := s.Restore(t.Context(), id, "1", nil); !errors.Is(err, ErrMissing) {
			t.Errorf("%q: %v", id, err)
		}
	}
	snap := take(t, s, dir+"/data")
	for _, label := range []string{"", "a/b", ".x", "new-1", "a b"} {
		if _, err := s.Restore(t.Context(), snap.ID, label, nil); err == nil {
			t.Errorf("%q is a label", label)
		}
	}
	// A name that is taken is not mistaken for what was moved there.
	put(t, dir+"/data.nines-7", "x")
	if _, err := s.Restore(t.Context(), snap.ID, "7", nil); err == nil || !strings.Contains(err.Error(), "is there already") {
		t.Error(err)
	}
	// A path that leads elsewhere now.
	try(t, os.Rename(dir+"/data", dir+"/moved"))
	try(t, os.Symlink("moved", dir+"/data"))
	if _, err := s.Restore(t.Context(), snap.ID, "8", nil); !errors.Is(err, ErrMoved) {
		t.Error(err)
	}
	if _, err := Open("relative", nil); err == nil {
		t.Error("a relative path was taken")
	}
	if got := names(t, s.dir); !slices.Equal(got, []string{snap.ID}) {
		t.Errorf("%q", got)
	}
}

// TestThroughLinks: a path that is a link stays one.
func TestThroughLinks(t *testing.T) {
	s := open(t)
	dir := t.TempDir()
	put(t, dir+"/disk/data/x", "old")
	try(t, os.Symlink("disk/data", dir+"/data"))
	try(t, os.Symlink("disk/later", dir+"/later"))
	snap := take(t, s, dir+"/data", dir+"/later")
	put(t, dir+"/disk/data/x", "new")
	put(t, dir+"/disk/later", "new")
	res, err := s.Restore(t.Context(), snap.ID, "4", nil)
	try(t, err)
	if b, err := os.ReadFile(dir + "/data/x"); err != nil || string(b) != "old" {
		t.Errorf("%q %v", b, err)
	}
	if to, err := os.Readlink(dir + "/data"); err != nil || to != "disk/data" {
		t.Errorf("%q %v", to, err)
	}
	if got := names(t, dir+"/disk"); !slices.Equal(got, []string{"data", "data.nines-4", "later.nines-4"}) {
		t.Errorf("%q %+v", got, res)
	}
}

// TestChanging: somebody who was not stopped is found.
func TestChanging(t *testing.T) {
	for name, do := range map[string]func(dir string) error{
		"grows":   func(d string) error { return os.WriteFile(d+"/b", []byte("more than before"), 0o600) },
		"shrinks": func(d string) error { return os.Truncate(d+"/b", 1) },
		"new":     func(d string) error { return os.WriteFile(d+"/c", nil, 0o600) },
		"gone":    func(d string) error { return os.Remove(d + "/b") },
		"kind":    func(d string) error { return errors.Join(os.Remove(d+"/b"), os.Symlink("a", d+"/b")) },
	} {
		dir := t.TempDir()
		put(t, dir+"/data/a", strings.Repeat("a", 1000))
		put(t, dir+"/data/b", "b and so on")
		s := open(t)
		s.fault = func(point string) {
			if point == "made" {
				try(t, do(dir+"/data"))
			}
		}
		if _, err := s.Take(t.Context(), request(dir+"/data")); !errors.Is(err, ErrChanging) {
			t.Errorf("%s: %v", name, err)
		}
		if got := names(t, s.dir); len(got) != 0 {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// TestCancelled: a copy stops when it is told to; a restore goes on later.
func TestCancelled(t *testing.T) {
	s := open(t)
	dir := t.TempDir()
	put(t, dir+"/data/a", strings.Repeat("a", 9<<20))
	put(t, dir+"/data/b", strings.Repeat("b", 9<<20))
	ctx, cancel := context.WithCancel(t.Context())
	r := request(dir + "/data")
	r.Progress = func(int64, int64) { cancel() }
	if _, err := s.Take(ctx, r); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if got := names(t, s.dir); len(got) != 0 {
		t.Errorf("%q", got)
	}
	snap := take(t, s, dir+"/data")
	put(t, dir+"/data/a", "new")
	ctx, cancel = context.WithCancel(t.Context())
	var begun *ErrBegun
	_, err := s.Restore(ctx, snap.ID, "4", func(int64, int64) { cancel() })
	if !errors.As(err, &begun) || begun.ID != snap.ID || begun.Label != "4" || !errors.Is(err, context.Canceled) {
		t.Fatalf("%v", err)
	}
	if b, err := os.ReadFile(dir + "/data/a"); err != nil || string(b) != "new" {
		t.Errorf("%q %v", b, err)
	}
	if _, err := s.Restore(t.Context(), snap.ID, "5", nil); !errors.As(err, &begun) || begun.Label != "4" {
		t.Errorf("%v", err)
	}
	if removed, err := s.Collect(nil); err != nil || len(removed) != 0 {
		t.Errorf("%q %v", removed, err)
	}
	if pending, err := s.Pending(); err != nil || fmt.Sprint(pending) != "map["+snap.ID+":4]" {
		t.Errorf("%v %v", pending, err)
	}
	all, err := s.Resume(t.Context(), nil)
	if err != nil || len(all) != 1 || all[0].Label != "4" {
		t.Errorf("%+v %v", all, err)
	}
	if fi, err := os.Stat(dir + "/data/a"); err != nil || fi.Size() != 9<<20 {
		t.Errorf("%v %v", fi, err)
	}
	if all, err := s.Resume(t.Context(), nil); err != nil || len(all) != 0 {
		t.Errorf("%+v %v", all, err)
	}
}

func TestCollect(t *testing.T) {
	s := open(t)
	dir := t.TempDir()
	put(t, dir+"/data/ro/x", "x")
	try(t, os.Chmod(dir+"/data/ro", 0o500))
	t.Cleanup(func() { try(t, os.Chmod(dir+"/data/ro", 0o700)) })
	a, b, c := take(t, s, dir+"/data"), take(t, s, dir+"/data"), take(t, s, dir+"/data")
	if b.ID != a.ID+"-2" || c.ID != a.ID+"-3" {
		t.Errorf("%s %s %s", a.ID, b.ID, c.ID)
	}
	if all, err := s.List(); err != nil || len(all) != 3 || all[0].ID != a.ID {
		t.Errorf("%+v %v", all, err)
	}
	removed, err := s.Collect([]string{b.ID})
	if err != nil || !slices.Equal(removed, []string{a.ID, c.ID}) {
		t.Errorf("%q %v", removed, err)
	}
	if got := names(t, s.dir); !slices.Equal(got, []string{b.ID}) {
		t.Errorf("%q", got)
	}
	try(t, os.WriteFile(s.dir+"/"+b.ID+"/"+metaName, []byte("{"), 0o600))
	if _, err := s.List(); !errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
	try(t, os.WriteFile(s.journal(b.ID), []byte(`{"format":9}`), 0o600))
	if _, err := s.Resume(t.Context(), nil); !errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
}
