package release

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestOpenForWriting: as long as any process has it open for writing, it is not
// taken, however long nothing has been written.
func TestOpenForWriting(t *testing.T) {
	s := open(t)
	dir := filepath.Join(t.TempDir(), "app")
	path := put(t, dir+"/web", "half of", 0o755)
	// Another process, as cp would be.
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `exec 3>>"$1"; echo; read x; exec 3>&-; echo; read x`, "sh", path)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := func() {
		t.Helper()
		if _, err := out.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	said()
	for _, p := range []string{path, dir} {
		if _, err := s.Add(t.Context(), p, "web"); !errors.Is(err, ErrChanging) || !strings.Contains(err.Error(), "a process has it open") {
			t.Errorf("%s: %v", p, err)
		}
		if _, _, err := s.Digest(t.Context(), p); !errors.Is(err, ErrChanging) {
			t.Errorf("%s: %v", p, err)
		}
	}
	if got := names(t, s.dir); len(got) != 0 {
		t.Errorf("%q", got)
	}
	if _, err := in.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
	said()
	add(t, s, path, "web")
	add(t, s, dir, "web")
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil && !errors.Is(err, os.ErrClosed) {
		var x *exec.ExitError
		if !errors.As(err, &x) {
			t.Fatal(err)
		}
	}
}

// TestChanging: whatever is done to it at whichever step, it is not taken.
func TestChanging(t *testing.T) {
	for name, do := range map[string]func(dir string) error{
		"written over": func(d string) error { return os.WriteFile(d+"/web", []byte("another"), 0o755) },
		"grown":        func(d string) error { return os.WriteFile(d+"/web", []byte("program and more"), 0o755) },
		"cut":          func(d string) error { return os.Truncate(d+"/web", 1) },
		"mode":         func(d string) error { return os.Chmod(d+"/web", 0o700) },
		"added":        func(d string) error { return os.WriteFile(d+"/more", nil, 0o644) },
		"removed":      func(d string) error { return os.Remove(d + "/other") },
		"replaced": func(d string) error {
			return errors.Join(os.WriteFile(d+"/tmp", []byte("program"), 0o755), os.Rename(d+"/tmp", d+"/web"))
		},
		"link": func(d string) error { return errors.Join(os.Remove(d+"/link"), os.Symlink("other", d+"/link")) },
	} {
		for _, point := range []string{"made", "copied"} {
			t.Run(name+"/"+point, func(t *testing.T) {
				t.Parallel()
				dir := filepath.Join(t.TempDir(), "app")
				put(t, dir+"/web", "program", 0o755)
				put(t, dir+"/other", "other", 0o644)
				if err := os.Symlink("web", dir+"/link"); err != nil {
					t.Fatal(err)
				}
				s, err := Open(filepath.Join(t.TempDir(), "releases"), func(at string) {
					if at == point {
						if err := do(dir); err != nil {
							t.Error(err)
						}
					}
				})
				if err != nil {
					t.Fatal(err)
				}
				if r, err := s.Add(t.Context(), dir, "app"); !errors.Is(err, ErrChanging) {
					t.Errorf("%+v %v", r, err)
				}
				if got := names(t, s.dir); len(got) != 0 {
					t.Errorf("%q are left", got)
				}
			})
		}
	}
}

// TestSpecial: what is no file is not waited for.
func TestSpecial(t *testing.T) {
	s := open(t)
	dir := t.TempDir()
	if err := unix.Mkfifo(dir+"/fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, dir + "/fifo"} {
		if _, err := s.Add(t.Context(), path, "web"); !errors.Is(err, ErrSpecial) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestDropped: rights that are not kept are named.
func TestDropped(t *testing.T) {
	s := open(t)
	dir := t.TempDir() + "/app"
	put(t, dir+"/su", "a", 0o755)
	put(t, dir+"/sg", "b", 0o755)
	put(t, dir+"/cap", "c", 0o755)
	for name, mode := range map[string]os.FileMode{"su": 0o755 | os.ModeSetuid, "sg": 0o755 | os.ModeSetgid} {
		if err := os.Chmod(dir+"/"+name, mode); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{`"sg": set-group-ID`, `"su": set-user-ID`}
	// cap_net_bind_service+ep, as setcap writes it.
	bits := []byte{1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	if err := unix.Setxattr(dir+"/cap", "security.capability", bits, 0); err == nil {
		want = append([]string{`"cap": capabilities`}, want...)
	} else if os.Geteuid() == 0 {
		t.Fatal(err)
	}
	r := add(t, s, dir, "app")
	if strings.Join(r.Dropped, ", ") != strings.Join(want, ", ") {
		t.Errorf("%q, want %q", r.Dropped, want)
	}
	for _, name := range []string{"su", "sg", "cap"} {
		fi, err := os.Lstat(r.Path + "/" + name)
		if err != nil || fi.Mode() != 0o555 {
			t.Errorf("%s: %v %v", name, fi.Mode(), err)
		}
		if n, err := unix.Getxattr(r.Path+"/"+name, "security.capability", nil); err == nil {
			t.Errorf("%s has %d bytes of capabilities", name, n)
		}
	}
}

// TestTextNeverBusy: while others are forking all the time, what was added can be
// executed at once.
func TestTextNeverBusy(t *testing.T) {
	s := open(t)
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for !stop.Load() {
				if err := exec.Command("/bin/true").Run(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	dir := t.TempDir()
	body, err := os.ReadFile("/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 60 {
		path := put(t, dir+"/web", string(append(body, byte(i))), 0o755)
		var r Release
		// The writer above may live on in a child in the same way.
		for deadline := time.Now().Add(time.Minute); ; {
			if r, err = s.Add(t.Context(), path, "web"); !errors.Is(err, ErrChanging) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal(err)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := exec.Command(r.Path).Run(); err != nil {
			t.Fatalf("after %d: %v", i, err)
		}
	}
	stop.Store(true)
	wg.Wait()
}

// TestBusy: a file of the store that somebody has open for writing is waited for,
// and not for ever.
func TestBusy(t *testing.T) {
	s := open(t)
	r := add(t, s, put(t, t.TempDir()+"/web", "x", 0o755), "web")
	if err := os.Chmod(r.Path, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(r.Path, os.O_WRONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(r.Path, 0o555); err != nil {
		t.Fatal(err)
	}
	s.patience = time.Millisecond
	if _, err := s.Verify(t.Context(), r.ID); !errors.Is(err, ErrBusy) {
		t.Error(err)
	}
	s.patience = time.Minute
	done := make(chan error, 1)
	go func() {
		_, err := s.Verify(t.Context(), r.ID)
		done <- err
	}()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
