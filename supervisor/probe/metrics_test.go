package probe

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"nines/spec"
)

func metricsRule(t testing.TB, expr string, window time.Duration) *MetricsRule {
	t.Helper()
	r, err := NewClient().MetricsRule(&spec.CheckMetrics{Expr: expr, Window: window})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func read(m *meter, text string) error {
	return m.read(&exposition{br: bufio.NewReader(strings.NewReader(text))})
}

// Each step is an exposition at a time in seconds, and what is said then.
func TestMetricsRules(t *testing.T) {
	type step struct {
		at   float64
		text string
		want string // part of what is said; "FAIL " before it: the rule holds
	}
	const ratio = `rate(errors_total) / rate(requests_total) > 0.05`
	for _, tc := range []struct {
		name, expr string
		steps      []step
	}{
		{"ratio", ratio, []step{
			// What was counted before the first look is not of the window.
			{0, "errors_total 900\nrequests_total 1000\n", "no whole window of 30s yet"},
			{10, "errors_total 900\nrequests_total 1100\n", "no whole window"},
			{30, "errors_total 905\nrequests_total 1200\n", "is 0.025 over 30s"},
			{40, "errors_total 915\nrequests_total 1300\n", "FAIL is 0.075 over 30s, > 0.05"},
			{50, "errors_total 915\nrequests_total 1500\n", "is 0.0375 over 40s"}, // from 10 on: 15 of 400
		}},
		{"no traffic passes", ratio, []step{
			{0, "errors_total 5\nrequests_total 10\n", ""},
			{30, "errors_total 5\nrequests_total 10\n", "requests_total has not grown"},
			{60, "errors_total 6\nrequests_total 10\n", "requests_total has not grown"},
		}},
		{"no such metrics", ratio, []step{
			{0, "other 1\n", ""}, {30, "other 1\n", "there is no metric requests_total"},
		}},
		{"no such metric", "rate(a) > 0", []step{{0, "b 1\n", ""}, {30, "b 2\n", "there is no such metric"}}},
		{"counters are reset", ratio, []step{
			{0, "errors_total 100\nrequests_total 1000\n", ""},
			{30, "errors_total 4\nrequests_total 40\n", "FAIL is 0.1 over"},
		}},
		{"a series that comes into being", "rate(errors_total{code=\"500\"}) > 0.3", []step{
			{0, `errors_total{code="200"} 7` + "\n", ""},
			{30, `errors_total{code="500",path="/"} 6` + "\n" + `errors_total{code="500",path="/x"} 6` + "\n" + `errors_total{code="404"} 99` + "\n", "FAIL is 0.4 over 30s"},
			// Labels in another order are the same series.
			{60, `errors_total{path="/",code="500"} 6` + "\n" + `errors_total{path="/x",code="500"} 9` + "\n", "is 0.1 over 30s"},
		}},
		{"a label that must be empty", `rate(a{x=""}) >= 1`, []step{
			{0, "a 1\na{x=\"1\"} 1\n", ""}, {30, "a 31\na{x=\"1\"} 1000\n", "FAIL is 1 over"},
		}},
		{"too few", "rate(beats_total) < 1", []step{
			{0, "beats_total 0\n", ""}, {30, "beats_total 30\n", "is 1 over"}, {60, "beats_total 59\n", "FAIL is 0.9667 over 30s, < 1"},
		}},
		{"what is no number of events", "rate(a) > 1", []step{
			{0, "a NaN\n", ""}, {30, "a +Inf\n", "there is no such metric"}, {60, "a 3e2\n", "FAIL is 10 over"},
		}},
		{"a gap", "rate(a) > 1", []step{
			{0, "a 0\n", ""}, {10, "a 0\n", ""}, {100, "a 99\n", "FAIL is 1.1 over 1m30s"}, {131, "a 99\n", "is 0 over 31s"},
		}},
		{"quantile", `quantile(0.9, h) > 0.3`, []step{
			{0, bucketsOf(100, 100, 100, 100), ""},
			{30, bucketsOf(200, 200, 200, 200), "is 0.09 over 30s"},      // all below 0.1
			{60, bucketsOf(200, 300, 300, 300), "FAIL is 0.46 over 30s"}, // 0.1 + 0.4*0.9
			{90, bucketsOf(200, 300, 300, 300), "nothing was observed"},
			{120, bucketsOf(200, 300, 300, 301), "FAIL is more than 1 over"},
			{150, bucketsOf(230, 340, 350, 351), "FAIL is 0.75"}, // of 50: 45 is 5 of 10 in 0.5 to 1
		}},
		{"quantile above the highest bound", `quantile(0.5, h) > 1`, []step{
			{0, bucketsOf(0, 0, 0, 0), ""}, {30, bucketsOf(0, 0, 0, 9), "FAIL is more than 1 over"},
		}},
		{"quantile unknown above the highest bound", `quantile(0.5, h) > 2`, []step{
			{0, bucketsOf(0, 0, 0, 0), ""}, {30, bucketsOf(0, 0, 0, 9), "is more than 1 over"},
		}},
		{"quantile of labels together", `quantile(0.5, h{m="get"}) > 1`, []step{
			{0, "", ""},
			{30, "h_bucket{m=\"get\",i=\"0\",le=\"1\"} 1\nh_bucket{m=\"get\",i=\"0\",le=\"2\"} 1\nh_bucket{m=\"get\",i=\"0\",le=\"+Inf\"} 1\n" +
				"h_bucket{m=\"get\",i=\"1\",le=\"1.0\"} 0\nh_bucket{m=\"get\",i=\"1\",le=\"2.0\"} 3\nh_bucket{m=\"get\",i=\"1\",le=\"Inf\"} 3\n" +
				"h_bucket{m=\"put\",le=\"1\"} 999\nh_bucket{m=\"put\",le=\"+Inf\"} 999\n", "FAIL is 1.333 over"},
		}},
		{"no histogram", `quantile(0.5, h) > 1`, []step{
			{0, "h_bucket{le=\"1\"} 1\n", ""}, {30, "h_bucket{le=\"1\"} 2\nh_bucket{le=\"x\"} 3\nh_bucket 4\n", "no buckets up to +Inf"},
		}},
		{"a first bound below zero", `quantile(0.5, h) < 0`, []step{
			{0, "h_bucket{le=\"-1\"} 0\nh_bucket{le=\"+Inf\"} 0\n", ""}, {30, "h_bucket{le=\"-1\"} 5\nh_bucket{le=\"+Inf\"} 5\n", "FAIL is -1 over"},
		}},
		// Read while they grow: a bucket may be behind one below it.
		{"buckets that disagree", `quantile(0.99, h) > 0.3`, []step{
			{0, bucketsOf(0, 0, 0, 0), ""}, {30, bucketsOf(10, 9, 9, 10), "is 0.099 over"},
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := newMeter(metricsRule(t, tc.expr, 30*time.Second))
			for _, s := range tc.steps {
				if err := read(&m, s.text); err != nil {
					t.Fatal(err)
				}
				r := m.judge(time.Duration(s.at * float64(time.Second)))
				said := r.Output
				if r.Err != nil {
					said = strings.Replace(r.Err.Error(), " is ", " FAIL is ", 1)
				}
				if !strings.Contains(said, s.want) || (r.Err != nil) != strings.HasPrefix(s.want, "FAIL") {
					t.Errorf("at %gs: %q, want %q", s.at, said, s.want)
				}
			}
		})
	}
}

// bucketsOf is a histogram with bounds 0.1, 0.5, 1 and +Inf.
func bucketsOf(a, b, c, d int) string {
	return fmt.Sprintf("# TYPE h histogram\nh_bucket{le=\"0.1\"} %d\nh_bucket{le=\"0.5\"} %d\nh_bucket{le=\"1\"} %d\nh_bucket{le=\"+Inf\"} %d\nh_sum 12\nh_count %d\n", a, b, c, d, d)
}

// However often it is asked, and whatever it is asked about, what is kept is
// bounded.
func TestMetricsAreBounded(t *testing.T) {
	m := newMeter(metricsRule(t, "rate(a) > 1", time.Hour))
	for i := range 8000 {
		if err := read(&m, "a "+strconv.Itoa(i)+"\n"); err != nil {
			t.Fatal(err)
		}
		r := m.judge(time.Duration(i) * time.Second)
		if i >= 3600 && !strings.Contains(r.Output, "is 1 over 1h0m") {
			t.Fatalf("at %d s: %q", i, r.Output)
		}
		if len(m.history) > windowParts+2 || cap(m.history) > 4*windowParts {
			t.Fatalf("%d points, room for %d", len(m.history), cap(m.history))
		}
	}
	var b strings.Builder
	for i := range maxSeries + 1 {
		fmt.Fprintf(&b, "a{i=\"%d\"} 1\n", i)
	}
	m = newMeter(metricsRule(t, "rate(a) > 1", time.Hour))
	if err := read(&m, b.String()); !errors.Is(err, errTooMany) || len(m.last) > maxSeries {
		t.Errorf("%d series: %v", len(m.last), err)
	}
	b.Reset()
	for i := range maxBuckets + 1 {
		fmt.Fprintf(&b, "h_bucket{le=\"%d\"} 1\n", i)
	}
	m = newMeter(metricsRule(t, "quantile(0.5, h) > 1", time.Hour))
	if err := read(&m, b.String()); !errors.Is(err, errTooMany) || len(m.bounds) > maxBuckets {
		t.Errorf("%d buckets: %v", len(m.bounds), err)
	}
}

func TestMetricsProbe(t *testing.T) {
	page := make(chan string, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p := <-page; p != "" {
			io.WriteString(w, p)
			return
		}
		w.WriteHeader(500)
	}))
	defer srv.Close()
	rule := metricsRule(t, "rate(a) > 1", time.Nanosecond)
	m, err := rule.At(srv.URL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	probe := func(text string) Result { page <- text; return m.Probe(within(t, patient)) }
	wantResult(t, probe("a 1\n"), "", "")
	r := probe("a 1000000\n")
	wantResult(t, r, Bound, "rate(a) is ")
	if r.Output != r.Err.Error() {
		t.Errorf("output %q", r.Output)
	}
	wantResult(t, probe(""), Wrong, "answered 500 Internal Server Error, not 200")
	wantResult(t, probe("<html>"), Broken, "line 1 does not begin with the name of a metric")
	wantResult(t, probe("ok 1\na{b=c} 1\n"), Broken, "line 2 has a label without a value in quotes")
	wantResult(t, probe("a "+strings.Repeat("x", maxLine+9000)+"\n"), Broken, "line 1 is too long")
	wantResult(t, probe("# "+strings.Repeat("x", 9000)+"\na{x=\""+strings.Repeat("x", 9000)+"\"} 1000\n"), Bound, "rate(a) is ")
	var many strings.Builder
	for i := range maxSeries + 1 {
		fmt.Fprintf(&many, "a{i=\"%d\"} 1\n", i)
	}
	wantResult(t, probe(many.String()), Unable, "name labels there")
	if _, err := rule.At("nowhere"); err == nil {
		t.Error("a broken URL is accepted")
	}
	if _, err := NewClient().MetricsRule(&spec.CheckMetrics{Expr: "what"}); err == nil {
		t.Error("a broken rule is accepted")
	}

	endless := serveRaw(t, "tcp", "127.0.0.1:0", func(c net.Conn) {
		readRequest(c)
		io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
		chunk := []byte(strings.Repeat("# "+strings.Repeat("x", 1000)+"\n", 100))
		for {
			if _, err := c.Write(chunk); err != nil {
				return
			}
		}
	})
	m, err = rule.At("http://" + endless.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	wantResult(t, m.Probe(within(t, patient)), Unable, "more than 16777216 bytes")
	cut := serveRaw(t, "tcp", "127.0.0.1:0", func(c net.Conn) {
		readRequest(c)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\na 1\n")
	})
	if m, err = rule.At("http://" + cut.Addr().String()); err != nil {
		t.Fatal(err)
	}
	wantResult(t, m.Probe(within(t, patient)), Broken, "before the answer was whole")
}

func TestExposition(t *testing.T) {
	const page = `# HELP a What it is.
# TYPE a counter
a 1
a{} 2 1395066363000
  a { x = "1" , y="two\\\"\n{},}" , } 3.5e1	12
a{x="1"} 4 # {trace_id="abc"} 0.5 1
{"a.b", x="1"} 5
a{x="\q"} 16
other{ this is not read
a{le="+Inf"} -Inf

a NaN
# EOF`
	var got []string
	e := &exposition{br: bufio.NewReaderSize(strings.NewReader(page), 16)}
	err := e.each(func(name []byte) bool { return string(name) == "a" }, func(name []byte, s *series) error {
		line := string(name)
		for _, l := range s.labels {
			line += fmt.Sprintf(" %s=%q", l[0], l[1])
		}
		got = append(got, fmt.Sprintf("%s %g", line, s.value))
		return nil
	})
	want := []string{"a 1", "a 2", `a x="1" y="two\\\"\n{},}" 35`, `a x="1" 4`, `a x="q" 16`, `a le="+Inf" -Inf`, "a NaN"}
	if err != nil || strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%v\n%s", err, strings.Join(got, "\n"))
	}
	for _, bad := range []string{"a\n", "a{\n", `a{x="1` + "\n", `a{x="1"` + "\n", `a{x="1" y="2"} 1`, `a{x="1"}`, "a{x} 1", `a{="1"} 1`, "a one", "a:b-c 1", "1a 1", "[1]",
		"a{" + strings.Repeat(`x="1",`, maxLabels+1) + "} 1"} {
		err := (&exposition{br: bufio.NewReader(strings.NewReader(bad))}).each(func([]byte) bool { return true }, func([]byte, *series) error { return nil })
		if !errors.Is(err, errNotExposition) {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
}

// Whatever is read, it ends, within bounds, and no rule holds over nothing.
func FuzzMetrics(f *testing.F) {
	f.Add("a 1\nb{x=\"1\"} 2\n", "a 9\nb{x=\"1\"} 3\n")
	f.Add("", bucketsOf(1, 2, 3, 4))
	f.Add("a_bucket{le=\"1\"} 1e308\n", "a_bucket{le=\"+Inf\"} 1e309\na_bucket{le=\"1\"} -1e308\n")
	rules := []*MetricsRule{
		metricsRule(f, "rate(a) / rate(b) > 0.1", time.Second), metricsRule(f, "rate(b{x=\"1\"}) <= 5", time.Second), metricsRule(f, "quantile(0.9, h) >= 0.2", time.Second),
		metricsRule(f, "quantile(0.5, a) < 1", time.Second),
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		for _, rule := range rules {
			m := newMeter(rule)
			for i, text := range []string{first, second, first} {
				if err := read(&m, text); err != nil && !errors.Is(err, errNotExposition) && !errors.Is(err, errTooMany) {
					t.Fatal(err)
				}
				r := m.judge(time.Duration(i) * time.Second)
				if r.Err != nil && (i == 0 || strings.Contains(r.Output, "NaN")) {
					t.Fatal(r.Err)
				}
			}
		}
	})
}

// What is written as the format says is read as it was.
func FuzzSeries(f *testing.F) {
	f.Add("a", "x", "1\n\"\\", 3.5)
	f.Add("_b:c9", "_", "", math.Inf(1))
	f.Fuzz(func(t *testing.T, name, label, value string, v float64) {
		if nameLength([]byte(name)) != len(name) || name == "" || label == "" || strings.Contains(value, "\r") {
			return
		}
		for i := range len(label) {
			if !nameByte(label[i], i) {
				return
			}
		}
		escaped := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(value)
		line := name + "{" + label + `="` + escaped + `"} ` + strconv.FormatFloat(v, 'g', -1, 64) + " 1395066363000\n"
		if len(line) > maxLine {
			return
		}
		n := 0
		err := (&exposition{br: bufio.NewReader(strings.NewReader(line))}).each(func([]byte) bool { return true }, func(b []byte, s *series) error {
			n++
			if string(b) != name || len(s.labels) != 1 || string(s.labels[0][0]) != label || string(s.labels[0][1]) != value || s.value != v && !math.IsNaN(v) {
				t.Fatalf("%q: %s %q %g", line, b, s.labels, s.value)
			}
			return nil
		})
		if err != nil || n != 1 {
			t.Fatalf("%q: %d series, %v", line, n, err)
		}
	})
}

// An exposition of 2000 series of which a rule wants four.
func BenchmarkMetrics(b *testing.B) {
	var page strings.Builder
	for i := range 500 {
		fmt.Fprintf(&page, "go_thing_%d{code=\"200\",method=\"get\"} %d\n", i, i)
		fmt.Fprintf(&page, "go_thing_%d{code=\"500\",method=\"get\"} %d\n", i, i)
		fmt.Fprintf(&page, "other_%d 12\nmore_%d 1.5e+07\n", i, i)
	}
	page.WriteString(bucketsOf(1, 2, 3, 4))
	m := newMeter(metricsRule(b, "quantile(0.9, h) > 1", time.Hour))
	text := page.String()
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if err := read(&m, text); err != nil {
			b.Fatal(err)
		}
	}
}
