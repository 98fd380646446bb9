package policy

import (
	"slices"
	"strconv"
	"strings"

	"nines/spec"
)

// operation is a command that is being carried out.
//
// A newer one on the same instances supersedes an older one that waits for the
// contrary (start against stop), which is then answered as failed. A restart
// while another is in progress follows it, and further ones join the one that
// waits: each restart begins after it was asked for, and there are never two
// at once.
type operation struct {
	requests []Request
	verb     Verb
	svc      *service
	index    int // -1: all
	by       string
	seq      uint64 // a start with this number or a later one came after the command

	begun   bool // VerbRestart: it does not wait for another any more
	cursor  int  // VerbRestart: the instance that is being restarted
	pending int  // VerbScale: new instances that are not settled yet; VerbReload: hooks
	failed  string
}

// String is the verb as on the command line.
func (v Verb) String() string {
	switch v {
	case VerbStart:
		return "start"
	case VerbStop:
		return "stop"
	case VerbRestart:
		return "restart"
	case VerbReload:
		return "reload"
	case VerbScale:
		return "scale"
	case VerbSignal:
		return "signal"
	case VerbDeploy:
		return "deploy"
	case VerbRollback:
		return "roll back"
	}
	return "verb " + strconv.Itoa(int(v))
}

// target is what an operation is about: "web", "web/1".
func (o *operation) target() string { return target(o.svc, o.index) }

func target(v *service, index int) string {
	if index < 0 {
		return v.spec.Name
	}
	return v.spec.Name + "/" + strconv.Itoa(index)
}

// covers says whether o is about instance i.
func (o *operation) covers(i int) bool { return o.index < 0 || o.index == i }

// overlaps says whether o is about any instance that index names.
func (o *operation) overlaps(index int) bool {
	return o.index < 0 || index < 0 || o.index == index
}

// each calls fn for each instance that index names.
func (v *service) each(index int, fn func(*slot)) {
	for i := range v.instances {
		if index < 0 || index == i {
			fn(v.slots[i])
		}
	}
}

// command understands a command, or refuses it and changes nothing.
func (m *Machine) command(c Command) {
	if v := m.byName[c.Service]; m.takes(c, v) {
		m.obey(v, c)
	}
}

// takes says whether a command names something there is; else it is refused.
func (m *Machine) takes(c Command, v *service) bool {
	cannot := "cannot " + c.Verb.String() + " " + c.Service
	switch {
	case m.down.on:
		m.refuse(c.Request, Conflict, cannot+": nines is shutting down ("+m.down.cause+")", "")
	case !m.loaded:
		m.refuse(c.Request, Conflict, cannot+": no specification was loaded yet", "try again")
	case v == nil:
		m.refuse(c.Request, NoSuchService, cannot+": there is no service of that name", "nines status lists them")
	case c.Verb != VerbScale && (c.Instance < -1 || c.Instance >= v.instances):
		hint := c.Service + " has no instances: nines scale " + c.Service + " N"
		if v.instances > 0 {
			hint = "its instances are " + target(v, 0) + " to " + target(v, v.instances-1)
		}
		m.refuse(c.Request, NoSuchInstance, "cannot "+c.Verb.String()+" "+target(v, c.Instance)+": there is no such instance", hint)
	default:
		return true
	}
	return false
}

func (m *Machine) obey(v *service, c Command) {
	switch c.Verb {
	case VerbRollback:
		m.commandRollback(v, c)
	case VerbStart:
		m.commandStart(v, c)
	case VerbStop:
		m.commandStop(v, c)
	case VerbRestart:
		m.commandRestart(v, c)
	case VerbReload:
		m.commandReload(v, c)
	case VerbScale:
		m.commandScale(v, c)
	case VerbSignal:
		m.commandSignal(v, c)
	default:
		m.refuse(c.Request, BadRequest, "cannot "+c.Verb.String()+" "+c.Service+": there is no such verb", "")
	}
}

func (m *Machine) refuse(r Request, code Refusal, message, hint string) {
	m.act(Action{Kind: ActRefused, Request: r, Code: code, Message: message, Hint: hint})
}

// begin takes an operation up: it is accepted, and looked at when all is quiet.
func (m *Machine) begin(v *service, c Command) *operation {
	o := &operation{
		requests: []Request{c.Request}, verb: c.Verb, svc: v, index: c.Instance, by: c.By, seq: m.seq + 1,
	}
	m.then(Action{Kind: ActAccepted, Request: c.Request})
	v.ops = append(v.ops, o)
	m.operations = append(m.operations, o)
	m.countSettled(v)
	m.markOps(v)
	return o
}

// countSettled: which instances have been up for long enough is only kept while
// somebody waits for it; here it begins.
func (m *Machine) countSettled(v *service) {
	v.each(-1, func(s *slot) {
		if s.phase != phaseReady || s.settled || v.spec.Type == spec.TypeTask {
			return
		}
		if up := m.now.Sub(s.readyAt); v.spec.Ready != nil || up >= m.cfg.Settle {
			s.settled = true
			m.touch(s)
		} else {
			m.arm(s, timerSettle, m.cfg.Settle-up)
		}
	})
}

// finish answers an operation and takes it away.
func (m *Machine) finish(o *operation, failed bool, message, hint string) {
	for _, r := range o.requests {
		m.then(Action{Kind: ActDone, Request: r, Failed: failed, Message: message, Hint: hint})
	}
	o.svc.ops = without(o.svc.ops, o)
	m.operations = without(m.operations, o)
	if o.verb == VerbScale {
		for _, s := range o.svc.slots {
			s.scaling = false
		}
	}
	m.markOps(o.svc)
	if o.svc.roll.on() {
		m.markRoll(o.svc) // it had waited for a restart
	}
}

func without(list []*operation, o *operation) []*operation {
	if i := slices.Index(list, o); i >= 0 {
		return slices.Delete(list, i, i+1)
	}
	return list
}

func (m *Machine) done(o *operation, message string) { m.finish(o, false, message, "") }

func (m *Machine) fail(o *operation, why, hint string) {
	m.finish(o, true, "cannot "+o.verb.String()+" "+o.target()+": "+why, hint)
}

// supersede ends the operations on these instances for which is true.
func (m *Machine) supersede(v *service, index int, c Command, is func(*operation) bool) {
	for i := 0; i < len(v.ops); {
		o := v.ops[i]
		if o.overlaps(index) && is(o) {
			m.fail(o, "superseded by "+c.Verb.String()+" "+target(v, index)+by(c.By), "")
		} else {
			i++
		}
	}
}

func by(who string) string {
	if who == "" {
		return ""
	}
	return " (" + who + ")"
}

// rises and falls say what an operation waits for.
func rises(o *operation) bool {
	return o.verb == VerbStart || o.verb == VerbRestart || o.verb == VerbScale && o.pending > 0
}

func falls(o *operation) bool { return o.verb == VerbStop }

// progress looks at the operations of v: which are done, which have failed,
// which go on. It costs a few comparisons for each of them, however many
// instances there are.
func (m *Machine) progress(v *service) {
	if v.awaited != awaitNothing {
		m.progressApply(v)
	}
	for i := 0; i < len(v.ops); {
		o := v.ops[i]
		switch o.verb {
		case VerbStart:
			m.progressStart(o)
		case VerbStop:
			m.progressStop(o)
		case VerbRestart:
			m.progressRestart(o)
		case VerbScale:
			m.progressScale(o)
		case VerbReload:
			m.progressReload(o)
		case VerbDeploy, VerbRollback:
			m.progressDeploy(o)
		case VerbSignal:
			// It is done in the step in which it was asked for.
		}
		if i < len(v.ops) && v.ops[i] == o {
			i++
		}
	}
}

// failOps: an instance ended, or did not start, and nobody had asked for that.
// Whoever waits for it to come up is told, and what comes next.
func (m *Machine) failOps(s *slot, how Reason) {
	if s.svc.awaited == awaitUp && s.revision == s.svc.revision && !s.aside && s.next != phaseCompleted && (!s.svc.revertible() || s.next == phaseFailed) {
		m.awaitedFailed(s.svc, s.name+": "+how.String()+nextWords(s, m.now))
	}
	for i := 0; i < len(s.svc.ops); {
		o := s.svc.ops[i]
		waits := false
		switch o.verb {
		case VerbStart:
			waits = o.covers(s.index)
		case VerbRestart:
			waits = o.begun && o.covers(s.index) && s.seq >= o.seq
		case VerbScale:
			waits = s.scaling
		case VerbStop, VerbReload, VerbSignal, VerbDeploy, VerbRollback:
			// They do not wait for it to come up.
		}
		if waits && s.next != phaseCompleted {
			m.fail(o, s.name+": "+how.String()+nextWords(s, m.now), "nines logs "+s.name)
		} else if waits && s.svc.spec.Type != spec.TypeTask {
			m.fail(o, s.name+": "+s.why.String(), "nines logs "+s.name)
		} else {
			i++
		}
	}
}

// nextWords says what comes after an end.
func nextWords(s *slot, now Time) string {
	switch {
	case s.next == phaseFailed:
		return "; it is not started again"
	case s.next == phaseBackoff && s.nextAt > now:
		held := ""
		if s.held {
			held = ", held after a crash loop,"
		}
		return "; it is" + held + " started again in " + words(s.nextAt.Sub(now))
	case s.next == phaseBackoff:
		return "; it is started again at once"
	}
	return ""
}

// blocked is why the instances of v that wait cannot come up by themselves; ""
// if they can. hint is what would help.
func (m *Machine) blocked(v *service) (why, hint string) {
	if v.data.failed != "" {
		return m.whyData(v).String(), "nines events --since 1h"
	}
	if v.needDead == 0 {
		if v.groupDead {
			first := v.group.members[v.group.at]
			return "its group " + v.group.name + " is started again in order, and " + first.spec.Name + ", which comes before it, " +
				m.needState(first).String(), "nines start " + first.spec.Name
		}
		return "", ""
	}
	// Follow the dead needs down to the one that a person must act on. They have
	// no cycle; the bound is for a spec that was never validated.
	root, state := v, needWaits
	for range m.services {
		if state != needWaits && (state != needStopping || root.stopped) {
			break
		}
		i := slices.IndexFunc(root.needs, func(o *service) bool { return o.level == levelDead })
		if i < 0 {
			break
		}
		root = root.needs[i]
		state = m.needState(root)
	}
	name := root.spec.Name
	why = "it needs " + name + ", which " + state.String()
	if !slices.Contains(v.needs, root) {
		why = "what it needs waits for " + name + ", which " + state.String()
	}
	return why, "nines start " + name
}

// byItself ends the answer to a command for something that stays wanted.
const byItself = "; it starts by itself once that is ready"

// validSignal accepts what looks like the name of a signal; whether there is
// such a signal on this machine, the driver knows.
func validSignal(name string) bool { return len(name) > 3 && strings.HasPrefix(name, "SIG") }
