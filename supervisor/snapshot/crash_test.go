package snapshot

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"nines/testdata/testkit"
)

// envCrash makes the test binary die at the Nth step: take|restore STORE N DATA….
const envCrash = "SNAPSHOT_TEST_CRASH"

// label is the one that crash restores with.
const label = "4-20010909T014640Z"

func TestMain(m *testing.M) {
	if args := strings.Fields(os.Getenv(envCrash)); len(args) >= 3 {
		crash(args[0], args[1], args[2], args[3:])
	}
	os.Exit(m.Run())
}

// crash takes a snapshot, or puts back the only one that there is, and dies at a step of it.
func crash(what, dir, at string, paths []string) {
	fail := func(err error) {
		if err != nil {
			println(err.Error())
			os.Exit(1)
		}
	}
	n, err := strconv.Atoi(at)
	fail(err)
	s, err := Open(dir, func(string) {
		if n--; n == 0 {
			fail(syscall.Kill(os.Getpid(), syscall.SIGKILL))
			select {}
		}
	})
	fail(err)
	if what == "take" {
		_, err = s.Take(context.Background(), request(paths...))
	} else {
		var all []Snapshot
		all, err = s.List()
		fail(err)
		_, err = s.Restore(context.Background(), all[0].ID, label, nil)
	}
	fail(err)
	os.Exit(0)
}

// dies runs crash and says whether it died at that step, or had none such.
func dies(t *testing.T, what, store string, n int, paths ...string) bool {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), envCrash+"="+strings.Join(append([]string{what, store, strconv.Itoa(n)}, paths...), " "))
	out, err := cmd.CombinedOutput()
	if err == nil {
		return false
	}
	var x *exec.ExitError
	if !errors.As(err, &x) || x.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("%v: %s", err, out)
	}
	return true
}

// TestTakeKilledAtEveryStep: a snapshot is there whole or not at all.
func TestTakeKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	for n := 1; ; n++ {
		dir := t.TempDir()
		put(t, dir+"/data/a", "a")
		store := dir + "/snapshots"
		died := dies(t, "take", store, n, dir+"/data")
		s, err := Open(store, nil)
		try(t, err)
		for _, id := range names(t, store) {
			if _, err := s.Get(id); err != nil {
				t.Errorf("step %d: %s is left: %v", n, id, err)
			}
			if b, err := os.ReadFile(filepath.Join(store, id, "0", "a")); err != nil || string(b) != "a" {
				t.Errorf("step %d: %q %v", n, b, err)
			}
		}
		if !died {
			if n < 4 {
				t.Errorf("there are only %d steps", n)
			}
			return
		}
	}
}

// TestRestoreKilledAtEveryStep: whatever step it dies at, and dies at again when it
// goes on, the outcome is the same, and nothing is lost.
func TestRestoreKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	for n := 1; ; n++ {
		dir := t.TempDir()
		if !restoreKilled(t, n, dir, dir+"/data", dir+"/app.db", dir+"/absent") {
			if n < 10 {
				t.Errorf("there are only %d steps", n)
			}
			return
		}
	}
}

// TestMountRestoreKilledAtEveryStep is that for a mount point.
func TestMountRestoreKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	if !testkit.InNamespace(t) {
		return
	}
	for n := 1; ; n++ {
		dir := t.TempDir()
		path := dir + "/data"
		try(t, os.Mkdir(path, 0o700))
		testkit.Mount(t, path, "tmpfs", "size=16m")
		try(t, os.Mkdir(path+"/lost+found", 0o700))
		put(t, path+"/.nines-3-before/x", "of long ago")
		if !restoreKilled(t, n, dir, path) {
			if n < 10 {
				t.Errorf("there are only %d steps", n)
			}
			return
		}
	}
}

// restoreKilled kills a restore of paths at step n, twice, and says whether there is
// such a step. The first path is a folder, the last of three is not there.
func restoreKilled(t *testing.T, n int, dir string, paths ...string) bool {
	t.Helper()
	mount := len(paths) == 1
	put(t, paths[0]+"/a", "old")
	put(t, paths[0]+"/b/c", "old")
	if !mount {
		put(t, paths[1], "old")
	}
	store := dir + "/snapshots"
	s, err := Open(store, nil)
	try(t, err)
	snap := take(t, s, paths...)
	put(t, paths[0]+"/a", "new")
	put(t, paths[0]+"/d", "new")
	try(t, os.RemoveAll(paths[0]+"/b"))
	if !mount {
		put(t, paths[1], "new")
		put(t, paths[2]+"/e", "new")
	}
	died := dies(t, "restore", store, n)
	if died {
		// Once more, a little further on: it begins anew, so at any step.
		dies(t, "restore", store, 1+n%3)
	}
	s, err = Open(store, nil)
	try(t, err)
	if _, err := s.Resume(t.Context(), nil); err != nil {
		t.Fatalf("step %d: %v", n, err)
	}
	res, err := s.Restore(t.Context(), snap.ID, label, nil)
	if err != nil || len(res.Paths) != len(paths) {
		t.Fatalf("step %d: %+v %v", n, res, err)
	}
	aside := paths[0] + ".nines-" + label
	want := map[string]string{paths[0] + "/a": "old", paths[0] + "/b/c": "old", aside + "/a": "new", aside + "/d": "new"}
	if mount {
		aside = paths[0] + "/.nines-" + label
		want = map[string]string{paths[0] + "/a": "old", paths[0] + "/b/c": "old", aside + "/a": "new", aside + "/d": "new", paths[0] + "/.nines-3-before/x": "of long ago"}
		if got := names(t, paths[0]); !slices.Equal(got, []string{".nines-3-before", ".nines-" + label, "a", "b", "lost+found"}) {
			t.Errorf("step %d: %q", n, got)
		}
	} else {
		want[paths[1]], want[paths[1]+".nines-"+label], want[paths[2]+".nines-"+label+"/e"] = "old", "new", "new"
		if got := names(t, dir); len(got) != 6 { // two in place, three aside, the store
			t.Errorf("step %d: %q", n, got)
		}
	}
	for path, text := range want {
		if b, err := os.ReadFile(path); err != nil || string(b) != text {
			t.Errorf("step %d: %s: %q %v", n, path, b, err)
		}
	}
	for i, p := range res.Paths {
		if want := map[bool]string{true: paths[i] + "/.nines-" + label, false: paths[i] + ".nines-" + label}[mount]; p.Path != paths[i] || !slices.Equal(p.To, []string{want}) {
			t.Errorf("step %d: %+v", n, p)
		}
	}
	if got := names(t, store); !slices.Equal(got, []string{snap.ID}) {
		t.Errorf("step %d: %q", n, got)
	}
	return died
}

// TestMounts: what cannot be put back is not kept.
func TestMounts(t *testing.T) {
	t.Parallel()
	if !testkit.InNamespace(t) {
		return
	}
	s := open(t)
	dir := t.TempDir()
	put(t, dir+"/data/a", "a")
	try(t, os.Mkdir(dir+"/data/sub", 0o700))
	take(t, s, dir+"/data")
	testkit.Mount(t, dir+"/data/sub", "tmpfs", "size=1m")
	if _, err := s.Take(t.Context(), request(dir+"/data")); !errors.Is(err, ErrMount) || !strings.Contains(err.Error(), `"sub"`) {
		t.Error(err)
	}
	// One of the same filesystem, and one of a file.
	try(t, os.Mkdir(dir+"/other", 0o700))
	put(t, dir+"/data2/sub/x", "x")
	for _, bind := range [][2]string{{dir + "/other", dir + "/data2/sub"}, {dir + "/data/a", dir + "/data/a"}} {
		try(t, syscall.Mount(bind[0], bind[1], "", syscall.MS_BIND, ""))
		t.Cleanup(func() { try(t, syscall.Unmount(bind[1], syscall.MNT_DETACH)) })
	}
	for _, path := range []string{dir + "/data2", dir + "/data/a"} {
		if _, err := s.Take(t.Context(), request(path)); !errors.Is(err, ErrMount) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestNotMountedYet: a restore that is to be gone on with waits for the filesystem
// that it was on.
func TestNotMountedYet(t *testing.T) {
	t.Parallel()
	if !testkit.InNamespace(t) {
		return
	}
	dir := t.TempDir()
	disk := dir + "/disk"
	try(t, os.Mkdir(disk, 0o700))
	for _, tc := range []struct{ path, point string }{
		{disk, "journaled"}, {disk, "aside"}, {disk, "entry-in"},
		{disk + "/data", "swapping"}, {disk + "/data", "aside"}, {disk + "/data", "in-place"},
		{disk + "/absent", "swapping"},
	} {
		// What is not mounted is kept by mounting it elsewhere as well.
		try(t, os.MkdirAll(dir+"/kept", 0o700))
		testkit.Mount(t, dir+"/kept", "tmpfs", "size=16m")
		try(t, syscall.Mount(dir+"/kept", disk, "", syscall.MS_BIND, ""))
		put(t, disk+"/data/a", "old")
		store := t.TempDir() + "/snapshots"
		s, err := Open(store, nil)
		try(t, err)
		snap := take(t, s, tc.path)
		put(t, disk+"/data/a", "new")
		put(t, disk+"/absent/b", "new")
		died := errors.New("died")
		func() {
			defer func() {
				if r := recover(); r != died {
					panic(r)
				}
			}()
			s.fault = func(point string) {
				if point == tc.point {
					panic(died)
				}
			}
			_, err := s.Restore(t.Context(), snap.ID, label, nil)
			t.Fatalf("%s: it never came to %s: %v", tc.path, tc.point, err)
		}()
		try(t, syscall.Unmount(disk, syscall.MNT_DETACH))
		s, err = Open(store, nil)
		try(t, err)
		var begun *ErrBegun
		if _, err := s.Resume(t.Context(), nil); !errors.As(err, &begun) || !errors.Is(err, ErrUnmounted) {
			t.Errorf("%s, %s: %v", tc.path, tc.point, err)
		}
		if got := names(t, disk); len(got) != 0 {
			t.Errorf("%s, %s: %q", tc.path, tc.point, got)
		}
		try(t, syscall.Mount(dir+"/kept", disk, "", syscall.MS_BIND, ""))
		if _, err := s.Resume(t.Context(), nil); err != nil {
			t.Errorf("%s, %s: %v", tc.path, tc.point, err)
		}
		if tc.path != disk+"/absent" {
			if b, err := os.ReadFile(disk + "/data/a"); err != nil || string(b) != "old" {
				t.Errorf("%s, %s: %q %v", tc.path, tc.point, b, err)
			}
		} else if got := names(t, disk); !slices.Equal(got, []string{"absent.nines-" + label, "data"}) {
			t.Errorf("%q", got)
		}
		try(t, syscall.Unmount(disk, syscall.MNT_DETACH))
	}
}

// TestMountAttributes: owner, mode and times of a mount point are put back.
func TestMountAttributes(t *testing.T) {
	t.Parallel()
	if !testkit.InNamespace(t) {
		return
	}
	s := open(t)
	path := t.TempDir() + "/data"
	try(t, os.Mkdir(path, 0o700))
	testkit.Mount(t, path, "tmpfs", "size=16m")
	data(t, path)
	want := describe(t, path)
	snap := take(t, s, path)
	if !snap.Paths[0].Mount {
		t.Errorf("%+v", snap)
	}
	try(t, os.Chmod(path, 0o700))
	try(t, os.RemoveAll(path+"/db"))
	res, err := s.Restore(t.Context(), snap.ID, "4", nil)
	try(t, err)
	if got, _ := strings.CutPrefix(describe(t, path), ""); !strings.HasPrefix(got, strings.SplitAfter(want, " ")[0]+strings.SplitAfter(want, " ")[1]) {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	try(t, os.RemoveAll(res.Paths[0].To[0]))
	if got, want := cutTime(describe(t, path)), cutTime(want); got != want {
		t.Errorf("put back:\n%s\nwant:\n%s", got, want)
	}
}

// cutTime takes the root's time away, which the test itself has changed.
func cutTime(s string) string {
	line, rest, _ := strings.Cut(s, "\n")
	f := strings.Fields(line)
	return f[0] + " " + f[1] + " " + f[2] + "\n" + rest
}

// TestFullDisk: found out beforehand, or in the middle: nothing has changed, and
// nothing half is left.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	if !testkit.InNamespace(t) {
		return
	}
	store, dir := t.TempDir(), t.TempDir()
	testkit.Mount(t, store, "tmpfs", "size=2m")
	testkit.Mount(t, dir, "tmpfs", "size=4m")
	s, err := Open(store+"/snapshots", nil)
	try(t, err)
	put(t, dir+"/data/a", strings.Repeat("a", 3<<20))
	var space *ErrSpace
	if _, err := s.Take(t.Context(), request(dir+"/data")); !errors.As(err, &space) || !errors.Is(err, syscall.ENOSPC) || space.Need < 3<<20 {
		t.Fatal(err)
	}
	// Another process takes the space meanwhile.
	put(t, dir+"/data/a", strings.Repeat("a", 1<<20))
	s.fault = func(point string) {
		if point == "made" {
			put(t, store+"/fill", strings.Repeat("x", 3<<19))
		}
	}
	if _, err := s.Take(t.Context(), request(dir+"/data")); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	s.fault = func(string) {}
	try(t, os.Remove(store+"/fill"))
	if got := names(t, s.dir); len(got) != 0 {
		t.Errorf("%q", got)
	}
	snap := take(t, s, dir+"/data")
	put(t, dir+"/data/a", "new")
	fill := put(t, dir+"/fill", strings.Repeat("x", 7<<19))
	var begun *ErrBegun
	if _, err := s.Restore(t.Context(), snap.ID, label, nil); !errors.Is(err, syscall.ENOSPC) || errors.As(err, &begun) {
		t.Fatal(err)
	}
	if got := names(t, dir); !slices.Equal(got, []string{"data", "fill"}) {
		t.Errorf("%q", got)
	}
	if got := names(t, s.dir); !slices.Equal(got, []string{snap.ID}) {
		t.Errorf("%q", got)
	}
	try(t, os.Remove(fill))
	if _, err := s.Restore(t.Context(), snap.ID, label, nil); err != nil {
		t.Fatal(err)
	}
	// Where nothing can be written, nothing changes either.
	try(t, syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	if _, err := s.Restore(t.Context(), snap.ID, "5", nil); !errors.Is(err, syscall.EROFS) {
		t.Error(err)
	}
	try(t, syscall.Mount("", dir, "", syscall.MS_REMOUNT, ""))
	if _, err := s.Restore(t.Context(), snap.ID, "5", nil); err != nil {
		t.Error(err)
	}
}
