package cmd_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"nines/ipc"
	"nines/supervisor"
)

// TestUpgradeReverted: one bad supervisor, or log process, after the other is
// tried, and each time what ran before runs again, while nobody else notices.
func TestUpgradeReverted(t *testing.T) {
	u := beginUpgrades(t, 3, "", "NINES_FAULT=ready-told")
	dir := t.TempDir()
	impostors(t, dir, map[string][]string{"exits": {"nines"}, "silent": {"nines"}, "log/exits": {"nines-log"}, "log/silent": {"nines-log"}})
	for _, folder := range []string{"exits", "silent"} {
		link(t, u.bin+"/nines", dir+"/log/"+folder+"/nines")
	}
	program(t, dir+"/crashes", "nines", "-tags", "ninesfault")
	program(t, dir+"/two", "nines", "-ldflags=-X=main.version=two")
	before := status(t, u.running).Supervisor

	// What cannot be a supervisor costs nothing.
	whole, err := os.ReadFile(u.bin + "/nines")
	if err != nil {
		t.Fatal(err)
	}
	other := bytes.Clone(whole)
	other[18], other[19] = 0x16, 0 // e_machine: s390
	for name, f := range map[string]struct {
		text []byte
		mode os.FileMode
		why  string
	}{
		"script":   {[]byte("#!/bin/sh\necho nines version\n"), 0o755, "is no whole program"},
		"plain":    {whole, 0o644, "permission denied"},
		"half":     {whole[:len(whole)-len(whole)/8], 0o755, ""},
		"everyone": {whole, 0o777, "everyone may write"},
		"other":    {other, 0o755, "exec format error"},
	} {
		path := dir + "/" + name
		if err := os.WriteFile(path, f.text, f.mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, f.mode); err != nil { // whatever the umask is
			t.Fatal(err)
		}
		u.refused(f.why, path)
	}
	u.refused("no such file", dir+"/missing")
	u.refused("no such file", dir+"/log") // a folder without one
	u.refused("does not say", u.bin+"/nines-exec")
	// The API does not rely on the command's own look at it.
	for path, why := range map[string]string{
		dir + "/plain": "chmod +x", dir + "/half": "is no whole program", dir + "/other": "is for EM_S390", dir + "/missing": "no such file",
		dir + "/script": "no whole program", "/dev/null": "is no regular file", "relative": "no absolute path",
		dir + "/a\nb": "control characters", "/" + strings.Repeat("x", 5000): "too long",
	} {
		_, err := u.client().Upgrade(t.Context(), ipc.UpgradeRequest{Path: path})
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("POST /v1/upgrade %.40q: %v, want %q", path, err, why)
		}
	}
	if now := status(t, u.running).Supervisor; now.PID != before.PID {
		t.Errorf("the supervisor was replaced: pid %d became %d", before.PID, now.PID)
	}
	if n := u.events("supervisor_reverted", ""); n != 0 {
		t.Errorf("%d reverts are told of, where nothing was tried", n)
	}

	u.refused("reverted: it ended 3 times at once; at last it exited with 3", dir+"/exits")
	u.refused("reverted: it ended 3 times at once; at last it was killed by SIGKILL", dir+"/crashes")
	u.refused("reverted: it was not ready within 500ms", dir+"/silent", "--timeout", "500ms")
	u.refused("reverted: its nines-log ended 3 times at once; at last it exited with 3", dir+"/log/exits")
	u.refused("reverted: its nines-log was not ready within 3s", dir+"/log/silent", "--timeout", "3s", "--probation", "100ms")
	u.runs(before.Version)
	if n := u.events("supervisor_reverted", "was reverted: "); n != 5 {
		t.Errorf("%d reverts are told of, want 5", n)
	}

	// A good one is taken, and held, whatever becomes of its file.
	u.does("upgrade", dir+"/two", "--probation", "200ms")
	u.runs("two")
	if err := os.Rename(dir+"/exits/nines", dir+"/two/nines"); err != nil {
		t.Fatal(err)
	}
	u.killSupervisor()
	u.runs("two")
	if err := os.RemoveAll(dir + "/two"); err != nil {
		t.Fatal(err)
	}
	u.killSupervisor()
	u.runs("two")
	// One that is killed before it could note that it has told is followed by one
	// that tells again.
	if n := u.events("supervisor_upgraded", "is now two"); n < 1 || n > 3 {
		t.Errorf("%d upgrades are told of, want 1, and no more than one for each supervisor", n)
	}
	u.end()
}

// TestUpgradeMeetsOthers: a second upgrade, and a shutdown, while one is tried;
// and one that is asked for while all is shut down.
func TestUpgradeMeetsOthers(t *testing.T) {
	u := beginUpgrades(t, 1, `
service "slow" {
  command = ["BIN/misbehave", "slow-term", "3s"]
}
`)
	dir := t.TempDir()
	program(t, dir+"/two", "nines", "-ldflags=-X=main.version=two")
	program(t, dir+"/three", "nines", "-ldflags=-X=main.version=three")
	ms := int64(60_000)
	tried, err := u.client().Upgrade(t.Context(), ipc.UpgradeRequest{Path: dir + "/two", ProbationMS: &ms})
	if err != nil || tried.State != "trying" {
		t.Fatalf("%+v, %v", tried, err)
	}
	waitFor(t, "the new one is up", func() error { return allUp(u.running, 0) })
	u.refused("under way", dir+"/three")
	u.refused("under way", u.bin, "--keeper")
	u.runs("two")
	u.asked()
	if err := u.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "it shuts down", func() error {
		_, out := u.nines("upgrade", dir+"/three")
		if !strings.Contains(out, "shutting down") && !strings.Contains(out, "under way") {
			return &ipc.Error{Message: out}
		}
		return nil
	})
	u.ended()
	numbers(t, u.dir+"/log/talk")
}

// TestUpgradeDuringShutdown is refused, by the keeper, which knows.
func TestUpgradeDuringShutdown(t *testing.T) {
	u := beginUpgrades(t, 1, `
service "slow" {
  command = ["BIN/misbehave", "slow-term", "3s"]
}
`)
	u.asked()
	u.does("shutdown", "--no-wait")
	for _, args := range [][]string{{u.bin}, {u.bin, "--keeper"}} {
		if code, out := u.nines(append([]string{"upgrade"}, args...)...); code != 1 || !strings.Contains(out, "it is shutting down") {
			t.Errorf("nines upgrade %v exits with %d and says %q", args, code, out)
		}
	}
	u.ended()
}

// TestKeeperReverted: a keeper that cannot go on makes way for the one before
// it, which is the same process, in whatever it fails.
func TestKeeperReverted(t *testing.T) {
	dir := t.TempDir()
	impostors(t, dir, map[string][]string{"exits": {"nines-init"}, "silent": {"nines-init"}})
	program(t, dir+"/faulty", "nines-init", "-tags", "ninesfault", "-ldflags=-X=runtime.godebugDefault=asyncpreemptoff=1 -E=nines_start")
	for fault, why := range map[string]string{
		"read-state":       "it cannot go on: as a test has it",
		"panic-read-state": "internal error: read-state",
		"resume":           "it cannot go on: as a test has it",
		"panic-resume":     "internal error: resume",
		"":                 "",
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			u := beginUpgrades(t, 2, "", "NINES_FAULT="+fault)
			if fault == "" {
				u.refused("asked whether it can go on, it exited with 3", dir+"/exits", "--keeper")
				u.refused("asked whether it can go on, it was killed by SIGKILL", dir+"/silent", "--keeper")
				u.does("upgrade", dir+"/faulty", "--keeper")
			} else {
				u.refused(why, dir+"/faulty", "--keeper")
				u.refused(why, dir+"/faulty", "--keeper") // as often as one likes
			}
			u.killSupervisor()
			u.same()
			u.signalsAre()
			u.end()
		})
	}
}

// signalsAre wants the supervisor and the log process to have no signal blocked, and
// nines-init to take them from the kernel's queue, blocked in all its threads.
func (u *upgraded) signalsAre() {
	u.t.Helper()
	for _, pid := range append(children(u.cmd.Process.Pid), u.cmd.Process.Pid) {
		comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if err != nil || !strings.HasPrefix(string(comm), "nines") {
			continue // a shell blocks some for a moment
		}
		switch taking, all := threadsTaking(u.t, pid, syscall.SIGUSR1); {
		case pid == u.cmd.Process.Pid && taking > 0:
			u.t.Errorf("%d of the %d threads of nines-init do not hold signals", taking, all)
		case pid != u.cmd.Process.Pid && taking == 0:
			u.t.Errorf("none of the %d threads of pid %d takes signals", all, pid)
		}
	}
}

// threadsTaking counts the threads that do not block sig. One of a Go program,
// by which os/signal hears, blocks whatever nobody asked for.
func threadsTaking(t *testing.T, pid int, sig syscall.Signal) (taking, all int) {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(b), "SigBlk:\t")
		mask, err := strconv.ParseUint(rest[:16], 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		all++
		if mask>>(sig-1)&1 == 0 {
			taking++
		}
	}
	return taking, all
}

// TestKeeperSignalledMeanwhile: a SIGTERM that comes in the middle of the change
// of programs ends everything in order.
func TestKeeperSignalledMeanwhile(t *testing.T) {
	u := beginUpgrades(t, 2, "", "REAL="+binaries(t)+"/nines-init")
	dir := t.TempDir()
	impostors(t, dir, map[string][]string{"stops": {"nines-init"}})
	u.asked()
	// It may end before it could answer.
	if code, out := u.nines("upgrade", dir+"/stops", "--keeper"); code != 0 && code != 1 && code != 3 {
		t.Errorf("nines upgrade exits with %d: %s", code, out)
	}
	u.ended()
	if !strings.Contains(u.out.String(), "is now") || !strings.Contains(u.out.String(), "shutting down: SIGTERM") {
		t.Errorf("it says\n%s", u.out.String())
	}
	numbers(t, u.dir+"/log/talk")
}

// TestUpgradeUnderLoad goes forth and back, supervisor, log process and keeper,
// while services crash, log and are asked.
func TestUpgradeUnderLoad(t *testing.T) {
	u := beginUpgrades(t, 28, `
service "crash" {
  command   = ["sh", "-c", "echo >>DIR/starts.$NINES_INSTANCE; sleep 0.2; exit 3"]
  instances = 15
  restart {
    delay     = "50ms"
    max_delay = "300ms"
  }
  crash_loop {
    failures = 10000
  }
}
`)
	dir := t.TempDir()
	mark := supervisor.Mark(u.dir + "/run")
	program(t, dir+"/two", "nines", "-ldflags=-X=main.version=two")
	program(t, dir+"/two", "nines-log")
	program(t, dir+"/two", "nines-init", "-ldflags=-X=main.version=two -X=runtime.godebugDefault=asyncpreemptoff=1 -E=nines_start")
	first := status(t, u.running).Supervisor
	version := map[string]string{u.bin: first.Version, dir + "/two": "two"}
	for i := range 10 {
		to := []string{dir + "/two", u.bin}[i%2]
		u.does("upgrade", to, "--probation", "300ms")
		u.runs(version[to])
		u.does("upgrade", to, "--keeper")
		waitFor(t, "all are up", func() error { return allUp(u.running, 0) })
		if twice := slotsTwice(u.running, mark); twice != "" {
			t.Fatalf("after change %d: two processes in one slot: %s\n%s", i, twice, u.out.String())
		}
	}
	st := status(t, u.running).Supervisor
	if st.Restarts != 0 || st.KeeperPID != first.KeeperPID {
		t.Errorf("%+v, want no restart of the supervisor and keeper %d", st, first.KeeperPID)
	}
	// Nobody lost an exit: each start but the first was a restart, and each exit
	// has its status.
	u.does("stop", "crash")
	for _, s := range status(t, u.running).Services {
		for _, in := range s.Instances {
			if s.Name != "crash" {
				continue
			}
			b, err := os.ReadFile(fmt.Sprintf("%s/starts.%d", u.dir, in.Index))
			if err != nil {
				t.Fatal(err)
			}
			if starts := bytes.Count(b, []byte("\n")); starts != in.Restarts+1 && starts != in.Restarts {
				t.Errorf("%s was started %d times, %d restarts are counted", in.ID, starts, in.Restarts)
			}
		}
	}
	exits := u.events("exited", "")
	good := u.events("exited", "exited with code 3") + u.events("exited", "stopped: ") - u.events("exited", "stopped: exited with code 3")
	if good != exits || exits < 100 {
		t.Errorf("%d of %d exits have the status that they had", good, exits)
	}
	if n := u.events("log_lost", ""); n != 0 {
		t.Errorf("%d log losses", n)
	}
	if up, back := u.events("supervisor_upgraded", "the supervisor runs"), u.events("supervisor_upgraded", "the keeper runs"); up != 10 || back != 10 {
		t.Errorf("%d and %d upgrades are told of, want 10 each", up, back)
	}
	waitFor(t, "no zombie is left", func() error {
		if z := zombies(u.cmd.Process.Pid); len(z) > 0 {
			return fmt.Errorf("zombies %v", z)
		}
		return nil
	})
	u.signalsAre()
	u.end()
}

// TestUpgradeKillPoints ends the supervisor that asks, or the one that comes,
// once at each point of an upgrade.
func TestUpgradeKillPoints(t *testing.T) {
	dir := t.TempDir()
	program(t, dir+"/faulty", "nines", "-tags", "ninesfault", "-ldflags=-X=main.version=faulty")
	for _, c := range []struct {
		point string
		code  int    // of the upgrade that it died in
		runs  string // afterwards
		comes bool   // the one that comes dies; else the one that asks
	}{
		{"upgrade-asking", 1, "faulty", false},
		{"upgrade-asked", 0, "good", false},
		{"upgrade-leaving", 0, "good", false},
		{"adopted", 0, "faulty", true},
		{"ready-told", 0, "faulty", true},
	} {
		t.Run(c.point, func(t *testing.T) {
			t.Parallel()
			once := t.TempDir() + "/once"
			u := beginUpgrades(t, 2, "", "NINES_FAULT="+c.point, "NINES_FAULT_ONCE="+once)
			good := status(t, u.running).Supervisor.Version
			to := dir + "/faulty"
			if !c.comes {
				u.does("upgrade", to, "--probation", "100ms")
				to = u.bin
			}
			if err := os.WriteFile(once, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if code, out := u.nines("upgrade", to, "--probation", "100ms"); code != c.code {
				t.Errorf("nines upgrade exits with %d, want %d: %s\n%s", code, c.code, out, u.out.String())
			}
			if _, err := os.Stat(once); err == nil {
				t.Errorf("it did not die at %s", c.point)
			}
			waitFor(t, "all are up", func() error { return allUp(u.running, 0) })
			if c.runs == "good" {
				c.runs = good
			}
			u.runs(c.runs)
			u.same()
			u.does("upgrade", u.bin, "--probation", "100ms")
			u.runs(good)
			u.end()
		})
	}
}
