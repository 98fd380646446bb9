package supervisor

import (
	"context"
	"strconv"
	"time"

	"nines/cgroups"
	"nines/supervisor/journal"
	"nines/supervisor/policy"
)

// Answer is how a command ended.
type Answer struct {
	Code    policy.Refusal // "": it was not refused
	Failed  bool           // it was carried out and did not work
	Message string
	Hint    string
}

// pending is a command whose answer somebody waits for. Both channels hold one
// answer and are never waited on by the loop.
type pending struct {
	accepted chan struct{}
	done     chan Answer
}

// maxPending bounds the commands that are under way, whether somebody still
// waits for them or not: whoever sends thousands is refused, and what they cost
// policy is bounded.
const maxPending = 1024

// busy is the supervisor's own refusal, beside those of policy.
const busy policy.Refusal = "busy"

func (s *Supervisor) expect() (policy.Request, *pending) {
	s.lastReq++
	p := &pending{accepted: make(chan struct{}, 1), done: make(chan Answer, 1)}
	s.replies[s.lastReq] = p
	return s.lastReq, p
}

func (s *Supervisor) reply(a *policy.Action) {
	p := s.replies[a.Request]
	if p == nil {
		return // nobody waits: a signal's shutdown
	}
	if a.Kind == policy.ActAccepted {
		select {
		case p.accepted <- struct{}{}:
		default:
		}
		return
	}
	delete(s.replies, a.Request)
	p.done <- Answer{Code: a.Code, Failed: a.Failed, Message: a.Message, Hint: a.Hint}
}

// refuseAll answers whoever still waits when the supervisor ends.
func (s *Supervisor) refuseAll(why string) {
	for id, p := range s.replies {
		delete(s.replies, id)
		p.done <- Answer{Failed: true, Message: why}
	}
}

// Do carries out a command and waits until it is done (or only accepted). An
// ended ctx ends the wait, not the command.
func (s *Supervisor) Do(ctx context.Context, c policy.Command, wait bool) (Answer, error) {
	return s.ask(ctx, wait, maxPending, func(id policy.Request) policy.Event {
		c.Request = id
		s.noteCommand(&c)
		return c
	})
}

// noteCommand keeps who asked for what, before what comes of it. A restart is
// told by each instance's turn, and what names nothing is refused.
func (s *Supervisor) noteCommand(c *policy.Command) {
	if !s.machine.Has(c.Service, c.Instance) {
		return
	}
	text := ""
	switch c.Verb {
	case policy.VerbStart:
		text = "start"
	case policy.VerbStop:
		text = "stop"
	case policy.VerbReload:
		text = "reload"
	case policy.VerbSignal:
		text = "signal " + c.Signal
	case policy.VerbScale:
		text = "scale to " + strconv.Itoa(c.Instances)
	default:
		return
	}
	e := journal.Entry{Kind: journal.KindCommand, Service: c.Service, Text: text + " asked for"}
	if c.By != "" {
		e.Text += " by " + c.By
	}
	if c.Instance >= 0 && c.Verb != policy.VerbScale {
		e.Instance = c.Service + "/" + strconv.Itoa(c.Instance)
	}
	s.note(e)
}

// Shutdown ends everything in order. Exit is the keeper's exit status, action
// what then becomes of the machine, if it is our keeper's; "": what that has.
func (s *Supervisor) Shutdown(ctx context.Context, cause string, exit int, action string, wait bool) (Answer, error) {
	// However many commands are under way, it can be ended.
	return s.ask(ctx, wait, 2*maxPending, func(id policy.Request) policy.Event {
		return policy.Shutdown{Request: id, Code: exit, Cause: cause, Action: action}
	})
}

func (s *Supervisor) ask(ctx context.Context, wait bool, most int, event func(policy.Request) policy.Event) (Answer, error) {
	var p *pending
	if err := s.call(ctx, func() {
		if len(s.replies) >= most {
			return
		}
		var id policy.Request
		id, p = s.expect()
		s.step(event(id))
	}); err != nil {
		return Answer{}, err
	}
	if p == nil {
		return Answer{Code: busy, Message: "cannot take another command: " + strconv.Itoa(most) + " are under way", Hint: "try again"}, nil
	}
	accepted := p.accepted
	if wait {
		accepted = nil
	}
	select {
	case a := <-p.done:
		return a, nil
	case <-accepted:
		return Answer{Message: "accepted"}, nil
	case <-ctx.Done():
		return Answer{}, ctx.Err()
	case <-s.ended:
		// The last thing the loop does is to answer all.
		select {
		case a := <-p.done:
			return a, nil
		default:
			return Answer{}, ErrEnded
		}
	}
}

// State is everything that is to be shown, at one moment.
type State struct {
	policy.Snapshot
	Groups map[policy.Slot]*cgroups.Group // where there are any
	Status map[policy.Slot]string         // what they say of themselves
	Memory map[policy.Slot]uint64         // bytes, as the memory block is judged by: of those where one is
}

// State returns the state now.
func (s *Supervisor) State(ctx context.Context) (State, error) {
	var st State
	err := s.call(ctx, func() {
		st.Snapshot = s.machine.Snapshot()
		st.Memory = s.sampler.held()
		st.Status = s.notifier.statuses(s.live)
		if s.cfg.Cgroups == nil {
			return
		}
		st.Groups = make(map[policy.Slot]*cgroups.Group, len(s.live))
		for slot, in := range s.live {
			if in.group != nil {
				st.Groups[slot] = in.group
			}
		}
	})
	if err != nil {
		return State{}, err // the loop may still be writing st
	}
	return st, nil
}

// Wall returns what turns policy's times into wall time, as the clocks stand
// now.
func (s *Supervisor) Wall() func(policy.Time) time.Time {
	now, wall := s.clock.now(), time.Now()
	return func(t policy.Time) time.Time { return wall.Add(t.Sub(now)) }
}
