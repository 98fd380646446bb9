package policy

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"nines/spec"
)

// kept is what a keeper holds, by instance id, or by what else it is about.
type kept map[string]string

// take keeps what a step records, and compares: all that must be remembered of a
// slot was recorded, in at most one record a slot.
func (k kept) take(t fataler, m *Machine, o *Output) {
	t.Helper()
	seen, slots := map[string]bool{}, false
	for i, r := range o.Records {
		if r.Kind != RecordSlot {
			k.value(&r)
			if slots && r.Kind != RecordIncarnations {
				t.Fatalf("record %d comes after those of slots", i)
			}
			continue
		}
		text := string(r.Append(nil))
		switch {
		case seen[r.ID]:
			t.Fatalf("%s is recorded twice in a step", r.ID)
		case (text != "") != (r.Value != 0):
			t.Fatalf("%s is recorded with %d: %q", r.ID, r.Value, text)
		case len(text) > MaxMemory:
			t.Fatalf("%s is recorded with %d bytes", r.ID, len(text))
		}
		seen[r.ID] = true
		slots = slots || text != "" // of what is forgotten the order says nothing
		if text == "" {
			delete(k, r.ID)
		} else {
			k[r.ID] = text
		}
	}
	for _, a := range o.Then {
		if a.Kind == ActSpawn && !seen[m.slots[a.Ref.Slot].key()] {
			t.Fatalf("%s is spawned without a record", m.ID(a.Ref.Slot))
		}
	}
	for _, s := range m.slots {
		w := s.memory()
		text, is := string(w.Append(nil)), k[s.key()]
		switch {
		case s.gone() && is != "":
			t.Fatalf("%s is no more, and remembered: %s", s.name, is)
		case !s.gone() && is != text && (is != "" || s.seq > 0):
			t.Fatalf("%s is\n%s\nand remembered as\n%s", s.name, text, is)
		}
	}
}

// keep keeps what a step records, and asks nothing.
func (k kept) keep(o *Output) {
	for i := range o.Records {
		switch r := &o.Records[i]; {
		case r.Kind != RecordSlot:
			k.value(r)
		case r.Value == 0:
			delete(k, r.ID)
		default:
			k[r.ID] = string(r.Append(nil))
		}
	}
}

// value keeps a record that is not of a slot.
func (k kept) value(r *Record) {
	key := fmt.Sprintf("%d:%s", r.Kind, r.ID)
	k[key] = fmt.Sprintf("%d %d", r.Value, r.Deadline)
	if r.Kind == RecordInmate {
		k[key] = string(r.Append(nil))
	}
	if r.Kind == RecordRevision {
		k[key] = string(r.Append(nil))
	}
	if r.Value == 0 && (r.Kind == RecordInmate || r.Kind == RecordStopped || r.Kind == RecordStarted || r.Kind == RecordRevision || r.Kind == RecordGroup) ||
		r.Value < 0 && r.Kind == RecordScale {
		delete(k, key)
	}
}

func (k kept) String() string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(k)) {
		kind, id, other := strings.Cut(key, ":")
		if !other {
			fmt.Fprintf(&b, "slot %s = %s\n", key, k[key])
			continue
		}
		n, _ := strconv.Atoi(kind) // value made it
		fmt.Fprintf(&b, "%s %s = %s\n", [...]string{
			RecordIncarnations: "incarnations", RecordStopped: "stopped", RecordScale: "scale", RecordStarted: "started", RecordShutdown: "shutdown",
			RecordRevision: "revision", RecordApplied: "applied", RecordGroup: "group", RecordInmate: "inmate",
		}[n], id, k[key])
	}
	return b.String()
}

// withSpecs adds what the driver keeps: what each revision ran with. The tests tell
// revisions apart by their command alone.
func (p Past) withSpecs(sp *spec.Spec) Past {
	for name, w := range p.Revisions {
		v := sp.Service(name)
		if v == nil {
			continue
		}
		for i := range w.Known {
			old := *v
			old.Process.Command = spec.Expr(w.Known[i].Digest)
			w.Known[i].Spec = &old
		}
	}
	return p
}

// past is what the next supervisor is handed.
func (k kept) past(t fataler) Past {
	t.Helper()
	p := Past{
		Slots: map[string]SlotMemory{}, Incarnations: map[string]uint64{},
		Stopped: map[string]bool{}, Started: map[string]bool{}, Scale: map[string]int{},
		Revisions: map[string]RevisionMemory{}, Groups: map[string]int64{}, Inmates: map[string]InmateMemory{},
	}
	for key, text := range k {
		kind, id, other := strings.Cut(key, ":")
		if !other {
			w, err := ParseSlotMemory(text)
			if err != nil {
				t.Fatalf("%s: %v", key, err)
			}
			p.Slots[key] = w
			continue
		}
		if kind == strconv.Itoa(int(RecordInmate)) {
			w, err := ParseInmateMemory(text)
			if err != nil {
				t.Fatalf("%s: %v", key, err)
			}
			p.Inmates[id] = w
			continue
		}
		value, deadline, _ := strings.Cut(text, " ")
		n, err := strconv.Atoi(value)
		if err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		k, err := strconv.Atoi(kind)
		if err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		switch RecordKind(k) {
		case RecordIncarnations:
			p.Incarnations[id] = uint64(n)
		case RecordStopped:
			p.Stopped[id] = true
		case RecordStarted:
			p.Started[id] = true
		case RecordGroup:
			p.Groups[id] = int64(n)
		case RecordScale:
			p.Scale[id] = n
		case RecordRevision:
			if p.Revisions[id], err = ParseRevisionMemory(text); err != nil {
				t.Fatalf("%s: %v", key, err)
			}
		case RecordShutdown:
			by, err := strconv.ParseInt(deadline, 10, 64)
			if err != nil {
				t.Fatalf("%s: %v", key, err)
			}
			p.Shutdown = &Shutdown{Code: n, Cause: "before", Deadline: Time(by)}
		}
	}
	return p
}

func TestMemoryText(t *testing.T) {
	full := SlotMemory{
		Phase: "clearing", Incarnation: 17, PID: 4242, Start: 1<<64 - 1, StartedAt: 5, ReadyAt: 6, Deadline: 7, End: "timeout",
		Hook: true, Answered: true, Early: true, WasReady: true, Exited: true, Next: "backoff", NextStartAt: 8,
		Turn:  "faltered",
		First: true, Held: true, Auto: true, Streak: 2, Base: 1.5e9, Spread: 1.0625, FailedStarts: 3, Again: time.Second,
		Ends: []Time{3, 3, 10}, Restarts: 4,
		LastExit: LastExit{Reason: ExitOOM, Status: Status{Code: 1, Signal: "SIGKILL", Core: true, OOM: true, Unknown: true}, At: 9},
		Cause:    "cannot exec /opt/x y: no such file (ENOENT)", Why: "again",
	}
	for want, w := range map[string]SlotMemory{
		"1 down 1":          {Phase: "down", Incarnation: 1, Deadline: never},
		"1 ready 2 pid=3":   {Phase: "ready", Incarnation: 2, PID: 3, Deadline: never},
		"1 stopping 2 by=0": {Phase: "stopping", Incarnation: 2},
		"1 clearing 17 pid=4242 start=18446744073709551615 at=5 ready=6 by=7 end=timeout next=backoff turn=faltered nextat=8 is=aewxkfhu streak=2 " +
			"base=1.5e+09 spread=1.0625 failed=3 again=1000000000 restarts=4 ends=3,0,7 exit=oom:1:SIGKILL:cou exitat=9 why=again " +
			"cause=cannot exec /opt/x y: no such file (ENOENT)": full,
	} {
		got := string(w.Append(nil))
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		back, err := ParseSlotMemory(got)
		if err != nil || fmt.Sprintf("%+v", back) != fmt.Sprintf("%+v", w) {
			t.Errorf("%s: %+v, %v", got, back, err)
		}
	}
	if n := testing.AllocsPerRun(100, func() { full.Append(make([]byte, 0, MaxMemory)) }); n > 1 {
		t.Errorf("%v allocations", n)
	}
}

// TestMemoryIsBounded: the longest of everything still fits, on one line.
func TestMemoryIsBounded(t *testing.T) {
	w := SlotMemory{
		Phase: "completed", Incarnation: 1<<62 - 1, PID: math.MaxInt32, Start: math.MaxUint64,
		StartedAt: never, ReadyAt: never, Deadline: never - 1, End: "timeout", Next: "completed", NextStartAt: never,
		Hook: true, Answered: true, Early: true, WasReady: true, Exited: true, First: true, Held: true, Auto: true,
		Streak: math.MaxInt32, Base: math.MaxFloat64, Spread: math.SmallestNonzeroFloat64, FailedStarts: math.MaxInt32,
		Again: math.MaxInt64, Restarts: math.MaxInt32, Why: "untold", Turn: "faltered",
		LastExit: LastExit{
			Reason: ExitStartTimeout, Status: Status{Code: math.MinInt64, Signal: "SIGRTMIN+30", Core: true, OOM: true, Unknown: true}, At: never,
		},
		Cause: "cannot exec /o\npt: \x00\xff\u2028\u0085" + strings.Repeat("é", 4000),
	}
	for i := range 1000 {
		w.Ends = append(w.Ends, never/1000*Time(i+1))
	}
	text := string(w.Append(nil))
	if len(text) > MaxMemory || strings.ContainsAny(text, "\n\x00") {
		t.Errorf("%d bytes: %q", len(text), text)
	}
	back, err := ParseSlotMemory(text)
	if err != nil || len(back.Ends) != MaxEnds || back.Ends[MaxEnds-1] != w.Ends[999] {
		t.Errorf("%v: %v", err, back.Ends)
	}
	t.Logf("%d bytes", len(text))
}

func TestMemoryRefused(t *testing.T) {
	for _, text := range []string{
		"", "1", "1 ready", "1 ready ", "1 ready 0", "1 ready -1", "1 ready 4611686018427387904", "1 here 1", "2 ready 1", "1  ready 1",
		"1 ready 1  pid=1", "1 ready 1 pid=-1", "1 ready 1 pid=99999999999", "1 ready 1 at=-5", "1 ready 1 at=", "1 ready 1 is=z", "1 ready 1 end=why",
		"1 ready 1 next=ready", "1 ready 1 base=NaN", "1 ready 1 base=-1", "1 ready 1 base=+Inf", "1 ready 1 ends=", "1 ready 1 ends=5,-1",
		"1 ready 1 ends=" + strings.Repeat("1,", MaxEnds) + "1", "1 ready 1 ends=9223372036854775807,1",
		"1 ready 1 exit=oom", "1 ready 1 exit=why:1::", "1 ready 1 exit=oom:x::", "1 ready 1 exit=oom:1::z", "1 ready 1 exit=oom:1:" + strings.Repeat("S", 25) + ":",
		"1 ready 1 why=so", "1 ready 1 turn=left", "1 ready 1 turn=", "1 ready 1 cause=a\tb", "1 ready 1 cause=" + strings.Repeat("x", MaxMemory),
	} {
		_, err := ParseSlotMemory(text)
		if err == nil || !strings.HasPrefix(err.Error(), "cannot read the memory of an instance: ") {
			t.Errorf("%.50q: %v", text, err)
		}
	}
}

// FuzzSlotMemory: whatever a keeper hands back, reading it does not fail badly;
// what is read is written again as the same; and a machine that takes it up is
// sound, and ends in bounded time.
func FuzzSlotMemory(f *testing.F) {
	f.Add("1 ready 17 pid=4242 start=88123 at=1730 ready=1731 is=aw", uint8(0), uint8(1))
	f.Add("1 clearing 3 next=backoff nextat=99 is=ax streak=2 base=2e+08 spread=1.1 ends=5,1 exit=oom:0:SIGKILL:o exitat=6", uint8(1), uint8(2))
	f.Add("1 stopping 3 by=7 end=stop is=ak", uint8(2), uint8(3))
	f.Add("1 failed 3 exit=exited:127:: why=starts cause=cannot exec", uint8(3), uint8(0))
	f.Add("1 stopping 3 by=7 end=memory turn=act is=aw", uint8(8), uint8(3))
	f.Add("1 down 3 turn=planned", uint8(9), uint8(0))
	f.Add("1 ready 3 turn=faltered is=aw", uint8(8), uint8(3))
	f.Add("1 spawning 9 by=50 is=eu", uint8(5), uint8(0))
	f.Fuzz(func(t *testing.T, text string, kind, report uint8) {
		w, err := ParseSlotMemory(text)
		if err != nil {
			return
		}
		again, err := ParseSlotMemory(string(w.Append(nil)))
		if err != nil || fmt.Sprintf("%+v", again) != fmt.Sprintf("%+v", w) {
			t.Fatalf("%+v\n%+v\n%v", w, again, err)
		}
		line := []string{
			"web", "web notify", "web stop_command stop_timeout=0s", "web task", "web ready_delay=1s start_timeout=2s",
			"web disabled", "web instances=0", "web essential then=stop failures=1",
			"web max_age=1s instances=2", "web schedule=*_*_*_*_* notify",
		}[kind%10]
		e := newEnv(t)
		e.now = Time(kind) * Time(time.Second)
		e.step(SpecChanged{Spec: parseSpec(t, line), Past: Past{Slots: map[string]SlotMemory{"web/0": w, "web/7": w, "db/0": w, "web": w}}})
		e.step(ClockChanged{Wall: time.Unix(int64(kind), 0)})
		if got := fmt.Sprint(e.m.Unknown()); got != "[db/0 web]" {
			t.Fatalf("not known: %s", got)
		}
		for _, s := range slices.Clone(e.m.slots) {
			ref := s.ref
			switch report % 6 {
			case 1:
				e.step(Spawned{Ref: ref, PID: 1})
			case 2:
				e.step(SpawnFailed{Ref: ref, Again: true})
			case 3:
				e.step(Exited{Ref: ref, Status: Status{Unknown: true}, Empty: true})
			case 4:
				e.step(Exited{Ref: ref, Status: Status{Code: 1}})
			case 5:
				e.step(Emptied{Ref: ref})
			}
		}
		e.step(Tick{})
		e.m.Snapshot()
		e.step(Shutdown{Request: 1})
		for limit := e.now.Add(2 * time.Minute); !e.m.ended; {
			at, ok := e.m.Deadline()
			if !ok || at > limit {
				t.Fatalf("the shutdown does not end\n%s\n%s", e.out.String(), e.snapshot())
			}
			e.now = max(e.now, at)
			e.step(Tick{})
		}
	})
}

// TestMemoryByHand: a SlotMemory that no text can say is taken as soundly.
func TestMemoryByHand(t *testing.T) {
	for p := range numPhases {
		w := SlotMemory{
			Phase: p.String(), Incarnation: 5, Streak: -1, Base: math.NaN(), Spread: -1, FailedStarts: -3, Again: -1,
			Restarts: -1, Ends: []Time{never, 0}, StartedAt: never, ReadyAt: never, NextStartAt: never, Deadline: never,
			Next: "ready", Why: "x", LastExit: LastExit{Reason: "x"},
		}
		e := newEnv(t)
		e.step(SpecChanged{Spec: parseSpec(t, "web notify"), Past: Past{Slots: map[string]SlotMemory{"web/0": w, "off/0": {}}}})
		e.m.Snapshot()
		e.advance(time.Minute)
	}
}

// TestBigMemory: ten thousand instances are taken up in order, whatever order the
// keeper's answer has; none is started, and nothing is recorded anew.
func TestBigMemory(t *testing.T) {
	v := newService("web")
	v.Instances = 10000
	past := Past{Slots: map[string]SlotMemory{}}
	for i := range v.Instances {
		past.Slots[fmt.Sprint("web/", i)] = SlotMemory{Phase: "ready", Incarnation: 1, Answered: true, WasReady: true, PID: 100 + i, Deadline: never}
	}
	m := New(Config{})
	o := m.Step(0, SpecChanged{Spec: &spec.Spec{Services: []*spec.Service{v}}, Past: past})
	if len(o.Now)+len(o.Then)+len(o.Records) != 0 || len(o.Notices) != 1 {
		t.Errorf("%d actions, %d records, %d notices", len(o.Now)+len(o.Then), len(o.Records), len(o.Notices))
	}
	for i, w := range m.Snapshot().Instances {
		if w.PID != 100+i || w.State != IsReady {
			t.Fatalf("%+v", w)
		}
	}
	if ids := slices.Sorted(maps.Keys(past.Slots)); len(ids) != v.Instances {
		t.Errorf("the past was changed")
	}
}

// TestGroupRecords: whatever is kept of a group, the machine is sound, and its
// members come up.
func TestGroupRecords(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	values := []int64{0, 1, 2, 3, -1, math.MaxInt64, math.MinInt64, 1 << 32, 1 | 5<<32, 2 | 2<<2 | 1<<32, 2 | 2<<32, 1 | 1<<2 | 2<<32}
	for range 200 {
		values = append(values, rng.Int64N(4)|rng.Int64N(5)<<2|rng.Int64N(5)<<32)
	}
	for _, value := range values {
		e := newEnv(t)
		e.autoSpawn, e.autoStop = true, true
		sp := parseSpec(t, "a\nb\nc\ngroup g rest_for_one a,b,c")
		e.step(SpecChanged{Spec: sp, Past: Past{Groups: map[string]int64{"g": value, "gone": value}}})
		e.advance(time.Second)
		for _, s := range e.m.slots {
			if s.phase != phaseReady {
				t.Fatalf("%d: %s is %s", value, s.name, s.phase)
			}
		}
		if e.m.groups[0].state != groupIdle {
			t.Fatalf("%d: the group is %d", value, e.m.groups[0].state)
		}
	}
}
