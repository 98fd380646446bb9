package keeper

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"nines/supervisor/notify"
)

// The two kinds of values that the keeper itself reads and writes. A supervisor
// that has started a service's main process says so with main:PID; when that
// process has become the keeper's (its supervisor died) and ends, the keeper is
// its reaper, and exit:PID holds how it ended until a supervisor deletes it. A
// supervisor that reaps one itself says exit:PID before it does, so that no
// death of it in between loses the status.
const (
	keyMain = "main:" // PID → the process's start time
	keyExit = "exit:" // PID → "START STATUS", the latter as wait4(2) gives it
)

// orphanEnded takes down how somebody else's child ended, if that is a main
// process.
func (k *keeper) orphanEnded(pid int, status unix.WaitStatus) {
	if k.sup.link != nil && !k.sup.link.eof {
		// What its supervisor had said of it is in the socket at the latest: it
		// said it while it was alive.
		k.receive(&k.sup, messagesATurn)
	}
	id := strconv.Itoa(pid)
	main := k.store.values[keyMain+id]
	if main == nil {
		if k.console.verbose {
			k.note("reaped orphan " + id + ", which " + howEnded(status))
		}
		return
	}
	key := keyExit + id
	if err := k.store.set(key, main.value+" "+strconv.FormatUint(uint64(status), 10)); err != nil {
		k.say(err.Error())
		return
	}
	k.tellSupervisor(key)
}

// forgetExit drops the exit of an earlier process with the pid of a new one.
func (k *keeper) forgetExit(values []notify.Field) {
	for _, v := range values {
		if pid, ok := strings.CutPrefix(v.Key, keyMain); ok && v.Value != "" {
			// Deleting cannot fail.
			_ = k.store.set(keyExit+pid, "")
		}
	}
}
