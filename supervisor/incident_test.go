package supervisor

import (
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"nines/supervisor/journal"
	"nines/supervisor/policy"
)

// incidentRun is a supervisor of which only the incidents live, on a journal in a
// folder that outlives it.
func incidentRun(t *testing.T, dir string, past map[string]policy.SlotMemory) *Supervisor {
	t.Helper()
	j := journal.Open(journal.Config{Dir: dir})
	p := Past{}
	p.Slots = past
	return &Supervisor{
		journal: j, box: newMailbox(), log: slog.New(slog.DiscardHandler),
		incidents: newIncidents(&p), ended: make(chan struct{}),
	}
}

// flushed runs the loop's share until everything is on disk.
func (s *Supervisor) flushed(t *testing.T) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for s.incidents.writing || len(s.incidents.unsaved) > 0 {
		select {
		case <-s.box.ready:
			s.box.run()
		case <-deadline:
			t.Fatalf("not written: %+v", s.incidents.unsaved)
		}
	}
}

func (s *Supervisor) closed(t *testing.T) {
	t.Helper()
	if err := s.journal.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (s *Supervisor) shown(t *testing.T) string {
	t.Helper()
	list, err := s.storedIncidents()
	if err != nil {
		t.Fatal(err)
	}
	text := ""
	for _, i := range list {
		text += fmt.Sprintf("%s %s %t %s\n", i.Instance, i.Start.Format(time.TimeOnly), i.End.IsZero(), i.Ending)
	}
	return text
}

func TestIncidents(t *testing.T) {
	dir := t.TempDir()
	at := time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)
	event := func(s *Supervisor, kind policy.Kind, id string) {
		at = at.Add(time.Second)
		s.noticed(&journal.Entry{Time: at, Kind: kind, Service: "web", Instance: id})
	}
	s := incidentRun(t, dir, nil)
	s.tookIncidents(nil, nil)
	event(s, policy.KindCrashLoop, "web/0")
	event(s, policy.KindCrashLoop, "web/1")
	event(s, policy.KindReady, "web/1")
	event(s, policy.KindCrashLoop, "web/2")
	event(s, policy.KindRecovered, "web/1")
	s.flushed(t)
	want := "web/0 03:04:01 true \nweb/1 03:04:02 false \nweb/2 03:04:04 true \n"
	if got := s.shown(t); got != want {
		t.Errorf("%s", got)
	}
	s.closed(t)

	// The next one knows which of them still loop; one ends before the disk is read.
	held := policy.SlotMemory{Phase: "backoff", Incarnation: 4, Held: true}
	s = incidentRun(t, dir, map[string]policy.SlotMemory{"web/0": held, "web/2": held})
	event(s, policy.KindRecovered, "web/2")
	list, err := s.storedIncidents()
	if err != nil {
		t.Fatal(err)
	}
	s.tookIncidents(list, nil)
	s.flushed(t)
	if got := s.shown(t); got != "web/0 03:04:01 true \nweb/1 03:04:02 false \nweb/2 03:04:04 false \n" {
		t.Errorf("%s", got)
	}
	event(s, policy.KindRecovered, "web/0")
	event(s, policy.KindCrashLoop, "web/0")
	s.flushed(t)
	s.closed(t)

	// After a boot nothing loops. One that begins before the disk is read stays.
	s = incidentRun(t, dir, nil)
	if list, err = s.storedIncidents(); err != nil {
		t.Fatal(err)
	}
	event(s, policy.KindCrashLoop, "web/0")
	s.tookIncidents(list, errors.New("the disk hangs"))
	s.tookIncidents(list, nil)
	s.flushed(t)
	want = "web/0 03:04:01 false \nweb/1 03:04:02 false \nweb/2 03:04:04 false \n" +
		"web/0 03:04:08 false it was over when nines began anew\nweb/0 03:04:09 true \n"
	if got := s.shown(t); got != want {
		t.Errorf("%s", got)
	}
	if s.incidents.open["web/0"] == nil {
		t.Error("the open one is forgotten")
	}
	s.closed(t)
}
