package spec

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Schedule is a cron expression of five fields, each as a set of bits.
type Schedule struct {
	Minute  uint64 // 0-59
	Hour    uint64 // 0-23
	Day     uint64 // 1-31
	Month   uint64 // 1-12
	Weekday uint64 // 0-6, 0 is Sunday
	// As in cron, a day matches either field when both are restricted.
	AnyDay, AnyWeekday bool
}

// ParseSchedule reads "MINUTE HOUR DAY MONTH WEEKDAY", each "*", a number, a
// name (jan, mon), a range, a list, or any of them with a step.
func ParseSchedule(s string) (*Schedule, error) {
	fields := strings.Fields(s)
	if len(fields) != 5 {
		return nil, fmt.Errorf("it has %d fields, and five are expected: minute, hour, day, month, weekday", len(fields))
	}
	months := []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}
	days := []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}
	c := &Schedule{AnyDay: fields[2][0] == '*', AnyWeekday: fields[4][0] == '*'}
	for i, f := range []struct {
		name      string
		low, high int
		names     []string
		dst       *uint64
	}{
		{"minute", 0, 59, nil, &c.Minute}, {"hour", 0, 23, nil, &c.Hour}, {"day", 1, 31, nil, &c.Day},
		{"month", 1, 12, months, &c.Month}, {"weekday", 0, 7, days, &c.Weekday},
	} {
		set, err := cronField(strings.ToLower(fields[i]), f.low, f.high, f.names)
		if err != nil {
			return nil, fmt.Errorf("the %s %q: %w", f.name, fields[i], err)
		}
		*f.dst = set
	}
	if c.Weekday&(1<<7) != 0 { // 7 is Sunday too
		c.Weekday = c.Weekday&^(1<<7) | 1
	}
	if !c.possible() {
		return nil, errors.New("no month has that day")
	}
	return c, nil
}

// possible tells whether there is a date that the fields allow.
func (c *Schedule) possible() bool {
	if !c.AnyWeekday {
		return true
	}
	for m, days := range []int{31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31} {
		if c.Month&(1<<(m+1)) != 0 && c.Day&(1<<(days+1)-1) != 0 {
			return true
		}
	}
	return false
}

func cronField(s string, low, high int, names []string) (uint64, error) {
	var set uint64
	for part := range strings.SplitSeq(s, ",") {
		span, stepText, stepped := strings.Cut(part, "/")
		step := 1
		if stepped {
			n, err := strconv.Atoi(stepText)
			if err != nil || n < 1 || n > high {
				return 0, fmt.Errorf("the step is not a number from 1 to %d", high)
			}
			step = n
		}
		from, to, err := cronSpan(span, low, high, names, stepped)
		if err != nil {
			return 0, err
		}
		for i := from; i <= to; i += step {
			set |= 1 << i
		}
	}
	return set, nil
}

func cronSpan(s string, low, high int, names []string, stepped bool) (from, to int, err error) {
	if s == "*" {
		// "0-7" would count Sunday twice in a step.
		if names != nil && low == 0 {
			high--
		}
		return low, high, nil
	}
	first, last, isRange := strings.Cut(s, "-")
	if from, err = cronValue(first, low, high, names); err != nil {
		return 0, 0, err
	}
	switch {
	case isRange:
		to, err = cronValue(last, low, high, names)
	case stepped:
		to = high
	default:
		to = from
	}
	if err == nil && from > to {
		err = errors.New("the range goes backwards")
	}
	return from, to, err
}

func cronValue(s string, low, high int, names []string) (int, error) {
	for i, n := range names {
		if s == n {
			return low + i, nil
		}
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < low || n > high || !isDigits(s) {
		return 0, fmt.Errorf("a number from %d to %d is expected", low, high)
	}
	return n, nil
}
