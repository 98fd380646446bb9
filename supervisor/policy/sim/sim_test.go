package sim

import (
	"bytes"
	"os"
	"strconv"
	"testing"
)

// number reads a number from the environment, and says whether there was one.
func number(t *testing.T, name string, def uint64) (n uint64, set bool) {
	text := os.Getenv(name)
	if text == "" {
		return def, false
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("cannot read %s: %v", name, err)
	}
	return n, true
}

// TestSim runs scenario after scenario. NINES_SIM_EVENTS says how many events
// (default 150,000), NINES_SIM_SEED where to begin: the seed of a failure comes
// first.
func TestSim(t *testing.T) {
	events, long := number(t, "NINES_SIM_EVENTS", 150_000)
	seed, _ := number(t, "NINES_SIM_SEED", 1)
	var total uint64
	var seen Marks
	runs := 0
	for ; total < events; seed++ {
		s := Generate(seed, Limits{})
		res := Run(s, Options{})
		if res.Failure != nil {
			t.Fatalf("%v\n%s", res.Failure, Report(s, 500, 60))
		}
		total += uint64(res.Steps)
		seen.Add(&res.Marks)
		runs++
	}
	t.Logf("%d events in %d histories", total, runs)
	if missing := seen.Missing(); len(missing) > 0 && (!long || total > 150_000) {
		t.Errorf("no history reached: %v", missing)
	}
	for m, n := range seen {
		t.Logf("%8d %v", n, Mark(m))
	}
}

// TestDeterministic: the same seed gives the same bytes, from the machine's
// words to the last fault.
func TestDeterministic(t *testing.T) {
	for seed := range uint64(40) {
		a := Run(Generate(seed, Limits{}), Options{Trace: true})
		b := Run(Generate(seed, Limits{}), Options{Trace: true})
		if !bytes.Equal(a.Trace, b.Trace) {
			t.Fatalf("seed %d gives two histories", seed)
		}
	}
}
