package cmd_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// updateCase is a service, and what is copied over its program.
type updateCase struct {
	name string
	spec string // blocks of its own
	good string // its first program; "": goodProgram
	// bad is copied over it, and reverted: why is in what is said of that, and touched
	// are the instances that it had reached, with nil for whatever it had.
	bad     string
	why     string
	touched []int
	anyhow  bool // whatever it had reached
	// then is what happens instead, or in the end.
	then func(u *updated)
}

// told is a program that says that it is ready.
const told = "#!/bin/sh\necho >&9\nexec 9>&- BIN/misbehave listen drain\n"

const tells = `
ready {
  fd = 9
}
`

func updateCases() []updateCase {
	return []updateCase{
		{name: "crashes", bad: "#!/bin/sh\nexit 1\n", why: "3 ends within 1m, the last: exited with code 1",
			then: func(u *updated) { u.starts(2, 3) }},
		// No retry can mend that: straight back.
		{name: "fatal", bad: "#!/bin/sh\nexit 78\n", why: "exited with code 78, which by fatal_codes no retry can mend",
			then: func(u *updated) { u.starts(2, 1) }},
		{name: "later", bad: "#!/bin/sh\nsleep 3\nexit 1\n", why: "2 ends within 1m, the last: exited with code 1", spec: `
update {
  min_healthy = "10s"
}
crash_loop {
  failures = 2
}
`},
		{name: "second", bad: "#!/bin/sh\ntest $NINES_INSTANCE != 1 || exit 1\nexec BIN/misbehave listen drain\n",
			why: "second/1: 3 ends within 1m, the last: exited with code 1", touched: []int{0},
			then: func(u *updated) { u.count("canary_passed", 1) }},
		// One instance goes before its successor comes, and the others serve meanwhile.
		{name: "stop-first", bad: "#!/bin/sh\nexit 78\n", why: "exited with code 78", touched: []int{0}, spec: `
update {
  order       = "stop-first"
  min_healthy = "300ms"
}
`},
		{name: "probation", then: inProbation},
		{name: "unready", good: told, bad: "#!/bin/sh\nexec sleep 1000\n", why: "not ready within 2s", spec: tells + `
start {
  timeout = "2s"
}
`, then: func(u *updated) { u.starts(2, 1) }},
		// It is not late by its own start.timeout, but by the update's deadline.
		{name: "hangs", good: told, bad: "#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 1; done\n", why: "2s", spec: tells + `
stop {
  timeout = "500ms"
}
update {
  min_healthy = "300ms"
  deadline    = "2s"
}
`},
		{name: "leaks", bad: "#!/bin/sh\nexec BIN/misbehave leak 200000 1000000000 50ms\n", why: "a leak", spec: `
update {
  min_healthy = "60s"
  deadline    = "5m"
}
memory {
  growth = "1MiB/1s"
  window = "8s"
}
`},
		{name: "bloats", bad: "#!/bin/sh\nexec BIN/misbehave listen drain 100000000 1s\n", why: "above 64MiB (restart_above)", anyhow: true, spec: `
memory {
  restart_above = "64MiB"
  for           = "1s"
}
`},
		{name: "ill", bad: "#!/bin/sh\n# ill\nexec BIN/misbehave listen drain\n", why: `check "alive"`, spec: `
update {
  min_healthy = "20s"
}
check "alive" {
  exec {
    command = ["sh", "-c", "test $NINES_REVISION != 2"]
  }
  interval = "500ms"
  timeout  = "500ms"
  failures = 2
}
`},
		{name: "unfit", then: unfit},
		{name: "again", good: told, spec: tells, then: replacedAgain},
		{name: "back", good: told, spec: tells, then: putBack},
		{name: "twice", then: badTwice},
		{name: "broken", good: "#!/bin/sh\nexec BIN/misbehave listen while HOME/db 1\n", spec: `
crash_loop {
  failures = 2
}
`, then: environmentBroken},
	}
}

// TestUpdates has what may go wrong with a new version go wrong, of a service of
// three instances that a client asks without pause: it is reverted, says why, stays
// out, touches no more than its canary had to, and not one question is lost.
func TestUpdates(t *testing.T) {
	t.Parallel()
	bin := binaries(t)
	dir, err := os.MkdirTemp("", "nines")
	if err != nil {
		t.Fatal(err)
	}
	r := &running{dir: dir, bin: bin}
	t.Cleanup(func() { r.cleanUp(t) })
	var spec strings.Builder
	services := map[string]*updated{}
	cases := updateCases()
	for _, c := range cases {
		good := c.good
		if good == "" {
			good = goodProgram
		}
		services[c.name] = newUpdated(t, r, c.name, good)
		spec.WriteString(updateSpec(dir, c.name, c.spec))
	}
	if err := os.WriteFile(dir+"/broken/db", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/nines.hcl", []byte(spec.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	r.start(t)
	together(t, cases, func(c updateCase) string { return c.name }, func(t *testing.T, c updateCase) {
		u := services[c.name]
		u.t = t
		u.begin()
		if c.bad != "" {
			u.write(c.bad, 0o755)
			u.event("rollback", 1, c.why)
			u.runs(1)
			if !c.anyhow {
				u.touched(c.touched...)
			}
			u.history("current", "bad")
			u.count("update_started", 1)
		}
		if c.then != nil {
			c.then(u)
		}
		u.end()
	})
	r.end(t)
}

// start runs nines-init with the specification in its folder.
func (r *running) start(t *testing.T, env ...string) {
	t.Helper()
	args := []string{"-f", r.dir + "/nines.hcl"}
	if r.faulty != "" {
		args = append(args, "--supervisor", r.faulty)
	}
	r.cmd = exec.Command(r.bin+"/nines-init", args...)
	r.cmd.Env = append([]string{"PATH=" + r.bin + ":" + os.Getenv("PATH"), "HOME=" + r.dir, "TMPDIR=" + r.dir,
		"NINES_RUNTIME_DIR=" + r.dir + "/run", "NINES_STATE_DIR=" + r.dir + "/state", "NINES_LOG_DIR=" + r.dir + "/log"}, env...)
	r.cmd.Stdout, r.cmd.Stderr = &r.out, &r.out
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.done = make(chan error, 1)
	go func() { r.done <- r.cmd.Wait() }()
}

// end has nines-init stop all; nothing may be left.
func (r *running) end(t *testing.T) {
	t.Helper()
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-r.done:
		if err != nil {
			t.Errorf("nines-init: %v\n%s", err, r.out.String())
		}
	case <-time.After(updatePatience):
		t.Fatalf("nines-init does not end\n%s", r.out.String())
	}
	r.cmd = nil
	if left := r.marked(); len(left) > 0 {
		t.Errorf("pids %v are left", left)
	}
}

// starts wants so many starts of that revision.
func (u *updated) starts(revision, n int) {
	u.t.Helper()
	list, err := u.events("starting")
	have := 0
	for _, e := range list {
		if e.Revision == revision {
			have++
		}
	}
	if err != nil || have != n {
		u.t.Errorf("revision %d was started %d times, %v, want %d\n%s", revision, have, err, n, u.story())
	}
}

// inProbation: it works, and when all run it one does not any more.
func inProbation(u *updated) {
	for i := range u.pids {
		if err := os.WriteFile(fmt.Sprintf("%s/fine-%d", u.home, i), nil, 0o644); err != nil {
			u.t.Fatal(err)
		}
	}
	u.write("#!/bin/sh\nexec BIN/misbehave listen while HOME/fine-$NINES_INSTANCE 1\n", 0o755)
	u.settled(2)
	u.touched(0, 1, 2)
	u.history("previous", "current")
	if err := os.Remove(u.home + "/fine-1"); err != nil {
		u.t.Fatal(err)
	}
	u.event("rollback", 1, "probation/1: 3 ends within 1m, the last: exited with code 1")
	u.settled(1)
	u.history("current", "bad")
	u.count("update_started", 1)
}

// unfit: what cannot run here is refused, and touches nothing.
func unfit(u *updated) {
	b, err := os.ReadFile(u.bin + "/misbehave")
	if err != nil {
		u.t.Fatal(err)
	}
	whole := string(b)
	// e_machine stands at 18: SPARC.
	binary.LittleEndian.PutUint16(b[18:], 2)
	u.write(string(b), 0o755)
	u.event("deploy_refused", 1, "is not deployed: ")
	u.write(whole[:5000], 0o755)
	u.event("deploy_refused", 2, "is not deployed: ")
	u.write(whole, 0o644)
	u.event("deploy_refused", 3, "is not deployed: ")
	u.count("update_started", 0)
	u.settled(1)
	u.touched()
	u.history("current")
	u.write("#!/bin/sh\n# mended\nexec BIN/misbehave listen drain\n", 0o755)
	u.settled(2)
	u.history("previous", "current")
}

// replacedAgain: while a version does not get ready comes one that does.
func replacedAgain(u *updated) {
	u.write("#!/bin/sh\nexec sleep 1000\n", 0o755)
	u.event("update_started", 1, "revision 2 replaces 1")
	u.write(told+"# 3\n", 0o755)
	u.event("update_started", 2, "revision 3 replaces 2")
	u.settled(3)
	u.history("previous", "superseded", "current")
	u.count("rollback", 0)
}

// putBack: while a version does not get ready, what ran before is copied back.
func putBack(u *updated) {
	u.write("#!/bin/sh\nexec sleep 1000\n", 0o755)
	u.event("update_started", 1, "revision 2 replaces 1")
	u.write(told, 0o755)
	u.event("update_started", 2, "revision 1 replaces 2")
	u.settled(1)
	u.touched()
	u.history("current", "superseded")
	u.count("rollback", 0)
}

// badTwice: two bad versions in a row, and the first of them once more.
func badTwice(u *updated) {
	u.write("#!/bin/sh\nexit 78\n", 0o755)
	u.event("rollback", 1, "revision 2 is bad and was reverted, 1 is back")
	u.settled(1)
	u.write("#!/bin/sh\nexit 125\n", 0o755)
	u.event("rollback", 2, "revision 3 is bad and was reverted, 1 is back")
	u.settled(1)
	u.write("#!/bin/sh\nexit 78\n", 0o755)
	u.event("deploy_refused", 1, "it is revision 2, which was reverted and is marked bad")
	u.settled(1)
	u.touched()
	u.history("current", "bad", "bad")
	u.starts(2, 1)
	u.starts(3, 1)
}

// environmentBroken: what all versions need goes away. The new one is reverted, the
// one before is held, and nothing is flipped back and forth; it comes back when
// that is mended.
func environmentBroken(u *updated) {
	u.write("#!/bin/sh\nexec BIN/misbehave listen while HOME/db 2\n", 0o755)
	u.settled(2)
	if err := os.Remove(u.home + "/db"); err != nil {
		u.t.Fatal(err)
	}
	u.event("rollback", 1, "revision 2 is bad and was reverted, 1 is back")
	u.until("it is held", func() error {
		s, err := u.service()
		if err == nil && (s.State != "held" || s.Revision != 1) {
			err = fmt.Errorf("%s, at revision %d: %s", s.State, s.Revision, s.Reason)
		}
		return err
	})
	u.event("held", 1, "held after a crash loop")
	if err := os.WriteFile(u.home+"/db", nil, 0o644); err != nil {
		u.t.Fatal(err)
	}
	u.settled(1)
	u.count("rollback", 1)
	u.count("update_started", 1)
	u.history("current", "bad")
}
