package boot

import (
	"os"
	"os/signal"
	"strings"

	"golang.org/x/sys/unix"

	"nines/supervisor/signals"
)

// maxFiles is what systemd raises the hard limit of open files to; the soft one
// stays at what programs that use select(2) can bear.
const maxFiles = 512 << 10

// Machine is the init of this machine. It belongs to one goroutine.
type Machine struct {
	sys     system
	say     func(string)
	dog     Watchdog
	env     []string
	cmdline Cmdline
	signals chan os.Signal // those that ask for an end, while there is a shell
	held    bool           // they are blocked, as package signals wants them
	left    int            // threads left behind in the kernel
}

// New makes the machine's init. mask is that of blocked signals with which a shell is
// to begin, where the signals of signals.Held are blocked in all threads. Where they
// are not, it is nil, and the signals are taken over: to Go's runtime an early
// Ctrl-Alt-Del would be the end of the process, and to the kernel that is a panic.
// say must not block.
func New(say func(string), dog Watchdog, env []string, mask *unix.Sigset_t) *Machine {
	m := &Machine{sys: kernel{mask}, say: say, dog: dog, env: env, signals: make(chan os.Signal, 16), held: mask != nil}
	if !m.held {
		signal.Notify(m.signals, powerSignals()...)
	}
	return m
}

// hear has the signals that ask for an end come to the channel, from now on until
// stop is called; what came before was for who ran before.
func (m *Machine) hear() (stop func()) {
	for len(m.signals) > 0 {
		<-m.signals
	}
	if !m.held {
		return func() {}
	}
	q, err := signals.Open()
	if err != nil {
		m.try("cannot take signals from the kernel's queue: ", err)
		signal.Notify(m.signals, powerSignals()...)
		return func() { signal.Stop(m.signals) }
	}
	for _, ok := q.Take(); ok; _, ok = q.Take() {
	}
	go func() {
		for q.Wait() == nil {
			for sig, ok := q.Take(); ok; sig, ok = q.Take() {
				select {
				case m.signals <- sig:
				default: // sixteen were not answered yet
				}
			}
		}
	}()
	return q.Close
}

// Begin makes the machine what every program expects.
func (m *Machine) Begin() {
	m.step("the umask", func() { unix.Umask(0o022) })
	m.mountAll()
	m.step("the console", func() { m.try("cannot set up the console: ", m.sys.console(true)) })
	m.step("the command line", m.readCmdline)
	m.step("Ctrl-Alt-Del", func() {
		m.try("cannot take Ctrl-Alt-Del over: ", m.sys.reboot(unix.LINUX_REBOOT_CMD_CAD_OFF))
	})
	m.step("the hostname", m.setHostname)
	m.step("the loopback", func() { m.try("cannot bring the loopback interface up: ", m.sys.loopbackUp()) })
	m.env = withDefaults(m.env, m.terminal())
}

// Resume is Begin where another program was this init before: the machine is as
// it is, and what is to be known of it is read again.
func (m *Machine) Resume() {
	// Where the standard streams were ours alone, exec has closed them.
	m.step("the console", func() { m.try("cannot set up the console: ", m.sys.console(false)) })
	m.step("the command line", m.readCmdline)
	m.env = withDefaults(m.env, m.terminal())
}

// RaiseLimits raises the hard limit of open files. Go's runtime has noted the
// limits that children get at its start: if it says true, the process must
// execute itself anew for them to get the raised ones.
func (m *Machine) RaiseLimits() (again bool) {
	m.step("the limits", func() {
		raised, err := m.sys.limitFiles(maxFiles)
		m.try("cannot raise the limit of open files: ", err)
		again = raised && err == nil
	})
	return again
}

// Env is the environment for what runs on the machine.
func (m *Machine) Env() []string { return m.env }

// Cmdline is what the kernel's command line said.
func (m *Machine) Cmdline() Cmdline { return m.cmdline }

func (m *Machine) try(what string, err error) {
	if err != nil {
		m.say(what + err.Error())
	}
}

func (m *Machine) readCmdline() {
	m.cmdline = ParseCmdline("")
	text, err := m.sys.readFile("/proc/cmdline")
	if err != nil {
		m.say("cannot read the kernel's command line: " + err.Error())
		return
	}
	m.cmdline = ParseCmdline(text)
	for _, c := range m.cmdline.Complaints {
		m.say(c)
	}
}

// setHostname takes the first line of /etc/hostname that is no comment. Without
// one a name that somebody gave already stays.
func (m *Machine) setHostname() {
	name := ""
	text, err := m.sys.readFile("/etc/hostname")
	if err != nil && !os.IsNotExist(err) {
		m.say("cannot read /etc/hostname: " + err.Error())
	}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			name = line
			break
		}
	}
	if name == "" {
		if now, err := m.sys.hostname(); err == nil && now != "" && now != "(none)" {
			return
		}
		name = "localhost"
	}
	m.try("cannot set the hostname "+name+": ", m.sys.setHostname(name))
}

const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// terminal is the TERM for the console: the kernel says linux whatever it is.
func (m *Machine) terminal() string {
	active, err := m.sys.readFile("/sys/class/tty/console/active")
	if err != nil {
		return "linux"
	}
	words := strings.Fields(active)
	if len(words) == 0 {
		return "linux"
	}
	// The last one is /dev/console. tty0 is a screen, ttyS0 and hvc0 are not.
	last := words[len(words)-1]
	if len(last) > 3 && last[:3] == "tty" && last[3] >= '0' && last[3] <= '9' {
		return "linux"
	}
	return "vt220"
}

// withDefaults is the environment that the kernel gave, with a PATH, and with a
// TERM that fits. Words of the kernel's command line that are in it (such as
// BOOT_IMAGE) are nobody's business.
func withDefaults(env []string, term string) []string {
	out := []string{defaultPath, "HOME=/", "TERM=" + term}
	for _, e := range env {
		switch key, value, _ := strings.Cut(e, "="); {
		case key == "PATH":
			out[0] = e
		case key == "TERM" && value != "linux":
			out[2] = e
		case strings.HasPrefix(key, "NINES_"), key == "LANG", strings.HasPrefix(key, "LC_"), key == "TZ":
			out = append(out, e)
		}
	}
	return out
}
