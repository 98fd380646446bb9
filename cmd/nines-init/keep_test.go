package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// end has the supervisor end all with a code, and the log process follow.
func (w *world) end(sup, log *proc, code int) {
	w.t.Helper()
	sup.send("X_NINES_END=" + strconv.Itoa(code))
	sup.order("exit %d", code)
	log.wantGot(0, "STOPPING=1")
	log.order("exit 0")
	w.ends(code)
}

func TestKeepsBothAlive(t *testing.T) {
	w := start(t, "-f", "a.hcl", "-fb", "--socket=/s", "--state-dir", "/st", "--log-dir", "/l")
	sup, log := w.both()
	want := "supervise --runtime-dir " + w.runtime + " -f a.hcl -f b --socket /s --state-dir /st --log-dir /l"
	if sup.args != want || log.args != "" {
		t.Errorf("arguments %q and %q, want %q", sup.args, log.args, want)
	}
	for _, p := range []*proc{sup, log} {
		if p.generation != "1" || p.group != p.pid || p.stdin != "/dev/null" || p.runtime != w.runtime ||
			p.keeper != strconv.Itoa(w.cmd.Process.Pid) {
			t.Errorf("%s: %+v", p.role, p)
		}
	}
	sup.handedBack()
	sup.send("READY=1")
	log.send("READY=1")
	// Each dies, of each kind of death; the other does not notice.
	log.killed(unix.SIGKILL)
	log = w.next("nines-log")
	if log.generation != "2" {
		t.Errorf("generation %s", log.generation)
	}
	sup.order("exit 0")
	sup.gone()
	first := sup.pid
	sup = w.next("nines")
	sup.handedBack()
	w.says(fmt.Sprintf("nines supervise (pid %d) exited with 0: it is started again at once", first))
	sup.killed(unix.SIGSEGV)
	sup = w.next("nines")
	sup.handedBack()
	w.says(": it is started again in 100ms")
	sup.killed(unix.SIGABRT)
	sup = w.next("nines")
	sup.handedBack()
	w.says(": it is started again in 200ms")
	if sup.generation != "4" {
		t.Errorf("generation %s", sup.generation)
	}
	w.none("nines-log")
	w.end(sup, log, 0)
}

func TestSecondKeeperIsRefused(t *testing.T) {
	w := start(t)
	sup, log := w.both()
	second := newWorld(t)
	second.cmd.Args[3] = w.runtime
	second.run()
	second.ends(1)
	want := fmt.Sprintf("nines-init: cannot start: another nines-init (pid %d) keeps %s: stop it", w.cmd.Process.Pid, w.runtime)
	if !strings.Contains(second.stderr.String(), want) {
		t.Errorf("it says %q, want %q", second.stderr, want)
	}
	second.none("nines")
	sup.handedBack()
	w.end(sup, log, 0)
	// The lock dies with its holder.
	third := newWorld(t)
	third.cmd.Args[3] = w.runtime
	third.run()
	sup, log = third.both()
	sup.handedBack()
	third.end(sup, log, 0)
}

func TestValuesComeBack(t *testing.T) {
	w := start(t)
	sup, log := w.both()
	sup.handedBack()
	sup.send("X_NINES_VALUE=web/0 pid=1\nX_NINES_VALUE=web/1 pid=2\nREADY=1")
	sup.send("X_NINES_VALUE=web/2 pid=3")
	// The last words, sent and not yet read when it dies.
	sup.do("send %q", "X_NINES_VALUE=web/1 ")
	sup.killed(unix.SIGKILL)
	sup = w.next("nines")
	sup.wantGot(0, "X_NINES_VALUE=web/0 pid=1\nX_NINES_VALUE=web/2 pid=3")
	sup.handedBack()
	w.end(sup, log, 0)
}

func TestLogPipesOutliveTheLogProcess(t *testing.T) {
	w := start(t)
	sup, log := w.both()
	sup.handedBack()
	before := w.descriptors()
	const message = "FDSTORE=1\nFDNAME=web/0.1:out\nX_NINES_LOG=a b\nFDNAME=web/1.1:out\nX_NINES_LOG=c"
	sup.do("sendpipes %q 2", message)
	log.wantGot(2, message)
	log.send("READY=1")
	if n := w.descriptors(); n != before+2 {
		t.Errorf("%d descriptors, were %d", n, before)
	}
	sup.do("write %q", "a line\n")
	log.killed(unix.SIGKILL)
	log = w.next("nines-log")
	log.wantGot(2, message)
	sup.do("write %q", "another\n")
	sup.do("drop")
	log.order("read")
	log.want(`read "a line\nanother\n"`)
	log.want(`read "a line\nanother\n"`)
	log.want(`done ""`)
	log.send("FDSTOREREMOVE=1\nFDNAME=web/0.1:out\nFDNAME=web/1.1:out")
	w.until("its copies are closed", func() bool { return w.descriptors() == before })
	log.killed(unix.SIGKILL)
	log = w.next("nines-log")
	w.end(sup, log, 0) // STOPPING=1 is the first that it hears
}

// A stopped log process holds nobody up.
func TestStoppedLogProcess(t *testing.T) {
	w := start(t)
	sup, log := w.both()
	sup.handedBack()
	if err := unix.Kill(log.pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	settings := strings.Repeat("s", 4000)
	for i := range 300 {
		sup.do("sendpipes %q 1", fmt.Sprintf("FDSTORE=1\nFDNAME=web/%d.1:out\nX_NINES_LOG=%s", i, settings))
	}
	w.until("all is kept", func() bool { return w.descriptors() > 300 })
	sup.killed(unix.SIGKILL)
	sup = w.next("nines")
	sup.handedBack()
	// It was stopped in the middle of work; it is killed: its successor gets all.
	if err := unix.Kill(log.pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	log = w.next("nines-log")
	for n := 0; n < 300; {
		line := <-log.lines
		var fds int
		if _, err := fmt.Sscanf(line, "got %d ", &fds); err != nil {
			t.Fatal(line)
		}
		n += fds
	}
	w.end(sup, log, 0)
}

func TestSignalsReachTheSupervisor(t *testing.T) {
	w := start(t)
	sup, log := w.both()
	sup.handedBack()
	sup.do("catch")
	sup.send("READY=1")
	w.says("nines supervise is ready")
	for _, sig := range []unix.Signal{unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGINT, unix.SIGTERM} {
		w.signal(sig)
		sup.want("signal " + unix.SignalName(sig))
	}
	sup.send("STOPPING=1")
	w.end(sup, log, 143)
}

// A SIGTERM is delivered at READY, not before; and again to the next supervisor
// if it killed the first.
func TestSIGTERMIsNotForgotten(t *testing.T) {
	w := start(t)
	sup, log := w.both()
	sup.handedBack()
	sup.send("X_NINES_VALUE=web/0 x") // there is something to keep
	w.signal(unix.SIGTERM)
	w.says("received SIGTERM")
	sup.do("send %q", "STATUS=still alive")
	sup.order("send %q", "READY=1") // without a handler: it dies of it
	sup.gone()
	w.says("was killed by SIGTERM")
	sup = w.next("nines")
	sup.wantGot(0, "X_NINES_VALUE=web/0 x")
	sup.handedBack()
	sup.do("catch")
	sup.order("send %q", "READY=1")
	seen := map[string]bool{}
	for range 2 {
		seen[<-sup.lines] = true // in either order
	}
	if !seen["signal SIGTERM"] || !seen[`done ""`] {
		t.Fatalf("it says %v", seen)
	}
	w.end(sup, log, 0)
}

func TestWrongSpecEndsIt(t *testing.T) {
	w := start(t)
	sup, log := w.both()
	sup.handedBack()
	w.end(sup, log, 1)
	w.none("nines")
}

// The pipes are read to their end before all is over; and a log process that
// does not end does not hold up the end for ever.
func TestLogProcessDrainsAtTheEnd(t *testing.T) {
	w := start(t)
	sup, log := w.both()
	sup.handedBack()
	sup.do("sendpipes %q 1", "FDSTORE=1\nFDNAME=web/0.1:out\nX_NINES_LOG=a")
	log.wantGot(1, "FDSTORE=1\nFDNAME=web/0.1:out\nX_NINES_LOG=a")
	sup.do("write %q", "the last line\n")
	sup.send("X_NINES_END=7")
	sup.order("exit 0")
	log.wantGot(0, "STOPPING=1")
	log.order("read")
	log.want(`read "the last line\n"`)
	// It ignores that it should end, and SIGTERM too.
	log.want(`done ""`)
	log.do("catch")
	log.want("signal SIGTERM")
	log.gone()
	w.ends(7)
	w.says("nines-log has not ended in 2s")
	w.says("is killed: it did not end")
}

func TestGarbage(t *testing.T) {
	w := start(t)
	sup, log := w.both()
	sup.handedBack()
	before := w.descriptors()
	sup.send("garbage")
	w.says("message from nines supervise refused: cannot read the message: line 1: it has no '='")
	sup.do("sendbig %d", 100<<10)
	w.says("message from nines supervise refused: the message was cut off")
	sup.do("sendbig 0")
	sup.do("sendpipes %q 3", "FDSTORE=1\nFDNAME=a")
	w.says("it does not have one FDNAME for each descriptor")
	sup.do("sendpipes %q 100", "FDSTORE=1")
	sup.do("sendpipes %q 1", "\xff\x00=\n=\n")
	log.send("X_NINES_END=0")
	w.says("message from nines-log refused: it asks for what is the supervisor's alone")
	sup.send("READY=1")
	w.says("nines supervise is ready")
	if n := w.descriptors(); n != before {
		t.Errorf("%d descriptors, were %d", n, before)
	}
	w.end(sup, log, 0)
}

// When the keeper dies, both read the end of their sockets.
func TestKeeperIsKilled(t *testing.T) {
	w := start(t)
	sup, log := w.both()
	sup.handedBack()
	w.signal(unix.SIGKILL)
	sup.want("eof")
	log.want("eof")
}

func TestNothingIsInherited(t *testing.T) {
	w := newWorld(t)
	r, extra, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	w.cmd.ExtraFiles = []*os.File{extra}
	link, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", extra.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	w.run()
	extra.Close()
	sup, log := w.both()
	sup.handedBack()
	for _, p := range []*proc{sup, log} {
		p.order("fds")
		if line := <-p.lines; !strings.HasPrefix(line, "fds ") || strings.Contains(line, link) {
			t.Errorf("%s has %s open: %s", p.role, link, line)
		}
		p.want(`done ""`)
	}
	w.end(sup, log, 0)
}

func TestProgramsAreReplaced(t *testing.T) {
	w := newWorld(t)
	nines := filepath.Join(w.bin, "nines")
	if err := os.Rename(nines, nines+".new"); err != nil {
		t.Fatal(err)
	}
	w.run()
	log := w.next("nines-log")
	w.says("cannot start nines supervise: exec " + nines + ": no such file or directory: tried again until it is there")
	if err := os.Rename(nines+".new", nines); err != nil {
		t.Fatal(err)
	}
	sup := w.next("nines")
	sup.handedBack()
	if sup.generation != "1" {
		t.Errorf("generation %s", sup.generation)
	}
	w.end(sup, log, 0)
}

// Ctrl-C when there is no supervisor to be had.
func TestStopWithoutSupervisor(t *testing.T) {
	w := newWorld(t, "--supervisor", "/nonexistent/nines")
	w.run()
	log := w.next("nines-log")
	w.says("cannot start nines supervise")
	w.signal(unix.SIGINT)
	log.wantGot(0, "STOPPING=1")
	log.order("exit 0")
	w.ends(0)
}
