package supervisor

import (
	"path"
	"slices"
	"strconv"
	"strings"

	"nines/supervisor/notify"
	"nines/supervisor/policy"
	"nines/supervisor/proc"
)

// mainMoved: an incarnation says that another process stands for it (MAINPID),
// as a daemon does that forks and leaves its first process.
func (s *Supervisor) mainMoved(t *talker, from *notify.Sender, pid int) {
	in := t.in
	if in.pid == 0 {
		in.nextMain = pid // the spawner has not answered yet
		return
	}
	start, err := proc.StartTime(pid)
	if err != nil || !s.mayBeMain(t, pid) {
		s.notifier.complain(t, from, "MAINPID="+strconv.Itoa(pid)+" is no process of "+t.name+": the main process stays "+strconv.Itoa(in.pid))
		return
	}
	s.forgetMain(in.pid)
	if in.adopted {
		delete(s.adopted, in.pid)
	} else if _, ours := s.pids[in.pid]; ours {
		s.pids[in.pid] = owner{} // nobody's, when it is reaped
	}
	in.pid, in.start, in.reaped = pid, start, false
	if _, in.adopted = s.pids[pid]; in.adopted {
		// Back to the first one, which is our own child.
		s.pids[pid], in.adopted = owner{in: in}, false
	} else {
		s.adopted[pid], in.adopted = in, true
	}
	s.values = append(s.values, keyMain+strconv.Itoa(pid)+" "+strconv.FormatUint(start, 10))
	t.main.Store(int64(pid))
	in.measure()
	s.step(policy.MainChanged{Ref: t.ref, PID: pid, Start: start})
	s.watchMain(in)
}

// mayBeMain says whether a process is one of the incarnation, and no other's main
// process.
func (s *Supervisor) mayBeMain(t *talker, pid int) bool {
	if o, ok := s.pids[pid]; s.adopted[pid] != nil || ok && (o.in != nil || o.hook != nil || o.exec != nil) || !proc.Runs(pid) {
		return false
	}
	if s.cfg.Cgroups == nil {
		of, _ := s.notifier.belongs(t, &notify.Sender{PID: pid})
		return of == t
	}
	name, ok := s.cfg.Cgroups.NameOf(pid)
	service, rest, _ := strings.Cut(name, "/")
	incarnation, _, _ := strings.Cut(rest, "/")
	return ok && path.Join(service, incarnation) == t.name
}

// watchMain has the end of an adopted main process known whose parent is not the
// keeper: nobody but the kernel tells us of that.
func (s *Supervisor) watchMain(in *incarnation) {
	if !in.adopted || in.reaped || proc.Parent(in.pid) == s.cfg.KeeperPID {
		return
	}
	pid, start := in.pid, in.start
	fd, err := proc.Watch(pid, start)
	if err != nil {
		s.box.put(func() { s.mainGone(pid, start) })
		return
	}
	n := s.notifier
	src := &source{fd: fd, key: "process " + strconv.Itoa(pid)}
	src.told = func() {
		raw, ok := proc.ExitOf(src.fd)
		n.drop(src, false)
		if !ok {
			raw, ok = proc.ZombieExit(pid, start) // its parent has not looked yet
		}
		if ok {
			s.orphanExited(pid, exitRecord{start: start, raw: raw})
		} else {
			s.mainGone(pid, start)
		}
	}
	n.wait(src, false)
}

// gonePID is a main process that has ended, of which the keeper may be about to
// tell more.
type gonePID struct {
	pid   int
	start uint64
}

// mainGone asks the keeper for all that it has reaped: if it was its child by
// then, how it ended comes before the answer.
func (s *Supervisor) mainGone(pid int, start uint64) {
	s.gone = append(s.gone, gonePID{pid, start})
	s.values = append(s.values, keySync+" 1")
}

// keeperSynced: what the keeper has not told by now of those that are gone, it
// does not know: their parents reaped them.
func (s *Supervisor) keeperSynced() {
	s.values = append(s.values, keySync+" ")
	for _, g := range slices.Clone(s.gone) {
		in := s.adopted[g.pid]
		if in == nil || in.start != g.start {
			continue
		}
		delete(s.adopted, g.pid)
		in.reaped, in.untold = true, true
		s.mainEnded(in)
	}
	s.gone = s.gone[:0]
}
