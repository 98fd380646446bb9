package entry

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// terminal is our controlling terminal.
type terminal struct {
	fd    int // -1: there is none
	group int // our process group
	given bool
}

// openTerminal finds the controlling terminal.
func openTerminal() terminal {
	t := terminal{fd: -1, group: unix.Getpgrp()}
	for fd := range 3 {
		if _, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP); err == nil {
			t.fd = fd
			return t
		}
	}
	// It may be there although all three were redirected.
	if fd, err := unix.Open("/dev/tty", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOCTTY, 0); err == nil {
		t.fd = fd
	}
	return t
}

// foreground is the group that has the terminal, -1 if that cannot be told. It
// is 0 for one that our PID namespace does not know, and so may our own be.
func (t *terminal) foreground() int {
	if t.fd < 0 {
		return -1
	}
	group, err := unix.IoctlGetInt(t.fd, unix.TIOCGPGRP)
	if err != nil {
		return -1
	}
	return group
}

// mine says whether the terminal is ours to give.
func (t *terminal) mine() bool { return t.foreground() == t.group }

// set makes a group the foreground. From the background that is only allowed
// to a thread that blocks SIGTTOU.
func (t *terminal) set(group int) error {
	mine := sigmask(unix.SIG_BLOCK, setOf(unix.SIGTTOU))
	err := unix.IoctlSetPointerInt(t.fd, unix.TIOCSPGRP, group)
	sigmask(unix.SIG_SETMASK, mine)
	return err
}

// handOver gives the terminal to the command's group if it is ours to give.
func (t *terminal) handOver(group int) {
	if t.mine() {
		t.given = true
		// If it was hung up just now, the command hears of that itself.
		_ = t.set(group)
	}
}

// takeBack is for the end: whoever started us expects the terminal as it was.
// If somebody else has it by now, it stays there.
func (t *terminal) takeBack(group int) {
	if !t.given || t.group == 0 {
		return
	}
	has := t.foreground()
	if has > 0 && (has == group || unix.Kill(-has, 0) == unix.ESRCH) {
		// If it was hung up, there is nothing to take.
		_ = t.set(t.group)
	}
}

// place is where the command runs: its session, group and terminal.
func (e *entry) place() *syscall.SysProcAttr {
	if !e.Group {
		e.term.given = e.term.mine()
		if e.term.given {
			return &syscall.SysProcAttr{Foreground: true, Ctty: e.term.fd}
		}
		return &syscall.SysProcAttr{Setpgid: true}
	}
	session, err := unix.Getsid(0)
	leads := err == nil && session == e.pid
	if leads && e.term.fd == 0 && e.giveUpTerminal() == nil {
		return &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	}
	return &syscall.SysProcAttr{Setsid: true}
}

// giveUpTerminal leaves our session without a controlling terminal, so that
// the command's can have it. The kernel sends the foreground SIGHUP and
// SIGCONT; nobody has hung up, so the command must not hear of it.
func (e *entry) giveUpTerminal() error {
	var were [2]action
	quiet := []unix.Signal{unix.SIGHUP, unix.SIGCONT}
	for i, sig := range quiet {
		if err := sigaction(sig, &action{handler: sigIgnore}, &were[i]); err != nil {
			return err
		}
	}
	err := unix.IoctlSetInt(e.term.fd, unix.TIOCNOTTY, 0)
	for i, sig := range quiet {
		if err := sigaction(sig, &were[i], nil); err != nil {
			return err
		}
	}
	return err
}
