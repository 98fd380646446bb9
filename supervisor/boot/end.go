package boot

import (
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// How long the parts of the end may take, and all of it. The supervisor's own
// shutdown comes before.
const (
	termPatience   = 10 * time.Second       // from SIGTERM to all to SIGKILL
	killPatience   = 5 * time.Second        // from SIGKILL to going on without
	killPause      = 50 * time.Millisecond  // between two looks at who is left
	syncPatience   = 30 * time.Second       // a disk that is slow; one that hangs is left
	callPatience   = 10 * time.Second       // one umount, one swapoff
	unmountPasses  = 8                      // each unmounts what the last one made free
	unmountPause   = 100 * time.Millisecond // for what ends in the kernel a moment later
	rebootPatience = 15 * time.Second       // for the drivers' own shutdown
	endBound       = 120 * time.Second      // all of it
)

// End ends the machine. It does not return.
func (m *Machine) End(action Action) {
	m.end(action)
	select {} // reboot(2) has failed in each way: nothing is left that could be done
}

func (m *Machine) end(action Action) {
	m.say("the machine is about to " + action.words())
	// Whatever happens below, a hang or a panic: the end comes.
	stop := make(chan struct{})
	defer close(stop)
	go m.lastResort(action, stop)
	m.step("ending what runs", m.endProcesses)
	m.step("sync", m.sync)
	m.step("unmounting", m.unmountAll)
	m.step("sync", m.sync)
	if action == Halt {
		// A halted machine is to stand still, not to be reset. In the other cases
		// it stays armed for a reboot(2) that hangs.
		m.step("the watchdog", func() { m.try("cannot disarm the hardware watchdog: ", m.dog.Close(true)) })
	}
	m.reboot(action)
}

// lastResort pets the hardware watchdog while the end may take its time, and no
// longer; then it restarts, powers off or halts with whatever is undone.
func (m *Machine) lastResort(action Action, stop <-chan struct{}) {
	over := time.NewTimer(endBound)
	defer over.Stop()
	pet := m.petter()
	defer pet.Stop()
	for {
		select {
		case <-stop:
			return
		case <-pet.C:
			m.pet()
		case <-over.C:
			m.say("the end has taken " + endBound.String() + ": no more waiting")
			// In the kernel's hands: its error would be said by nobody.
			_ = m.sys.reboot(action.command(m.kexecLoaded()))
			return
		}
	}
}

func (m *Machine) sync() {
	if err := m.bounded(syncPatience, func() error { m.sys.sync(); return nil }); err != nil {
		m.say("cannot write everything to disk: " + err.Error() + ": it goes on without")
	}
}

func (m *Machine) kexecLoaded() bool {
	text, err := m.sys.readFile("/sys/kernel/kexec_loaded")
	return err == nil && strings.TrimSpace(text) == "1"
}

// command is for reboot(2).
func (a Action) command(kexecLoaded bool) int {
	switch {
	case a == Halt:
		return unix.LINUX_REBOOT_CMD_HALT
	case a == Kexec && kexecLoaded:
		return unix.LINUX_REBOOT_CMD_KEXEC
	case a == Kexec, a == Restart:
		return unix.LINUX_REBOOT_CMD_RESTART
	}
	return unix.LINUX_REBOOT_CMD_POWER_OFF
}

// reboot hands the machine to the kernel, in the way that was asked for, or else
// in one that leaves it off or starting.
func (m *Machine) reboot(action Action) {
	loaded := m.kexecLoaded()
	if action == Kexec && !loaded {
		m.say("no kernel is loaded to go on with (kexec -l): the machine is restarted")
	}
	m.say("now: " + action.words())
	time.Sleep(lastLine)
	for _, cmd := range []int{action.command(loaded), unix.LINUX_REBOOT_CMD_RESTART, unix.LINUX_REBOOT_CMD_HALT} {
		err := m.bounded(rebootPatience, func() error { return m.sys.reboot(cmd) })
		if err == errTimeout && cmd == unix.LINUX_REBOOT_CMD_HALT {
			return // it halts
		}
		m.try("cannot "+action.words()+": reboot(2): ", err)
	}
}

// lastLine lets the last line reach a slow console; it is written by another
// goroutine, which may be held up for ever.
const lastLine = 50 * time.Millisecond
