package main

import (
	"fmt"
	"testing"
	"time"

	"nines/ipc"
)

// tale is a made-up supervisor and what it has seen.
type tale struct {
	st      ipc.Status
	events  []ipc.Event
	history []ipc.Revision // of who is explained
}

// at adds an event, so long before now.
func (s *tale) at(before time.Duration, who, kind, message string, fields ...string) {
	e := ipc.Event{Seq: uint64(len(s.events) + 1), Time: fixedNow().Add(-before), Kind: kind, Message: message, Fields: map[string]string{}}
	if who != "" {
		e.Service, e.Instance = who, who
		for i := range who {
			if who[i] == '/' {
				e.Service = who[:i]
			}
		}
		if e.Service == who {
			e.Instance = ""
		}
	}
	for i := 0; i+1 < len(fields); i += 2 {
		e.Fields[fields[i]] = fields[i+1]
	}
	s.events = append(s.events, e)
}

func (s *tale) service(name, state, reason string, instances ...ipc.Instance) {
	for i := range instances {
		in := &instances[i]
		in.Index, in.ID = i, fmt.Sprintf("%s/%d", name, i)
	}
	s.st.Services = append(s.st.Services, ipc.Service{
		Name: name, Type: "service", State: state, Desired: "running", Reason: reason, InstancesDesired: len(instances), Instances: instances,
	})
}

func (s *tale) explain(t *testing.T, who string) []byte {
	t.Helper()
	tg, err := parseTarget(who)
	if err != nil {
		t.Fatal(err)
	}
	c, err := newCase(&s.st, tg, fixedNow().Add(-time.Hour), fixedNow())
	if err != nil {
		t.Fatal(err)
	}
	c.history = s.history
	for i := range s.events {
		if e := &s.events[i]; e.Service == "" || e.Service == tg.service {
			c.story.add(e)
		}
	}
	return c.explain().text(fixedNow(), false)
}

func TestExplanation(t *testing.T) {
	ago := func(d time.Duration) *time.Time { at := fixedNow().Add(-d); return &at }
	exited := func(code int, d time.Duration) *ipc.LastExit {
		return &ipc.LastExit{Reason: "exited", Code: code, At: *ago(d)}
	}
	ready := ipc.Instance{State: "ready", StartedAt: ago(50 * time.Minute), ReadyAt: ago(50 * time.Minute), PID: 7}
	for name, tc := range map[string]struct {
		who  string
		tell func(s *tale)
	}{
		"healthy": {"web", func(s *tale) {
			s.service("web", "running", "", ready)
			s.at(50*time.Minute, "", "supervisor_started", "supervisor started: 1 service")
			s.at(50*time.Minute, "", "spec_applied", "specification applied: 1 service")
			s.at(50*time.Minute, "web/0", "starting", "started")
			s.at(50*time.Minute, "web/0", "ready", "ready after 12ms")
			s.at(40*time.Minute, "", "spec_rejected", "the specification is wrong")
			s.at(30*time.Minute, "", "spec_applied", "specification applied: 2 services")
			s.at(20*time.Minute, "", "journal_failed", "no matter of web's")
		}},
		"silent": {"web", func(s *tale) { s.service("web", "running", "", ready) }},
		"backoff": {"web/0", func(s *tale) {
			next := fixedNow().Add(1200 * time.Millisecond)
			s.service("web", "down", "exited with code 1; started again after 1.6s (retry 5)",
				ipc.Instance{State: "backoff", Reason: "exited with code 1; started again after 1.6s (retry 5)", NextStartAt: &next, Restarts: 4, LastExit: exited(1, 400*time.Millisecond)})
			s.at(30*time.Second, "web/0", "starting", "started")
			s.at(30*time.Second, "web/0", "ready", "ready after 1ms")
			for i := range 5 {
				at := time.Duration(5-i) * 4 * time.Second
				s.at(at, "web/0", "exited", "exited with code 1", "exit_code", "1")
				s.at(at, "web/0", "backoff", "exited with code 1; started again after a while", "delay_ms", fmt.Sprint(100<<i))
				if i < 4 {
					s.at(at-time.Second, "web/0", "starting", fmt.Sprintf("started again (automatic restart %d)", i+1), "count", fmt.Sprint(i+1))
					s.at(at-time.Second, "web/0", "ready", "ready after 1ms")
				}
			}
		}},
		"held": {"loop", func(s *tale) {
			next := fixedNow().Add(20 * time.Second)
			why := "held after a crash loop, tried again every 1m; the last: killed by SIGSEGV"
			s.service("loop", "held", why,
				ipc.Instance{State: "backoff", Reason: why, NextStartAt: &next, Restarts: 9, LastExit: &ipc.LastExit{Reason: "signaled", Signal: "SIGSEGV", At: *ago(40 * time.Second)}})
			n := 0
			cycle := func(at time.Duration, delay string, more ...string) {
				s.at(at, "loop/0", "exited", "killed by SIGSEGV", "signal", "SIGSEGV")
				for _, m := range more {
					s.at(at, "loop/0", m, map[string]string{"crash_loop": "3 ends within 1m, the last: killed by SIGSEGV", "held": why}[m])
				}
				s.at(at, "loop/0", "backoff", "killed by SIGSEGV; started again after a while", "delay_ms", delay)
				if n++; n < 6 {
					s.at(at-time.Second, "loop/0", "starting", "started again", "count", fmt.Sprint(n))
					s.at(at-time.Second, "loop/0", "ready", "ready after 0s")
				}
			}
			s.at(10*time.Minute, "loop/0", "starting", "started")
			cycle(9*time.Minute, "99")
			cycle(8*time.Minute, "201")
			cycle(7*time.Minute, "60000", "crash_loop", "held")
			cycle(6*time.Minute, "60000")
			cycle(5*time.Minute, "60000")
			cycle(4*time.Minute, "60000")
		}},
		"blocked": {"api", func(s *tale) {
			s.service("db", "held", "held after a crash loop, tried again every 30s; the last: exited with code 1", ipc.Instance{State: "backoff"})
			s.service("cache", "down", "needs db, which is held after a crash loop", ipc.Instance{State: "waiting"})
			s.service("api", "down", "needs cache, which needs db, which is held after a crash loop",
				ipc.Instance{State: "waiting", Reason: "needs cache, which needs db, which is held after a crash loop"})
			s.at(3*time.Minute, "", "supervisor_started", "supervisor started: 3 services")
		}},
		"stopped": {"web", func(s *tale) {
			s.service("web", "stopped", "stopped by uid 1000", ipc.Instance{State: "stopped", Reason: "stopped by uid 1000", LastExit: &ipc.LastExit{Reason: "stop", Signal: "SIGTERM", At: *ago(25 * time.Hour)}})
			s.at(26*time.Hour, "web/0", "starting", "started")
			s.at(26*time.Hour, "web/0", "ready", "ready after 12ms")
			s.at(25*time.Hour, "web", "command", "stop asked for by uid 1000")
			s.at(25*time.Hour, "web/0", "exited", "stopped: killed by SIGTERM")
		}},
		"start-timeout": {"slow/0", func(s *tale) {
			next := fixedNow().Add(200 * time.Millisecond)
			why := "not ready within 1s; started again after 200ms (retry 2)"
			s.service("slow", "down", why, ipc.Instance{State: "backoff", Reason: why, NextStartAt: &next, LastExit: &ipc.LastExit{Reason: "start_timeout", Signal: "SIGTERM", At: *ago(0)}})
			for i := range 2 {
				at := time.Duration(2-i) * 2 * time.Second
				if i == 0 {
					s.at(at, "slow/0", "starting", "started")
				} else {
					s.at(at, "slow/0", "starting", "started again (automatic restart 1)", "count", "1")
				}
				s.at(at-time.Second, "slow/0", "exited", "not ready within 1s, so it was stopped: killed by SIGTERM")
				s.at(at-time.Second, "slow/0", "backoff", why, "delay_ms", "200")
			}
		}},
		"exec-error": {"nothere", func(s *tale) {
			why := "cannot exec /opt/x: no such file (ENOENT); by fatal_codes no retry can mend; given up"
			s.service("nothere", "failed", why, ipc.Instance{State: "failed", Reason: why, LastExit: exited(127, time.Second)})
			s.at(time.Second, "nothere/0", "starting", "started")
			s.at(time.Second, "nothere/0", "exited", "cannot exec /opt/x: no such file (ENOENT)", "exit_code", "127")
		}},
		"after-a-crash": {"web", func(s *tale) {
			s.service("web", "running", "", ready, ipc.Instance{State: "ready", ReadyAt: ago(30 * time.Second), Restarts: 1, LastExit: exited(0, 40*time.Second)})
			s.at(50*time.Minute, "web/0", "starting", "started")
			s.at(50*time.Minute, "web/0", "ready", "ready after 1ms")
			s.at(50*time.Minute, "web/1", "starting", "started")
			s.at(50*time.Minute, "web/1", "ready", "ready after 1ms")
			s.at(time.Minute, "", "supervisor_started", "supervisor started: 1 service")
			s.at(time.Minute, "", "supervisor_recovered", "the supervisor before this one ended: 2 instances undisturbed")
			s.at(40*time.Second, "web/1", "exited", "exited with code 0")
			s.at(40*time.Second, "web/1", "backoff", "exited with code 0; started again after 100ms (retry 1)", "delay_ms", "100")
			s.at(30*time.Second, "web/1", "starting", "started again (automatic restart 1)", "count", "1")
			s.at(30*time.Second, "web/1", "ready", "ready after 1ms")
		}},
		"refused-by-the-machine": {"web/0", func(s *tale) {
			next := fixedNow().Add(time.Second)
			why := "cannot clone: too many processes (EAGAIN); this passes, tried again after 800ms"
			s.service("web", "down", why, ipc.Instance{State: "backoff", Reason: why, NextStartAt: &next})
			for i := range 4 {
				s.at(time.Duration(4-i)*time.Second, "web/0", "starting", "started")
				s.at(time.Duration(4-i)*time.Second, "web/0", "backoff", "cannot clone: too many processes (EAGAIN); this passes, tried again after a while", "delay_ms", fmt.Sprint(100<<i))
			}
		}},
		"canary": {"web", func(s *tale) {
			// One that a person has stopped does not hold it up.
			s.service("web", "running", "", ready, ipc.Instance{State: "stopped", Reason: "stopped by uid 0"}, ready)
			s.st.Services[0].Revision, s.st.Services[0].Update = 3, ipc.Update{State: "canary", From: 2, To: 3}
			s.history = []ipc.Revision{
				{Revision: 3, State: "candidate", CreatedAt: *ago(5 * time.Second), By: "watch", Change: "release"},
				{Revision: 2, State: "previous", CreatedAt: *ago(time.Hour), By: "uid 0", Change: "command"},
				{Revision: 1, State: "good", CreatedAt: *ago(48 * time.Hour), Change: "first"},
			}
			s.at(5*time.Second, "web", "update_started", "revision 3 replaces 2")
			s.at(5*time.Second, "web/0", "restarting", "revision 3 replaces 2, and is started beside it")
			s.at(5*time.Second, "web/0", "starting", "started")
			s.at(5*time.Second, "web/0", "ready", "ready after 12ms")
		}},
		"rolling-instance": {"web/1", func(s *tale) {
			one := ready
			one.Revision = 2
			s.service("web", "running", "", ready, one)
			s.st.Services[0].Revision, s.st.Services[0].Update = 3, ipc.Update{State: "rolling", From: 2, To: 3}
			s.history = []ipc.Revision{
				{Revision: 3, State: "candidate", CreatedAt: *ago(time.Minute), By: "uid 0", Change: "release, env"},
				{Revision: 2, State: "previous", CreatedAt: *ago(time.Hour), Change: "first"},
			}
		}},
		"reverted": {"web", func(s *tale) {
			why := "revision 2 is bad and was reverted, 1 is back: web/0: 3 ends within 1m, the last: exited with code 3"
			s.service("web", "running", "web stays at revision 1: its specification still holds revision 2, which is bad", ready, ready)
			s.st.Services[0].Revision, s.st.Services[0].Update = 1, ipc.Update{State: "idle", From: 1, To: 1}
			s.history = []ipc.Revision{
				{Revision: 2, State: "bad", CreatedAt: *ago(time.Minute), By: "watch", Change: "release", Reason: why},
				{Revision: 1, State: "current", CreatedAt: *ago(50 * time.Minute), Change: "first"},
			}
			s.at(50*time.Minute, "web/0", "starting", "started")
			s.events[len(s.events)-1].Revision = 1
			s.at(50*time.Minute, "web/0", "ready", "ready after 12ms")
			s.at(time.Minute, "web", "update_started", "revision 2 replaces 1")
			s.at(time.Minute, "web/0", "starting", "started")
			s.events[len(s.events)-1].Revision = 2
			s.at(59*time.Second, "web/0", "exited", "exited with code 3")
			s.at(58*time.Second, "web", "rollback", why)
		}},
		"coming-back": {"web/0", func(s *tale) {
			one := ready
			one.Revision = 3
			s.service("web", "running", "", one, ready)
			s.st.Services[0].Revision, s.st.Services[0].Update = 2, ipc.Update{State: "reverting", From: 3, To: 2}
			s.history = []ipc.Revision{
				{Revision: 3, State: "previous", CreatedAt: *ago(time.Minute), By: "uid 0", Change: "release", Reason: "rolled back (uid 0): revision 2 replaces 3"},
				{Revision: 2, State: "current", CreatedAt: *ago(time.Hour), By: "uid 0", Change: "env"},
			}
		}},
		"no-instances": {"none", func(s *tale) { s.service("none", "running", "scaled to 0 instances") }},
	} {
		t.Run(name, func(t *testing.T) {
			var s tale
			tc.tell(&s)
			golden(t, "explain-"+name+".txt", s.explain(t, tc.who))
		})
	}
}

func TestBlocker(t *testing.T) {
	for reason, want := range map[string]string{
		"needs db, which is stopped": "db", "needs a, which needs b, which has failed": "b", "starts after x, which is still on its way up": "x",
		"": "", "exited with code 1": "", "cannot exec needs db, which is odd": "",
	} {
		if got := blocker(reason); got != want {
			t.Errorf("%q: %q, want %q", reason, got, want)
		}
	}
}
