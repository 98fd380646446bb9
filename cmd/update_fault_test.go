package cmd_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"nines/ipc"
	"nines/supervisor"
	"nines/supervisor/journal"
	"nines/supervisor/policy"
)

// faultyOnce builds a nines that dies where NINES_FAULT says, once a test run.
var faultyOnce = sync.OnceValues(func() (string, error) {
	bin, err := buildOnce()
	if err != nil {
		return "", err
	}
	to := bin + "/faulty/nines"
	cmd := exec.Command("go", "build", "-tags", "ninesfault", "-o", to, "nines/cmd/nines")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	// It finds its companions beside itself.
	for _, name := range []string{"nines-init", "nines-log", "nines-exec"} {
		if err := os.Symlink(bin+"/"+name, filepath.Dir(to)+"/"+name); err != nil {
			return "", err
		}
	}
	return to, nil
})

// kill is where in an update the supervisor dies: the nth time that it comes to a
// point; "*": nowhere.
type kill struct {
	update string // good; bad: reverted; back: a person's rollback of a good one
	point  string
	nth    int
}

func (k kill) String() string { return fmt.Sprintf("%s/%s-%d", k.update, k.point, k.nth) }

// few leaves out the points of the release store, which has such tests of its own, and
// of an update that works what a start and an end have anywhere.
func (k kill) few() bool {
	switch k.point {
	case "release-made", "release-copied", "release-verified", "release-synced", "release-renamed", "release-removed":
		return false
	case "before-book", "book-written":
		return true
	case "before-signal", "after-signal":
		return k.nth == 1
	}
	return k.update == "bad"
}

// killPrograms are what is copied over a program that serves; each tells of its start.
var killPrograms = map[string]string{
	"first": "#!/bin/sh\necho $NINES_REVISION $NINES_INSTANCE >>HOME/starts\nexec BIN/misbehave listen drain\n",
	"good":  "#!/bin/sh\n# good\necho $NINES_REVISION $NINES_INSTANCE >>HOME/starts\nexec BIN/misbehave listen drain\n",
	"bad":   "#!/bin/sh\n# bad\necho $NINES_REVISION $NINES_INSTANCE >>HOME/starts\nexit 78\n",
}

// TestUpdateKillPoints ends the supervisor at each point of an update that works, of one
// that is reverted, and of a rollback, by a hook that only this build has. The points are those
// that an update is seen to come to, each as often as it does. The next supervisor goes
// on with it, or reverts it after all: what runs at the end is one revision, what is bad
// was started once and is marked, on disk too, and who asks at the listener notices
// nothing. NINES_UPDATE_KILLS=all dies at all of them; else see few.
func TestUpdateKillPoints(t *testing.T) {
	t.Parallel()
	var kills []kill
	for _, update := range []string{"bad", "good", "back"} {
		times := map[string]int{}
		t.Run(update, func(t *testing.T) {
			for _, p := range killUpdate(t, kill{update: update, point: "*"}) {
				times[p]++
				if k := (kill{update, p, times[p]}); k.few() || os.Getenv("NINES_UPDATE_KILLS") == "all" {
					kills = append(kills, k)
				}
			}
		})
	}
	slots := make(chan struct{}, atOnce)
	together(t, kills, kill.String, func(t *testing.T, k kill) {
		slots <- struct{}{}
		defer func() { <-slots }()
		killUpdate(t, k)
	})
}

// atOnce is how many of them run together.
const atOnce = 6

// killUpdate has the supervisor die there in an update, and looks at what the next one
// makes of it. It returns the points that were come to, where it dies nowhere.
func killUpdate(t *testing.T, k kill) (points []string) {
	faulty, err := faultyOnce()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "nines")
	if err != nil {
		t.Fatal(err)
	}
	r := &running{dir: dir, bin: binaries(t), faulty: faulty}
	t.Cleanup(func() { r.cleanUp(t) })
	u := newUpdated(t, r, "web", killPrograms["first"])
	if err := os.WriteFile(dir+"/nines.hcl", []byte(updateSpec(dir, "web", "")), 0o644); err != nil {
		t.Fatal(err)
	}
	once := dir + "/once"
	fault := k.point
	if k.nth > 0 {
		fault = fmt.Sprintf("%s:%d", k.point, k.nth)
	}
	r.start(t, "NINES_FAULT="+fault, "NINES_FAULT_ONCE="+once)
	u.begin()
	states := []string{"previous", "current"}
	if k.update == "back" {
		u.write(killPrograms["good"], 0o755)
		u.settled(2)
		if err := os.Truncate(u.home+"/starts", 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(once, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	switch k.update {
	case "bad":
		u.write(killPrograms["bad"], 0o755)
		states = []string{"current", "bad"}
		u.until("it is bad", func() error {
			list, err := u.client().History(t.Context(), u.name)
			if err == nil && (len(list) != 2 || list[0].State != "bad") {
				err = fmt.Errorf("%+v", list)
			}
			return err
		})
		u.settled(1)
		u.touched()
	case "good":
		u.write(killPrograms["good"], 0o755)
		u.settled(2)
		u.touched(0, 1, 2)
	case "back":
		states = []string{"current", "previous"}
		u.rollback()
		u.settled(1)
		u.touched(0, 1, 2)
	}
	u.history(states...)
	seen, err := os.ReadFile(once)
	if err == nil {
		err = os.Remove(once) // what follows is no part of it
	}
	st := status(t, r)
	u.settled(st.Services[0].Revision) // it may have died when all was over
	switch {
	case k.nth == 0:
		if points = strings.Fields(string(seen)); err != nil || len(points) == 0 {
			t.Fatalf("no points: %v", err)
		}
	case err == nil && k.nth == 1:
		t.Errorf("it did not die at %s", fault)
	case err == nil:
		t.Logf("it did not come to %s this time", fault)
	case st.Supervisor.Restarts != 1:
		t.Errorf("%d restarts of the supervisor, want 1", st.Supervisor.Restarts)
	}
	// What was replaced may still be answering whom it had accepted.
	u.until("each slot has one process", func() error {
		if twice := slotsTwice(r, supervisor.Mark(dir+"/run")); twice != "" {
			return errors.New("two: " + twice)
		}
		return nil
	})
	u.startedOnce(k.update)
	u.end()
	r.end(t)
	if k.update == "bad" {
		u.markedOnDisk()
	}
	return points
}

// rollback asks for revision 1 until it is accepted: one that was not, since the
// supervisor died, may not have been heard.
func (u *updated) rollback() {
	u.t.Helper()
	u.until("the rollback is accepted", func() error {
		if s, err := u.service(); err != nil || s.Revision == 1 {
			return err
		}
		_, err := u.client().Rollback(u.t.Context(), u.name, ipc.RollbackRequest{Revision: 1, NoWait: true})
		return err
	})
}

// markedOnDisk wants what a boot would read to have the mark.
func (u *updated) markedOnDisk() {
	u.t.Helper()
	j := journal.Open(journal.Config{Dir: u.dir + "/state"})
	defer func() {
		if err := j.Close(context.Background()); err != nil {
			u.t.Error(err)
		}
	}()
	list, err := j.List("revisions")
	if err != nil || len(list) != 1 {
		u.t.Fatalf("the revisions on disk: %+v, %v", list, err)
	}
	var book struct{ Memory string }
	if err := json.Unmarshal(list[0].Value, &book); err != nil {
		u.t.Fatal(err)
	}
	w, err := policy.ParseRevisionMemory(book.Memory)
	if err != nil || w.Current != 1 || !slices.ContainsFunc(w.Known, func(r policy.Revision) bool { return r.Number == 2 && r.Verdict == policy.Bad }) {
		u.t.Errorf("on disk stands %q, %v: revision 2 should be bad, and 1 current", book.Memory, err)
	}
}

// startedOnce wants no revision to have been started more than once for each instance,
// and a bad one once in all.
func (u *updated) startedOnce(update string) {
	u.t.Helper()
	b, err := os.ReadFile(u.home + "/starts")
	if err != nil {
		u.t.Fatal(err)
	}
	times := map[string]int{}
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if times[line]++; times[line] > 1 {
			u.t.Errorf("revision and instance %s was started %d times\n%s\n%s", line, times[line], b, u.story())
		}
	}
	if update == "bad" && len(times) != 4 {
		u.t.Errorf("started: %v, want three of revision 1, and one of 2", times)
	}
}
