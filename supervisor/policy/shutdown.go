package policy

// shutdown is the end of everything, once it has begun.
type shutdown struct {
	on       bool
	code     int
	cause    string
	action   string // for the machine
	deadline Time
	killed   bool // the deadline has come: all was killed
	requests []Request
}

// shutdownAsked begins a shutdown, or waits for the one in progress. A second
// one changes neither the deadline nor the exit status of the first: a second
// Ctrl-C is as often impatience as intent, and ends what is bounded anyway.
func (m *Machine) shutdownAsked(e Shutdown) {
	switch {
	case !m.down.on:
		m.beginShutdown(e)
	case e.Action == "" || e.Action == m.down.action:
	case m.down.action == "":
		m.down.action = e.Action
		m.recordShutdown()
	default:
		m.refuse(e.Request, Conflict, "cannot "+e.Action+": nines is shutting down already, for a "+m.down.action, "")
		return
	}
	if e.Request != 0 {
		m.then(Action{Kind: ActAccepted, Request: e.Request})
		m.down.requests = append(m.down.requests, e.Request)
	}
}

// beginShutdown makes everything unwanted. What depends on others goes first;
// mayEnd sees to it. Starts that wait are dropped.
func (m *Machine) beginShutdown(e Shutdown) {
	if m.down.on {
		return
	}
	deadline := e.Deadline
	if deadline == 0 {
		timeout := m.cfg.ShutdownTimeout
		if timeout <= 0 {
			timeout = m.timeout
		}
		if timeout <= 0 {
			timeout = DefaultShutdownTimeout
		}
		deadline = m.now.Add(timeout)
	}
	if bug == 5 {
		deadline = never
	}
	m.down = shutdown{on: true, code: e.Code, cause: e.Cause, action: e.Action, deadline: deadline}
	m.recordShutdown()
	m.out.Notices = append(m.out.Notices, Notice{
		Kind: KindShutdown, Slot: NoSlot, Ref: Ref{Slot: NoSlot},
		Reason: Reason{kind: whyShutdown, name: e.Cause},
	})
	// What waits for something to come up waits in vain; a stop will be done.
	for i := 0; i < len(m.operations); {
		if o := m.operations[i]; o.verb != VerbStop {
			m.fail(o, "nines is shutting down ("+e.Cause+")", "")
		} else {
			i++
		}
	}
	m.endApply("nines is shutting down (" + e.Cause + ")")
	for _, s := range m.slots {
		m.touch(s)
		m.reconsider(s)
	}
	for _, v := range m.services {
		m.markDirty(v)
	}
}

func (m *Machine) recordShutdown() {
	m.record(Record{Kind: RecordShutdown, Value: int64(m.down.code), Deadline: m.down.deadline, Action: m.down.action})
}

// killAll: the time for an orderly end is over.
func (m *Machine) killAll() {
	m.down.killed = true
	for _, s := range m.slots {
		switch s.phase {
		case phaseSpawning, phaseStarting, phaseReady, phaseStopping, phaseFreezing:
			if s.end == endNone {
				s.end, s.endWhy = endStop, Reason{kind: whyShutdown, name: m.down.cause}
			}
			m.kill(s)
		case phaseDown, phaseBackoff, phaseCompleted, phaseFailed,
			phaseKilling, phaseClearing, phaseStuck:
			// Nothing lives, or it was killed before.
		}
	}
}

// finishShutdown: nothing lives but what is stuck. Whoever still waits is
// answered, and the supervisor may end.
func (m *Machine) finishShutdown() {
	for len(m.operations) > 0 {
		m.fail(m.operations[0], "nines has shut down", "")
	}
	for _, f := range m.quarantine { // they outlive SIGKILL
		for _, r := range f.requests {
			m.then(Action{Kind: ActDone, Request: r, Failed: true, Message: "cannot end " + f.id() + ": nines has shut down"})
		}
		f.requests = nil
	}
	message := "everything has stopped"
	for _, s := range m.slots {
		if s.outlives() {
			message = "everything has stopped but " + s.name + ", which outlives SIGKILL"
			break
		}
	}
	for _, r := range m.down.requests {
		m.then(Action{Kind: ActDone, Request: r, Message: message})
	}
	m.then(Action{Kind: ActEnd, Exit: m.down.code})
	m.ended = true
}
