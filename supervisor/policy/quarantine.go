package policy

import (
	"slices"
	"strconv"
	"time"
)

// A judged instance that is to be isolated is frozen in its slot (phaseFreezing).
// Once it stands still it leaves the slot and becomes an inmate: the slot goes on
// as after any judged end, and the inmate is kept as evidence until it is one too
// many, too old or too big, a person ends it, or its instance is not wanted any
// more.

// FreezePatience is how long a Freeze or a Thaw may go unanswered. The driver's
// own bound is shorter.
const FreezePatience = 5 * time.Second

// inmate is an incarnation in quarantine.
type inmate struct {
	slot    *slot
	ref     Ref
	pid     int
	start   uint64
	since   Time
	expires Time
	why     string
	memory  uint64

	resumed bool // a person has thawed it: it runs, outside its slot
	exited  bool // its main process has ended
	ending  bool // Kill was asked for
	emptied bool // … and nothing lives, but the end of the main process was not told
	stuck   bool // … and KillPatience is over
	ended   Reason
	at      Time // of ending: Kill is asked again; of thawing: nobody answers

	thawing  []Request // wait for Thawed
	requests []Request // wait for its end
}

// id names an inmate: "web/0.17".
func (f *inmate) id() string {
	return f.slot.name + "." + strconv.FormatUint(f.ref.Incarnation, 10)
}

// unwanted says whether an instance that d is wanted of keeps no evidence: what
// it started must not outlive its stop.
func (d desire) unwanted() bool { return d != wantRun && d != wantYield }

// freeze has the incarnation of s stand still.
func (m *Machine) freeze(s *slot, how ending, why Reason) {
	s.end, s.endWhy = how, why
	m.unready(s)
	s.phase = phaseFreezing
	m.then(Action{Kind: ActFreeze, Ref: s.ref}) // what stands still must be known to be meant to
	m.arm(s, timerPhase, FreezePatience)
	m.save(s)
	m.touch(s)
}

// freezeFailed: it cannot be frozen, and is restarted as any other judged one.
func (m *Machine) freezeFailed(s *slot, in input) {
	why := s.endWhy
	m.notice(KindRestarting, s, Reason{kind: whyNoFreeze, name: in.text, text: why.text})
	if m.desired(s) == wantEnd && m.down.deadline <= m.now {
		m.kill(s)
		return
	}
	m.stop(s, s.end, why)
}

// freezeTimeout: nobody knows whether it stands still, so it is killed, which a
// frozen one can be too.
func (m *Machine) freezeTimeout(s *slot, _ input) { m.kill(s) }

// frozen: it stands still. It leaves the slot, which is judged as by any end
// that nobody asked for: the replacement comes when its backoff is over.
func (m *Machine) frozen(s *slot, in input) {
	if m.desired(s).unwanted() || !s.svc.spec.Isolates() {
		m.kill(s)
		return
	}
	f := &inmate{
		slot: s, ref: s.ref, pid: s.pid, start: s.start, since: m.now, why: s.endWhy.text,
		memory: in.memory, at: never,
	}
	f.expire(s.svc.spec.Isolate.TTL)
	m.admit(f)
	m.notice(KindQuarantined, s, Reason{kind: whyFrozen, name: f.id(), text: f.why})
	m.saveInmate(f)
	failedStart := !s.wasReady
	s.exited, s.settled = true, false
	s.last = LastExit{Reason: ExitCheckFailed, At: m.now}
	if s.end == endMemory {
		s.last.Reason = ExitMemory
	}
	s.how = s.endWhy
	m.judge(s, s.endWhy, Status{}, failedStart)
	m.vacate(s)
	m.boundQuarantine(s.svc)
}

// expire has f kept for ttl from its freezing.
func (f *inmate) expire(ttl time.Duration) {
	if f.expires = f.since.Add(ttl); f.expires < f.since {
		f.expires = never
	}
}

// rearmInmates has the evidence of v kept as its spec says now.
func (m *Machine) rearmInmates(v *service) {
	held := false
	for _, s := range v.slots {
		for _, f := range s.inmates {
			held = true
			if iso := v.spec.Isolate; iso != nil && !f.ending {
				f.expire(iso.TTL)
				m.saveInmate(f)
			}
		}
		if len(s.inmates) > 0 {
			m.armInmates(s)
		}
	}
	if held {
		m.boundQuarantine(v)
	}
}

func (m *Machine) admit(f *inmate) {
	m.quarantine = append(m.quarantine, f)
	f.slot.inmates = append(f.slot.inmates, f)
	m.armInmates(f.slot)
}

// boundQuarantine kills the oldest while there are more than keep, or while they
// hold more memory than memory_max_total: those of v, then those of all services
// together, for which the largest bound of them counts. A service that has no
// isolate block any more keeps none.
func (m *Machine) boundQuarantine(v *service) {
	own := func(f *inmate) bool { return f.slot.svc == v }
	keep := 0
	if v.spec.Isolate != nil {
		keep = v.spec.Isolate.Keep
	}
	if bug == 15 {
		keep++
	}
	for m.count(own) > keep {
		m.endInmate(m.oldest(own), Reason{kind: whyTooMany, count: int32(keep)})
	}
	m.boundMemory(own, m.memoryMax(v))
	most := uint64(0)
	for _, f := range m.quarantine {
		limit := m.memoryMax(f.slot.svc)
		if limit == 0 {
			return // one that has no bound
		}
		most = max(most, limit)
	}
	m.boundMemory(func(*inmate) bool { return true }, most)
}

// boundMemory kills the oldest that is says until they hold no more than limit;
// 0: no limit.
func (m *Machine) boundMemory(is func(*inmate) bool, limit uint64) {
	for limit > 0 {
		sum := uint64(0)
		for _, f := range m.quarantine {
			if !f.ending && is(f) {
				sum += f.memory
			}
		}
		if sum <= limit {
			return
		}
		m.endInmate(m.oldest(is), Reason{kind: whyTooBig, bytes: sum})
	}
}

// memoryMax is isolate.memory_max_total of v in bytes; 0: none.
func (m *Machine) memoryMax(v *service) uint64 {
	if v.spec.Isolate == nil {
		return 0
	}
	return v.spec.Isolate.MemoryMaxTotal.Resolve(m.cfg.Memory)
}

func (m *Machine) count(is func(*inmate) bool) int {
	n := 0
	for _, f := range m.quarantine {
		n += delta(false, !f.ending && is(f))
	}
	return n
}

func (m *Machine) oldest(is func(*inmate) bool) *inmate {
	i := slices.IndexFunc(m.quarantine, func(f *inmate) bool { return !f.ending && is(f) })
	if i < 0 {
		return nil
	}
	return m.quarantine[i]
}

// endInmate kills one, once.
func (m *Machine) endInmate(f *inmate, why Reason) {
	if f == nil || f.ending {
		return
	}
	f.ending, f.ended = true, why
	f.at = m.now.Add(m.cfg.KillPatience)
	m.answerThaw(f, "it is being ended")
	m.act(Action{Kind: ActKill, Ref: f.ref})
	m.saveInmate(f)
	m.armInmates(f.slot)
	m.touch(f.slot)
}

// endInmates ends the evidence of an instance that is not wanted any more.
func (m *Machine) endInmates(s *slot, d desire) {
	for _, f := range s.inmates {
		m.endInmate(f, m.whyEnd(s, d))
	}
}

// released: nothing of it lives.
func (m *Machine) released(f *inmate) {
	s := f.slot
	is := func(o *inmate) bool { return o == f }
	m.quarantine = slices.DeleteFunc(m.quarantine, is)
	s.inmates = slices.DeleteFunc(s.inmates, is)
	why := f.ended
	m.out.Notices = append(m.out.Notices, Notice{
		Kind: KindQuarantineEnded, Service: s.svc.spec.Name, Slot: s.id, Ref: f.ref, PID: f.pid,
		Reason: Reason{kind: whyReleased, how: why.kind, name: f.id(), text: why.String()},
	})
	m.record(Record{Kind: RecordInmate, Ref: f.ref, ID: f.id()})
	m.answerThaw(f, "it has ended")
	for _, r := range f.requests {
		m.then(Action{Kind: ActDone, Request: r, Message: f.id() + " is ended"})
	}
	m.armInmates(s)
	m.touch(s)
	m.markOps(s.svc)
	m.reconsider(s)
}

// inmate is the one that ref names, or nil.
func (s *slot) inmate(ref Ref) *inmate {
	for _, f := range s.inmates {
		if f.ref == ref {
			return f
		}
	}
	return nil
}

// tellInmate takes what the driver says of an inmate.
func (m *Machine) tellInmate(f *inmate, t trigger, in input) {
	switch t {
	case onExited:
		if f.exited {
			return
		}
		f.exited = true
		if !f.ending {
			how, _ := howEnded(in.status)
			f.ended = how
		}
		switch {
		case in.empty, f.emptied:
			m.released(f)
		case !f.ending:
			m.endInmate(f, f.ended)
		default:
			m.saveInmate(f)
		}
	case onEmptied:
		switch {
		case !f.ending:
		case f.exited, f.stuck:
			m.released(f)
		default:
			f.emptied = true
		}
	case onThawed:
		if len(f.thawing) == 0 {
			return // late or doubled
		}
		if in.text == "" {
			f.resumed = true
			m.saveInmate(f)
		}
		m.answerThaw(f, in.text)
		if !f.ending {
			f.at = never
		}
		m.armInmates(f.slot)
	case onSpawned, onSpawnFailed, onSpawnAgain, onReady, onHookDone, onTimer, onFrozen, onFreezeFailed:
		// Late or doubled: it has left its slot.
	}
}

// answerThaw tells who waits for a thaw how it went; cause "": well.
func (m *Machine) answerThaw(f *inmate, cause string) {
	for _, r := range f.thawing {
		a := Action{Kind: ActDone, Request: r, Message: f.id() + " runs again, outside its instance"}
		if cause != "" {
			a.Failed, a.Message, a.Hint = true, "cannot resume "+f.id()+": "+cause, "nines quarantine kill "+f.id()
		}
		m.then(a)
	}
	f.thawing = nil
}

// armInmates sets the one timer of all inmates of s.
func (m *Machine) armInmates(s *slot) {
	at := never
	for _, f := range s.inmates {
		at = min(at, f.at)
		if !f.ending {
			at = min(at, f.expires)
		}
	}
	m.armAt(s, timerInmates, at)
}

// inmatesDue acts on the deadlines of the inmates of s.
func (m *Machine) inmatesDue(s *slot) {
	for _, f := range slices.Clone(s.inmates) {
		switch {
		case f.ending && f.at <= m.now:
			m.inmateOutlives(f)
		case f.ending:
		case f.expires <= m.now:
			m.endInmate(f, Reason{kind: whyTooOld, delay: m.now.Sub(f.since)})
		case f.at <= m.now:
			f.at = never
			m.answerThaw(f, "the kernel has not let it go on within "+words(FreezePatience))
		}
	}
	m.armInmates(s)
}

// inmateOutlives: it was killed KillPatience ago, and lives as far as is known.
func (m *Machine) inmateOutlives(f *inmate) {
	if f.emptied {
		m.released(f)
		return
	}
	why := Reason{kind: whyInmateStuck, name: f.id(), delay: m.cfg.KillPatience}
	if !f.stuck {
		f.stuck = true
		m.out.Notices = append(m.out.Notices, Notice{
			Kind: KindStuck, Service: f.slot.svc.spec.Name, Slot: f.slot.id, Ref: f.ref, PID: f.pid, Reason: why,
		})
		m.touch(f.slot)
		m.stuckStops()
	}
	for _, r := range f.requests {
		m.then(Action{Kind: ActDone, Request: r, Failed: true, Message: "cannot end " + why.String()})
	}
	f.requests = nil
	m.act(Action{Kind: ActKill, Ref: f.ref})
	f.at = m.now.Add(m.cfg.KillPatience)
}

// detained says whether evidence of s that is being ended stands in the way of
// the end of its service, or of all.
func (m *Machine) detained(s *slot, d desire) bool {
	return len(s.inmates) > 0 && d.unwanted() &&
		slices.ContainsFunc(s.inmates, func(f *inmate) bool { return !f.stuck || !m.down.on })
}

// outlives says whether something of s outlives SIGKILL.
func (s *slot) outlives() bool {
	return s.phase == phaseStuck || slices.ContainsFunc(s.inmates, func(f *inmate) bool { return f.stuck })
}
