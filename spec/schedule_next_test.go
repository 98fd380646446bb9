package spec

import (
	"testing"
	"time"
	_ "time/tzdata" // the zones of the tests, wherever they run
)

func TestScheduleNext(t *testing.T) {
	for _, c := range []struct{ schedule, zone, from, want string }{
		{"0 4 * * *", "UTC", "2026-01-31T04:00:00", "2026-02-01T04:00:00"},
		{"0 4 * * *", "UTC", "2026-01-31T03:59:59", "2026-01-31T04:00:00"},
		{"*/15 9-17 * * mon-fri", "UTC", "2026-11-20T17:45:00", "2026-11-23T09:00:00"},
		{"59 23 31 12 *", "UTC", "2026-12-31T23:59:01", "2027-12-31T23:59:00"},
		{"0 0 29 2 *", "UTC", "2096-03-01T00:00:00", "2104-02-29T00:00:00"},
		{"0 0 13 * fri", "UTC", "2026-11-08T00:00:00", "2026-11-13T00:00:00"},  // either
		{"0 0 13 * fri", "UTC", "2026-11-13T00:00:00", "2026-11-20T00:00:00"},  // …
		{"0 0 */2 * fri", "UTC", "2026-11-08T00:00:00", "2026-11-13T00:00:00"}, // "*" with a step is "*": both
		{"* * * * *", "UTC", "2026-11-08T00:00:59.5", "2026-11-08T00:01:00"},
		// Summer time begins: 02:00 is 03:00.
		{"30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00", "2026-03-29T03:00:00"},
		{"30 2 * * *", "Europe/Berlin", "2026-03-29T03:00:00", "2026-03-30T02:30:00"},
		{"*/30 * * * *", "Europe/Berlin", "2026-03-29T01:59:59", "2026-03-29T03:00:00"},
		{"0 3 * * *", "Europe/Berlin", "2026-03-29T01:00:00", "2026-03-29T03:00:00"},
		// It ends: 02:00 to 03:00 is twice. The first is +02:00.
		{"30 2 * * *", "Europe/Berlin", "2026-10-25T00:00:00", "2026-10-25T02:30:00+02:00"},
		{"30 2 * * *", "Europe/Berlin", "2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00"},
		{"30 * * * *", "Europe/Berlin", "2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00"},
		{"30 * * * *", "Europe/Berlin", "2026-10-25T02:30:00+01:00", "2026-10-25T03:30:00"},
		// Midnight does not exist.
		{"0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00:00", "2018-11-04T01:00:00"},
		// A day that does not exist.
		{"0 12 30 12 *", "Pacific/Apia", "2011-12-29T00:00:00", "2012-12-30T12:00:00"},
	} {
		zone, err := time.LoadLocation(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		at := func(s string) time.Time {
			if x, err := time.Parse(time.RFC3339, s); err == nil {
				return x.In(zone)
			}
			x, err := time.ParseInLocation("2006-01-02T15:04:05", s, zone)
			if err != nil {
				t.Fatal(err)
			}
			return x
		}
		s, err := ParseSchedule(c.schedule)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := s.Next(at(c.from)); !ok || !got.Equal(at(c.want)) {
			t.Errorf("%q in %s after %s: %v %t, want %v", c.schedule, c.zone, c.from, got, ok, at(c.want))
		}
	}
	if got, ok := (&Schedule{}).Next(time.Unix(0, 0)); ok {
		t.Errorf("a schedule without a time is due at %v", got)
	}
}

// FuzzSchedule: no text panics; what is a schedule has a next time, which is
// after, on a minute that it names or where the clock skips one, and nothing that
// it names lies between.
func FuzzSchedule(f *testing.F) {
	for _, s := range []string{"0 4 * * *", "*/15 9-17 * * mon-fri", "30 2 29 feb 7", "59 23 31 12 *", "* * 31 * *"} {
		f.Add(s, int64(1774738800), true)
		f.Add(s, int64(1792886400), false)
	}
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string, unix int64, local bool) {
		s, err := ParseSchedule(text)
		if err != nil || unix < -1<<31 || unix > 1<<33 {
			return
		}
		zone := time.UTC
		if local {
			zone = berlin
		}
		from := time.Unix(unix, 0).In(zone)
		at, ok := s.Next(from)
		if !ok || !at.After(from) {
			t.Fatalf("%q after %v: %v %t", text, from, at, ok)
		}
		names := func(x time.Time) bool {
			return s.Minute&(1<<x.Minute()) != 0 && s.Hour&(1<<x.Hour()) != 0 && s.onDay(x) && x.Second() == 0
		}
		if begin, _ := at.ZoneBounds(); !names(at) && !at.Equal(begin) {
			t.Fatalf("%q after %v: %v", text, from, at)
		}
		for x, n := from.Truncate(time.Minute).Add(time.Minute), 0; x.Before(at) && n < 3000; x, n = x.Add(time.Minute), n+1 {
			// One that comes twice was due the first time.
			if first, _ := passes(x, reading(x)); names(x) && first.Equal(x) {
				t.Fatalf("%q after %v: %v, and %v is before", text, from, at, x)
			}
		}
	})
}
