package proc

import (
	"bufio"
	"errors"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A process that ends is seen by whoever watches it, with how it ended: while it
// is a zombie of a parent that does not look, and where the kernel tells, when it
// has been reaped.
func TestWatch(t *testing.T) {
	for script, want := range map[string]Status{
		"read x; exit 3": {Code: 3}, "read x; kill -USR1 $$": {Signal: "SIGUSR1"}, "read x; exit 0": {},
	} {
		cmd := exec.Command("sh", "-c", `exec 3<&0; sh -c "$0" <&3 & echo $!; exec sleep 1000`, script)
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		pid, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		start, err := StartTime(pid)
		if err != nil || !Runs(pid) {
			t.Fatalf("it does not run: %v", err)
		}
		fd, err := Watch(pid, start)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := ExitOf(fd); ok {
			t.Error("it is told how it ended, and it lives")
		}
		if _, ok := ZombieExit(pid, start); ok {
			t.Error("it is a zombie, and it lives")
		}
		if err := in.Close(); err != nil {
			t.Fatal(err)
		}
		ended := func() bool {
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 100)
			return n == 1 && err == nil
		}
		for deadline := time.Now().Add(time.Minute); !ended(); {
			if time.Now().After(deadline) {
				t.Fatal("its end is not seen")
			}
		}
		if raw, ok := ZombieExit(pid, start); !ok || StatusOf(raw) != want {
			t.Errorf("%s: as a zombie %+v, %v", script, StatusOf(raw), ok)
		}
		if _, ok := ZombieExit(pid, start+1); ok {
			t.Error("another process with its pid is taken for it")
		}
		if Runs(pid) {
			t.Error("a zombie runs")
		}
		if err := unix.Kill(cmd.Process.Pid, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		// Killed, and the reaper of these tests may have been first.
		_ = cmd.Wait()
		for deadline := time.Now().Add(time.Minute); unix.Kill(pid, 0) == nil && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
		if raw, ok := ExitOf(fd); ok && StatusOf(raw) != want {
			t.Errorf("%s: reaped, %+v", script, StatusOf(raw))
		}
		closeAll(fd)
		if _, err := Watch(pid, start); unix.Kill(pid, 0) != nil && !errors.Is(err, syscall.ESRCH) {
			t.Errorf("one that has ended: %v", err)
		}
	}
}
