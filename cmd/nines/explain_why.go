package main

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"nines/ipc"
)

// explained is one service or instance, with what is known of it.
type explained struct {
	st    *ipc.Status
	svc   *ipc.Service
	in    *ipc.Instance // nil: the service as a whole
	now   time.Time
	from  time.Time
	story story

	history []ipc.Revision // of the service, the newest first
}

// newCase finds what is to be explained. A service of one instance is explained
// as that instance: there is no more to it.
func newCase(st *ipc.Status, t target, from, now time.Time) (*explained, error) {
	c := &explained{st: st, svc: findService(st, t.service), now: now, from: from}
	if c.svc == nil {
		return nil, &ipc.Error{Code: ipc.CodeNoSuchService, Message: "cannot find service " + quote(t.service), Hint: quote("nines status") + " lists them"}
	}
	if t.index == nil {
		return c, nil
	}
	if c.in = c.svc.Instance(t.String()); c.in == nil {
		return nil, &ipc.Error{
			Code: ipc.CodeNoSuchInstance, Message: "cannot find instance " + quote(t.String()),
			Hint: quote("nines status "+c.svc.Name) + " lists them",
		}
	}
	c.story.only = c.in.ID
	return c, nil
}

func findService(st *ipc.Status, name string) *ipc.Service {
	i := slices.IndexFunc(st.Services, func(s ipc.Service) bool { return s.Name == name })
	if i < 0 {
		return nil
	}
	return &st.Services[i]
}

// worst is the instance that says most about why the service is not well.
func (c *explained) worst() *ipc.Instance {
	rank := map[string]int{"failed": 0, "unhealthy": 1, "backoff": 2, "waiting": 3, "starting": 4, "stopping": 5, "stopped": 6, "completed": 7, "standby": 8, "ready": 9}
	var worst *ipc.Instance
	for i := range c.svc.Instances {
		if in := &c.svc.Instances[i]; worst == nil || rank[in.State] < rank[worst.State] {
			worst = in
		}
	}
	return worst
}

// explain puts it all together, when the story has been told.
func (c *explained) explain() *explanation {
	c.story.breakAll()
	slices.SortStableFunc(c.story.chapters, func(a, b chapter) int { return cmp.Compare(a.FirstSeq, b.FirstSeq) })
	x := &explanation{Service: c.svc.Name, State: c.svc.State, From: c.from.UTC(), Timeline: c.story.chapters, Advice: []advice{}}
	if x.Timeline == nil {
		x.Timeline = []chapter{}
	}
	in := c.in
	if in == nil {
		in = c.worst()
		x.Why = c.whyService(in)
	} else {
		x.Instance, x.State = in.ID, in.State
		x.Why = c.chain(c.svc, whyInstance(in))
	}
	x.Runs = c.runs()
	x.Since = c.since(in)
	c.next(x, in)
	c.advise(x, in)
	return x
}

// whyService is the reason of the service, and of each instance that has another.
func (c *explained) whyService(worst *ipc.Instance) []string {
	svc := c.svc
	if len(svc.Instances) == 1 {
		return c.chain(svc, whyInstance(worst))
	}
	reason := svc.Reason
	why := []string{readyText(svc) + " instances are ready"}
	if reason != "" {
		why = append(why, c.chain(svc, reason)...)
	}
	const most = 10
	others := 0
	for i := range svc.Instances {
		in := &svc.Instances[i]
		if in.State == "ready" || in.State == "completed" || in.Reason == reason {
			continue
		}
		if others++; others <= most {
			why = append(why, in.ID+" "+stateText(in.State)+": "+whyInstance(in))
		}
	}
	if others > most {
		why = append(why, count(others-most, "more instance")+" not ready")
	}
	return why
}

func whyInstance(in *ipc.Instance) string {
	switch {
	case in.Reason != "":
		return in.Reason
	case in.State == "ready" && in.Restarts > 0:
		return "it runs, after " + count(in.Restarts, "automatic restart")
	case in.State == "ready":
		return "it runs, and has not failed"
	case in.State == "starting":
		return "it was started and has not said yet that it is ready"
	case in.LastExit != nil:
		return lastExitText(in.LastExit)
	}
	return "it is " + in.State
}

// chain follows a need to what is wrong with it.
func (c *explained) chain(svc *ipc.Service, reason string) []string {
	why := []string{reason}
	seen := map[string]bool{svc.Name: true}
	for {
		name := blocker(reason)
		need := findService(c.st, name)
		if need == nil || seen[name] {
			return why
		}
		seen[name] = true
		reason = need.Reason
		text := name + " " + stateText(need.State)
		if reason != "" {
			text += ": " + reason
		}
		why = append(why, text)
	}
}

// blocker is the service that a reason of policy blames: "needs a, which needs
// b, which has failed" blames b. "": none.
func blocker(reason string) string {
	for _, word := range []string{"needs ", "starts after "} {
		if i := strings.LastIndex(reason, word); i == 0 || i > 0 && strings.HasSuffix(reason[:i], ", which ") {
			name, _, ok := strings.Cut(reason[i+len(word):], ", which ")
			if ok {
				return name
			}
		}
	}
	return ""
}

// since is when the state began: what the last event of it says.
func (c *explained) since(in *ipc.Instance) *time.Time {
	if in == nil || c.in == nil && in.State == "ready" && len(c.svc.Instances) > 1 {
		return nil // each has its own
	}
	if in.State == "ready" && in.ReadyAt != nil {
		return in.ReadyAt
	}
	if in.State == "starting" && in.StartedAt != nil {
		return in.StartedAt
	}
	if in.LastExit != nil && in.State != "waiting" && in.State != "stopping" {
		return &in.LastExit.At
	}
	if t := c.story.slots[in.ID]; t != nil {
		return &t.lastSaw
	}
	return nil
}

// next says what happens by itself.
func (c *explained) next(x *explanation, in *ipc.Instance) {
	name := c.name()
	switch {
	case in == nil:
		x.Next = "nothing: it has no instances"
	case c.in == nil && c.updating() != "" && !slices.Contains([]string{"backoff", "waiting", "failed"}, in.State):
		x.Next = c.updating()
	case in.State == "backoff" && in.NextStartAt != nil:
		x.Next, x.NextAt = in.ID+" is started again", in.NextStartAt
	case in.State == "waiting" && blocker(in.Reason) != "":
		x.Next = "it starts by itself as soon as " + blocker(in.Reason) + " is ready"
	case in.State == "waiting":
		x.Next = "it is started at once"
	case in.State == "starting":
		x.Next = "it becomes ready; if it does not within start.timeout, that is a failed start: it is ended and tried again"
	case in.State == "stopping":
		x.Next = "it ends, or is killed when stop.timeout is over"
	case in.State == "stopped" && strings.HasPrefix(in.Reason, "shutting down"):
		x.Next = "nothing: nines ends"
	case in.State == "stopped" && strings.HasPrefix(in.Reason, "disabled"):
		x.Next = "nothing, until it is enabled"
	case in.State == "stopped":
		x.Next = "nothing, until somebody starts " + name + " or the machine boots"
	case in.State == "failed":
		x.Next = "nothing: it was given up, until somebody starts " + name
	case in.State == "completed":
		x.Next = "nothing: it is done, until the machine boots or somebody starts it"
	case c.updating() != "":
		x.Next = c.updating()
	default:
		x.Next = "nothing, as long as it runs"
	}
}

// name is what commands call it.
func (c *explained) name() string {
	if c.in != nil {
		return c.in.ID
	}
	return c.svc.Name
}

// advise says what a person can do.
func (c *explained) advise(x *explanation, in *ipc.Instance) {
	if in == nil {
		return
	}
	name, reason := c.name(), in.Reason
	add := func(do, what string) { x.Advice = append(x.Advice, advice{do, what}) }
	if len(c.left()) > 0 {
		add("nines history "+c.svc.Name, "every revision, and why each was left")
	}
	if b := blocker(reason); in.State == "waiting" && b != "" {
		add("nines explain "+b, "what is wrong with what it waits for")
		return
	}
	switch in.State {
	case "backoff", "failed", "starting", "unhealthy":
		switch {
		case strings.Contains(reason, refused):
			return // the machine is to blame, and it is tried again soon
		case strings.Contains(reason, "cannot "):
			// It has printed nothing: it never ran.
			add("mend what it says above", "it cannot be started as it is")
		default:
			add("nines logs "+in.ID, "what it said")
		}
		switch {
		case in.State == "starting":
		case in.LastExit != nil && in.LastExit.Reason == "start_timeout":
			add("start { timeout = … }", "more time, if it is only slow")
		case in.LastExit != nil && in.LastExit.Reason == "oom":
			add("memory { max = … }", "more memory, if it needs that")
		}
		if in.State != "starting" {
			add("nines start "+name, "try at once, and forget its failures")
		}
	case "stopped":
		switch {
		case strings.HasPrefix(reason, "shutting down"):
		case strings.HasPrefix(reason, "disabled"):
			add("nines start "+name, "until the next boot; enabled = true in its specification for good")
		case strings.HasPrefix(reason, "stopped"), strings.HasPrefix(reason, "scaled"):
			add("nines start "+name, "have it run again")
		}
	case "stopping":
		add("nines logs "+in.ID, "what it does before it ends")
	}
}
