package supervisor

import (
	"testing"
	"time"

	"nines/spec"
	"nines/supervisor/logs"
)

// TestCounts: what nines-log has counted is counted once, and when it came, through
// the deaths of either.
func TestCounts(t *testing.T) {
	const sec = time.Second
	block := &spec.CheckLog{Pattern: "ERROR", Max: spec.Rate{Count: 3, Per: time.Minute}}
	checks := []spec.Check{{CPU: &spec.CheckCPU{}}, {Log: block}, {Log: &spec.CheckLog{Pattern: "other", Max: block.Max}}}
	count := func(id, total uint64, recent ...logs.Span) *logs.Count {
		return &logs.Count{ID: id, Pattern: "ERROR", Within: time.Minute, Total: total, Recent: recent}
	}
	var c counts
	fails := func(at time.Duration, want bool) {
		t.Helper()
		if r := c.judge(block, at); (r.Err != nil) != want {
			t.Errorf("at %s: %v", at, r)
		}
		if r := c.judge(checks[2].Log, at); r.Err != nil {
			t.Errorf("the other pattern: %v", r)
		}
	}
	fails(100*sec, false)
	c.add("a", count(1, 2), checks, 100*sec)
	c.add("a", count(1, 2), checks, 100*sec) // told again
	c.add("a", count(2, 1), checks, 100*sec) // of the other stream
	fails(100*sec, false)
	// We listen anew to the same nines-log: what it says of before is known.
	c.add("a", count(1, 2, logs.Span{Ago: sec, Lines: 2}), checks, 101*sec)
	fails(101*sec, false)
	// Another nines-log begins at 0, with numbers that are used again.
	c.add("b", count(1, 1, logs.Span{Ago: 0, Lines: 1}), checks, 102*sec)
	fails(102*sec, true)
	fails(161*sec, false) // those of 100 are over a minute old

	// A supervisor that begins counts what is recent, as old as it is.
	c = counts{}
	c.add("b", count(1, 500, logs.Span{Ago: 50 * sec, Lines: 2}, logs.Span{Ago: 10 * sec, Lines: 2}), checks, 200*sec)
	fails(200*sec, true)
	fails(212*sec, false)
	c.add("b", count(1, 502), checks, 212*sec)
	fails(212*sec, true)

	// One line is enough.
	if c.has("up") {
		t.Error("it came?")
	}
	c.add("b", &logs.Count{ID: 9, Pattern: "up", Total: 1}, checks, 0)
	if !c.has("up") || c.has("down") {
		t.Error("it did not come?")
	}
}
