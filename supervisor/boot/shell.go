package boot

import (
	"os"
	"os/signal"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// shells are tried in turn. sulogin asks for root's password, where there is one.
func shells() [][]string {
	return [][]string{
		{"/sbin/sulogin"}, {"/usr/sbin/sulogin"}, {"/bin/sh", "-l"}, {"/usr/bin/sh", "-l"},
		{"/bin/busybox", "sh", "-l"}, {"/usr/bin/busybox", "sh", "-l"}, {"/sbin/busybox", "sh", "-l"},
	}
}

// shellPause is how long a shell that ended at once, or that there is none, holds
// up what comes next: it is tried again and again.
const shellPause = 5 * time.Second

// Shell runs a shell on the console until it ends. It returns the action that a
// signal asked for meanwhile; "": none. Everything that ends is reaped.
func (m *Machine) Shell(why string) (action Action) {
	m.step("the shell", func() { action = m.shell(why) })
	return action
}

func (m *Machine) shell(why string) Action {
	defer m.hear()()
	children := make(chan os.Signal, 1)
	signal.Notify(children, unix.SIGCHLD)
	defer signal.Stop(children)
	m.try("cannot set up the console: ", m.sys.console(true))
	began := time.Now()
	pid := m.startShell(why)
	pet := m.petter()
	defer pet.Stop()
	pause := time.NewTimer(time.Hour)
	defer pause.Stop()
	if pid == 0 {
		pause.Reset(shellPause)
	}
	for {
		select {
		case <-children:
			for {
				ended, status := m.sys.reap()
				if ended == 0 {
					break
				}
				if ended != pid {
					continue
				}
				pid = 0
				m.try("cannot set up the console: ", m.sys.console(true))
				if status.Exited() && status.ExitStatus() == 0 || time.Since(began) >= shellPause {
					m.say("the shell has ended: the boot goes on")
					return ""
				}
				m.say("the shell did not begin (status " + strconv.Itoa(int(status)) + "): the boot goes on in " + shellPause.String())
				pause.Reset(shellPause)
			}
		case s := <-m.signals:
			if sig, ok := s.(unix.Signal); ok {
				if action, _ := Asked(sig); action != "" {
					return Action(action)
				}
			}
		case <-pet.C:
			m.pet()
		case <-pause.C:
			return ""
		}
	}
}

// startShell returns the pid of the shell, or 0 if there is none to be had.
func (m *Machine) startShell(why string) int {
	for _, argv := range shells() {
		if !m.sys.exists(argv[0]) {
			continue
		}
		m.say(why + ": a shell on the console: " + argv[0] + "; the boot goes on when it ends")
		pid, err := m.sys.spawnShell(argv, m.env)
		if err == nil {
			return pid
		}
		m.say("cannot start " + argv[0] + ": " + err.Error())
	}
	m.say(why + ": there is no shell to help with (/sbin/sulogin, /bin/sh, /bin/busybox): it is tried again")
	return 0
}

// petter ticks as often as the hardware watchdog wants to be petted.
func (m *Machine) petter() *time.Ticker {
	if every := m.dog.Interval(); every > 0 {
		m.pet()
		return time.NewTicker(every)
	}
	t := time.NewTicker(time.Hour)
	t.Stop()
	return t
}

func (m *Machine) pet() {
	m.try("cannot pet the hardware watchdog: ", m.dog.Pet())
}
