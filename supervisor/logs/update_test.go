package logs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestUpdate: every setting of a running instance can be changed.
func TestUpdate(t *testing.T) {
	r := newRig(t, disk{})
	s := r.settings("web/0")
	s.MaxSize, s.Keep = 300, 9
	w, _ := r.pipe("web/0.1:out", s)
	file := filepath.Join(r.dir, "web", "0.log")
	next := 0
	fill := func(lines int) {
		t.Helper()
		for range lines {
			write(t, w, fmt.Sprintf("%-100d\n", next))
			next++
			eventually(t, "it is written", func() bool {
				text, _ := rotated(t, file)
				return strings.Contains(text, fmt.Sprintf("%-100d\n", next-1))
			})
		}
	}
	names := func() string { _, n := rotated(t, file); return strings.Join(n, " ") }
	fill(10)
	if got := names(); got != "0.log.4 0.log.3 0.log.2 0.log.1 0.log" {
		t.Errorf("at first: %s", got)
	}
	s.Compress = true
	r.rehand("web/0.1:out", s)
	eventually(t, "compressed", func() bool { return names() == "0.log.4.gz 0.log.3.gz 0.log.2.gz 0.log.1.gz 0.log" })
	s.Keep = 2
	r.rehand("web/0.1:out", s)
	eventually(t, "fewer", func() bool { return names() == "0.log.2.gz 0.log.1.gz 0.log" })
	s.MaxSize, s.Compress = 10<<20, false
	r.rehand("web/0.1:out", s)
	fill(10)
	if got := names(); got != "0.log.2.gz 0.log.1.gz 0.log" {
		t.Errorf("rotated all the same: %s", got)
	}
	// Another folder.
	dir := t.TempDir()
	s.Dir = dir
	r.rehand("web/0.1:out", s)
	write(t, w, "elsewhere\n")
	eventually(t, "elsewhere", func() bool {
		b, err := os.ReadFile(filepath.Join(dir, "web", "0.log"))
		return err == nil && strings.HasSuffix(string(b), "elsewhere\n")
	})
	// In memory only.
	s.ToFile = false
	r.rehand("web/0.1:out", s)
	write(t, w, "nowhere\n")
	eventually(t, "nowhere", func() bool { got := r.read(Query{Lines: 1}); return len(got) == 1 && got[0].Line == "nowhere" })
	b, err := os.ReadFile(filepath.Join(dir, "web", "0.log"))
	check(t, err)
	if strings.Contains(string(b), "nowhere") {
		t.Error("written to the file")
	}
	if got := r.read(Query{Lines: 1, Since: time.Now().Add(time.Hour)}); len(got) != 0 {
		t.Error(got)
	}
}
