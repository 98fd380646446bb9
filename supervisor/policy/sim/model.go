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
	spec      *spec.Service
	needs     []*service
	after     []*service
	below     [2]map[*service]bool // all that it depends on, however far: by needs; by needs and after
	stopped   bool                 // by a person
	started   bool                 // by a person, although disabled
	instances int                  // wanted
	slots     []*slot
	restarts  int // restart commands under way
	group     *group
	place     int
	doomedBy  int            // the step of the failure with which what was asked for before it goes down
	maybeBy   int            // … or may
	queued    bool           // more than one of them: it cannot be seen when the later ones begin
	removed   bool           // it is no more in the specification
	awaited   bool           // the apply that runs revised it
	revs      map[int]string // by number: the command
}

// enabled says whether people and the spec want the service at all.
func (s *service) enabled() bool {
	return !s.removed && !s.stopped && !s.off()
}

// off says whether the spec disables the service, and no person has started it.
func (s *service) off() bool { return !s.spec.Enabled && !s.started }

// occupied says whether anything of the service may live, its quarantine included.
func (s *service) occupied(k *checker) bool {
	for _, sl := range s.slots {
		if sl.lives() {
			return true
		}
	}
	for _, inc := range k.caged {
		if inc.svc == s && inc.cage.holds() {
			return true
		}
	}
	return false
}

// yields says whether the service must go down because something that it
// needs, however far, is not wanted: stopped, or disabled and not down yet.
func (s *service) yields(k *checker) bool {
	for d := range s.below[0] {
		if d.stopped || d.off() && d.occupied(k) {
			return true
		}
	}
	return false
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

// pending says whether the service may be on its way up for the first time, so
// that what comes after it waits.
func (s *service) pending() bool {
	if s.enabled() && !s.ready() {
		for _, sl := range s.slots[:s.instances] {
			if sl.first && sl.wanted() {
				return true
			}
		}
	}
	return false
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
	first   bool // not up since the boot or a person's start
	restart bool // a person's restart is under way …
	since   int  // … and came at this step
	hazy    bool // it cannot be known whether a restart had lifted stopped
	unsure  bool // it cannot be known from outside what its last end meant
	cur     *incarnation
	outcome outcome
	gaveUp  bool // outcome is failed since a crash loop was given up
	turn    turn

	fails     int           // unrequested ends since the counters were last forgotten
	starts    int           // failed starts in a row
	ends      []policy.Time // of unrequested ends; those too old for a loop may be there
	ambiguous bool          // the machine may count more ends than we do
	loop      bool          // this end must be judged a loop
	mayLoop   bool          // this end may be judged a loop
	held      bool
	notBefore policy.Time
	notAfter  policy.Time // when it must be started, if nothing else stands against it
	overAt    policy.Time
	delayed   bool          // the start after the last end has not come
	lastDelay time.Duration // as scheduled, before this one
}

func (sl *slot) ready() bool {
	if sl.svc.spec.Type == taskType {
		return sl.outcome == completed && !sl.lives() // what it left behind is part of it
	}
	return sl.cur != nil && sl.cur.told.ready && !sl.cur.told.over && !sl.cur.told.left && sl.cur.told.ask == askNone
}

// lives says whether something of the slot may live, as far as the machine can
// know.
func (sl *slot) lives() bool {
	return sl.cur != nil && !(sl.cur.told.empty && sl.cur.told.reaped)
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
	askAct         // it was judged
	askStop        // people, the order of things or a shutdown want it to end
	askEither      // it cannot be known from outside which
)

// told is what the machine has been told of an incarnation, and asked for it.
type told struct {
	spawned   bool
	spawnedAt policy.Time
	saidReady bool // … by itself; it counts once spawned was told
	ready     bool
	readyAt   policy.Time
	over      bool // the main process ended, or never was
	reaped    bool // … and it is known how
	empty     bool // nothing lives
	ask       ask
	killed    bool
	killedAt  policy.Time // the first ActKill
	left      bool        // it said that it ends
	stopBy    policy.Time // its time to end is over then; 0: none runs
	longer    policy.Time // it asked for so long to start
	pid       int
	reloading bool        // it said so, and not that it is done
	reloadAt  policy.Time // it was told to
	needs     []string    // what its service needed, when that was said last of its revision
}

// nominal is the delay after the n-th unrequested end, before jitter.
func nominal(r *spec.Restart, n int) time.Duration {
	d := float64(r.Delay) * math.Pow(r.Factor, float64(n-1))
	return time.Duration(min(d, float64(r.MaxDelay)))
}

// forgets forgets failures if the incarnation has been ready for reset_after.
func (sl *slot) forgets(now policy.Time, marks *Marks) {
	r, t := &sl.svc.spec.Restart, &sl.cur.told
	if !t.ready || now.Sub(t.readyAt) < r.ResetAfter {
		return
	}
	if sl.fails > 0 {
		marks[MarkReset]++
	}
	sl.fails, sl.starts, sl.held, sl.ends, sl.ambiguous, sl.lastDelay = 0, 0, false, sl.ends[:0], false, 0
}

// ended books an unrequested end of the current incarnation at the time when
// the machine heard of it.
func (sl *slot) ended(now policy.Time, failedStart, fatal bool, marks *Marks) {
	r, c := &sl.svc.spec.Restart, &sl.svc.spec.CrashLoop
	sl.fails++
	if failedStart {
		sl.starts++
	} else {
		sl.starts = 0
	}
	sl.ends = append(sl.ends, now)
	must := 0
	for _, at := range sl.ends {
		if now.Sub(at) <= c.Within {
			must++
		}
	}
	if len(sl.ends) > 2*c.Failures {
		sl.ends = append(sl.ends[:0], sl.ends[c.Failures:]...)
	}
	sl.loop = !sl.ambiguous && !sl.held && (must >= c.Failures || sl.starts >= c.Failures || fatal)
	sl.mayLoop = sl.ambiguous || must >= c.Failures || sl.starts >= c.Failures || fatal
	sl.waits(now, nominal(r, sl.fails))
}

// waits sets the bounds of the next start.
func (sl *slot) waits(now policy.Time, d time.Duration) {
	r := &sl.svc.spec.Restart
	if sl.held {
		d = r.MaxDelay
	}
	lo := time.Duration(float64(d) * (1 - r.Jitter))
	// A microsecond for rounding: the bound is a float's, the delay an integer's.
	sl.notBefore = now.Add(max(lo-time.Microsecond, 0))
	sl.notAfter = now.Add(time.Duration(float64(r.MaxDelay)*(1+r.Jitter)) + time.Microsecond)
	sl.overAt = now
}

// blur forgets what cannot be known any more: whether a restart that is over had
// reached the slot, and so forgotten its failures.
func (sl *slot) blur() {
	sl.fails, sl.starts, sl.ends, sl.held, sl.lastDelay = 0, 0, sl.ends[:0], false, 0
	sl.delayed, sl.loop, sl.ambiguous = false, false, true
	sl.unsure = sl.unsure || sl.outcome != none
}

// pardon forgets failures: a person said start, or a restart reached it.
func (sl *slot) pardon(now policy.Time) {
	sl.fails, sl.starts, sl.ends, sl.held, sl.lastDelay = 0, 0, sl.ends[:0], false, 0
	sl.notBefore, sl.notAfter = now, 0
	sl.outcome, sl.loop, sl.ambiguous = none, false, false
}
