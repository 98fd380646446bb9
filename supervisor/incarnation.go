package supervisor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"
	"strconv"
	"sync/atomic"

	"nines/cgroups"
	"nines/spec"
	"nines/supervisor/notify"
	"nines/supervisor/policy"
	"nines/supervisor/proc"
	"nines/supervisor/wait"
)

// Mark is what every environment mark (NINES_INCARNATION) of the supervisor on
// that runtime directory begins with.
func Mark(runtimeDir string) string {
	sum := sha256.Sum256([]byte(filepath.Clean(runtimeDir)))
	return hex.EncodeToString(sum[:4]) + ":"
}

// incarnation is one start of one slot, from the intent until nothing of it
// lives. The loop owns it.
type incarnation struct {
	ref      policy.Ref
	revision int
	id       string // "web/0"
	name     string // "web/0.17": cgroup, log pipe, mark
	svc      *spec.Service
	release  string // id of the release that it runs; "": none
	index    int
	aborted  atomic.Bool               // the one field that the spawner reads while the loop may write
	halted   atomic.Bool               // by a signal of ours: SIGSTOP, and no SIGCONT since; checks read it
	measured atomic.Pointer[proc.Tree] // what checks measure
	latency  atomic.Int64              // of the last attempt of a check that passed, in nanoseconds; 0: none
	counts   counts                    // of lines in its output
	ports    map[string]int            // set before the loop hears of its process, and not written again

	pid     int            // 0: the spawner has not answered
	start   uint64         // start time of pid; 0: it ended before it could be read
	adopted bool           // an earlier supervisor started it: a child of the keeper's
	group   *cgroups.Group // nil: level none, or not spawned
	reaped  bool           // its pid must not be signalled any more
	status  proc.Status    // when reaped
	killing bool           // a killer is at work
	emptied bool           // a killer saw that nothing lives
	condemn bool           // kill as soon as the spawner answers

	nextMain int  // it said that this is its main process, before the spawner answered
	untold   bool // nobody can say how its main process ended
}

// incarnation makes one; it is not in live yet.
func (s *Supervisor) incarnation(ref policy.Ref, id string) *incarnation {
	svc, index := s.machine.Slot(ref.Slot)
	return &incarnation{ref: ref, id: id, name: incarnationName(id, ref.Incarnation), svc: svc, index: index}
}

// runs makes in one of that revision.
func (s *Supervisor) runs(in *incarnation, revision int) {
	in.revision = revision
	if s.cfg.Releases != nil {
		in.release = ReleaseOf(s.machine.Digest(in.ref.Slot, revision))
	}
	if svc := s.machine.Runs(in.ref.Slot, revision); svc != nil {
		in.svc = svc
	}
}

func incarnationName(id string, n uint64) string { return id + "." + strconv.FormatUint(n, 10) }

// current returns the incarnation that ref names, if it is the living one of its
// slot, or in quarantine.
func (s *Supervisor) current(ref policy.Ref) *incarnation {
	if in := s.live[ref.Slot]; in != nil && in.ref == ref {
		return in
	}
	return s.inmates[ref]
}

func (s *Supervisor) tree(in *incarnation) *proc.Tree {
	return &proc.Tree{PID: in.pid, Start: in.start, Group: in.group, Mark: s.mark + in.name, KeeperPID: s.cfg.KeeperPID}
}

// known says whether a pid is a main process of ours; only the loop may ask.
func (s *Supervisor) known(pid int) bool {
	if _, ok := s.pids[pid]; ok {
		return true
	}
	return s.adopted[pid] != nil
}

// owner says whose child a pid is: an incarnation's main process, a hook's, an
// exec check's, or a command's beside them all.
type owner struct {
	in   *incarnation
	hook *hookRun
	exec *execRun
	side *sideRun
}

// spawned is the spawner's answer for an incarnation.
func (s *Supervisor) spawned(in *incarnation, pid int, start uint64, group *cgroups.Group, err *proc.Error) {
	s.inFlight--
	if err != nil {
		s.failedExec(pid)
		delete(s.live, in.ref.Slot)
		s.notifier.end(in)
		s.janitor.remove(group)
		s.step(policy.SpawnFailed{Ref: in.ref, Step: err.Step, Cause: err.Error(), Code: err.ExitCode(), Again: err.Again()})
		return
	}
	fault("before-known")
	in.pid, in.start, in.group = pid, start, group
	s.pids[pid] = owner{in: in}
	if start != 0 {
		s.values = append(s.values, keyMain+strconv.Itoa(pid)+" "+strconv.FormatUint(start, 10))
	}
	s.notifier.started(in)
	s.step(policy.Spawned{Ref: in.ref, PID: pid, Start: start})
	if t := s.notifier.of(in); t != nil && in.nextMain != 0 && in.nextMain != pid {
		s.mainMoved(t, &notify.Sender{PID: pid}, in.nextMain)
	}
	s.judgeMemory(in)
	if in.condemn {
		s.kill(in.ref)
	}
}

// failedExec: a spawn failed, and this is the shim that could not exec; 0: it
// was a plain clone, which has reaped its child itself.
func (s *Supervisor) failedExec(pid int) {
	if pid != 0 {
		s.pids[pid] = owner{} // nobody's, when it is reaped
	}
}

// reap collects every child that ended. How a main process ended is with the
// keeper before it is reaped: a death of ours in between loses no status. All
// of them are marked before the machine steps for any: what it decides for one
// may signal another.
//
// A child that is not known is of a spawn in flight that has not been answered:
// it has exec'ed or ended, so the answer is at hand, and it stays a zombie until
// then. So its pid cannot be used again, and should we die now, the keeper
// inherits it and keeps its status.
func (s *Supervisor) reap() {
	s.unreaped = false
	var gone []owner
	for {
		pid, raw, ok := wait.Peek()
		if !ok {
			break
		}
		o, known := s.pids[pid]
		if !known && s.inFlight > 0 {
			s.unreaped = true
			break
		}
		fault("exit-peeked")
		if o.in != nil && o.in.start != 0 {
			exit := strconv.FormatUint(o.in.start, 10) + " " + strconv.FormatUint(uint64(raw), 10)
			// With what waits to be told: of a pid that became known this turn, the slot's
			// memory says whose it was.
			s.tell(encode(s.records, append(s.values, keyExit+strconv.Itoa(pid)+" "+exit)))
			s.records, s.values = s.records[:0], s.values[:0]
		}
		fault("exit-told")
		wait.Reap(pid)
		fault("exit-reaped")
		status := proc.StatusOf(raw)
		delete(s.pids, pid)
		switch {
		case o.in != nil:
			o.in.reaped, o.in.status = true, status
		case o.hook != nil:
			o.hook.reaped, o.hook.status = true, status
		case o.exec != nil:
			o.exec.reaped, o.exec.status = true, status
		case o.side != nil:
			o.side.reaped, o.side.status = true, status
		default:
			continue // nobody's, or a shim whose exec failed
		}
		gone = append(gone, o)
	}
	for _, o := range gone {
		switch {
		case o.in != nil:
			s.mainEnded(o.in)
		case o.side != nil:
			s.sideEnded(o.side)
		case o.hook != nil:
			s.hookEnded(o.hook)
		default:
			close(o.exec.ended)
		}
	}
}

// mainEnded tells the machine that the main process of in ended.
func (s *Supervisor) mainEnded(in *incarnation) {
	pid := in.pid
	if s.notifier.lastWords(in); in.pid != pid {
		return // its last word was that another process is the main one
	}
	s.sampler.forget(in.ref)
	st := s.statusOf(in, in.status)
	if in.untold {
		st = policy.Status{Unknown: true}
	}
	empty := in.emptied
	if !empty && !in.killing {
		var err error
		t := s.tree(in)
		t.Known = s.known
		if empty, err = t.Empty(); err != nil {
			s.log.Warn("cannot tell whether anything is left", "incarnation", in.name, "err", err)
			empty = false
		}
	}
	if empty {
		s.forget(in)
	}
	if in.start != 0 {
		// In the same message as what the machine makes of it.
		s.forgetMain(in.pid)
	}
	s.step(policy.Exited{Ref: in.ref, Empty: empty, Status: st})
}

// forget: nothing of in lives; its cgroup goes when the janitor comes by.
func (s *Supervisor) forget(in *incarnation) {
	if s.live[in.ref.Slot] == in {
		delete(s.live, in.ref.Slot)
	}
	delete(s.inmates, in.ref)
	s.notifier.end(in)
	s.janitor.remove(in.group)
}

func (s *Supervisor) signal(a *policy.Action) {
	in := s.current(a.Ref)
	if in == nil || in.reaped || in.pid == 0 {
		return // it ended meanwhile; the exit is on its way to the machine
	}
	err := s.send(in, a.Signal)
	if err == nil && a.Cont {
		err = s.send(in, "SIGCONT")
	}
	if err != nil {
		s.log.Warn("cannot signal", "instance", in.id, "pid", in.pid, "signal", a.Signal, "err", err)
	}
}

// send signals a main process that was not reaped: ours by its pid, which only
// we can free; the keeper's by its start time as well.
func (s *Supervisor) send(in *incarnation, sig string) error {
	switch sig {
	case "SIGSTOP":
		in.halted.Store(true)
	case "SIGCONT":
		in.halted.Store(false)
	}
	if in.adopted {
		return proc.SignalProcess(in.pid, in.start, sig)
	}
	return proc.Signal(in.pid, sig)
}

// killMain sends SIGKILL to a main process that was not reaped.
func (s *Supervisor) killMain(in *incarnation) error {
	if in.adopted {
		return proc.SignalProcess(in.pid, in.start, "SIGKILL")
	}
	return proc.KillMain(in.pid)
}

// kill ends all that an incarnation started, in a worker, and answers Emptied.
func (s *Supervisor) kill(ref policy.Ref) {
	in := s.current(ref)
	if in == nil {
		// Nothing of it lives: say so again, the machine may have missed it.
		s.box.put(func() { s.step(policy.Emptied{Ref: ref}) })
		return
	}
	if in.pid == 0 {
		in.condemn = true
		s.spawner.abort(in)
		return
	}
	if in.killing {
		return
	}
	in.killing = true
	t := s.tree(in)
	if !in.reaped {
		// The main process is killed here, where its pid cannot have been used
		// again; the killer takes the rest.
		if err := s.killMain(in); err != nil {
			s.log.Warn("cannot kill", "instance", in.id, "pid", in.pid, "err", err)
		}
	}
	go func() {
		s.killers <- struct{}{}
		ctx, cancel := context.WithTimeout(context.Background(), killPatience)
		err := t.Kill(ctx)
		cancel()
		<-s.killers
		s.box.put(func() { s.killed(in, err) })
	}()
}

// killed is a killer's answer.
func (s *Supervisor) killed(in *incarnation, err error) {
	in.killing = false
	if err != nil {
		// The machine's own patience is about to end: it says `stuck` and asks
		// again.
		s.log.Warn("cannot end everything of", "incarnation", in.name, "err", err)
		return
	}
	in.emptied = true
	if !in.reaped {
		return // Exited follows, and says Empty
	}
	if s.current(in.ref) != in {
		return
	}
	s.forget(in)
	s.step(policy.Emptied{Ref: in.ref})
}
