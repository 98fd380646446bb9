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
	removing   int                 // services that are no more in the spec and still in services
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

// service is one service as it is now. The counters are sums over its slots
// and neighbours, kept by touch and relevel, so that a question about a service
// never walks over its instances.
type service struct {
	spec      *spec.Service // as it runs now: file, and what is part of the current revision
	file      *spec.Service // as the specification has it
	revision  int           // the current one
	asked     int           // the one that the specification asks for: pinned out where it is not the current one
	known     []Revision    // the one that was current last first
	top       int           // the highest number that a revision of it has had
	roll      rollout
	data      data
	removed   bool    // it is no more in the specification: it goes down, and is forgotten
	scaled    bool    // instances is what a person scaled it to
	awaited   awaited // what an apply waits for
	fresh     bool    // the apply under way has added it
	instances int     // wanted: the spec's, or what a person scaled it to
	started   bool    // by a person, although the spec disables it
	stopped   bool    // by a person, all of it
	stoppedBy string
	lastCode  int // of its last failure, as the keeper's exit status
	slots     []*slot
	ops       []*operation

	floor       uint64 // numbers up to it were used by instances that are no more
	lastFailure Time   // only while a past is restored: when lastCode was

	needs, after    []*service // resolved, without repetition
	needers, laters []*service // the same edges, the other way
	below           [2][]*service

	// formerly is what incarnations of an earlier revision may need, which their
	// service no longer does.
	formerly []*service

	// Sums over slots.
	standing [numStandings]int // with index < instances
	occupied int               // something lives in them
	stuck    int
	surplus  int // occupied with index >= instances
	waiting  int // wanted and down: they start when they may
	settled  int
	outdated int // wanted, and not of the current revision, or not to be
	healthy  int // ready, and no check says otherwise: what the disruption budget counts
	excused  int // not up, and a group does not wait for them
	beside   int // successors that are to come up, and are down

	// Sums over neighbours.
	needDown, needDead, needStalled int
	afterPending                    int
	leavingNeeds                    int
	holders                         [2]int // dependents (by relation) of which something lives

	level   level
	leaving bool    // it goes down as a whole, and its dependents before it
	present [2]bool // something lives of it or of its dependents

	// Its place in a group that is being restarted; see group.go.
	group     *group // nil: none, or one_for_one
	place     int    // in its members
	regroup   bool   // it is to go down with its group
	heldBack  bool   // its group does not let it start yet
	groupDead bool   // … and the member that it waits for does not come up unless a person acts

	checked  []spec.Check // that the slots' are
	readied  *spec.Check  // likewise of the ready block
	suspects []int        // by check: instances that fail it; see suspect

	schedule *spec.Schedule // of recycle; nil: none
	gate     *gate          // of its automatic acts; nil: there has been none. See budget.go

	dirty, opsDirty, rollDirty, actsDirty, revisionDirty bool
}

// The two orders in which services stop.
const (
	byNeeds = iota // a person's stop: only what needs it goes first
	byAll          // shutdown: what needs it and what comes after it
)

// slot is the place of one instance.
type slot struct {
	id       Slot
	svc      *service
	index    int
	name     string
	phase    phase
	ref      Ref
	revision int    // of its last intent
	target   int    // the revision that it is started with next
	seq      uint64 // of its last intent
	pid      int
	start    uint64 // the driver's: tells the pid from a later one
	stopped  bool   // by a person, this instance alone
	by       string

	// Of the current incarnation.
	end       ending // why we end it, if we do
	endWhy    Reason
	answered  bool // Spawn was answered
	early     bool // Ready came before Spawned
	wasReady  bool
	exited    bool // its main process has ended, and was judged
	emptied   bool // Emptied came before Exited
	restored  bool // its Spawn was an earlier supervisor's
	startedAt Time
	readyAt   Time
	hook      uint64 // token of the stop hook in flight
	reload    uint64 // token of the reload hook in flight
	reloading reloading
	askedAt   Time // of reloadAsked
	longer    Time // MoreTime: the deadline of its start is not before it

	// What is next, once nothing of it lives.
	next   phase
	nextAt Time

	// Memory of failures; see backoff.go.
	first        bool          // on its way up for the first time since a boot or a person's start
	held         bool          // in a crash loop that is not given up
	loop         bool          // a crash loop was declared, and no end of it
	streak       int           // unrequested ends since the last reset
	base         float64       // the last delay before it was spread, in nanoseconds; a float, lest rounding adds up
	spread       float64       // 1+u
	failedStarts int           // in a row
	ends         []Time        // of unrequested ends within the window
	again        time.Duration // the last delay after a passing failure of the machine
	auto         bool          // the next start is an automatic one
	restarts     int
	how          Reason // how the last incarnation ended
	why          Reason // why it is in backoff, failed, completed
	last         LastExit

	settled bool
	scaling bool // a scale operation waits for it

	// Automatic acts; see budget.go.
	act       *act   // that waits; nil: none
	turn      turn   // an act has taken it down, and its replacement is awaited
	unhealthy bool   // by a check, or as judged
	judged    bool   // by an Act, as a failed check
	dump      bool   // it is to end by SIGABRT
	told      causes // judgements that hold and whose event was told; see Act
	alert     Reason // one that asks for nothing: status shows it
	lined     [numLines]bool

	// Checks; see checks.go.
	checks    []check
	checking  uint64 // the token of the attempts; 0: there are none
	ill       int    // checks that fail, and by which it is not healthy
	suspected uint64 // a bit for each check that it fails, until its replacement is ready

	inmates []*inmate // incarnations that have left it for the quarantine

	// Its place; see twin.go.
	twin      *slot  // the other slot of the same place; nil: there has been none
	aside     bool   // the twin is the one that counts
	candidate bool   // aside, and to take the place once it is healthy
	bloated   Reason // why it is being succeeded, if that is for its memory
	wellSince Time   // ready, and no check says otherwise

	timers [numTimers]Time
	at     Time // key in the heap: the least of timers
	pos    int  // in the heap; -1: not in it

	// What touch has counted for it.
	counted counted
	queued  bool
	unsaved bool
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
	if m.removing > 0 {
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
