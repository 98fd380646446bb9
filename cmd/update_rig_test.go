package cmd_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"nines/ipc"
)

// updatePatience bounds every wait of an update's test, on a machine that others use too.
const updatePatience = 60 * time.Second

// updated is a service of three instances whose program is copied over, while a
// client asks at its listener without pause.
type updated struct {
	*running
	t       *testing.T
	name    string
	home    string // its folder; app in it is the program, s the socket
	pids    [3]int // of the first revision
	stop    chan struct{}
	stopped chan struct{} // the client has ended
	asked   int
	lost    error // the first question that was not answered
}

// updateDefaults are blocks of each such service, unless it has its own.
const updateDefaults = `
start {
  timeout = "30s"
}
stop {
  timeout = "30s"
}
restart {
  delay     = "10ms"
  max_delay = "50ms"
}
crash_loop {
  failures = 3
}
update {
  min_healthy = "300ms"
  deadline    = "50s"
}
`

// updateSpec is the specification of such a service; more are blocks of its own.
func updateSpec(dir, name, more string) string {
	text := fmt.Sprintf(`
service %q {
  command   = ["%s/%s/app"]
  instances = 3
  listen "s" {
    address = "unix://%s/%s/s"
  }
  release {
    path  = "%s/%s/app"
    watch = true
  }
`, name, dir, name, dir, name, dir, name)
	for block := range strings.SplitSeq(strings.TrimSpace(updateDefaults), "\n}\n") {
		head, _, _ := strings.Cut(block, "\n")
		if !strings.Contains(more, head) {
			text += strings.TrimSuffix(block, "\n}") + "\n}\n"
		}
	}
	return text + more + "}\n"
}

// goodProgram serves, and ends when it has answered whom it had accepted.
const goodProgram = "#!/bin/sh\n# %s\nexec BIN/misbehave listen drain\n"

// fillProgram puts into a script where things are.
func fillProgram(text, bin, home string) string {
	return strings.NewReplacer("BIN", bin, "HOME", home).Replace(text)
}

// newUpdated makes the folder of a service; its program is good.
func newUpdated(t *testing.T, r *running, name, good string) *updated {
	u := &updated{running: r, t: t, name: name, home: filepath.Join(r.dir, name), stop: make(chan struct{}), stopped: make(chan struct{})}
	if err := os.Mkdir(u.home, 0o755); err != nil {
		t.Fatal(err)
	}
	u.write(good, 0o755)
	return u
}

// begin waits for it and has the client ask.
func (u *updated) begin() {
	u.t.Helper()
	u.settled(1)
	u.pids = u.now()
	go func() {
		defer close(u.stopped)
		for {
			if err := u.ask(); err != nil && u.lost == nil {
				u.lost = err
			}
			u.asked++
			select {
			case <-u.stop:
				return
			case <-time.After(10 * time.Millisecond): // leaves the machine to the others
			}
		}
	}()
}

func (u *updated) ask() error {
	c, err := net.Dial("unix", u.home+"/s")
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(updatePatience)); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(c, "?"); err != nil {
		return err
	}
	_, err = bufio.NewReader(c).ReadString('\n')
	return err
}

// end wants every question to have been answered, and stops the service.
func (u *updated) end() {
	u.t.Helper()
	close(u.stop)
	<-u.stopped
	if u.lost != nil || u.asked == 0 {
		u.t.Errorf("of %d questions one was not answered: %v", u.asked, u.lost)
	}
	if _, err := u.client().Do(context.Background(), u.name, ipc.VerbStop, ipc.Command{}); err != nil {
		u.t.Error(err)
	}
}

// write copies another program over the one that is there: in place where there is
// one of that mode, as cp does it, else by a rename.
func (u *updated) write(text string, mode os.FileMode) {
	u.t.Helper()
	app := u.home + "/app"
	text = fillProgram(text, u.bin, u.home)
	if st, err := os.Stat(app); err == nil && st.Mode().Perm() == mode {
		if err := os.WriteFile(app, []byte(text), mode); err != nil {
			u.t.Fatal(err)
		}
		return
	}
	err := os.WriteFile(app+".new", []byte(text), mode)
	if err = errors.Join(err, os.Rename(app+".new", app)); err != nil {
		u.t.Fatal(err)
	}
}

// until polls: what is waited for is seen from outside.
func (u *updated) until(what string, ok func() error) {
	u.t.Helper()
	deadline := time.Now().Add(updatePatience)
	for {
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			u.t.Fatalf("waited %s until %s: %v\n%s", updatePatience, what, err, u.story())
		}
		select {
		case e := <-u.done:
			u.done <- e // for the others
			u.t.Fatalf("waiting until %s: nines-init ended: %v", what, e)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (u *updated) service() (*ipc.Service, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return u.client().Service(ctx, u.name)
}

// settled waits until all three instances are ready with that revision, and no
// update is under way.
func (u *updated) settled(revision int) {
	u.t.Helper()
	u.until(fmt.Sprintf("all run revision %d, and no update is under way", revision), func() error {
		s, err := u.service()
		if err == nil {
			err = allRun(s, revision)
		}
		if err == nil && s.Update.State != "idle" {
			err = errors.New("an update is " + s.Update.State)
		}
		return err
	})
}

// runs waits until all three instances are ready with that revision.
func (u *updated) runs(revision int) {
	u.t.Helper()
	u.until(fmt.Sprintf("all run revision %d", revision), func() error {
		s, err := u.service()
		if err == nil {
			err = allRun(s, revision)
		}
		return err
	})
}

// allRun says what is wrong with a service whose three instances should be ready with
// that revision.
func allRun(s *ipc.Service, revision int) error {
	if s.State != "running" || s.Revision != revision || len(s.Instances) != 3 {
		return fmt.Errorf("it is %s, with %d instances, at revision %d, update %s: %s", s.State, len(s.Instances), s.Revision, s.Update.State, s.Reason)
	}
	for _, in := range s.Instances {
		if in.State != "ready" || in.Revision != revision {
			return fmt.Errorf("%s is %s, at revision %d", in.ID, in.State, in.Revision)
		}
	}
	return nil
}

// now are the pids of the instances.
func (u *updated) now() (pids [3]int) {
	u.t.Helper()
	var s *ipc.Service
	u.until("it tells its pids", func() (err error) {
		s, err = u.service()
		return err
	})
	for i := range pids {
		pids[i] = s.Instances[i].PID
	}
	return pids
}

// touched wants those instances, and no others, to be other processes than those of
// the first revision.
func (u *updated) touched(which ...int) {
	u.t.Helper()
	now := u.now()
	for i, pid := range u.pids {
		if (now[i] != pid) != slices.Contains(which, i) {
			u.t.Errorf("%s/%d had pid %d and has %d; %v should be other processes\n%s", u.name, i, pid, now[i], which, u.story())
		}
	}
}

// events are those of that kind, oldest first.
func (u *updated) events(kind string) (list []ipc.Event, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err = u.client().Events(ctx, ipc.EventQuery{Service: u.name}, func(e ipc.Event) error {
		if e.Service == u.name && (kind == "" || e.Kind == kind) {
			list = append(list, e)
		}
		return nil
	})
	return list, err
}

// event waits for the nth event of that kind, which must have the text.
func (u *updated) event(kind string, n int, text string) {
	u.t.Helper()
	var e ipc.Event
	u.until(fmt.Sprintf("there is %s %d", kind, n), func() error {
		list, err := u.events(kind)
		if err == nil && len(list) < n {
			err = fmt.Errorf("there are %d", len(list))
		}
		if err == nil {
			e = list[n-1]
		}
		return err
	})
	if !strings.Contains(e.Message, text) {
		u.t.Errorf("%s says %q, not %q", kind, e.Message, text)
	}
}

// count wants so many events of that kind, and no more.
func (u *updated) count(kind string, n int) {
	u.t.Helper()
	if list, err := u.events(kind); err != nil || len(list) != n {
		u.t.Errorf("%d of %s, %v, want %d\n%s", len(list), kind, err, n, u.story())
	}
}

// history wants those states of the revisions, from 1 on; a bad one says why.
func (u *updated) history(states ...string) {
	u.t.Helper()
	var list []ipc.Revision
	u.until("it tells its history", func() (err error) {
		list, err = u.client().History(context.Background(), u.name)
		return err
	})
	slices.Reverse(list)
	var is []string
	for _, r := range list {
		is = append(is, r.State)
		if r.State == "bad" && r.Reason == "" {
			u.t.Errorf("revision %d is bad, and nothing says why", r.Revision)
		}
	}
	if !slices.Equal(is, states) {
		u.t.Errorf("the revisions are %v, want %v\n%s", is, states, u.story())
	}
}

// story is what happened, for whoever reads a failure.
func (u *updated) story() string {
	list, err := u.events("")
	var b strings.Builder
	for _, e := range list {
		fmt.Fprintf(&b, "%s %-8s %s %s\n", e.Time.Format("05.000"), e.Instance, e.Kind, e.Message)
	}
	if err != nil {
		fmt.Fprintln(&b, err)
	}
	return b.String()
}

// together runs each of these as a subtest, all at once: they wait for most of
// their time.
func together[T any](t *testing.T, list []T, name func(T) string, run func(*testing.T, T)) {
	var all sync.WaitGroup
	for _, x := range list {
		all.Go(func() { t.Run(name(x), func(t *testing.T) { run(t, x) }) })
	}
	all.Wait()
}
