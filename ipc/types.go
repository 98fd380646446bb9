// Package ipc is the control API: its types, its server and its one client.
// HTTP/1.1 with JSON over a unix socket, the caller known by SO_PEERCRED. The
// server asks a Backend (the supervisor, wired by `nines supervise`) and knows
// nothing else of it. Fields may be added, never renamed.
package ipc

import (
	"context"
	"time"
)

// Status is GET /v1/status: `nines status --json`.
type Status struct {
	Supervisor Supervisor `json:"supervisor"`
	Services   []Service  `json:"services"`
}

// Supervisor describes the supervisor itself.
type Supervisor struct {
	Version   string    `json:"version"`
	PID       int       `json:"pid"`
	KeeperPID int       `json:"keeper_pid"`
	StartedAt time.Time `json:"started_at"`
	Restarts  int       `json:"restarts"`
	Cgroups   string    `json:"cgroups"` // full, core, none
	Warnings  []string  `json:"warnings"`
	Checks    []Check   `json:"checks"` // of the machine
}

// Service is one service. States: running, degraded, down, stopped, completed,
// failed, held.
type Service struct {
	Name             string        `json:"name"`
	Type             string        `json:"type"`
	Mode             string        `json:"mode"`
	State            string        `json:"state"`
	Desired          string        `json:"desired"`
	Reason           string        `json:"reason"`
	Revision         int           `json:"revision"`
	InstancesDesired int           `json:"instances_desired"`
	Update           Update        `json:"update"`
	Instances        []Instance    `json:"instances"`
	Quarantine       []Quarantined `json:"quarantine"`
	Availability     Availability  `json:"availability"`
}

// Update is how far a rollout is. States: idle, canary, rolling, reverting.
type Update struct {
	State string `json:"state"`
	From  int    `json:"from"`
	To    int    `json:"to"`
}

// Instance is one instance. States: waiting, starting, ready, unhealthy,
// stopping, backoff, stopped, completed, failed, standby. Times are null when
// they do not apply.
type Instance struct {
	ID          string     `json:"id"`
	Index       int        `json:"index"`
	State       string     `json:"state"`
	Reason      string     `json:"reason"`
	Status      string     `json:"status"` // what it says of itself (STATUS= on its notify socket)
	Role        string     `json:"role"`
	PID         int        `json:"pid"`
	Revision    int        `json:"revision"`
	StartedAt   *time.Time `json:"started_at"`
	ReadyAt     *time.Time `json:"ready_at"`
	Restarts    int        `json:"restarts"`
	LastExit    *LastExit  `json:"last_exit"`
	NextStartAt *time.Time `json:"next_start_at"`
	MemoryBytes uint64     `json:"memory_bytes"`
	CPUSeconds  float64    `json:"cpu_seconds"`
	Checks      []Check    `json:"checks"`
	Cgroup      string     `json:"cgroup"`
}

// LastExit is how the last incarnation ended. Reasons: exited, signaled, oom,
// start_timeout, check_failed, memory, stop.
type LastExit struct {
	Reason string    `json:"reason"`
	Code   int       `json:"code"`
	Signal string    `json:"signal"`
	At     time.Time `json:"at"`
}

// Check is the state of one check of an instance, or of the machine. States:
// passing, failing, unknown.
type Check struct {
	Name   string `json:"name"`
	State  string `json:"state"`
	Output string `json:"output"`
}

// Quarantined is a frozen instance kept for inspection.
type Quarantined struct {
	ID          string    `json:"id"`
	Service     string    `json:"service"`
	Instance    string    `json:"instance"`
	State       string    `json:"state"` // frozen, resumed, ending
	PID         int       `json:"pid"`
	Since       time.Time `json:"since"`
	Reason      string    `json:"reason"`
	MemoryBytes uint64    `json:"memory_bytes"` // when it was frozen
	ExpiresAt   time.Time `json:"expires_at"`
}

// Availability is measured availability over a window.
type Availability struct {
	WindowSeconds int     `json:"window_seconds"`
	Ratio         float64 `json:"ratio"`
	MTTRSeconds   float64 `json:"mttr_seconds"`
	Failures      int     `json:"failures"`
}

// Event is one entry of the event stream (GET /v1/events, NDJSON).
type Event struct {
	Seq      uint64            `json:"seq"`
	Time     time.Time         `json:"time"`
	Kind     string            `json:"kind"`
	Service  string            `json:"service"`
	Instance string            `json:"instance"` // id: "web/0"
	Revision int               `json:"revision"`
	Message  string            `json:"message"`
	Fields   map[string]string `json:"fields"`
}

// EventQuery is which events GET /v1/events gives. The zero value: all that is
// kept.
type EventQuery struct {
	Since   time.Time // not older
	After   uint64    // only numbers above it
	Service string    // those about it, and those about the supervisor
	Follow  bool      // go on with what comes
}

// LogLine is one line of output (GET /v1/logs, NDJSON).
type LogLine struct {
	Time     time.Time `json:"time"`
	Service  string    `json:"service"`
	Instance string    `json:"instance"` // id: "web/0"
	Stream   string    `json:"stream"`   // out, err
	Line     string    `json:"line"`     // without its newline; invalid UTF-8 replaced
	// Partial: the line is not finished; its rest comes as another, with the
	// same time.
	Partial bool `json:"partial,omitempty"`
}

// LogQuery is which lines GET /v1/logs gives. Instances are ids ("web/0"), each
// of which exists; a service stands for all its instances, and with Follow also
// for those that appear later. Neither means all.
type LogQuery struct {
	Instances []string
	Services  []string
	Lines     int // the last so many of each instance; < 0: all that is kept
	Follow    bool
	Since     time.Time
}

// Command is the body of POST /v1/services/NAME/{start,stop,restart,reload,
// scale,signal}.
type Command struct {
	Instance  *int   `json:"instance,omitempty"` // nil: all
	Instances int    `json:"instances,omitempty"`
	Signal    string `json:"signal,omitempty"`
	NoWait    bool   `json:"no_wait,omitempty"`
}

// Result answers a command that was carried out (or, with no_wait, accepted).
type Result struct {
	Message  string   `json:"message"`
	Warnings []string `json:"warnings,omitempty"` // of an apply: what of the specification people should know
}

// ShutdownRequest is the body of POST /v1/shutdown.
type ShutdownRequest struct {
	Action string `json:"action,omitempty"` // "", poweroff, reboot, halt
	NoWait bool   `json:"no_wait,omitempty"`
}

// SpecFile is a file of a specification: its name, for diagnostics, and its text.
// Files travel and not their paths: what the caller has read is what is applied,
// and the supervisor opens nothing that a caller names. Paths in them, of an
// env_file say, mean what they mean to the supervisor.
type SpecFile struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// PlanRequest is the body of POST /v1/plan.
type PlanRequest struct {
	Files []SpecFile `json:"files"`
}

// Plan says what applying a specification would do, in the order of its services,
// then what is removed.
type Plan struct {
	Services []PlanService `json:"services"`
	// InEffect are other blocks that change and count at once; AfterRestart count
	// from the next start of nines-init on.
	InEffect     []string `json:"in_effect"`
	AfterRestart []string `json:"after_restart"`
	Warnings     []string `json:"warnings"`
}

// PlanService is what happens to one service.
type PlanService struct {
	Name        string   `json:"name"`
	Action      string   `json:"action"` // start, stop, restart, in_place, nothing
	Why         []string `json:"why"`    // names of attributes, or words
	From        int      `json:"from"`   // instances
	To          int      `json:"to"`
	Destructive bool     `json:"destructive"`
	// RevertsTo is the revision that a revert would bring back; 0: what it brings is not
	// reverted.
	RevertsTo int `json:"reverts_to,omitempty"`
	// DataOf is the revision whose data are put back, what is there being moved aside; 0:
	// none are.
	DataOf int `json:"data_of,omitempty"`
}

// ApplyRequest is the body of POST /v1/apply.
type ApplyRequest struct {
	Files []SpecFile `json:"files"`
	// ConfirmSeconds > 0: undone so long after the answer, unless confirmed.
	ConfirmSeconds float64 `json:"confirm_seconds,omitempty"`
	NoWait         bool    `json:"no_wait,omitempty"`
}

// Code is the kind of an Error; the list is closed.
type Code string

// The codes, with the HTTP status and the CLI's exit code of each.
const (
	CodeNoSuchService  Code = "no_such_service"  // 404, 5
	CodeNoSuchInstance Code = "no_such_instance" // 404, 5
	CodeNotFound       Code = "not_found"        // 404, 1: no such path
	CodeBadRequest     Code = "bad_request"      // 400, 2
	CodeTooLarge       Code = "too_large"        // 413, 2
	CodeMethod         Code = "bad_method"       // 405, 2
	CodeForbidden      Code = "forbidden"        // 403, 4
	CodeConflict       Code = "conflict"         // 409, 1: not in this state
	CodeFailed         Code = "failed"           // 422, 1: it was tried and did not work
	CodeBusy           Code = "busy"             // 503, 1: too many requests at once
	CodeInternal       Code = "internal"         // 500, 1
)

// Error is a refusal or failure that a program may act on.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint"`
	Detail  string `json:"detail,omitempty"` // what people want to read of it, in lines: diagnostics
}

func (e *Error) Error() string { return e.Message }

// Incident is a crash loop of an instance, from when it was declared until it is
// over.
type Incident struct {
	Service  string     `json:"service"`
	Instance string     `json:"instance"`
	Cause    string     `json:"cause"` // in words
	Start    time.Time  `json:"start"`
	End      *time.Time `json:"end"`    // null: it is not over
	Ending   string     `json:"ending"` // what ended it, in words
}

// Caller is who asks, as the kernel says (SO_PEERCRED).
type Caller struct {
	PID      int
	UID, GID uint32
}

// Backend is what the server asks. Its methods may block until done or until
// ctx ends; they are called from many goroutines. Errors are *Error where the
// caller can act on them.
type Backend interface {
	Status(ctx context.Context) (*Status, error)
	// Do carries out verb (start, stop, restart, reload, scale, signal).
	Do(ctx context.Context, by Caller, service, verb string, c Command) (Result, error)
	// Events calls fn for what is kept and asked for, and if q follows, for what
	// comes, until ctx ends or fn fails. A slow fn may lose events, and is told
	// so by one with the number 0; it never holds anything up.
	Events(ctx context.Context, q EventQuery, fn func(Event) error) error
	// Incidents returns those of a service, the oldest first.
	Incidents(ctx context.Context, service string) ([]Incident, error)
	Logs(ctx context.Context, q LogQuery, fn func(LogLine) error) error
	Shutdown(ctx context.Context, by Caller, r ShutdownRequest) (Result, error)
	Quarantiner
	Reviser
	// Upgrade returns when the new program is being tried.
	Upgrade(ctx context.Context, r UpgradeRequest) (Upgrade, error)
	UpgradeState(ctx context.Context, wait bool) (Upgrade, error)
	Plan(ctx context.Context, r PlanRequest) (*Plan, error)
	// Apply carries out and waits, unless r says not to. A specification with errors
	// changes nothing: CodeFailed with a Detail.
	Apply(ctx context.Context, by Caller, r ApplyRequest) (Result, error)
	Confirm(ctx context.Context, by Caller) (Result, error)
}
