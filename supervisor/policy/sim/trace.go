package sim

import (
	"strconv"
	"time"

	"nines/supervisor/policy"
)

// trace writes a history, one line a step. The columns are in the package
// comment. It is text only while on: millions of steps must not pay for it.
type trace struct {
	on  bool
	buf []byte
}

func (t *trace) str(s string)  { t.buf = append(t.buf, s...) }
func (t *trace) num(n int64)   { t.buf = strconv.AppendInt(t.buf, n, 10) }
func (t *trace) uint(n uint64) { t.buf = strconv.AppendUint(t.buf, n, 10) }

// pad fills up to width columns, counted from start.
func (t *trace) pad(start, width int) {
	for len(t.buf)-start < width {
		t.buf = append(t.buf, ' ')
	}
}

// moment writes seconds with six digits.
func (t *trace) moment(at policy.Time) {
	us := int64(at) / int64(time.Microsecond)
	start := len(t.buf)
	t.num(us / 1e6)
	t.str(".")
	frac := strconv.FormatInt(us%1e6+1e6, 10)
	t.str(frac[1:])
	if n := len(t.buf) - start; n < 13 { // right-aligned
		t.buf = append(t.buf, "             "[:13-n]...)
		copy(t.buf[start+13-n:], t.buf[start:start+n])
		for i := range 13 - n {
			t.buf[start+i] = ' '
		}
	}
}

func (t *trace) head(w *world) {
	start := len(t.buf)
	t.num(int64(w.steps))
	t.pad(start, 6)
	t.moment(w.now)
	t.str("  ")
}

// note writes a line about the world itself.
func (t *trace) note(w *world, text string) {
	if !t.on {
		return
	}
	t.head(w)
	t.str("— ")
	t.str(text)
	t.str("\n")
}

func (t *trace) ref(w *world, r policy.Ref) {
	id := w.m.ID(r.Slot)
	if id == "" {
		id = "?"
	}
	t.str(id)
	t.str(".")
	t.uint(r.Incarnation)
}

func (t *trace) status(s policy.Status) {
	if s.Signal != "" {
		t.str(" ")
		t.str(s.Signal)
	} else {
		t.str(" code ")
		t.num(int64(s.Code))
	}
	if s.Unknown {
		t.str(" unknown")
	}
	if s.OOM {
		t.str(" oom")
	}
}

// event writes the first half of a line: when and what.
func (t *trace) event(w *world, ev policy.Event) {
	if !t.on {
		return
	}
	t.head(w)
	start := len(t.buf)
	switch ev := ev.(type) {
	case policy.SpecChanged:
		t.str("spec ")
		t.uint(ev.Number)
		if ev.Request != 0 {
			t.str(" ? ")
			t.uint(uint64(ev.Request))
		}
	case policy.Tick:
		t.str("tick")
	case policy.Spawned:
		t.str("spawned ")
		t.ref(w, ev.Ref)
	case policy.SpawnFailed:
		t.str("failed ")
		t.ref(w, ev.Ref)
		t.str(" code ")
		t.num(int64(ev.Code))
		if ev.Again {
			t.str(" again")
		}
	case policy.Ready:
		t.str("ready ")
		t.ref(w, ev.Ref)
	case policy.Exited:
		t.str("exited ")
		t.ref(w, ev.Ref)
		t.status(ev.Status)
		if ev.Empty {
			t.str(" empty")
		}
	case policy.Emptied:
		t.str("emptied ")
		t.ref(w, ev.Ref)
	case policy.HookDone:
		t.str("hook #")
		t.uint(ev.Token)
		if ev.OK {
			t.str(" ok")
		} else {
			t.str(" failed")
		}
	case policy.CheckResult:
		t.str("attempt ")
		t.ref(w, ev.Ref)
		t.str(" check ")
		t.num(int64(ev.Check))
		if ev.Failed {
			t.str(" failed")
		}
		if ev.Excuse != policy.ExcuseNone {
			t.str(" excused")
		}
	case policy.Act:
		t.str("judged ")
		t.ref(w, ev.Ref)
		t.str(" ")
		t.num(int64(ev.Cause))
		t.str(" ")
		t.str(string(ev.On))
	case policy.Withdraw:
		t.str("withdrawn ")
		t.ref(w, ev.Ref)
		t.str(" ")
		t.num(int64(ev.Cause))
	case policy.Reloading:
		t.str("reloading ")
		t.ref(w, ev.Ref)
	case policy.Leaving:
		t.str("leaving ")
		t.ref(w, ev.Ref)
	case policy.MoreTime:
		t.str("more time ")
		t.ref(w, ev.Ref)
		t.str(" ")
		t.str(ev.By.String())
	case policy.MainChanged:
		t.str("main ")
		t.ref(w, ev.Ref)
		t.str(" ")
		t.num(int64(ev.PID))
	case policy.Frozen:
		t.str("frozen ")
		t.ref(w, ev.Ref)
	case policy.FreezeFailed:
		t.str("freeze failed ")
		t.ref(w, ev.Ref)
	case policy.Thawed:
		t.str("thawed ")
		t.ref(w, ev.Ref)
		t.str(" ")
		t.str(ev.Cause)
	case policy.Inmate:
		t.str("? ")
		t.uint(uint64(ev.Request))
		if ev.Resume {
			t.str(" resume ")
		} else {
			t.str(" end ")
		}
		t.str(ev.ID)
	case policy.ClockChanged:
		t.str("clock ")
		t.str(ev.Wall.Format("01-02 15:04:05"))
	case policy.Command:
		t.str("? ")
		t.uint(uint64(ev.Request))
		t.str(" ")
		t.str(verbNames[min(int(ev.Verb), len(verbNames)-1)])
		t.str(" ")
		t.str(ev.Service)
		if ev.Instance >= 0 {
			t.str("/")
			t.num(int64(ev.Instance))
		}
		if ev.Verb == policy.VerbScale {
			t.str(" to ")
			t.num(int64(ev.Instances))
		}
	case policy.Shutdown:
		t.str("? ")
		t.uint(uint64(ev.Request))
		t.str(" shutdown ")
		t.num(int64(ev.Code))
	}
	t.pad(start, 34)
}

var verbNames = [...]string{"?", "start", "stop", "restart", "reload", "scale", "signal"}

// output writes the second half: what the machine asks for.
func (t *trace) output(w *world, out *policy.Output) {
	if !t.on {
		return
	}
	for _, n := range out.Notices {
		t.str(" | ")
		t.str(string(n.Kind))
		if id := w.m.ID(n.Slot); n.Slot != policy.NoSlot && id != "" {
			t.str(" ")
			t.str(id)
		} else if n.Service != "" {
			t.str(" ")
			t.str(n.Service)
		}
		if r := n.Reason.String(); r != "" {
			t.str(": ")
			t.str(r)
		}
	}
	t.actions(w, " | N", out.Now)
	if len(out.Records) > 0 {
		t.str(" | R")
		for _, r := range out.Records {
			t.record(w, r)
		}
	}
	t.actions(w, " | T", out.Then)
	t.str("\n")
}

func (t *trace) record(w *world, r policy.Record) {
	switch r.Kind {
	case policy.RecordSlot:
		t.str(" slot ")
		t.ref(w, r.Ref)
		if r.Value == 0 {
			t.str(" no more")
		} else if m, ok := r.Memory(); ok {
			t.str(" ")
			t.str(m.Phase)
		}
		return
	case policy.RecordInmate:
		t.str(" inmate ")
	case policy.RecordIncarnations:
		t.str(" incarnations ")
	case policy.RecordStopped:
		t.str(" stopped ")
	case policy.RecordStarted:
		t.str(" started ")
	case policy.RecordScale:
		t.str(" scale ")
	case policy.RecordGroup:
		t.str(" group ")
	case policy.RecordRevision:
		t.str(" revision ")
	case policy.RecordApplied:
		t.str(" applied")
	case policy.RecordShutdown:
		t.str(" shutdown")
	}
	t.str(r.ID)
	t.str("=")
	t.num(r.Value)
}

func (t *trace) actions(w *world, head string, actions []policy.Action) {
	for i := range actions {
		if i == 0 {
			t.str(head)
		} else {
			t.str(",")
		}
		t.action(w, &actions[i])
	}
}

func (t *trace) action(w *world, a *policy.Action) {
	switch a.Kind {
	case policy.ActSpawn:
		t.str(" spawn ")
		t.ref(w, a.Ref)
	case policy.ActSignal:
		t.str(" ")
		t.str(a.Signal)
		t.str(" ")
		t.ref(w, a.Ref)
	case policy.ActKill:
		t.str(" kill ")
		t.ref(w, a.Ref)
	case policy.ActHook:
		t.str(" hook ")
		t.ref(w, a.Ref)
		t.str(" #")
		t.uint(a.Token)
	case policy.ActCheck:
		t.str(" check ")
		t.ref(w, a.Ref)
	case policy.ActCheckEnd:
		t.str(" no check ")
		t.ref(w, a.Ref)
	case policy.ActFreeze:
		t.str(" freeze ")
		t.ref(w, a.Ref)
	case policy.ActThaw:
		t.str(" thaw ")
		t.ref(w, a.Ref)
	case policy.ActAccepted:
		t.str(" accepted ")
		t.uint(uint64(a.Request))
	case policy.ActDone:
		t.str(" done ")
		t.uint(uint64(a.Request))
		if a.Failed {
			t.str(" failed: ")
			t.str(a.Message)
		}
	case policy.ActRefused:
		t.str(" refused ")
		t.uint(uint64(a.Request))
		t.str(" ")
		t.str(string(a.Code))
	case policy.ActEnd:
		t.str(" end ")
		t.num(int64(a.Exit))
	}
}
