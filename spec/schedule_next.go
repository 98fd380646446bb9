package spec

import "time"

// yearsAhead bounds the search for a time: the 29th of February on no other
// day's account is at most eight years away (around a year 2100).
const yearsAhead = 9

// Next is the first time after t at which the schedule is due, in t's zone;
// false: there is none for years. A time that the clock skips (summer time
// begins) is due when it has skipped it; one that it passes twice is due the
// first time, except where the hour is "*": that means every hour that passes.
func (c *Schedule) Next(t time.Time) (time.Time, bool) {
	y, mo, d := t.Date()
	for i := range 366 * yearsAhead {
		// Noon: no zone changes its day there.
		day := time.Date(y, mo, d+i, 12, 0, 0, 0, t.Location())
		if !c.onDay(day) {
			continue
		}
		if at, ok := c.inDay(day, t); ok {
			return at, true
		}
	}
	return time.Time{}, false
}

// onDay says whether the schedule has times on the day of t.
func (c *Schedule) onDay(t time.Time) bool {
	if c.Month&(1<<t.Month()) == 0 {
		return false
	}
	day, weekday := c.Day&(1<<t.Day()) != 0, c.Weekday&(1<<t.Weekday()) != 0
	if c.AnyDay || c.AnyWeekday {
		return day && weekday
	}
	return day || weekday
}

// inDay is the first due time after t in that day.
func (c *Schedule) inDay(day, t time.Time) (first time.Time, ok bool) {
	y, mo, d := day.Date()
	midnight := time.Date(y, mo, d, 0, 0, 0, 0, day.Location())
	_, before := midnight.Zone()
	_, after := time.Date(y, mo, d+1, 0, 0, 0, 0, day.Location()).Zone()
	plain := before == after && midnight.Hour() == 0 // else the times of a day are not in their order
	hourly := c.Hour == 1<<24-1
	consider := func(at time.Time) {
		if at.After(t) && (!ok || at.Before(first)) {
			first, ok = at, true
		}
	}
	for h := range 24 {
		if c.Hour&(1<<h) == 0 || plain && !midnight.Add(time.Duration(h+1)*time.Hour).After(t) {
			continue
		}
		for m := range 60 {
			if c.Minute&(1<<m) == 0 {
				continue
			}
			at := time.Date(y, mo, d, h, m, 0, 0, day.Location())
			if plain {
				consider(at)
			} else {
				early, late := passes(at, time.Date(y, mo, d, h, m, 0, 0, time.UTC))
				consider(early)
				if hourly {
					consider(late)
				}
			}
			if plain && ok {
				return first, ok
			}
		}
	}
	return first, ok
}

// passes are the moments at which the clock shows what wanted shows, which is at
// or near at: one, two, or where it skips that, the moment at which it does.
func passes(at, wanted time.Time) (first, last time.Time) {
	begin, end := at.ZoneBounds()
	if shown := reading(at); !shown.Equal(wanted) { // skipped
		if shown.Before(wanted) {
			return end, end
		}
		return begin, begin
	}
	_, offset := at.Zone()
	first, last = at, at
	if !begin.IsZero() {
		_, other := begin.Add(-1).Zone()
		if o := at.Add(time.Duration(offset-other) * time.Second); o.Before(begin) {
			first = o
		}
	}
	if !end.IsZero() {
		_, other := end.Zone()
		if o := at.Add(time.Duration(offset-other) * time.Second); !o.Before(end) {
			last = o
		}
	}
	return first, last
}

// reading is what the clock shows at t, as if it were UTC.
func reading(t time.Time) time.Time {
	_, offset := t.Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}
