package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"nines/spec"
)

// newService is a service with the defaults of the language, except that
// nothing is jittered: the cases say what they mean to the millisecond.
func newService(name string) *spec.Service {
	return &spec.Service{
		Name: name, Type: spec.TypeService, Instances: 1, Enabled: true,
		StartTimeout: 30 * time.Second,
		Stop:         spec.Stop{Signal: "SIGTERM", Timeout: 10 * time.Second},
		Restart: spec.Restart{
			Policy: spec.RestartAlways, Delay: 100 * time.Millisecond, MaxDelay: 30 * time.Second,
			Factor: 2, ResetAfter: time.Minute, SuccessCodes: []int{0}, FatalCodes: []int{78, 125},
		},
		CrashLoop: spec.CrashLoop{Failures: 5, Within: time.Minute, Then: spec.ThenRollback},
	}
}

// parseService reads one line of a spec block: a name and words such as
// "task", "needs=db,cache", "instances=3". Other lines are groups: "group app
// one_for_all db,web".
func parseService(t testing.TB, line string) *spec.Service {
	words := strings.Fields(line)
	v := newService(words[0])
	dur := func(s string) time.Duration {
		d, err := time.ParseDuration(s)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		return d
	}
	num := func(s string) int {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		return n
	}
	codes := func(s string) (list []int) {
		for c := range strings.SplitSeq(s, ",") {
			list = append(list, num(c))
		}
		return list
	}
	for _, w := range words[1:] {
		key, val, _ := strings.Cut(w, "=")
		switch key {
		case "task":
			v.Type, v.Restart.Policy = spec.TypeTask, spec.RestartOnFailure
		case "disabled":
			v.Enabled = false
		case "essential":
			v.Essential = true
		case "at_least":
			v.AvailableAtLeast, v.AvailableSet = num(val), true
		case "max_age":
			v.Recycle = &spec.Recycle{MaxAge: dur(val)}
		case "schedule": // with _ for blanks
			v.Recycle = &spec.Recycle{Schedule: strings.ReplaceAll(val, "_", " ")}
		case "instances":
			v.Instances = num(val)
		case "needs":
			v.Needs = strings.Split(val, ",")
		case "after":
			v.After = strings.Split(val, ",")
		case "policy":
			v.Restart.Policy = spec.RestartPolicy(val)
		case "delay":
			v.Restart.Delay = dur(val)
		case "max_delay":
			v.Restart.MaxDelay = dur(val)
		case "jitter":
			f, err := strconv.ParseFloat(val, 64)
			if err != nil {
				t.Fatal(err)
			}
			v.Restart.Jitter = f
		case "reset_after":
			v.Restart.ResetAfter = dur(val)
		case "success":
			v.Restart.SuccessCodes = codes(val)
		case "fatal":
			v.Restart.FatalCodes = codes(val)
		case "failures":
			v.CrashLoop.Failures = num(val)
		case "within":
			v.CrashLoop.Within = dur(val)
		case "then":
			v.CrashLoop.Then = spec.CrashLoopThen(val)
		case "isolate":
			v.Isolate = &spec.Isolate{Keep: num(val), TTL: time.Hour, MemoryMaxTotal: spec.Size{Bytes: 1 << 40}}
		case "ttl":
			v.Isolate.TTL = dur(val)
		case "memory_max_total":
			n, err := spec.ParseBytes(val)
			if err != nil {
				t.Fatal(err)
			}
			v.Isolate.MemoryMaxTotal = spec.Size{Bytes: n}
		case "data":
			v.Data = &spec.Data{Paths: []string{"/data"}}
		case "restore":
			v.Data.Restore = true
		case "on_revert":
			v.Data.OnRevert = []string{"undo"}
		case "listen":
			v.Listen = append(v.Listen, spec.Listen{Name: "http"})
		case "update": // with the language's defaults
			v.Update = spec.Update{Order: "auto", MaxParallel: 1, Canary: 1, MinHealthy: 10 * time.Second, Deadline: 5 * time.Minute, AutoRevert: true, Probation: time.Hour}
		case "parallel":
			v.Update.MaxParallel = num(val)
		case "canary":
			v.Update.Canary = num(val)
		case "keep_bad":
			v.Update.AutoRevert = false
		case "port":
			v.Ports = append(v.Ports, spec.Port{Name: "http", Base: num(val)})
		case "notify":
			v.Ready = &spec.Ready{Notify: "systemd"}
		case "check": // NAME:FAILURES:SUCCESSES:INTERVAL[:ON]
			f := append(strings.Split(val, ":"), "restart")
			k := spec.Check{Name: f[0], OnFailure: spec.OnFailure(f[4]), TCP: &spec.CheckTCP{Address: "x"}}
			k.Timing = spec.Timing{Failures: num(f[1]), Successes: num(f[2]), Interval: dur(f[3])}
			if f[0] == "outlier" {
				k.TCP, k.Outlier = nil, &spec.CheckOutlier{Of: "memory"}
			}
			v.Checks = append(v.Checks, k)
		case "ready_check": // SUCCESSES
			v.Ready = &spec.Ready{Check: &spec.Check{Name: "ready", Timing: spec.Timing{Failures: 3, Successes: num(val), Interval: time.Second}}}
		case "ready_delay":
			v.Ready = &spec.Ready{Delay: dur(val)}
		case "start_timeout":
			v.StartTimeout = dur(val)
		case "stop_timeout":
			v.Stop.Timeout = dur(val)
		case "runs": // what its processes run with
			v.Process.Command = spec.Expr(val)
		case "stop_command":
			v.Stop.Command = `["stop"]`
		case "reload":
			v.Reload = &spec.Reload{Signal: val}
			if val == "command" {
				v.Reload = &spec.Reload{Command: `["reload"]`}
			}
		default:
			t.Fatalf("%s: unknown word %q", line, w)
		}
	}
	return v
}

func parseSpec(t testing.TB, text string) *spec.Spec {
	sp := &spec.Spec{Supervisor: spec.Supervisor{ShutdownTimeout: time.Minute}}
	for line := range strings.Lines(text) {
		if w := strings.Fields(line); len(w) == 4 && w[0] == "group" {
			sp.Groups = append(sp.Groups, spec.Group{Name: w[1], Strategy: spec.Strategy(w[2]), Members: strings.Split(w[3], ",")})
		} else if len(w) > 0 {
			sp.Services = append(sp.Services, parseService(t, line))
		}
	}
	return sp
}

// digests are by service what the tests tell revisions apart by.
func digests(sp *spec.Spec) map[string]string {
	d := map[string]string{}
	for _, v := range sp.Services {
		d[v.Name] = string(v.Process.Command)
	}
	return d
}

// env drives one machine by hand.
type env struct {
	t       testing.TB
	m       *Machine
	spec    *spec.Spec
	before  *spec.Spec // that spec was applied to
	now     Time
	out     strings.Builder
	request Request
	pid     int
	hooks   map[string]uint64 // last token by instance id

	// What is answered at once, without being asked to.
	autoSpawn, autoStop bool
	records             bool // all records are shown, and not the intents alone
	kept                kept
}

func newEnv(t testing.TB) *env {
	return &env{t: t, m: New(Config{SpawnPatience: -1}), hooks: map[string]uint64{}, pid: 100, kept: kept{}}
}

// slot finds an instance by its id, "web/0+" what is beside it; "web/0@2" names its
// second incarnation, and no @ its current one.
func (e *env) ref(id string) Ref {
	name, inc, stale := strings.Cut(id, "@")
	for _, s := range e.m.slots {
		if s.key() == name {
			r := s.ref
			if stale {
				n, err := strconv.ParseUint(inc, 10, 64)
				if err != nil {
					e.t.Fatal(err)
				}
				r.Incarnation = n
			}
			return r
		}
	}
	e.t.Fatalf("no slot %q", id)
	return Ref{}
}

func (e *env) name(r Ref) string {
	return e.m.ID(r.Slot) + "." + strconv.FormatUint(r.Incarnation, 10)
}

func (e *env) printf(format string, args ...any) { fmt.Fprintf(&e.out, format, args...) }

// step takes an event, prints what follows, and gives the automatic answers.
func (e *env) step(ev Event) {
	o := e.m.Step(e.now, ev)
	checkInvariants(e.t, e.m)
	e.kept.take(e.t, e.m, o)
	e.printf("%s", e.format(o))
	var answers []Event
	for _, list := range [][]Action{o.Now, o.Then} {
		for _, a := range list {
			switch {
			case a.Kind == ActSpawn && e.autoSpawn:
				e.pid++
				answers = append(answers, Spawned{Ref: a.Ref, PID: e.pid})
			case a.Kind == ActSignal && a.Cont && e.autoStop:
				answers = append(answers, Exited{Ref: a.Ref, Status: Status{Signal: a.Signal}, Empty: true})
			case a.Kind == ActKill && e.autoStop:
				answers = append(answers, Emptied{Ref: a.Ref})
			case a.Kind == ActHook:
				e.hooks[e.m.ID(a.Ref.Slot)] = a.Token
			}
		}
	}
	for _, a := range answers {
		e.step(a)
	}
}

// advance lets time pass, and ticks at each deadline.
func (e *env) advance(d time.Duration) {
	until := e.now.Add(d)
	for {
		at, ok := e.m.Deadline()
		if !ok || at > until {
			break
		}
		e.now = max(e.now, at)
		e.step(Tick{})
	}
	e.now = until
}

// event reads one line of a step block.
func (e *env) event(line string) Event {
	w := strings.Fields(line)
	arg := func(i int) string {
		if i < len(w) {
			return w[i]
		}
		return ""
	}
	target := func() (service string, index int) {
		service, n, one := strings.Cut(arg(1), "/")
		if !one {
			return service, -1
		}
		index, err := strconv.Atoi(n)
		if err != nil {
			e.t.Fatal(err)
		}
		return service, index
	}
	command := func(v Verb) Command {
		e.request++
		service, index := target()
		return Command{Request: e.request, Verb: v, Service: service, Instance: index, By: "ann"}
	}
	switch w[0] {
	case "tick":
		return Tick{}
	case "spawned":
		e.pid++
		return Spawned{Ref: e.ref(arg(1)), PID: e.pid}
	case "spawn-failed":
		code, err := strconv.Atoi(arg(2))
		if err != nil {
			e.t.Fatal(err)
		}
		return SpawnFailed{Ref: e.ref(arg(1)), Step: "exec", Code: code, Cause: strings.Join(w[3:], " ")}
	case "spawn-again":
		return SpawnFailed{Ref: e.ref(arg(1)), Step: "clone", Code: 1, Again: true, Cause: strings.Join(w[2:], " ")}
	case "ready":
		return Ready{Ref: e.ref(arg(1))}
	case "reloading": // reloading web/0 [1s: so long ago]
		at := e.now
		if arg(2) != "" {
			at = at.Add(-parseDuration(e.t, arg(2)))
		}
		return Reloading{Ref: e.ref(arg(1)), At: at}
	case "leaving":
		return Leaving{Ref: e.ref(arg(1))}
	case "more-time": // more-time web/0 1m
		return MoreTime{Ref: e.ref(arg(1)), By: parseDuration(e.t, arg(2))}
	case "main":
		e.pid++
		return MainChanged{Ref: e.ref(arg(1)), PID: e.pid}
	case "exited": // exited web/0 1 | SIGKILL [left] [core] [oom]
		x := Exited{Ref: e.ref(arg(1)), Empty: true}
		if code, err := strconv.Atoi(arg(2)); err == nil {
			x.Status.Code = code
		} else {
			x.Status.Signal = arg(2)
		}
		for _, f := range w[3:] {
			switch f {
			case "left":
				x.Empty = false
			case "core":
				x.Status.Core = true
			case "oom":
				x.Status.OOM = true
			case "unknown":
				x.Status = Status{Unknown: true}
			default:
				e.t.Fatalf("%s: unknown word %q", line, f)
			}
		}
		return x
	case "emptied":
		return Emptied{Ref: e.ref(arg(1))}
	case "hook-done":
		return HookDone{Token: e.hooks[arg(1)], OK: arg(2) == "ok", Cause: strings.Join(w[3:], " ")}
	case "start":
		return command(VerbStart)
	case "stop":
		return command(VerbStop)
	case "restart":
		return command(VerbRestart)
	case "reload":
		return command(VerbReload)
	case "scale":
		c := command(VerbScale)
		n, err := strconv.Atoi(arg(2))
		if err != nil {
			e.t.Fatal(err)
		}
		c.Instances = n
		return c
	case "rollback": // rollback web [3]
		c := command(VerbRollback)
		if arg(2) != "" {
			c.Revision = parseInt(e.t, arg(2))
		}
		return c
	case "deploy": // deploy web x [force]
		e.request++
		v := *e.spec.Service(arg(1))
		v.Process.Command = spec.Expr(arg(2))
		return Deploy{Request: e.request, Service: arg(1), Digest: arg(2), Spec: &v, Force: arg(3) == "force", By: "ann"}
	case "kept": // kept web ID
		return DataDone{Service: arg(1), Token: e.m.byName[arg(1)].data.token, OK: true, Snapshot: arg(2), Text: "3 files"}
	case "back": // back web
		return DataDone{Service: arg(1), Token: e.m.byName[arg(1)].data.token, OK: true, Text: "the newer are at /data.aside"}
	case "data-failed", "data-begun": // data-failed web no space left
		return DataDone{Service: arg(1), Token: e.m.byName[arg(1)].data.token, Begun: w[0] == "data-begun", Cause: strings.Join(w[2:], " ")}
	case "signal":
		c := command(VerbSignal)
		c.Signal = arg(2)
		return c
	case "act": // act web/0 check restart no answer
		return Act{Ref: e.ref(arg(1)), Cause: cause(arg(2)), On: spec.OnFailure(arg(3)), Reason: strings.Join(w[4:], " ")}
	case "pass", "fail", "excuse": // fail web/0 alive no answer; excuse web/0 alive clock no answer
		return e.result(w)
	case "frozen": // frozen web/0 64MiB
		n := uint64(1 << 20)
		if arg(2) != "" {
			var err error
			if n, err = spec.ParseBytes(arg(2)); err != nil {
				e.t.Fatal(err)
			}
		}
		return Frozen{Ref: e.ref(arg(1)), Memory: n}
	case "freeze-failed":
		return FreezeFailed{Ref: e.ref(arg(1)), Cause: strings.Join(w[2:], " ")}
	case "thawed":
		return Thawed{Ref: e.ref(arg(1)), Cause: strings.Join(w[2:], " ")}
	case "kill-inmate", "resume-inmate":
		e.request++
		return Inmate{Request: e.request, ID: arg(1), Resume: w[0] == "resume-inmate", By: "ann"}
	case "withdraw":
		return Withdraw{Ref: e.ref(arg(1)), Cause: cause(arg(2))}
	case "clock": // clock 2026-03-28T23:00:00 Europe/Berlin
		zone, err := time.LoadLocation(arg(2))
		if err != nil {
			e.t.Fatal(err)
		}
		at, err := time.ParseInLocation("2006-01-02T15:04:05", arg(1), zone)
		if err != nil {
			e.t.Fatal(err)
		}
		return ClockChanged{Wall: at}
	case "shutdown":
		e.request++
		code, err := strconv.Atoi(arg(1))
		if err != nil {
			e.t.Fatal(err)
		}
		return Shutdown{Request: e.request, Code: code, Cause: strings.Join(w[2:], " ")}
	}
	e.t.Fatalf("unknown event %q", line)
	return nil
}

// result is the event of an attempt of a check; "web/0@1" names an attempt that
// was begun for another incarnation.
func (e *env) result(w []string) CheckResult {
	ref := e.ref(w[1])
	s := e.m.slots[ref.Slot]
	r := CheckResult{Ref: ref, Token: s.checking, Failed: w[0] != "pass"}
	if w[2] != "ready" {
		r.Check = slices.IndexFunc(s.svc.spec.Checks, func(k spec.Check) bool { return k.Name == w[2] })
	}
	words := w[3:]
	if w[0] == "excuse" {
		r.Excuse = map[string]Excuse{"stopped": ExcuseStopped, "clock": ExcuseClock, "overloaded": ExcuseOverloaded, "late": ExcuseLate}[words[0]]
		words = words[1:]
	}
	r.Reason = strings.Join(words, " ")
	return r
}

func parseInt(t testing.TB, s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func parseDuration(t testing.TB, s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func cause(word string) Cause {
	return map[string]Cause{"check": CauseCheck, "outlier": CauseOutlier, "memory": CauseMemory, "leak": CauseLeak}[word]
}
