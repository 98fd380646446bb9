package policy

import (
	"math"
	"math/rand/v2"
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
	// SpawnPatience is how much longer than start.timeout a Spawn may go
	// unanswered: thousands wait for one another, and start.timeout counts from
	// when the process exists. 0: DefaultSpawnPatience;
	// negative: none.
	SpawnPatience time.Duration
	// Settle is how long an instance without a ready block must stay up before
	// a command that waits for it is done. 0: DefaultSettle; negative: none.
	Settle time.Duration
	// ShutdownTimeout overrides the specification's, when not 0.
	ShutdownTimeout time.Duration
	// Memory of the machine, or of the container, in bytes: what a share in
	// isolate.memory_max_total is of. 0: not known, and then there is no such bound.
	Memory uint64
}

// The defaults of Config.
const (
	DefaultKillPatience    = 10 * time.Second
	DefaultSpawnPatience   = 5 * time.Minute
	DefaultSettle          = time.Second
	DefaultShutdownTimeout = 60 * time.Second
)

// MaxInstances bounds the instances of one service, so that a slip of the
// finger in `nines scale` cannot take the machine down.
const MaxInstances = 10000

// never is a deadline that does not come.
const never Time = math.MaxInt64

// Machine is the whole state. See the package comment.
type Machine struct {
	cfg Config
	rng rand.PCG
	now Time

	loaded     bool
	ended      bool // ActEnd was given: nothing is done any more
	past       Past // what is said of slots that a later scale makes
	unknown    []string
	floors     map[string]uint64 // Past.Incarnations, and of unknown: for services that come back
	timeout    time.Duration     // of a shutdown, as the spec says
	services   []*service
	retired    map[string]*service // removed from the spec, and gone: their slots are used again
	removing   []*service          // services that are no more in the spec and still in services
	applying   *application        // nil: nobody waits for an apply
	undoing    bool                // of SpecChanged, while it is taken
	byName     map[string]*service // only looked up, never ranged over
	slots      []*slot
	block      []slot // where the next slots come from
	due        heap
	occupied   int    // slots in which something lives (stuck ones not, once shutting down)
	seq        uint64 // counts intents: tells whether a start came before a command or after
	tokens     uint64
	operations []*operation // in flight, in order of arrival
	groups     []*group     // of the specification, but for one_for_one
	wall       wall
	down       shutdown

	// Work that is not done yet; see settle.
	dirtyServices queue[*service]
	dirtySlots    queue[*slot]
	dirtyGroups   queue[*group]
	dirtyActs     queue[*service]
	dirtyOps      queue[*service]
	dirtyRolls    queue[*service]

	quarantine []*inmate // the oldest first; see quarantine.go

	dirtyRevisions []*service // see recordRevision

	unsaved []*slot // changed in this step; see save
	out     Output
}

// New makes a machine that waits for its first SpecChanged.
func New(cfg Config) *Machine {
	if cfg.KillPatience <= 0 {
		cfg.KillPatience = DefaultKillPatience
	}
	if cfg.SpawnPatience == 0 {
		cfg.SpawnPatience = DefaultSpawnPatience
	}
	cfg.SpawnPatience = max(cfg.SpawnPatience, 0)
	if cfg.Settle == 0 {
		cfg.Settle = DefaultSettle
	}
	return &Machine{
		cfg:    cfg,
		rng:    *rand.NewPCG(cfg.Seed, 0x6e696e6573),
		byName: map[string]*service{}, retired: map[string]*service{},
	}
}

// Step takes one event. What it returns is valid until the next Step. A time
// before the last one is taken as the last one.
func (m *Machine) Step(now Time, ev Event) *Output {
	m.now = max(m.now, now)
	m.out.Now, m.out.Records, m.out.Then, m.out.Notices = m.out.Now[:0], m.out.Records[:0], m.out.Then[:0], m.out.Notices[:0]
	if m.ended {
		// The end may still wait for a record: whoever asks meanwhile is answered,
		// and now, since nothing follows the end.
		switch e := ev.(type) {
		case Command:
			m.refuse(e.Request, Conflict, "cannot "+e.Verb.String()+" "+e.Service+": nines has shut down", "")
		case Inmate:
			m.refuse(e.Request, Conflict, "cannot do that with "+e.ID+": nines has shut down", "")
		case Deploy:
			m.refuse(e.Request, Conflict, "cannot deploy "+e.Service+": nines has shut down", "")
		case SpecChanged:
			m.refuse(e.Request, Conflict, "cannot apply: nines has shut down", "")
		case Shutdown:
			if e.Request != 0 {
				m.act(Action{Kind: ActAccepted, Request: e.Request})
				m.act(Action{Kind: ActDone, Request: e.Request, Message: "everything has stopped"})
			}
		}
		return &m.out
	}
	switch e := ev.(type) {
	case SpecChanged:
		m.undoing = e.Undo
		m.specChanged(e)
		m.undoing = false
	case Tick:
		m.tick()
	case Spawned:
		m.answer(e.Ref, onSpawned, input{pid: e.PID, start: e.Start})
	case SpawnFailed:
		t := onSpawnFailed
		if e.Again {
			t = onSpawnAgain
		}
		m.answer(e.Ref, t, input{text: e.Cause, status: Status{Code: e.Code}})
	case Ready:
		m.answer(e.Ref, onReady, input{})
	case Reloading:
		m.answer(e.Ref, onReloading, input{at: e.At})
	case Leaving:
		m.answer(e.Ref, onLeaving, input{})
	case MoreTime:
		m.answer(e.Ref, onMoreTime, input{at: m.now.Add(min(max(e.By, 0), MaxMoreTime))})
	case MainChanged:
		m.answer(e.Ref, onMainChanged, input{pid: e.PID, start: e.Start})
	case Exited:
		m.answer(e.Ref, onExited, input{status: e.Status, empty: e.Empty})
	case Emptied:
		m.answer(e.Ref, onEmptied, input{})
	case HookDone:
		m.hookDone(e)
	case Act:
		m.actAsked(e)
	case Withdraw:
		m.withdraw(e)
	case CheckResult:
		m.checkResult(e)
	case ClockChanged:
		m.clockChanged(e)
	case Frozen:
		m.answer(e.Ref, onFrozen, input{memory: e.Memory})
	case FreezeFailed:
		m.answer(e.Ref, onFreezeFailed, input{text: e.Cause})
	case Thawed:
		m.answer(e.Ref, onThawed, input{text: e.Cause})
	case Inmate:
		m.inmateAsked(e)
	case Command:
		m.command(e)
	case Deploy:
		m.deploy(e)
	case DataDone:
		m.dataDone(e)
	case Shutdown:
		m.shutdownAsked(e)
	}
	m.settle()
	if len(m.removing) > 0 {
		m.retire()
	}
	m.saveAll()
	if m.down.on && m.occupied == 0 {
		m.finishShutdown()
	}
	return &m.out
}

// answer gives what the driver says about an incarnation to its slot, and
// drops what is not about the current one: a late or doubled answer must not
// touch the incarnation that came after.
func (m *Machine) answer(ref Ref, t trigger, in input) {
	if ref.Slot < 0 || int(ref.Slot) >= len(m.slots) {
		return
	}
	s := m.slots[ref.Slot]
	if f := s.inmate(ref); f != nil {
		m.tellInmate(f, t, in)
		return
	}
	if ref.Incarnation != s.ref.Incarnation && bug != 1 || ref.Incarnation == 0 {
		return
	}
	m.dispatch(s, t, in)
}

// Deadline is when Tick is due; false: nothing is due.
func (m *Machine) Deadline() (Time, bool) {
	if m.ended {
		return 0, false
	}
	at := m.due.least()
	if m.down.on && !m.down.killed {
		at = min(at, m.down.deadline)
	}
	return at, at != never
}

// tick acts on all deadlines up to now, the earliest first.
func (m *Machine) tick() {
	if m.down.on && !m.down.killed && m.down.deadline <= m.now {
		m.killAll()
	}
	for m.due.least() <= m.now {
		s := m.due.items[0].slot
		// A timer is taken off before it is acted on: to fire is to be gone.
		for t := range s.timers {
			if s.timers[t] <= m.now {
				m.disarm(s, timer(t))
				m.fire(s, timer(t))
			}
		}
	}
}

// Slot says which instance of which service a slot is; nil for a slot that
// was never given.
func (m *Machine) Slot(id Slot) (service *spec.Service, index int) {
	if id < 0 || int(id) >= len(m.slots) {
		return nil, -1
	}
	return m.slots[id].svc.spec, m.slots[id].index
}

// ID is the instance id of a slot ("web/0"); "" for a slot that was never given.
func (m *Machine) ID(id Slot) string {
	if id < 0 || int(id) >= len(m.slots) {
		return ""
	}
	return m.slots[id].name
}

func (m *Machine) act(a Action)  { m.out.Now = append(m.out.Now, a) }
func (m *Machine) then(a Action) { m.out.Then = append(m.out.Then, a) }

func (m *Machine) record(r Record) { m.out.Records = append(m.out.Records, r) }

func (m *Machine) notice(k Kind, s *slot, why Reason) {
	m.out.Notices = append(m.out.Notices, Notice{
		Kind: k, Service: s.svc.spec.Name, Slot: s.id, Ref: s.ref, Revision: s.revision, PID: s.pid, Reason: why,
	})
}
