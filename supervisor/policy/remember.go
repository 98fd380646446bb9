package policy

import (
	"slices"
)

// save notes that s has changed in a way that a next supervisor must know.
// Whatever changes a field that memory reads calls it; the record is made once,
// when the step is over.
func (m *Machine) save(s *slot) {
	if !s.unsaved {
		s.unsaved = true
		m.unsaved = append(m.unsaved, s)
	}
	if s.twin != nil && !s.twin.unsaved && s.index >= s.svc.instances {
		m.save(s.twin) // they are gone together
	}
}

// saveAll makes the records of this step's changes.
func (m *Machine) saveAll() {
	for _, v := range m.dirtyRevisions {
		m.saveRevision(v)
	}
	m.dirtyRevisions = m.dirtyRevisions[:0]
	for _, s := range m.unsaved {
		s.unsaved = false
		switch {
		case s.gone():
			m.endLoop(s, whyUnwanted)
			m.forgetSlot(s.svc, s.key(), s.ref)
		case s.ref.Incarnation > 0:
			m.record(Record{Kind: RecordSlot, Ref: s.ref, ID: s.key(), Value: 1, slot: s})
		}
	}
	m.unsaved = m.unsaved[:0]
}

// gone says whether s was scaled away and nothing of its place lives. Both slots of a
// place are forgotten together: the numbers that either has used are the place's.
func (s *slot) gone() bool {
	return s.index >= s.svc.instances && !s.phase.lives() && (s.twin == nil || !s.twin.phase.lives())
}

// forgetSlot takes the memory of an instance that is no more away, so that what
// is kept does not grow. What remains is the highest number that one such of the
// service used, lest an instance that is scaled up later uses one again.
func (m *Machine) forgetSlot(v *service, id string, ref Ref) {
	if ref.Incarnation == 0 {
		return
	}
	if ref.Incarnation > v.floor {
		v.floor = ref.Incarnation
		m.record(Record{Kind: RecordIncarnations, ID: v.spec.Name, Value: int64(v.floor)})
	}
	m.record(Record{Kind: RecordSlot, Ref: ref, ID: id})
}

// Append appends the text that a RecordSlot keeps, ParseSlotMemory's, or a
// RecordRevision, ParseRevisionMemory's, or a RecordInmate, ParseInmateMemory's; nothing
// where there is nothing to keep. It tells what is so when it is called: called
// after another Step, it tells of that too.
func (r *Record) Append(dst []byte) []byte {
	if r.inmate != nil {
		w := r.inmate.remember()
		return w.Append(dst)
	}
	if r.slot == nil {
		return append(dst, r.text...)
	}
	w := r.slot.memory()
	return w.Append(dst)
}

// Memory is the SlotMemory of a RecordSlot, as Append tells it; false where there
// is nothing to keep.
func (r *Record) Memory() (SlotMemory, bool) {
	if r.slot == nil {
		return SlotMemory{}, false
	}
	w := r.slot.memory()
	w.Ends = slices.Clone(w.Ends)
	return w, true
}

// memory is what must be remembered of s. Its Ends are the slot's own.
func (s *slot) memory() SlotMemory {
	w := SlotMemory{
		Phase: s.phase.String(), Incarnation: s.ref.Incarnation, Deadline: never,
		StartedAt: s.startedAt, ReadyAt: s.readyAt,
		First: s.first, Held: s.held, Auto: s.auto,
		Streak: s.streak, Base: s.base, Spread: s.spread, FailedStarts: s.failedStarts, Again: s.again,
		Ends: s.ends[max(0, len(s.ends)-MaxEnds):], Restarts: s.restarts,
		LastExit: s.last,
	}
	if s.revision > 1 {
		w.Revision = s.revision
	}
	if s.target != max(s.revision, 1) {
		w.Target = s.target
	}
	w.Candidate = s.candidate
	if s.how.kind == whyExecFailed || s.how.kind == whyJudged {
		w.Cause = s.how.text
	}
	w.Turn = s.turn.String()
	next := s.phase
	if s.phase.lives() {
		w.PID, w.Start = s.pid, s.start
		w.Answered, w.Early, w.WasReady, w.Exited = s.answered, s.early && s.phase == phaseSpawning, s.wasReady, s.exited
		w.End = s.end.String()
		switch s.phase {
		case phaseSpawning, phaseStopping, phaseKilling, phaseClearing, phaseFreezing:
			w.Deadline = s.timers[timerPhase]
		case phaseStarting:
			if s.longer > 0 {
				w.Deadline = s.longer
			}
		}
		w.Hook = s.phase == phaseStopping && s.hook != 0
		if next = s.next; s.exited {
			w.Next = next.String()
		}
	}
	switch next {
	case phaseBackoff:
		w.NextStartAt = s.nextAt
		if s.why.kind == whySpawnAgain {
			w.Why, w.Cause = s.why.kind.word(), s.why.text
		}
	case phaseFailed:
		w.Why = s.why.kind.word()
	}
	return w
}

// Loops says whether it is in a crash loop, held or given up.
func (w *SlotMemory) Loops() bool {
	gaveUp := w.Phase == phaseFailed.String() || w.Next == phaseFailed.String()
	return w.Held || gaveUp && (w.Why == whyCrashLoop.word() || w.Why == whyNoStart.word() || w.Why == whyFatal.word())
}

func (e ending) String() string {
	return [...]string{"", "stop", "timeout", "check", "memory", "self"}[e]
}

// word is the word for why a slot has failed, or waits, as a SlotMemory keeps it.
func (k reasonKind) word() string {
	switch k {
	case whySpawnAgain:
		return "again"
	case whyNever:
		return "never"
	case whyUntold:
		return "untold"
	case whyNoStart:
		return "starts"
	case whyFatal:
		return "fatal"
	}
	return "loop"
}
