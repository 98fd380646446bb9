package entry

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// everySignal is all that is to be passed on.
func everySignal() []unix.Signal {
	var all []unix.Signal
	for sig := unix.Signal(1); sig <= maxSignal; sig++ {
		if CanForward(sig) {
			all = append(all, sig)
		}
	}
	return all
}

func TestWhatIsPassedOn(t *testing.T) {
	if n := len(everySignal()); n != 28+31 {
		t.Errorf("%d signals", n)
	}
	for _, sig := range []unix.Signal{0, unix.SIGKILL, unix.SIGSTOP, unix.SIGCHLD, 32, 33, 65, -1} {
		if CanForward(sig) {
			t.Errorf("signal %d", sig)
		}
	}
}

func TestParseSignal(t *testing.T) {
	for _, c := range []struct {
		text string
		want unix.Signal
	}{
		{"TERM", unix.SIGTERM}, {"SIGTERM", unix.SIGTERM}, {"sigterm", unix.SIGTERM}, {"15", unix.SIGTERM}, {"64", 64}, {"1", 1},
		{"RTMIN", 34}, {"SIGRTMIN+3", 37}, {"RTMAX", 64}, {"RTMAX-4", 60}, {"IOT", unix.SIGABRT}, {"POLL", unix.SIGIO}, {"CLD", unix.SIGCHLD},
	} {
		if got, ok := ParseSignal(c.text); !ok || got != c.want {
			t.Errorf("%q: %d, %v", c.text, got, ok)
		}
	}
	for _, text := range []string{"", "0", "65", "-1", "256", "NOSUCH", "SIG", "RTMIN-1", "RTMIN+31", "RTMAX+1", "RTMIN3", "RTMIN+", "TERM "} {
		if got, ok := ParseSignal(text); ok {
			t.Errorf("%q: %d", text, got)
		}
	}
	for sig, want := range map[unix.Signal]string{unix.SIGTERM: "SIGTERM", 40: "SIGRTMIN+6", 33: "signal 33"} {
		if got := signalName(sig); got != want {
			t.Errorf("%d: %s", sig, got)
		}
	}
}

func flags(group bool) []string {
	if group {
		return []string{"-g"}
	}
	return nil
}

// passes starts a command that reports its signals.
func passes(t *testing.T, args ...string) *run {
	t.Helper()
	r := start(t, append(append(args, "--"), role(t, "report", "7")...)...)
	r.says("ready")
	return r
}

func TestEverySignalIsPassedOn(t *testing.T) {
	for _, group := range []bool{false, true} {
		r := passes(t, flags(group)...)
		for _, sig := range everySignal() {
			if sig == unix.SIGTERM || group && jobControl().has(sig) {
				continue
			}
			r.signal(sig)
			r.says(strconv.Itoa(int(sig)))
		}
		r.signal(unix.SIGTERM)
		r.says("15")
		r.ends(7)
		r.silent() // nothing else had come
	}
}

// The command that catches nothing dies of what is passed on, if anything can
// die of it; the status shows of what.
func TestSignalsKillTheCommand(t *testing.T) {
	for _, sig := range everySignal() {
		if jobControl().has(sig) || sig == unix.SIGCONT || sig == unix.SIGURG || sig == unix.SIGWINCH {
			continue
		}
		r := start(t, "--", "sh", "-c", "echo ready; exec sleep 1000")
		r.says("ready")
		r.signal(sig)
		r.ends(128 + int(sig))
	}
}

func TestPortable(t *testing.T) {
	r := startAs(t, append([]string{program(t, portable), "--"}, role(t, "report", "7")...), nil)
	r.says("ready")
	for _, sig := range []unix.Signal{1, 2, 3, 10, 12, 13, 14, 18, 20, 21, 22, 24, 25, 26, 28, 29, 30, 35, 64} {
		r.signal(sig)
		r.says(strconv.Itoa(int(sig)))
	}
	r.signal(unix.SIGTERM)
	r.says("15")
	r.ends(7)
	r.silent()
	if code, _ := exit(t, portable, "-r", "PROF:TERM", "--", "true"); code != 2 {
		t.Errorf("SIGPROF can be rewritten: %d", code)
	}
	// What Go's runtime leaves of what was ignored is kept.
	argv := append(role(t, "given", format(setOf(unix.SIGHUP, unix.SIGTTOU)), format(setOf(unix.SIGUSR1))), program(t, portable), "--")
	got := startAs(t, append(argv, "cat", "/proc/self/status"), nil)
	if masks := got.masks(); masks != "0000000000200001 0000000000000200" {
		t.Error(masks)
	}
	got.ends(0)
}

func TestRewrites(t *testing.T) {
	var args []string
	for _, sig := range everySignal() {
		if sig != unix.SIGUSR1 {
			args = append(args, "-r", strconv.Itoa(int(sig))+":USR1")
		}
	}
	r := passes(t, append(args, "-rSIGUSR1:15", "-r", "RTMIN:0")...)
	for _, sig := range everySignal() {
		switch sig {
		case unix.SIGUSR1:
			continue
		case minRealTime: // dropped: if not, it is in the way of the next
			r.signal(sig)
		default:
			r.signal(sig)
			r.says("10")
		}
	}
	r.signal(unix.SIGUSR1)
	r.says("15")
	r.ends(7)
	r.silent()

	// The rewrites of -g can be rewritten; the last one counts.
	r = passes(t, "-g", "-r", "TSTP:HUP", "-r", "TTIN:USR1", "-r", "TTIN:USR2", "-r", "TTOU:TTOU")
	for sig, want := range map[unix.Signal]string{unix.SIGTSTP: "1", unix.SIGTTIN: "12", unix.SIGTTOU: "22"} {
		r.signal(sig)
		r.says(want)
	}
	r.signal(unix.SIGTERM)
	r.says("15")
	r.ends(7)
}

// Nothing is lost, doubled or invented, and SIGURG, by which Go's runtime
// stops its own goroutines, comes when somebody sends it and not otherwise.
func TestAThousandSignals(t *testing.T) {
	// Without asyncpreemptoff too: that the runtime sent it can be told.
	plain, err := build("-ldflags=-E=nines_start")
	if err != nil {
		t.Fatal(err)
	}
	for _, init := range []string{program(t, binary), plain} {
		r := startAs(t, append([]string{init, "-v", "--"}, role(t, "report", "7")...), nil)
		r.says("ready")
		for i := range 1000 {
			sig := []unix.Signal{unix.SIGUSR1, unix.SIGHUP, unix.SIGINT, 50}[i%4]
			if i == 500 {
				sig = unix.SIGURG
			}
			r.signal(sig)
			r.says(strconv.Itoa(int(sig)))
		}
		r.signal(unix.SIGTERM)
		r.says("15")
		r.ends(7)
		r.silent()
		if n := strings.Count(r.stderr.String(), "SIGURG on"); n != 1 {
			t.Errorf("SIGURG was passed on %d times", n)
		}
	}
}

// A burst arrives in full: real-time signals do not merge.
func TestABurstArrives(t *testing.T) {
	r := passes(t)
	for range 500 {
		r.signal(40)
	}
	for range 500 {
		r.says("40")
	}
	r.signal(unix.SIGTERM)
	r.says("15")
	r.ends(7)
}

func TestAFullPipeLosesNoKindOfSignal(t *testing.T) {
	r := startAs(t, role(t, "full"), nil)
	r.says("ready")
	for _, sig := range []unix.Signal{unix.SIGUSR1, maxSignal, unix.SIGTERM} {
		r.signal(sig)
		r.says(strconv.Itoa(int(sig)))
	}
	r.ends(0)
}

// A signal while the shim runs waits for the command.
func TestSignalsWaitForTheExec(t *testing.T) {
	e := &entry{child: 1 << 30, shim: 99}
	e.forward(unix.SIGTERM)
	e.forward(unix.SIGUSR1)
	if fmt.Sprint(e.waiting) != fmt.Sprint([]unix.Signal{unix.SIGTERM, unix.SIGUSR1}) {
		t.Error(e.waiting)
	}
	for range 2 * maxWaiting {
		e.forward(unix.SIGUSR1)
	}
	if len(e.waiting) != maxWaiting {
		t.Errorf("%d wait", len(e.waiting))
	}
	// With the real one: the signal comes as early as can be, and by the shim
	// as without it the command gets it or dies of it.
	for range 20 {
		argv := append(role(t, "given", format(setOf(unix.SIGPIPE)), "0"), program(t, binary), "-v", "--", "sleep", "1000")
		r := startAs(t, argv, nil)
		until(t, "it has started the shim", func() bool { return strings.Contains(r.stderr.String(), "started") })
		r.signal(unix.SIGUSR1)
		r.ends(128 + int(unix.SIGUSR1))
	}
}

// PID 1 gets what the kernel keeps from another PID 1: it has handlers.
func TestAFaultSignalToPID1(t *testing.T) {
	for _, sig := range []unix.Signal{unix.SIGSEGV, unix.SIGBUS, unix.SIGILL, unix.SIGFPE, unix.SIGTRAP, unix.SIGSYS, unix.SIGABRT, unix.SIGQUIT} {
		argv := []string{program(t, binary), "--", "sh", "-c", "kill -" + strconv.Itoa(int(sig)) + " 1; exec sleep 1000"}
		startAs(t, argv, inPIDNamespace).ends(128 + int(sig))
	}
}

// A broken stderr raises SIGPIPE here, which is none of the command's.
func TestItsOwnSignalsStayItsOwn(t *testing.T) {
	r := startAs(t, append([]string{program(t, binary), "-v", "--"}, role(t, "report", "7")...), func(c *exec.Cmd) {
		c.Stderr = brokenPipe(t)
	})
	r.says("ready")
	for range 20 {
		r.signal(unix.SIGUSR1)
		r.says("10")
	}
	r.signal(unix.SIGTERM)
	r.says("15")
	r.ends(7)
}
