package wait_test

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nines/supervisor/wait"
)

// Peek shows a child until Reap, and its status as wait4(2) gives it.
func TestPeekThenReap(t *testing.T) {
	for _, tt := range []struct {
		command string
		want    unix.WaitStatus
	}{
		{"exit 0", 0},
		{"exit 7", 7 << 8},
		{"exit 255", 255 << 8},
		{"kill -9 $$", 9},
		{"kill -15 $$", 15},
	} {
		cmd := exec.Command("sh", "-c", tt.command)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		pid := cmd.Process.Pid
		deadline := time.Now().Add(10 * time.Second)
		for {
			if raw, ended := wait.Ended(pid); ended {
				if unix.WaitStatus(raw) != tt.want {
					t.Errorf("%s: Ended says %#x, want %#x", tt.command, raw, tt.want)
				}
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: has not ended", tt.command)
			}
			time.Sleep(time.Millisecond)
		}
		for range 2 { // it is still there
			got, raw, ok := wait.Peek()
			if !ok || got != pid || unix.WaitStatus(raw) != tt.want {
				t.Errorf("%s: Peek = %d, %#x, %v, want %d, %#x", tt.command, got, raw, ok, pid, tt.want)
			}
		}
		b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil || !strings.Contains(string(b), ") Z ") {
			t.Errorf("%s: it is no zombie: %q, %v", tt.command, b, err)
		}
		wait.Reap(pid)
		if got, _, ok := wait.Peek(); ok {
			t.Errorf("%s: Peek still shows %d", tt.command, got)
		}
		if _, ended := wait.Ended(pid); ended {
			t.Errorf("%s: it is not reaped", tt.command)
		}
		_ = cmd.Process.Release() // it was reaped behind its back
	}
}

// A child that runs is not shown, and neither call waits for it.
func TestRunningChildIsNotShown(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if pid, _, ok := wait.Peek(); ok {
		t.Errorf("Peek shows %d", pid)
	}
	wait.Reap(cmd.Process.Pid)
	if _, ended := wait.Ended(cmd.Process.Pid); ended {
		t.Error("it has ended")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("Reap took a child that ran")
	}
}

// Stopped tells of a stop once, and takes no end.
func TestStopped(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	if _, ok := wait.Stopped(pid); ok {
		t.Error("it is said to be stopped")
	}
	soon := func(what string, is func() bool) {
		t.Helper()
		for deadline := time.Now().Add(60 * time.Second); !is(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("waited in vain until " + what)
			}
		}
	}
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	soon("it is stopped", func() bool {
		by, ok := wait.Stopped(pid)
		return ok && by == unix.SIGSTOP
	})
	if _, ok := wait.Stopped(pid); ok {
		t.Error("it is said again")
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	soon("it has ended", func() bool {
		if _, ok := wait.Stopped(pid); ok {
			t.Error("an end is taken for a stop")
		}
		raw, ok := wait.Ended(pid)
		return ok && unix.WaitStatus(raw).Signal() == unix.SIGKILL
	})
	wait.Reap(pid)
}
