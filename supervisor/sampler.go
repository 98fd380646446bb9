package supervisor

import (
	"errors"
	"log/slog"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"nines/spec"
	"nines/supervisor/policy"
	"nines/supervisor/proc"
	"nines/supervisor/trend"
)

// roundPause is how long after a round of samples the next one comes at the
// earliest: so a thousand instances do not wake us a thousand times, and are
// still spread.
const roundPause = 250 * time.Millisecond

// sampler reads how much memory instances hold whose memory block says what is
// too much, and has policy told of what follows. It is one goroutine with one
// timer; while there are no such instances it stands still.
//
// It remembers nothing beyond its process: a successor of the supervisor begins
// anew to look at what lives, so that what was too large for a while has to be so
// for memory.for again. What had begun goes on by policy's own memory, and is not
// begun twice: an Act names an incarnation, which is not acted on while it ends.
type sampler struct {
	read  func(t *proc.Tree, enough uint64) (uint64, error)
	now   func() policy.Time
	tell  func([]policy.Event) // from the sampler's goroutine
	log   *slog.Logger
	limit uint64     // bytes of the machine, or of the container
	rng   *rand.Rand // run alone uses it

	mu      sync.Mutex
	watched map[policy.Slot]*watched
	closed  bool
	wake    chan struct{}
	done    chan struct{}
}

// watched is an incarnation whose memory is looked at. run alone uses what is
// not said to be otherwise.
type watched struct {
	ref    policy.Ref // never written again
	tree   proc.Tree  // likewise
	memory *spec.Memory
	rule   trend.Rule
	limit  uint64 // that a leak runs into

	judge      trend.Judge
	due        policy.Time
	high, leak bool // what policy was told
	said       bool // that it cannot be read

	bytes uint64 // the last sample, 0: none yet; under sampler.mu
}

func newSampler(limit uint64, seed uint64, now func() policy.Time, read func(*proc.Tree, uint64) (uint64, error), tell func([]policy.Event), log *slog.Logger) *sampler {
	return &sampler{
		read: read, now: now, tell: tell, log: log, limit: limit, rng: rand.New(rand.NewPCG(seed, 0)),
		watched: map[policy.Slot]*watched{}, wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
}

// rule is what a memory block asks to be judged, on a machine of so many bytes.
func rule(m *spec.Memory, limit uint64) trend.Rule {
	r := trend.Rule{Above: m.RestartAbove.Resolve(limit), For: m.For, Window: m.Window}
	if m.Growth.Per > 0 {
		r.Growth = float64(m.Growth.Count) / m.Growth.Per.Seconds()
	}
	return r
}

// watch begins to look at an incarnation, if there is anything to look for. The
// loop calls it.
func (p *sampler) watch(ref policy.Ref, m *spec.Memory, tree proc.Tree) {
	if m == nil {
		return
	}
	w := &watched{ref: ref, tree: tree, memory: m, rule: rule(m, p.limit), limit: p.limit}
	if !w.rule.Judges() {
		return
	}
	if most := m.Max.Resolve(p.limit); most > 0 && (w.limit == 0 || most < w.limit) {
		w.limit = most
	}
	p.mu.Lock()
	p.watched[ref.Slot] = w
	p.mu.Unlock()
	p.poke()
}

// forget ends that: the main process has ended. The loop calls it.
func (p *sampler) forget(ref policy.Ref) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w := p.watched[ref.Slot]; w != nil && w.ref == ref {
		delete(p.watched, ref.Slot)
	}
}

// held is the last samples: what instances hold. nil: there are none.
func (p *sampler) held() map[policy.Slot]uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	var held map[policy.Slot]uint64
	for slot, w := range p.watched {
		if w.bytes > 0 {
			if held == nil {
				held = make(map[policy.Slot]uint64, len(p.watched))
			}
			held[slot] = w.bytes
		}
	}
	return held
}

func (p *sampler) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// close ends it; it does not wait.
func (p *sampler) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.poke()
}

func (p *sampler) run() {
	defer close(p.done)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var due []*watched
	for {
		var next policy.Time
		var some, closed bool
		due, next, some, closed = p.collect(due[:0])
		if closed {
			return
		}
		if len(due) > 0 {
			p.round(due)
			continue
		}
		if some {
			timer.Reset(max(next.Sub(p.now()), roundPause))
		} else {
			timer.Stop()
		}
		select {
		case <-timer.C:
		case <-p.wake:
		}
	}
}

// collect is what is due now, and when there is more. One that was not looked at
// yet gets its first turn somewhere in its cadence: what is started together is
// not sampled together.
func (p *sampler) collect(due []*watched) (_ []*watched, next policy.Time, some, closed bool) {
	now := p.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.watched {
		if w.due == 0 {
			w.due = now.Add(time.Duration(p.rng.Float64() * float64(w.rule.Cadence())))
		}
		if w.due <= now {
			due = append(due, w)
		} else if !some || w.due < next {
			next, some = w.due, true
		}
	}
	return due, next, some, p.closed
}

// round takes a sample of each and tells the loop what follows, in one message.
func (p *sampler) round(due []*watched) {
	var events []policy.Event
	for _, w := range due {
		// How late it came does not add up: Next is from now.
		at := p.now()
		w.due = at.Add(w.rule.Next(p.rng.Float64()))
		// A slope needs them all exactly; a bound only what comes near it.
		enough := w.rule.Above
		if w.rule.Growth > 0 {
			enough = 0
		}
		bytes, err := p.read(&w.tree, enough)
		if err != nil {
			// There is a gap in what is known of it.
			w.failed(p.log, err)
			continue
		}
		p.mu.Lock()
		w.bytes = bytes
		p.mu.Unlock()
		events = w.say(events, w.judge.Add(&w.rule, time.Duration(at), bytes), bytes)
	}
	if len(events) > 0 {
		p.tell(events)
	}
}

// failed says that a sample cannot be had, once an incarnation; unless that is
// because it has just ended.
func (w *watched) failed(log *slog.Logger, err error) {
	if !gone(err) && !w.said {
		w.said = true
		log.Warn("cannot tell how much memory it holds", "pid", w.tree.PID, "err", err)
	}
}

// gone says that a sample cannot be had because what it is of has just ended.
func gone(err error) bool {
	return errors.Is(err, syscall.ESRCH) || errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ENODEV)
}

// say adds what policy is to be told: what holds again with each sample (see
// policy.Act), what holds no more once.
func (w *watched) say(events []policy.Event, v trend.Verdict, bytes uint64) []policy.Event {
	if w.high && !v.High {
		events = append(events, policy.Withdraw{Ref: w.ref, Cause: policy.CauseMemory})
	}
	if w.leak && !v.Leak {
		events = append(events, policy.Withdraw{Ref: w.ref, Cause: policy.CauseLeak})
	}
	if v.High {
		events = append(events, policy.Act{Ref: w.ref, Cause: policy.CauseMemory, On: spec.OnFailureRestart, Reason: w.highText(v, bytes)})
	}
	if v.Leak {
		events = append(events, policy.Act{Ref: w.ref, Cause: policy.CauseLeak, On: spec.OnFailure(w.memory.OnLeak), Reason: w.leakText(v, bytes)})
	}
	w.high, w.leak = v.High, v.Leak
	return events
}

// highText is as in "memory 190MiB, for 31s above 180MiB (restart_above)".
func (w *watched) highText(v trend.Verdict, bytes uint64) string {
	return "memory " + size(bytes) + ", for " + v.For.Round(time.Second).String() + " above " + size(w.rule.Above) + " (restart_above)"
}

// leakText is as in "memory 120MiB, grows by 12MiB/1m: a leak, at 256MiB (max) in
// 11m20s".
func (w *watched) leakText(v trend.Verdict, bytes uint64) string {
	text := "memory " + size(bytes) + ", grows by " + size(uint64(v.Rate*w.memory.Growth.Per.Seconds())) + "/" + short(w.memory.Growth.Per) + ": a leak"
	if w.limit == 0 {
		return text
	}
	what := "max"
	if w.memory.Max.IsZero() {
		what = "all the memory there is"
	}
	left := trend.Left(bytes, w.limit, v.Rate)
	if left > time.Hour {
		left = left.Round(time.Minute)
	}
	return text + ", at " + size(w.limit) + " (" + what + ") in " + short(left)
}

// size is a number of bytes as people write it: "190MiB", "3.7MiB".
func size(n uint64) string {
	unit, names := float64(n), []string{"B", "KiB", "MiB", "GiB", "TiB"}
	for unit >= 1000 && len(names) > 1 {
		unit, names = unit/1024, names[1:]
	}
	digits := 0
	if unit < 10 && unit != math.Trunc(unit) {
		digits = 1
	}
	return strconv.FormatFloat(unit, 'f', digits, 64) + names[0]
}

// short is a duration without "0s" at its end.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// judgeMemory begins to look at how much memory an incarnation holds.
func (s *Supervisor) judgeMemory(in *incarnation) {
	if in.svc == nil || in.reaped || in.pid == 0 {
		return
	}
	s.sampler.watch(in.ref, in.svc.Limits.Memory, proc.Tree{PID: in.pid, Start: in.start, Group: in.group})
}

// judged hands what the sampler says to the machine; the sampler calls it.
func (s *Supervisor) judged(events []policy.Event) {
	s.box.put(func() {
		for _, ev := range events {
			s.step(ev)
		}
	})
}
