package journal

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

func read(t *testing.T, j *Journal, since time.Time) []Entry {
	t.Helper()
	var got []Entry
	if err := j.Read(context.Background(), Query{Since: since}, func(e Entry) error { got = append(got, e); return nil }); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestKeepsTheNewest(t *testing.T) {
	j := New(3)
	for i := range 5 {
		j.Append(Entry{Text: strconv.Itoa(i)})
	}
	got := read(t, j, time.Time{})
	if len(got) != 3 || got[0].Seq != 3 || got[2].Seq != 5 || got[0].Message() != "2" {
		t.Fatalf("got %+v, want entries 3 to 5", got)
	}
}

func TestSince(t *testing.T) {
	j := New(10)
	t0 := time.Unix(1000, 0)
	for i := range 4 {
		j.Append(Entry{Time: t0.Add(time.Duration(i) * time.Second)})
	}
	if got := read(t, j, t0.Add(2*time.Second)); len(got) != 2 || got[0].Seq != 3 {
		t.Fatalf("got %+v, want entries 3 and 4", got)
	}
}

func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := New(10)
		j.Append(Entry{Text: "old"})
		ctx, cancel := context.WithCancel(t.Context())
		var got []uint64
		done := make(chan error)
		go func() {
			done <- j.Read(ctx, Query{Follow: true}, func(e Entry) error { got = append(got, e.Seq); return nil })
		}()
		synctest.Wait()
		j.Append(Entry{Text: "new"})
		j.Append(Entry{Text: "newer"})
		synctest.Wait()
		if len(got) != 3 || got[2] != 3 {
			t.Errorf("followed %v, want 1 2 3", got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Read after cancel: %v", err)
		}
	})
}

func TestSlowReaderIsToldWhatItMissed(t *testing.T) {
	j := New(4)
	j.Append(Entry{})
	var kinds []string
	err := j.Read(context.Background(), Query{}, func(e Entry) error {
		kinds = append(kinds, string(e.Kind)+e.Message())
		if e.Seq == 1 {
			for range 9 {
				j.Append(Entry{Text: "x"})
			}
		}
		return nil
	})
	want := string(KindLost) + "5 events are missing here: they came faster than they were read, or could be written"
	if err != nil || len(kinds) != 6 || kinds[1] != want {
		t.Fatalf("got %q, %v; want second %q", kinds, err, want)
	}
}

func TestReaderErrorEndsTheRead(t *testing.T) {
	j := New(4)
	j.Append(Entry{})
	boom := errors.New("boom")
	if err := j.Read(context.Background(), Query{Follow: true}, func(Entry) error { return boom }); !errors.Is(err, boom) {
		t.Fatalf("got %v, want boom", err)
	}
}
