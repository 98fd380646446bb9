package proc

import (
	"bufio"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestEnding: of the children of one process, which never waits for any, the session
// leader that has ended is listed by its cgroup; not one that lives, nor one that leads
// no session.
func TestEnding(t *testing.T) {
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	cgroup := ""
	for line := range strings.Lines(string(own)) {
		if path, ok := strings.CutPrefix(line, "0::"); ok {
			cgroup = strings.TrimSpace(path)
		}
	}
	// Those that are to end read until the pipe is closed, when the shell, which waits
	// for its children when it pleases, has become another program.
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	cmd := exec.Command("sh", "-c", "cat <&3 & a=$!; setsid cat <&3 & b=$!; setsid sleep 1000 & echo $a $b $!; exec sleep 1000")
	cmd.ExtraFiles = []*os.File{r}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	err = cmd.Start()
	r.Close()
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	var pids [3]int
	for i, f := range strings.Fields(line) {
		if pids[i], err = strconv.Atoi(f); err != nil {
			t.Fatal(err)
		}
	}
	for until := time.Now().Add(time.Minute); ; {
		name, err := os.ReadFile("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/comm")
		if string(name) == "sleep\n" {
			break
		}
		if err != nil || time.Now().After(until) {
			t.Fatalf("it is still %q, %v", name, err)
		}
		<-time.After(time.Millisecond)
	}
	w.Close()
	defer out.Close()
	defer cmd.Process.Release()
	// Whoever ends first is reaped by the reaper of all tests.
	defer unix.Kill(cmd.Process.Pid, unix.SIGKILL)
	defer unix.Kill(pids[2], unix.SIGKILL)
	for until := time.Now().Add(time.Minute); ; {
		a, err1 := readStat(pids[0])
		b, err2 := readStat(pids[1])
		if err1 == nil && err2 == nil && !a.lives() && !b.lives() {
			break
		}
		if time.Now().After(until) {
			t.Fatalf("they do not end: %+v %v, %+v %v", a, err1, b, err2)
		}
		<-time.After(time.Millisecond)
	}
	list, err := Ending(cmd.Process.Pid)
	if err != nil || cgroup == "" && len(list) != 0 || cgroup != "" && (len(list) != 1 || list[0] != cgroup) {
		t.Errorf("%q, %v, want %q alone", list, err, cgroup)
	}
}

// A process that is ending says so in its flags (PF_EXITING) before it is a zombie.
func TestStatExiting(t *testing.T) {
	for line, want := range map[string]bool{
		"7 (sh) R 1 7 7 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 77 0 0":    false,
		"7 (sh) R 1 7 7 0 -1 4194308 1 0 0 0 0 0 0 0 20 0 1 0 77 0 0":    true,
		"7 (a) b) D 1 7 7 34816 7 1028 1 0 0 0 0 0 0 0 20 0 1 0 77 0 12": true,
	} {
		if st, ok := parseStat([]byte(line)); !ok || st.exiting != want || st.start != 77 {
			t.Errorf("%q: %+v, %v", line, st, ok)
		}
	}
}
