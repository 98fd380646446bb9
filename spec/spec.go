// Package spec holds what a nines specification says, as plain values: no
// HCL, no I/O, no clock. Package spec/load makes a *Spec from files; everything
// else (policy, the supervisor, the API) reads it and never writes it. A *Spec
// that load returned without errors is valid: names are unique, references
// resolve, there are no cycles, and every default of the language has been
// filled in, so that a reader never asks "was it set?" except where a pointer
// or an empty Expr says that the block is absent.
package spec

import "time"

// Spec is one whole specification.
type Spec struct {
	Supervisor Supervisor
	Checks     []NodeCheck
	Alerts     []Alert
	Groups     []Group
	Services   []*Service // in order of definition: files by name, then line
}

// Service returns the service of that name, or nil.
func (s *Spec) Service(name string) *Service {
	for _, v := range s.Services {
		if v.Name == name {
			return v
		}
	}
	return nil
}

// Expr is an expression whose value may differ from instance to instance:
// HCL expression source in canonical form, in which local.* has been replaced
// by its value and host.*, env.*, instance.*, port.*, release.* are still
// symbolic. As text it is comparable and can be digested, so that another
// machine or boot is not another revision. The empty Expr means "not given".
// load evaluates it (load.String, load.Strings, load.Map).
type Expr string

// Size is a number of bytes, or a share of the machine's (or the container's)
// limit. The zero Size means "not given".
type Size struct {
	Bytes   uint64  // when Percent is 0
	Percent float64 // 0 < Percent <= 100
}

// Rate is so much (bytes, lines, a count) in so much time. The zero Rate means
// "not given".
type Rate struct {
	Count uint64
	Per   time.Duration
}

// Supervisor is the supervisor block.
type Supervisor struct {
	StateDir        string // "" = the default of the user who runs it
	LogDir          string // "" = the default of the user who runs it
	ShutdownTimeout time.Duration
	Watchdog        string
	Metrics         string
	Web             string
	Control         Control
}

// Control says who may use the control socket besides root and the
// supervisor's own user.
type Control struct {
	Group string
	Mode  uint32 // permission bits of the socket
}

// OnFailure is what a failed check causes.
type OnFailure string

// The acts that a check may cause. Node checks may only alert.
const (
	OnFailureRestart OnFailure = "restart"
	OnFailureIsolate OnFailure = "isolate"
	OnFailureAlert   OnFailure = "alert"
	OnFailureDump    OnFailure = "dump"
)

// NodeCheck is a top-level check block, about the machine. Exactly one kind is
// not nil.
type NodeCheck struct {
	Name      string
	Timing    Timing
	OnFailure OnFailure
	Disk      *NodeDisk
	Clock     *NodeClock
	Pressure  *NodePressure
	TCP       *CheckTCP
}

// NodeDisk fails when a filesystem is fuller than it should be.
type NodeDisk struct {
	Path     string
	Free     float64 // percent
	Inodes   float64 // percent
	Writable bool
}

// NodeClock fails when the wall clock steps by more than Step.
type NodeClock struct{ Step time.Duration }

// NodePressure fails when PSI "some" avg10 of a resource is above a percentage.
type NodePressure struct {
	Of    string // cpu, memory, io
	Above float64
}

// Alert runs a command or posts to a webhook when an event of a kind occurs.
type Alert struct {
	Name    string
	On      []string // event kinds
	Command []string
	Webhook string
}

// Strategy is how a group reacts to the death of a member (Erlang/OTP).
type Strategy string

// The three OTP strategies.
const (
	OneForOne  Strategy = "one_for_one"
	OneForAll  Strategy = "one_for_all"
	RestForOne Strategy = "rest_for_one"
)

// Group ties services together.
type Group struct {
	Name     string
	Members  []string
	Strategy Strategy
}

// Pos is a place in a file, for diagnostics that are made after loading.
type Pos struct {
	File         string
	Line, Column int
}
