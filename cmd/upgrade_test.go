package cmd_test

import (
	"bytes"
	"os"
	"strings"
	"syscall"
	"testing"

	"nines/ipc"
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
	if n := u.events("supervisor_upgraded", "is now two"); n != 1 {
		t.Errorf("%d upgrades are told of, want 1", n)
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
