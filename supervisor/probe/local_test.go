package probe

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"nines/spec"
)

const sec = time.Second

// said compares: "FAIL " before it means that it does not pass.
func said(t *testing.T, at any, r Result, want string) {
	t.Helper()
	want, fails := strings.CutPrefix(want, "FAIL ")
	got := r.Output
	if r.Err != nil {
		got = r.Err.Error()
	}
	if (r.Err != nil) != fails || !strings.Contains(got, want) {
		t.Errorf("at %v: %q (%v), want %q", at, r.Output, r.Err, want)
	}
}

func TestCPU(t *testing.T) {
	c := NewCPU(&spec.CheckCPU{Above: 95, For: 30 * sec})
	for _, s := range []struct {
		at, used time.Duration
		want     string
	}{
		{0, 100 * sec, ""},
		{10 * sec, 109 * sec, "cpu 90%"},
		{20 * sec, 119 * sec, "cpu 100%"}, // hot since 10
		{20 * sec, 119 * sec, "cpu 100%"}, // twice at once: nothing new
		{30 * sec, 129 * sec, "cpu 100%"},
		{40 * sec, 138600 * time.Millisecond, "FAIL cpu 96%, for 30s above 95% of one CPU"},
		{50 * sec, 158 * sec, "FAIL cpu 194%"},
		{60 * sec, 167500 * time.Millisecond, "cpu 95%"}, // not above
		{70 * sec, 177500 * time.Millisecond, "cpu 100%"},
		{80 * sec, 10 * sec, ""}, // counted anew
		{110 * sec, 40 * sec, "FAIL cpu 100%, for 30s"},
	} {
		said(t, s.at, c.Judge(s.at, s.used), s.want)
	}
}

func TestStall(t *testing.T) {
	s := NewStall(&spec.CheckStall{For: 5 * sec})
	for _, step := range []struct {
		at   time.Duration
		s    Stalled
		want string
	}{
		{0, Stalled{}, ""},
		{5 * sec, Stalled{}, ""}, // it sleeps
		// All threads are blocked at both ends, and nothing was run in between.
		{10 * sec, Stalled{Blocked: true}, ""},
		{13 * sec, Stalled{Blocked: true}, "blocked in the kernel"},
		{16 * sec, Stalled{Blocked: true, CPU: 20 * time.Millisecond}, "FAIL no progress for 6s: all of its threads are blocked"},
		// At both ends, but in between it ran: an instant is no stall.
		{20 * sec, Stalled{Blocked: true, CPU: 90 * time.Millisecond}, ""},
		{20 * sec, Stalled{Blocked: true, CPU: 90 * time.Millisecond}, ""},
		// Memory: it may run in the kernel all the while, to look for some.
		{25 * sec, Stalled{CPU: 5 * sec, MemoryStall: 4400 * time.Millisecond}, ""}, // 88 %
		{30 * sec, Stalled{CPU: 9 * sec, MemoryStall: 9 * sec}, "FAIL no progress for 5s: all of it waits for memory"},
		{33 * sec, Stalled{CPU: 9 * sec, MemoryStall: 9 * sec, IOStall: 3 * sec}, "FAIL no progress for 8s: all of it waits for a device"},
		{36 * sec, Stalled{CPU: 9 * sec, MemoryStall: 9 * sec, IOStall: 3 * sec}, ""},
	} {
		said(t, step.at, s.Judge(step.at, step.s), step.want)
	}
}

func TestLogRate(t *testing.T) {
	l := NewLogRate(&spec.CheckLog{Pattern: "ERROR|panic", Max: spec.Rate{Count: 20, Per: time.Minute}})
	said(t, 0, l.Judge(0), "0 matching lines in 1m0s")
	l.Add(10*sec, 20)
	said(t, 10, l.Judge(10*sec), "20 matching lines")
	l.Add(30*sec, 1)
	said(t, 30, l.Judge(30*sec), `FAIL more than 20 lines in 1m0s match "ERROR|panic"`)
	said(t, 68, l.Judge(68*sec), "FAIL more than 20 lines")
	said(t, 71, l.Judge(71*sec), "1 matching lines") // what came at 10 is not of the last minute
	l.Add(80*sec, math.MaxUint64)
	said(t, 80, l.Judge(80*sec), "FAIL more")
	said(t, 300, l.Judge(300*sec), "0 matching")

	// What came before is told later: as far as it is in the window it counts, and
	// for no longer than it should.
	l.Add(400*sec, 5)
	l.Add(370*sec, 10)
	l.Add(300*sec, 50)
	l.Add(-sec, 50)
	said(t, 401, l.Judge(401*sec), "15 matching lines")
	said(t, 431, l.Judge(431*sec), "5 matching lines")

	// Beside one that keeps every line: never more than there are in the window,
	// and never less than there are in 62 of its 64 parts.
	rng := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		per := time.Duration(1+rng.IntN(5000)) * time.Millisecond
		l := NewLogRate(&spec.CheckLog{Max: spec.Rate{Count: 1 << 40, Per: per}})
		var all []time.Duration
		now := time.Duration(0)
		for range 500 {
			now += time.Duration(rng.Int64N(int64(per) / 20))
			if rng.IntN(50) == 0 {
				now += 3 * per
			}
			n := rng.IntN(4)
			l.Add(now, uint64(n))
			for range n {
				all = append(all, now)
			}
			var most, least uint64
			for _, at := range all {
				if now-at < per+per/logParts {
					most++
				}
				if now-at < per-2*per/logParts {
					least++
				}
			}
			if l.Judge(now); l.sum > most || l.sum < least {
				t.Fatalf("per %s at %s: %d, not %d to %d", per, now, l.sum, least, most)
			}
		}
	}
}

func TestOutliers(t *testing.T) {
	const mib = 1 << 20
	nan := math.NaN()
	for _, tc := range []struct {
		name, of string
		values   []float64
		out      []int
		text     string // of the first
	}{
		{"two", "memory", []float64{mib, 900 * mib}, nil, "2 of at least 3 replicas"},
		{"not known", "memory", []float64{100 * mib, -1, nan, math.Inf(1), 900 * mib}, nil, "2 of at least 3"},
		{"alike", "memory", []float64{100 * mib, 101 * mib, 102 * mib}, nil, "memory 100.0MiB, median of 3 replicas 101.0MiB"},
		{"all the same but one: no deviation", "memory", []float64{100 * mib, 100 * mib, 100 * mib, 151 * mib}, []int{3}, ""},
		{"no deviation, a little more", "memory", []float64{100 * mib, 100 * mib, 100 * mib, 149 * mib}, nil, ""},
		{"small ones", "memory", []float64{1 * mib, 1 * mib, 15 * mib}, nil, ""},
		{"three", "memory", []float64{300 * mib, 100 * mib, 102 * mib}, []int{0}, "memory 300.0MiB, median of 3 replicas 102.0MiB: further off than 51.0MiB"},
		{"less memory does no harm", "memory", []float64{100 * mib, 100 * mib, 1 * mib}, nil, ""},
		{"spread as by chance", "memory", []float64{80 * mib, 100 * mib, 120 * mib, 140 * mib, 240 * mib}, nil, ""},
		{"two of five", "memory", []float64{100 * mib, 100 * mib, 101 * mib, 900 * mib, 901 * mib}, []int{3, 4}, ""},
		{"half is not an outlier", "memory", []float64{100 * mib, 100 * mib, 900 * mib, 900 * mib}, nil, ""},
		{"one that hangs", "cpu", []float64{0.8, 0.82, 0}, []int{2}, ""},
		{"one that spins", "cpu", []float64{0.1, 0.12, 1}, []int{2}, ""},
		{"idle", "cpu", []float64{0, 0, 0.09}, nil, "cpu 0%, median"},
		{"latency", "latency", []float64{0.002, 0.003, 0.002, 0.25}, []int{3}, "latency 2ms, median of 4 replicas 2.5ms"},
		{"fast anyway", "latency", []float64{0.001, 0.001, 0.009}, nil, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			results := Outliers(tc.of, tc.values)
			var out []int
			for i, r := range results {
				if r.Err != nil {
					out = append(out, i)
				}
			}
			if fmt.Sprint(out) != fmt.Sprint(tc.out) {
				t.Errorf("outliers %v, want %v: %v", out, tc.out, results)
			}
			if first := results[0]; !strings.Contains(first.Output, tc.text) && (first.Err == nil || !strings.Contains(first.Err.Error(), tc.text)) {
				t.Errorf("%q (%v), want %q", first.Output, first.Err, tc.text)
			}
		})
	}
}

// Whatever is fed, nothing panics, and fewer than half are outliers.
func FuzzOutliers(f *testing.F) {
	f.Add(1.0, 2.0, 3.0, 4.0, 5.0)
	f.Add(math.NaN(), math.Inf(1), -1.0, math.MaxFloat64, 0.0)
	f.Fuzz(func(t *testing.T, a, b, c, d, e float64) {
		for _, of := range []string{"memory", "cpu", "latency"} {
			n := 0
			for _, r := range Outliers(of, []float64{a, b, c, d, e}) {
				if r.Err != nil {
					n++
				}
			}
			if n > 2 {
				t.Fatalf("%d of 5 %s are outliers", n, of)
			}
		}
	})
}
