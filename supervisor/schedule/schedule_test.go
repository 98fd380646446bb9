package schedule

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// begin makes a scheduler of so many workers; end ends it.
func begin(workers int) (s *Scheduler, end func()) {
	s = New(workers)
	go s.Run()
	return s, func() {
		s.Close()
		synctest.Wait()
	}
}

// log collects when attempts began.
type log struct {
	mu    sync.Mutex
	start time.Time
	at    []time.Duration
}

func (l *log) job(first, interval time.Duration, do func(context.Context, time.Duration)) *Job {
	l.start = time.Now()
	return &Job{First: first, Interval: interval, Do: func(ctx context.Context, late time.Duration) {
		l.mu.Lock()
		l.at = append(l.at, time.Since(l.start))
		l.mu.Unlock()
		if do != nil {
			do(ctx, late)
		}
	}}
}

func (l *log) want(t *testing.T, at ...time.Duration) {
	t.Helper()
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Equal(l.at, at) {
		t.Errorf("attempts began at %v, want %v", l.at, at)
	}
}

const sec = time.Second

func TestTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, end := begin(1)
		defer end()
		var l log
		s.Add(l.job(3*sec, 10*sec, nil))
		time.Sleep(34 * sec)
		l.want(t, 3*sec, 13*sec, 23*sec, 33*sec)
	})
}

// TestNeverTwo: an attempt that takes longer than the interval passes over times,
// and the grid stays.
func TestNeverTwo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, end := begin(4)
		defer end()
		var l log
		s.Add(l.job(0, 10*sec, func(context.Context, time.Duration) { time.Sleep(14 * sec) }))
		time.Sleep(45 * sec)
		l.want(t, 0, 20*sec, 40*sec)
	})
}

// TestHungDelaysNobody: what hangs holds its worker alone. Only when all are held
// others are late, and are told how late.
func TestHungDelaysNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, end := begin(3)
		defer end()
		hang := func(ctx context.Context, _ time.Duration) {
			select {
			case <-ctx.Done():
			case <-time.After(25 * sec):
			}
		}
		var a, b, l log
		s.Add(a.job(0, 1000*sec, hang))
		s.Add(b.job(0, 1000*sec, hang))
		var lates []time.Duration
		s.Add(l.job(sec, 10*sec, func(_ context.Context, late time.Duration) { lates = append(lates, late) }))
		time.Sleep(32 * sec)
		l.want(t, sec, 11*sec, 21*sec, 31*sec)
		synctest.Wait()
		if slices.Max(lates) != 0 {
			t.Errorf("they were late by %v", lates)
		}
		var c, d, e log
		for _, h := range []*log{&c, &d, &e} {
			s.Add(h.job(0, 1000*sec, hang)) // until 57
		}
		time.Sleep(40 * sec) // 72
		l.want(t, sec, 11*sec, 21*sec, 31*sec, 57*sec, 61*sec, 71*sec)
		if lates[4] != 16*sec || lates[5] != 0 {
			t.Errorf("they were late by %v", lates)
		}
	})
}

// TestRemove: nothing begins after it, and what is under way is canceled.
func TestRemove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, end := begin(1)
		defer end()
		var held, waiting, later log
		canceled := false
		h := held.job(0, sec, func(ctx context.Context, _ time.Duration) {
			<-ctx.Done()
			canceled = true
		})
		s.Add(h)
		time.Sleep(sec)
		w := waiting.job(0, sec, nil) // no worker is free
		s.Add(w)
		n := later.job(10*sec, sec, nil)
		s.Add(n)
		time.Sleep(sec)
		s.Remove(w)
		s.Remove(h)
		s.Remove(n)
		s.Remove(n)
		time.Sleep(100 * sec)
		held.want(t, 0)
		waiting.want(t)
		later.want(t)
		if !canceled {
			t.Error("what was under way was not canceled")
		}
	})
}

// TestHeldUp: what is far behind is attempted once, not for each time that was
// missed.
func TestHeldUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, end := begin(1)
		defer end()
		var first, l log
		s.Add(first.job(0, 1000*sec, func(context.Context, time.Duration) { time.Sleep(95 * sec) }))
		time.Sleep(0)
		s.Add(l.job(2*sec, 10*sec, nil))
		time.Sleep(120 * sec)
		l.want(t, 95*sec, 102*sec, 112*sec)
	})
}

// TestSpread: thousands of jobs with the phases of their names do not fire
// together.
func TestSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, end := begin(64)
		defer end()
		const n = 10_000
		var bySecond [10]atomic.Int64
		start := time.Now()
		for i := range n {
			first := time.Duration(Phase(fmt.Sprintf("web/%d alive", i)) * float64(10*sec))
			s.Add(&Job{First: first, Interval: 10 * sec, Do: func(_ context.Context, late time.Duration) {
				bySecond[time.Since(start)/sec%10].Add(1)
				if late != 0 {
					t.Errorf("late by %v", late)
				}
			}})
		}
		time.Sleep(10*sec - 1)
		for i := range bySecond {
			if c := bySecond[i].Load(); c < n/10*9/10 || c > n/10*11/10 {
				t.Errorf("second %d has %d of %d", i, c, n)
			}
		}
	})
}

// TestCloseWaits: no attempt is under way after it, and none begins.
func TestCloseWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(2)
		go s.Run()
		var l log
		ended := false
		s.Add(l.job(0, sec, func(ctx context.Context, _ time.Duration) { <-ctx.Done(); time.Sleep(5 * sec); ended = true }))
		time.Sleep(sec)
		s.Close()
		if !ended {
			t.Error("an attempt is still under way")
		}
		s.Add(l.job(0, sec, nil))
		time.Sleep(10 * sec)
		l.want(t, 0)
	})
}

func BenchmarkAttempt(b *testing.B) {
	s := New(64)
	go s.Run()
	defer s.Close()
	done := make(chan struct{}, 1)
	for range 10_000 {
		s.Add(&Job{First: time.Hour, Interval: time.Hour, Do: func(context.Context, time.Duration) {}})
	}
	b.ReportAllocs()
	for b.Loop() {
		j := &Job{Interval: time.Hour, Do: func(context.Context, time.Duration) { done <- struct{}{} }}
		s.Add(j)
		<-done
		s.Remove(j)
	}
}
