package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// format prints an output, one thing a line: what happened (plain), what is
// recorded (*), what may leave now (!), what leaves when that is durable (>).
func (e *env) format(o *Output) string {
	var b strings.Builder
	for _, n := range o.Notices {
		who := n.Service
		if n.Slot != NoSlot {
			who = e.name(n.Ref)
		}
		if who == "" {
			who = "nines"
		}
		fmt.Fprintf(&b, "%8s  %s %s: %s\n", time.Duration(e.now), who, n.Kind, n.Reason)
	}
	for _, r := range o.Records {
		switch r.Kind {
		case RecordSlot:
			text := string(r.Append(nil))
			switch {
			case e.records && r.Value != 0:
				fmt.Fprintf(&b, "          * slot %s = %s\n", r.ID, text)
			case e.records:
				fmt.Fprintf(&b, "          * slot %s is no more\n", r.ID)
			case slices.ContainsFunc(o.Then, func(a Action) bool { return a.Kind == ActSpawn && a.Ref == r.Ref }):
				fmt.Fprintf(&b, "          * intent %s\n", e.name(r.Ref))
			}
		case RecordIncarnations:
			fmt.Fprintf(&b, "          * incarnations %s %d\n", r.ID, r.Value)
		case RecordStopped:
			fmt.Fprintf(&b, "          * stopped %s %d\n", r.ID, r.Value)
		case RecordScale:
			fmt.Fprintf(&b, "          * scale %s %d\n", r.ID, r.Value)
		case RecordInmate:
			if r.Value == 0 {
				fmt.Fprintf(&b, "          * inmate %s is no more\n", r.ID)
			} else {
				fmt.Fprintf(&b, "          * inmate %s = %s\n", r.ID, r.Append(nil))
			}
		case RecordRevision:
			fmt.Fprintf(&b, "          * revision %s %d: %s\n", r.ID, r.Value, r.Append(nil))
		case RecordApplied:
			fmt.Fprintf(&b, "          * applied %d\n", r.Value)
		case RecordStarted:
			fmt.Fprintf(&b, "          * started %s %d\n", r.ID, r.Value)
		case RecordGroup:
			fmt.Fprintf(&b, "          * group %s %s\n", r.ID, groupWords(r.Value))
		case RecordShutdown:
			fmt.Fprintf(&b, "          * shutdown %d by %s\n", r.Value, time.Duration(r.Deadline))
		}
	}
	for _, a := range o.Now {
		fmt.Fprintf(&b, "          ! %s\n", e.formatAction(a))
	}
	for _, a := range o.Then {
		fmt.Fprintf(&b, "          > %s\n", e.formatAction(a))
	}
	return b.String()
}

func (e *env) formatAction(a Action) string {
	switch a.Kind {
	case ActSpawn:
		if a.Revision > 1 {
			return fmt.Sprintf("spawn %s revision %d", e.name(a.Ref), a.Revision)
		}
		return "spawn " + e.name(a.Ref)
	case ActSignal:
		cont := ""
		if a.Cont {
			cont = " SIGCONT"
		}
		return "signal " + e.name(a.Ref) + " " + a.Signal + cont
	case ActKill:
		return "kill " + e.name(a.Ref)
	case ActFreeze:
		return "freeze " + e.name(a.Ref)
	case ActThaw:
		return "thaw " + e.name(a.Ref)
	case ActCheck:
		if a.Ready {
			return "check whether ready " + e.name(a.Ref)
		}
		return "check " + e.name(a.Ref)
	case ActCheckEnd:
		return "check no more " + e.name(a.Ref)
	case ActHook:
		kind := map[Hook]string{HookStop: "stop", HookReload: "reload"}[a.Hook]
		return "hook " + kind + " " + e.name(a.Ref) + " for " + a.Timeout.String()
	case ActSnapshot:
		return fmt.Sprintf("keep the data of %s revision %d, for %s", a.Service, a.Revision, a.Timeout)
	case ActRestore:
		return fmt.Sprintf("put back the data of %s revision %d from %q, aside %s, for %s", a.Service, a.Revision, a.Snapshot, a.Label, a.Timeout)
	case ActAccepted:
		return fmt.Sprintf("accepted #%d", a.Request)
	case ActDone:
		how := "done"
		if a.Failed {
			how = "failed"
		}
		return fmt.Sprintf("%s #%d: %s%s", how, a.Request, a.Message, hint(a.Hint))
	case ActRefused:
		return fmt.Sprintf("refused #%d (%s): %s%s", a.Request, a.Code, a.Message, hint(a.Hint))
	case ActEnd:
		return fmt.Sprintf("end %d", a.Exit)
	}
	return fmt.Sprintf("action %d", a.Kind)
}

func hint(s string) string {
	if s == "" {
		return ""
	}
	return " [" + s + "]"
}

// snapshot prints the snapshot.
func (e *env) snapshot() string {
	var b strings.Builder
	snap := e.m.Snapshot()
	if snap.Shutdown {
		fmt.Fprintf(&b, "shutting down\n")
	}
	views := map[Slot]SlotView{}
	for _, w := range snap.Instances {
		views[w.Slot] = w
	}
	for _, v := range snap.Services {
		fmt.Fprintf(&b, "%s %s (wanted: %s)%s\n", v.Name, v.State, v.Desired, colon(v.Reason))
		for _, id := range v.Slots {
			w := views[id]
			fmt.Fprintf(&b, "  %s %s", w.ID, w.State)
			if w.PID != 0 {
				fmt.Fprintf(&b, " pid=%d", w.PID)
			}
			if w.Restarts != 0 {
				fmt.Fprintf(&b, " restarts=%d", w.Restarts)
			}
			if w.NextStartAt != 0 {
				fmt.Fprintf(&b, " next=%s", time.Duration(w.NextStartAt))
			}
			if w.LastExit.Reason != "" {
				fmt.Fprintf(&b, " last=%s", w.LastExit.Reason)
			}
			fmt.Fprintf(&b, "%s\n", colon(w.Reason))
			for _, c := range w.Checks {
				fmt.Fprintf(&b, "    %s %s failures=%d: %s", c.Name, c.State, c.Failures, c.Reason)
				if c.Excuse != ExcuseNone {
					fmt.Fprintf(&b, " (%s)", c.Excuse)
				}
				b.WriteString("\n")
			}
		}
	}
	for _, w := range snap.Quarantine {
		fmt.Fprintf(&b, "%s %s pid=%d since=%s until=%s %dMiB: %s\n", w.ID, w.State, w.PID, time.Duration(w.Since), time.Duration(w.Expires), w.Memory>>20, w.Why)
	}
	return b.String()
}

func colon(r Reason) string {
	if r == (Reason{}) {
		return ""
	}
	return ": " + r.String()
}

func groupWords(value int64) string {
	if value == 0 {
		return "is restarted"
	}
	return fmt.Sprintf("%s from %d, place %d", map[int64]string{1: "stops", 2: "starts"}[value&3], value>>2&(1<<30-1), value>>32)
}
