package logs

import (
	"bytes"
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Match is a pattern whose lines are counted.
type Match struct {
	Pattern string // RE2
	// Within is how far back it must be known when they came; 0: it is enough that
	// one came, and after the first nothing is looked at any more.
	Within time.Duration
}

// Bounds of the matches of one pipe. Whoever makes Settings keeps below them.
const (
	MaxMatches      = 32
	MaxMatchPattern = 1024 // bytes, of all patterns together
)

// word is m as the value of a word of Settings, before it is escaped.
func (m Match) word() string { return strconv.FormatInt(int64(m.Within), 10) + ":" + m.Pattern }

func parseMatch(value string) (Match, error) {
	within, pattern, ok := strings.Cut(value, ":")
	n, err := strconv.ParseInt(within, 10, 64)
	if !ok || err != nil || n < 0 || pattern == "" {
		return Match{}, errors.New("it is not NANOSECONDS:PATTERN")
	}
	return Match{pattern, time.Duration(n)}, nil
}

// expression is a compiled pattern, which pipes share.
type expression struct {
	re      *regexp.Regexp
	needles [][]byte
	uses    int
}

// matcher counts the lines of one pipe that match. A line is looked at when it is
// whole, or its writer is gone; of a long one the first maxRingLine bytes. Where
// nothing is to be counted it costs one look at a pointer for each read.
type matcher struct {
	tallies atomic.Pointer[[]*tally] // hub.mu is held to change it; nil: none

	// The pump's.
	part []byte // of the line that is not whole yet
	hits []uint64
}

// feed takes what was read.
func (m *matcher) feed(b []byte, all *tallies, now time.Time) {
	list := m.list()
	if len(list) == 0 {
		m.part = nil
		return
	}
	m.begin(len(list))
	lines := bytes.LastIndexByte(b, '\n') + 1
	if k := bytes.IndexByte(b, '\n'); k >= 0 && len(m.part) > 0 {
		m.keep(b[:k])
		m.look(list, m.part)
		m.part = m.part[:0]
		b, lines = b[k+1:], lines-k-1
	}
	for i, t := range list {
		if !t.over(m.hits[i]) && !t.quiet(b[:lines]) {
			m.hits[i] += t.lines(b[:lines])
		}
	}
	if len(m.part) == 0 && cap(m.part) > 1<<10 {
		m.part = nil // one long line must not cost every idle instance 16 KiB
	}
	m.keep(b[lines:])
	all.add(list, m.hits, now)
}

// end takes what is unfinished for a line: nobody can finish it.
func (m *matcher) end(all *tallies, now time.Time) {
	if list := m.list(); len(list) > 0 && len(m.part) > 0 {
		m.begin(len(list))
		m.look(list, m.part)
		all.add(list, m.hits, now)
	}
	m.part = nil
}

func (m *matcher) list() []*tally {
	if p := m.tallies.Load(); p != nil {
		return *p
	}
	return nil
}

func (m *matcher) begin(n int) {
	m.hits = slices.Grow(m.hits[:0], n)[:n]
	clear(m.hits)
}

func (m *matcher) keep(b []byte) {
	m.part = append(m.part, b[:min(len(b), maxRingLine-len(m.part))]...)
}

func (m *matcher) look(list []*tally, line []byte) {
	for i, t := range list {
		if !t.over(m.hits[i]) && t.re.Match(line) {
			m.hits[i]++
		}
	}
}

// over says whether t wants to know of no further line, after so many.
func (t *tally) over(hits uint64) bool { return t.Within == 0 && (hits > 0 || t.once.Load()) }

// lines is how many of whole lines match; where one is enough, one.
func (t *tally) lines(b []byte) (n uint64) {
	for len(b) > 0 && !t.over(n) {
		k := bytes.IndexByte(b, '\n')
		if t.re.Match(b[:min(k, maxRingLine)]) {
			n++
		}
		b = b[k+1:]
	}
	return n
}

// rematch has the lines of p counted by those matches and no others. What is
// counted already goes on. hub.mu is held.
func (h *hub) rematch(p *pipe, matches []Match) {
	old := p.matcher.list()
	if len(old) == 0 && len(matches) == 0 {
		return
	}
	list := make([]*tally, 0, len(matches))
	for _, m := range matches {
		same := func(t *tally) bool { return t.Match == m }
		if slices.ContainsFunc(list, same) {
			continue
		}
		if i := slices.IndexFunc(old, same); i >= 0 {
			list = append(list, old[i])
			continue
		}
		e := h.patterns[m.Pattern]
		if e == nil {
			re, err := regexp.Compile(m.Pattern)
			if err != nil {
				h.print("cannot look for " + strconv.Quote(m.Pattern) + " in the output of " + p.sink.key.instance + ": " + err.Error())
				continue
			}
			e = &expression{re: re, needles: needles(m.Pattern)}
			h.patterns[m.Pattern] = e
		}
		e.uses++
		list = append(list, h.tallies.tally(p.name, m, e))
	}
	for _, t := range old {
		if !slices.Contains(list, t) {
			h.unmatch(t)
			h.tallies.drop(t)
		}
	}
	p.matcher.tallies.Store(&list)
}

// unmatch: a tally counts no more. hub.mu is held.
func (h *hub) unmatch(t *tally) {
	e := h.patterns[t.Pattern]
	if e.uses--; e.uses == 0 {
		delete(h.patterns, t.Pattern)
	}
}

// unmatchAll: p has ended. What was counted is told all the same. hub.mu is held.
func (h *hub) unmatchAll(p *pipe) {
	for _, t := range p.matcher.list() {
		h.unmatch(t)
		h.tallies.end(t)
	}
	p.matcher.tallies.Store(nil)
}
