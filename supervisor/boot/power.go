package boot

import (
	"os"

	"golang.org/x/sys/unix"
)

// Action is what becomes of the machine.
type Action string

// The actions; as `nines shutdown` and the control API name them, and kexec.
const (
	PowerOff Action = "poweroff"
	Restart  Action = "reboot"
	Halt     Action = "halt"
	Kexec    Action = "kexec" // into the kernel that was loaded; without one a restart
)

// ParseAction reads an action; what is none, or not known to this version, is
// PowerOff, what an end without a word means.
func ParseAction(text string) Action {
	switch a := Action(text); a {
	case Restart, Halt, Kexec:
		return a
	}
	return PowerOff
}

func (a Action) words() string {
	switch a {
	case Restart:
		return "restart"
	case Halt:
		return "halt"
	case Kexec:
		return "start the loaded kernel"
	}
	return "power off"
}

const rtmin = 34 // SIGRTMIN of the C libraries, which keep 32 and 33

// Asked says which action a signal asks for, and whether at once: without
// stopping the services in order. "": none.
func Asked(sig unix.Signal) (action string, now bool) {
	switch sig {
	case unix.SIGINT, unix.SIGTERM:
		return string(Restart), false
	case unix.SIGPWR, unix.SIGUSR2:
		return string(PowerOff), false
	case unix.SIGUSR1:
		return string(Halt), false
	case rtmin + 3, rtmin + 13:
		return string(Halt), sig == rtmin+13
	case rtmin + 4, rtmin + 14:
		return string(PowerOff), sig == rtmin+14
	case rtmin + 5, rtmin + 15:
		return string(Restart), sig == rtmin+15
	case rtmin + 6, rtmin + 16:
		return string(Kexec), sig == rtmin+16
	}
	return "", false
}

// powerSignals are those that Asked knows.
func powerSignals() []os.Signal {
	all := []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGPWR, unix.SIGUSR1, unix.SIGUSR2}
	for n := range unix.Signal(4) {
		all = append(all, rtmin+3+n, rtmin+13+n)
	}
	return all
}
