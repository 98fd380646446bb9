// Package journal keeps what happened: the event stream that `nines events`,
// `nines explain`, the API and the console read, and small records of what must
// outlive a boot.
//
// Entries are numbered, kept in memory up to a limit (the oldest go first), and
// worded only when somebody reads them, so that a thousand deaths cost the loop
// a thousand copies and nothing more. Behind the memory stands a bbolt file in
// the state folder, written by a goroutine of its own: what came within
// gatherTime is one transaction. Append never waits for it. Readers take what
// memory no longer has from the file; one that falls behind both is told how
// many entries it missed. Safe for concurrent use.
//
// # What is promised
//
//   - Numbers are unique and grow, across supervisors and boots. They may leave
//     a gap: a successor of a supervisor that was killed begins Config.Limit
//     later, since what had been shown to somebody and was not written yet had
//     numbers too. Where the file could not be read when the supervisor began,
//     numbers are those of the clock, in microseconds, which are greater still.
//     (Numbers of more than Limit entries that a disk which failed did not take
//     may be given again.)
//   - A killed supervisor loses what came in its last gatherTime, and what the
//     disk was still busy with.
//   - Whatever the disk does, appending and supervision go on. An entry says what
//     cannot be written and why, once; everything that memory still has is
//     written when it can be, and another entry says what could not.
//   - A file that is torn, or is not ours, is set aside as state.db.bad-TIME and
//     a new one begun; so is one whose opening has ended the supervisor
//     maxTries times (bbolt trusts its pages). A file of a newer version is left
//     alone.
//   - The file holds at most Config.MaxEvents of MaxAge and MaxBytes. It is 0600,
//     and its folder 0711.
//
// A failing disk under the mapping of the file is SIGBUS, which is an error here
// (debug.SetPanicOnFault). One that hangs for ever holds up whoever reads through
// the mapping: the file is therefore read the ordinary way before it is mapped,
// and never read at all by the loop.
//
// # What does not stand here
//
// What a boot forgets, or what must be known before the first process is started
// again, stands with the keeper (see supervisor's keys): desired states (stop,
// scale), counters, and what lives. Nothing of it is doubled here.
package journal

import (
	"sync"
	"time"

	"nines/supervisor/policy"
)

// Kinds that the supervisor itself emits, beside policy's.
const (
	KindStarted   policy.Kind = "supervisor_started"
	KindRecovered policy.Kind = "supervisor_recovered"
	// KindCommand: a person asked for something.
	KindCommand policy.Kind = "command"
	// KindListenFailed: a socket that nobody is about to be started with.
	KindListenFailed policy.Kind = "listen_failed"
	KindLost         policy.Kind = "log_lost"
	KindAlertFailed  policy.Kind = "alert_failed"
	// KindUpgraded, KindReverted: how an upgrade of nines itself ended.
	KindUpgraded policy.Kind = "supervisor_upgraded"
	KindReverted policy.Kind = "supervisor_reverted"
	// KindDeployRefused: what appeared at release.path cannot run, or is bad.
	KindDeployRefused policy.Kind = "deploy_refused"
	// KindLimit: the kernel refused a limit, and the instance runs without it.
	KindLimit policy.Kind = "limit_refused"
	// KindForkRefused: the kernel refused an instance more processes, by pids.max.
	KindForkRefused policy.Kind = "fork_refused"
	// KindNotifyRefused: a message to a notify socket, or a part of one, was dropped.
	KindNotifyRefused policy.Kind = "notify_refused"
	// Of the journal itself: it cannot be written; it can be again; its file was
	// set aside or is gone.
	KindJournalFailed    policy.Kind = "journal_failed"
	KindJournalRecovered policy.Kind = "journal_recovered"
	KindJournalReplaced  policy.Kind = "journal_replaced"
)

const (
	// gatherFirst is how long an entry that comes after a while waits for company
	// (an exit and its backoff), gatherTime how far apart transactions are: what is
	// lost when the supervisor is killed, against an fsync for each.
	gatherFirst = 5 * time.Millisecond
	gatherTime  = 100 * time.Millisecond
	// openPatience bounds what a sick disk may cost a start.
	openPatience = 200 * time.Millisecond
	// retryFirst and retryMax bound the time until a disk that failed is tried
	// again.
	retryFirst = time.Second
	retryMax   = time.Minute
	// writeBatch bounds one transaction, in entries.
	writeBatch = 2048
)

// Config is what a journal is made of; a zero limit is its default.
type Config struct {
	// Dir is the state folder, absolute; "": entries stay in memory.
	Dir string
	// Limit is how many entries stay in memory: 10,000.
	Limit int
	// MaxEvents, MaxAge and MaxBytes bound what is on disk: 100,000 entries, 90
	// days, 40 MiB. The file grows to about 1.5 × MaxBytes; it shrinks when most of
	// it is free.
	MaxEvents int
	MaxAge    time.Duration
	MaxBytes  int64

	patience time.Duration               // openPatience, but in tests, which a loaded machine must not fail
	sparse   func(free, size int64) bool // sparse, but in tests, which cannot wait for a file to grow
	every    time.Duration               // compactEvery, likewise
}

func (c Config) withDefaults() Config {
	if c.Limit <= 0 {
		c.Limit = 10_000
	}
	if c.MaxEvents <= 0 {
		c.MaxEvents = 100_000
	}
	if c.MaxAge <= 0 {
		c.MaxAge = 90 * 24 * time.Hour
	}
	if c.MaxBytes <= 0 {
		c.MaxBytes = 40 << 20
	}
	if c.sparse == nil {
		c.sparse = sparse
	}
	if c.every <= 0 {
		c.every = compactEvery
	}
	if c.patience <= 0 {
		c.patience = openPatience
	}
	return c
}

// Journal holds the newest entries, and reads the others. Make it with Open or
// New.
type Journal struct {
	store *store // nil: memory only
	wake  chan struct{}
	flush chan struct{}
	stop  chan struct{}
	ended chan struct{} // the writer has ended

	mu       sync.Mutex
	ring     []Entry // entry with Seq s is at (s-begun-1) % limit
	limit    uint64
	begun    uint64 // the number before the first entry
	numbered bool   // begun is decided
	last     uint64
	written  uint64 // on disk up to here, but for what the ring had lost before
	changed  chan struct{}
	watch    func(Entry) // nil: nobody
	trouble  string      // why it cannot be written; "": it can
	requests []request
	closed   bool
}

// New returns a journal in memory, which keeps the newest limit (at least 1)
// entries and numbers them from 1.
func New(limit int) *Journal {
	return &Journal{limit: uint64(max(limit, 1)), numbered: true}
}

// Open returns a journal that is also written to its state folder. It waits at
// most openPatience for the disk, and never fails: see Trouble.
func Open(cfg Config) *Journal {
	cfg = cfg.withDefaults()
	j := &Journal{limit: uint64(cfg.Limit)}
	if cfg.Dir == "" {
		j.numberByClock()
		j.trouble = "events are kept in memory only: there is no state folder"
		return j
	}
	j.store = newStore(cfg)
	j.wake, j.flush = make(chan struct{}, 1), make(chan struct{}, 1)
	j.stop, j.ended = make(chan struct{}), make(chan struct{})
	opened := make(chan struct{})
	go j.write(opened)
	late := time.NewTimer(cfg.patience)
	defer late.Stop()
	select {
	case <-opened:
	case <-late.C:
		j.mu.Lock()
		j.numberByClock()
		j.mu.Unlock()
	}
	return j
}

// numberByClock begins the numbers at the clock, unless they have begun.
func (j *Journal) numberByClock() { j.numberAfter(uint64(max(time.Now().UnixMicro(), 0))) }

func (j *Journal) numberAfter(last uint64) {
	if !j.numbered {
		j.numbered = true
		j.begun, j.last, j.written = last, last, last
	}
}

// Begun is the number before the first entry of this supervisor.
func (j *Journal) Begun() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.begun
}

// Trouble says why entries are not being written to disk; "" if they are.
func (j *Journal) Trouble() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.trouble
}

// Watch has fn called with each entry that is appended from now on, by whoever
// appends it, so that it must not block. Two that are appended at the same time
// may come in either order.
func (j *Journal) Watch(fn func(Entry)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.watch = fn
}

// Append adds an entry and numbers it.
func (j *Journal) Append(e Entry) {
	j.mu.Lock()
	j.last++
	e.Seq = j.last
	if uint64(len(j.ring)) < j.limit {
		j.ring = append(j.ring, e)
	} else {
		j.ring[(e.Seq-j.begun-1)%j.limit] = e
	}
	changed, watch := j.changed, j.watch
	j.changed = nil
	hurry := j.last-j.written > j.limit/2 && j.trouble == ""
	j.mu.Unlock()
	if changed != nil {
		close(changed)
	}
	if watch != nil {
		watch(e)
	}
	signal(j.wake)
	if hurry {
		signal(j.flush)
	}
}

// signal sends without waiting; nil takes nothing.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// first is the number of the oldest entry in memory. j.mu is held.
func (j *Journal) first() uint64 {
	if n := j.last - j.begun; n > j.limit {
		return j.last - j.limit + 1
	}
	return j.begun + 1
}

// copyFrom appends to buf the entries in memory from number from on, as many as
// most. j.mu is held, and from is not before the first.
func (j *Journal) copyFrom(buf []Entry, from uint64, most int) []Entry {
	for s := from; s <= j.last && most > 0; s++ {
		buf = append(buf, j.ring[(s-j.begun-1)%j.limit])
		most--
	}
	return buf
}
