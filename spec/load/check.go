package load

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"nines/spec"
)

// defaultTiming is that of a check.
func defaultTiming() spec.Timing {
	return spec.Timing{Interval: 10 * time.Second, Timeout: time.Second, Failures: 3, Successes: 1}
}

// timing reads when a check runs.
func (b *block) timing(t *spec.Timing) {
	b.duration("interval", &t.Interval, time.Millisecond)
	b.duration("timeout", &t.Timeout, time.Millisecond)
	b.int("failures", &t.Failures, 1, 10000)
	b.int("successes", &t.Successes, 1, 10000)
	b.duration("initial_delay", &t.InitialDelay, 0)
}

func checkKinds() []string {
	return []string{"exec", "http", "tcp", "grpc", "heartbeat", "metrics", "log", "outlier", "cpu", "stall"}
}

// check reads a check block of a service.
func (b *block) check(name string) spec.Check {
	c := spec.Check{Name: name, Timing: defaultTiming(), OnFailure: spec.OnFailureRestart}
	b.timing(&c.Timing)
	enum(b, "on_failure", &c.OnFailure, spec.OnFailureRestart, spec.OnFailureIsolate, spec.OnFailureAlert, spec.OnFailureDump)
	if b.kinds("check", checkKinds(), "", func(k *block, kind string) { k.checkKind(&c, kind) }) == "heartbeat" && c.Timing.Timeout < 10*time.Millisecond {
		b.errorAt("timeout", "bad_value", fmt.Sprintf("a heartbeat every %s is more than a program can promise", b.shown(b.path+".timeout", c.Timing.Timeout)), `Write for example: timeout = "10s"`)
	}
	return c
}

// ready reads the ready block. Its checks are tried every second, not every
// ten: what waits for them is down meanwhile.
func (b *block) ready() *spec.Ready {
	r := &spec.Ready{}
	if v := b.string("notify", &r.Notify, `"systemd"`); v != nil && r.Notify != "systemd" {
		v.bad("notify cannot be "+v.show(r.Notify), `Write notify = "systemd": READY=1 on $NOTIFY_SOCKET.`)
	}
	b.int("fd", &r.FD, 3, 1023)
	b.duration("delay", &r.Delay, 0)
	c := &spec.Check{Name: "ready", Timing: defaultTiming()}
	c.Timing.Interval = time.Second
	b.timing(&c.Timing)
	var given []string
	for _, name := range []string{"notify", "fd", "delay"} {
		if b.has(name) {
			given = append(given, name)
		}
	}
	if kind := b.kinds("ready", checkKinds(), "optional", func(k *block, kind string) {
		if k.checkKind(c, kind); kind == "log" && k.has("max") {
			k.errorAt("max", "conflict", "max has no meaning in a ready block", "Leave it out: the first line that matches says that the instance is ready.")
		}
	}); kind != "" {
		given = append(given, kind)
		r.Check = c
	}
	switch len(given) {
	case 0:
		b.d.errorAt("missing", b.def, "this ready block does not say when an instance is ready",
			`Put one of these into it: notify = "systemd", fd = 3, delay = "1s", or a block such as http { url = "…" }.`)
	case 1:
	default:
		b.d.errorAt("several_kinds", b.def, fmt.Sprintf("ready has several kinds: %s", strings.Join(given, ", ")), "Keep one of them.")
	}
	if r.Check == nil || r.Check.Log != nil {
		for _, name := range []string{"interval", "timeout", "failures", "successes", "initial_delay"} {
			if b.has(name) && len(given) == 1 {
				b.errorAt(name, "conflict", fmt.Sprintf("%s has no meaning with %s", name, given[0]), "Leave it out: it belongs to a check such as http { … }. The time to become ready is start { timeout }.")
			}
		}
	}
	return r
}

// checkKind reads the block of one kind into a check.
func (b *block) checkKind(c *spec.Check, kind string) {
	switch kind {
	case "exec":
		c.Exec = &spec.CheckExec{}
		b.require("command", `["/usr/local/bin/probe"]`)
		b.command("command", &c.Exec.Command)
	case "http":
		c.HTTP = b.checkHTTP()
	case "tcp":
		c.TCP = b.checkTCP()
	case "grpc":
		c.GRPC = &spec.CheckGRPC{}
		b.require("address", `"127.0.0.1:50051"`)
		b.exprString("address", &c.GRPC.Address, `"127.0.0.1:50051"`, hostPort("address"))
		b.string("service", &c.GRPC.Service, `"web.v1.Web"`)
	case "heartbeat":
		c.Heartbeat = &spec.CheckHeartbeat{}
	case "metrics":
		c.Metrics = b.checkMetrics()
	case "log":
		c.Log = &spec.CheckLog{Max: spec.Rate{Count: 20, Per: time.Minute}}
		b.require("pattern", `"ERROR|panic"`)
		b.pattern("pattern", &c.Log.Pattern)
		parsed(b, "max", &c.Log.Max, "a rate", `"20/1m"`, spec.ParseRate)
	case "outlier":
		c.Outlier = &spec.CheckOutlier{Of: "memory"}
		enum(b, "of", &c.Outlier.Of, "memory", "cpu", "latency")
	case "cpu":
		c.CPU = &spec.CheckCPU{Above: 95, For: 30 * time.Second}
		b.percent("above", &c.CPU.Above, "95%", 1e6)
		b.duration("for", &c.CPU.For, 1)
	case "stall":
		c.Stall = &spec.CheckStall{For: 5 * time.Second}
		b.duration("for", &c.Stall.For, 1)
	}
}

// checkTCP reads a tcp block.
func (b *block) checkTCP() *spec.CheckTCP {
	c := &spec.CheckTCP{}
	b.require("address", `"127.0.0.1:5432"`)
	b.exprString("address", &c.Address, `"127.0.0.1:5432"`, hostPort("address"))
	return c
}

func hostPort(name string) check[string] {
	return func(s string, show func(string) string) (string, string) {
		if host, _, err := spec.SplitAddress(s); err != nil {
			return fmt.Sprintf("%s: %s cannot be connected to: %v", name, show(s), err), "Write for example: " + name + ` = "127.0.0.1:8080"`
		} else if host == "" {
			return fmt.Sprintf("%s: %s names no host", name, show(s)), "Write for example: " + name + ` = "127.0.0.1:8080"`
		}
		return "", ""
	}
}

// checkHTTP reads an http block.
func (b *block) checkHTTP() *spec.CheckHTTP {
	c := &spec.CheckHTTP{Method: "GET", StatusLow: 200, StatusHigh: 399}
	example := `"http://127.0.0.1:8080/healthz"`
	b.require("url", example)
	b.exprString("url", &c.URL, example, httpURL)
	b.exprString("socket", &c.Socket, `"/run/web.sock"`, absolutePath("socket"))
	if v := b.string("method", &c.Method, `"GET"`); v != nil {
		if c.Method = strings.ToUpper(c.Method); c.Method == "" || strings.Trim(c.Method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
			v.bad("method: "+v.show(c.Method)+" is not an HTTP method", `Write for example: method = "GET"`)
		}
	}
	b.status(c)
	b.headers(&c.Headers)
	b.pattern("body_match", &c.BodyMatch)
	b.duration("max_latency", &c.MaxLatency, 1)
	b.absolute(b.string("ca_file", &c.CAFile, `"/etc/ssl/ca.pem"`), c.CAFile)
	b.bool("insecure", &c.Insecure)
	if c.Insecure && c.CAFile != "" {
		b.errorAt("ca_file", "conflict", "ca_file is of no use with insecure = true", "Keep one of them.")
	}
	return c
}

func httpURL(s string, show func(string) string) (wrong, detail string) {
	write := `Write for example: url = "http://127.0.0.1:8080/healthz"`
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return fmt.Sprintf("url: %s is not a URL", show(s)), write
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Sprintf("url: %s is neither http:// nor https://", show(s)), write
	case u.Hostname() == "":
		return fmt.Sprintf("url: %s names no host", show(s)), write
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.Atoi(p); err != nil || n < 1 || n > 65535 {
			return fmt.Sprintf("url: %s has no port from 1 to 65535", show(s)), write
		}
	}
	return "", ""
}

// status reads "200", 200 or "200-399".
func (b *block) status(c *spec.CheckHTTP) {
	v := b.static("status")
	if v == nil {
		return
	}
	s, err := toString(v.Value)
	if err == nil {
		low, high, both := strings.Cut(s, "-")
		if !both {
			high = low
		}
		l, err1 := strconv.Atoi(low)
		h, err2 := strconv.Atoi(high)
		if err1 == nil && err2 == nil && l >= 100 && l <= h && h <= 599 {
			c.StatusLow, c.StatusHigh = l, h
			return
		}
	}
	v.bad("status: "+v.show(s)+" is not a range of HTTP status codes", `Write for example: status = "200-399"`)
}

// headers reads the headers that a check sends.
func (b *block) headers(dst *map[string]string) {
	example := `{ Host = "example.com" }`
	v := b.static("headers")
	if v == nil {
		return
	}
	m, err := toMap(v.Value)
	if err != nil {
		if v.secret {
			err = errors.New("a map of strings is expected") // it may quote a key
		}
		b.d.errorAt("wrong_type", v.rng, "headers: "+err.Error(), "Write for example: headers = "+example)
		return
	}
	for _, k := range sortedKeys(m) {
		if k == "" || strings.ContainsAny(k, " :\r\n\t\x00") || strings.ContainsAny(m[k], "\r\n\x00") {
			v.bad(fmt.Sprintf("headers: %s is not a header", v.show(k)), "Write for example: headers = "+example)
			return
		}
	}
	*dst = m
}

// pattern reads a regular expression.
func (b *block) pattern(name string, dst *string) {
	parsed(b, name, dst, "a regular expression", `"ERROR|panic"`, func(s string) (string, error) {
		if s == "" {
			return "", errors.New("it is empty, so everything would match")
		}
		if _, err := regexp.Compile(s); err != nil {
			return "", errors.New(strings.TrimPrefix(err.Error(), "error parsing regexp: "))
		}
		return s, nil
	})
}

// checkMetrics reads a metrics block.
func (b *block) checkMetrics() *spec.CheckMetrics {
	c := &spec.CheckMetrics{Window: 30 * time.Second}
	example := `"http://127.0.0.1:8080/metrics"`
	b.require("url", example)
	b.exprString("url", &c.URL, example, httpURL)
	rule := `"rate(http_errors_total) / rate(http_requests_total) > 0.05"`
	b.require("expr", rule)
	parsed(b, "expr", &c.Expr, "a rule over metrics", rule, func(s string) (string, error) {
		_, err := spec.ParseMetricRule(s)
		return s, err
	})
	b.duration("window", &c.Window, 1)
	return c
}
