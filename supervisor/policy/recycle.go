package policy

import (
	"time"

	"nines/spec"
)

// wall is what the wall clock shows at a moment.
type wall struct {
	at    Time
	shows time.Time // zero: nobody has said
}

// of is the wall time of t, as the clock runs now. What was before a step of it
// is as if the clock had been right then.
func (w *wall) of(t Time) time.Time { return w.shows.Add(t.Sub(w.at)) }

// youngest is how old an incarnation is at least when its schedule's time comes:
// one that was started for that very moment is not replaced again because the
// clock was set back a little.
const youngest = 30 * time.Second

// clockChanged: the wall clock was set, or was not known before.
func (m *Machine) clockChanged(e ClockChanged) {
	m.wall = wall{at: m.now, shows: e.Wall.Round(0)}
	for _, v := range m.services {
		if v.schedule == nil {
			continue
		}
		for _, s := range v.slots {
			if s.phase != phaseReady || s.end != endNone {
				continue
			}
			if s.act != nil && s.act.cause == CauseRecycle {
				m.dropAct(s) // if it is still due, it is asked for again at once
			}
			m.armRecycle(s)
		}
	}
}

// readRecycle takes what the specification says of recycling v.
func (v *service) readRecycle() {
	v.schedule = nil
	if r := v.spec.Recycle; r != nil && r.Schedule != "" {
		// A specification that was loaded has none that cannot be read.
		v.schedule, _ = spec.ParseSchedule(r.Schedule)
	}
}

// armRecycle sets when s, which is ready, is due to be replaced.
func (m *Machine) armRecycle(s *slot) {
	if s.svc.spec.Recycle != nil && !s.aside && s.phase == phaseReady && s.end == endNone {
		m.armAt(s, timerRecycle, m.recycleAt(s))
	}
}

// recycleAt is when s is due: by age, so much earlier as its jitter wants, or at
// the first time of the schedule in its life. It follows from what is remembered
// of s, so the next supervisor comes to the same. Not before it has been up for
// Settle, so that a small max_age is no spin.
func (m *Machine) recycleAt(s *slot) Time {
	v := s.svc
	r := v.spec.Recycle
	at := never
	switch {
	case r.MaxAge > 0:
		at = s.startedAt.Add(duration(float64(r.MaxAge) * (1 - r.Jitter*s.share())))
	case v.schedule != nil && !m.wall.shows.IsZero():
		if next, ok := v.schedule.Next(m.wall.of(s.startedAt.Add(youngest))); ok {
			at = m.wall.at.Add(next.Sub(m.wall.shows))
		}
	}
	if at < 0 { // past the end of time, or before its beginning
		if at = never; r.MaxAge == 0 {
			at = 0
		}
	}
	return max(at, s.readyAt.Add(max(m.cfg.Settle, DefaultSettle)))
}

// share is a number in [0, 1) that belongs to this incarnation: replicas that
// were started at once do not grow old at once.
func (s *slot) share() float64 {
	h := uint64(14695981039346656037) // FNV-1a
	for i := range len(s.name) {
		h = (h ^ uint64(s.name[i])) * 1099511628211
	}
	h ^= s.ref.Incarnation ^ uint64(s.startedAt)<<20
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9 // splitmix64's finalizer
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return float64((h^h>>31)>>11) / (1 << 53)
}

// recycle: s is due.
func (m *Machine) recycle(s *slot) {
	r := s.svc.spec.Recycle
	if r == nil || s.phase != phaseReady || s.end != endNone {
		return
	}
	why := Reason{kind: whyAge, delay: m.now.Sub(s.startedAt)}
	if r.Schedule != "" {
		why = Reason{kind: whySchedule, text: r.Schedule}
	}
	m.ask(s, &act{cause: CauseRecycle, why: why})
}
