package policy

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"nines/spec"
)

// updates is a world in which one service is updated again and again, by revisions
// of which some are bad in one of the ways that there are, while instances crash and
// supervisors die. An observer who does not believe the machine checks
//
//	1  of an instance never more than one incarnation lives, or two where its order
//	   is start-first
//	4  no update leaves fewer ready instances than instances - max_parallel, or where
//	   its order is start-first, than there were
//	5  a revision that was reverted is bad, and not started without a person's word; what a person
//	   asked for is followed by one revert at most
//
// and that in the end all runs one revision, and is up unless that one is bad.
type updates struct {
	*env
	rng      *rand.Rand
	svc      *spec.Service
	quality  map[string]string // by digest
	incs     map[string]*updated
	bad      map[int]bool
	reverts  int // since somebody asked for something
	pending  []later
	trace    *strings.Builder // nil: nobody reads it
	remember bool             // all that is recorded is compared, with every step
	last     bool             // no supervisor dies any more
	failed   string
	requests map[Request]bool
	lives    []*updated // of incs: what is not over
	up       []string   // ready's, kept
	files    *files     // nil: the service has no data block
}

// updated is an incarnation as the observer knows it.
type updated struct {
	ref    Ref
	id     string
	digest string
	ready  bool
	asked  bool // it was asked to end
	judged bool // it fails a check
	over   bool
	status Status // of its end
}

type later struct {
	at Time
	do func()
}

func (u *updates) fail(format string, args ...any) {
	if u.failed == "" {
		u.failed = fmt.Sprintf(format, args...)
	}
}

func (u *updates) after(d time.Duration, do func()) {
	u.pending = append(u.pending, later{u.now.Add(d), do})
}

func (u *updates) dur(most time.Duration) time.Duration {
	return time.Duration(1 + u.rng.Int64N(int64(most)))
}

func (u *updates) with(digest string) *spec.Service {
	v := *u.svc
	v.Process.Command = spec.Expr(digest)
	return &v
}

// ready is how many instances are, as far as the machine was told.
func (u *updates) ready() int {
	u.lives = slices.DeleteFunc(u.lives, func(x *updated) bool { return x.over })
	u.up = u.up[:0]
	for _, x := range u.lives {
		if x.ready && !x.asked && !slices.Contains(u.up, x.id) {
			u.up = append(u.up, x.id)
		}
	}
	return len(u.up)
}

func (u *updates) feed(ev Event) {
	if u.failed != "" {
		return
	}
	before := u.ready()
	o := u.m.Step(u.now, ev)
	checkInvariants(u, u.m)
	if u.files.dies(u, ev) {
		u.diesIn(ev, o)
		return
	}
	switch {
	case u.remember:
		u.kept.take(u, u.m, o)
	case !u.last:
		u.kept.keep(o)
	}
	if u.trace != nil {
		fmt.Fprintf(u.trace, "%T\n%s", ev, u.format(o))
	}
	if u.failed != "" {
		return
	}
	asks := false
	switch e := ev.(type) {
	case Deploy:
		asks = true
	case SpecChanged:
		asks = e.Request != 0
	case Command:
		asks = true
	}
	if asks {
		u.reverts = 0
	}
	for _, n := range o.Notices {
		switch n.Reason.kind {
		case whyReverted:
			u.bad[n.Reason.Left()] = true
			if u.reverts++; u.reverts > 1 {
				u.fail("5: two reverts after one wish")
			}
		case whyUpdate, whyRolledBack:
			if asks { // a person's word lifts it
				delete(u.bad, int(n.Reason.code))
			}
		}
	}
	for _, r := range u.m.services[0].known {
		if u.bad[r.Number] && r.Verdict != Bad {
			u.fail("5: revision %d was reverted, and is not known to be bad", r.Number)
		}
	}
	stops := false
	for _, list := range [][]Action{o.Now, o.Then} {
		for _, a := range list {
			stops = u.carry(a) || stops
		}
	}
	if now := u.ready(); stops && now < before && u.files == nil {
		switch least := len(u.m.services[0].slots) - max(u.svc.Update.MaxParallel, 1); {
		case u.svc.StartFirst():
			u.fail("4: %d ready, %d before, and its order is start-first", now, before)
		case now < least:
			u.fail("4: %d ready, at least %d must be", now, least)
		}
	}
}

// carry does what an action asks for; it says whether that ends what was ready.
func (u *updates) carry(a Action) bool {
	name := u.name(a.Ref)
	x := u.incs[name]
	switch a.Kind {
	case ActSpawn:
		u.spawn(a, name)
	case ActSignal, ActKill:
		if x == nil || x.over {
			break
		}
		was := x.ready && !x.asked
		x.asked = true
		u.after(u.dur(500*time.Millisecond), func() { u.ends(x, Status{Signal: "SIGTERM"}) })
		return was
	case ActSnapshot, ActRestore:
		u.files.carry(u, a)
	case ActDone:
		delete(u.requests, a.Request)
	case ActRefused:
		delete(u.requests, a.Request)
	}
	return false
}

func (u *updates) spawn(a Action, name string) {
	v := u.m.slots[a.Ref.Slot].svc
	r := v.find(a.Revision)
	if r == nil {
		u.fail("%s is started as revision %d, which nobody knows", name, a.Revision)
		return
	}
	if u.bad[a.Revision] {
		u.fail("5: %s is started as revision %d, which was reverted", name, a.Revision)
	}
	x := &updated{ref: a.Ref, id: u.m.ID(a.Ref.Slot), digest: r.Digest}
	if u.incs[name] != nil {
		u.fail("1: %s is started twice", name)
	}
	lives := 0
	for _, o := range u.lives {
		lives += delta(false, o.id == x.id && !o.over)
	}
	if lives > 1 || lives == 1 && !u.svc.StartFirst() {
		u.fail("1: %s is started beside %d others", name, lives)
	}
	u.incs[name] = x
	u.lives = append(u.lives, x)
	u.files.runs(u, x)
	how := u.quality[r.Digest]
	u.after(u.dur(50*time.Millisecond), func() {
		if x.over {
			return
		}
		if how == "no exec" {
			x.over = true
			u.feed(SpawnFailed{Ref: x.ref, Step: "exec", Code: 126, Cause: "cannot exec it"})
			return
		}
		u.feed(Spawned{Ref: x.ref, PID: 1})
		switch how {
		case "never ready":
			return
		case "crash":
			u.after(u.dur(time.Second), func() { u.ends(x, Status{Code: 1}) })
		case "fatal":
			u.after(u.dur(time.Second), func() { u.ends(x, Status{Code: 78}) })
		case "later":
			u.after(u.dur(40*time.Second), func() { u.ends(x, Status{Code: 1}) })
		}
		u.after(u.dur(time.Second), func() {
			if !x.over {
				u.readies(x)
			}
		})
	})
}

func (u *updates) readies(x *updated) {
	if x.asked {
		return
	}
	x.ready = true
	u.feed(Ready{Ref: x.ref})
	if u.quality[x.digest] == "check" {
		u.judges(x)
	}
}

// judges has x fail a check before long.
func (u *updates) judges(x *updated) {
	u.after(u.dur(5*time.Second), func() {
		if !x.over && !x.asked && x.ready {
			x.ready, x.judged = false, true // who fails its check does not count
			u.feed(Act{Ref: x.ref, Cause: CauseCheck, On: spec.OnFailureRestart, Reason: "no answer"})
		}
	})
}

func (u *updates) ends(x *updated, st Status) {
	if x.over {
		return
	}
	x.over, x.status = true, st
	u.feed(Exited{Ref: x.ref, Status: st, Empty: true})
}

// crash ends an instance, if fate will.
func (u *updates) crash() {
	for _, x := range u.lives {
		if !x.over && u.rng.IntN(3) == 0 {
			u.ends(x, Status{Code: 1})
			return
		}
	}
}

// die lets the supervisor die and the next one take over at once.
func (u *updates) die() {
	past := u.kept.past(u).withSpecs(u.spec)
	u.requests = map[Request]bool{} // who waited is gone
	u.m = New(Config{Seed: u.rng.Uint64()})
	u.feed(SpecChanged{Spec: u.spec, Digests: digests(u.spec), Past: past})
	if u.failed != "" {
		return
	}
	at := map[string]Slot{}
	for _, s := range u.m.slots {
		at[u.name(s.ref)] = s.id
	}
	for name, x := range u.incs {
		if id, ok := at[name]; ok {
			x.ref.Slot = id
		}
	}
	for _, x := range u.lives {
		if x.judged && !x.asked { // the next one does not know, until it is found again
			x.ready, x.judged = true, false
			u.judges(x)
		}
	}
	for _, s := range u.m.slots {
		x := u.incs[u.name(s.ref)]
		u.retell(s, x)
		if s.phase != phaseSpawning || x == nil || x.over {
			continue
		}
		switch u.quality[x.digest] {
		case "no exec":
			x.over = true
			u.feed(SpawnFailed{Ref: x.ref, Step: "recover", Cause: "no process of it was found", Again: true})
		case "never ready":
			u.feed(Spawned{Ref: x.ref, PID: 1})
		default:
			u.feed(Spawned{Ref: x.ref, PID: 1})
			u.readies(x)
		}
	}
}

// ask lets somebody ask for another revision.
func (u *updates) ask() {
	u.request++
	digest := "d" + strconv.Itoa(u.rng.IntN(8))
	u.requests[u.request] = true
	switch u.rng.IntN(5) {
	case 0:
		u.feed(Command{Request: u.request, Verb: VerbRollback, Service: "web", Instance: -1})
	case 1:
		sp := *u.spec
		sp.Services = []*spec.Service{u.with(digest)}
		u.spec = &sp
		u.feed(SpecChanged{Spec: u.spec, Digests: digests(u.spec), Request: u.request, Number: uint64(u.request)})
	default:
		u.feed(Deploy{Request: u.request, Service: "web", Digest: digest, Spec: u.with(digest), Force: u.rng.IntN(10) == 0})
	}
}

// until lets time pass.
func (u *updates) until(end Time) {
	for steps := 0; u.failed == ""; steps++ {
		next, which := end, -1
		for i := range u.pending {
			if u.pending[i].at < next {
				next, which = u.pending[i].at, i
			}
		}
		if at, ok := u.m.Deadline(); ok && at <= next {
			u.now = max(u.now, at)
			u.feed(Tick{})
			continue
		}
		u.now = max(u.now, next)
		if which < 0 {
			return
		}
		do := u.pending[which].do
		u.pending = append(u.pending[:which], u.pending[which+1:]...)
		do()
		if steps > 20000 {
			u.fail("it turns in circles")
		}
	}
}

// Helper and Fatalf make it a fataler.
func (u *updates) Helper() {}

func (u *updates) Fatalf(format string, args ...any) { u.fail(format, args...) }

// updatesHistory is one world; "" says that all held. What fails lives again, to be
// read: to put each step into words costs more than the step.
func updatesHistory(t testing.TB, seed uint64) string {
	if u := runUpdates(t, seed, nil); u.failed == "" {
		return ""
	}
	u := runUpdates(t, seed, &strings.Builder{})
	lines := strings.Split(u.trace.String(), "\n")
	return fmt.Sprintf("seed %d: %s\n%+v\n%v\n%s", seed, u.failed, u.svc.Update, u.quality, strings.Join(lines[max(0, len(lines)-80):], "\n"))
}

// unsettled is what is not as it is to be in the end; "": all is.
func (u *updates) unsettled() string {
	if u.failed != "" {
		return ""
	}
	v := u.m.services[0]
	// What waits for its data says so, and for a person.
	good := u.quality[v.find(v.revision).Digest] == "good" && v.data.failed == ""
	for _, s := range v.slots {
		switch {
		case good && v.roll.on():
			return fmt.Sprintf("an update does not come to its end: %+v", v.roll)
		case good && s.phase != phaseReady:
			return fmt.Sprintf("%s is %s, and its revision is good", s.name, s.phase)
		}
	}
	if len(u.requests) > 0 {
		return fmt.Sprintf("not answered: %v", u.requests)
	}
	return ""
}

func runUpdates(t testing.TB, seed uint64, trace *strings.Builder) *updates {
	r := rand.New(rand.NewPCG(seed, 7))
	u := &updates{
		env: newEnv(t), rng: r, quality: map[string]string{}, incs: map[string]*updated{}, bad: map[int]bool{}, requests: map[Request]bool{},
		trace: trace, remember: seed%16 == 0, // TestChaos compares it all
	}
	u.m = New(Config{Seed: seed})
	kinds := []string{"good", "good", "crash", "fatal", "later", "never ready", "no exec", "check"}
	for i := range 8 {
		u.quality["d"+strconv.Itoa(i)] = kinds[r.IntN(len(kinds))]
	}
	u.quality["d0"] = "good"
	v := newService("web")
	v.Instances = 1 + r.IntN(4)
	v.StartTimeout = 5 * time.Second
	v.Ready = &spec.Ready{Notify: "systemd"}
	v.Restart.MaxDelay = 5 * time.Second
	v.AvailableAtLeast, v.AvailableSet = 0, true
	v.Update = spec.Update{
		Order: [...]string{"auto", "start-first", "stop-first"}[r.IntN(3)], MaxParallel: 1 + r.IntN(2), Canary: r.IntN(3),
		MinHealthy: time.Duration(r.IntN(3)) * time.Second, Deadline: 20 * time.Second, AutoRevert: r.IntN(8) > 0, Probation: time.Minute,
	}
	if r.IntN(8) == 0 {
		v.CrashLoop.Then = spec.ThenHold
	}
	v.Process.Command = "d0"
	if seed%4 == 3 {
		u.files = newFiles()
		v.Data = &spec.Data{Paths: []string{"/data"}, Restore: r.IntN(4) > 0}
	}
	u.svc = v
	u.spec = &spec.Spec{Supervisor: spec.Supervisor{ShutdownTimeout: time.Minute}, Services: []*spec.Service{v}}
	u.feed(SpecChanged{Spec: u.spec, Digests: digests(u.spec)})
	u.until(u.now.Add(10 * time.Second))
	for range 2 + r.IntN(5) {
		switch r.IntN(4) {
		case 0:
			u.die()
		case 1:
			u.crash()
		default:
			u.ask()
			if r.IntN(2) == 0 { // in the middle of it
				u.after(u.dur(20*time.Second), u.crash)
			}
		}
		u.until(u.now.Add(u.dur(90 * time.Second)))
	}
	u.last = true
	why := "nothing"
	for range 10 {
		u.until(u.now.Add(time.Minute))
		if u.failed != "" {
			return u
		}
		if why = u.unsettled(); why == "" {
			break
		}
	}
	if why != "" {
		u.fail("%s", why)
	}
	return u
}

// TestUpdates lives through many histories; NINES_UPDATE_HISTORIES says how many.
func TestUpdates(t *testing.T) {
	n := 500
	if s := os.Getenv(updateHistories); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	for seed := range uint64(n) {
		if why := updatesHistory(t, seed); why != "" {
			t.Fatal(why)
		}
	}
}

const updateHistories = "NINES_UPDATE_HISTORIES"

// otherUpdates runs TestUpdates with so many histories in a test of its own, without
// the race detector, which makes it ten times slower and sees nothing here: there is
// one goroutine. tags says which fault is built in.
func otherUpdates(t *testing.T, histories int, tags string) (output string, err error) {
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Fatalf("cannot build the test: %v", err)
	}
	cmd := exec.Command(goTool, "test", "-count=1", "-timeout=0", "-tags="+tags, "-run=^TestUpdates$", ".")
	cmd.Env = append(os.Environ(), updateHistories+"="+strconv.Itoa(histories))
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestUpdatesAtLength: 20,000 histories; NINES_UPDATE_HISTORIES has TestUpdates live
// through more.
func TestUpdatesAtLength(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: short")
	}
	t.Parallel()
	if out, err := otherUpdates(t, 20_000, ""); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// TestSeededUpdateBugs builds the machine with each fault of bug.go that is of
// updates and requires that TestUpdates finds it.
func TestSeededUpdateBugs(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: short")
	}
	for _, n := range []int{21, 22, 23, 31, 32} {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			t.Parallel()
			out, err := otherUpdates(t, 20_000, "ninesbug"+strconv.Itoa(n))
			if err == nil {
				t.Fatalf("TestUpdates did not find seeded bug %d", n)
			}
			_, found, ok := strings.Cut(out, "seed ")
			if !ok {
				t.Fatalf("cannot run it with seeded bug %d: %v\n%s", n, err, out)
			}
			line, _, _ := strings.Cut(found, "\n")
			t.Logf("seeded bug %d: seed %s", n, line)
		})
	}
}
