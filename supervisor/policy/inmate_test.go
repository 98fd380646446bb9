package policy

import (
	"strconv"
	"testing"
	"time"

	"nines/spec"
)

// FuzzInmateMemory: whatever the text, it is refused, or says the same again, and
// the machine that is made of it is sound and ends in time.
func FuzzInmateMemory(f *testing.F) {
	w := InmateMemory{Incarnation: 17, PID: 4242, Start: 1 << 63, Since: 5, Expires: never, Memory: 1 << 40, Resumed: true, Exited: true, Ending: true, Why: "it is deaf"}
	f.Add(string(w.Append(nil)))
	f.Add("1 1 until=5 is=r")
	f.Add("1 0")
	f.Add("2 1")
	f.Add("1 1 cause=a\nb")
	f.Add("1 9223372036854775807 since=9223372036854775807 until=0")
	f.Fuzz(func(t *testing.T, text string) {
		w, err := ParseInmateMemory(text)
		if err != nil {
			return
		}
		again, err := ParseInmateMemory(string(w.Append(nil)))
		if err != nil || again != w {
			t.Fatalf("%q is %+v and then %+v, %v", text, w, again, err)
		}
		e := newEnv(t)
		e.autoSpawn, e.autoStop = true, true
		id := "web/0." + strconv.FormatUint(w.Incarnation, 10)
		e.step(SpecChanged{Spec: parseSpec(t, "web isolate=1"), Past: Past{Inmates: map[string]InmateMemory{id: w, "off/0.1": w, "web/7.1": w, "x": w, "": w}}})
		e.m.Snapshot()
		e.step(Inmate{Request: 1, ID: id, Resume: true})
		e.step(Shutdown{Request: 2})
		for limit := e.now.Add(2 * time.Minute); !e.m.ended; {
			at, ok := e.m.Deadline()
			if !ok || at > limit {
				t.Fatalf("the shutdown does not end\n%s", e.out.String())
			}
			e.now = max(e.now, at)
			e.step(Tick{})
		}
	})
}

// TestIsolates: where a replacement could not have what the frozen one holds,
// nothing is frozen.
func TestIsolates(t *testing.T) {
	for line, want := range map[string]bool{
		"web": false, "web isolate=1": true, "web isolate=0": false, "web isolate=1 data": false, "web isolate=1 port=0": true, "web isolate=1 port=80": false,
	} {
		if got := parseService(t, line).Isolates(); got != want {
			t.Errorf("%s: %t", line, got)
		}
	}
}

// TestQuarantineOfAll: the largest bound of all services counts for what all hold.
func TestQuarantineOfAll(t *testing.T) {
	e := newEnv(t)
	e.autoSpawn = true
	e.step(SpecChanged{Spec: parseSpec(t, "a isolate=5 memory_max_total=100MiB delay=0s\nb isolate=5 memory_max_total=60MiB delay=0s\n")})
	freeze := func(id string, mib uint64) {
		e.advance(2 * time.Second)
		r := e.ref(id)
		e.step(Act{Ref: r, Cause: CauseCheck, On: spec.OnFailureIsolate, Reason: "deaf"})
		e.step(Frozen{Ref: r, Memory: mib << 20})
	}
	freeze("a/0", 50)
	freeze("b/0", 40)
	if n := e.m.count(func(*inmate) bool { return true }); n != 2 {
		t.Fatalf("%d are kept\n%s", n, e.snapshot())
	}
	freeze("b/0", 30) // b's own are too big: its oldest goes
	if n := e.m.count(func(*inmate) bool { return true }); n != 2 || !e.m.quarantine[1].ending {
		t.Fatalf("kept\n%s", e.snapshot())
	}
	freeze("b/0", 25) // all together hold 105 MiB: the oldest of all goes
	if n := e.m.count(func(*inmate) bool { return true }); n != 2 || !e.m.quarantine[0].ending {
		t.Fatalf("kept\n%s", e.snapshot())
	}
}
