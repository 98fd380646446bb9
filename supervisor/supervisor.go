// Package supervisor is the loop and its hands. One goroutine, the loop, owns
// the state: the policy machine and what lives. Everything that happens to it
// (a command, a worker's answer, an exit) is a function that the loop runs;
// workers (the spawner, the killers, the janitor) do what may block and never
// touch the state. So there is no lock on it, and what a worker holds up holds
// up nothing else.
//
// A turn of the loop collects (answers, then exits, then deadlines), steps the
// machine for each, and hands out what came of it as one batch: records go to
// the keeper in one message before any process of that batch is started.
package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"nines/cgroups"
	"nines/spec"
	"nines/supervisor/alert"
	"nines/supervisor/journal"
	"nines/supervisor/notify"
	"nines/supervisor/policy"
	"nines/supervisor/probe/node"
	"nines/supervisor/proc"
	"nines/supervisor/release"
	"nines/supervisor/snapshot"
)

// Config is what a Supervisor works with. All of it is required unless it says
// otherwise.
type Config struct {
	Change                  // what is to run
	Before     *spec.Spec   // what ran before that was applied; nil: nothing, or nobody knows
	Next       *Change      // applied as soon as what lives was taken over; nil: none
	Hangup     func()       // SIGHUP came; called in a goroutine of its own; nil: it is only said
	Keeper     *notify.Conn // the sd_notify channel to the keeper
	KeeperPID  int
	RuntimeDir string // absolute
	// NotifySocket is where services send to: an absolute path, or "@" and a name;
	// "": in RuntimeDir.
	NotifySocket string
	LogDir       string // absolute; "": no log is written to a file
	Shim         string // path of nines-exec
	Environ      []string
	Stdout       bool           // output also goes to nines-log's stdout, whatever log.to says
	InheritEnv   bool           // what inherit_env defaults to
	Past         Past           // what the keeper handed back
	Sockets      map[string]int // descriptors that it handed back, by name: the supervisor's from New on
	Watchdog     time.Duration  // the keeper waits so long for WATCHDOG=1; 0: it does not
	Cgroups      *cgroups.Tree  // nil: level none
	Seed         uint64
	Journal      *journal.Journal // its owner closes it after Run
	Releases     *release.Store   // nil: none are kept, and what release.path leads to is run itself
	Snapshots    *snapshot.Store  // of data; nil: there is none, and what has data cannot be updated
	// Differs names what differs between two services of what makes a revision.
	Differs func(old, new *spec.Service) []string
	Version string // of this program
	Log     *slog.Logger
}

// spawnerPatience is how long the end waits for the spawner.
const spawnerPatience = time.Second

// Supervisor runs a specification. Make it with New, then Run it; its other
// methods may be called from any goroutine while Run runs.
type Supervisor struct {
	cfg     Config
	log     *slog.Logger
	clock   clock
	journal *journal.Journal
	box     *mailbox
	mark    string        // prefix of every environment mark: "HASH:"
	ended   chan struct{} // closed when Run returns

	// Owned by the loop.
	machine    *policy.Machine
	live       map[policy.Slot]*incarnation // from Spawn until nothing of it lives, or it is in quarantine
	inmates    map[policy.Ref]*incarnation  // in quarantine, until nothing of it lives
	pids       map[int]owner                // unreaped children
	adopted    map[int]*incarnation         // by pid: main processes that are the keeper's children
	unreaped   bool                         // a child has ended whose spawn has not been answered yet
	inFlight   int                          // spawns and hooks handed to the spawner and not answered
	hooks      map[uint64]*hookRun
	replies    map[policy.Request]*pending
	lastReq    policy.Request
	records    []policy.Record
	then       []policy.Action
	values     []string // "key value", for the keeper beside records
	gone       []gonePID
	exit       *int // set by ActEnd
	patAt      policy.Time
	incidents  incidents
	books      books
	data       dataWork
	collecting collecting
	upgrade    upgrading
	deaf       bool // the keeper was told in vain, and that was said
	work       int  // since memory was given back
	trim       *time.Timer

	sideRuns    map[*sideRun]bool
	sideSeq     atomic.Uint64 // of these; their goroutines count it up
	lingerUntil policy.Time   // the end waits for alerts until then; 0: it does not

	spawner  *spawner
	janitor  *janitor
	watcher  *watcher
	sampler  *sampler
	checks   *checks
	node     *node.Runner
	alerts   *alert.Alerts
	notifier *notifier

	hearsLogs atomic.Bool   // nines-log tells what it counts
	killers   chan struct{} // bounds concurrent killers
}

// maxKillers bounds how many trees are killed at the same time.
const maxKillers = 64

// New prepares a Supervisor. It starts nothing.
func New(cfg Config) (*Supervisor, error) {
	if cfg.Spec == nil || cfg.Keeper == nil || cfg.Journal == nil || cfg.Differs == nil {
		return nil, errors.New("cannot make a supervisor without a spec, a keeper, a journal and what tells revisions apart")
	}
	sp, err := proc.NewSpawner(cfg.Shim)
	if err != nil {
		return nil, err
	}
	s := &Supervisor{
		cfg: cfg, log: cfg.Log, clock: newClock(),
		journal: cfg.Journal, box: newMailbox(),
		mark: Mark(cfg.RuntimeDir), ended: make(chan struct{}),
		live: map[policy.Slot]*incarnation{}, inmates: map[policy.Ref]*incarnation{}, pids: map[int]owner{}, adopted: map[int]*incarnation{},
		hooks: map[uint64]*hookRun{}, replies: map[policy.Request]*pending{},
		killers:   make(chan struct{}, maxKillers),
		incidents: newIncidents(&cfg.Past),
	}
	s.spawner = newSpawner(s, sp)
	s.janitor = newJanitor(s)
	s.notifier = newNotifier(s)
	var memory uint64
	if h := s.spawner.resolve.host; h != nil {
		memory = h.Memory
	}
	s.sampler = newSampler(memory, cfg.Seed, s.clock.now, proc.NewMemoryReader().Held, s.judged, s.log)
	s.checks = newChecks(s)
	s.node = s.newNode()
	s.sideRuns = map[*sideRun]bool{}
	s.alerts = s.newAlerts()
	s.machine = policy.New(policy.Config{Seed: cfg.Seed, Memory: memory})
	return s, nil
}

// Journal is the event stream.
func (s *Supervisor) Journal() *journal.Journal { return s.journal }

// Run supervises until everything has stopped after a shutdown, and returns
// the exit status of the keeper. The caller tells the keeper (X_NINES_END). With
// ErrHandedOver nothing was stopped, and the keeper is not told.
func (s *Supervisor) Run() (int, error) {
	defer close(s.ended)
	// SIGCHLD first, so that no exit can be missed; SIGPIPE so that a reader of
	// our own output that went away is an error of that write, not our end. Notify
	// and not Ignore: services would inherit an ignored signal.
	chld := make(chan os.Signal, 1)
	signal.Notify(chld, syscall.SIGCHLD)
	sigs := make(chan os.Signal, 8)
	signal.Notify(sigs, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGPIPE)
	defer signal.Stop(chld)
	defer signal.Stop(sigs)

	// Before anything is started, and before anyone is told that we are ready.
	s.notifier.begin()
	s.spawner.sockets.begin()
	go s.spawner.run()
	s.watcher = newWatcher(s)
	defer s.watcher.close()
	go s.janitor.run()
	go s.sampler.run()
	defer s.sampler.close()
	s.checks.start()
	defer s.checks.close()
	go s.readIncidents()
	defer s.janitor.close()
	defer s.spawner.close()

	s.readBooks()
	s.note(journal.Entry{Kind: journal.KindStarted, Text: "supervisor started: " + count(len(s.cfg.Spec.Services), "service")})
	s.begin()
	s.worked(len(s.cfg.Spec.Services))
	s.handOut()
	go s.notifier.run()
	defer s.notifier.close()
	fault("adopted")
	if err := s.cfg.Keeper.Send(notify.Message{notify.Ready()}.Append(nil), nil); err != nil {
		return 1, fmt.Errorf("cannot tell the keeper that all is ready: %w", err)
	}
	fault("ready-told")
	go s.listenToKeeper()
	s.takeJudgements()
	stopWatch := s.watchClock()
	defer stopWatch()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go s.listenToLogs(ctx)
	go s.node.Run(ctx)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for s.exit == nil || s.lingers() {
		s.arm(timer)
		child := false
		select {
		case <-s.box.ready:
		case <-chld:
			child = true
		case <-timer.C:
		case sig := <-sigs:
			s.signalled(sig)
		}
		s.box.run()
		select {
		case <-chld:
			child = true
		default:
		}
		if child || s.unreaped {
			s.reap()
		}
		if at, ok := s.machine.Deadline(); ok && at <= s.clock.now() {
			s.step(policy.Tick{})
		}
		s.handOut()
		s.pat()
		if s.exit == nil && s.leaves() {
			return s.makeWay()
		}
	}
	s.refuseAll("the supervisor has ended")
	s.data.stop()
	s.giveUpAlerts()
	s.spawner.close()
	select {
	case <-s.spawner.done:
		s.spawner.sockets.remove()
		s.notifier.remove()
	case <-time.After(spawnerPatience):
		// It is stuck in a clone. What files are left are found to be stale.
	}
	return *s.exit, nil
}

// arm sets the one timer to what is due next: a deadline of the machine, or
// telling the keeper that we live.
func (s *Supervisor) arm(timer *time.Timer) {
	at, ok := s.machine.Deadline()
	if leave := s.upgrade.leaveAt; leave != 0 && (!ok || leave < at) {
		at, ok = leave, true
	}
	if s.lingerUntil != 0 && (!ok || s.lingerUntil < at) {
		at, ok = s.lingerUntil, true
	}
	if s.cfg.Watchdog > 0 && (!ok || s.patAt < at) {
		at, ok = s.patAt, true
	}
	if !ok {
		timer.Stop()
		return
	}
	timer.Reset(max(at.Sub(s.clock.now()), 0))
}

// pat tells the keeper, at half the time it gives us, that the loop turns. It
// does not wait: a full socket is no reason to hold the loop up, and what is in
// it says that we live.
func (s *Supervisor) pat() {
	if s.cfg.Watchdog == 0 || s.clock.now() < s.patAt {
		return
	}
	s.patAt = s.clock.now().Add(s.cfg.Watchdog / 2)
	if err := s.cfg.Keeper.TrySend(notify.Message{notify.Watchdog()}.Append(nil), nil); err != nil && !errors.Is(err, notify.ErrWouldBlock) {
		s.cannotTell(err)
	}
}

// tell sends messages to the keeper. What it cannot be told is only needed by a
// successor; supervision goes on without it, and says so once.
func (s *Supervisor) tell(messages [][]byte) {
	for _, m := range messages {
		if err := s.cfg.Keeper.Send(m, nil); err != nil {
			s.cannotTell(err)
			return
		}
		s.deaf = false
	}
}

func (s *Supervisor) cannotTell(err error) {
	if !s.deaf {
		s.deaf = true
		s.log.Error("cannot record with the keeper: a successor would not know what runs", "err", err)
	}
}

func (s *Supervisor) signalled(sig os.Signal) {
	switch sig {
	case syscall.SIGTERM, syscall.SIGINT:
		name := "SIGTERM"
		if sig == syscall.SIGINT {
			name = "SIGINT"
		}
		s.step(policy.Shutdown{Cause: name})
	case syscall.SIGHUP:
		if s.cfg.Hangup == nil {
			s.log.Info("SIGHUP: there are no files to read again")
			return
		}
		go s.cfg.Hangup()
	}
}

// step is the one place where the machine steps, but for begin.
func (s *Supervisor) step(ev policy.Event) {
	s.carry(s.machine.Step(s.clock.now(), ev))
}

func (s *Supervisor) carry(out *policy.Output) {
	s.notices(out.Notices)
	// An action never calls step: out is the machine's own buffer. What it
	// answers at once goes through the mailbox.
	for i := range out.Now {
		s.act(&out.Now[i])
	}
	s.records = append(s.records, out.Records...)
	s.then = append(s.then, out.Then...)
	for i := range out.Notices {
		switch n := &out.Notices[i]; n.Kind {
		case policy.KindRollback, policy.KindDataFailed, policy.KindDataRestored:
			s.left(n)
		}
	}
	var judged []string
	for i := range out.Records {
		if r := &out.Records[i]; r.Kind == policy.RecordRevision && r.Value != 0 {
			judged = append(judged, r.ID)
		}
	}
	if judged != nil {
		s.keepBooks(judged, true)
	}
}

// handOut tells the keeper what this turn wants made durable: what is in its
// socket when we die, it reads. Then it does what waited for that.
func (s *Supervisor) handOut() {
	s.notifier.store.look()
	if len(s.records)+len(s.values) > 0 {
		fault("before-intent")
		s.tell(encode(s.records, s.values))
		s.records, s.values = s.records[:0], s.values[:0]
	}
	then := s.due()
	var b batch
	for i := range then {
		a := &then[i]
		if a.Kind == policy.ActSpawn {
			in := s.incarnation(a.Ref, s.machine.ID(a.Ref.Slot))
			s.runs(in, a.Revision)
			s.live[a.Ref.Slot] = in
			s.inFlight++
			b.spawns = append(b.spawns, in)
			continue
		}
		s.act(a)
	}
	if len(b.spawns) > 0 {
		fault("after-intent")
		s.spawner.put(b)
		s.worked(len(b.spawns))
	}
}

// act carries out one action.
func (s *Supervisor) act(a *policy.Action) {
	switch a.Kind {
	case policy.ActSignal:
		fault("before-signal")
		s.signal(a)
		fault("after-signal")
	case policy.ActKill:
		fault("before-kill")
		s.kill(a.Ref)
		fault("after-kill")
	case policy.ActHook:
		s.hook(*a)
	case policy.ActFreeze:
		s.freeze(a.Ref)
	case policy.ActThaw:
		s.thaw(a.Ref)
	case policy.ActCheck:
		s.checks.begin(a)
	case policy.ActCheckEnd:
		s.checks.end(a.Ref)
	case policy.ActSnapshot, policy.ActRestore:
		s.moveData(*a)
	case policy.ActAccepted, policy.ActDone, policy.ActRefused:
		s.reply(a)
	case policy.ActEnd:
		code := a.Exit
		s.exit = &code
	default:
		// ActSpawn only ever comes by handOut; ActRevert has no asker yet.
		s.log.Error("policy asked for an action out of place", "kind", a.Kind)
	}
}

// Note adds an entry to the journal.
func (s *Supervisor) Note(e journal.Entry) { s.note(e) }

// note adds an entry of the supervisor's own to the journal.
func (s *Supervisor) note(e journal.Entry) {
	e.Time = time.Now()
	s.journal.Append(e)
}

func (s *Supervisor) notices(ns []policy.Notice) {
	if len(ns) == 0 {
		return
	}
	now := time.Now()
	for i := range ns {
		n := &ns[i]
		e := journal.Entry{Time: now, Kind: n.Kind, Service: n.Service, Revision: n.Revision, PID: n.PID, Reason: n.Reason}
		if n.Slot != policy.NoSlot {
			e.Instance = s.machine.ID(n.Slot)
		}
		s.journal.Append(e)
		s.noticed(&e)
	}
}

// ErrEnded says that the supervisor has ended and answers nothing any more.
var ErrEnded = errors.New("the supervisor has ended")

// call runs fn in the loop and waits until it ran.
func (s *Supervisor) call(ctx context.Context, fn func()) error {
	done := make(chan struct{})
	s.box.put(func() { fn(); close(done) })
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.ended:
		select {
		case <-done: // it ended because of that
			return nil
		default:
			return ErrEnded
		}
	}
}

// count is "1 service", "2 services".
func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return strconv.Itoa(n) + " " + what
}
