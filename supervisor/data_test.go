package supervisor

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"testing"
	"time"

	"nines/supervisor/policy"
	"nines/supervisor/snapshot"
)

func TestSizeWords(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 bytes", 1: "1 byte", 1023: "1023 bytes", 1 << 10: "1.0 KiB", 1536: "1.5 KiB", 5 << 20: "5.0 MiB", 3 << 40: "3.0 TiB", 5000 << 40: "5000.0 TiB",
	} {
		if got := sizeWords(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

func TestAsideWords(t *testing.T) {
	if got := asideWords(snapshot.Restored{Paths: []snapshot.Aside{{Path: "/a"}}}); got != "there was nothing in their place" {
		t.Error(got)
	}
	r := snapshot.Restored{Paths: []snapshot.Aside{{Path: "/a", To: []string{"/a.x"}}, {Path: "/m", To: []string{"/m/.x/1", "/m/.x/2"}}}}
	if got := asideWords(r); got != "what was there is now at /a.x, /m/.x/1, /m/.x/2" {
		t.Error(got)
	}
}

// TestOldSnapshots: those that nobody asks for go, those of a service that is no more
// in the specification stay; a restore that was begun is found again.
func TestOldSnapshots(t *testing.T) {
	dir := t.TempDir()
	store, err := OpenSnapshots(dir + "/snapshots")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/data", []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	take := func(service string, revision int) string {
		t.Helper()
		snap, err := store.Take(t.Context(), snapshot.Request{Service: service, Revision: revision, Paths: []string{dir + "/data"}, Time: time.Unix(int64(revision), 0)})
		if err != nil {
			t.Fatal(err)
		}
		return snap.ID
	}
	first, second, gone := take("web", 1), take("web", 2), take("gone", 1)
	s := &Supervisor{cfg: Config{Snapshots: store}, log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	s.removeSnapshots(map[string]bool{second: true}, map[string]bool{"web": true})
	for id, want := range map[string]bool{first: false, second: true, gone: true} {
		if _, err := store.Get(id); (err == nil) != want {
			t.Errorf("%s: %v", id, err)
		}
	}
	if got := s.foundRestores(); len(got) != 0 {
		t.Errorf("restores are found: %v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var begun *snapshot.ErrBegun
	if _, err := store.Restore(ctx, second, "revision-3-1", nil); !errors.As(err, &begun) {
		t.Fatal(err)
	}
	if got := s.foundRestores(); len(got) != 1 || got["web"] != (policy.Restore{Revision: 2, Snapshot: second, Label: "revision-3-1"}) {
		t.Errorf("restores that are found: %v", got)
	}
	if _, err := store.Restore(t.Context(), second, "revision-3-1", nil); err != nil {
		t.Fatal(err)
	}
	if got := s.foundRestores(); len(got) != 0 {
		t.Errorf("restores are found: %v", got)
	}
}
