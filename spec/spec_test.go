package spec

import (
	"strings"
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	for s, want := range map[string]time.Duration{"500ms": 500 * time.Millisecond, "10s": 10 * time.Second, "24h": 24 * time.Hour, "1h30m": 90 * time.Minute, "0": 0, "0s": 0, "1.5s": 1500 * time.Millisecond} {
		if got, err := ParseDuration(s); err != nil || got != want {
			t.Errorf("%q is %v, %v", s, got, err)
		}
	}
	for s, want := range map[string]string{"": "empty", "5": "unit", "-1s": "negative", "7d": "168h", "x": "units", "1000000h": "ten years", "9999999999h": "units", "1 s": "units"} {
		if _, err := ParseDuration(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestParseSizes(t *testing.T) {
	for s, want := range map[string]Size{"256MiB": {Bytes: 256 << 20}, "1GB": {Bytes: 1e9}, "1.5KiB": {Bytes: 1536}, "4096": {Bytes: 4096}, "0": {}, "10 MB": {Bytes: 1e7}, "2TiB": {Bytes: 2 << 40}, "7b": {Bytes: 7}, "25%": {Percent: 25}, "0.5%": {Percent: 0.5}} {
		if got, err := ParseSize(s); err != nil || got != want {
			t.Errorf("%q is %v, %v", s, got, err)
		}
	}
	for s, want := range map[string]string{"": "empty", "-1B": "negative", "1M": "ambiguous", "1.2.3MiB": "number", "MiB": "number", "1PiB": "units", "9999999TiB": "8 EiB", "99999999999999999999TB": "8 EiB", "0%": "above 0%", "101%": "at most", "x%": "number", "%": "number", "1e3%": "number"} {
		if _, err := ParseSize(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", s, err)
		}
	}
	for n, want := range map[uint64]string{0: "0B", 1000: "1000B", 1024: "1KiB", 3 << 30: "3GiB"} {
		if got := (Size{Bytes: n}).String(); got != want {
			t.Errorf("%d is %q", n, got)
		}
	}
	if s := (Size{Percent: 12.5}); s.String() != "12.5%" || s.Resolve(800) != 100 || s.IsZero() || (Size{Bytes: 5}).Resolve(1) != 5 {
		t.Error(s)
	}
}

func TestParseRate(t *testing.T) {
	if r, err := ParseRate("10MiB/1m"); err != nil || r != (Rate{10 << 20, time.Minute}) || r.PerSecond() != 10<<20/60 {
		t.Error(r, err)
	}
	if r := (Rate{1, time.Hour}); r.PerSecond() != 1 || (Rate{}).PerSecond() != 0 {
		t.Error(r.PerSecond())
	}
	for s, want := range map[string]string{"10": "missing", "x/1m": "before", "1/x": "after", "1/0s": "zero"} {
		if _, err := ParseRate(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestParseMode(t *testing.T) {
	for s, want := range map[string]uint32{"0600": 0o600, "022": 0o22, "777": 0o777, "0": 0} {
		if got, err := ParseMode(s); err != nil || got != want {
			t.Errorf("%q is %o, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "8", "1777", "00600", "-1", "0o600"} {
		if _, err := ParseMode(s); err == nil {
			t.Errorf("%q is taken", s)
		}
	}
}

func TestSignals(t *testing.T) {
	for s, want := range map[string]string{"TERM": "SIGTERM", "SIGTERM": "SIGTERM", "15": "SIGTERM", "sigusr1": "SIGUSR1", "SIGRTMIN": "SIGRTMIN", "SIGRTMIN+3": "SIGRTMIN+3", "RTMAX": "SIGRTMIN+30", "RTMAX-1": "SIGRTMIN+29", "37": "SIGRTMIN+3", "IOT": "SIGABRT", "CLD": "SIGCHLD", "POLL": "SIGIO", "64": "SIGRTMIN+30"} {
		if got, err := ParseSignal(s); err != nil || got != want {
			t.Errorf("%q is %q, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "0", "32", "65", "SIGNOPE", "RTMIN-1", "RTMAX+1", "RTMIN+99", "RTMIN+", "99999999999999999999"} {
		if got, err := ParseSignal(s); err == nil {
			t.Errorf("%q is %q", s, got)
		}
	}
	if n, ok := SignalNumber("SIGKILL"); n != 9 || !ok || SignalName(9) != "SIGKILL" || SignalName(99) != "99" || len(Signals()) != 31 {
		t.Error(n, ok)
	}
}

func TestNames(t *testing.T) {
	for _, s := range []string{"web", "Web-1.x_y", "0", "cgroups", "memory", strings.Repeat("x", MaxName)} {
		if err := CheckName(s); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, s := range []string{"", ".", "..", "-a", "_a", "a/b", "a b", "ä", "cgroup.procs", "memory.max", strings.Repeat("x", MaxName+1), "a\x00"} {
		if err := CheckName(s); err == nil {
			t.Errorf("%q is taken", s)
		}
	}
	for s, want := range map[string]bool{"http": true, "_x1": true, "": false, "1a": false, "a-b": false, strings.Repeat("x", 65): false} {
		if err := CheckIdent(s); (err == nil) != want {
			t.Errorf("%q: %v", s, err)
		}
	}
	for s, want := range map[string]bool{"A": true, "a.b": true, "": false, "A=B": false, "A\x00": false, "NINES_X": false} {
		if err := CheckEnvName(s); (err == nil) != want {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, name := range RlimitNames() {
		if _, ok := RlimitNumber(name); !ok {
			t.Errorf("%s has no number", name)
		}
	}
	if n, ok := RlimitNumber("nofile"); n != 7 || !ok {
		t.Error(n)
	}
	if _, ok := RlimitNumber("x"); ok || len(Capabilities()) != 41 {
		t.Error("limits or capabilities are wrong")
	}
	for s, want := range map[string]uint64{"unlimited": Unlimited, "infinity": Unlimited, "1KiB": 1024, "5": 5} {
		if got, err := ParseLimit(s); got != want || err != nil {
			t.Errorf("%q is %d, %v", s, got, err)
		}
	}
}

func TestListen(t *testing.T) {
	for s, want := range map[string]string{
		"tcp://0.0.0.0:80": "tcp://0.0.0.0:80", "tcp://:80": "tcp://:80", "udp://[::1]:53": "udp://[::1]:53", "tcp://localhost:1": "tcp://localhost:1",
		"unix:///run/../run/x": "unix:///run/x", "unix:///x?user=www&mode=660": "unix:///x?mode=0660&user=www",
	} {
		a, err := ParseListen(s)
		if err != nil || a.String() != want {
			t.Errorf("%q is %q, %v", s, a, err)
		}
		if again, err := ParseListen(a.String()); err != nil || again != a {
			t.Errorf("%q comes back as %v, %v", a, again, err)
		}
	}
	for _, s := range []string{"", "80", "http://x:80", "tcp://x", "tcp://x:0", "tcp://x:http", "tcp://a/b:1", "unix://x", "unix:///x?mode=9", "unix:///x?a=b", "unix:///x?%", "unix:///" + strings.Repeat("x", 108)} {
		if a, err := ParseListen(s); err == nil {
			t.Errorf("%q is %v", s, a)
		}
	}
}

func TestSchedule(t *testing.T) {
	for s, want := range map[string]Schedule{
		"0 4 * * *":           {Minute: 1, Hour: 1 << 4, Day: 1<<32 - 2, Month: 1<<13 - 2, Weekday: 1<<7 - 1, AnyDay: true, AnyWeekday: true},
		"*/30 1-3,5 1 jan 7":  {Minute: 1 | 1<<30, Hour: 1<<1 | 1<<2 | 1<<3 | 1<<5, Day: 1 << 1, Month: 1 << 1, Weekday: 1},
		"5/20 0 31 2 mon-fri": {Minute: 1<<5 | 1<<25 | 1<<45, Hour: 1, Day: 1 << 31, Month: 1 << 2, Weekday: 62},
		"0 0 29 FEB *":        {Minute: 1, Hour: 1, Day: 1 << 29, Month: 1 << 2, Weekday: 1<<7 - 1, AnyWeekday: true},
	} {
		if got, err := ParseSchedule(s); err != nil || *got != want {
			t.Errorf("%q is %+v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "* * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "*/0 * * * *", "5-1 * * * *", "a * * * *", "1, * * * *", "0 0 30 2 *", "+1 * * * *", "-1 * * * *", "* * * * * *"} {
		if got, err := ParseSchedule(s); err == nil {
			t.Errorf("%q is %+v", s, got)
		}
	}
}

func TestMetricRule(t *testing.T) {
	r, err := ParseMetricRule(` rate(http_errors_total{code="500", x="y"}) / rate( http_requests_total ) >= 0.05`)
	if err != nil || r.Numerator.Name != "http_errors_total" || len(r.Numerator.Labels) != 2 || r.Numerator.Labels[1] != (MetricLabel{"x", "y"}) ||
		r.Denominator.Name != "http_requests_total" || r.Op != ">=" || r.Bound != 0.05 || r.Quantile != 0 {
		t.Errorf("%+v %v", r, err)
	}
	if r, err = ParseMetricRule("quantile(0.99, http_request_duration_seconds) > 0.25"); err != nil || r.Quantile != 0.99 || r.Bound != 0.25 {
		t.Errorf("%+v %v", r, err)
	}
	if r, err = ParseMetricRule("rate(a) < 1e3"); err != nil || r.Denominator.Name != "" || r.Bound != 1000 {
		t.Errorf("%+v %v", r, err)
	}
	for _, s := range []string{"", "rate(a)", "rate(a) > x", "rate(a) > 1e", "quantile(1, h) > 1", "quantile(1.2.3, h) > 1", "rate(a{x}) > 1", "rate(a) / rate(b{=}) > 1", "quantile(0.5, h{x}) > 1", "sum(a) > 1"} {
		if r, err := ParseMetricRule(s); err == nil {
			t.Errorf("%q is %+v", s, r)
		}
	}
}

func TestService(t *testing.T) {
	s := &Spec{Services: []*Service{{Name: "a"}}}
	if s.Service("a") != s.Services[0] || s.Service("b") != nil {
		t.Error("Service is wrong")
	}
}
