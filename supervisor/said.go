package supervisor

import (
	"errors"
	"os"
	"path"
	"strconv"
	"strings"
	"syscall"
	"time"

	"nines/spec"
	"nines/supervisor/journal"
	"nines/supervisor/notify"
	"nines/supervisor/policy"
	"nines/supervisor/proc"
)

// said carries out what an incarnation has said. It may come twice, where the
// supervisor before this one died over it.
func (s *Supervisor) said(t *talker, d *notify.Datagram) {
	said := notify.ParseSaid(d.Text)
	n := s.notifier
	n.mu.Lock()
	n.note(t, &said)
	if said.HasStatus || said.Errno != 0 {
		// Not gathered: it goes with what else was said.
		s.values = append(s.values, keySaid+t.name+" "+t.shown())
	}
	n.mu.Unlock()
	if s.current(t.ref) != t.in {
		return // it has ended, and nothing but its own end is of interest
	}
	if d.Lost {
		n.complain(t, &d.Sender, "more descriptors came with it than nines may open, and were closed: raise the limit of open files (LimitNOFILE=)")
	}
	if said.MainPID != 0 && said.MainPID != t.in.pid {
		s.mainMoved(t, &d.Sender, said.MainPID)
	}
	if said.Extend > 0 {
		s.step(policy.MoreTime{Ref: t.ref, By: said.Extend})
	}
	if said.Reloading {
		at := s.clock.now()
		if said.Monotonic > 0 {
			at = min(at, policy.Time(said.Monotonic))
		}
		s.step(policy.Reloading{Ref: t.ref, At: at})
	}
	// Where something else says when it is ready, its word ends a reload at most.
	if said.Ready && (t.svc.Ready != nil && t.svc.Ready.Notify != "" || !s.machine.Starting(t.ref)) {
		s.step(policy.Ready{Ref: t.ref})
	}
	if said.Stopping {
		s.step(policy.Leaving{Ref: t.ref})
	}
	if said.Unstore && said.FDName != "" {
		n.store.unstore(t.id, said.FDName)
	}
	if said.Store && len(d.FDs) > 0 {
		d.FDs = n.store.store(t, &d.Sender, &said, d.FDs)
	}
	if said.Watchdog > 0 {
		t.within.Store(int64(said.Watchdog))
	}
	if said.Trigger {
		on := spec.OnFailureRestart
		if c := heartbeat(t.svc); c != nil && c.OnFailure != "" {
			on = c.OnFailure
		}
		s.step(policy.Act{Ref: t.ref, Cause: policy.CauseCheck, On: on, Reason: "it says itself that it has failed (WATCHDOG=trigger)"})
	}
}

// Beat is when an incarnation last gave a sign of life (WATCHDOG=1), and within
// what time it wants to be asked for the next (WATCHDOG_USEC). 0: it did not yet;
// it wants what the spec says. It may be called from any goroutine.
func (s *Supervisor) Beat(ref policy.Ref, name string) (last policy.Time, within time.Duration) {
	n := s.notifier
	n.mu.Lock()
	defer n.mu.Unlock()
	t := n.talkers[name]
	if t == nil || t.ref != ref {
		return 0, 0
	}
	src := t.socket
	if src == nil {
		src = n.shared
	}
	if src != nil {
		// What it said may still be in the socket: the reader may have had no turn.
		n.hearLight(src)
	}
	return policy.Time(t.beat.Load()), time.Duration(t.within.Load())
}

// shown is the status line as people see it.
func (t *talker) shown() string {
	if t.errno == 0 {
		return t.status
	}
	text := "errno " + itoa(t.errno) + ": " + syscall.Errno(t.errno).Error()
	if t.status != "" {
		text = t.status + " (" + text + ")"
	}
	return text
}

// statuses are the status lines of what lives.
func (n *notifier) statuses(live map[policy.Slot]*incarnation) map[policy.Slot]string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.talkers) == 0 {
		return nil
	}
	all := map[policy.Slot]string{}
	for _, t := range n.talkers {
		if text := t.shown(); text != "" && live[t.ref.Slot] == t.in {
			all[t.ref.Slot] = text
		}
	}
	return all
}

// stranger is a sender that nobody listens to.
type stranger struct {
	name string // of the group that it belongs to: "web/0.17"; "": of none
	why  string
}

func nobody() stranger { return stranger{why: "its sender belongs to no instance"} }

// sender finds out who sent a datagram, or why nobody is listened to; n.mu is
// held.
func (n *notifier) sender(src *source, from *notify.Sender) (*talker, stranger) {
	if src.of != nil {
		return n.belongs(src.of, from)
	}
	if t := n.cgroups[from.Cgroup]; t != nil && from.Cgroup != 0 {
		return t, stranger{}
	}
	name, ok := n.s.cfg.Cgroups.NameOf(from.PID)
	if !ok && from.Cgroup == 0 {
		// This kernel does not tell of the dead. A main process that we have not
		// reaped keeps its pid.
		for _, t := range n.talkers {
			if pid := t.main.Load(); pid != 0 && int(pid) == from.PID {
				return t, stranger{}
			}
		}
		return nil, stranger{why: "its sender has ended, and this kernel does not tell what it belonged to"}
	}
	if !ok {
		return nil, nobody()
	}
	// A service may have cgroups of its own below its incarnation's.
	service, rest, _ := strings.Cut(name, "/")
	incarnation, _, _ := strings.Cut(rest, "/")
	if t := n.talkers[path.Join(service, incarnation)]; t != nil && talks(t.svc) {
		return t, stranger{}
	}
	return nil, stranger{name, "its sender belongs to " + name + ", which has neither ready { notify = \"systemd\" } nor a heartbeat"}
}

// ancestors bounds how far up the parents of a sender are looked at.
const ancestors = 64

// belongs says whether who sent to an incarnation's own socket is of it. Of one
// that has ended nobody knows more than that it could reach the socket.
func (n *notifier) belongs(t *talker, from *notify.Sender) (*talker, stranger) {
	if pid := t.main.Load(); pid == 0 || from.PID == int(pid) {
		return t, stranger{} // or it is only being started
	}
	if !proc.Runs(from.PID) {
		return t, stranger{}
	}
	switch mark := proc.MarkOf(from.PID); {
	case mark == n.s.mark+t.name:
		return t, stranger{}
	case strings.HasPrefix(mark, n.s.mark):
		name := strings.TrimPrefix(mark, n.s.mark)
		return nil, stranger{name, "its sender belongs to " + name + ", and the socket to " + t.name}
	}
	pid := from.PID
	for range ancestors {
		if pid = proc.Parent(pid); pid <= 1 || pid == n.s.cfg.KeeperPID {
			break
		}
		if pid == int(t.main.Load()) {
			return t, stranger{}
		}
	}
	return nil, nobody()
}

// refusal is how often something was refused of one sender.
type refusal struct {
	next  time.Time // when it is told again
	times int       // since it was told
}

// An event of refused messages comes at most once a refusedPause for each that
// they come from, of which maxRefused are told apart.
const (
	refusedPause = time.Minute
	maxRefused   = 256
)

// refuse says that a message of a stranger was dropped; n.mu is held.
func (n *notifier) refuse(from *notify.Sender, of stranger) {
	if n.stale {
		return // of one that ended while no supervisor watched: what it said concerns nobody
	}
	n.tellRefused(from, of)
}

func (n *notifier) tellRefused(from *notify.Sender, of stranger) {
	who, why := of.name+" "+of.why, of.why
	e := journal.Entry{Kind: journal.KindNotifyRefused, PID: from.PID}
	if id, _, ok := cutIncarnation(of.name); ok {
		e.Instance = id
		e.Service, _, _ = strings.Cut(id, "/")
	}
	r := n.refused[who]
	if r == nil {
		if len(n.refused) >= maxRefused {
			clear(n.refused)
		}
		r = &refusal{}
		n.refused[who] = r
	}
	r.times++
	now := time.Now()
	if now.Before(r.next) {
		return
	}
	e.Text = "dropped a notify message of process " + itoa(from.PID) + " (uid " + strconv.FormatUint(uint64(from.UID), 10) + "): " + why
	if r.times > 1 {
		e.Text += "; with it " + itoa(r.times-1) + " more since the last was told"
	}
	r.next, r.times = now.Add(refusedPause), 0
	n.s.note(e)
}

// complain says, from the loop, that a part of a message was dropped.
func (n *notifier) complain(t *talker, from *notify.Sender, why string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tellRefused(from, stranger{t.name, why})
}

// cutIncarnation takes "web/0.17" apart: "web/0", "17".
func cutIncarnation(name string) (id, number string, ok bool) {
	i := strings.LastIndexByte(name, '/')
	if i < 0 {
		return "", "", false
	}
	index, number, ok := strings.Cut(name[i+1:], ".")
	return name[:i+1] + index, number, ok
}

// removeSocket removes the file of a notify socket.
func removeSocket(a notify.Address) {
	if a != "" && !a.Abstract() {
		// One that stays is replaced by the next.
		_ = os.Remove(string(a))
	}
}

func itoa(n int) string { return strconv.Itoa(n) }

func usec(d time.Duration) string { return strconv.FormatInt(d.Microseconds(), 10) }

// cause is the errno in an error.
func cause(err error) error {
	var no syscall.Errno
	if errors.As(err, &no) {
		return no
	}
	return err
}
