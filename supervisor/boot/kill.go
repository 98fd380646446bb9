package boot

import (
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// endProcesses ends everything that still runs.
func (m *Machine) endProcesses() {
	if m.signalAll(unix.SIGTERM) > 0 && m.waitForNone(termPatience) > 0 {
		m.say("SIGKILL to " + m.who() + ", which SIGTERM did not end in " + termPatience.String())
	}
	// Again and again: what was being forked meanwhile was not seen.
	for until := time.Now().Add(killPatience); m.signalAll(unix.SIGKILL) > 0 && time.Now().Before(until); {
		m.waitForNone(min(10*killPause, time.Until(until)))
	}
	if n := m.remaining(); n > 0 {
		m.say("left behind, because SIGKILL does not end it: " + m.who())
	}
}

// signalAll sends sig to all that are to end, and returns how many they are. All
// are stopped meanwhile, so that none forks past us.
func (m *Machine) signalAll(sig unix.Signal) int {
	// ESRCH: there is nobody, which the list says too.
	_ = m.sys.kill(-1, unix.SIGSTOP)
	n := 0
	m.each(func(p process) {
		n++
		// It may have ended by now.
		_ = m.sys.kill(p.pid, sig)
	})
	_ = m.sys.kill(-1, unix.SIGCONT) // as above
	return n
}

// each calls f for every process that is to end.
func (m *Machine) each(f func(process)) {
	err := m.sys.processes(func(p process) {
		if !p.kernel && !p.stays {
			f(p)
		}
	})
	m.try("cannot list the processes: ", err)
}

func (m *Machine) remaining() int {
	for {
		if pid, _ := m.sys.reap(); pid == 0 {
			break
		}
	}
	n := 0
	m.each(func(process) { n++ })
	return n
}

// waitForNone waits until nothing is left, at most for d, and returns how many
// are. It looks again and again: the ends of other processes' children are not
// told to us.
func (m *Machine) waitForNone(d time.Duration) int {
	for until := time.Now().Add(d); ; {
		n := m.remaining()
		if n == 0 || !time.Now().Before(until) {
			return n
		}
		time.Sleep(killPause)
	}
}

// who lists some of what is left.
func (m *Machine) who() string {
	text, n := "", 0
	m.each(func(p process) {
		if n++; n <= 5 {
			if n > 1 {
				text += ", "
			}
			pid := strconv.Itoa(p.pid)
			name, err := m.sys.readFile("/proc/" + pid + "/comm")
			if err != nil {
				name = "?"
			}
			text += trimLine(name) + " (" + pid + ")"
		}
	})
	if n > 5 {
		text += " and " + strconv.Itoa(n-5) + " more"
	}
	return text
}

func trimLine(s string) string {
	for len(s) > 0 && s[len(s)-1] == '\n' {
		s = s[:len(s)-1]
	}
	return s
}
