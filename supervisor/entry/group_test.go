package entry

import (
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A pipeline of three, all of which hold stdout, under a shell.
const pipeline = "(sleep 1000; :) | (sleep 1000; :) | (sleep 1000 & echo $!; wait)"

func killed(t *testing.T, pid int) {
	t.Helper()
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Error(err)
	}
}

func TestGroupGetsTheSignal(t *testing.T) {
	r := start(t, "-g", "--", "sh", "-c", pipeline)
	pid := r.number()
	r.signal(unix.SIGTERM)
	r.ends(143)
	r.silent() // all are dead
	if alive(pid) {
		t.Error("a member lives")
	}

	r = start(t, "--", "sh", "-c", pipeline+"; :")
	pid = r.number()
	r.signal(unix.SIGTERM)
	r.ends(143)
	if !alive(pid) {
		t.Error("without -g a member died")
	}
	group, err := unix.Getpgid(pid)
	if err != nil || group == r.cmd.Process.Pid || group == unix.Getpgrp() {
		t.Errorf("its group is %d, %v", group, err)
	}
	killed(t, -group)
}

// What the command ignores reaches the rest of its group.
func TestGroupMembersOfACommandThatIgnores(t *testing.T) {
	r := start(t, "-gs", "--", "sh", "-c", "trap '' USR1; (trap - USR1; exec "+strings.Join(role(t, "report"), " ")+") & wait; echo over; exit 4")
	r.says("ready")
	r.signal(unix.SIGUSR1)
	r.says("10")
	r.signal(unix.SIGHUP) // the shell dies, the member says
	for {
		if l := r.line(); l == "" || l == "15" { // SIGTERM at the shell's end
			break
		}
	}
	r.ends(129)
	r.silent()
}

func TestGroupIsEndedWithTheCommand(t *testing.T) {
	r := start(t, "-g", "--", "sh", "-c", "sleep 1000 & sleep 1000 & echo $!; exit 3")
	pid := r.number()
	r.ends(3)
	r.silent()
	// It has closed what it had: it is about to be gone.
	for deadline := time.Now().Add(10 * time.Second); alive(pid); <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a member lives")
		}
	}
	r = start(t, "--", "sh", "-c", "sleep 1000 & echo $!; exit 3")
	pid = r.number()
	r.ends(3)
	if !alive(pid) {
		t.Error("without -g a member died")
	}
	killed(t, pid)
}

// Without a terminal: who stops nines-init stops the command, and the other
// way round with SIGCONT.
func TestJobControlSignals(t *testing.T) {
	for _, group := range []bool{false, true} {
		for sig := range map[unix.Signal]bool{unix.SIGTSTP: true, unix.SIGTTIN: true, unix.SIGTTOU: true} {
			// A group that is nobody's job ignores the three: hence SIGSTOP
			// with -g. Without, we are in the same session, its shell.
			r := start(t, append(flags(group), "--", "sh", "-c", "echo $$; read line; echo $line; exit 9")...)
			pid := r.number()
			stopped := func(pid int) func() bool {
				return func() bool { l, _ := state(pid); return l == "T" }
			}
			r.signal(sig)
			until(t, "the command is stopped", stopped(pid))
			until(t, "nines-init is stopped", stopped(r.cmd.Process.Pid))
			r.signal(unix.SIGCONT)
			if _, err := r.stdin.Write([]byte("hello\n")); err != nil {
				t.Fatal(err)
			}
			r.says("hello")
			r.ends(9)
		}
	}
}

// A SIGSTOP from elsewhere concerns the command alone.
func TestADebuggersStop(t *testing.T) {
	r := start(t, "--", "sh", "-c", "echo $$; read line; exit 9")
	pid := r.number()
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	until(t, "the command is stopped", func() bool { l, _ := state(pid); return l == "T" })
	r.signal(unix.SIGTERM) // is taken at once, acts when continued
	if err := unix.Kill(pid, unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	r.ends(143)
}

func TestParentDeathSignal(t *testing.T) {
	init := program(t, binary)
	// The shell is the parent; its stdin ends, it exits, and the command dies.
	r := startAs(t, []string{"sh", "-c", init + " -v -p USR1 -r USR1:TERM -- sh -c 'echo started; exec sleep 1000' & read line; exit 5"}, nil)
	r.says("started")
	r.stdin.Close()
	r.ends(5)
	r.silent()
	// The same with one that cannot be caught.
	r = startAs(t, []string{"sh", "-c", init + " -p KILL -- sh -c 'echo $$; exec sleep 1000' & echo $!; read line; exit 5"}, nil)
	one, other := r.number(), r.number()
	r.stdin.Close()
	r.ends(5)
	until(t, "one of the two is dead", func() bool { return !alive(one) || !alive(other) })
	for _, pid := range []int{one, other} {
		if alive(pid) {
			killed(t, pid) // the command
		}
	}
	r.silent()
}

// The parent died before its death could be asked for.
func TestParentDiedBefore(t *testing.T) {
	if os.Getppid() == 1 {
		t.Skip("skipped: this runs under PID 1")
	}
	e := &entry{Options: Options{DeathSignal: unix.SIGHUP, Parent: 1 << 30}}
	defer func() {
		if err := unix.Prctl(unix.PR_SET_PDEATHSIG, 0, 0, 0, 0); err != nil {
			t.Error(err)
		}
	}()
	if err := e.deathSignal(); err != nil || len(e.waiting) != 1 || e.waiting[0] != unix.SIGHUP {
		t.Errorf("%v, %v", e.waiting, err)
	}
}

func TestPID1ReapsOrphans(t *testing.T) {
	reaps(t, startAs(t, append([]string{program(t, binary), "-v", "--"}, role(t, "orphans", "2000")...), inPIDNamespace), true)
}

func TestSubreaperReapsOrphans(t *testing.T) {
	reaps(t, start(t, append([]string{"-s", "-v", "--"}, role(t, "orphans", "2000")...)...), true)
}

func TestWithoutSubreaperOrphansGoElsewhere(t *testing.T) {
	r := start(t, append([]string{"-v", "--"}, role(t, "orphans", "50")...)...)
	reaps(t, r, false)
	if !strings.Contains(r.stderr.String(), "nines-init: is neither PID 1 nor a subreaper: orphans of the command are not reaped here: give -s\n") {
		t.Errorf("it does not say so: %s", r.stderr)
	}
	quiet := start(t, "--", "true")
	quiet.ends(0)
	if got := quiet.stderr.String(); got != "" {
		t.Errorf("without -v it says %s", got)
	}
}

func reaps(t *testing.T, r *run, all bool) {
	t.Helper()
	if got := r.line(); !strings.HasPrefix(got, "made ") {
		t.Fatal(got)
	}
	until(t, "there is no zombie and only the command", func() bool {
		n, zombies := children(t, r.cmd.Process.Pid)
		return n == 1 && zombies == 0
	})
	r.stdin.Close()
	r.ends(0)
	if all && strings.Contains(r.stderr.String(), "neither") {
		t.Errorf("it says %s", r.stderr)
	}
	// Not for each: what stderr does not take at once is dropped.
	if some := strings.Contains(r.stderr.String(), "nines-init: reaped "); all != some {
		t.Errorf("it says that it reaped some: %v", some)
	}
}

func TestAFaultCostsOneTurn(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	// There is no such signal.
	e := &entry{Options: Options{Stderr: int(write.Fd())}, signals: -1, shim: neverPolled, child: 1 << 30, waiting: []unix.Signal{maxSignal + 1}}
	e.turn(0)
	write.Close()
	b := make([]byte, 1000)
	n, err := read.Read(b)
	if got := string(b[:n]); err != nil || !strings.HasPrefix(got, "nines-init: recovered from a fault of its own: please report it\n") {
		t.Errorf("%q, %v", got, err)
	}
}
