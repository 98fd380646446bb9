package spec

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// MaxDuration is the longest duration that a spec may name. Sums of a few of
// them and a monotonic clock still fit an int64 of nanoseconds.
const MaxDuration = 10 * 365 * 24 * time.Hour

// ParseDuration reads "500ms", "10s", "5m", "24h", "1h30m" or "0". Negative
// durations and bare numbers are refused.
func ParseDuration(s string) (time.Duration, error) {
	switch {
	case s == "":
		return 0, errors.New("it is empty")
	case strings.HasPrefix(s, "-"):
		return 0, errors.New("a duration cannot be negative")
	case isDigits(s) && strings.Trim(s, "0") != "":
		return 0, errors.New("the unit is missing")
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		if n, ok := strings.CutSuffix(s, "d"); ok {
			if days, err := strconv.ParseUint(n, 10, 16); err == nil {
				return 0, fmt.Errorf("days are written in hours: \"%dh\"", days*24)
			}
		}
		return 0, errors.New("the units are ns, us, ms, s, m and h")
	}
	if d > MaxDuration {
		return 0, errors.New("it is longer than ten years")
	}
	return d, nil
}

// ParseBytes reads an absolute size: "256MiB", "1GB", "1.5GiB", "4096".
func ParseBytes(s string) (uint64, error) {
	if s == "" {
		return 0, errors.New("it is empty")
	}
	if strings.HasPrefix(s, "-") {
		return 0, errors.New("a size cannot be negative")
	}
	i := 0
	for i < len(s) && (s[i] >= '0' && s[i] <= '9' || s[i] == '.') {
		i++
	}
	number, unit := s[:i], strings.TrimLeft(s[i:], " ")
	factor, ok := sizeUnit(unit)
	if !ok {
		if len(unit) == 1 && strings.Contains("kKmMgGtT", unit) {
			u := strings.ToUpper(unit)
			return 0, fmt.Errorf("the unit %q is ambiguous: write %siB (powers of 1024) or %sB (powers of 1000)", unit, u, u)
		}
		return 0, errors.New("the units are B, KiB, MiB, GiB, TiB, KB, MB, GB and TB")
	}
	if n, err := strconv.ParseUint(number, 10, 64); err == nil {
		if n > math.MaxInt64/factor {
			return 0, errors.New("it is larger than 8 EiB")
		}
		return n * factor, nil
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0, errors.New("a number and a unit are expected")
	}
	if f *= float64(factor); f >= math.MaxInt64 {
		return 0, errors.New("it is larger than 8 EiB")
	}
	return uint64(f), nil
}

func sizeUnit(unit string) (uint64, bool) {
	switch strings.ToLower(unit) {
	case "", "b":
		return 1, true
	case "kib":
		return 1 << 10, true
	case "mib":
		return 1 << 20, true
	case "gib":
		return 1 << 30, true
	case "tib":
		return 1 << 40, true
	case "kb":
		return 1e3, true
	case "mb":
		return 1e6, true
	case "gb":
		return 1e9, true
	case "tb":
		return 1e12, true
	}
	return 0, false
}

// ParseSize reads an absolute size or a percentage ("25%"); a percentage is
// above 0 and at most 100.
func ParseSize(s string) (Size, error) {
	if strings.HasSuffix(s, "%") {
		p, err := ParsePercent(s)
		switch {
		case err != nil:
			return Size{}, err
		case p == 0 || p > 100:
			return Size{}, errors.New("a share is above 0% and at most 100%")
		}
		return Size{Percent: p}, nil
	}
	n, err := ParseBytes(s)
	return Size{Bytes: n}, err
}

// Resolve returns the size in bytes on a machine (or in a container) with that
// much memory.
func (s Size) Resolve(memory uint64) uint64 {
	if s.Percent > 0 {
		return uint64(float64(memory) * s.Percent / 100)
	}
	return s.Bytes
}

// IsZero tells whether the size was not given.
func (s Size) IsZero() bool { return s == Size{} }

// String formats the size as a spec would say it.
func (s Size) String() string {
	if s.Percent > 0 {
		return strconv.FormatFloat(s.Percent, 'f', -1, 64) + "%"
	}
	return FormatBytes(s.Bytes)
}

// FormatBytes formats a size with the largest unit that keeps it exact.
func FormatBytes(n uint64) string {
	for _, u := range []struct {
		factor uint64
		name   string
	}{{1 << 40, "TiB"}, {1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= u.factor && n%u.factor == 0 {
			return strconv.FormatUint(n/u.factor, 10) + u.name
		}
	}
	return strconv.FormatUint(n, 10) + "B"
}

// ParsePercent reads "99.9%". What is above 100 is for the caller to judge:
// "150%" of a CPU is one and a half.
func ParsePercent(s string) (float64, error) {
	n, ok := strings.CutSuffix(s, "%")
	if !ok {
		return 0, errors.New("the percent sign is missing")
	}
	if strings.Trim(n, "0123456789.") != "" || n == "" {
		return 0, errors.New("a number and a percent sign are expected")
	}
	f, err := strconv.ParseFloat(n, 64)
	if err != nil || f > 1e6 {
		return 0, errors.New("a number and a percent sign are expected")
	}
	return f, nil
}

// ParseRate reads "N/duration", where N is a count or a size: "20/1m",
// "10MiB/1m".
func ParseRate(s string) (Rate, error) {
	count, per, ok := strings.Cut(s, "/")
	if !ok {
		return Rate{}, errors.New("the time after \"/\" is missing")
	}
	n, err := ParseBytes(strings.TrimSpace(count))
	if err != nil {
		return Rate{}, fmt.Errorf("before \"/\": %w", err)
	}
	d, err := ParseDuration(strings.TrimSpace(per))
	if err != nil {
		return Rate{}, fmt.Errorf("after \"/\": %w", err)
	}
	if d <= 0 {
		return Rate{}, errors.New("the time after \"/\" is zero")
	}
	return Rate{Count: n, Per: d}, nil
}

// PerSecond returns the rate as a number a second, at least 1 for a rate that
// is not zero.
func (r Rate) PerSecond() uint64 {
	if r.Count == 0 || r.Per <= 0 {
		return 0
	}
	return max(1, uint64(float64(r.Count)/r.Per.Seconds()))
}

// ParseMode reads permission bits or a umask, in octal: "0600", "022".
func ParseMode(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 8, 32)
	if err != nil || n > 0o777 || len(s) > 4 {
		return 0, errors.New("three or four octal digits are expected, at most 0777")
	}
	return uint32(n), nil
}

func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// ParseLimit reads one value of a resource limit: a number, a size or
// "unlimited" ("infinity").
func ParseLimit(s string) (uint64, error) {
	if s == "unlimited" || s == "infinity" {
		return Unlimited, nil
	}
	n, err := ParseBytes(s)
	if err != nil {
		return 0, errors.New("a number, a size or \"unlimited\" is expected")
	}
	return n, nil
}
