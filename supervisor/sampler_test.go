package supervisor

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"nines/spec"
	"nines/supervisor/policy"
	"nines/supervisor/proc"
	"nines/supervisor/trend"
)

const testMiB = 1 << 20

// sampled is a sampler in synctest's time over made-up memory.
type sampled struct {
	*sampler
	begin time.Time

	mu     sync.Mutex
	reads  map[int]int // by pid
	events []string    // since they were last looked at
}

func startSampler(t *testing.T, log io.Writer, read func(pid int, at time.Duration) (uint64, error)) *sampled {
	s := &sampled{begin: time.Now(), reads: map[int]int{}}
	now := func() policy.Time { return policy.Time(1 + time.Since(s.begin)) }
	s.sampler = newSampler(1<<30, 1, now, func(tr *proc.Tree, _ uint64) (uint64, error) {
		s.mu.Lock()
		s.reads[tr.PID]++
		s.mu.Unlock()
		return read(tr.PID, time.Since(s.begin))
	}, func(events []policy.Event) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, ev := range events {
			switch ev := ev.(type) {
			case policy.Act:
				s.events = append(s.events, fmt.Sprintf("act %d.%d %d %s: %s", ev.Slot, ev.Incarnation, ev.Cause, ev.On, ev.Reason))
			case policy.Withdraw:
				s.events = append(s.events, fmt.Sprintf("withdraw %d.%d %d", ev.Slot, ev.Incarnation, ev.Cause))
			}
		}
	}, slog.New(slog.NewTextHandler(log, nil)))
	go s.run()
	t.Cleanup(func() {
		s.close()
		<-s.done
	})
	return s
}

// after lets time pass and returns what policy was told meanwhile.
func (s *sampled) after(d time.Duration) []string {
	<-time.After(d)
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	events := s.events
	s.events = nil
	return events
}

func bound() *spec.Memory {
	return &spec.Memory{RestartAbove: spec.Size{Bytes: 180 * testMiB}, For: 30 * time.Second, Window: 10 * time.Minute, OnLeak: "restart"}
}

func TestSamplerHigh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startSampler(t, io.Discard, func(_ int, at time.Duration) (uint64, error) {
			if at > 10*time.Minute && at < 20*time.Minute {
				return 190 * testMiB, nil
			}
			return 100 * testMiB, nil
		})
		ref := policy.Ref{Slot: 3, Incarnation: 7}
		s.watch(ref, bound(), proc.Tree{PID: 42})
		if ev := s.after(10 * time.Minute); len(ev) != 0 {
			t.Fatalf("%q", ev)
		}
		if got := s.held(); len(got) != 1 || got[3] != 100*testMiB {
			t.Errorf("held %v", got)
		}
		// Told again with every sample as long as it holds, then taken back once.
		ev := s.after(20 * time.Minute)
		acts := ev[:len(ev)-1]
		const text = "act 3.7 3 restart: memory 190MiB, for "
		for _, a := range acts {
			if !strings.HasPrefix(a, text) || !strings.HasSuffix(a, " above 180MiB (restart_above)") {
				t.Fatalf("%q", a)
			}
		}
		// 9.5 minutes, one each 7.5 s on average.
		if len(acts) < 60 || len(acts) > 100 {
			t.Errorf("%d acts", len(acts))
		}
		if ev[len(ev)-1] != "withdraw 3.7 3" {
			t.Errorf("%q", ev[len(ev)-1])
		}
		// Nobody is looked at any more that has ended; another of its slot is.
		s.watch(policy.Ref{Slot: 3, Incarnation: 8}, bound(), proc.Tree{PID: 43})
		s.forget(ref)
		s.after(time.Minute)
		if s.reads[43] < 5 {
			t.Errorf("%d reads of the next incarnation", s.reads[43])
		}
		s.forget(policy.Ref{Slot: 3, Incarnation: 8})
		before := s.reads[43]
		s.after(time.Hour)
		if s.reads[43] != before || len(s.held()) != 0 {
			t.Errorf("%d reads more, held %v", s.reads[43]-before, s.held())
		}
	})
}

func TestSamplerLeak(t *testing.T) {
	for _, c := range []struct {
		name, onLeak, want string
		max                spec.Size
	}{
		{"to max", "restart", "a leak, at 256MiB (max) in ", spec.Size{Bytes: 256 * testMiB}},
		{"to a share", "alert", "a leak, at 512MiB (max) in ", spec.Size{Percent: 50}},
		{"to the machine's end", "restart", "a leak, at 1GiB (all the memory there is) in ", spec.Size{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := startSampler(t, io.Discard, func(_ int, at time.Duration) (uint64, error) {
					return uint64(50*testMiB + at.Seconds()*0.2*testMiB), nil // 12 MiB a minute
				})
				m := &spec.Memory{Growth: spec.Rate{Count: 10 * testMiB, Per: time.Minute}, Window: 10 * time.Minute, OnLeak: c.onLeak, Max: c.max}
				s.watch(policy.Ref{Slot: 0, Incarnation: 1}, m, proc.Tree{PID: 1})
				if ev := s.after(10 * time.Minute); len(ev) != 0 {
					t.Fatalf("%q", ev)
				}
				ev := s.after(5 * time.Minute)
				if len(ev) == 0 || !strings.HasPrefix(ev[0], "act 0.1 4 "+c.onLeak+": memory 1") ||
					!strings.Contains(ev[0], "MiB, grows by 12MiB/1m: "+c.want) {
					t.Fatalf("%q", ev)
				}
			})
		})
	}
}

// TestSamplerErrors: what has ended is no error, and what cannot be read is said
// once and is tried again.
func TestSamplerErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		s := startSampler(t, &log, func(pid int, at time.Duration) (uint64, error) {
			switch {
			case pid == 1:
				return 0, fmt.Errorf("gone: %w", syscall.ESRCH)
			case at < 5*time.Minute:
				return 0, errors.New("cannot read: too many open files (EMFILE)")
			}
			return 200 * testMiB, nil
		})
		s.watch(policy.Ref{Slot: 0, Incarnation: 1}, bound(), proc.Tree{PID: 1})
		s.watch(policy.Ref{Slot: 1, Incarnation: 1}, bound(), proc.Tree{PID: 2})
		if ev := s.after(5 * time.Minute); len(ev) != 0 || len(s.held()) != 0 {
			t.Fatalf("%q, %v", ev, s.held())
		}
		if ev := s.after(time.Minute); len(ev) == 0 {
			t.Error("it is not tried again")
		}
		s.close()
		<-s.done
		if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "EMFILE") {
			t.Errorf("the log has %d lines:\n%s", n, log.String())
		}
	})
}

// TestSamplerSpread: what is started together is sampled spread over its cadence,
// and nobody is woken for who has nothing to judge.
func TestSamplerSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		rounds := map[time.Duration]int{}
		s := startSampler(t, io.Discard, func(_ int, at time.Duration) (uint64, error) {
			mu.Lock()
			defer mu.Unlock()
			rounds[at]++
			return testMiB, nil
		})
		for i := range 1000 {
			s.watch(policy.Ref{Slot: policy.Slot(i), Incarnation: 1}, bound(), proc.Tree{PID: i + 10})
		}
		s.watch(policy.Ref{Slot: 2000, Incarnation: 1}, &spec.Memory{Max: spec.Size{Bytes: 1}, For: time.Second}, proc.Tree{PID: 5})
		s.watch(policy.Ref{Slot: 2001, Incarnation: 1}, nil, proc.Tree{PID: 6})
		s.after(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		most := 0
		for _, n := range rounds {
			most = max(most, n)
		}
		if limit := int(time.Minute/roundPause) + 10; len(rounds) > limit || len(rounds) < limit/2 {
			t.Errorf("%d rounds, at most %d", len(rounds), limit)
		}
		if most > 100 {
			t.Errorf("%d samples in one round", most)
		}
		if s.reads[5]+s.reads[6] != 0 {
			t.Error("what has nothing to judge is read")
		}
		for i := range 1000 {
			if n := s.reads[i+10]; n < 6 || n > 11 {
				t.Errorf("%d samples of one in a minute", n)
			}
		}
	})
}

func TestMinLeakWindow(t *testing.T) {
	if spec.MinLeakWindow != trend.MinWindow {
		t.Errorf("the language says %s, and %s are looked at", spec.MinLeakWindow, trend.MinWindow)
	}
}
