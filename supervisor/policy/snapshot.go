package policy

import "nines/spec"

// ServiceState is the state of a service, as in the API.
type ServiceState string

// The service states.
const (
	ServiceRunning   ServiceState = "running"
	ServiceDegraded  ServiceState = "degraded"
	ServiceDown      ServiceState = "down"
	ServiceStopped   ServiceState = "stopped"
	ServiceCompleted ServiceState = "completed"
	ServiceFailed    ServiceState = "failed"
	ServiceHeld      ServiceState = "held"
)

// InstanceState is the state of an instance, as in the API.
type InstanceState string

// The instance states.
const (
	Waiting   InstanceState = "waiting"
	Starting  InstanceState = "starting"
	IsReady   InstanceState = "ready"
	Unhealthy InstanceState = "unhealthy"
	Stopping  InstanceState = "stopping"
	Backoff   InstanceState = "backoff"
	Stopped   InstanceState = "stopped"
	Completed InstanceState = "completed"
	Failed    InstanceState = "failed"
	Standby   InstanceState = "standby"
)

// ExitReason is why an incarnation ended, as in the API's last_exit.reason.
type ExitReason string

// The exit reasons. An end that we asked for is "stop", whatever its status.
const (
	ExitNone         ExitReason = ""
	ExitExited       ExitReason = "exited"
	ExitSignaled     ExitReason = "signaled"
	ExitOOM          ExitReason = "oom"
	ExitStartTimeout ExitReason = "start_timeout"
	ExitCheckFailed  ExitReason = "check_failed"
	ExitMemory       ExitReason = "memory"
	ExitStop         ExitReason = "stop"
	ExitUnknown      ExitReason = "unknown" // while no supervisor watched
)

// ServiceView is a service as it is now. Reason says why in plain words.
type ServiceView struct {
	Name      string
	State     ServiceState
	Desired   string // running, stopped
	Reason    Reason
	Revision  int
	Instances int // desired
	Slots     []Slot
	Spec      *spec.Service
	Removed   bool // it is no more in the specification, and goes down
	Update    UpdateView
	// Pinned says why it does not run what its specification asks for; "": it does,
	// or is about to.
	Pinned string
}

// UpdateView is how far an update is. Revisions are numbers.
type UpdateView struct {
	State    string // idle, canary, rolling, reverting
	From, To int    // of idle: both the current one
}

// SlotView is an instance as it is now.
type SlotView struct {
	Slot        Slot
	Service     string
	Index       int
	ID          string // "web/0"
	Key         string // of the record of its memory: the ID, or of what is beside it "web/0+"
	State       InstanceState
	Reason      Reason
	Ref         Ref    // of the current or last incarnation
	Revision    int    // that it runs, or ran
	PID         int    // 0: none
	Start       uint64 // of PID, as Spawned gave it
	Restarts    int    // automatic restarts since a person last started it
	StartedAt   Time
	ReadyAt     Time
	NextStartAt Time // Backoff
	LastExit    LastExit
	Checks      []CheckView // of the current or last incarnation; while it is starting, its ready check
}

// CheckState is the state of a check of an instance, as in the API.
type CheckState string

// The check states.
const (
	CheckPending CheckState = "pending" // no attempt has ended yet
	CheckPassing CheckState = "passing" // it has not failed often enough in a row
	CheckFailing CheckState = "failing" // it has, and has not passed often enough since
	CheckWaiting CheckState = "waiting" // a ready check that has not passed yet
)

// CheckView is a check of an instance as it is now.
type CheckView struct {
	Name     string // of a ready check: "ready"
	State    CheckState
	Reason   string // how it failed last, in one line; "": it never did
	Output   string // … and all that was said then; "": no more than Reason
	Failures int    // counted, in a row
	Excuse   Excuse // why the last failure was not counted, if it was the last result
}

// LastExit is how the last incarnation ended.
type LastExit struct {
	Reason ExitReason // "": none ended yet
	Status Status
	At     Time
}

// Snapshot is the whole state at one moment; it shares nothing with the
// machine. Services are in the order of the spec, instances by index.
type Snapshot struct {
	Services   []ServiceView
	Instances  []SlotView // in order of Services, then index
	Shutdown   bool
	Quarantine []InmateView // the oldest first
	// Beside are the incarnations that live beside the one of their instance: a
	// successor that comes up, or a predecessor that goes down.
	Beside []SlotView
}
