package logs

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func newRing(limit int64) *ring {
	r := &ring{budget: newBudget(limit)}
	r.budget.join(r)
	return r
}

// TestRingProperty: a cursor sees every line once and in order, or is told how
// many it missed; what is kept stays within its bounds.
func TestRingProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newRing(rapid.SampledFrom([]int64{2 << 10, 64 << 10, 64 << 20}).Draw(t, "budget"))
		var all []string // complete lines
		var open strings.Builder
		var cur cursor
		next := 0  // of all, which cur has not seen
		seen := "" // of line next, unfinished
		look := func() {
			items, lost, _ := r.read(&cur, nil, rapid.IntRange(1, 100000).Draw(t, "limit"))
			if lost > 0 {
				next, seen = next+int(lost), ""
			}
			for _, it := range items {
				seen += string(it.text)
				if it.partial {
					continue
				}
				want := all[next]
				if len(want) > maxRingLine {
					want = want[:maxRingLine] + fmt.Sprintf("… [%d more bytes]", len(want)-maxRingLine)
				}
				if seen != want {
					t.Fatalf("line %d is %.60q, want %.60q", next, seen, want)
				}
				next, seen = next+1, ""
			}
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 4).Draw(t, "step") {
			case 0:
				look()
			case 1:
				r.show("a")
			default:
				var b bytes.Buffer
				for range rapid.IntRange(1, 400).Draw(t, "lines") {
					b.WriteString(strings.Repeat("y", rapid.SampledFrom([]int{0, 1, 10, 70, 300}).Draw(t, "length")))
					b.WriteByte('\n')
				}
				if rapid.IntRange(0, 9).Draw(t, "long") == 0 {
					b.WriteString(strings.Repeat("z", rapid.IntRange(maxRingLine-2, 3*maxRingLine).Draw(t, "z")))
					b.WriteByte('\n')
				}
				if rapid.Bool().Draw(t, "unfinished") {
					b.WriteString("part")
				}
				for _, line := range strings.SplitAfter(b.String(), "\n") {
					open.WriteString(line)
					if strings.HasSuffix(line, "\n") {
						all = append(all, strings.TrimSuffix(open.String(), "\n"))
						open.Reset()
					}
				}
				r.publish("a", b.Bytes(), 1, place{})
			}
			if n := r.tail - r.head; n > uint64(len(r.buf)) || len(r.buf) > ringBytes {
				t.Fatalf("%d bytes in a buffer of %d", n, len(r.buf))
			}
			if int(r.next) != len(all) {
				t.Fatalf("next line is %d, not %d", r.next, len(all))
			}
			if total := r.budget.total.Load(); total != int64(len(r.buf)) {
				t.Fatalf("the budget counts %d of %d bytes", total, len(r.buf))
			}
			n := rapid.IntRange(0, 20).Draw(t, "n")
			var last cursor
			have, end, _ := r.last(&last, n)
			items, lost, _ := r.readUntil(&last, nil, 1<<30, end)
			if len(items) != have || have > n || lost != 0 {
				t.Fatalf("the last %d: have %d, got %d, lost %d", n, have, len(items), lost)
			}
		}
		for range 1000 {
			look()
		}
		if next != len(all) {
			t.Fatalf("saw %d of %d lines", next, len(all))
		}
	})
}

// TestRingBudget: the largest makes room for a small one.
func TestRingBudget(t *testing.T) {
	g := newBudget(300 << 10)
	large, small := &ring{budget: g}, &ring{budget: g}
	g.join(large)
	g.join(small)
	line := []byte(strings.Repeat("x", 999) + "\n")
	for range 300 {
		large.publish("a", line, 1, place{})
	}
	if len(large.buf) != ringBytes {
		t.Fatalf("the large one holds %d bytes", len(large.buf))
	}
	for range 100 {
		small.publish("a", line, 1, place{})
	}
	if len(small.buf) < 64<<10 || len(large.buf) >= ringBytes || g.total.Load() > g.max {
		t.Errorf("small %d, large %d, of %d", len(small.buf), len(large.buf), g.max)
	}
	g.leave(large)
	if got := g.total.Load(); got != int64(len(small.buf)) {
		t.Errorf("after one left, %d bytes are counted", got)
	}
}

func TestRingLines(t *testing.T) {
	r := newRing(1 << 30)
	for i := range 5000 {
		r.publish("a", []byte(fmt.Sprintln(i)), int64(i), place{})
	}
	if r.lines != ringLines {
		t.Errorf("%d lines kept", r.lines)
	}
	var c cursor
	r.last(&c, 1)
	items, _, _ := r.read(&c, nil, 100)
	if len(items) != 1 || string(items[0].text) != "4999" || items[0].time != 4999 {
		t.Errorf("%v", items)
	}
}
