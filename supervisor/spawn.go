package supervisor

import (
	"errors"
	"maps"
	"sync"
	"time"

	"nines/cgroups"
	"nines/spec"
	"nines/supervisor/journal"
	"nines/supervisor/notify"
	"nines/supervisor/policy"
	"nines/supervisor/proc"
)

// batch is what one turn of the loop hands to the spawner; the keeper knows of
// it already.
type batch struct {
	spec   *spec.Spec // another one that is to run from here on; nil: the same
	spawns []*incarnation
	hooks  []*hookRun
	execs  []*execRun
	sides  []*sideRun
}

// spawnChunk is how many processes share one message to the keeper. It bounds
// how many descriptors are open in the spawner, which each clone copies.
const spawnChunk = 32

// slowSpawn is how long a clone may take before its cgroup is killed: a vfork
// returns only when the child has exec'ed, and a child in a frozen cgroup, or
// whose directory is on a dead network filesystem, does not.
const slowSpawn = 5 * time.Second

// spawner starts processes, one after the other, in a goroutine of its own:
// the loop never waits for a clone. It alone resolves commands (files are read
// for that) and makes cgroups and pipes.
type spawner struct {
	s       *Supervisor
	start   *proc.Spawner
	resolve *resolver
	sockets *sockets
	logs    *logBlocks
	limits  *limiter

	mu     sync.Mutex
	queue  []batch
	closed bool
	ready  chan struct{}
	done   chan struct{}

	// What is being cloned now, for the watchdog and abort.
	current      *launch
	currentSince time.Time
}

// launch is one process about to be started.
type launch struct {
	in    *incarnation // nil: a hook, or an exec check
	hook  *hookRun
	exec  *execRun
	side  *sideRun
	name  string // of its log pipe and cgroup
	cmd   *proc.Command
	group *cgroups.Group
	pipes []outputPipe
	ready int    // what it says ready on, our copy of its end; -1: none
	start uint64 // start time of the process; 0: it had ended already
	err   error
}

// instance is whose process it is, or whose hook.
func (l *launch) instance() *incarnation {
	switch {
	case l.in != nil:
		return l.in
	case l.hook != nil:
		return l.hook.in
	}
	return l.exec.t.in
}

// outputPipe carries stdout and stderr, or one of them.
type outputPipe struct {
	stream string // of logs.Settings, and what follows the colon of its name
	r, w   int
}

func newSpawner(s *Supervisor, start *proc.Spawner) *spawner {
	sp := &spawner{s: s, start: start, resolve: newResolver(s.cfg, s.mark), logs: newLogBlocks(s.cfg.Spec), ready: make(chan struct{}, 1), done: make(chan struct{})}
	sp.limits = newLimiter(s, sp.resolve.host)
	sp.sockets = newSockets(s, &sp.resolve.users)
	return sp
}

func (sp *spawner) put(b batch) {
	sp.mu.Lock()
	sp.queue = append(sp.queue, b)
	sp.mu.Unlock()
	sp.wake()
}

func (sp *spawner) wake() {
	select {
	case sp.ready <- struct{}{}:
	default:
	}
}

// close ends the spawner when its queue is empty; it does not wait for one that
// is stuck in a clone.
func (sp *spawner) close() {
	sp.mu.Lock()
	sp.closed = true
	sp.mu.Unlock()
	sp.wake()
}

func (sp *spawner) run() {
	defer close(sp.done)
	slow := time.AfterFunc(slowSpawn, sp.slow)
	slow.Stop()
	for {
		sp.mu.Lock()
		queue, closed := sp.queue, sp.closed
		sp.queue = nil
		sp.mu.Unlock()
		if len(queue) == 0 {
			if closed {
				return
			}
			<-sp.ready
			continue
		}
		for i := range queue {
			sp.carryOut(&queue[i], slow)
		}
	}
}

func (sp *spawner) carryOut(b *batch, slow *time.Timer) {
	sp.resolve.users.refresh()
	if b.spec != nil {
		sp.resolve.apply(sp.s, b.spec)
		sp.sockets.apply(b.spec)
		sp.limits.apply(b.spec)
		sp.s.janitor.only(sp.s.cfg.Cgroups, b.spec.Services)
	}
	ls := make([]*launch, 0, min(len(b.spawns)+len(b.hooks)+len(b.execs), spawnChunk))
	flush := func() {
		sp.launch(ls, slow)
		ls = ls[:0]
	}
	for _, in := range b.spawns {
		ls = append(ls, &launch{in: in, name: in.name, ready: -1})
		if len(ls) == spawnChunk {
			flush()
		}
	}
	for _, h := range b.hooks {
		ls = append(ls, &launch{hook: h, name: h.name, ready: -1})
		if len(ls) == spawnChunk {
			flush()
		}
	}
	for _, r := range b.execs {
		ls = append(ls, &launch{exec: r, name: r.name, ready: -1})
		if len(ls) == spawnChunk {
			flush()
		}
	}
	flush()
	for _, r := range b.sides {
		sp.startSide(r, slow)
	}
}

// launch prepares a chunk, gives the keeper its log pipes in one message, and
// starts it.
func (sp *spawner) launch(ls []*launch, slow *time.Timer) {
	if len(ls) == 0 {
		return
	}
	// The pipes are with the keeper before the processes exist: a death of ours
	// in between loses no output.
	const head = notify.KeyFDStore + "=1\n"
	msg := []byte(head)
	var with []*launch
	var fds []int
	send := func() {
		if len(with) == 0 {
			return
		}
		if err := sp.s.cfg.Keeper.Send(msg, fds); err != nil {
			for _, l := range with {
				l.err = &proc.Error{Step: proc.StepLog, Why: "the keeper did not take the pipe", Err: err}
			}
		}
		msg, with, fds = append(msg[:0], head...), with[:0], fds[:0]
	}
	for _, l := range ls {
		sp.prepare(l)
	}
	sp.logs.mu.Lock()
	for _, l := range ls {
		if l.err != nil || l.exec != nil { // what a check says is read here, and is lost with us
			continue
		}
		lines, in := "", l.instance()
		k := sp.logs.of(in.svc)
		if l.in == nil {
			k = &outputKept{log: k.log} // what its hooks say is not counted
		}
		for _, p := range l.pipes {
			lines += notify.KeyFDName + "=" + pipeName(l.name, p.stream) + "\n" +
				notify.KeyLog + "=" + sp.resolve.output.settings(in.svc.Name, k, in.index, p.stream).Encode() + "\n"
		}
		if len(msg)+len(lines) > notify.MaxMessage || len(fds)+len(l.pipes) > notify.MaxFDs {
			send()
		}
		msg = append(msg, lines...)
		for _, p := range l.pipes {
			fds = append(fds, p.r)
		}
		with = append(with, l)
	}
	send()
	sp.logs.mu.Unlock()
	for _, l := range ls {
		for _, p := range l.pipes {
			if p.r >= 0 {
				proc.Close(p.r)
			}
		}
	}
	for _, l := range ls {
		sp.startOne(l, slow)
	}
}

// prepare makes everything that a launch needs; l.err says what could not be.
func (sp *spawner) prepare(l *launch) {
	svc := l.instance().svc
	if l.in != nil {
		var ports map[string]int
		if l.cmd, ports, l.err = sp.resolve.main(l.in); l.err == nil && ports != nil {
			sp.s.tellPorts(l.in.id, ports)
			l.in.ports = maps.Clone(ports)
		}
		if l.err == nil {
			l.cmd.Listen, l.err = sp.sockets.of(svc)
		}
	} else if l.hook != nil {
		l.cmd, l.err = sp.resolve.hook(l.hook)
	} else {
		l.cmd, l.err = sp.resolve.exec(l.exec)
	}
	if l.err == nil && l.exec != nil {
		l.err = sp.tail(l)
	}
	if l.err != nil {
		return
	}
	for _, stream := range streams(svc) {
		if l.exec != nil {
			break
		}
		p := outputPipe{stream: stream}
		if p.r, p.w, l.err = proc.OutputPipe(l.cmd.Credential); l.err != nil {
			return
		}
		l.pipes = append(l.pipes, p)
	}
	l.cmd.Stdout, l.cmd.Stderr = l.pipes[0].w, l.pipes[len(l.pipes)-1].w
	l.cmd.CgroupFD = -1
	if t := sp.s.cfg.Cgroups; t != nil {
		if l.group, l.cmd.CgroupFD, l.err = t.Create(l.name); l.err != nil {
			l.err = &proc.Error{Step: proc.StepCgroup, Path: l.name, Err: l.err}
			return
		}
	}
	if l.in != nil {
		// Before the clone: its first instruction is limited. A hook is not: what
		// stops a service must not starve with it.
		if l.err = sp.limits.set(l.in, l.group); l.err == nil {
			sp.s.watcher.begin(svc, l.in.id, l.group)
			l.ready, l.err = sp.s.notifier.prepare(l)
		}
	}
}

// tail makes the pipe of an exec check, whose end its worker reads.
func (sp *spawner) tail(l *launch) error {
	r, w, err := proc.OutputPipe(l.cmd.Credential)
	if err != nil {
		return err
	}
	if l.exec.out, err = proc.PollPipe(r); err != nil {
		proc.Close(w)
		return &proc.Error{Step: proc.StepLog, Err: err}
	}
	l.pipes = append(l.pipes, outputPipe{r: -1, w: w})
	return nil
}

// startOne clones, and answers the loop.
func (sp *spawner) startOne(l *launch, slow *time.Timer) {
	var pid int
	var confirm func() error
	if l.err == nil && l.in != nil && l.in.aborted.Load() {
		l.err = &proc.Error{Step: proc.StepClone, Err: errAborted}
	}
	if l.err == nil {
		sp.mu.Lock()
		sp.current, sp.currentSince = l, time.Now()
		sp.mu.Unlock()
		slow.Reset(slowSpawn)
		fault("before-clone")
		pid, confirm, l.err = sp.start.Start(l.cmd)
		fault("after-clone")
		slow.Stop()
		sp.mu.Lock()
		sp.current = nil
		sp.mu.Unlock()
	}
	for _, p := range l.pipes {
		proc.Close(p.w)
	}
	if l.ready >= 0 {
		proc.Close(l.ready)
	}
	if l.group != nil && l.cmd.CgroupFD >= 0 {
		proc.Close(l.cmd.CgroupFD)
	}
	l.cmd = nil
	if confirm != nil {
		go func() {
			l.start, _ = proc.StartTime(pid)
			l.err = confirm()
			sp.answer(l, pid)
		}()
		return
	}
	if l.err == nil && l.in != nil {
		// What the pid means to a successor. Gone already: nothing.
		l.start, _ = proc.StartTime(pid)
	}
	sp.answer(l, pid)
}

var errAborted = errors.New("given up: it is to be stopped")

func (sp *spawner) answer(l *launch, pid int) {
	var failed *proc.Error
	if l.err != nil && !errors.As(l.err, &failed) {
		failed = &proc.Error{Step: proc.StepPrepare, Err: l.err}
	}
	s := sp.s
	switch {
	case l.side != nil:
		s.box.put(func() { s.sideSpawned(l.side, pid, l.group, failed) })
	case l.in != nil:
		s.box.put(func() { s.spawned(l.in, pid, l.start, l.group, failed) })
	case l.hook != nil:
		s.box.put(func() { s.hookSpawned(l.hook, pid, l.group, failed) })
	default:
		s.box.put(func() { s.execSpawned(l.exec, pid, l.group, failed) })
	}
}

// slow runs when a clone has taken slowSpawn: what holds it up is the child,
// and ending the child (by its cgroup: its pid is not known) ends the wait.
func (sp *spawner) slow() {
	sp.mu.Lock()
	l := sp.current
	var since time.Duration
	if l != nil {
		since = time.Since(sp.currentSince)
	}
	sp.mu.Unlock()
	if l == nil || since < slowSpawn/2 {
		return // it came back just now
	}
	e := journal.Entry{Kind: policy.KindStuck, Text: "cannot finish starting " + l.name + " for 5 s: its first steps hang (a frozen cgroup, or a directory or binary on a dead filesystem); it is ended"}
	if l.in != nil {
		e.Service, e.Instance = l.in.svc.Name, l.in.id
	}
	sp.s.note(e)
	sp.s.log.Error(e.Text)
	if l.group != nil {
		if err := l.group.Kill(); err != nil {
			sp.s.log.Error("cannot end it", "cgroup", l.group.Path(), "err", err)
		}
	}
}

// abort gives a spawn up that has not been answered: it is skipped if it has
// not begun, and ended if it hangs.
func (sp *spawner) abort(in *incarnation) {
	in.aborted.Store(true)
	sp.mu.Lock()
	l := sp.current
	sp.mu.Unlock()
	if l != nil && l.in == in && l.group != nil {
		if err := l.group.Kill(); err != nil {
			sp.s.log.Warn("cannot end", "incarnation", in.name, "err", err)
		}
	}
}
