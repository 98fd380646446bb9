package policy

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
)

// TestCases runs testdata/*.txt. Each file tells one situation. The commands:
//
//	spec [auto] [auto-stop]   a new machine with these services, one a line;
//	                          auto: spawns are answered at once; auto-stop: stops too
//	past                      what an earlier supervisor left, before spec (see parsePast)
//	apply                     another spec for the running machine
//	step                      events, one a line
//	advance DURATION          time passes, with a Tick at each deadline
//	die [DURATION]            the supervisor dies; so much later the next one is handed
//	                          what was recorded, and where the block is not empty,
//	                          another spec
//	kept                      what is recorded
//	snapshot                  what `nines status` would say
//
// Rewrite the expected output with -rewrite, and commit only what you understand.
func TestCases(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, path := range paths {
		e := newEnv(t)
		var past Past
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			e.t = t
			e.out.Reset()
			switch d.Cmd {
			case "past":
				past = parsePast(t, d.Input)
				return ""
			case "spec":
				e = newEnv(t)
				e.spec = parseSpec(t, d.Input)
				e.autoSpawn, e.autoStop = d.HasArg("auto"), d.HasArg("auto-stop")
				e.step(SpecChanged{Spec: e.spec, Digests: digests(e.spec), Past: past})
				past = Past{}
			case "apply":
				e.before, e.spec = e.spec, parseSpec(t, d.Input)
				e.request++
				e.step(SpecChanged{Spec: e.spec, Digests: digests(e.spec), Request: e.request, By: "ann", Number: uint64(e.request), Undo: d.HasArg("undo")})
			case "step":
				for line := range strings.Lines(d.Input) {
					e.step(e.event(strings.TrimSpace(line)))
				}
			case "advance":
				by, err := time.ParseDuration(d.CmdArgs[0].Key)
				if err != nil {
					d.Fatalf(t, "%v", err)
				}
				e.advance(by)
			case "late": // time passes, and the driver does not come to run
				by, err := time.ParseDuration(d.CmdArgs[0].Key)
				if err != nil {
					d.Fatalf(t, "%v", err)
				}
				e.now = e.now.Add(by)
				return ""
			case "die":
				if len(d.CmdArgs) > 0 {
					by, err := time.ParseDuration(d.CmdArgs[0].Key)
					if err != nil {
						d.Fatalf(t, "%v", err)
					}
					e.now = e.now.Add(by)
				}
				if d.Input != "" {
					e.spec = parseSpec(t, d.Input)
				}
				e.m = New(Config{SpawnPatience: -1})
				left := e.kept.past(t).withSpecs(e.spec)
				left.Before = e.before
				e.step(SpecChanged{Spec: e.spec, Digests: digests(e.spec), Past: left})
				for _, id := range e.m.Unknown() {
					e.printf("          not known: %s\n", id)
				}
			case "kept":
				return e.kept.String()
			case "snapshot":
				return e.snapshot()
			default:
				d.Fatalf(t, "unknown command %q", d.Cmd)
			}
			if e.out.Len() == 0 {
				return "nothing\n"
			}
			return e.out.String()
		})
	}
}

// parsePast reads "slot web/0 MEMORY", "incarnation web/0 7" (short for a slot that
// is down), "incarnations web 7", "stopped web", "started web",
// "scale web 3", "shutdown 0 20s" (exit status, deadline).
func parsePast(t *testing.T, text string) Past {
	p := Past{
		Slots: map[string]SlotMemory{}, Incarnations: map[string]uint64{}, Stopped: map[string]bool{}, Started: map[string]bool{}, Scale: map[string]int{},
	}
	for line := range strings.Lines(text) {
		w := append(strings.Fields(line), "0", "0")
		n, _ := strconv.Atoi(w[2]) // not every line has one
		switch w[0] {
		case "incarnation":
			p.Slots[w[1]] = SlotMemory{Phase: "down", Incarnation: uint64(n), Deadline: never, First: true}
		case "incarnations":
			p.Incarnations[w[1]] = uint64(n)
		case "slot":
			_, text, _ := strings.Cut(strings.TrimSpace(line), w[1]+" ")
			m, err := ParseSlotMemory(text)
			if err != nil {
				t.Fatal(err)
			}
			p.Slots[w[1]] = m
		case "restore": // restore web 1 S1 LABEL
			p.Restores = map[string]Restore{w[1]: {Revision: n, Snapshot: w[3], Label: w[4]}}
		case "stopped":
			p.Stopped[w[1]] = true
		case "started":
			p.Started[w[1]] = true
		case "scale":
			p.Scale[w[1]] = n
		case "shutdown":
			p.Shutdown = &Shutdown{Code: parseInt(t, w[1]), Cause: "before", Deadline: Time(n) * Time(time.Second)}
		default:
			t.Fatalf("unknown past %q", line)
		}
	}
	return p
}
