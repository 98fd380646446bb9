package copytree

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"nines/testdata/testkit"
)

func try(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// open opens a file for as long as the test.
func open(t *testing.T, path string, flags int) int {
	t.Helper()
	f, err := os.OpenFile(path, flags, 0o600)
	try(t, err)
	t.Cleanup(func() { try(t, f.Close()) })
	return int(f.Fd())
}

// holes makes a file with data in the middle and at the end.
func holes(t *testing.T, path string, size int64) []byte {
	t.Helper()
	f, err := os.Create(path)
	try(t, err)
	try(t, f.Truncate(size))
	for _, at := range []int64{size / 2, size - 5} {
		_, err := f.WriteAt([]byte("data!"), at)
		try(t, err)
	}
	try(t, f.Close())
	text, err := os.ReadFile(path)
	try(t, err)
	return text
}

// copyFile copies by Content and says what it says.
func copyFile(t *testing.T, to, from string) (cloned bool, told int64) {
	t.Helper()
	src := open(t, from, os.O_RDONLY)
	st, err := Stat(src)
	try(t, err)
	cloned, err = Content(t.Context(), open(t, to, os.O_WRONLY|os.O_CREATE|os.O_EXCL), src, st.Size, func(n int64) { told += n })
	try(t, err)
	if told != st.Size {
		t.Errorf("told of %d of %d bytes", told, st.Size)
	}
	return cloned, told
}

func TestContent(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	if memory, err := os.MkdirTemp("/dev/shm", "copytree"); err == nil {
		other = memory // another filesystem, mostly
		t.Cleanup(func() { try(t, os.RemoveAll(memory)) })
	}
	try(t, os.WriteFile(dir+"/empty", nil, 0o600))
	try(t, os.WriteFile(dir+"/small", []byte("small"), 0o600))
	try(t, os.WriteFile(dir+"/large", bytes.Repeat([]byte("large"), 4<<20), 0o600))
	holes(t, dir+"/holes", 32<<20)
	f, err := os.Create(dir + "/hollow")
	try(t, err)
	try(t, f.Truncate(1<<20))
	try(t, f.Close())
	for _, name := range []string{"empty", "small", "large", "holes", "hollow"} {
		want, err := os.ReadFile(dir + "/" + name)
		try(t, err)
		for _, to := range []string{dir + "/" + name + ".copy", other + "/" + name} {
			copyFile(t, to, dir+"/"+name)
			got, err := os.ReadFile(to)
			try(t, err)
			if !bytes.Equal(got, want) {
				t.Errorf("%s: %d bytes differ from %d", to, len(got), len(want))
			}
			var st unix.Stat_t
			try(t, unix.Stat(to, &st))
			if strings.HasPrefix(name, "ho") && st.Blocks*512 > 1<<20 {
				t.Errorf("%s: its holes take %d bytes", to, st.Blocks*512)
			}
		}
	}
}

// TestContentByBuffer is what is left where the kernel does not copy.
func TestContentByBuffer(t *testing.T) {
	dir := t.TempDir()
	want := bytes.Repeat([]byte("0123456789"), 100_000)
	try(t, os.WriteFile(dir+"/a", want, 0o600))
	c := copier{dst: open(t, dir+"/b", os.O_RDWR|os.O_CREATE), src: open(t, dir+"/a", os.O_RDONLY), most: buffer, buf: make([]byte, buffer)}
	for at := int64(0); at < int64(len(want)); {
		n, err := c.some(at, int64(len(want))-at)
		try(t, err)
		at += n
	}
	got, err := os.ReadFile(dir + "/b")
	try(t, err)
	if !bytes.Equal(got, want) {
		t.Error("it is another")
	}
}

func TestContentErrors(t *testing.T) {
	dir := t.TempDir()
	try(t, os.WriteFile(dir+"/a", []byte("short"), 0o600))
	src, dst := open(t, dir+"/a", os.O_RDONLY), open(t, dir+"/b", os.O_WRONLY|os.O_CREATE)
	// Of a file that shares its blocks, whether all are there is for the caller to see.
	if cloned, err := Content(t.Context(), dst, src, 1<<20, nil); !cloned && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("one that has become shorter: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Content(ctx, dst, src, 5, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := Content(t.Context(), open(t, os.DevNull, os.O_RDONLY), src, 5, nil); !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EBADF) {
		t.Error(err)
	}
}

func TestWalk(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{"b/x", "b/y", "a-", "a/deep/file", "skip/not"} {
		try(t, os.MkdirAll(filepath.Dir(dir+"/"+path), 0o700))
		try(t, os.WriteFile(dir+"/"+path, nil, 0o600))
	}
	try(t, os.Symlink("/", dir+"/link"))
	fd := open(t, dir, os.O_RDONLY)
	var seen []string
	for range 2 { // a descriptor can be walked again
		seen = nil
		try(t, Walk(t.Context(), fd, func(n *Node) error {
			seen = append(seen, n.Path)
			if n.Type() == unix.S_IFLNK {
				if to, err := n.Link(); err != nil || to != "/" {
					t.Errorf("%q %v", to, err)
				}
			}
			if n.Path == "skip" {
				return fs.SkipDir
			}
			return nil
		}, func(n *Node) error { seen = append(seen, n.Path+"/"); return nil }))
	}
	if want := strings.Fields(". a a/deep a/deep/file a/deep/ a/ a- b b/x b/y b/ link skip ./"); !slices.Equal(seen, want) {
		t.Errorf("%q\n%q", seen, want)
	}
	boom := errors.New("boom")
	if err := Walk(t.Context(), fd, func(n *Node) error {
		if n.Path == "b/x" {
			return boom
		}
		return nil
	}, nil); !errors.Is(err, boom) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := Walk(ctx, fd, func(*Node) error { cancel(); return nil }, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	try(t, os.MkdirAll(dir+strings.Repeat("/d", MaxDepth), 0o700))
	none := func(*Node) error { return nil }
	try(t, Walk(t.Context(), fd, none, nil))
	try(t, os.Mkdir(dir+strings.Repeat("/d", MaxDepth+1), 0o700))
	if err := Walk(t.Context(), fd, none, nil); !errors.Is(err, ErrDeep) {
		t.Error(err)
	}
	if err := Walk(t.Context(), open(t, os.DevNull, os.O_RDONLY), none, nil); err == nil {
		t.Error("what is no folder was walked")
	}
}

// TestWalkIsNotLedAstray: what was a folder a moment ago, and is a link now, is not
// followed.
func TestWalkIsNotLedAstray(t *testing.T) {
	dir := t.TempDir()
	try(t, os.MkdirAll(dir+"/walked/sub", 0o700))
	try(t, os.MkdirAll(dir+"/secret/key", 0o700))
	try(t, os.WriteFile(dir+"/walked/a", nil, 0o600))
	err := Walk(t.Context(), open(t, dir+"/walked", os.O_RDONLY), func(n *Node) error {
		switch n.Path {
		case "a":
			try(t, os.Remove(dir+"/walked/a"))
			try(t, os.Symlink(dir+"/secret", dir+"/walked/a"))
			if _, err := n.Open(); !errors.Is(err, unix.ELOOP) {
				t.Errorf("%v", err)
			}
		case "sub/key":
			t.Error("it was led astray")
		case "sub":
			try(t, os.Remove(dir+"/walked/sub"))
			try(t, os.Symlink(dir+"/secret", dir+"/walked/sub"))
		}
		return nil
	}, nil)
	if !errors.Is(err, fs.ErrNotExist) { // the folder that was opened is no more
		t.Error(err)
	}
}

func TestStampAndSignature(t *testing.T) {
	dir := t.TempDir()
	path := dir + "/a"
	try(t, os.WriteFile(path, []byte("a"), 0o600))
	sign := func(path string) (string, bool) {
		t.Helper()
		fd, err := Open(path)
		try(t, err)
		defer Close(fd)
		s, written, err := Signature(t.Context(), fd)
		try(t, err)
		return s, written
	}
	file, _ := sign(path)
	folder, _ := sign(dir)
	if again, written := sign(path); again != file || written {
		t.Errorf("%s %s %v", again, file, written)
	}
	try(t, os.Chmod(path, 0o700))
	if again, _ := sign(path); again == file {
		t.Error("its mode is not part of it")
	}
	if again, _ := sign(dir); again == folder {
		t.Error("what is in it is not part of it")
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	try(t, err)
	if _, written := sign(path); !written {
		t.Error("nobody is seen writing")
	}
	try(t, f.Close())
	// A child that some other goroutine forks has it open until its exec.
	for {
		if _, written := sign(path); !written {
			break
		}
	}
}

// TestReflink: on a filesystem that shares blocks, a copy takes no space.
func TestReflink(t *testing.T) {
	mkfs, err := exec.LookPath("mkfs.btrfs")
	if err != nil {
		mkfs = "/usr/sbin/mkfs.btrfs"
	}
	if _, err := os.Stat(mkfs); err != nil || os.Geteuid() != 0 {
		t.Skip("skipped: needs root and mkfs.btrfs (apt-get install btrfs-progs)")
	}
	if !testkit.InNamespace(t) {
		return
	}
	dir := t.TempDir()
	try(t, os.WriteFile(dir+"/image", nil, 0o600))
	try(t, os.Truncate(dir+"/image", 256<<20))
	try(t, os.Mkdir(dir+"/disk", 0o700))
	if out, err := exec.CommandContext(t.Context(), mkfs, "-q", dir+"/image").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := exec.CommandContext(t.Context(), "mount", "-t", "btrfs", "-o", "loop", dir+"/image", dir+"/disk").CombinedOutput(); err != nil {
		t.Skipf("skipped: cannot mount btrfs: %v: %s", err, out)
	}
	t.Cleanup(func() { try(t, syscall.Unmount(dir+"/disk", 0)) })
	want := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	try(t, os.WriteFile(dir+"/disk/a", want, 0o600))
	before := free(t, dir+"/disk")
	if cloned, _ := copyFile(t, dir+"/disk/b", dir+"/disk/a"); !cloned {
		t.Error("its blocks are not shared")
	}
	got, err := os.ReadFile(dir + "/disk/b")
	try(t, err)
	if !bytes.Equal(got, want) {
		t.Error("it is another")
	}
	if after := free(t, dir+"/disk"); before-after > 4<<20 {
		t.Errorf("16 MiB took %d bytes", before-after)
	}
	// From elsewhere it is copied.
	try(t, os.WriteFile(dir+"/c", want, 0o600))
	if cloned, _ := copyFile(t, dir+"/disk/c", dir+"/c"); cloned {
		t.Error("two filesystems share blocks")
	}
}

// free is how much space there is once all is written.
func free(t *testing.T, path string) int64 {
	t.Helper()
	fd, err := Open(path)
	try(t, err)
	defer Close(fd)
	try(t, SyncAll(fd))
	try(t, SyncFolder(path))
	var st unix.Statfs_t
	try(t, unix.Statfs(path, &st))
	return int64(st.Bavail) * st.Bsize
}
