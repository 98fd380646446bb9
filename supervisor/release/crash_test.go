package release

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"nines/supervisor/copytree"
	"nines/testdata/testkit"
)

// envCrash makes the test binary use a store and die there: STORE SOURCE POINT.
const envCrash = "RELEASE_TEST_CRASH"

func TestMain(m *testing.M) {
	if args := strings.Fields(os.Getenv(envCrash)); len(args) == 3 {
		crash(args[0], args[1], args[2])
	}
	os.Exit(m.Run())
}

// crash goes through all that a store does, and dies at a point of it.
func crash(dir, source, point string) {
	fail := func(err error) {
		if err != nil {
			println(err.Error())
			os.Exit(1)
		}
	}
	s, err := Open(dir, func(at string) {
		if at == point {
			fail(syscall.Kill(os.Getpid(), syscall.SIGKILL))
			select {}
		}
	})
	fail(err)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r, err := s.Add(ctx, source, "app")
	fail(err)
	_, err = s.Add(ctx, source, "other")
	fail(err)
	for range 2 { // what was added since the one before is kept
		_, err = s.Collect(ctx, []string{r.ID})
		fail(err)
	}
	println("never came to " + point)
	os.Exit(2)
}

// TestKilledAtEveryStep: a store that was killed anywhere has what it had, and
// takes the same again.
func TestKilledAtEveryStep(t *testing.T) {
	for _, kind := range []string{"file", "folder"} {
		for _, point := range points {
			t.Run(kind+"/"+point, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				source := put(t, dir+"/web", "program", 0o755)
				if kind == "folder" {
					source = tree(t)
				}
				store := dir + "/releases"
				s, err := Open(store, nil)
				if err != nil {
					t.Fatal(err)
				}
				old := add(t, s, put(t, dir+"/old", "old", 0o755), "app").ID
				cmd := exec.CommandContext(t.Context(), os.Args[0])
				cmd.Env = append(os.Environ(), envCrash+"="+store+" "+source+" "+point)
				out, err := cmd.CombinedOutput()
				var x *exec.ExitError
				if !errors.As(err, &x) || x.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
					t.Fatalf("%v: %s", err, out)
				}
				t.Cleanup(func() {
					if err := copytree.Remove(store); err != nil {
						t.Error(err)
					}
				})
				if s, err = Open(store, nil); err != nil {
					t.Fatal(err)
				}
				for _, name := range names(t, store) {
					if !validID(name) {
						t.Errorf("%s is left", name)
						continue
					}
					// Whatever has a name is whole.
					if _, err := s.Verify(t.Context(), name); err != nil {
						t.Error(err)
					}
				}
				r := add(t, s, source, "app")
				if _, err := s.Verify(t.Context(), r.ID); err != nil {
					t.Error(err)
				}
				removed, err := s.Collect(t.Context(), []string{old, r.ID})
				if err != nil || len(removed) != 0 {
					t.Errorf("%q %v", removed, err)
				}
				if _, err := s.Collect(t.Context(), []string{r.ID}); err != nil {
					t.Error(err)
				}
				if got := names(t, store); !slices.Equal(got, []string{r.ID}) {
					t.Errorf("%q", got)
				}
			})
		}
	}
}

// TestFullDisk: nothing half is left, what was there can be used, and it is added
// once there is space.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	if !testkit.InNamespace(t) {
		return
	}
	dir := testkit.Disk(t, "1m")
	s, err := Open(dir+"/releases", nil)
	if err != nil {
		t.Fatal(err)
	}
	old := add(t, s, put(t, t.TempDir()+"/old", "old", 0o755), "web")
	big := filepath.Join(t.TempDir(), "app")
	put(t, big+"/a", strings.Repeat("a", 300<<10), 0o755)
	put(t, big+"/b", strings.Repeat("b", 900<<10), 0o755)
	for _, path := range []string{big, big + "/b"} {
		fill := put(t, dir+"/fill", strings.Repeat("x", 200<<10), 0o600)
		if _, err := s.Add(t.Context(), path, "web"); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("%v", err)
		}
		if got := names(t, s.dir); !slices.Equal(got, []string{old.ID}) {
			t.Errorf("%q", got)
		}
		if _, err := s.Verify(t.Context(), old.ID); err != nil {
			t.Error(err)
		}
		if err := os.Remove(fill); err != nil {
			t.Fatal(err)
		}
	}
	add(t, s, big+"/b", "web")
}

// TestReadOnly: what is there can be used, and nothing else fails but what writes.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	if !testkit.InNamespace(t) {
		return
	}
	dir := testkit.Disk(t, "1m")
	s, err := Open(dir+"/releases", nil)
	if err != nil {
		t.Fatal(err)
	}
	old := add(t, s, put(t, t.TempDir()+"/old", "old", 0o755), "web")
	if err := os.Mkdir(s.dir+"/trash-x", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(dir+"/releases", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Verify(t.Context(), old.ID); err != nil {
		t.Error(err)
	}
	if _, err := s.Add(t.Context(), put(t, t.TempDir()+"/new", "new", 0o755), "web"); !errors.Is(err, syscall.EROFS) {
		t.Error(err)
	}
	if _, err := s.Collect(t.Context(), []string{old.ID}); !errors.Is(err, syscall.EROFS) {
		t.Error(err)
	}
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Collect(t.Context(), []string{old.ID}); err != nil {
		t.Error(err)
	}
	if got := names(t, s.dir); !slices.Equal(got, []string{old.ID}) {
		t.Errorf("%q", got)
	}
}
