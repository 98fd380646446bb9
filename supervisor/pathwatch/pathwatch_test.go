package pathwatch

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
	"go.uber.org/goleak"
)

// patience bounds every wait; nothing passes because of it.
const patience = time.Minute

func try(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, path, text string) {
	t.Helper()
	try(t, os.MkdirAll(filepath.Dir(path), 0o700))
	try(t, os.WriteFile(path, []byte(text), 0o600))
}

func link(t *testing.T, to, path string) {
	t.Helper()
	try(t, os.Symlink(to, path+".new"))
	try(t, os.Rename(path+".new", path))
}

func start(t *testing.T) (*Watcher, chan Change) {
	t.Helper()
	reports := make(chan Change, 1000)
	w, err := New(20*time.Millisecond, func(c Change) { reports <- c })
	try(t, err)
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		goleak.VerifyNone(t, goleak.IgnoreCurrent())
	})
	return w, reports
}

func next(t *testing.T, reports chan Change) Change {
	t.Helper()
	select {
	case c := <-reports:
		if c.Err != nil {
			t.Fatal(c.Err)
		}
		return c
	case <-time.After(patience):
		t.Fatal("not seen")
		return Change{}
	}
}

// TestWays: in whatever way a file comes to be another, it is seen, and named with
// the signature that it has.
func TestWays(t *testing.T) {
	dir := t.TempDir()
	put(t, dir+"/releases/v1/bin/web", "v1")
	put(t, dir+"/releases/v2/bin/web", "v2")
	link(t, "releases/v1", dir+"/current")
	link(t, dir+"/current/bin", dir+"/bin")
	link(t, "bin/../bin/web", dir+"/web")
	w, reports := start(t)
	w.Watch("web", dir+"/web", "")
	last := next(t, reports)
	if last.Key != "web" || last.Path != dir+"/web" || last.Signature == "" {
		t.Fatalf("%+v", last)
	}
	for _, step := range []struct {
		name string
		do   func()
	}{
		{"written in place", func() { put(t, dir+"/releases/v1/bin/web", "v1b") }},
		{"renamed into place", func() {
			put(t, dir+"/releases/v1/bin/.web.tmp", "v1c")
			try(t, os.Rename(dir+"/releases/v1/bin/.web.tmp", dir+"/releases/v1/bin/web"))
		}},
		{"a link in the middle", func() { link(t, "releases/v2", dir+"/current") }},
		{"behind the new link", func() { put(t, dir+"/releases/v2/bin/web", "v2b") }},
		{"the mode", func() { try(t, os.Chmod(dir+"/releases/v2/bin/web", 0o700)) }},
		{"the folder replaced", func() {
			put(t, dir+"/v3/bin/web", "v3")
			try(t, os.Rename(dir+"/releases/v2", dir+"/old"))
			try(t, os.Rename(dir+"/v3", dir+"/releases/v2"))
		}},
		{"in the new folder", func() { put(t, dir+"/releases/v2/bin/web", "v3b") }},
		{"removed and made again", func() {
			try(t, os.RemoveAll(dir+"/releases"))
			put(t, dir+"/releases/v2/bin/web", "v4")
		}},
		{"the last link", func() {
			put(t, dir+"/plain", "plain")
			link(t, "plain", dir+"/web")
		}},
		{"a file in place of it", func() { try(t, os.Rename(dir+"/plain", dir+"/web")) }},
	} {
		t.Log(step.name)
		step.do()
		c := next(t, reports)
		if c.Signature == last.Signature {
			t.Errorf("%s: reported, and the same", step.name)
		}
		last = c
	}
	w.Again("web")
	if c := next(t, reports); c.Signature != last.Signature {
		t.Errorf("%+v", c)
	}
	w.Again("no such")
	w.Forget("web")
	w.Watch("other", dir+"/web", "") // once this is reported, the first is forgotten
	if c := next(t, reports); c.Key != "other" {
		t.Errorf("%+v", c)
	}
	put(t, dir+"/web", "last")
	if c := next(t, reports); c.Key != "other" {
		t.Errorf("%+v", c)
	}
}

// TestFolder: whatever happens below a folder.
func TestFolder(t *testing.T) {
	dir := t.TempDir()
	put(t, dir+"/app/bin/web", "v1")
	w, reports := start(t)
	w.Watch("app", dir+"/app", "")
	next(t, reports)
	for _, do := range []func(){
		func() { put(t, dir+"/app/bin/web", "v2") },
		func() { put(t, dir+"/app/deep/down/below", "x") },
		func() { put(t, dir+"/app/deep/down/below", "y") },
		func() { try(t, os.RemoveAll(dir+"/app/deep")) },
		func() { try(t, os.Rename(dir+"/app", dir+"/old")); put(t, dir+"/app/bin/web", "v3") },
		func() { put(t, dir+"/app/bin/web", "v4") },
	} {
		do()
		next(t, reports)
	}
}

// TestMissing: what is not there is waited for, and what has gone does nothing.
func TestMissing(t *testing.T) {
	dir := t.TempDir()
	w, reports := start(t)
	w.Watch("web", dir+"/opt/web/web", "")
	w.Watch("loop", dir+"/loop", "")
	try(t, os.Symlink("loop", dir+"/loop"))
	put(t, dir+"/opt/web/web", "v1")
	if c := next(t, reports); c.Key != "web" {
		t.Fatalf("%+v", c)
	}
	try(t, os.RemoveAll(dir+"/opt"))
	put(t, dir+"/mark", "x")
	w.Watch("mark", dir+"/mark", "")
	if c := next(t, reports); c.Key != "mark" {
		t.Fatalf("%+v", c)
	}
	put(t, dir+"/opt/web/web", "v2")
	if c := next(t, reports); c.Key != "web" {
		t.Fatalf("%+v", c)
	}
	// What is in the way of it, and goes.
	try(t, os.RemoveAll(dir+"/opt"))
	put(t, dir+"/opt", "a file")
	w.Again("mark")
	next(t, reports)
	try(t, os.Remove(dir+"/opt"))
	put(t, dir+"/opt/web/web", "v3")
	if c := next(t, reports); c.Key != "web" {
		t.Fatalf("%+v", c)
	}
}

// TestSignature: what was known in another life is not reported again, and what has
// changed since is.
func TestSignature(t *testing.T) {
	dir := t.TempDir()
	put(t, dir+"/a", "a")
	put(t, dir+"/b", "b")
	w, reports := start(t)
	w.Watch("a", dir+"/a", "")
	known := next(t, reports).Signature
	w2, reports2 := start(t)
	w2.Watch("a", dir+"/a", known)
	w2.Watch("b", dir+"/b", known)
	if c := next(t, reports2); c.Key != "b" {
		t.Errorf("%+v", c)
	}
	// Beside it, and nothing of it.
	put(t, dir+"/c", "c")
	w2.Again("b")
	if c := next(t, reports2); c.Key != "b" {
		t.Errorf("%+v", c)
	}
	if len(reports) > 0 {
		t.Errorf("%+v", <-reports)
	}
}

// TestHalfCopied: as long as somebody has the file open, it has not settled.
func TestHalfCopied(t *testing.T) {
	dir := t.TempDir()
	w, reports := start(t)
	w.Watch("web", dir+"/web", "")
	f, err := os.OpenFile(dir+"/web", os.O_WRONLY|os.O_CREATE, 0o700)
	try(t, err)
	if _, err := f.WriteString("half"); err != nil {
		t.Fatal(err)
	}
	put(t, dir+"/mark", "x")
	for range 10 { // many times the settle time
		w.Watch("mark", dir+"/mark", "")
		if c := next(t, reports); c.Key != "mark" {
			t.Fatalf("half a file was reported: %+v", c)
		}
	}
	if _, err := f.WriteString(" and half"); err != nil {
		t.Fatal(err)
	}
	try(t, f.Close())
	if c := next(t, reports); c.Key != "web" {
		t.Fatalf("%+v", c)
	}
}

// TestOverflow: after it all is looked at again.
func TestOverflow(t *testing.T) {
	dir := t.TempDir()
	w, reports := start(t)
	for i := range 20 {
		name := strconv.Itoa(i)
		put(t, dir+"/"+name+"/web", "v1")
		w.Watch(name, dir+"/"+name+"/web", "")
	}
	for range 20 {
		next(t, reports)
	}
	// As if the kernel had told of nothing.
	for i := range 20 {
		try(t, w.in.Remove(dir+"/"+strconv.Itoa(i)))
		put(t, dir+"/"+strconv.Itoa(i)+"/web", "v2")
	}
	w.in.Errors <- fsnotify.ErrEventOverflow
	seen := map[string]bool{}
	for range 20 {
		seen[next(t, reports).Key] = true
	}
	if len(seen) != 20 {
		t.Errorf("%v", seen)
	}
	put(t, dir+"/7/web", "v3")
	if c := next(t, reports); c.Key != "7" {
		t.Errorf("%+v", c)
	}
}

// TestTrouble: what cannot be watched is said once.
func TestTrouble(t *testing.T) {
	dir := t.TempDir()
	w, reports := start(t)
	long := strings.Repeat("x", 300)
	w.Watch("long", dir+"/"+long+"/web", "")
	select {
	case c := <-reports:
		if c.Err == nil || c.Signature != "" || !strings.HasPrefix(c.Err.Error(), "cannot watch "+dir) {
			t.Errorf("%+v", c)
		}
	case <-time.After(patience):
		t.Fatal("nothing was said")
	}
	w.Again("long")
	put(t, dir+"/mark", "x")
	w.Watch("mark", dir+"/mark", "")
	if c := next(t, reports); c.Key != "mark" {
		t.Errorf("%+v", c)
	}
}

// TestNothingIsKept: of what was forgotten no watch is left.
func TestNothingIsKept(t *testing.T) {
	dir := t.TempDir()
	w, reports := start(t)
	for i := range 5 {
		put(t, dir+"/app/"+strconv.Itoa(i), "x")
	}
	w.Watch("app", dir+"/app", "")
	w.Watch("1", dir+"/app/1", "")
	next(t, reports)
	next(t, reports)
	w.Forget("app")
	w.Forget("1")
	put(t, dir+"/mark", "x")
	w.Watch("mark", dir+"/mark", "")
	next(t, reports)
	w.Forget("mark")
	for deadline := time.Now().Add(patience); len(w.in.WatchList()) > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%q", w.in.WatchList())
		}
	}
}

func TestTrace(t *testing.T) {
	dir := t.TempDir()
	put(t, dir+"/file", "x")
	for _, path := range []string{dir + "/file/x", dir + "/no/x"} {
		if _, real, err := trace(path); real != "" || err != nil {
			t.Errorf("%s: %q %v", path, real, err)
		}
	}
	if _, err := os.Lstat(dir + "/file/x"); errors.Is(err, os.ErrNotExist) {
		t.Log("ENOTDIR is ErrNotExist here")
	}
	if _, real, err := trace(dir + "/./file"); real != dir+"/file" || err != nil {
		t.Errorf("%q %v", real, err)
	}
}

// TestFilesTogether: some files are one change, and what does not concern anybody in
// their folders is none, though it is written to all the time.
func TestFilesTogether(t *testing.T) {
	dir := t.TempDir()
	put(t, dir+"/specs/web.hcl", "a")
	put(t, dir+"/one", "a")
	w, reports := start(t)
	w.WatchFiles("spec", []string{dir + "/specs", dir + "/one", dir + "/none"}, func(name string) bool { return strings.HasSuffix(name, ".hcl") })
	first := next(t, reports)
	if first.Key != "spec" || first.Path != dir+"/specs" || first.Signature == "" {
		t.Errorf("%+v", first)
	}
	log, err := os.Create(dir + "/specs/log")
	try(t, err)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				if _, err := log.WriteString("line\n"); err != nil {
					t.Error(err)
				}
			}
		}
	}()
	for _, do := range []func(){
		func() { put(t, dir+"/specs/db.hcl", "b") },
		func() { try(t, os.Remove(dir+"/specs/db.hcl")) },
		func() { put(t, dir+"/one", "b") },
		func() { put(t, dir+"/none", "b") },
		func() { try(t, os.Symlink("nowhere", dir+"/specs/x.hcl")); put(t, dir+"/specs/web.hcl", "c") },
	} {
		do()
		next(t, reports)
	}
	close(stop)
	<-stopped
	try(t, log.Close())
}
