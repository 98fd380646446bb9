package logs

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestMeter: over any time, what was allowed is the rate, and a second's worth
// in advance; and nobody is woken for a trifle.
func TestMeter(t *testing.T) {
	for _, rate := range []uint64{1, 100, 64 << 10, 10 << 20, 1 << 40} {
		synctest.Test(t, func(t *testing.T) {
			m := newMeter(rate)
			start := time.Now()
			var got, reads uint64
			for time.Since(start) < 10*time.Second && reads < 100_000 {
				n := m.allow(readSize)
				if n < 1 || n > readSize {
					t.Fatalf("rate %d: %d allowed", rate, n)
				}
				m.took(n)
				got += uint64(n)
				reads++
			}
			took := time.Since(start).Seconds()
			if limit := float64(rate)*(took+1) + 1; float64(got) > limit || reads < 100_000 && float64(got) < 0.9*float64(rate)*took {
				t.Errorf("rate %d: %d bytes in %v s", rate, got, took)
			}
			if most := 11*max(meterSlices, rate/readSize) + 2; reads < 100_000 && reads > most {
				t.Errorf("rate %d: %d reads", rate, reads)
			}
		})
	}
}

// TestMeterChanged: a pump that waits takes a new rate at once.
func TestMeterChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeter(1)
		m.took(m.allow(1))
		done := make(chan int)
		go func() { done <- m.allow(100) }()
		synctest.Wait()
		start := time.Now()
		m.set(0)
		if n := <-done; n != 100 || time.Since(start) != 0 {
			t.Errorf("%d after %v", n, time.Since(start))
		}
		m.set(1000) // nobody waits
		m.set(2000)
		if n := m.allow(5000); n != 2000 {
			t.Errorf("%d allowed at first", n)
		}
	})
}

// TestRate: it slows one writer down and no other, loses nothing, and does not
// hold up the end.
func TestRate(t *testing.T) {
	r := newRig(t, disk{})
	s := r.settings("slow/0")
	s.Rate = 16 << 10
	slow, _ := r.pipe("slow/0.1:out", s)
	quick, _ := r.pipe("quick/0.1:out", r.settings("quick/0"))
	const lines = 2000 // of 100 bytes: far more than rate and pipe hold
	start := time.Now()
	var took time.Duration
	written := make(chan error, 1)
	go func() {
		for i := range lines {
			if _, err := slow.WriteString(fmt.Sprintf("%-99d\n", i)); err != nil {
				written <- err
				return
			}
		}
		took = time.Since(start)
		written <- nil
	}()
	var want strings.Builder
	for i := range 20 * lines {
		line := fmt.Sprintf("%-99d\n", i)
		want.WriteString(line)
		write(t, quick, line)
	}
	check(t, quick.Close())
	r.waitEnd("quick/0.1:out")
	if got := stripped(t, filepath.Join(r.dir, "quick", "0.log")); got != want.String() {
		t.Errorf("quick: %d bytes, want %d", len(got), want.Len())
	}
	select {
	case err := <-written:
		t.Fatalf("all was written after %v: %v", took, err)
	default:
	}
	// A higher rate holds at once.
	s.Rate = 1 << 30
	r.rehand("slow/0.1:out", s)
	check(t, <-written)
	check(t, slow.Close())
	r.waitEnd("slow/0.1:out")
	if got := strings.Count(stripped(t, filepath.Join(r.dir, "slow", "0.log")), "\n"); got != lines {
		t.Errorf("slow: %d lines", got)
	}
}
