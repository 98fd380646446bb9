package supervisor

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"nines/cgroups"
	"nines/spec"
	"nines/supervisor/policy"
	"nines/supervisor/proc"
)

// hookRun is one run of a service's stop or reload command. It runs in a cgroup
// beside the instance's, never inside: killing the instance must not kill what
// stops it, and a clone into a frozen cgroup hangs.
type hookRun struct {
	token   uint64
	in      *incarnation
	name    string // "web/0.17.stop-3"
	command spec.Expr
	mainPID int
	timeout time.Duration

	pid     int
	group   *cgroups.Group
	reaped  bool
	status  proc.Status
	timer   *time.Timer
	expired bool
}

func (s *Supervisor) hook(a policy.Action) {
	in := s.current(a.Ref)
	if in == nil || in.svc == nil {
		s.box.put(func() {
			s.step(policy.HookDone{Token: a.Token, Cause: "the instance has ended"})
		})
		return
	}
	h := &hookRun{token: a.Token, in: in, mainPID: in.pid, timeout: a.Timeout}
	kind := "stop"
	// What is done is what the spec says now; what it is done with, in.svc, is what
	// the instance runs with.
	svc, _ := s.machine.Slot(in.ref.Slot)
	h.command = svc.Stop.Command
	if a.Hook == policy.HookReload && svc.Reload != nil {
		kind = "reload"
		h.command = svc.Reload.Command
	}
	h.name = in.name + "." + kind + "-" + strconv.FormatUint(a.Token, 10)
	s.hooks[h.token] = h
	s.inFlight++
	s.spawner.put(batch{hooks: []*hookRun{h}})
}

func (s *Supervisor) hookSpawned(h *hookRun, pid int, group *cgroups.Group, err *proc.Error) {
	s.inFlight--
	if err != nil {
		s.failedExec(pid)
		s.janitor.remove(group)
		s.hookDone(h, false, err.Error())
		return
	}
	h.pid, h.group = pid, group
	s.pids[pid] = owner{hook: h}
	h.timer = time.AfterFunc(h.timeout, func() {
		s.box.put(func() { s.hookExpired(h) })
	})
}

func (s *Supervisor) hookExpired(h *hookRun) {
	if s.hooks[h.token] != h || h.reaped {
		return
	}
	h.expired = true
	if err := proc.KillMain(h.pid); err != nil {
		s.log.Warn("cannot kill", "hook", h.name, "err", err)
	}
}

// hookEnded: the hook's main process was reaped.
func (s *Supervisor) hookEnded(h *hookRun) {
	if h.timer != nil {
		h.timer.Stop()
	}
	t := &proc.Tree{Group: h.group, Mark: s.mark + h.name, KeeperPID: s.cfg.KeeperPID}
	empty, err := t.Empty()
	if err == nil && empty {
		s.janitor.remove(h.group)
	} else {
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), killPatience)
			defer cancel()
			if err := t.Kill(ctx); err != nil {
				s.log.Warn("cannot end everything of", "hook", h.name, "err", err)
				return
			}
			s.janitor.remove(h.group)
		}()
	}
	switch {
	case h.expired:
		s.hookDone(h, false, fmt.Sprintf("did not finish within %s", h.timeout))
	case h.status.Signal != "":
		s.hookDone(h, false, "killed by "+h.status.Signal)
	case h.status.Code != 0:
		s.hookDone(h, false, "exited with code "+strconv.Itoa(h.status.Code))
	default:
		s.hookDone(h, true, "")
	}
}

func (s *Supervisor) hookDone(h *hookRun, ok bool, cause string) {
	delete(s.hooks, h.token)
	s.step(policy.HookDone{Token: h.token, OK: ok, Cause: cause})
}
