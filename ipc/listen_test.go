package ipc

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestListenModeAndGroup(t *testing.T) {
	for _, mode := range []uint32{0o600, 0o660, 0o666} {
		path := filepath.Join(t.TempDir(), "s")
		l, err := Listen(path, mode, "")
		if err != nil {
			t.Fatal(err)
		}
		fi, err := os.Stat(path)
		if err != nil || uint32(fi.Mode().Perm()) != mode {
			t.Errorf("mode %o: %v, %v", mode, fi.Mode(), err)
		}
		l.Close()
	}
	if os.Getuid() == 0 {
		path := filepath.Join(t.TempDir(), "s")
		l, err := Listen(path, 0o660, "54321")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		fi, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if gid := fi.Sys().(*syscall.Stat_t).Gid; gid != 54321 {
			t.Errorf("gid %d", gid)
		}
	}
}

// TestListenIsBornPrivate: whatever the umask, nobody else can connect under
// the name that the socket has before its mode is set.
func TestListenIsBornPrivate(t *testing.T) {
	dir := t.TempDir()
	temp, path := filepath.Join(dir, ".s"), filepath.Join(dir, "s")
	// A folder in the way of the rename leaves the socket as it was born.
	if err := os.MkdirAll(filepath.Join(path, "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := place(temp, path, 0o666, -1, ""); err == nil {
		t.Fatal("placed nothing")
	}
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	lc := bornPrivate()
	l, err := lc.Listen(t.Context(), "unix", temp)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	fi, err := os.Stat(temp)
	if err != nil {
		t.Fatal(err)
	}
	if fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", fi.Mode())
	}
}

func TestListenReplacesAStaleSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	for _, left := range []string{path, filepath.Join(filepath.Dir(path), ".s")} {
		dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: left, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		dead.SetUnlinkOnClose(false)
		dead.Close()
	}
	l, err := Listen(path, 0o600, "")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dial(t, path)
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); err != nil || len(left) != 1 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestListenRefusals(t *testing.T) {
	dir := t.TempDir()
	live := filepath.Join(dir, "live")
	l, err := Listen(live, 0o600, "")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, ".taken"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ path, group, want string }{
		{live, "", "another supervisor answers"},
		{file, "", "is not a socket"},
		{filepath.Join(dir, "taken"), "", "is not a socket"},
		{filepath.Join(dir, strings.Repeat("x", 110)), "", "longer than"},
		{filepath.Join(dir, "none", "s"), "", "no such file"},
		{filepath.Join(file, "s"), "", "not a directory"},
		{filepath.Join(dir, "s"), "no-such-group-here", "no-such-group-here"},
	} {
		_, err := Listen(tc.path, 0o600, tc.group)
		if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.HasPrefix(err.Error(), "cannot ") {
			t.Errorf("%s: %v, want %q", tc.path, err, tc.want)
		}
	}
	_, err = Listen(live, 0o600, "")
	if e := (*ErrInUse)(nil); !errors.As(err, &e) || e.Path != live {
		t.Errorf("in use: %v", err)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "precious" {
		t.Errorf("the file: %q, %v", b, err)
	}
	dial(t, live)
}

func TestListenWithoutTheRight(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("skipped: root may give a file to any group")
	}
	_, err := Listen(filepath.Join(t.TempDir(), "s"), 0o660, "0")
	if err == nil || !strings.Contains(err.Error(), "group 0") {
		t.Errorf("%v", err)
	}
}

// TestCloseRemovesOnlyItsOwn: the next supervisor's socket stays.
func TestCloseRemovesOnlyItsOwn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	first, err := Listen(path, 0o600, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	second, err := Listen(path, 0o600, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	dial(t, path)
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after Close: %v", err)
	}
}

func TestUnknownGroupLetsNobodyIn(t *testing.T) {
	s := NewServer(ServerConfig{Group: "no-such-group-here", Mode: 0o660})
	if a := s.accessPolicy(); a.hasGroup {
		t.Errorf("%+v", a)
	}
}
