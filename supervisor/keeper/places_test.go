package keeper

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestFindPlace(t *testing.T) {
	for _, c := range []struct {
		flag string
		env  []string
		uid  int
		want []Place // the first, and its spares
	}{
		{"/x/y/../z", []string{"NINES_RUNTIME_DIR=/e"}, 0, []Place{{Path: "/x/z", Mode: 0o711, Chosen: true}}},
		{"", []string{"NINES_RUNTIME_DIR=/e", "NINES_RUNTIME_DIR=/f"}, 0, []Place{{Path: "/f", Mode: 0o711, Chosen: true}}},
		{"", []string{"NINES_RUNTIME_DIR=", "XDG_RUNTIME_DIR=/run/user/0"}, 0,
			[]Place{{Path: "/run/nines", Mode: 0o711}, {Path: "/tmp/nines-0", Mode: 0o711}, {Path: "/dev/shm/nines-0", Mode: 0o711}}},
		{"", []string{"XDG_RUNTIME_DIR=/run/user/7"}, 7,
			[]Place{{Path: "/run/user/7/nines", Mode: 0o711}, {Path: "/tmp/nines-7", Mode: 0o700}, {Path: "/dev/shm/nines-7", Mode: 0o700}}},
		{"", []string{"XDG_RUNTIME_DIR=relative"}, 7, []Place{{Path: "/tmp/nines-7", Mode: 0o700}, {Path: "/dev/shm/nines-7", Mode: 0o700}}},
		{"", nil, 7, []Place{{Path: "/tmp/nines-7", Mode: 0o700}, {Path: "/dev/shm/nines-7", Mode: 0o700}}},
	} {
		got, err := FindPlace(c.flag, c.env, c.uid)
		all := append([]Place{got}, got.spare...)
		all[0].spare = nil
		if err != nil || !reflect.DeepEqual(all, c.want) {
			t.Errorf("FindPlace(%q, %q, %d) = %v, %v; want %v", c.flag, c.env, c.uid, all, err, c.want)
		}
	}
	if got, err := FindPlace("here", nil, 0); err != nil || !filepath.IsAbs(got.Path) {
		t.Errorf("a relative path gives %v, %v", got, err)
	}
}

// Where the first cannot be, a spare is taken; where somebody stands in the way,
// none is.
func TestSparePlace(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	never := Place{Path: filepath.Join(file, "nines"), Mode: 0o700}
	spare := Place{Path: filepath.Join(dir, "spare"), Mode: 0o700}
	first := never
	first.spare = []Place{never, spare}
	if got, err := first.settle(); err != nil || got.Path != spare.Path {
		t.Errorf("settled at %v, %v", got, err)
	}
	first.spare = []Place{never}
	if _, err := first.settle(); err == nil || !strings.Contains(err.Error(), "cannot make the runtime directory "+never.Path) {
		t.Errorf("without a spare: %v", err)
	}
	taken := Place{Path: file, Mode: 0o700, spare: []Place{spare}}
	if _, err := taken.settle(); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("at a file: %v", err)
	}
}

func modeOf(t *testing.T, path string) os.FileMode {
	t.Helper()
	fi, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return fi.Mode()
}

// withUmask runs f with the umask. No other test runs at the same time.
func withUmask(mask int, f func()) {
	old := unix.Umask(mask)
	defer unix.Umask(old)
	f()
}

func TestMakePlace(t *testing.T) {
	dir := t.TempDir()
	withUmask(0o077, func() {
		p := Place{Path: filepath.Join(dir, "a/b/c"), Mode: 0o711, Chosen: true}
		for range 2 {
			if err := p.Make(); err != nil {
				t.Fatal(err)
			}
		}
		if m := modeOf(t, p.Path).Perm(); m != 0o711 {
			t.Errorf("made with mode %v", m)
		}
	})
	// One that a person chose stays as it is; our own default is put right.
	own := filepath.Join(dir, "own")
	if err := os.Mkdir(own, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := (Place{Path: own, Mode: 0o711, Chosen: true}).Make(); err != nil || modeOf(t, own).Perm() != 0o755 {
		t.Errorf("%v, mode %v", err, modeOf(t, own))
	}
	if err := (Place{Path: own, Mode: 0o700, Chosen: false}).Make(); err != nil || modeOf(t, own).Perm() != 0o700 {
		t.Errorf("%v, mode %v", err, modeOf(t, own))
	}
	// A link is fine where nobody else could have put it.
	link := filepath.Join(dir, "link")
	if err := os.Symlink(own, link); err != nil {
		t.Fatal(err)
	}
	if err := (Place{Path: link, Mode: 0o711, Chosen: true}).Make(); err != nil {
		t.Error(err)
	}
}

func TestPlacesThatAreRefused(t *testing.T) {
	dir := t.TempDir()
	sticky := filepath.Join(dir, "tmp")
	file := filepath.Join(dir, "file")
	open := filepath.Join(dir, "open")
	for _, d := range []string{sticky, open} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(d, 0o1777); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	mine := filepath.Join(sticky, "mine")
	trap := filepath.Join(sticky, "trap")
	if err := os.Mkdir(mine, 0o711); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(mine, trap); err != nil {
		t.Fatal(err)
	}
	type refused struct {
		place Place
		want  string
	}
	cases := []refused{
		{Place{Path: file, Mode: 0o711, Chosen: true}, "not a directory"},
		{Place{Path: filepath.Join(file, "x"), Mode: 0o711, Chosen: true}, "not a directory"},
		{Place{Path: open, Mode: 0o711, Chosen: true}, "everyone may write to it: give --runtime-dir a folder of its own"},
		{Place{Path: trap, Mode: 0o700, Chosen: false}, "remove it"},
		{Place{Path: trap, Mode: 0o711, Chosen: true}, "remove it"},
	}
	if os.Geteuid() == 0 {
		theirs := filepath.Join(sticky, "nines-0")
		if err := os.Mkdir(theirs, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(theirs, 12345, 12345); err != nil {
			t.Fatal(err)
		}
		cases = append(cases, refused{Place{Path: theirs, Mode: 0o700, Chosen: false}, "it belongs to user 12345: remove it, or give --runtime-dir a folder of your own"})
	}
	for _, c := range cases {
		err := c.place.Make()
		if err == nil || !strings.HasPrefix(err.Error(), "cannot ") || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.place.Path) {
			t.Errorf("%v: %v; want %q", c.place, err, c.want)
		}
	}
	if err := (Place{Path: mine, Mode: 0o711, Chosen: true}).Make(); err != nil {
		t.Errorf("a folder of one's own in a folder of all: %v", err)
	}
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	if _, err := lock(dir, 4711); err != nil {
		t.Fatal(err)
	}
	// Another description of the same file is another holder, in one process too.
	_, err := lock(dir, 4712)
	want := "cannot start: another nines-init (pid 4711) keeps " + dir + ": stop it (nines shutdown), or give --runtime-dir another folder"
	if err == nil || err.Error() != want {
		t.Errorf("the second lock: %v", err)
	}
	path := filepath.Join(dir, lockName)
	for _, text := range []string{"", "garbage", "\n12\n"} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := lock(dir, 1); err == nil || !strings.HasPrefix(err.Error(), "cannot start: another nines-init keeps ") {
			t.Errorf("lock file %q: %v", text, err)
		}
	}
	if _, err := lock(filepath.Join(dir, "none"), 1); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("a folder that is not there: %v", err)
	}
	trap := t.TempDir()
	if err := os.Symlink(path, filepath.Join(trap, lockName)); err != nil {
		t.Fatal(err)
	}
	if _, err := lock(trap, 1); err == nil {
		t.Error("a link was followed")
	}
}

// A longer pid of an earlier keeper leaves nothing behind.
func TestLockFileHasThePidAlone(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, lockName)
	if err := os.WriteFile(path, []byte("1234567\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := lock(dir, 42); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); string(b) != "42\n" || err != nil {
		t.Errorf("it holds %q, %v", b, err)
	}
}

func TestChildEnvironment(t *testing.T) {
	base := baseEnv([]string{"PATH=/bin", "NOTIFY_SOCKET=/s", "WATCHDOG_USEC=1", "WATCHDOG_PID=1", "NINES_KEEPER_FD=9",
		"NINES_GENERATION=9", "NINES_RUNTIME_DIR=rel", "NINES_STATE_DIR=/s", "NOTIFY_SOCKET_X=kept", "odd"}, "/run/nines", "/usr/bin", 7)
	one, two := childEnv(base, 1, 0, 0), childEnv(base, 2, 1, 0)
	want := []string{"PATH=/bin", "NINES_STATE_DIR=/s", "NOTIFY_SOCKET_X=kept", "odd",
		"NINES_KEEPER_FD=3", "NINES_KEEPER_PID=7", "NINES_KEEPER_DIR=/usr/bin", "NINES_RUNTIME_DIR=/run/nines", "NINES_GENERATION=", "NINES_RESTARTS="}
	for i, got := range [][]string{one, two} {
		want[len(want)-2] = "NINES_GENERATION=" + strconv.Itoa(i+1)
		want[len(want)-1] = "NINES_RESTARTS=" + strconv.Itoa(i)
		if !slices.Equal(got, want) {
			t.Errorf("environment %q, want %q", got, want)
		}
	}
}

func TestPrograms(t *testing.T) {
	own := Dir()
	sup, log, err := Programs(own, "", []string{"-f", "x"})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(sup(), " "); got != own+"/nines supervise -f x" {
		t.Errorf("supervisor: %s", got)
	}
	if got := log(); got[0] != own+"/nines-log" {
		t.Errorf("log process: %s", got)
	}
	// The log process is looked for beside the given supervisor, at each start.
	dir := t.TempDir()
	sup, log, err = Programs(own, filepath.Join(dir, "other"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(sup(), " "); got != dir+"/other supervise" {
		t.Errorf("supervisor: %s", got)
	}
	if got := log(); got[0] != own+"/nines-log" {
		t.Errorf("log process: %s", got)
	}
	if err := os.WriteFile(filepath.Join(dir, "nines-log"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if got := log(); got[0] != dir+"/nines-log" {
		t.Errorf("log process: %s", got)
	}
}
