package ipc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// MaxScale is the most instances that scale is asked for.
const MaxScale = 100_000

// The verbs of POST /v1/services/NAME/VERB.
const (
	VerbStart   = "start"
	VerbStop    = "stop"
	VerbRestart = "restart"
	VerbReload  = "reload"
	VerbScale   = "scale"
	VerbSignal  = "signal"
)

// wireCommand is Command as it travels: what must be told apart from its
// absence is a pointer (scale to 0 is a wish, no number is a mistake).
type wireCommand struct {
	Instance  *int    `json:"instance,omitempty"`
	Instances *int    `json:"instances,omitempty"`
	Signal    *string `json:"signal,omitempty"`
	NoWait    bool    `json:"no_wait,omitempty"`
}

func encodeCommand(verb string, c Command) wireCommand {
	w := wireCommand{Instance: c.Instance, NoWait: c.NoWait}
	switch verb {
	case VerbScale:
		w.Instances = &c.Instances
	case VerbSignal:
		w.Signal = &c.Signal
	}
	return w
}

// decodeCommand reads the body of a verb and refuses what the verb does not
// know: a mistyped or misplaced field must not be taken for "all of it".
func decodeCommand(verb string, body []byte) (Command, error) {
	var w wireCommand
	if err := decodeJSON(body, &w); err != nil {
		return Command{}, err
	}
	c := Command{Instance: w.Instance, NoWait: w.NoWait}
	if w.Instance != nil && *w.Instance < 0 {
		return Command{}, badRequest("instances count from 0", "cannot %s instance %d: negative", verb, *w.Instance)
	}
	if w.Instances != nil && verb != VerbScale {
		return Command{}, badRequest("", `cannot %s: "instances" belongs to scale`, verb)
	}
	if w.Signal != nil && verb != VerbSignal {
		return Command{}, badRequest("", `cannot %s: "signal" belongs to signal`, verb)
	}
	switch verb {
	case VerbScale:
		switch {
		case w.Instance != nil:
			return Command{}, badRequest("", "cannot scale one instance: scale takes a service")
		case w.Instances == nil:
			return Command{}, badRequest(`send {"instances":N}`, "cannot scale: how many instances?")
		case *w.Instances < 0 || *w.Instances > MaxScale:
			return Command{}, badRequest(fmt.Sprintf("0 to %d", MaxScale), "cannot scale to %d instances", *w.Instances)
		}
		c.Instances = *w.Instances
	case VerbSignal:
		if w.Signal == nil {
			return Command{}, badRequest(`send {"signal":"SIGUSR1"}`, "cannot signal: which signal?")
		}
		sig, err := ParseSignal(*w.Signal)
		if err != nil {
			return Command{}, err
		}
		c.Signal = sig
	}
	return c, nil
}

func decodeShutdown(body []byte) (ShutdownRequest, error) {
	var r ShutdownRequest
	if err := decodeJSON(body, &r); err != nil {
		return r, err
	}
	switch r.Action {
	case "", "poweroff", "reboot", "halt":
		return r, nil
	}
	return r, badRequest("poweroff, reboot or halt; none ends the supervisor alone", "cannot shut down: unknown action %q", r.Action)
}

// decodeJSON reads one JSON object into v. An empty body is an empty object;
// unknown fields and anything after the object are refused.
func decodeJSON(body []byte, v any) error {
	body = bytes.TrimSpace(body)
	if len(body) == 0 {
		return nil
	}
	if body[0] != '{' {
		return badRequest("", "cannot read the request: its body is not a JSON object")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return badRequest("", "cannot read the request: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return badRequest("", "cannot read the request: more than one JSON object")
	}
	return nil
}

// ParseSignal returns the name of a signal given by name, with or without SIG
// and in any case, or by number: "SIGUSR1". Real-time signals have no name here
// and are refused.
func ParseSignal(s string) (string, error) {
	bad := func() (string, error) {
		return "", badRequest("name one as kill(1) does: HUP, SIGUSR1, 10", "cannot send signal %q: no such signal", s)
	}
	if n, err := strconv.Atoi(s); err == nil {
		if n <= 0 || n > 64 {
			return bad()
		}
		if name := unix.SignalName(unix.Signal(n)); name != "" {
			return name, nil
		}
		return bad()
	}
	name := strings.ToUpper(s)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	if unix.SignalNum(name) == 0 {
		return bad()
	}
	return name, nil
}

// ParseSince reads a moment: RFC 3339, or a duration before now ("10m", "2d").
// "" is the zero time.
func ParseSince(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, nil
	}
	d, err := parseDuration(s)
	if err != nil || d < 0 {
		return time.Time{}, badRequest(`give a duration ("10m", "2d") or a time ("2026-01-02T15:04:05Z")`, "cannot begin at %q: it is no duration and no time", s)
	}
	return now.Add(-d), nil
}

// parseDuration is time.ParseDuration with whole days.
func parseDuration(s string) (time.Duration, error) {
	const day = 24 * time.Hour
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseInt(days, 10, 64)
		if err != nil || n < 0 || n > int64(math.MaxInt64/day) {
			return 0, fmt.Errorf("cannot read %q as days", s)
		}
		return time.Duration(n) * day, nil
	}
	return time.ParseDuration(s)
}

// params reads a query string strictly: an unknown, malformed or doubled
// parameter is refused, so that a typing error is never "no filter".
type params struct {
	values url.Values
	err    error
}

func parseParams(query string, known ...string) *params {
	v, err := url.ParseQuery(query)
	p := &params{values: v}
	if err != nil {
		p.err = badRequest("", "cannot read the query: %v", err)
		return p
	}
	for name := range v {
		if !contains(known, name) {
			p.err = badRequest("known: "+strings.Join(known, ", "), "cannot read the query: unknown parameter %q", name)
		}
	}
	return p
}

func contains(list []string, s string) bool {
	for _, v := range list {
		if v == s {
			return true
		}
	}
	return false
}

func (p *params) fail(err error) {
	if p.err == nil {
		p.err = err
	}
}

func (p *params) one(name string) string {
	v := p.values[name]
	if len(v) > 1 {
		p.fail(badRequest("", "cannot read the query: %s is given %d times", name, len(v)))
	}
	if len(v) == 0 {
		return ""
	}
	return v[0]
}

func (p *params) bool(name string) bool {
	switch s := p.one(name); s {
	case "", "0", "false":
		return false
	case "1", "true":
		return true
	default:
		p.fail(badRequest("0 or 1", "cannot read the query: %s=%q", name, s))
		return false
	}
}

func (p *params) int(name string, def int) int {
	s := p.one(name)
	if s == "" {
		return def
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		p.fail(badRequest("a number", "cannot read the query: %s=%q", name, s))
		return def
	}
	return n
}

// uint is a number from 0.
func (p *params) uint(name string) uint64 {
	s := p.one(name)
	if s == "" {
		return 0
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		p.fail(badRequest("a number from 0", "cannot read the query: %s=%q", name, s))
	}
	return n
}

func (p *params) since(now time.Time) time.Time {
	t, err := ParseSince(p.one("since"), now)
	if err != nil {
		p.fail(err)
	}
	return t
}
