package keeper

import (
	"errors"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nines/supervisor/notify"
)

func (r *rig) orphansEnd(from, n int) {
	for i := range n {
		r.fake.exits = append(r.fake.exits, sent{from + i, exitedWith(1)})
	}
}

// Where each look for one that has ended is long, because many live, all that
// have ended are taken in one sweep, and those to come after a rest.
func TestManyEndWhileManyLive(t *testing.T) {
	r := newRig(t)
	r.up()
	r.fake.walk, r.fake.list = 2*time.Millisecond, 10*time.Millisecond
	for i := range 5000 {
		r.fake.living = append(r.fake.living, int32(20000+i))
	}
	r.orphansEnd(10000, 1000)
	r.childEnded()
	if len(r.fake.exits) != 0 || r.fake.walks > 4 {
		t.Fatalf("%d left after %d looks", len(r.fake.exits), r.fake.walks)
	}
	rested := r.fake.clock

	// More end: they wait, our own do not.
	r.orphansEnd(30000, 1000)
	old := r.latest("sup").pid
	r.fake.exits = append(r.fake.exits, sent{old, killedBy(unix.SIGKILL)})
	r.fake.walks = 0
	r.childEnded()
	if r.fake.walks != 0 || len(r.fake.exits) != 1000 {
		t.Errorf("%d looks in the rest, %d left", r.fake.walks, len(r.fake.exits))
	}
	r.deadlines()
	if r.latest("sup").pid == old {
		t.Error("the supervisor is not started again in the rest")
	}
	r.pass(restMost)
	if waited := r.fake.clock.Sub(rested); len(r.fake.exits) != 0 || waited < restFactor*r.fake.list {
		t.Errorf("%d left, waited for %v", len(r.fake.exits), waited)
	}
	r.pass(time.Second)
	if r.fake.walks > 10 {
		t.Errorf("%d looks", r.fake.walks)
	}
	if r.reaping.at != (time.Time{}) || r.moreToReap {
		t.Error("it goes on for ever")
	}
}

// A child of another thread is not listed: it is found all the same.
func TestChildThatIsNotListed(t *testing.T) {
	r := newRig(t)
	r.up()
	r.fake.walk, r.fake.own = 2*time.Millisecond, 10009
	r.orphansEnd(10000, 10)
	r.childEnded()
	if len(r.fake.exits) != 1 {
		t.Fatalf("%d left", len(r.fake.exits))
	}
	r.pass(restMost)
	if len(r.fake.exits) != 0 {
		t.Error("it is left")
	}
}

// Without a list it walks, however long that takes, and says so once.
func TestChildrenCannotBeListed(t *testing.T) {
	r := newRig(t)
	r.up()
	r.fake.walk, r.fake.unlisted = 2*time.Millisecond, errors.New("no such file")
	for range 2 {
		r.orphansEnd(10000, 100)
		r.childEnded()
		r.deadlines()
		if len(r.fake.exits) != 0 {
			t.Errorf("%d left", len(r.fake.exits))
		}
	}
	n := 0
	for _, line := range r.said() {
		if strings.HasPrefix(line, "cannot list children: no such file: ") {
			n++
		}
	}
	if n != 1 {
		t.Errorf("said %d times", n)
	}
}

// What is asked back with sync is told after all that had ended.
func TestSyncAfterASweep(t *testing.T) {
	r := newRig(t)
	r.up()
	r.fake.walk, r.fake.list = 2*time.Millisecond, 10*time.Millisecond
	r.orphansEnd(10000, 100)
	r.childEnded()
	r.orphansEnd(20000, 100)
	r.childEnded()
	r.syncDue = true
	r.deadlines()
	if len(r.fake.exits) != 0 || r.syncDue {
		t.Errorf("%d left, sync is due: %v", len(r.fake.exits), r.syncDue)
	}
}

// The kernel lists what was left to us.
func TestOrphansAreListed(t *testing.T) {
	if err := becomeSubreaper(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// It was possible a moment ago.
		_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
	})
	var pids []int32
	for range 3 {
		out, err := exec.Command("sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $!").Output()
		if err != nil {
			t.Fatal(err)
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(out)))
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, int32(pid))
		t.Cleanup(func() {
			// It is our child by now, and was not waited for.
			_ = unix.Kill(pid, unix.SIGKILL)
			_, _ = unix.Wait4(pid, nil, 0, nil)
		})
	}
	got, err := kernel{}.children()
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		if !slices.Contains(got, pid) {
			t.Errorf("%d is not among %v", pid, got)
		}
	}
}

// A sweep hears once what the supervisor has said, before it takes anybody: what it
// says of main processes that have ended meanwhile is known with each of them.
func TestSweepHearsFirst(t *testing.T) {
	r := newRig(t)
	r.up()
	r.fake.walk, r.fake.list = walkLong+1, 10*time.Millisecond
	r.orphansEnd(10000, 500)
	// More than two turns read, in as many messages.
	const told = 3 * messagesATurn
	for i := range told {
		if err := r.latest("sup").conn.Send(notify.Message{notify.Value(keyMain+strconv.Itoa(10100+i), "77")}.Append(nil), nil); err != nil {
			t.Fatal(err)
		}
	}
	r.childEnded()
	if len(r.fake.exits) != 0 {
		t.Fatalf("%d left", len(r.fake.exits))
	}
	for i := range told {
		if v := r.store.values[keyExit+strconv.Itoa(10100+i)]; v == nil || !strings.HasPrefix(v.value, "77 ") {
			t.Fatalf("of main process %d: %v", 10100+i, v)
		}
	}
	if r.reaping.heard {
		t.Error("it hears no more")
	}
}
