package policy

import (
	"slices"
	"strconv"
	"strings"
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

// inmateAsked carries out what a person wants of one.
func (m *Machine) inmateAsked(e Inmate) {
	verb := "kill "
	if e.Resume {
		verb = "resume "
	}
	i := slices.IndexFunc(m.quarantine, func(f *inmate) bool { return f.id() == e.ID })
	if i < 0 {
		m.refuse(e.Request, NoSuchInstance, "cannot "+verb+e.ID+": there is no such instance in quarantine", "nines quarantine lists them")
		return
	}
	f := m.quarantine[i]
	switch {
	case e.Resume && f.ending:
		m.refuse(e.Request, Conflict, "cannot resume "+e.ID+": it is being ended", "")
	case e.Resume && f.resumed:
		m.refuse(e.Request, Conflict, "cannot resume "+e.ID+": it runs already", "nines quarantine kill "+e.ID+" ends it")
	case e.Resume:
		m.then(Action{Kind: ActAccepted, Request: e.Request})
		if f.thawing = append(f.thawing, e.Request); len(f.thawing) == 1 {
			m.act(Action{Kind: ActThaw, Ref: f.ref})
			f.at = m.now.Add(FreezePatience)
			m.armInmates(f.slot)
		}
	default:
		m.then(Action{Kind: ActAccepted, Request: e.Request})
		f.requests = append(f.requests, e.Request)
		if f.ending {
			m.act(Action{Kind: ActKill, Ref: f.ref}) // it is answered by f.at
		}
		m.endInmate(f, Reason{kind: whyStopped, name: e.By})
	}
}

// restoreInmates puts back who was in quarantine. What the specification has no
// place for is forgotten here; what lives of it the driver ends as a leftover.
func (m *Machine) restoreInmates() {
	for id, w := range m.past.Inmates {
		s := m.inmateSlot(id)
		n := w.Incarnation
		if s == nil || n == 0 || s.phase.lives() && s.ref.Incarnation == n {
			// In the last case it was recorded that it stands still, and not yet that
			// its slot is free: it is still the slot's, which asks again.
			continue
		}
		s.ref.Incarnation = max(s.ref.Incarnation, n)
		f := &inmate{
			slot: s, ref: Ref{Slot: s.id, Incarnation: n}, pid: w.PID, start: w.Start,
			since: min(w.Since, m.now), expires: w.Expires, why: w.Why, memory: w.Memory, resumed: w.Resumed, exited: w.Exited, at: never,
		}
		m.quarantine = append(m.quarantine, f)
		if w.Ending {
			f.ending, f.ended = true, Reason{kind: whyWasEnding}
			f.at = m.now.Add(m.cfg.KillPatience)
			if m.down.on { // whose bound does not move, however often a supervisor dies
				f.at = min(f.at, m.down.deadline.Add(m.cfg.KillPatience))
			}
		}
	}
	slices.SortFunc(m.quarantine, func(a, b *inmate) int {
		if a.since != b.since {
			return int(max(-1, min(1, a.since-b.since)))
		}
		return strings.Compare(a.id(), b.id())
	})
	var forgotten []string
	for id := range m.past.Inmates {
		if !slices.ContainsFunc(m.quarantine, func(f *inmate) bool { return f.id() == id }) {
			forgotten = append(forgotten, id)
		}
	}
	slices.Sort(forgotten)
	for _, id := range forgotten {
		m.record(Record{Kind: RecordInmate, Ref: Ref{Slot: NoSlot}, ID: id})
	}
	for _, f := range m.quarantine {
		f.slot.inmates = append(f.slot.inmates, f)
		if f.ending {
			m.act(Action{Kind: ActKill, Ref: f.ref})
		}
		m.armInmates(f.slot)
	}
	for _, f := range slices.Clone(m.quarantine) {
		m.boundQuarantine(f.slot.svc)
		m.touch(f.slot)
		m.reconsider(f.slot)
	}
	m.past.Inmates = nil
}

// inmateSlot is the slot that the id of an inmate names, or nil.
func (m *Machine) inmateSlot(id string) *slot {
	at := strings.LastIndexByte(id, '.')
	if at < 0 {
		return nil
	}
	v, index := m.place(id[:at])
	if v == nil || index >= len(v.slots) || id != v.slots[index].name+"."+strconv.FormatUint(m.past.Inmates[id].Incarnation, 10) {
		return nil
	}
	return v.slots[index]
}

// viewInmates is the quarantine in the words of the API, the oldest first.
func (m *Machine) viewInmates() []InmateView {
	if len(m.quarantine) == 0 {
		return nil
	}
	list := make([]InmateView, len(m.quarantine))
	for i, f := range m.quarantine {
		list[i] = InmateView{
			ID: f.id(), Service: f.slot.svc.spec.Name, Instance: f.slot.name, Ref: f.ref, PID: f.pid, Start: f.start,
			Since: f.since, Expires: f.expires, Why: f.why, Memory: f.memory, State: IsFrozen,
		}
		switch {
		case f.ending:
			list[i].State = Ending
		case f.resumed:
			list[i].State = Resumed
		}
		if f.exited {
			list[i].PID, list[i].Start = 0, 0
		}
	}
	return list
}
