package policy

import (
	"time"

	"nines/spec"
)

// Config is what does not come from the specification.
type Config struct {
	// Seed of the generator that jitters backoff. The same seed and the same
	// events give the same bytes.
	Seed uint64
	// KillPatience is how long after a Kill the slot may take to be empty
	// before it counts as stuck. 0: DefaultKillPatience.
	KillPatience time.Duration
	// Settle is how long an instance without a ready block must stay up before
	// a command that waits for it is done. 0: DefaultSettle; negative: none.
	Settle time.Duration
	// ShutdownTimeout overrides the specification's, when not 0.
	ShutdownTimeout time.Duration
}

// The defaults of Config.
const (
	DefaultKillPatience    = 10 * time.Second
	DefaultSettle          = time.Second
	DefaultShutdownTimeout = 60 * time.Second
)

// Machine is the whole state. See the package comment.
type Machine struct {
	out Output
}

// New makes a machine that waits for its first SpecChanged.
func New(cfg Config) *Machine { return &Machine{} }

// Step takes one event. What it returns is valid until the next Step.
func (m *Machine) Step(now Time, ev Event) *Output { return &m.out }

// Deadline is when Tick is due; false: nothing is due.
func (m *Machine) Deadline() (Time, bool) { return 0, false }

// Snapshot is the whole state now; it shares nothing with the machine.
func (m *Machine) Snapshot() Snapshot { return Snapshot{} }

// Slot says which instance of which service a slot is; nil for a slot that
// was never given.
func (m *Machine) Slot(id Slot) (service *spec.Service, index int) { return nil, -1 }

// ID is the instance id of a slot ("web/0"); "" for a slot that was never given.
func (m *Machine) ID(id Slot) string { return "" }
