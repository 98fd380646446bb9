package policy

import (
	"time"

	"nines/spec"
)

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
