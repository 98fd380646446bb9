package supervisor

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"time"

	"nines/cgroups"
	"nines/spec"
	"nines/supervisor/journal"
	"nines/supervisor/policy"
	"nines/supervisor/proc"
)

// freezePatience is how long the kernel may take to have all of a cgroup stand
// still, or go on; it is shorter than policy's patience. A process in the middle
// of an uninterruptible wait cannot be frozen before that is over.
const freezePatience = 3 * time.Second

// Judge says of an incarnation that something is to be done about it, and what:
// for whoever checks instances. It does not wait.
func (s *Supervisor) Judge(ref policy.Ref, cause policy.Cause, reason string, on spec.OnFailure) {
	s.box.put(func() { s.step(policy.Act{Ref: ref, Cause: cause, Reason: reason, On: on}) })
}

// freeze has all of an incarnation stand still, in a worker.
func (s *Supervisor) freeze(ref policy.Ref) {
	in := s.current(ref)
	if in == nil || in.reaped {
		return // its exit is on its way to the machine
	}
	if in.group == nil {
		s.box.put(func() {
			s.step(policy.FreezeFailed{Ref: ref, Cause: "there are no cgroups here: nines status says why"})
		})
		return
	}
	group := in.group
	go func() {
		memory, err := freezeGroup(group)
		s.box.put(func() { s.frozen(in, memory, err) })
	}()
}

// freezeGroup freezes a cgroup and measures it, or leaves it as it was.
func freezeGroup(g *cgroups.Group) (memory uint64, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), freezePatience)
	defer cancel()
	if err := g.Freeze(ctx); err != nil {
		again, done := context.WithTimeout(context.Background(), freezePatience/3)
		defer done()
		return 0, errors.Join(err, g.Thaw(again))
	}
	return groupMemory(g), nil
}

// groupMemory is what the processes of a cgroup hold: as its memory controller
// counts it, or where there is none, resident, with what they share counted for
// each.
func groupMemory(g *cgroups.Group) (sum uint64) {
	if b, err := g.Read("memory.current"); err == nil {
		if n, err := strconv.ParseUint(string(bytes.TrimSpace(b)), 10, 64); err == nil {
			return n
		}
	}
	pids, err := g.Procs()
	if err != nil {
		return 0 // it has just gone
	}
	for _, pid := range pids {
		rss, _, _, err := proc.ReadStat(pid)
		if err == nil { // else it has just ended
			sum += rss
		}
	}
	return sum
}

// frozen is the answer of a freeze.
func (s *Supervisor) frozen(in *incarnation, memory uint64, err error) {
	switch {
	case s.current(in.ref) != in || in.reaped:
		return // it ended meanwhile
	case err != nil:
		s.step(policy.FreezeFailed{Ref: in.ref, Cause: err.Error()})
		return
	}
	s.step(policy.Frozen{Ref: in.ref, Memory: memory})
	if s.machine.Detains(in.ref) && s.live[in.ref.Slot] == in {
		delete(s.live, in.ref.Slot)
		s.inmates[in.ref] = in
		s.sampler.forget(in.ref) // what stands still is not judged
	}
}

// thaw lets an incarnation in quarantine go on.
func (s *Supervisor) thaw(ref policy.Ref) {
	in := s.inmates[ref]
	if in == nil {
		return // it has ended, which is told
	}
	group := in.group
	if group == nil { // a supervisor before this one had cgroups
		s.box.put(func() { s.step(policy.Thawed{Ref: ref, Cause: "there are no cgroups here any more"}) })
		return
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), freezePatience)
		defer cancel()
		cause := ""
		if err := group.Thaw(ctx); err != nil {
			cause = err.Error()
		}
		s.box.put(func() { s.step(policy.Thawed{Ref: ref, Cause: cause}) })
	}()
}

// takeInmate finds the processes of one that was in quarantine.
func (r *recovery) takeInmate(v *policy.InmateView) {
	s := r.s
	in := s.incarnation(v.Ref, v.Instance)
	in.adopted, in.pid, in.start, in.reaped = true, v.PID, v.Start, v.PID == 0
	if s.cfg.Cgroups != nil {
		in.group = s.cfg.Cgroups.Group(in.name)
	}
	s.inmates[v.Ref] = in
	if in.reaped {
		return // that was told; what it left is being killed, which is asked for again
	}
	exit, known := s.cfg.Past.Exits[v.PID]
	known = known && exit.start == v.Start
	start, err := proc.StartTime(v.PID)
	if err == nil && start == v.Start && !known {
		s.adopted[v.PID] = in
		r.frozen++
		return
	}
	in.reaped = true
	s.forgetMain(v.PID)
	st := policy.Status{Unknown: true}
	if known {
		st = s.statusOf(in, proc.StatusOf(exit.raw))
	} else if s.oomKilled(in) {
		st = policy.Status{Signal: "SIGKILL", OOM: true} // it took all of it
	}
	r.report = append(r.report, r.exited(in, st))
}

// Quarantine has an instance in quarantine killed, or with resume run on outside
// its slot, and waits until that is done.
func (s *Supervisor) Quarantine(ctx context.Context, id string, resume bool, by string) (Answer, error) {
	return s.ask(ctx, true, maxPending, func(r policy.Request) policy.Event {
		verb := "kill"
		if resume {
			verb = "resume"
		}
		for _, v := range s.machine.Snapshot().Quarantine {
			if v.ID == id {
				s.note(journal.Entry{Kind: journal.KindCommand, Service: v.Service, Instance: v.Instance, Text: "quarantine " + verb + " " + id + " asked for by " + by})
			}
		}
		return policy.Inmate{Request: r, ID: id, Resume: resume, By: by}
	})
}

// Evidence is where the evidence of an instance in quarantine is.
type Evidence struct {
	policy.InmateView
	Spec  *spec.Service
	Group *cgroups.Group
}

// Evidence finds an instance in quarantine; nil: there is none of that id.
func (s *Supervisor) Evidence(ctx context.Context, id string) (*Evidence, error) {
	var found *Evidence
	err := s.call(ctx, func() {
		for _, v := range s.machine.Snapshot().Quarantine {
			if in := s.inmates[v.Ref]; v.ID == id && in != nil {
				found = &Evidence{InmateView: v, Spec: in.svc, Group: in.group}
			}
		}
	})
	if err != nil {
		return nil, err // the loop may still be writing found
	}
	return found, nil
}
