package journal

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestRecords(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, Config{Dir: dir})
	appendTexts(j, "before")
	if err := write(t, j, Change{"revisions", "web/1", []byte("a")}, Change{"revisions", "web/2", []byte("b")}, Change{"other", "x", []byte{}}); err != nil {
		t.Fatal(err)
	}
	if err := write(t, j, Change{"revisions", "web/1", nil}, Change{"none", "x", nil}); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []Change{{"events", "x", []byte("v")}, {"", "x", nil}, {"b", "", nil}, {"b", strings.Repeat("k", 2000), nil}, {"b", "k", make([]byte, 2<<20)}} {
		if err := write(t, j, bad); err == nil {
			t.Errorf("%q %q was taken", bad.Bucket, bad.Key)
		}
	}
	kill(j)
	if err := write(t, j, Change{"b", "k", []byte("v")}); !errors.Is(err, ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
	j = openJournal(t, Config{Dir: dir})
	list, err := j.List("revisions")
	if err != nil || len(list) != 1 || list[0].Key != "web/2" || string(list[0].Value) != "b" {
		t.Errorf("List: %v, %v", list, err)
	}
	if v, err := j.Get("other", "x"); err != nil || v == nil || len(v) != 0 {
		t.Errorf("an empty value came back as %v, %v", v, err)
	}
	if v, err := j.Get("revisions", "web/1"); err != nil || v != nil {
		t.Errorf("a deleted value came back as %v, %v", v, err)
	}
	// What was appended before is on disk too.
	if got := read(t, j, time.Time{}); len(got) != 2 || got[0].Message() != "before" {
		t.Errorf("events are %q", messages(got))
	}
	memory := New(3)
	if err := write(t, memory, Change{"b", "k", []byte("v")}); err == nil {
		t.Error("memory is not durable")
	}
	if _, err := memory.Get("b", "k"); err == nil {
		t.Error("memory has no records")
	}
}
