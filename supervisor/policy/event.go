package policy

import (
	"time"

	"nines/spec"
)

// Time is a moment on CLOCK_MONOTONIC, in nanoseconds since any fixed moment.
type Time int64

// Add returns t+d.
func (t Time) Add(d time.Duration) Time { return t + Time(d) }

// Sub returns t-u.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }

// Slot is the place of one instance (service and index) in the machine. A slot
// is never given to another instance, so it may be used as an index for life.
type Slot int32

// NoSlot is no slot.
const NoSlot Slot = -1

// Ref names one incarnation of one slot. Incarnations of a slot count up from
// 1 and are never used twice, also not by the next supervisor (see Past).
type Ref struct {
	Slot        Slot
	Incarnation uint64
}

// Request is the number the driver gave to a command; replies carry it.
type Request uint64

// Event is what happened. The set is closed.
type Event interface{ event() }

// SpecChanged brings the specification that is to run. It is the first event. A
// later one is an apply: it replaces the one before as a whole, and is answered
// as a Command is. See the package comment.
type SpecChanged struct {
	Spec *spec.Spec // valid; the machine keeps it, nobody writes it any more
	// Digests is, by service, what the processes run with (see spec/diff.Digest):
	// another one is another revision. A service that is missing has the digest "".
	Digests map[string]string
	Number  uint64 // of this specification: RecordApplied says that it is the one
	By      string // who asked
	Request Request
	// Undo: it takes back what nobody has confirmed, so the data go back as well.
	Undo bool
	Past Past // only read where it is the first event
}

// Past is what an earlier supervisor left with the keeper: its records. The zero
// Past is a first start.
type Past struct {
	Slots        map[string]SlotMemory     // by instance id
	Incarnations map[string]uint64         // by service: the last one that instances which are no more have used
	Stopped      map[string]bool           // by service or instance id: stopped by a person
	Started      map[string]bool           // by service: started by a person although the spec says enabled = false
	Scale        map[string]int            // by service: instances set by a person
	Groups       map[string]int64          // by group: where its restart was, a RecordGroup's Value
	Shutdown     *Shutdown                 // one was in progress
	Revisions    map[string]RevisionMemory // by service: where it is not at its first one
	Restores     map[string]Restore        // by service: of its data, found begun
	// Before is what ran before the specification that runs now was applied, if
	// anybody knows: with it, what that removed and still lives is stopped in order.
	Before  *spec.Spec
	Inmates map[string]InmateMemory // by id ("web/0.17"): who is in quarantine
}

// Tick says that time has passed: every deadline up to now is acted on.
type Tick struct{}

// Spawned answers Spawn: the process exists, and its exec succeeded.
type Spawned struct {
	Ref
	PID int
	// Start is whatever tells the next supervisor that this pid is still this
	// process (its start time). The machine only carries it: to SlotMemory and
	// SlotView.
	Start uint64
}

// SpawnFailed answers Spawn: there is no process, and nothing is left of it.
type SpawnFailed struct {
	Ref
	Step  string // "clone", "exec", "directory", "user", … as proc names it
	Cause string // in plain words: "cannot exec /opt/x: no such file (ENOENT)"
	Code  int    // what a shell would exit with: 127 not found, 126 not executable, 1 otherwise
	Again bool   // the machine's fault and passing (EAGAIN, ENOMEM, EMFILE): no failure of the service
}

// Ready says that the incarnation is ready (notification, check, fd). One that
// comes before Spawned counts from Spawned. Readiness that needs nobody to say
// it (no ready block, ready.delay, a task) is policy's own.
// From one that is reloading it says that this is done.
type Ready struct{ Ref }

// Reloading says that the incarnation has begun to read its configuration again,
// and when; it stays ready. Ready ends it.
type Reloading struct {
	Ref
	At Time // as it says itself; not later than now
}

// Leaving says that the incarnation has begun to end, of its own accord or
// because it was told to: it is not ready any more, and has stop.timeout.
type Leaving struct{ Ref }

// MoreTime says that the incarnation is about to start, or to stop, and needs
// longer: the deadline is not before By from now, however it stood. It changes
// nothing of the end of a shutdown. By is bounded by MaxMoreTime.
type MoreTime struct {
	Ref
	By time.Duration
}

// MaxMoreTime bounds what one MoreTime asks for.
const MaxMoreTime = 24 * time.Hour

// MainChanged says that the main process of the incarnation is another one from
// here on: Exited is told of that. It comes after Spawned.
type MainChanged struct {
	Ref
	PID   int
	Start uint64
}

// Exited says that the main process of the incarnation ended and was reaped.
// One that comes before Spawned stands for both.
type Exited struct {
	Ref
	Status Status
	Empty  bool // nothing else that it started lives either: no Emptied will follow
}

// Status is how a process ended.
type Status struct {
	Code   int    // exit code, when Signal is ""
	Signal string // "SIGKILL"
	Core   bool   // dumped core
	OOM    bool   // killed by the kernel's memory killer
	// Unknown: it ended while no supervisor watched, and nobody can say how. It
	// counts as a failure; Code and Signal mean nothing.
	Unknown bool
}

// Emptied answers Kill: nothing that the incarnation started lives. It counts
// only once Spawn was answered: before, there may be a process that is only
// being made. So it must not be said of a Kill that finds a Spawn in flight: if
// it came after Spawned, it would be taken for the end of that process. It may
// come before Exited, which is then waited for, but no longer than KillPatience.
type Emptied struct{ Ref }

// HookDone answers Hook.
type HookDone struct {
	Token uint64
	OK    bool
	Cause string // why not, in plain words
}

// Cause is why an automatic act is asked for.
type Cause uint8

// The causes of automatic acts.
const (
	CauseCheck   Cause = iota + 1 // a check has failed: the instance counts as ready no longer
	CauseOutlier                  // it differs from its siblings
	CauseMemory                   // memory.restart_above
	CauseLeak                     // memory.growth
	CauseRecycle                  // age or schedule: the machine's own, never told
)

// Act asks that something is done about an incarnation that was judged: On says
// what. Whatever takes it down passes the disruption budget (see budget.go) and
// may wait; an act is dropped when the incarnation ends before its turn, and
// Withdraw takes it back. Told again while it waits it changes nothing. A waiting
// act gives way to a stronger one, and is not asked for again when that is
// withdrawn: so whoever judges memory tells an Act again with every sample for
// which it holds; its event is told once, until Withdraw. Isolate is a restart
// where the service cannot isolate (spec.Service.Isolates).
type Act struct {
	Ref
	Cause  Cause
	Reason string // in plain words: `check "alive": no answer within 1s`
	On     spec.OnFailure
}

// Withdraw takes back what was judged, for this cause: the check passes again.
type Withdraw struct {
	Ref
	Cause Cause
}

// CheckResult says how one attempt of a check went. Results of one check come in
// the order of its attempts, of which there is one at a time.
type CheckResult struct {
	Ref
	Token  uint64 // of the ActCheck that began it: of another, it is dropped
	Check  int    // index in the service's checks; 0 where that was Ready
	Failed bool
	Excuse Excuse // of a failure: why it proves nothing, if it does not
	Reason string // of a failure, in one line: "no answer within 1s"
	Output string // … and all there is to show; "": nothing more than Reason
}

// Excuse is why an instance could not have answered, so that a failed attempt
// proves nothing: it is noted and not counted, for at most three times failures
// × interval since the check passed last.
type Excuse uint8

// The excuses.
const (
	ExcuseNone       Excuse = iota
	ExcuseStopped           // it was frozen or stopped by us
	ExcuseThrottled         // by its own cpu.max
	ExcuseSuspended         // the machine was
	ExcuseClock             // the wall clock was set
	ExcuseOverloaded        // the machine is: PSI cpu some avg10
	ExcuseLate              // the attempt itself came late, by more than half its timeout
	ExcuseUnable            // the attempt could not be made at all
	numExcuses
)

func (e Excuse) String() string {
	if e >= numExcuses {
		return "unknown"
	}
	return [...]string{
		"", "it is stopped or frozen by nines", "it is throttled by its own cpu.max", "the machine was suspended", "the clock was set",
		"the machine is overloaded", "the attempt came late", "the attempt could not be made",
	}[e]
}

// ClockChanged says what the wall clock shows now, in the zone that schedules
// are in. It is told once at the beginning, after SpecChanged, and again when
// the clock was set or the machine had been suspended; between two of these it
// runs as Time does. Schedules are kept only after the first.
type ClockChanged struct{ Wall time.Time }

// Verb is what a command does.
type Verb uint8

// The verbs of Command.
const (
	VerbStart Verb = iota + 1
	VerbStop
	VerbRestart
	VerbReload
	VerbScale
	VerbSignal
	VerbDeploy // not of a Command: see Deploy
	VerbRollback
)

// Command is a person's wish. It is answered by Accepted and then, when all of
// it is done, by Done; or by Refused alone.
type Command struct {
	Request   Request
	Verb      Verb
	Service   string
	Instance  int    // -1: all
	Instances int    // VerbScale
	Signal    string // VerbSignal: "SIGUSR1"
	Revision  int    // VerbRollback: to this one; 0: to the newest good one, or the one before
	By        string // who asked, for the reason: "root (uid 0)"
}

// Shutdown ends everything in reverse order. A second one changes nothing, but
// that it may say what becomes of the machine where the first did not, and is
// answered when the first is done.
type Shutdown struct {
	Request Request // 0: nobody waits
	Code    int     // exit status of the keeper
	Cause   string  // "SIGTERM", "nines shutdown", "essential service web …"
	Action  string  // what then becomes of the machine: "poweroff", "reboot", "halt"; "": as its init has it
	// For Past: when whatever is left is killed. 0: ShutdownTimeout from now.
	Deadline Time
}

func (SpecChanged) event()  {}
func (Tick) event()         {}
func (Spawned) event()      {}
func (SpawnFailed) event()  {}
func (Ready) event()        {}
func (Reloading) event()    {}
func (Leaving) event()      {}
func (MoreTime) event()     {}
func (MainChanged) event()  {}
func (Exited) event()       {}
func (Emptied) event()      {}
func (HookDone) event()     {}
func (Act) event()          {}
func (CheckResult) event()  {}
func (Withdraw) event()     {}
func (ClockChanged) event() {}
func (Command) event()      {}
func (Shutdown) event()     {}
