package sim

import (
	"math"
	"time"

	"nines/spec"
	"nines/supervisor/policy"
)

// The model is what an observer knows who sees the specification, what the
// machine is told and what it asks for, and who does not believe the machine:
// he counts failures and bounds delays himself, from the language's words.

type service struct {
	spec       *spec.Service
	needs      []*service
	after      []*service
	dependents []*service // those whose needs name this one
	stopped    bool       // by a person
	started    bool       // by a person, although disabled
	gaveUp     bool       // a crash loop or an end for good stopped it
	instances  int        // wanted
	slots      []*slot
	restarts   int // restart commands under way
}

// enabled says whether people and the spec want the service at all.
func (s *service) enabled() bool {
	return !s.stopped && (s.spec.Enabled || s.started)
}

// ready says whether all that is wanted of the service is ready.
func (s *service) ready() bool {
	for _, sl := range s.slots[:s.instances] {
		if !sl.ready() {
			return false
		}
	}
	return true
}

// quiet says whether nothing of the service lives, as far as the machine can
// know, but for what is stuck.
func (s *service) quiet(now policy.Time) bool {
	for _, sl := range s.slots {
		if sl.cur != nil && !sl.cur.told.empty && !sl.stuck(now) {
			return false
		}
	}
	return true
}

type outcome uint8

const (
	none      outcome = iota
	completed         // ended well, and policy or type say that this is all
	failed            // ended badly, and policy or type say that this is all
)

type slot struct {
	id      string
	svc     *service
	index   int
	stopped bool // this instance, by a person
	cur     *incarnation
	outcome outcome

	fails     int // unrequested ends since the counters were last forgotten
	notBefore policy.Time
	notAfter  policy.Time // when it must be started, if nothing else stands against it
	lastDelay time.Duration
}

func (sl *slot) ready() bool {
	if sl.svc.spec.Type == taskType {
		return sl.outcome == completed
	}
	return sl.cur != nil && sl.cur.told.ready && !sl.cur.told.over && sl.cur.told.ask == askNone
}

// wanted says whether people and the spec want this instance to run.
func (sl *slot) wanted() bool {
	return sl.svc.enabled() && !sl.stopped && sl.index < sl.svc.instances
}

// stuck says whether the machine may go on without this slot.
func (sl *slot) stuck(now policy.Time) bool {
	t := &sl.cur.told
	return t.killed && now.Sub(t.killedAt) >= policy.DefaultKillPatience
}

type ask uint8

const (
	askNone    ask = iota
	askTimeout     // it was not ready in time
	askStop        // people, the order of things or a shutdown want it to end
	askEither      // it cannot be known from outside which
)

// told is what the machine has been told of an incarnation, and asked for it.
type told struct {
	spawned   bool
	spawnedAt policy.Time
	ready     bool
	readyAt   policy.Time
	over      bool // the main process ended, or never was
	empty     bool
	emptyAt   policy.Time
	ask       ask
	killed    bool
	killedAt  policy.Time // the first ActKill
}

// nominal is the delay after the n-th unrequested end, before jitter.
func nominal(r *spec.Restart, n int) time.Duration {
	d := float64(r.Delay) * math.Pow(r.Factor, float64(n-1))
	return time.Duration(min(d, float64(r.MaxDelay)))
}

// ended books an unrequested end of the current incarnation at the time when
// the machine heard of it.
func (sl *slot) ended(now policy.Time, marks *Marks) {
	r := &sl.svc.spec.Restart
	t := &sl.cur.told
	if t.ready && now.Sub(t.readyAt) >= r.ResetAfter {
		if sl.fails > 0 {
			marks[MarkReset]++
		}
		sl.fails = 0
	}
	sl.fails++
	d := nominal(r, sl.fails)
	lo := time.Duration(float64(d) * (1 - r.Jitter))
	// A microsecond for rounding: the bound is a float's, the delay an integer's.
	sl.notBefore = now.Add(max(lo-time.Microsecond, 0))
	sl.notAfter = now.Add(time.Duration(float64(r.MaxDelay)*(1+r.Jitter)) + time.Microsecond)
}

// pardon forgets failures: a person said start or restart.
func (sl *slot) pardon(now policy.Time) {
	sl.fails, sl.notBefore, sl.notAfter = 0, now, now
	sl.outcome = none
}

// success says whether an end counts as one, by the spec.
func success(r *spec.Restart, st policy.Status) bool {
	if st.Signal != "" {
		return false
	}
	for _, c := range r.SuccessCodes {
		if c == st.Code {
			return true
		}
	}
	return false
}
