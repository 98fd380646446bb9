package keeper

import (
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nines/supervisor/notify"
)

func TestBackoff(t *testing.T) {
	var b backoff
	ms := time.Millisecond
	for i, want := range []time.Duration{0, 100 * ms, 200 * ms, 400 * ms, 800 * ms, 1600 * ms, 2000 * ms, 2000 * ms} {
		if got := b.next(0); got != want {
			t.Errorf("start %d comes after %v, want %v", i, got, want)
		}
	}
	b.failures = 1 << 40
	if got := b.next(backoffForget - 1); got != backoffMax {
		t.Errorf("after very many: %v", got)
	}
	if got := b.next(backoffForget); got != 0 {
		t.Errorf("ten seconds of READY are not enough: %v", got)
	}
	if got := b.next(0); got != 100*ms {
		t.Errorf("the one after: %v", got)
	}
}

// The supervisor and the log process alike: at once, then later and later,
// and a READY of ten seconds forgets it.
func TestRestartsInTime(t *testing.T) {
	for _, name := range []string{"sup", "log"} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.up()
			for range 8 {
				r.dies(name, killedBy(unix.SIGKILL))
				r.pass(backoffMax)
			}
			var at []time.Duration
			var generations []string
			for _, s := range r.fake.started {
				if s.name == name {
					at = append(at, s.at)
					generations = append(generations, s.generation)
				}
			}
			var want []time.Duration
			var due time.Duration
			for _, ms := range []int{0, 0, 100, 200, 400, 800, 1600, 2000, 2000} {
				want = append(want, due+time.Duration(ms)*time.Millisecond)
				if len(want) > 1 {
					due += backoffMax
				}
			}
			if !slices.Equal(at, want) {
				t.Errorf("started at %v, want %v", at, want)
			}
			if g := strings.Join(generations, " "); g != "1 2 3 4 5 6 7 8 9" {
				t.Errorf("generations %s", g)
			}
			r.wantSaid("was killed by SIGKILL: it is started again in 1.6s")
			r.tell(name, nil, notify.Ready())
			r.pass(backoffForget)
			n := r.count(name)
			r.dies(name, exitedWith(0))
			if r.count(name) != n+1 {
				t.Error("after ten seconds of READY it is not started at once")
			}
			r.wantSaid("exited with 0: it is started again at once")
		})
	}
}

func TestOneDiesWithoutTheOther(t *testing.T) {
	r := newRig(t)
	r.up()
	for range 3 {
		r.dies("log", exitedWith(1))
		r.pass(backoffMax)
	}
	if r.count("sup") != 1 || r.count("log") != 4 {
		t.Errorf("%d supervisors, %d log processes", r.count("sup"), r.count("log"))
	}
}

func TestFailedStarts(t *testing.T) {
	r := newRig(t)
	r.fake.fail = unix.EAGAIN
	r.up()
	r.wantSaid("cannot start nines supervise: resource temporarily unavailable: tried again; there are too many processes")
	if r.sup.pid != 0 || r.sup.link != nil {
		t.Fatal("something was started")
	}
	r.pass(time.Minute)
	if n := len(slices.DeleteFunc(r.said(), func(s string) bool { return !strings.Contains(s, "nines supervise") })); n < 1 || n > 3 {
		t.Errorf("said %d times in a minute", n)
	}
	r.fake.fail = nil
	r.pass(backoffMax)
	if r.count("sup") != 1 || r.latest("sup").generation != "1" {
		t.Errorf("started %d times, generation %s", r.count("sup"), r.latest("sup").generation)
	}
	for err, want := range map[unix.Errno]string{
		unix.ENOENT: "install it", unix.EACCES: "install it", unix.EMFILE: "too many open files", unix.EIO: "tried again",
	} {
		if got := remedy(err); !strings.Contains(got, want) {
			t.Errorf("remedy(%v) = %q", err, got)
		}
	}
}

// A supervisor's last words count, also those that nobody had read yet.
func TestLastWordsAreRead(t *testing.T) {
	r := newRig(t)
	r.up()
	conn := r.latest("sup").conn
	for _, m := range []notify.Message{{notify.Value("web/0", "1")}, {notify.Value("web/0", "2")}, {notify.Value("web/1", "x")}} {
		if err := conn.Send(m.Append(nil), nil); err != nil {
			t.Fatal(err)
		}
	}
	r.dies("sup", killedBy(unix.SIGSEGV))
	if got, _ := r.hear("sup"); got != "X_NINES_VALUE=web/0 2\nX_NINES_VALUE=web/1 x" {
		t.Errorf("handed back %q", got)
	}
	if got, _ := r.hear("sup"); got != "X_NINES_STORE=end" {
		t.Errorf("then %q", got)
	}
	r.hearsNothing("sup")
}

// A copy of the dead one's socket in other hands must not hold up the next, nor
// speak in its name.
func TestLeakedSocket(t *testing.T) {
	r := newRig(t)
	r.up()
	first := r.latest("sup")
	r.fake.exits = append(r.fake.exits, sent{first.pid, killedBy(unix.SIGKILL)})
	r.reap()
	r.deadlines()
	if r.count("sup") != 2 {
		t.Fatal("no second one")
	}
	if err := first.conn.Send([]byte("X_NINES_END=0"), nil); err == nil {
		t.Error("the socket of the dead one is still open")
	}
	if r.endSaid {
		t.Error("it was heard")
	}
}

func TestClosedSocketOfALivingChild(t *testing.T) {
	for _, name := range []string{"sup", "log"} {
		r := newRig(t)
		r.up()
		s := r.latest(name)
		if err := s.conn.Close(); err != nil {
			t.Fatal(err)
		}
		r.receive(r.child(name), messagesATurn)
		r.wantSignals()
		r.pass(hangupPatience)
		r.wantSignals(sent{s.pid, unix.SIGKILL})
		r.wantSaid("is killed: it has closed its socket")
		r.dies(name, killedBy(unix.SIGKILL))
		if r.count(name) != 2 {
			t.Errorf("%s was not started again", name)
		}
	}
}

func TestOrphansAreReaped(t *testing.T) {
	r := newRig(t)
	r.up()
	for i := range reapATurn + 10 {
		r.fake.exits = append(r.fake.exits, sent{10000 + i, exitedWith(1)})
	}
	r.reap()
	if len(r.fake.exits) != 10 || r.nextDeadline().After(r.fake.clock) {
		t.Fatalf("%d left after one turn, next at %v", len(r.fake.exits), r.nextDeadline())
	}
	r.deadlines()
	if len(r.fake.exits) != 0 || r.moreToReap {
		t.Errorf("%d left", len(r.fake.exits))
	}
	if r.count("sup")+r.count("log") != 2 {
		t.Error("an orphan was taken for a child")
	}
}

// A panic costs the event, not the keeper.
func TestPanics(t *testing.T) {
	r := newRig(t)
	r.up()
	r.sup.handle = func(notify.Message, []int) { panic("the handler") }
	r.tell("sup", nil, notify.Ready())
	r.wantSaid("internal error in a message: the handler at ")
	if !r.panicked {
		t.Error("nobody slows down")
	}
	r.rest()
	r.sup.handle = r.fromSupervisor
	r.tell("sup", nil, notify.Ready())
	if !r.sup.ready() {
		t.Error("the next message was not read")
	}
	r.fake.panics = true
	r.guard("reaping", r.reap)
	r.wantSaid("internal error in reaping: reaping")
	// A child that a panic left down is started all the same.
	r.sup.pid, r.sup.startAt = 0, time.Time{}
	r.deadlines() // the loop calls it after whatever happened
	r.pass(backoffMax)
	if r.count("sup") != 2 {
		t.Error("it stayed down")
	}
	var m map[string]int
	r.guard("a test", func() { m["x"] = 1 })
	r.wantSaid("internal error in a test: assignment to entry in nil map")
	r.guard("a test", func() { panic(7) })
	r.wantSaid("internal error in a test: panic at ")
}

func TestPanicAfterTheEndWasSaid(t *testing.T) {
	r := newRig(t)
	r.up()
	r.tell("sup", nil, notify.End(3))
	r.sup.pid = 0 // reaped, and then a panic
	r.deadlines()
	if !r.finishing || r.code != 3 {
		t.Errorf("finishing %v, code %d", r.finishing, r.code)
	}
}

func TestCollectsWhenItHasWorked(t *testing.T) {
	r := newRig(t)
	r.work = workToSave
	r.rest()
	if r.work != 0 {
		t.Errorf("work = %d", r.work)
	}
}
