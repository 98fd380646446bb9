package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestWatchFiles: whatever way a spec file changes in, it is seen, and what is none
// is not looked at.
func TestWatchFiles(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	try := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	try(os.MkdirAll(dir+"/specs/..1", 0o700))
	try(os.MkdirAll(dir+"/specs/..2", 0o700))
	try(os.Symlink("..1", dir+"/specs/..data"))
	put("specs/web.hcl", "a")
	put("one.hcl", "a")
	put("real", "a")
	try(os.Symlink("real", dir+"/link.hcl"))
	changed := make(chan struct{}, 100)
	stop, err := watchFiles([]string{dir + "/specs", dir + "/one.hcl", dir + "/link.hcl"}, time.Millisecond, slog.New(slog.DiscardHandler), func() { changed <- struct{}{} })
	try(err)
	defer stop()
	<-changed // it looks once at the start
	for _, step := range []struct {
		name string
		do   func()
	}{
		{"written", func() { put("specs/web.hcl", "b") }},
		{"new in the folder", func() { put("specs/more.hcl", "b") }},
		{"renamed into place", func() { put("specs/tmp", "c"); try(os.Rename(dir+"/specs/tmp", dir+"/specs/web.hcl")) }},
		{"removed", func() { try(os.Remove(dir + "/specs/more.hcl")) }},
		{"a link moved, as Kubernetes does", func() {
			try(os.Symlink("..2", dir+"/specs/..new"))
			try(os.Rename(dir+"/specs/..new", dir+"/specs/..data"))
		}},
		{"a file by name", func() { put("one.hcl", "b") }},
		{"what a link leads to", func() { put("real", "b") }},
		{"the folder replaced", func() {
			try(os.Rename(dir+"/specs", dir+"/old"))
			try(os.Mkdir(dir+"/specs", 0o700))
		}},
		{"in the new folder", func() { put("specs/web.hcl", "d") }},
	} {
		for len(changed) > 0 {
			<-changed
		}
		step.do()
		select {
		case <-changed:
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: not seen", step.name)
		}
	}
	for _, name := range []string{"web.log", ".web.hcl.swp", ".web.hcl", "4913"} {
		if isSpec(name, []string{dir + "/specs", dir + "/one.hcl"}) {
			t.Errorf("%s concerns us", name)
		}
	}
}
