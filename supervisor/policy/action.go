package policy

import "time"

// ActionKind says what an Action asks for.
type ActionKind uint8

// The actions.
const (
	// ActSpawn starts Ref with Revision. Answer: Spawned or SpawnFailed, once;
	// after Spawned, Exited once. In Output.Then only.
	ActSpawn ActionKind = iota + 1
	// ActSignal sends Signal, then SIGCONT if Cont, to the main process of Ref.
	// No answer; if the process has ended there is nothing to do.
	ActSignal
	// ActKill kills all that Ref started, the main process included. Answer:
	// Exited (if the main process lived) and, once nothing lives, Emptied,
	// unless that Exited said Empty. It may be asked for again: every
	// KillPatience while it is not answered, and after a Spawned that came later
	// than it. Each asking may be answered.
	ActKill
	// ActHook runs a command of the service (HookStop, HookReload) beside Ref,
	// for at most Timeout. Answer: HookDone with Token, once.
	ActHook
	// ActAccepted answers Request: it was understood and is being carried out.
	// It and ActDone are in Output.Then: nobody is told of what a crash could
	// still undo.
	ActAccepted
	// ActDone answers Request finally: Failed and Message say how it went.
	ActDone
	// ActRefused answers Request finally: nothing was changed. Code, Message,
	// Hint say why and what to do.
	ActRefused
	// ActEnd: everything has stopped (or is stuck); the supervisor ends with
	// exit status Exit. It is the last action, in Output.Then; after it the
	// machine does nothing but refuse commands.
	ActEnd
	// ActFreeze has all processes of Ref stand still. In Output.Then only. Answer: Frozen or
	// FreezeFailed, once, or Exited. It may be asked for again by a successor; one
	// that stands still already is Frozen.
	ActFreeze
	// ActThaw lets what is frozen go on. Answer: Thawed.
	ActThaw
	// ActCheck begins the checks of Ref, all that the spec of its service has; or
	// with Ready its ready check alone. Answer: CheckResult with Token, one for each
	// attempt, until ActCheckEnd; another ActCheck takes the place of this one.
	ActCheck
	// ActCheckEnd ends the checks of Ref: what is in flight is given up, and
	// nothing is attempted any more.
	ActCheckEnd
	// ActSnapshot keeps the data of Service as those of Revision: its before_update
	// command, then a copy of its paths, each for at most Timeout. Nothing of the
	// service lives. In Output.Then only. Answer: DataDone with Token.
	ActSnapshot
	// ActRestore puts the data of Service back to those of Revision: from Snapshot,
	// unless that is "", what is there being moved aside under Label; then its
	// on_revert command, for at most Timeout. Asked for again with the same Label, by a
	// successor too, it goes on with what has begun. Nothing of the service lives. In
	// Output.Then only. Answer: DataDone with Token.
	ActRestore
)

// Hook names a command of a service that runs beside an instance.
type Hook uint8

// The hooks.
const (
	HookStop Hook = iota + 1
	HookReload
)

// Refusal is why a command was refused; the API and the CLI's exit codes
// follow it.
type Refusal string

// The refusals.
const (
	NoSuchService  Refusal = "no_such_service"
	NoSuchInstance Refusal = "no_such_instance"
	BadRequest     Refusal = "bad_request"
	Conflict       Refusal = "conflict" // not in this state: shutting down, not running, no reload block
)

// Action is one thing to carry out. Which fields mean something depends on
// Kind; it is a flat value so that a step allocates nothing for it.
type Action struct {
	Kind     ActionKind
	Ref      Ref
	Revision int

	Signal string
	Cont   bool

	Hook    Hook
	Ready   bool // ActCheck
	Token   uint64
	Timeout time.Duration

	Service  string // ActSnapshot, ActRestore; and these
	Snapshot string
	Label    string

	Request Request
	Code    Refusal
	Failed  bool
	Message string
	Hint    string

	Exit int
}

// RecordKind says what a Record keeps.
type RecordKind uint8

// The records.
const (
	// RecordSlot: the slot ID has changed in a way worth remembering: Value 1, and
	// Append gives its memory; or it is no more: Value 0. At most one for each
	// slot in a step, after what people said in it. Where Then has a Spawn, it is
	// the intent: a phase of spawning, with the new incarnation.
	RecordSlot         RecordKind = iota + 1
	RecordIncarnations            // ID (service): its instances that are no more have used the numbers up to Value
	RecordStopped                 // ID (service or instance) is stopped by a person: Value 1, or no more: 0
	RecordScale                   // ID (service) was scaled to Value; -1: what the spec says counts again
	RecordStarted                 // ID (service), which the spec disables, was started by a person: Value 1, or no more: 0
	RecordShutdown                // a shutdown is in progress: exit status Value, ends by Deadline, Action for the machine
	RecordInmate                  // ID ("web/0.17") is in quarantine: Value 1, and Append gives its memory; or no more: 0
	RecordRevision                // ID (service) is at revision Value, Append gives RevisionMemory's text; 0: it is no more, and nothing of it lives
	RecordApplied                 // the specification that Value numbers is the one that runs
	RecordGroup                   // ID (group) is being restarted: Value says where that is, or no more: 0
)

// Record is something that must be known after the supervisor's death.
type Record struct {
	Kind     RecordKind
	Ref      Ref
	ID       string
	Value    int64
	Deadline Time

	slot   *slot
	inmate *inmate
	text   string
	Action string // RecordShutdown: as Shutdown has it
}

// Output is what one Step asks for.
type Output struct {
	Now     []Action // to be carried out at once, before Records are durable
	Records []Record // to be made durable
	Then    []Action // may leave when Records are durable
	Notices []Notice // what happened, for people and programs: the event stream
}

// Notice is one entry of the event stream. Its words are made when somebody
// reads it (Reason.String), not on the hot path.
type Notice struct {
	Kind     Kind
	Service  string
	Slot     Slot // NoSlot: about the service or the supervisor
	Ref      Ref
	Revision int // that the instance was last started with; 0: it is about none
	PID      int
	Reason   Reason
}

// Kind is the kind of an event, as in the API.
type Kind string

// The kinds that policy emits now.
const (
	KindSpecApplied     Kind = "spec_applied"
	KindSpecRejected    Kind = "spec_rejected"
	KindStarting        Kind = "starting"
	KindReady           Kind = "ready"
	KindExited          Kind = "exited"
	KindOOMKilled       Kind = "oom_killed"
	KindRestarting      Kind = "restarting"
	KindBackoff         Kind = "backoff"
	KindCrashLoop       Kind = "crash_loop"
	KindHeld            Kind = "held"
	KindRecovered       Kind = "recovered" // of an instance: what its crash loop had led to is over
	KindStuck           Kind = "stuck"
	KindShutdown        Kind = "shutdown"
	KindUpdateStarted   Kind = "update_started"
	KindCanaryPassed    Kind = "canary_passed"
	KindUpdateDone      Kind = "update_done"
	KindRollback        Kind = "rollback"
	KindDataSnapshot    Kind = "data_snapshot"
	KindDataRestored    Kind = "data_restored"
	KindDataFailed      Kind = "data_failed" // they could not be kept, or put back
	KindBudgetWait      Kind = "budget_wait"
	KindCheckFailed     Kind = "check_failed"
	KindCheckPassed     Kind = "check_recovered"
	KindCheckExcused    Kind = "check_excused" // it failed, and that is not counted
	KindMemoryHigh      Kind = "memory_high"
	KindLeak            Kind = "leak_suspected"
	KindQuarantined     Kind = "quarantined"
	KindQuarantineEnded Kind = "quarantine_ended"
)
