package main

import (
	"strconv"
	"strings"
	"time"
	"unicode"
)

// The colours, as SGR parameters.
const (
	plain  = ""
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
)

// paint colours s if on.
func paint(on bool, color, s string) string {
	if !on || color == plain || s == "" {
		return s
	}
	return "\x1b[" + color + "m" + s + "\x1b[0m"
}

// stateColor is the colour of a service's or an instance's state.
func stateColor(state string) string {
	switch state {
	case "running", "ready", "completed", "standby":
		return green
	case "down", "failed", "held", "unhealthy":
		return red
	case "degraded", "starting", "stopping", "backoff", "waiting":
		return yellow
	}
	return dim
}

// instanceColor tells instances apart in mixed logs; the same one always has
// the same colour.
func instanceColor(id string) string {
	palette := [...]string{"36", "33", "32", "35", "34", "96", "93", "92", "95", "94"}
	h := uint32(2166136261) // FNV-1a
	for i := range len(id) {
		h = (h ^ uint32(id[i])) * 16777619
	}
	return palette[h%uint32(len(palette))]
}

// printable replaces what would move the cursor or end the line: reasons and
// messages may quote what a service said.
func printable(s string) string {
	if plainASCII(s) || strings.IndexFunc(s, isControl) < 0 {
		return s
	}
	return strings.Map(func(r rune) rune {
		if isControl(r) {
			return ' '
		}
		return r
	}, s)
}

// plainASCII is the answer for nearly all of a long table, and ten times as
// quick as asking of each rune what it is.
func plainASCII(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

func isControl(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
}

// age is a span in at most two units: "5s", "3m20s", "2h5m", "4d3h".
func age(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < 0:
		return "0s"
	case d < time.Minute:
		return strconv.Itoa(int(d/time.Second)) + "s"
	case d < time.Hour:
		return two(d, time.Minute, "m", time.Second, "s")
	case d < day:
		return two(d, time.Hour, "h", time.Minute, "m")
	case d < 100*day:
		return two(d, day, "d", time.Hour, "h")
	}
	return strconv.Itoa(int(d/day)) + "d"
}

func two(d, big time.Duration, b string, small time.Duration, s string) string {
	out := strconv.Itoa(int(d/big)) + b
	if rest := int(d % big / small); rest > 0 {
		out += strconv.Itoa(rest) + s
	}
	return out
}

// soon is a span that is being waited for, to a tenth where that matters.
func soon(d time.Duration) string {
	if d < 0 {
		d = 0
	}
	if d < 10*time.Second {
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + "s"
	}
	return age(d)
}

// bytesText is a size in three digits: "512B", "9.8MiB", "118MiB".
func bytesText(n uint64) string {
	units := [...]string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	v, i := float64(n), 0
	for v >= 1023.5 && i < len(units)-1 {
		v /= 1024
		i++
	}
	prec := 0
	if i > 0 && v < 9.95 {
		prec = 1
	}
	return strconv.FormatFloat(v, 'f', prec, 64) + units[i]
}

func quote(s string) string { return `"` + s + `"` }

// listText is "a, b and c".
func listText(s []string) string {
	if len(s) < 2 {
		return strings.Join(s, "")
	}
	return strings.Join(s[:len(s)-1], ", ") + " and " + s[len(s)-1]
}
