package probe

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"nines/spec"
)

// MetricsRule is a metrics block, as all instances of a service share it.
//
// # What a rule means
//
// A rate is what the counters of all series with that name and those labels have
// grown by, taken together, in the window, and a second of it. A counter that is
// lower than before was reset, and has grown by what it is. A series that was not
// there before has grown by what it is too: counters with labels come into being
// with the first error. The first attempt counts nothing: what an instance has
// counted before is not of this window.
//
// The window reaches from the newest attempt back to the last one that is at
// least window before it. Until there is one, the check passes.
//
// A ratio of rates whose denominator has not grown passes: nothing was asked of
// the instance, nothing can have failed. So does a quantile without observations,
// and a metric that is not there: Result.Output says so.
//
// A quantile is that of the growth of the histogram's buckets, with a straight
// line inside of a bucket, as in PromQL's histogram_quantile. What lies above the
// highest bound is taken for a little more than it.
type MetricsRule struct {
	http   *HTTPRule
	rule   *spec.MetricRule
	left   string // of the comparison, as it is written
	window time.Duration
}

// MetricsRule makes what the probes of one metrics block share. The error is for
// a block that spec/load would have refused.
func (c *Client) MetricsRule(block *spec.CheckMetrics) (*MetricsRule, error) {
	rule, err := spec.ParseMetricRule(block.Expr)
	if err != nil {
		return nil, fmt.Errorf("cannot use expr %q: %w", block.Expr, err)
	}
	h, err := c.HTTPRule(&spec.CheckHTTP{Method: "GET", StatusLow: 200, StatusHigh: 200, Headers: map[string]string{
		"Accept": "text/plain;version=0.0.4,application/openmetrics-text;q=0.5,*/*;q=0.1",
	}})
	if err != nil {
		return nil, err
	}
	left := strings.TrimSpace(block.Expr[:strings.LastIndex(block.Expr, rule.Op)])
	return &MetricsRule{http: h, rule: rule, left: left, window: block.Window}, nil
}

// Metrics looks at one instance's metrics. It passes when the rule does not hold.
type Metrics struct {
	rule  *MetricsRule
	http  *HTTP
	begin time.Time
	meter meter
}

// At makes the probe of an instance.
func (r *MetricsRule) At(url string) (*Metrics, error) {
	h, err := r.http.At(url, "")
	if err != nil {
		return nil, err
	}
	return &Metrics{rule: r, http: h, begin: time.Now(), meter: newMeter(r)}, nil
}

// Probe makes one attempt: an exposition is read, and the rule judged.
func (m *Metrics) Probe(ctx context.Context) Result {
	start := time.Now()
	s := m.rule.http.c.borrow()
	defer m.rule.http.c.giveBack(s)
	if err := m.scrape(ctx, start, s); err != nil {
		return Result{Err: err, Took: time.Since(start)}
	}
	r := m.meter.judge(time.Since(m.begin))
	r.Took = time.Since(start)
	return r
}

func (m *Metrics) scrape(ctx context.Context, start time.Time, s *scratch) *Error {
	resp, release, failure := m.http.open(ctx, start, s, MaxScrape)
	if failure != nil {
		return failure
	}
	defer release()
	if wrong := m.rule.http.status(resp.StatusCode); wrong != "" {
		return &Error{Cause: Wrong, Text: m.http.shown + " " + wrong}
	}
	// The body's own buffer is in use below it.
	lines := m.rule.http.c.borrow()
	defer m.rule.http.c.giveBack(lines)
	lines.limit.R, lines.limit.N = resp.Body, MaxScrape
	lines.br.Reset(&lines.limit)
	err := m.meter.read(&exposition{br: lines.br})
	switch {
	case lines.limit.N <= 0 || s.limit.N <= 0:
		return &Error{Cause: Unable, Text: fmt.Sprintf("cannot read all metrics of %s: they are more than %d bytes", m.http.shown, MaxScrape)}
	case errors.Is(err, errNotExposition):
		return &Error{Cause: Broken, Text: "cannot read the metrics of " + m.http.shown + ": " + err.Error(), Err: err}
	case errors.Is(err, errTooMany):
		return &Error{Cause: Unable, Text: "cannot judge the metrics of " + m.http.shown + ": " + err.Error(), Err: err}
	case err != nil:
		return failed(ctx, start, "read all metrics of "+m.http.shown, err)
	}
	return nil
}

// Bounds of what a meter keeps.
const (
	maxSeries   = 10000 // that a rule looks at
	maxBuckets  = 500   // of a histogram
	windowParts = 64    // into which a window is cut at most
)

var errTooMany = errors.New("too much to keep")

// meter is what is known of one instance's counters.
type meter struct {
	rule    *MetricsRule
	seed    maphash.Seed
	begun   bool
	last    map[seriesKey]float64
	totals  []float64 // what has grown since the first exposition: numerator and denominator, or one for each bucket
	bounds  []float64 // of a histogram's buckets, in the order in which they were met
	seen    [2]bool   // numerator, denominator: there was a series
	history []point   // the oldest first; at most windowParts+2
}

// seriesKey names a series of the numerator (0), or of the denominator (1).
type seriesKey struct {
	of   int
	hash uint64
}

// point is what had grown until then.
type point struct {
	at     time.Duration
	totals []float64
}

func newMeter(r *MetricsRule) meter {
	m := meter{rule: r, seed: maphash.MakeSeed(), last: map[seriesKey]float64{}}
	if r.rule.Quantile == 0 {
		m.totals = make([]float64, 2)
	}
	return m
}

// read takes an exposition. When it fails half way, what was read counts: the
// next one goes on from there.
func (m *meter) read(e *exposition) error {
	r := m.rule.rule
	name, of := r.Numerator.Name, r.Denominator.Name
	if r.Quantile > 0 {
		name += "_bucket"
	}
	m.seen = [2]bool{}
	err := e.each(func(b []byte) bool { return string(b) == name || string(b) == of && of != "" }, func(b []byte, s *series) error {
		if string(b) == name && s.has(r.Numerator.Labels) {
			if err := m.take(0, s); err != nil {
				return err
			}
		}
		if string(b) == of && of != "" && s.has(r.Denominator.Labels) {
			return m.take(1, s)
		}
		return nil
	})
	if err == nil {
		m.begun = true
	}
	return err
}

// has says whether a series has these labels. One that is not there is empty.
func (s *series) has(labels []spec.MetricLabel) bool {
	for i := range labels {
		if string(s.label(labels[i].Name)) != labels[i].Value {
			return false
		}
	}
	return true
}

// take counts what a series has grown by.
func (m *meter) take(of int, s *series) error {
	if math.IsNaN(s.value) || math.IsInf(s.value, 0) {
		return nil // no number of events
	}
	m.seen[of] = true
	into := of
	if m.rule.rule.Quantile > 0 {
		var err error
		if into, err = m.bucket(s.label("le")); err != nil {
			return err
		}
		if into < 0 {
			return nil
		}
	}
	key := seriesKey{of, m.hash(s)}
	before, known := m.last[key]
	if !known && len(m.last) >= maxSeries {
		return fmt.Errorf("%w: it has more than %d series of the metrics in expr: name labels there", errTooMany, maxSeries)
	}
	m.last[key] = s.value
	switch {
	case !known && !m.begun:
	case !known || s.value < before:
		m.totals[into] += s.value
	default:
		m.totals[into] += s.value - before
	}
	return nil
}

// hash does not depend on the order of the labels.
func (m *meter) hash(s *series) (sum uint64) {
	for _, l := range s.labels {
		var h maphash.Hash
		h.SetSeed(m.seed)
		for _, part := range l {
			h.Write(part) // never fails
			h.WriteByte(0xff)
		}
		sum += h.Sum64()
	}
	return sum
}

// bucket is the place of the bucket with that bound; -1: it is none.
func (m *meter) bucket(le []byte) (int, error) {
	bound, err := strconv.ParseFloat(string(le), 64)
	if err != nil || math.IsNaN(bound) {
		return -1, nil
	}
	if i := slices.Index(m.bounds, bound); i >= 0 {
		return i, nil
	}
	if len(m.bounds) == maxBuckets {
		return -1, fmt.Errorf("%w: the histogram has more than %d buckets", errTooMany, maxBuckets)
	}
	m.bounds, m.totals = append(m.bounds, bound), append(m.totals, 0)
	return len(m.bounds) - 1, nil
}

// judge says what holds now, with all that was read until now. Times are those of
// a monotonic clock, and do not go back.
func (m *meter) judge(now time.Duration) Result {
	base := m.remember(now)
	if base == nil {
		return Result{Output: m.rule.left + ": no whole window of " + m.rule.window.String() + " yet"}
	}
	value, shown, ok := m.value(base, now)
	over := (now - base.at).Round(time.Second)
	if !ok {
		return Result{Output: m.rule.left + ": " + shown}
	}
	text := fmt.Sprintf("%s is %s over %s", m.rule.left, shown, over)
	r := m.rule.rule
	if !holds(value, r.Op, r.Bound) {
		return Result{Output: text}
	}
	text += ", " + r.Op + " " + strconv.FormatFloat(r.Bound, 'g', -1, 64)
	return Result{Output: text, Err: &Error{Cause: Bound, Text: text}}
}

func holds(v float64, op string, bound float64) bool {
	switch op {
	case ">":
		return v > bound
	case ">=":
		return v >= bound
	case "<":
		return v < bound
	case "<=":
		return v <= bound
	}
	return false
}

// remember adds a point to the history, and returns the newest one that is a
// window old. What is before that is forgotten.
func (m *meter) remember(now time.Duration) *point {
	for len(m.history) > 1 && now-m.history[1].at >= m.rule.window {
		m.history = m.history[1:]
	}
	if n := len(m.history); n == 0 || now-m.history[n-1].at >= m.rule.window/windowParts {
		if n == cap(m.history) { // so that what is forgotten is given back
			m.history = slices.Grow(slices.Clone(m.history), min(n, windowParts)+2)
		}
		m.history = append(m.history, point{now, slices.Clone(m.totals)})
	}
	if now-m.history[0].at < m.rule.window || m.history[0].at == now {
		return nil
	}
	return &m.history[0]
}

// value is the left side of the comparison; without ok, shown says why there is
// none.
func (m *meter) value(base *point, now time.Duration) (v float64, shown string, ok bool) {
	r := m.rule.rule
	switch {
	case !m.seen[0] && r.Denominator.Name == "":
		return 0, "there is no such metric", false
	case r.Quantile > 0:
		return m.quantile(base)
	case r.Denominator.Name == "":
		v = (m.totals[0] - base.totals[0]) / (now - base.at).Seconds()
	default:
		grown := m.totals[1] - base.totals[1]
		switch {
		case grown > 0:
		case !m.seen[1]:
			return 0, "there is no metric " + r.Denominator.Name, false
		default:
			return 0, r.Denominator.Name + " has not grown", false
		}
		v = (m.totals[0] - base.totals[0]) / grown
	}
	return v, number(v), !math.IsNaN(v)
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', 4, 64) }

// quantile is that of what the buckets have grown by since base.
func (m *meter) quantile(base *point) (v float64, shown string, ok bool) {
	type bucket struct{ bound, count float64 }
	buckets := make([]bucket, len(m.bounds))
	for i, bound := range m.bounds {
		grown := m.totals[i]
		if i < len(base.totals) {
			grown -= base.totals[i]
		}
		buckets[i] = bucket{bound, grown}
	}
	slices.SortFunc(buckets, func(a, b bucket) int {
		if a.bound < b.bound {
			return -1
		}
		return 1 // no two are the same
	})
	n := len(buckets)
	if n < 2 || !math.IsInf(buckets[n-1].bound, 1) {
		return 0, "the histogram has no buckets up to +Inf", false
	}
	// A bucket holds those below it as well. The counters were not read at one
	// instant, and one may be behind.
	for i := 1; i < n; i++ {
		buckets[i].count = max(buckets[i].count, buckets[i-1].count)
	}
	all := buckets[n-1].count
	if !(all > 0) || math.IsInf(all, 0) {
		return 0, "nothing was observed", false
	}
	rank := m.rule.rule.Quantile * all
	i := 0
	for i < n-1 && buckets[i].count < rank {
		i++
	}
	if i == n-1 {
		top := buckets[n-2].bound
		return math.Nextafter(top, math.Inf(1)), "more than " + number(top), true
	}
	low, below := 0.0, 0.0
	switch {
	case i > 0:
		low, below = buckets[i-1].bound, buckets[i-1].count
	case buckets[0].bound <= 0:
		return buckets[0].bound, number(buckets[0].bound), true
	}
	v = low
	if in := buckets[i].count - below; in > 0 {
		v += (buckets[i].bound - low) * (rank - below) / in
	}
	return v, number(v), true
}
