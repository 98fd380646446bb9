package trend

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

const mib = 1 << 20

// rule is the one of the examples: 10 MiB a minute over 10 minutes.
func rule() *Rule {
	return &Rule{Growth: 10 * mib / 60.0, Window: 10 * time.Minute}
}

// trace is memory over time, in bytes.
type trace func(at time.Duration) float64

// first feeds a trace and returns when it is first taken for a leak, or false.
func first(rng *rand.Rand, r *Rule, length time.Duration, x trace) (time.Duration, bool) {
	var j Judge
	for at := time.Duration(0); at <= length; at += r.Next(rng.Float64()) {
		if j.Add(r, at, uint64(max(0, x(at)))).Leak {
			return at, true
		}
	}
	return 0, false
}

// sawtooth is a heap with garbage collection: it grows from its floor by a
// height, in a period that is a little different each time, and falls back.
func sawtooth(rng *rand.Rand, base, height float64, period time.Duration, jitter float64) trace {
	var from, to time.Duration
	var bottom, peak float64
	next := func() {
		from, to = to, to+time.Duration(float64(period)*(1+jitter*(rng.Float64()-0.5)))
		bottom = base * (1 + 0.1*jitter*rng.Float64())
		peak = height * (1 + jitter*(rng.Float64()-0.5))
	}
	next()
	return func(at time.Duration) float64 {
		for at >= to {
			next()
		}
		return bottom + peak*float64(at-from)/float64(to-from)
	}
}

// TestSawtooth: no heap whose period fits into the window is ever taken for a
// leak, however high and uneven it is, and whatever the noise.
func TestSawtooth(t *testing.T) {
	const traces = 3000
	for seed := range uint64(traces) {
		rng := rand.New(rand.NewPCG(seed, 1))
		r := &Rule{
			Growth: math.Exp(rng.Float64()*math.Log(1000)) * mib / 60, // 1 MiB to 1 GiB a minute
			Window: time.Duration(8+rng.IntN(3600)) * time.Second,
		}
		window := float64(r.Window)
		// From nothing to 30 times what would be a leak over the window.
		height := r.Growth * r.Window.Seconds() * 30 * rng.Float64()
		period := time.Duration(window * (0.01 + 0.84*rng.Float64())) // and up to 15 % more, by jitter
		jitter := 0.3 * rng.Float64()
		x := sawtooth(rng, height*(0.1+rng.Float64()), height, period, jitter)
		noise := 0.05 * height * rng.Float64()
		if at, leak := first(rng, r, 30*r.Window, func(at time.Duration) float64 { return x(at) + noise*rng.NormFloat64() }); leak {
			t.Errorf("seed %d: a sawtooth (height %.0f MiB, period %s, window %s, growth %.2f MiB/s) is taken for a leak after %s",
				seed, height/mib, period, r.Window, r.Growth/mib, at)
		}
	}
}

// TestHarmless: growth that is no leak.
func TestHarmless(t *testing.T) {
	g := rule().Growth
	w := rule().Window.Seconds()
	ramp := func(from, to, height float64) trace {
		return func(at time.Duration) float64 {
			return 50*mib + height*min(1, max(0, (at.Seconds()-from)/(to-from)))
		}
	}
	fill := func(tau, height float64) trace {
		return func(at time.Duration) float64 { return 50*mib + height*(1-math.Exp(-at.Seconds()/tau)) }
	}
	rng := rand.New(rand.NewPCG(7, 7))
	walk := 500.0 * mib
	for name, x := range map[string]trace{
		"constant":                            func(time.Duration) float64 { return 100 * mib },
		"nothing":                             func(time.Duration) float64 { return 0 },
		"slower than growth":                  func(at time.Duration) float64 { return 50*mib + 0.9*g*at.Seconds() },
		"falling":                             func(at time.Duration) float64 { return 8e9 - 2*g*at.Seconds() },
		"one step":                            ramp(1000, 1001, 2000*mib),
		"a cache filled within half a window": ramp(700, 700+w/2, 4000*mib),
		"a cache filled within most of it":    ramp(700, 700+0.8*w, 4000*mib),
		"a cache that fills up soon":          fill(w/8, 4000*mib),
		"a cache that fills up":               fill(w/3, 4000*mib),
		"a cache that fills up slowly":        fill(0.9*w, 4000*mib),
		"a step every third of a window": func(at time.Duration) float64 {
			return 50*mib + 100*g*math.Floor(at.Seconds()/(w/3))
		},
		"a table that doubles": func(at time.Duration) float64 {
			return mib * math.Exp2(math.Floor(math.Log2(1+at.Seconds())))
		},
		"waves": func(at time.Duration) float64 {
			return 2000*mib + 1900*mib*math.Sin(2*math.Pi*at.Seconds()/(0.9*w))
		},
		"noise": func(time.Duration) float64 { return 500*mib + 100*mib*rng.Float64() },
		"a walk that is drawn back": func(time.Duration) float64 {
			walk += 20*mib*rng.NormFloat64() - (walk-500*mib)/50
			return walk
		},
	} {
		if at, leak := first(rng, rule(), 40*rule().Window, x); leak {
			t.Errorf("%s is taken for a leak after %s", name, at)
		}
	}
}

// TestDetects: every leak is found within the window and three segments, under
// noise and bursts.
func TestDetects(t *testing.T) {
	const traces = 1000
	for seed := range uint64(traces) {
		rng := rand.New(rand.NewPCG(seed, 2))
		r := rule()
		r.Window = time.Duration(64+rng.IntN(3600)) * time.Second
		rate := r.Growth * (1.2 + 10*rng.Float64())
		begins := time.Duration(rng.Float64() * 3 * float64(r.Window))
		step := rate * r.segment().Seconds()
		noise := 0.05 * step * rng.Float64()
		burst := func() float64 {
			if rng.Float64() < 0.1 {
				return 20 * step * rng.Float64()
			}
			return 0
		}
		x := func(at time.Duration) float64 {
			leaked := rate * max(0, (at-begins).Seconds())
			return 100*mib + leaked + noise*rng.NormFloat64() + burst()
		}
		at, leak := first(rng, r, begins+3*r.Window, x)
		// Segments begin when they do, and end with a sample.
		if limit := begins + r.Window + 3*r.segment() + floors*r.Next(1); !leak || at > limit {
			t.Errorf("seed %d: a leak of %.1f times growth from %s on, window %s: found %t after %s, want by %s",
				seed, rate/r.Growth, begins, r.Window, leak, at, limit)
		}
	}
}

// TestDetectsUnderHeap: a leak below a collected heap.
func TestDetectsUnderHeap(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 3))
		r := rule()
		rate := r.Growth * (1.5 + 3*rng.Float64())
		period := time.Duration(float64(r.segment()) * (0.1 + 0.3*rng.Float64()))
		x := sawtooth(rng, 100*mib, 0.5*rate*r.segment().Seconds(), period, 0.1)
		at, leak := first(rng, r, 5*r.Window, func(at time.Duration) float64 { return x(at) + rate*at.Seconds() })
		if !leak || at > 3*r.Window {
			t.Errorf("seed %d: found %t after %s", seed, leak, at)
		}
	}
}

// TestLeakEnds: one that has stopped is told no more, and what goes on at the
// bound is told once.
func TestLeakEnds(t *testing.T) {
	r := rule()
	x := func(at time.Duration) float64 { return 100*mib + 1.5*r.Growth*min(at, 30*time.Minute).Seconds() }
	var j Judge
	changes := ""
	was := false
	for at := time.Duration(0); at < 2*time.Hour; at += r.Cadence() {
		v := j.Add(r, at, uint64(x(at)))
		if v.Leak != was {
			was = v.Leak
			changes += fmt.Sprintf("%t at %s\n", v.Leak, at.Round(time.Minute))
		}
		if v.Leak && at < 30*time.Minute && math.Abs(v.Rate-1.5*r.Growth) > 0.01*r.Growth {
			t.Errorf("at %s the rate is %g, want %g", at, v.Rate, 1.5*r.Growth)
		}
	}
	if want := "true at 11m0s\nfalse at 38m0s\n"; changes != want {
		t.Errorf("it changes:\n%swant:\n%s", changes, want)
	}
}

// TestGaps: what was not seen is not held against anybody.
func TestGaps(t *testing.T) {
	r := rule()
	r.Above, r.For = 200*mib, 30*time.Second
	c := r.Cadence()
	leaking := func(at time.Duration) uint64 { return uint64(100*mib + 3*r.Growth*at.Seconds()) }
	t.Run("one sample missing now and then changes nothing", func(t *testing.T) {
		var j Judge
		found := false
		for i := range 400 {
			if at := time.Duration(i) * c; i%5 != 3 {
				found = found || j.Add(r, at, leaking(at)).Leak
			}
		}
		if !found {
			t.Error("the leak is not found")
		}
	})
	t.Run("a gap in every window hides it", func(t *testing.T) {
		var j Judge
		for at := time.Duration(0); at < 5*time.Hour; at += c {
			if at%r.Window < GapCadences*c+c {
				continue
			}
			if v := j.Add(r, at, leaking(at)); v.Leak {
				t.Fatalf("a leak after %s", at)
			}
		}
	})
	t.Run("most samples missing hide it", func(t *testing.T) {
		var j Judge
		for at := time.Duration(0); at < 5*time.Hour; at += 3 * c {
			if v := j.Add(r, at, leaking(at)); v.Leak {
				t.Fatalf("a leak after %s", at)
			}
		}
	})
	t.Run("a jump over a gap is neither", func(t *testing.T) {
		var j Judge
		for at := time.Duration(0); at < time.Hour; at += c {
			j.Add(r, at, 100*mib)
		}
		if v := j.Add(r, 10*time.Hour, 8e9); v.High || v.Leak {
			t.Errorf("%+v", v)
		}
		if v := j.Add(r, 10*time.Hour+c, 8e9); v.High || v.Leak {
			t.Errorf("%+v", v)
		}
	})
}

// TestHigh: sustained means every sample.
func TestHigh(t *testing.T) {
	r := &Rule{Above: 100, For: 4 * time.Second}
	var j Judge
	for i, step := range []struct {
		at    int // seconds
		bytes uint64
		want  time.Duration // 0: not high
	}{
		{0, 100, 0}, // it must be above
		{1, 101, 0},
		{2, 500, 0},
		{3, 101, 0},
		{4, 99, 0}, // ends it
		{5, 101, 0},
		{6, 101, 0},
		{7, 101, 0},
		{8, 101, 0},
		{9, 101, 4 * time.Second},
		{10, 101, 5 * time.Second},
		{11, 100, 0},
		{12, 200, 0},
		{16, 200, 4 * time.Second}, // no gap yet
		{21, 200, 0},               // a gap
		{25, 200, 4 * time.Second},
	} {
		v := j.Add(r, time.Duration(step.at)*time.Second, step.bytes)
		if v.High != (step.want > 0) || v.For != step.want || v.Leak {
			t.Errorf("step %d: %+v, want high for %s", i, v, step.want)
		}
	}
	// At once.
	now := &Rule{Above: 100}
	if v := new(Judge).Add(now, 0, 101); !v.High {
		t.Error("for = 0s is not at once")
	}
}

func TestCadence(t *testing.T) {
	for _, c := range []struct {
		r    Rule
		want time.Duration
	}{
		{Rule{Above: 1, For: 30 * time.Second}, 7500 * time.Millisecond},
		{Rule{Growth: 1, Window: 10 * time.Minute}, 9375 * time.Millisecond},
		{Rule{Above: 1, For: 30 * time.Second, Growth: 1, Window: 10 * time.Minute}, 7500 * time.Millisecond},
		{Rule{Above: 1, For: 0}, time.Second},
		{Rule{Growth: 1, Window: time.Second}, time.Second},
		{Rule{Growth: 1, Window: 240 * time.Hour}, time.Minute},
		{Rule{Above: 1, For: 240 * time.Hour}, time.Minute},
	} {
		if got := c.r.Cadence(); got != c.want || !c.r.Judges() {
			t.Errorf("%+v: %s, want %s", c.r, got, c.want)
		}
		if least, most := c.r.Next(0), c.r.Next(1); least != c.want*3/4 || most != c.want*5/4 {
			t.Errorf("%+v: next after %s to %s", c.r, least, most)
		}
	}
	if new(Rule).Judges() {
		t.Error("the zero rule judges")
	}
}

func TestLeft(t *testing.T) {
	for _, c := range []struct {
		bytes, limit uint64
		rate         float64
		want         time.Duration
	}{
		{100 * mib, 200 * mib, mib, 100 * time.Second},
		{200 * mib, 200 * mib, mib, 0},
		{300 * mib, 200 * mib, mib, 0},
		{0, 200 * mib, 0, 0},
		{0, 200 * mib, -1, 0},
		{0, math.MaxUint64, 1e-9, 365 * 24 * time.Hour},
	} {
		if got := Left(c.bytes, c.limit, c.rate); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

// FuzzJudge: whatever comes, it does not panic, and what it says is in order.
func FuzzJudge(f *testing.F) {
	f.Add(uint64(100), int64(1e9), 10.0, int64(60e9), []byte{1, 2, 3, 4, 5, 6, 7, 8, 9})
	f.Add(uint64(0), int64(-1), math.Inf(1), int64(math.MaxInt64), []byte{255, 255, 0, 1})
	f.Fuzz(func(t *testing.T, above uint64, sustained int64, growth float64, window int64, data []byte) {
		r := &Rule{Above: above, For: time.Duration(sustained), Growth: growth, Window: time.Duration(window)}
		var j Judge
		at := time.Duration(0)
		for i := 0; i+1 < len(data); i += 2 {
			at += time.Duration(data[i]) * r.Cadence() / 100
			bytes := uint64(data[i+1]) << (data[i] % 56)
			v := j.Add(r, at, bytes)
			if v.High && (above == 0 || bytes <= above || v.For < r.For) {
				t.Fatalf("high: %+v of %d", v, bytes)
			}
			if v.Leak && (!(growth > 0) || v.Rate < growth/2) {
				t.Fatalf("leak: %+v", v)
			}
			if !v.High && v.For != 0 || !v.Leak && v.Rate != 0 {
				t.Fatalf("%+v", v)
			}
			if left := Left(bytes, above, v.Rate); left < 0 {
				t.Fatalf("left: %s", left)
			}
		}
	})
}

func BenchmarkAdd(b *testing.B) {
	r := rule()
	r.Above, r.For = 200*mib, 30*time.Second
	js := make([]Judge, 1000)
	at := time.Duration(0)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%len(js) == 0 {
			at += r.Cadence()
		}
		js[i%len(js)].Add(r, at, 100*mib+uint64(i))
	}
}
