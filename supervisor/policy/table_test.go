package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"nines/spec"
)

// TestTransitionsAreTotal walks every phase with every trigger: there is
// something to do, or a reason why not.
func TestTransitionsAreTotal(t *testing.T) {
	for p := range numPhases {
		for tr := range numTriggers {
			if e := transition(p, tr); (e.do == nil) == (e.ignored == "") {
				t.Errorf("%s in %s: has to be handled, or ignored with a reason", tr, p)
			}
		}
	}
	if e := transition(numPhases, onReady); e.do != nil || e.ignored != "" {
		t.Errorf("a phase that does not exist has a transition")
	}
}

// TestDecideTable holds the table in the comment of decide against the code.
func TestDecideTable(t *testing.T) {
	const table = `
down        tryUp  keep    keep     keep    keep    keep    keep keep
backoff     keep   keep    cancel   cancel  cancel  cancel  cancel cancel
completed   keep   keep    cancel   cancel  cancel  keep    cancel cancel
failed      keep   keep    cancel   cancel  cancel  keep    cancel cancel
spawning    keep   end     end      end     end     end     end  end
starting    keep   end     end      end     end     end     end  end
ready       keep   end     end      end     end     end     end  end
stopping    keep   keep    keep     keep    keep    keep    keep keep
killing     keep   keep    keep     keep    keep    keep    keep keep
clearing    keep   keep    keep     keep    keep    keep    keep keep
stuck       keep   keep    keep     keep    keep    keep    keep keep
freezing    keep   keep    keep     keep    keep    keep    keep keep
`
	names := map[decision]string{keep: "keep", tryUp: "tryUp", cancel: "cancel", end: "end"}
	seen := 0
	for line := range strings.Lines(strings.TrimSpace(table)) {
		w := strings.Fields(line)
		for p := range numPhases {
			if p.String() != w[0] {
				continue
			}
			for d := range numDesires {
				seen++
				if got := names[decide(p, d)]; got != w[1+int(d)] {
					t.Errorf("%s, wanted %s: %s, the table says %s", p, d, got, w[1+int(d)])
				}
			}
		}
	}
	if seen != int(numPhases)*int(numDesires) {
		t.Errorf("the table has %d of %d entries", seen, int(numPhases)*int(numDesires))
	}
}

// TestAfterAnEnd: what follows an end, by how it ended, what the service is,
// its policy, and its codes.
func TestAfterAnEnd(t *testing.T) {
	type ends struct {
		name string
		ev   func(Ref) Event
	}
	exit := func(code int) ends {
		return ends{fmt.Sprint("exit ", code), func(r Ref) Event { return Exited{Ref: r, Status: Status{Code: code}, Empty: true} }}
	}
	signal := func(s Status) ends {
		return ends{fmt.Sprint("signal ", s.Signal, s.OOM), func(r Ref) Event { return Exited{Ref: r, Status: s, Empty: true} }}
	}
	failed := func(code int) ends {
		return ends{fmt.Sprint("spawn failed ", code), func(r Ref) Event { return SpawnFailed{Ref: r, Code: code, Cause: "cannot exec"} }}
	}
	all := []ends{exit(0), exit(1), exit(3), exit(78), signal(Status{Signal: "SIGTERM"}), signal(Status{Signal: "SIGKILL", OOM: true}), failed(127), failed(78)}
	// The columns are these ends. r: restarted, c: completed, f: failed, h: held.
	for _, row := range []struct {
		typ     spec.Type
		policy  spec.RestartPolicy
		success []int
		want    string
		then    spec.CrashLoopThen
	}{
		{typ: spec.TypeService, policy: spec.RestartAlways, success: []int{0}, want: "rrrhrrrh"},
		{typ: spec.TypeService, policy: spec.RestartOnFailure, success: []int{0}, want: "crrhrrrh"},
		{typ: spec.TypeService, policy: spec.RestartNever, success: []int{0}, want: "cfffffff"},
		{typ: spec.TypeTask, policy: spec.RestartAlways, success: []int{0}, want: "crrhrrrh"},
		{typ: spec.TypeTask, policy: spec.RestartOnFailure, success: []int{0}, want: "crrhrrrh"},
		{typ: spec.TypeTask, policy: spec.RestartNever, success: []int{0}, want: "cfffffff"},
		{typ: spec.TypeService, policy: spec.RestartAlways, success: []int{3}, want: "rrrhrrrh"},
		{typ: spec.TypeService, policy: spec.RestartOnFailure, success: []int{3, 78}, want: "rrccrrrh"},
		{typ: spec.TypeTask, policy: spec.RestartOnFailure, success: []int{3, 78}, want: "rrccrrrh"},
		{typ: spec.TypeService, policy: spec.RestartAlways, success: []int{0}, want: "rrrfrrrf", then: spec.ThenStop},
		{typ: spec.TypeTask, policy: spec.RestartNever, success: nil, want: "ffffffff", then: spec.ThenStop},
	} {
		for i, x := range all {
			v := newService("x")
			v.Type, v.Restart.Policy, v.Restart.SuccessCodes = row.typ, row.policy, row.success
			if row.then != "" {
				v.CrashLoop.Then = row.then
			}
			m := New(Config{})
			m.Step(0, SpecChanged{Spec: &spec.Spec{Services: []*spec.Service{v}}})
			ref := Ref{Slot: 0, Incarnation: 1}
			ev := x.ev(ref)
			if _, ok := ev.(Exited); ok {
				m.Step(0, Spawned{Ref: ref, PID: 1})
			}
			m.Step(0, ev)
			checkInvariants(t, m)
			s := m.Snapshot()
			got := map[InstanceState]string{Backoff: "r", Completed: "c", Failed: "f"}[s.Instances[0].State]
			if s.Services[0].State == ServiceHeld {
				got = "h"
			}
			if got != row.want[i:i+1] {
				t.Errorf("%s, %s, success %v, then %q, %s: %q, want %q",
					row.typ, row.policy, row.success, row.then, x.name, got, row.want[i:i+1])
			}
		}
	}
}

// TestEveryReasonHasWords: no kind of reason is without words, and none says
// more than one line.
func TestEveryReasonHasWords(t *testing.T) {
	if (Reason{}).String() != "" {
		t.Errorf("the zero reason has words")
	}
	for k := whyNothing + 1; k < numReasons; k++ {
		r := Reason{kind: k, how: whyExited, name: "web", text: "cannot exec", count: 2, delay: time.Second}
		if s := r.String(); s == "" || s == "unknown reason" || strings.Contains(s, "\n") {
			t.Errorf("reason %d: %q", k, s)
		}
	}
	if (Reason{kind: numReasons}).String() != "unknown reason" {
		t.Errorf("a reason that does not exist has words")
	}
	for n := needStarting; n < numNeedStates; n++ {
		if n.String() == "" {
			t.Errorf("need state %d has no words", n)
		}
	}
}

func TestReasonsAllocateNothing(t *testing.T) {
	var a, b Reason
	if n := testing.AllocsPerRun(100, func() {
		a = Reason{kind: whySignaled, name: "SIGKILL"}
		b = because(Reason{kind: whyBackoff, delay: time.Second}, a)
	}); n != 0 || a == b {
		t.Errorf("%v allocations", n)
	}
}

func TestWords(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 90 * time.Millisecond: "90ms", 1234567 * time.Microsecond: "1.23s", 1234567: "1.2ms",
		time.Minute: "1m", 90 * time.Second: "1m30s", time.Hour: "1h", 10 * time.Minute: "10m", 25 * time.Hour: "25h",
		time.Hour + time.Second: "1h0m1s",
	} {
		if got := words(d); got != want {
			t.Errorf("%d: %q, want %q", d, got, want)
		}
	}
}

func TestSignalNumbers(t *testing.T) {
	for name, want := range map[string]int{
		"SIGHUP": 1, "SIGKILL": 9, "SIGTERM": 15, "SIGCHLD": 17, "SIGSYS": 31, "SIGRTMIN+3": 37, "SIGRTMIN+x": 0, "SIGWHAT": 0, "": 0,
	} {
		if got := signalNumber(name); got != want {
			t.Errorf("%q: %d, want %d", name, got, want)
		}
	}
}

// TestStale: what does not name the current incarnation is dropped, and so is
// what names no slot or token at all.
func TestStale(t *testing.T) {
	e := newEnv(t)
	e.step(SpecChanged{Spec: parseSpec(t, "web")})
	for _, ref := range []Ref{{Slot: 0, Incarnation: 0}, {Slot: 0, Incarnation: 2}, {Slot: 1, Incarnation: 1}, {Slot: NoSlot, Incarnation: 1}} {
		for _, ev := range []Event{
			Spawned{Ref: ref}, SpawnFailed{Ref: ref}, SpawnFailed{Ref: ref, Again: true}, Ready{Ref: ref},
			Exited{Ref: ref}, Emptied{Ref: ref},
			Act{Ref: ref, Cause: CauseCheck}, Act{Ref: ref, Cause: CauseRecycle}, Act{Ref: ref}, Withdraw{Ref: ref, Cause: CauseCheck},
		} {
			e.out.Reset()
			if e.step(ev); e.out.Len() > 0 {
				t.Errorf("%T %v: %s", ev, ref, e.out.String())
			}
		}
	}
	for _, token := range []uint64{0, 1, 1 << 32, 1<<32 | 7, 1<<64 - 1} {
		e.out.Reset()
		if e.step(HookDone{Token: token, OK: true}); e.out.Len() > 0 {
			t.Errorf("token %d: %s", token, e.out.String())
		}
	}
}

func TestSlotNames(t *testing.T) {
	e := newEnv(t)
	e.step(SpecChanged{Spec: parseSpec(t, "db\nweb instances=2")})
	if v, i := e.m.Slot(2); v.Name != "web" || i != 1 || e.m.ID(2) != "web/1" {
		t.Errorf("slot 2 is %s/%d, %q", v.Name, i, e.m.ID(2))
	}
	for _, id := range []Slot{NoSlot, 3} {
		if v, i := e.m.Slot(id); v != nil || i != -1 || e.m.ID(id) != "" {
			t.Errorf("slot %d exists", id)
		}
	}
}

// TestBeforeAndAfter: what comes before the first spec, and a second spec.
func TestBeforeAndAfter(t *testing.T) {
	e := newEnv(t)
	e.step(Command{Request: 1, Verb: VerbStart, Service: "web"})
	e.step(Tick{})
	if _, ok := e.m.Deadline(); ok {
		t.Errorf("a deadline before there is anything")
	}
	e.step(SpecChanged{Spec: parseSpec(t, "web")})
	e.step(SpecChanged{Spec: parseSpec(t, "other")})
	e.step(Command{Request: 2, Verb: 99, Service: "other", Instance: -1})
	e.step(SpecChanged{Request: 3})
	e.step(Shutdown{Cause: "enough"})
	e.step(SpecChanged{Request: 4, Spec: parseSpec(t, "web")})
	for id := range Slot(2) {
		ref := Ref{Slot: id, Incarnation: 1}
		e.step(Spawned{Ref: ref})
		e.step(Exited{Ref: ref, Empty: true})
	}
	e.step(SpecChanged{Request: 5, Spec: parseSpec(t, "web")})
	got := e.out.String()
	for _, want := range []string{
		"refused #1 (conflict): cannot start web: no specification was loaded yet",
		"refused #2 (bad_request): cannot verb 99 other: there is no such verb",
		"refused #3 (bad_request): cannot apply: there is no specification",
		"refused #4 (conflict): cannot apply: nines is shutting down (enough)",
		"refused #5 (conflict): cannot apply: nines has shut down",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	// A shutdown of nothing ends at once.
	e = newEnv(t)
	e.step(Shutdown{Request: 1, Code: 2})
	if got := e.out.String(); !strings.Contains(got, "done #1") || !strings.HasSuffix(got, "end 2\n") {
		t.Errorf("%s", got)
	}
}

// What becomes of the machine may be said by a second shutdown where the first
// did not; another is refused.
func TestShutdownAction(t *testing.T) {
	m := New(Config{})
	m.Step(1, SpecChanged{Spec: parseSpec(t, "web")})
	actions := func(out *Output) (all []string) {
		for _, r := range out.Records {
			if r.Kind == RecordShutdown {
				all = append(all, r.Action)
			}
		}
		return all
	}
	if got := actions(m.Step(2, Shutdown{Request: 1})); !slices.Equal(got, []string{""}) {
		t.Errorf("the first: %q", got)
	}
	for _, want := range [][]string{{"reboot"}, nil} {
		if got := actions(m.Step(3, Shutdown{Request: 2, Action: "reboot"})); !slices.Equal(got, want) {
			t.Errorf("one that says it: %q, want %q", got, want)
		}
	}
	out := m.Step(4, Shutdown{Request: 4, Action: "halt"})
	if len(out.Now) != 1 || out.Now[0].Kind != ActRefused || out.Now[0].Code != Conflict || out.Now[0].Message != "cannot halt: nines is shutting down already, for a reboot" {
		t.Errorf("another: %+v", out.Now)
	}
}

func TestFields(t *testing.T) {
	exited := Reason{kind: whyExited, code: 3}
	for _, c := range []struct {
		r    Reason
		want string
	}{
		{Reason{}, "map[]"},
		{exited, "map[exit_code:3]"},
		{Reason{kind: whySignaled, name: "SIGKILL", count: 1}, "map[signal:SIGKILL]"},
		{because(Reason{kind: whyBackoff, delay: 1500 * time.Microsecond, count: 2}, exited), "map[count:2 delay_ms:1.5 exit_code:3]"},
		{Reason{kind: whyNeeds, name: "db", count: int32(needFailed)}, "map[name:db]"},
	} {
		if got := fmt.Sprint(c.r.Fields()); got != c.want {
			t.Errorf("%s: %s, want %s", c.r, got, c.want)
		}
	}
}
