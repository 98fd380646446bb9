package supervisor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"nines/cgroups"
	"nines/supervisor/journal"
	"nines/supervisor/notify"
	"nines/supervisor/policy"
	"nines/supervisor/proc"
)

// leftoverPatience bounds how long a start waits for what a dead supervisor
// left behind, and what nobody wants any more, to end.
const leftoverPatience = 10 * time.Second

// recovery is what a supervisor finds that is not the first.
type recovery struct {
	s      *Supervisor
	report []policy.Event // what was found, for the machine
	lives  int            // instances that go on
	ended  int            // those that ended meanwhile
	frozen int            // those in quarantine
	began  int            // those in the middle of their start,
	// and of these, those of which no process was found
	missing []*incarnation
	errs    []error
}

// begin tells the machine of the spec and of the past, and takes over what
// lives: nothing that runs is started again or disturbed. The order is the one
// that policy's package comment asks for.
func (s *Supervisor) begin() {
	past := s.cfg.Past.Past
	past.Before = s.cfg.Before
	s.pastRevisions(&past)
	past.Restores = s.foundRestores()
	ev := s.cfg.event()
	ev.Past = past
	out := s.machine.Step(s.clock.now(), ev)
	if t := s.cfg.Cgroups; t != nil {
		s.values = append(s.values, keyCgroups+" "+t.Path())
	}
	s.upgrade.last = s.cfg.Past.Upgrade
	s.noteUpgrade()
	// Also where there is none any more: the keeper may hold an earlier one's.
	s.values = append(s.values, keyWatchdog+" "+s.cfg.Spec.Supervisor.Watchdog)
	r := &recovery{s: s}
	snap := s.machine.Snapshot()
	for _, v := range append(snap.Instances, snap.Beside...) {
		if m, ok := s.cfg.Past.Slots[v.Key]; ok && m.Lives() {
			r.take(v, m)
		}
	}
	r.takeMissing()
	for _, v := range snap.Quarantine {
		r.takeInmate(&v)
	}
	s.notifier.adopted()
	leftovers := r.endLeftovers()
	s.janitor.only(s.cfg.Cgroups, s.cfg.Spec.Services)
	s.forgetUnknown()
	s.asks(s.cfg.By, names(s.cfg.Spec)...)
	s.carry(out)
	s.keepBooks(names(s.cfg.Spec), false)
	for _, ev := range r.report {
		s.step(ev)
	}
	for _, in := range s.live {
		s.judgeMemory(in)
	}
	s.step(policy.ClockChanged{Wall: time.Now()})
	if s.cfg.Next != nil {
		s.apply(0, *s.cfg.Next) // it was kept, and the supervisor died before it had begun
	}
	if r.lives+r.ended+r.began+r.frozen+leftovers > 0 {
		what := "ended"
		if s.cfg.Past.OnTrial() {
			what = "made way"
		}
		text := fmt.Sprintf("the supervisor before this one %s: %s undisturbed, %d ended meanwhile, %d were being started; leftovers ended: %d",
			what, count(r.lives, "instance"), r.ended, r.began, leftovers)
		if r.frozen > 0 {
			text += fmt.Sprintf("; in quarantine: %d", r.frozen)
		}
		s.note(journal.Entry{Kind: journal.KindRecovered, Text: text})
	}
	if err := errors.Join(r.errs...); err != nil {
		// Not fatal: what is left over keeps its ports and locks, which the
		// services that want them will say.
		s.log.Warn("cannot end everything that an earlier supervisor left", "err", err)
	}
}

// take finds the process of one remembered incarnation.
func (r *recovery) take(v policy.SlotView, m policy.SlotMemory) {
	s := r.s
	in := s.incarnation(v.Ref, v.ID)
	s.runs(in, v.Revision)
	in.adopted, in.pid, in.start = true, m.PID, m.Start
	in.ports = maps.Clone(s.cfg.Past.Ports[v.ID]) // the spawner, whose they are, has nothing to do yet
	if s.cfg.Cgroups != nil {
		in.group = s.cfg.Cgroups.Group(in.name)
	}
	if m.PID == 0 {
		r.takeSpawning(in)
		return
	}
	s.live[v.Ref.Slot] = in
	exit, known := s.cfg.Past.Exits[m.PID]
	known = known && exit.start == m.Start
	start, err := proc.StartTime(m.PID)
	if err == nil && start == m.Start && !known && !m.Exited {
		// It lives; or it is a zombie, whose exit the keeper is about to tell.
		s.adopted[m.PID] = in
		s.watcher.begin(in.svc, in.id, in.group)
		s.notifier.adopt(in)
		s.watchMain(in)
		r.lives++
		return
	}
	in.reaped = true
	s.forgetMain(m.PID)
	if m.Exited {
		return // that was told; what it left is being killed, which is asked for again
	}
	if !known {
		// It ended since the store was handed back: the keeper has told of it.
		if err := s.sync(); err != nil {
			r.errs = append(r.errs, fmt.Errorf("cannot learn from the keeper what has ended: %w", err))
		}
		exit, known = s.cfg.Past.Exits[m.PID]
		known = known && exit.start == m.Start
	}
	r.ended++
	st := policy.Status{Unknown: true}
	if known {
		st = s.statusOf(in, proc.StatusOf(exit.raw))
	} else if s.oomKilled(in) {
		st = policy.Status{Signal: "SIGKILL", OOM: true} // it took all of it
	}
	r.report = append(r.report, r.exited(in, st))
}

// exited is the event of a main process that is gone.
func (r *recovery) exited(in *incarnation, st policy.Status) policy.Event {
	empty, err := r.s.tree(in).Empty()
	if err != nil {
		r.errs = append(r.errs, err)
		empty = false
	}
	if empty {
		r.s.forget(in)
	}
	return policy.Exited{Ref: in.ref, Status: st, Empty: empty}
}

// takeSpawning: the supervisor died between the intent and our knowing a pid.
// In a cgroup of its own the process, if there is one, can be told for certain:
// the session leader whose parent the keeper has become. Without one, what
// carries the mark is ended as a leftover, and it is started again.
func (r *recovery) takeSpawning(in *incarnation) {
	s := r.s
	r.began++
	if in.group == nil {
		r.spawnAgain(in)
		return
	}
	pids, err := in.group.Procs()
	if err != nil {
		r.errs = append(r.errs, err)
	}
	pid, start, ok := proc.FindMain(pids, s.cfg.KeeperPID)
	if !ok {
		r.missing = append(r.missing, in)
		return
	}
	in.pid, in.start = pid, start
	s.live[in.ref.Slot] = in
	s.adopted[pid] = in
	s.watcher.begin(in.svc, in.id, in.group)
	s.notifier.adopt(in)
	s.values = append(s.values, keyMain+strconv.Itoa(pid)+" "+strconv.FormatUint(start, 10))
	r.report = append(r.report, policy.Spawned{Ref: in.ref, PID: pid, Start: start})
}

func (r *recovery) spawnAgain(in *incarnation) {
	r.report = append(r.report, policy.SpawnFailed{Ref: in.ref, Step: proc.StepClone, Again: true,
		Cause: "the supervisor ended while it was being started"})
}

// takeMissing: of those that were being started and have no process, one may have
// ended since the store was handed back, or be about to.
func (r *recovery) takeMissing() {
	if len(r.missing) == 0 {
		return
	}
	s := r.s
	if err := r.awaitEnding(); err != nil {
		r.errs = append(r.errs, fmt.Errorf("cannot learn what has ended: %w", err))
	}
	for _, in := range r.missing {
		pid, e, ok := s.cfg.Past.endedIn(in.group.Path())
		if !ok {
			r.spawnAgain(in)
			continue
		}
		in.pid, in.start, in.reaped = pid, e.start, true
		s.live[in.ref.Slot] = in
		r.ended++
		r.report = append(r.report, policy.Spawned{Ref: in.ref, PID: pid, Start: e.start}, r.exited(in, s.statusOf(in, proc.StatusOf(e.raw))))
	}
}

// endingAgain is how often a process is looked at that is ending.
const endingAgain = 5 * time.Millisecond

// awaitEnding waits until the keeper has told how each of the missing ended that is
// ending now.
func (r *recovery) awaitEnding() error {
	for until := time.Now().Add(leftoverPatience); ; {
		ending, err := proc.Ending(r.s.cfg.KeeperPID)
		if err == nil {
			err = r.s.sync()
		}
		if err != nil || time.Now().After(until) || !slices.ContainsFunc(r.missing, func(in *incarnation) bool {
			path := in.group.Path()
			_, _, told := r.s.cfg.Past.endedIn(path)
			return !told && slices.ContainsFunc(ending, func(cgroup string) bool { return isCgroup(path, cgroup) })
		}) {
			return err
		}
		<-time.After(endingAgain)
	}
}

// endLeftovers ends whatever of an earlier supervisor lives and belongs to no
// incarnation that goes on, before anything is started. It returns how many
// there were.
func (r *recovery) endLeftovers() int {
	s := r.s
	ctx, cancel := context.WithTimeout(context.Background(), leftoverPatience)
	defer cancel()
	keep := map[string]bool{}
	for _, in := range s.live {
		keep[in.name] = true
	}
	for _, in := range s.inmates {
		keep[in.name] = true
	}
	ended := 0
	if t := s.cfg.Cgroups; t != nil {
		services, err := t.List()
		if err != nil {
			r.errs = append(r.errs, err)
		}
		for _, service := range services {
			names, err := t.Group(service).List()
			if err != nil {
				r.errs = append(r.errs, err)
			}
			for _, name := range names {
				if !keep[name] {
					ended += r.endGroup(ctx, t.Group(name))
				}
			}
		}
	}
	marked, err := proc.FindMarked(s.mark)
	if err != nil {
		r.errs = append(r.errs, err)
	}
	seen := map[string]bool{}
	for _, m := range marked {
		name := strings.TrimPrefix(m.Mark, s.mark)
		if keep[name] || seen[name] {
			continue
		}
		seen[name] = true
		ended++
		t := proc.Tree{Mark: m.Mark, KeeperPID: s.cfg.KeeperPID, Known: s.known}
		if err := t.Kill(ctx); err != nil {
			r.errs = append(r.errs, err)
		}
	}
	return ended
}

func (r *recovery) endGroup(ctx context.Context, g *cgroups.Group) int {
	full, err := g.Populated()
	if err == nil && full {
		if err = g.Kill(); err == nil {
			err = g.WaitEmpty(ctx)
		}
	}
	if err == nil {
		err = g.Remove(ctx)
	}
	if err != nil {
		r.errs = append(r.errs, err)
	}
	if full {
		return 1
	}
	return 0
}

// forgetUnknown drops what is remembered of services that are no more, and of
// main processes that belong to no incarnation.
func (s *Supervisor) forgetUnknown() {
	for _, id := range s.machine.Unknown() {
		s.values = append(s.values, keySlot+id+" ")
	}
	for pid := range s.cfg.Past.Exits {
		if s.adopted[pid] == nil {
			s.forgetMain(pid)
		}
	}
}

// forgetMain has the keeper forget a main process whose end was dealt with.
func (s *Supervisor) forgetMain(pid int) {
	id := strconv.Itoa(pid)
	s.values = append(s.values, keyMain+id+" ", keyExit+id+" ")
}

// orphanExited: the keeper has reaped the main process of an adopted
// incarnation.
func (s *Supervisor) orphanExited(pid int, e exitRecord) {
	in := s.adopted[pid]
	if in == nil || in.start != e.start {
		if e.cgroup != "" {
			s.values = append(s.values, keyExit+strconv.Itoa(pid)+" ")
		}
		return // told before, or of a process that had the pid earlier
	}
	delete(s.adopted, pid)
	in.reaped, in.status = true, proc.StatusOf(e.raw)
	s.mainEnded(in)
}

// listenToKeeper hears what the keeper says until it is gone. Without it nobody
// reaps, holds the log pipes or starts a next supervisor, so then all is shut
// down while it still can be done in order.
func (s *Supervisor) listenToKeeper() {
	buf := make([]byte, notify.MaxMessage)
	for {
		n, fds, err := s.cfg.Keeper.Receive(buf)
		notify.CloseAll(fds)
		switch {
		case err == nil:
		case errors.Is(err, notify.ErrTruncated):
			continue
		default:
			s.box.put(func() { s.step(policy.Shutdown{Code: 1, Cause: "the keeper is gone"}) })
			return
		}
		if _, synced := s.heard(buf[:n]); synced {
			s.box.put(s.keeperSynced)
		}
	}
}

// heard takes down one message of the keeper: exits that it reaped. synced says
// that there was a sync in it.
func (s *Supervisor) heard(b []byte) (exits map[int]exitRecord, synced bool) {
	m, err := notify.Parse(slices.Clone(b))
	if err != nil {
		s.log.Warn("cannot read a message of the keeper", "err", err)
		return nil, false
	}
	for _, f := range m {
		key, value, _ := notify.SplitValue(f.Value)
		synced = synced || f.Key == notify.KeyValue && key == keySync
		if f.Key == notify.KeyValue && key == keyUpgrade {
			s.box.put(func() { s.upgradeTold(value) })
			continue
		}
		pid, ok := strings.CutPrefix(key, keyExit)
		if f.Key != notify.KeyValue || !ok {
			continue
		}
		p, e, err := parseExit(pid, value)
		if err != nil {
			s.log.Warn("cannot read an exit that the keeper told", "err", err)
			continue
		}
		if exits == nil {
			exits = map[int]exitRecord{}
		}
		exits[p] = e
		s.box.put(func() { s.orphanExited(p, e) })
	}
	return exits, synced
}

// syncPatience is how long the keeper may take to tell what it has reaped.
const syncPatience = 10 * time.Second

// sync has the keeper tell of every exit until now. Nobody else reads its
// messages yet.
func (s *Supervisor) sync() error {
	k := s.cfg.Keeper
	if err := k.Send(notify.Message{notify.Value(keySync, "1")}.Append(nil), nil); err != nil {
		return err
	}
	late := time.AfterFunc(syncPatience, func() { k.Close() })
	defer late.Stop()
	buf := make([]byte, notify.MaxMessage)
	for synced := false; !synced; {
		n, fds, err := k.Receive(buf)
		if err != nil {
			return err
		}
		notify.CloseAll(fds)
		var exits map[int]exitRecord
		exits, synced = s.heard(buf[:n])
		maps.Copy(s.cfg.Past.Exits, exits)
	}
	return k.Send(notify.Message{notify.Value(keySync, "")}.Append(nil), nil)
}

// tellPorts has the keeper remember which free ports an instance was given; the
// spawner calls it.
func (s *Supervisor) tellPorts(id string, ports map[string]int) {
	for _, m := range encode(nil, []string{keyPorts + id + " " + formatPorts(ports)}) {
		if err := s.cfg.Keeper.Send(m, nil); err != nil {
			s.log.Error("cannot record ports with the keeper", "instance", id, "err", err)
		}
	}
}
