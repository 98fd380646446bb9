package entry

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nines/testdata/testkit"
)

// pty is a terminal whose keyboard and screen are the test's.
type pty struct {
	t      *testing.T
	master *os.File
	slave  *os.File
	screen *testkit.Output
}

func newPTY(t *testing.T) *pty {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("skipped: there are no terminals to be had: %v", err)
	}
	// Fd would make it blocking, and its Close wait for a reader.
	raw, err := master.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if e := raw.Control(func(fd uintptr) {
		if err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err == nil {
			n, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	}); e != nil || err != nil {
		t.Fatal(e, err)
	}
	slave, err := os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := &pty{t: t, master: master, slave: slave, screen: &testkit.Output{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 4096)
		for {
			n, err := master.Read(b)
			if err != nil {
				return
			}
			// Cannot fail in memory.
			_, _ = p.screen.Write(b[:n])
		}
	}()
	t.Cleanup(func() {
		slave.Close()
		master.Close()
		<-done
		if t.Failed() {
			t.Logf("on the screen:\n%s", p.screen)
		}
	})
	return p
}

// login makes a program the leader of a session on the terminal.
func (p *pty) login(c *exec.Cmd) {
	c.Stdin, c.Stdout, c.Stderr = p.slave, p.slave, p.slave
	c.SysProcAttr.Setsid, c.SysProcAttr.Setctty = true, true
}

// on runs nines-init as that leader, as a container engine does with -t.
func (p *pty) on(argv ...string) *run {
	p.t.Helper()
	r := &run{t: p.t, cmd: exec.Command(argv[0], argv[1:]...), stderr: p.screen, done: make(chan struct{})}
	r.cmd.SysProcAttr = &unix.SysProcAttr{}
	p.login(r.cmd)
	p.run(r)
	return r
}

func (p *pty) run(r *run) {
	p.t.Helper()
	if err := r.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	go func() {
		defer close(r.done)
		// Its status is in ProcessState.
		_ = r.cmd.Wait()
	}()
	p.t.Cleanup(func() {
		// It may be over.
		_ = r.cmd.Process.Kill()
		<-r.done
	})
}

// types presses keys.
func (p *pty) types(keys string) {
	p.t.Helper()
	if _, err := p.master.WriteString(keys); err != nil {
		p.t.Fatal(err)
	}
}

// shows waits until a line is on the screen, and clears it.
func (p *pty) shows(line string) {
	p.t.Helper()
	until(p.t, "the screen shows "+strconv.Quote(line), func() bool { return p.screen.Pass(line + "\r\n") })
}

func TestTerminalOfALeader(t *testing.T) {
	init := program(t, binary)
	for _, c := range []struct {
		flags []string
		shows string
	}{
		{nil, "foreground true leader true session false"},
		{[]string{"-g"}, "foreground true leader true session true"},
	} {
		p := newPTY(t)
		argv := append(append([]string{init, "-v", "-s"}, c.flags...), "--")
		r := p.on(append(argv, role(t, "tty")...)...)
		p.shows(c.shows)
		p.types("hello\n")
		p.shows("hello, foreground true")
		p.types("\x03") // reaches the command alone, and nobody has hung up
		r.ends(130)
		if got := p.screen.String(); strings.Contains(got, "passing") {
			t.Errorf("%q: it passed something on: %s", c.flags, got)
		}

		p = newPTY(t)
		r = p.on(append(argv, role(t, "tty")...)...)
		p.shows(c.shows)
		p.types("\x04") // end of file
		r.ends(0)
	}
}

// As `docker run -it … sh`, by hand.
func TestAShellOnATerminal(t *testing.T) {
	p := newPTY(t)
	r := p.on(program(t, binary), "-s", "--", "sh", "-c", "set -m; echo $-; sh -c 'kill -STOP $$; echo again'; fg >/dev/null; exit 11")
	p.shows("again")
	r.ends(11)
	if strings.Contains(p.screen.String(), "can't access tty") {
		t.Error("no job control")
	}
}

// under runs nines-init as the job of a shell with job control.
func under(t *testing.T, p *pty, args ...string) (ask *os.File, answers *bufio.Scanner, r *run, job int) {
	t.Helper()
	askRead, ask, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	tell, tellWrite, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	argv := role(t, "shell", args...)
	r = &run{t: t, cmd: exec.Command(argv[0], argv[1:]...), stderr: p.screen, done: make(chan struct{})}
	r.cmd.SysProcAttr = &unix.SysProcAttr{}
	p.login(r.cmd)
	r.cmd.ExtraFiles = []*os.File{askRead, tellWrite}
	p.run(r)
	askRead.Close()
	tellWrite.Close()
	if err := tell.SetReadDeadline(time.Now().Add(2 * patience)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ask.Close(); tell.Close() })
	answers = bufio.NewScanner(tell)
	if !answers.Scan() {
		t.Fatal(answers.Err())
	}
	if _, err := fmt.Sscanf(answers.Text(), "job %d", &job); err != nil {
		t.Fatal(answers.Text(), err)
	}
	t.Cleanup(func() {
		if t.Failed() && alive(job) {
			killed(t, job)
		}
	})
	return ask, answers, r, job
}

func says(t *testing.T, s *bufio.Scanner, want string) {
	t.Helper()
	if !s.Scan() || s.Text() != want {
		t.Fatalf("the shell says %q, %v; want %q", s.Text(), s.Err(), want)
	}
}

func resume(t *testing.T, ask *os.File, shell *bufio.Scanner, how string) {
	t.Helper()
	if _, err := ask.WriteString(how + "\n"); err != nil {
		t.Fatal(err)
	}
	says(t, shell, "continued")
}

func TestJobControl(t *testing.T) {
	p := newPTY(t)
	argv := append([]string{program(t, binary), "--"}, role(t, "tty")...)
	ask, shell, r, _ := under(t, p, argv...)
	p.shows("foreground true leader true session false")
	for range 3 {
		p.types("\x1a") // Ctrl-Z
		says(t, shell, "stopped SIGSTOP")
		resume(t, ask, shell, "fg")
		p.types("hello\n")
		p.shows("hello, foreground true")
	}
	// In the background it stops as soon as it reads.
	p.types("\x1a")
	says(t, shell, "stopped SIGSTOP")
	resume(t, ask, shell, "bg")
	says(t, shell, "stopped SIGSTOP")
	resume(t, ask, shell, "fg")
	p.types("again\n")
	p.shows("again, foreground true")
	p.types("\x04")
	says(t, shell, "ended 0 terminal returned true")
	r.ends(0)
}

// A whole pipeline stops and is continued.
func TestJobControlOfAGroup(t *testing.T) {
	p := newPTY(t)
	ask, shell, r, _ := under(t, p, program(t, binary), "--", "sh", "-c", "echo $$; cat | cat; exit 12")
	p.types("one\n")
	p.shows("one") // the echo
	p.shows("one")
	p.types("\x1a")
	says(t, shell, "stopped SIGSTOP")
	resume(t, ask, shell, "fg")
	p.types("two\n")
	p.shows("two")
	p.shows("two")
	p.types("\x04")
	says(t, shell, "ended 12 terminal returned true")
	r.ends(0)
}

// Who starts it in the background keeps the terminal; `fg` gives it.
func TestStartedInTheBackground(t *testing.T) {
	p := newPTY(t)
	argv := append([]string{"&", program(t, binary), "--"}, role(t, "tty")...)
	ask, shell, r, _ := under(t, p, argv...)
	p.shows("foreground false leader true session false")
	says(t, shell, "stopped SIGSTOP") // it reads
	resume(t, ask, shell, "fg")
	p.types("hello\n")
	p.shows("hello, foreground true")
	p.types("\x04")
	says(t, shell, "ended 0 terminal returned true")
	r.ends(0)
}

// With -g under a shell, Ctrl-Z and Ctrl-C come to nines-init, which sends them
// on.
func TestJobControlWithGroup(t *testing.T) {
	p := newPTY(t)
	argv := []string{program(t, binary), "-g", "--", "sh", "-c", "echo ready; exec sleep 1000"}
	ask, shell, r, _ := under(t, p, argv...)
	p.shows("ready")
	p.types("\x1a")
	says(t, shell, "stopped SIGSTOP")
	resume(t, ask, shell, "fg")
	p.types("\x03")
	says(t, shell, "ended 130 terminal returned true")
	r.ends(0)
}

// The command could not be executed: the terminal comes back, too.
func TestTerminalAfterAFailedExec(t *testing.T) {
	p := newPTY(t)
	_, shell, r, _ := under(t, p, program(t, binary), "--", "/etc/passwd")
	says(t, shell, "ended 126 terminal returned true")
	r.ends(0)
}
