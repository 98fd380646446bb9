package policy

import (
	"cmp"
	"strconv"
	"time"
)

// Reason is why something is so or was done. It is small, comparable, and made
// without allocating; its words are made by String when somebody reads them.
type Reason struct {
	kind  reasonKind
	how   reasonKind // where kind is about an end: how that was
	code  int32
	count int32
	delay time.Duration
	over  bool // a crash loop: given up
	bytes uint64
	name  string // a service, an instance, a signal, a person, a cause
	text  string
}

// reasonKind is what a Reason says.
type reasonKind uint8

const (
	whyNothing reasonKind = iota
	// How an incarnation ended.
	whyExited       // code
	whySignaled     // name; count 1: dumped core
	whyOOM          // name: the signal
	whyStartTimeout // delay; text: what its ready check said last
	whyExecFailed   // text
	whyUnknown      // -
	whyTimedOut     // delay, text, how: the exit notice of a start that timed out
	whyEnded        // how: the exit notice of one that we stopped
	// What follows from it.
	whyBackoff    // how, delay, count
	whySpawnAgain // text, delay
	whyCrashLoop  // how, count, delay: the window
	whyNoStart    // how, count
	whyFatal      // how
	whyHeld       // how, delay
	whyNever      // how
	whyUntold     // how
	whyCompleted  // code
	whyStuck      // delay
	whyUnanswered // -
	// What happens.
	whyNotReady // text: what its ready check said last
	whyStarting // count: automatic restarts before
	whyReady    // delay: since it was started
	whyRestart  // name: who asked
	whyShutdown // name: the cause
	whySpecApplied
	whyUpdate     // count, code: from which revision to which
	whyUpdated    // code: the revision
	whyCanary     // count: instances; code: the revision
	whySucceed    // count, code: as of whyUpdate
	whyReplaced   // count, code
	whyOverdue    // delay; name: the instance
	whyCondemned  // name: the instance; text: why
	whyReverted   // count: the bad one; code: the one that comes back; text: why; over: its data stay
	whyRolledBack // name: who asked; count, code; over
	whyRemoved    // -
	// Why it is down, or goes down.
	whyStopped  // name: who asked
	whyDisabled // -
	whyGone     // count: what it was scaled to
	whyNeeds    // name: the need; text: the need through which; count: its needState
	whyAfter    // name
	whyClearing // how
	whyNotSoon  // about to be started
	whyScaled0
	whyGroup      // name: the group; text: the instance that ended
	whyGroupStops // name: the group
	whyGroupOrder // name: the member that comes before; text: the group; count: its needState
	// Automatic acts.
	whyAge      // delay: for how long it has run
	whySchedule // text
	whyJudged   // text
	whyActed    // how, text: the exit notice of one that was judged
	whyPasses   // name: the check, or ""
	whyExcused  // name: the check; code: the Excuse; text: how it failed
	// Why a crash loop is over.
	whyLasted   // delay: it has been ready for so long
	whyAfresh   // -
	whyUnwanted // -
	// What an act (how, delay, text) waits for.
	whyActBudget   // count: ready; code: at least
	whyActTurn     // name: the instance that is being replaced
	whyActFaltered // name: the instance whose replacement is not up
	whyActNeeds    // name: what it would wait for
	whyActLine     // name: the instance whose act comes first
	// Quarantine.
	whyFrozen      // name: its id; text: why it was judged
	whyNoFreeze    // name: why it cannot be frozen; text: why it was judged
	whyReleased    // name: its id; text: why, how: the kind of that
	whyTooMany     // count: keep
	whyTooOld      // delay
	whyTooBig      // bytes
	whyWasEnding   // -
	whyInmateStuck // name: its id; delay
	whyLeaving     // -
	// Data; count: the revision that they are of; code: the one that is wanted.
	whyCanaryAlone // code alone
	whyDataKeeps   // -
	whyDataReturns // -
	whyDataKept    // text
	whyDataBack    // text
	whyNotKept     // text; count: the one that was not tried; code: the one that comes back
	whyNotBack     // name: the service; text; over: it has begun
	whyKeepFails   // name, text
	numReasons
)

// because adds to r how the incarnation ended that led to it.
func because(r, how Reason) Reason {
	r.how, r.code, r.name = how.kind, how.code, how.name
	r.text = how.text
	return r
}

// String says it in plain words; "" for the zero Reason.
func (r Reason) String() string {
	switch r.kind {
	case whyNothing:
		return ""
	case whyExited, whySignaled, whyOOM, whyStartTimeout, whyExecFailed, whyUnknown:
		return r.end(r.kind)
	case whyTimedOut:
		return "not ready within " + words(r.delay) + lastly(r.text) + ", so it was stopped: " + r.end(r.how)
	case whyEnded:
		return "stopped: " + r.end(r.how)
	case whyBackoff:
		if r.delay == 0 {
			return r.end(r.how) + "; started again at once (retry " + itoa(r.count) + ")"
		}
		return r.end(r.how) + "; started again after " + words(r.delay) + " (retry " + itoa(r.count) + ")"
	case whySpawnAgain:
		return r.text + "; this passes, tried again after " + words(r.delay)
	case whyCrashLoop:
		return r.giveUp(plural(r.count, "end") + " within " + words(r.delay) + ", the last: " + r.end(r.how))
	case whyNoStart:
		return r.giveUp(plural(r.count, "failed start") + " in a row, the last: " + r.end(r.how))
	case whyFatal:
		return r.giveUp(r.end(r.how) + ", which by fatal_codes no retry can mend")
	case whyHeld:
		return "held after a crash loop, tried again every " + words(r.delay) + "; the last: " + r.end(r.how)
	case whyNever:
		return r.end(r.how) + "; restart policy is never"
	case whyUntold:
		return r.end(r.how) + "; it may have completed, and a task is not run twice by itself"
	case whyCompleted:
		return "completed: exited with code " + itoa(r.code)
	case whyStuck:
		return "something of it still lives " + words(r.delay) + " after SIGKILL; the instance is not started until that has ended"
	case whyUnanswered:
		return "its start has not been answered, so something of it may live; the instance is not started until that is known"
	case whyNotReady:
		return "not ready yet: " + r.text
	case whyStarting:
		if r.count > 0 {
			return "started again (automatic restart " + itoa(r.count) + ")"
		}
		return "started"
	case whyReady:
		return "ready after " + words(r.delay)
	case whyRestart:
		if r.name == "" {
			return "restart asked for"
		}
		return "restart asked for by " + r.name
	case whyShutdown:
		return "shutting down: " + r.name
	case whySpecApplied:
		return "specification applied" + by(r.name) + ": " + plural(r.count, "service")
	case whyUpdate:
		return "revision " + itoa(r.code) + " replaces " + itoa(r.count)
	case whyUpdated:
		return "all of it runs revision " + itoa(r.code)
	case whyCanary:
		return plural(r.count, "instance") + " of revision " + itoa(r.code) + " stayed healthy: the others follow"
	case whySucceed:
		return "revision " + itoa(r.code) + " replaces " + itoa(r.count) + ", and is started beside it"
	case whyReplaced:
		return "its successor has taken its place"
	case whyOverdue:
		return "no further instance was healthy within " + words(r.delay) + " (update.deadline); the last to come up was " + r.name
	case whyCondemned:
		return r.name + ": " + r.text
	case whyReverted:
		return "revision " + itoa(r.count) + " is bad and was reverted, " + itoa(r.code) + " is back: " + r.text + r.dataStays()
	case whyRolledBack:
		return "rolled back" + by(r.name) + ": revision " + itoa(r.code) + " replaces " + itoa(r.count) + r.dataStays()
	case whyRemoved:
		if r.name != "" {
			return "no longer in the specification; it goes on while " + r.name + " runs as an earlier revision, which needs it"
		}
		return "no longer in the specification"
	case whyStopped:
		if r.name == "" {
			return "stopped by a person"
		}
		return "stopped by " + r.name
	case whyDisabled:
		return "disabled: enabled = false in its specification"
	case whyGone:
		return "scaled to " + plural(r.count, "instance")
	case whyNeeds:
		through := ""
		if r.text != "" {
			through = r.text + ", which needs "
		}
		return "needs " + through + r.name + ", which " + needState(r.count).String()
	case whyAfter:
		return "starts after " + r.name + ", which is still on its way up"
	case whyClearing:
		return r.end(r.how) + "; what it left behind is being killed"
	case whyNotSoon:
		return "about to be started"
	case whyScaled0:
		return "scaled to 0 instances"
	case whyGroup:
		if r.text == "" {
			return "restarted with its group " + r.name
		}
		return "restarted with its group " + r.name + ", since " + r.text + " ended"
	case whyGroupStops:
		return "its group " + r.name + " is being stopped, to be started again in order"
	case whyGroupOrder:
		return "its group " + r.text + " is started again in order, and " + r.name + ", which comes before it, " + needState(r.count).String()
	case whyAge, whySchedule, whyJudged:
		return r.act(r.kind)
	case whyActed:
		return cmp.Or(r.text, unsaid) + ", so it was stopped: " + r.end(r.how)
	case whyLasted:
		return "ready for " + words(r.delay) + ": its crash loop is over"
	case whyAfresh:
		return "its failures are forgotten, since a person or another revision has it tried afresh"
	case whyUnwanted:
		return "its crash loop is over, since it is not wanted any more"
	case whyPasses:
		if r.name != "" {
			return "check " + strconv.Quote(r.name) + " passes again"
		}
		return "its check passes again"
	case whyExcused:
		return "check " + strconv.Quote(r.name) + " failed, which is not counted, since " + Excuse(r.code).String() + lastly(r.text)
	case whyActBudget:
		return r.act(r.how) + " waits: " + ready(r.count) + ", and at least " + itoa(r.code) + " must stay so (available_at_least)"
	case whyActTurn:
		return r.act(r.how) + " waits: " + r.name + " is being replaced"
	case whyActFaltered:
		return r.act(r.how) + " waits: " + r.name + " was replaced, and has not come up since"
	case whyActNeeds:
		return r.act(r.how) + " waits: it would not come up again before " + cmp.Or(r.name, "what it needs") + " has"
	case whyActLine:
		return r.act(r.how) + " waits: " + r.name + " comes first"
	case whyFrozen:
		return cmp.Or(r.text, unsaid) + ", so it was frozen as " + r.name + ": nines quarantine inspect " + r.name
	case whyNoFreeze:
		return cmp.Or(r.text, unsaid) + "; it cannot be frozen (" + r.name + "), so it is restarted without being kept"
	case whyReleased:
		return r.name + " is no longer in quarantine: " + cmp.Or(r.text, "it was ended")
	case whyTooMany:
		return "killed: no more than " + itoa(r.count) + " are kept (isolate.keep), and this was the oldest"
	case whyTooOld:
		return "killed after " + words(r.delay) + " (isolate.ttl)"
	case whyTooBig:
		return "killed: frozen instances held " + strconv.FormatUint(r.bytes>>20, 10) + " MiB (isolate.memory_max_total), and this was the oldest"
	case whyWasEnding:
		return "killed: an earlier supervisor had begun to end it"
	case whyLeaving:
		return "it said itself that it is stopping"
	case whyCanaryAlone:
		return "waits until the canary of revision " + itoa(r.code) + " has been healthy for update.min_healthy: two revisions must not run on the same data"
	case whyDataKeeps, whyDataReturns, whyDataKept, whyDataBack, whyNotKept, whyNotBack, whyKeepFails:
		return r.dataWords()
	case whyInmateStuck:
		return r.name + ": something of it still lives " + words(r.delay) + " after SIGKILL"
	}
	return "unknown reason"
}

func (r Reason) giveUp(s string) string {
	if r.over {
		return s + "; given up"
	}
	return s
}

// unsaid is why an instance was judged where nobody knows any more.
const unsaid = "it was judged unfit"

// act words an automatic act.
func (r Reason) act(k reasonKind) string {
	switch k {
	case whyAge:
		return "recycle (it runs for " + words(r.delay) + ")"
	case whySchedule:
		return "recycle (schedule " + strconv.Quote(r.text) + ")"
	case whyUpdate:
		return "the update"
	}
	if r.kind == whyJudged {
		return cmp.Or(r.text, unsaid)
	}
	return "restart (" + cmp.Or(r.text, unsaid) + ")"
}

func ready(n int32) string {
	if n == 1 {
		return "1 instance is ready"
	}
	return itoa(n) + " instances are ready"
}

// lastly adds what a check said.
func lastly(text string) string {
	if text == "" {
		return ""
	}
	return " (" + text + ")"
}

// end words how an incarnation ended.
func (r Reason) end(k reasonKind) string {
	switch k {
	case whyJudged:
		return cmp.Or(r.text, unsaid)
	case whySignaled:
		if r.count > 0 && r.kind == whySignaled {
			return "killed by " + r.name + " (dumped core)"
		}
		return "killed by " + r.name
	case whyOOM:
		return "killed by the kernel: out of memory"
	case whyStartTimeout:
		if r.kind == whyStartTimeout {
			return "not ready within " + words(r.delay) + lastly(r.text)
		}
		return "not ready in time"
	case whyExecFailed:
		return r.text
	case whyUnknown:
		return "ended while no supervisor watched; its exit status is not known"
	}
	return "exited with code " + itoa(r.code)
}
