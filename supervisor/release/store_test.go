package release

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"nines/supervisor/copytree"
)

func open(t *testing.T) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "releases"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := copytree.Remove(s.dir); err != nil { // TempDir cannot, but as root
			t.Error(err)
		}
	})
	return s
}

func put(t *testing.T, path, text string, mode fs.FileMode) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func add(t *testing.T, s *Store, path, name string) Release {
	t.Helper()
	r, err := s.Add(t.Context(), path, name)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func sum(text string) string {
	h := sha256.Sum256([]byte(text))
	return hex.EncodeToString(h[:])
}

// names is what stands in a folder.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func TestAddProgram(t *testing.T) {
	s := open(t)
	path := put(t, t.TempDir()+"/web", "#!/bin/sh\n", 0o755)
	r := add(t, s, path, "web")
	want := Release{ID: sum("#!/bin/sh\n"), Path: s.dir + "/" + r.ID + "/web", Size: 10}
	r.Cloned = false
	if !reflect.DeepEqual(r, want) {
		t.Errorf("%+v", r)
	}
	fi, err := os.Stat(r.Path)
	if err != nil || fi.Mode() != 0o555 {
		t.Errorf("%v %v", fi.Mode(), err)
	}
	if fi, err := os.Stat(s.dir); err != nil || fi.Mode().Perm() != 0o711 {
		t.Errorf("%v %v", fi.Mode(), err)
	}
	if fi, err := os.Stat(filepath.Dir(r.Path)); err != nil || fi.Mode().Perm() != 0o711 {
		t.Errorf("%v %v", fi.Mode(), err)
	}
	// What is deployed over it does not touch it.
	put(t, path, "v2", 0o755)
	if b, err := os.ReadFile(r.Path); err != nil || string(b) != "#!/bin/sh\n" {
		t.Errorf("%q %v", b, err)
	}
	v, err := s.Verify(t.Context(), r.ID)
	if err != nil || v.ID != r.ID || v.Size != 10 || v.Folder {
		t.Errorf("%+v %v", v, err)
	}
	// Again: known, the same, under whatever name.
	put(t, path, "#!/bin/sh\n", 0o755)
	if again := add(t, s, path, "web"); !again.Known || again.Path != r.Path {
		t.Errorf("%+v", again)
	}
	api := add(t, s, path, "api")
	if !api.Known || api.Path != s.Path(r.ID, "/srv/api") {
		t.Errorf("%+v", api)
	}
	if b, err := os.ReadFile(api.Path); err != nil || string(b) != "#!/bin/sh\n" {
		t.Errorf("%q %v", b, err)
	}
	if _, err := s.Verify(t.Context(), r.ID); err != nil {
		t.Error(err)
	}
	if got := names(t, s.dir); !slices.Equal(got, []string{r.ID}) {
		t.Errorf("%q", got)
	}
}

// TestModeIsPartOfIt: a file whose mode was mended is another release, so that one
// marked bad for its mode is tried again.
func TestModeIsPartOfIt(t *testing.T) {
	s := open(t)
	path := t.TempDir() + "/web"
	seen := map[string]fs.FileMode{}
	for mode, kept := range map[fs.FileMode]fs.FileMode{0o644: 0o444, 0o600: 0o400, 0o755: 0o555, 0o750: 0o550, 0o700: 0o500, 0o511: 0o511 | 0o044} {
		r := add(t, s, put(t, path, "x", mode), "web")
		if mode == 0o511 {
			kept = 0o511
		}
		fi, err := os.Stat(r.Path)
		if err != nil || fi.Mode() != kept {
			t.Errorf("%v became %v, want %v (%v)", mode, fi.Mode(), kept, err)
		}
		if was, ok := seen[r.ID]; ok {
			t.Errorf("%v and %v are the same", mode, was)
		}
		seen[r.ID] = mode
		if (r.ID == sum("x")) != (mode == 0o755) {
			t.Errorf("%v is %s", mode, r.ID)
		}
		if _, err := s.Verify(t.Context(), r.ID); err != nil {
			t.Errorf("%v: %v", mode, err)
		}
	}
}

func tree(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "app")
	put(t, dir+"/bin/web", "program", 0o755)
	put(t, dir+"/etc/secret", "hush", 0o640)
	put(t, dir+"/share/b\xffad \"name\"\n", "odd", 0o644)
	put(t, dir+"/empty", "", 0o644)
	for link, to := range map[string]string{"current": "bin", "bin/abs": dir + "/etc/secret", "out": "/usr/bin/env", "dangling": "nowhere"} {
		if err := os.Symlink(to, dir+"/"+link); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestAddFolder(t *testing.T) {
	s := open(t)
	dir := tree(t)
	r := add(t, s, dir, "app")
	if !r.Folder || r.Size != 14 || r.Known {
		t.Errorf("%+v", r)
	}
	for path, mode := range map[string]fs.FileMode{"": fs.ModeDir | 0o555, "bin/web": 0o555, "etc/secret": 0o440, "empty": 0o444, "share/b\xffad \"name\"\n": 0o444} {
		if fi, err := os.Lstat(filepath.Join(r.Path, path)); err != nil || fi.Mode() != mode {
			t.Errorf("%s: %v %v", path, fi.Mode(), err)
		}
	}
	for link, want := range map[string]string{"current": "bin", "bin/abs": "../etc/secret", "out": "/usr/bin/env", "dangling": "nowhere"} {
		if to, err := os.Readlink(r.Path + "/" + link); err != nil || to != want {
			t.Errorf("%s leads to %s: %v", link, to, err)
		}
	}
	if _, err := s.Verify(t.Context(), r.ID); err != nil {
		t.Error(err)
	}
	// Reached by a link, it is the same.
	if err := os.Symlink(dir, dir+"-link"); err != nil {
		t.Fatal(err)
	}
	if l := add(t, s, dir+"-link", "app"); l.ID != r.ID || !l.Known {
		t.Errorf("%+v", l)
	}
	id, stored, err := s.Digest(t.Context(), dir)
	if err != nil || id != r.ID || !stored {
		t.Errorf("%s %v %v", id, stored, err)
	}
	put(t, dir+"/bin/web", "Program", 0o755)
	if id, stored, err := s.Digest(t.Context(), dir); err != nil || id == r.ID || stored {
		t.Errorf("%s %v %v", id, stored, err)
	}
	if other := add(t, s, dir, "app"); other.ID == r.ID {
		t.Error("what it holds is not part of its digest")
	}
}

func TestResolve(t *testing.T) {
	s := &Store{dir: "/s"}
	for _, tc := range []struct {
		command, release, want string
		ok                     bool
	}{
		{"/opt/web/web", "/opt/web/web", "/s/ID/web", true},
		{"/opt/web/../web/web", "/opt/web/web", "/s/ID/web", true},
		{"/opt/app/bin/x", "/opt/app", "/s/ID/app/bin/x", true},
		{"/opt/app/bin/x", "/opt/app/", "/s/ID/app/bin/x", true},
		{"/opt/apple", "/opt/app", "/opt/apple", false},
		{"/opt", "/opt/app", "/opt", false},
		{"/usr/bin/java", "/opt/app", "/usr/bin/java", false},
		{"web", "/opt/web", "web", false},
	} {
		if got, ok := s.Resolve(tc.command, tc.release, "ID"); got != tc.want || ok != tc.ok {
			t.Errorf("Resolve(%s, %s) = %s %v", tc.command, tc.release, got, ok)
		}
	}
}

// TestCorrupt: whatever was done to a release, Verify says what, and Add mends it.
func TestCorrupt(t *testing.T) {
	for _, tc := range []struct {
		name string
		do   func(root string) error
		want string
	}{
		{"another byte", func(r string) error { return writeInto(r+"/bin/web", "Program") }, `"bin/web" holds something else`},
		{"cut off", func(r string) error {
			return errors.Join(os.Chmod(r+"/bin/web", 0o755), os.Truncate(r+"/bin/web", 3), os.Chmod(r+"/bin/web", 0o555))
		}, `"bin/web" has 3 bytes instead of 7`},
		{"removed", func(r string) error { return os.Remove(r + "/bin/web") }, `"bin/web" is missing`},
		{"added", func(r string) error { return os.WriteFile(r+"/bin/more", nil, 0o444) }, `"bin/more" is not of it`},
		{"last", func(r string) error { return os.WriteFile(r+"/zzz", nil, 0o444) }, `"zzz" is not of it`},
		{"mode", func(r string) error { return os.Chmod(r+"/bin/web", 0o755) }, `"bin/web" has another mode or owner`},
		{"not executable", func(r string) error { return os.Chmod(r+"/bin/web", 0o444) }, `"bin/web" has another mode or owner`},
		{"link", func(r string) error {
			return errors.Join(os.Remove(r+"/current"), os.Symlink("/", r+"/current"))
		}, `"current" holds something else`},
		{"kind", func(r string) error {
			return errors.Join(os.Remove(r+"/bin/web"), os.Symlink("/bin/sh", r+"/bin/web"))
		}, `"bin/web" is of another kind`},
		{"second", func(r string) error { return os.WriteFile(filepath.Dir(r)+"/x", nil, 0o444) }, `is not of it`},
		{"gone", func(r string) error { return os.RemoveAll(r) }, `it is empty`},
		{"manifest too", func(r string) error {
			return errors.Join(os.Remove(r+"/bin/web"), os.WriteFile(filepath.Dir(r)+"/.manifest", []byte("x"), 0o600))
		}, `its digest is not its name, and neither is that of its manifest`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			dir := tree(t)
			r := add(t, s, dir, "app")
			err := filepath.WalkDir(r.Path, func(p string, d fs.DirEntry, err error) error {
				if err == nil && d.IsDir() && os.Geteuid() != 0 {
					return os.Chmod(p, 0o755)
				}
				return err
			})
			if err := errors.Join(err, tc.do(r.Path)); err != nil {
				t.Fatal(err)
			}
			_, err = s.Verify(t.Context(), r.ID)
			if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), tc.want) && os.Geteuid() == 0 {
				t.Fatalf("%v", err)
			}
			if s.Verified(r.ID) {
				t.Error("it counts as verified")
			}
			if again := add(t, s, dir, "app"); again.ID != r.ID || again.Known || !s.Verified(r.ID) {
				t.Errorf("%+v", again)
			}
			if got := names(t, s.dir); len(got) > 2 {
				t.Errorf("%q", got)
			}
			if _, err := s.Collect(t.Context(), []string{r.ID}); err != nil {
				t.Error(err)
			}
			if got := names(t, s.dir); !slices.Equal(got, []string{r.ID}) {
				t.Errorf("%q", got)
			}
		})
	}
}

func writeInto(path, text string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	fi, err := os.Stat(path)
	if err != nil {
		return err
	}
	return errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, append([]byte(text), b[len(text):]...), 0o600), os.Chmod(path, fi.Mode()))
}

func TestProgramCorrupt(t *testing.T) {
	s := open(t)
	r := add(t, s, put(t, t.TempDir()+"/web", "program", 0o755), "web")
	if err := writeInto(r.Path, "Program"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Verify(t.Context(), r.ID); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), `"web" holds something else`) {
		t.Error(err)
	}
	for _, id := range []string{strings.Repeat("0", 64), "", "../x"} {
		if _, err := s.Verify(t.Context(), id); !errors.Is(err, ErrMissing) {
			t.Errorf("%q: %v", id, err)
		}
	}
}

func TestRefused(t *testing.T) {
	s := open(t)
	dir := t.TempDir()
	put(t, dir+"/file", "x", 0o755)
	if _, err := s.Add(t.Context(), dir+"/no", "web"); !errors.Is(err, fs.ErrNotExist) || !strings.HasPrefix(err.Error(), "cannot add release "+dir+"/no: ") {
		t.Error(err)
	}
	if _, err := s.Add(t.Context(), os.DevNull, "web"); !errors.Is(err, ErrSpecial) {
		t.Error(err)
	}
	for _, name := range []string{"", ".", "..", "a/b", "/", ".manifest", "a\x00"} {
		if _, err := s.Add(t.Context(), dir+"/file", name); err == nil {
			t.Errorf("%q is a name", name)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Add(ctx, dir+"/file", "web"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := Open("relative", nil); err == nil {
		t.Error("a relative path was taken")
	}
	if _, err := Open(dir+"/file/x", nil); err == nil {
		t.Error("a folder in a file was taken")
	}
	if got := names(t, s.dir); len(got) != 0 {
		t.Errorf("%q are left", got)
	}
}

func TestCollect(t *testing.T) {
	s := open(t)
	dir := t.TempDir()
	var ids []string
	for _, text := range []string{"a", "b", "c"} {
		ids = append(ids, add(t, s, put(t, dir+"/web", text, 0o755), "web").ID)
	}
	folder := add(t, s, tree(t), "app").ID
	// What was just added is kept whatever is said.
	if removed, err := s.Collect(t.Context(), nil); err != nil || len(removed) != 0 {
		t.Fatalf("%q %v", removed, err)
	}
	removed, err := s.Collect(t.Context(), ids[:2])
	slices.Sort(removed)
	want := []string{ids[2], folder}
	slices.Sort(want)
	if err != nil || !slices.Equal(removed, want) {
		t.Fatalf("%q %v", removed, err)
	}
	if s.Verified(ids[2]) || !s.Verified(ids[0]) {
		t.Error("what is verified is not what is there")
	}
	want = slices.Clone(ids[:2])
	slices.Sort(want)
	if got := names(t, s.dir); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	put(t, s.dir+"/notes.txt", "an operator's", 0o644)
	if _, err := s.Collect(t.Context(), ids[:2]); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.dir + "/notes.txt"); err != nil {
		t.Error(err)
	}
}

// TestHold: between an Add and the word of it to those who say what is to be kept may
// be any number of collections, and other holds.
func TestHold(t *testing.T) {
	s := open(t)
	dir := t.TempDir()
	collect := func(want int) {
		t.Helper()
		if removed, err := s.Collect(t.Context(), nil); err != nil || len(removed) != want {
			t.Errorf("removed %q, %v, want %d", removed, err, want)
		}
	}
	first := s.Hold()
	a := add(t, s, put(t, dir+"/web", "a", 0o755), "web").ID
	collect(0)
	second := s.Hold()
	add(t, s, put(t, dir+"/web", "b", 0o755), "web")
	collect(0)
	first()
	collect(0)
	collect(0)
	second()
	collect(0) // its list may have been made before
	third := s.Hold()
	if _, err := s.Verify(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	collect(1) // b
	third()
	collect(0)
	collect(1)
}

// TestManyAtOnce: the same and different things added, verified and collected by
// many at once.
func TestManyAtOnce(t *testing.T) {
	s := open(t)
	dir := t.TempDir()
	var paths []string
	for _, text := range []string{"a", "b", "c"} {
		paths = append(paths, put(t, dir+"/"+text, text, 0o755))
	}
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			for range 5 {
				r, err := s.Add(t.Context(), paths[i%3], "web")
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := s.Verify(t.Context(), r.ID); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Go(func() {
		for range 20 {
			if _, err := s.Collect(t.Context(), []string{sum("a"), sum("b"), sum("c")}); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	if got := names(t, s.dir); !slices.Equal(got, []string{sum("c"), sum("b"), sum("a")}) && len(got) != 3 {
		t.Errorf("%q", got)
	}
}
