package logs

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

func (l *listener) total(pipe, pattern string) (n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.counts {
		if c.Pipe == pipe && c.Pattern == pattern {
			n = c.Total
		}
	}
	return n
}

// matching is a rig with a pipe whose lines are counted, and who hears of it.
func matching(t *testing.T, change func(*Settings), matches ...Match) (*rig, *os.File, *listener) {
	t.Helper()
	r := newRig(t, disk{})
	l := listenTo(r, "", 0)
	s := r.settings("web/0")
	s.Matches = matches
	if change != nil {
		change(&s)
	}
	w, _ := r.pipe("web/0.1:out", s)
	t.Cleanup(func() { l.stop(); <-l.end })
	return r, w, l
}

// TestMatches: lines are counted as they were written, whatever becomes of them
// and however they come.
func TestMatches(t *testing.T) {
	for name, change := range map[string]func(*Settings){
		"text":         nil,
		"json":         func(s *Settings) { s.Format = FormatJSON },
		"in no file":   func(s *Settings) { s.ToFile = false },
		"rate":         func(s *Settings) { s.Rate = 1 << 20 },
		"no such dir":  func(s *Settings) { s.Dir = "/proc/self/none" },
		"other stream": func(s *Settings) { s.Stream = Err },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			errors, ends := Match{"ERROR|panic", time.Minute}, Match{"^[a-z]+ end$", time.Minute}
			_, w, l := matching(t, change, errors, ends)
			write(t, w, "fine\nERROR one\nno error\npanic: ERROR\n") // 2: a line counts once
			write(t, w, "ER")
			write(t, w, "ROR")
			write(t, w, " three\nthe en")
			write(t, w, "d\nnot the end\n\n")
			write(t, w, strings.Repeat("x", 3*maxRingLine)+"ERROR\n") // what is cut off is not looked at
			for range 100 {
				write(t, w, "ERROR\n")
			}
			eventually(t, "103", func() bool { return l.total("web/0.1:out", errors.Pattern) == 103 })
			write(t, w, "last end") // its writer ends
			check(t, w.Close())
			eventually(t, "2 ends", func() bool { return l.total("web/0.1:out", ends.Pattern) == 2 })
			if n := l.total("web/0.1:out", errors.Pattern); n != 103 {
				t.Errorf("%d", n)
			}
		})
	}
}

// TestMatchOnce: what only must have come once is told once.
func TestMatchOnce(t *testing.T) {
	_, w, l := matching(t, nil, Match{"up", 0}, Match{"end", time.Minute})
	write(t, w, "coming up\nup\n")
	eventually(t, "up", func() bool { return l.total("web/0.1:out", "up") == 1 })
	write(t, w, "up\nup\nend\n")
	eventually(t, "end", func() bool { return l.total("web/0.1:out", "end") == 1 })
	if n := l.total("web/0.1:out", "up"); n != 1 {
		t.Errorf("counted on: %d", n)
	}
}

// TestMatchesChange: other settings count at once; what stays goes on counting, and
// what is unknown or wrong costs the others nothing.
func TestMatchesChange(t *testing.T) {
	a, b, c := Match{"a", time.Minute}, Match{"b", time.Minute}, Match{"c", time.Hour}
	r, w, l := matching(t, nil, a, b)
	write(t, w, "a\nb\nc\n")
	eventually(t, "a", func() bool { return l.total("web/0.1:out", "a") == 1 })
	s := r.settings("web/0")
	s.Matches = []Match{c, {"(", time.Minute}, a, a}
	r.rehand("web/0.1:out", s)
	if !strings.Contains(r.said.String(), "cannot look for \"(\" in the output of web/0") {
		t.Errorf("said %q", r.said)
	}
	write(t, w, "b\na\nc\n")
	eventually(t, "a and c", func() bool { return l.total("web/0.1:out", "a") == 2 && l.total("web/0.1:out", "c") == 1 })
	if n := l.total("web/0.1:out", "b"); n != 1 {
		t.Errorf("b: %d", n)
	}
	s.Matches = []Match{c}
	r.rehand("web/0.1:out", s)
	write(t, w, "a\nc\n")
	eventually(t, "c alone", func() bool { return l.total("web/0.1:out", "c") == 2 })
	if n := l.total("web/0.1:out", "a"); n != 2 {
		t.Errorf("a: %d", n)
	}
}

// TestMatchesAgain: who listens anew is told all that is not 0, with when it came;
// also of what has ended meanwhile.
func TestMatchesAgain(t *testing.T) {
	errors := Match{"ERROR", time.Minute}
	r, w, first := matching(t, nil, errors, Match{"up", 0}, Match{"never", time.Minute})
	write(t, w, "up\nERROR\nERROR\n")
	eventually(t, "2", func() bool { return first.total("web/0.1:out", "ERROR") == 2 })
	first.stop()
	write(t, w, "ERROR\n")
	check(t, w.Close())
	if got := <-r.ended; got != "web/0.1:out" {
		t.Fatal(got)
	}
	second := listenTo(r, "", 0)
	defer func() { second.stop(); <-second.end }()
	eventually(t, "3", func() bool {
		return second.total("web/0.1:out", "ERROR") == 3 && second.total("web/0.1:out", "up") == 1
	})
	second.mu.Lock()
	defer second.mu.Unlock()
	if len(second.counts) != 2 {
		t.Fatalf("%+v", second.counts)
	}
	for _, c := range second.counts {
		var lines uint64
		for _, s := range c.Recent {
			if lines += s.Lines; s.Ago < 0 || s.Ago > c.Within {
				t.Errorf("%+v", c)
			}
		}
		if want := map[string]uint64{"ERROR": 3}[c.Pattern]; lines != want {
			t.Errorf("%+v", c)
		}
	}
}

// TestMatchesAtTheEnd: an orderly end tells what was counted.
func TestMatchesAtTheEnd(t *testing.T) {
	r, w, l := matching(t, nil, Match{"ERROR", time.Minute})
	write(t, w, strings.Repeat("ERROR\n", 1000))
	eventually(t, "it is read", func() bool { return len(r.read(Query{Lines: -1})) == 1000 })
	r.stop()
	eventually(t, "all", func() bool { return l.total("web/0.1:out", "ERROR") == 1000 })
}

// TestTallies: what is kept of many that have ended is bounded, and what is
// compiled is let go.
func TestTallies(t *testing.T) {
	all := newTallies()
	re := expressionOf("x")
	for i := range 3 * maxEnded {
		y := all.tally(fmt.Sprint(i), Match{"x", time.Minute}, re)
		if i%2 == 0 {
			all.count(y, 1, time.Now())
		}
		all.end(y)
	}
	counts, upTo, _ := all.since(0)
	if len(counts) != maxEnded || counts[len(counts)-1].Pipe != fmt.Sprint(3*maxEnded-2) {
		t.Errorf("%d kept", len(counts))
	}
	if counts, _, _ := all.since(upTo); len(counts) != 0 {
		t.Errorf("told again: %d", len(counts))
	}

	h := &hub{tallies: all, patterns: map[string]*expression{}}
	p, q := &pipe{name: "p"}, &pipe{name: "q"}
	h.rematch(p, []Match{{"a", 1}, {"b", 0}, {"a", 2}})
	h.rematch(q, []Match{{"a", 1}})
	if p.matcher.list()[0].re != q.matcher.list()[0].re || len(h.patterns) != 2 {
		t.Error("compiled more than once")
	}
	h.rematch(p, nil)
	h.unmatchAll(q)
	if len(h.patterns) != 0 {
		t.Errorf("kept: %v", h.patterns)
	}
}

func expressionOf(pattern string) *expression {
	return &expression{re: regexp.MustCompile(pattern), needles: needles(pattern)}
}

func TestNeedles(t *testing.T) {
	for pattern, want := range map[string]string{
		"ERROR": "ERROR", "ERROR|panic:": "ERROR panic:", "^(fatal|FATAL) .*(disk|net)$": "fatal FATAL", "(?i)error": "", "a?b*": "", "(ab)+x{2,}": "ab",
		"[0-9]+ ms": " ms", "": "", "(": "", "a|b|c|d": "", "aa|bb|cc|dd|ee|ff|gg|hh|ii": "", "\uFFFD": "", "ERR(OR|AND)?": "ERR",
	} {
		if got := string(bytes.Join(needles(pattern), []byte(" "))); got != want {
			t.Errorf("%q: %q, want %q", pattern, got, want)
		}
	}
}

// TestSpans: when lines came is known to a 64th of the window, and never later than
// they did.
func TestSpans(t *testing.T) {
	const sec = time.Second
	y := &tally{Match: Match{"x", 64 * sec}}
	for _, at := range []time.Duration{3*sec + 1, 5 * sec, 5*sec + 2, 66*sec + 3} {
		y.forget(at)
		y.parts[y.last%tallyParts]++
	}
	if got := y.recent(67 * sec); !slices.Equal(got, []Span{{62 * sec, 2}, {sec, 1}}) {
		t.Errorf("%v", got) // what came at 3 is 64 s old
	}
	if got := y.recent(1000 * sec); len(got) != 0 {
		t.Errorf("%v", got)
	}
}

// FuzzMatcher: however lines are cut into reads, each is counted once, as it would
// be by itself.
func FuzzMatcher(f *testing.F) {
	f.Add("ab|cd", []byte("xab\ncd\nc\nd\n\ncdcd"), uint8(5))
	f.Add("ERROR|^$|x{3}$", []byte("ERROR\n\nxxx\nERR\nOR"), uint8(3))
	f.Fuzz(func(t *testing.T, pattern string, text []byte, step uint8) {
		re, err := regexp.Compile(pattern)
		if err != nil || len(pattern) > MaxMatchPattern || strings.Contains(pattern, "{") {
			return
		}
		var want uint64
		lines := strings.Split(string(text), "\n")
		for i, l := range lines {
			if i == len(lines)-1 && l == "" {
				break
			}
			if re.MatchString(l[:min(len(l), maxRingLine)]) {
				want++
			}
		}
		all := newTallies()
		var m matcher
		list := []*tally{all.tally("p", Match{pattern, time.Minute}, expressionOf(pattern))}
		m.tallies.Store(&list)
		for rest := text; len(rest) > 0; {
			n := min(len(rest), int(step)+1)
			m.feed(rest[:n], all, time.Now())
			rest = rest[n:]
		}
		m.end(all, time.Now())
		if list[0].total != want {
			t.Fatalf("%q in %q by %d: %d, want %d", pattern, text, step, list[0].total, want)
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	all := newTallies()
	text := []byte(strings.Repeat("2026-01-02T03:04:05 INFO request 17 served in 3 ms by backend seven\n", 900))
	for name, matches := range map[string][]string{"none": nil, "literal": {"ERROR"}, "alternatives": {"ERROR|panic:"}, "anchored": {"^panic:"}, "no needle": {"(?i)error"}} {
		b.Run(name, func(b *testing.B) {
			var m matcher
			var list []*tally
			for _, p := range matches {
				list = append(list, all.tally("p", Match{p, time.Minute}, expressionOf(p)))
			}
			m.tallies.Store(&list)
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				m.feed(text, all, time.Now())
			}
		})
	}
}
