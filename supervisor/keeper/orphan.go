package keeper

import (
	"bytes"
	"os"
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
//
// A supervisor may die before it could say main:PID of a process that it had just
// cloned. So while none is ready, the exit of a child that could be one (a session
// leader) is kept as well, with its cgroup, by which the next supervisor knows
// whose it was. The value sync is sent back when all that had ended by then has
// been reaped and told.
const (
	keyMain = "main:" // PID → the process's start time
	keyExit = "exit:" // PID → "START STATUS [CGROUP]", STATUS as wait4(2) gives it
	keySync = "sync"
)

// maxStrangers bounds how many exits are kept of processes that nobody has told
// of: a supervisor clones one after the other.
const maxStrangers = 64

// identity is what /proc tells of a zombie.
type identity struct {
	leader bool   // of its session, as every main process is
	start  uint64 // in clock ticks since boot
	cgroup string // of cgroup v2, as /proc/PID/cgroup has it; "": none
}

// orphanEnded takes down how somebody else's child ended, if that is a main
// process.
func (k *keeper) orphanEnded(pid int, status unix.WaitStatus) {
	if !k.reaping.heard {
		k.hearOfOrphans(messagesATurn)
	}
	id := strconv.Itoa(pid)
	var value string
	if main := k.store.values[keyMain+id]; main != nil {
		value = main.value + " " + strconv.FormatUint(uint64(status), 10)
	} else if value = k.stranger(pid, status); value == "" {
		if k.console.verbose {
			k.note("reaped orphan " + id + ", which " + howEnded(status))
		}
		return
	}
	key := keyExit + id
	if err := k.store.set(key, value); err != nil {
		k.say(err.Error())
		return
	}
	k.tell(key)
}

// hearOfOrphans takes what there is to know of processes that are our children by
// now. What their supervisor had said of them is in the socket at the latest: it said
// it while it was alive. That it has ended is known at the latest: only then they became
// ours.
func (k *keeper) hearOfOrphans(limit int) {
	if k.sup.link != nil && !k.sup.link.eof {
		k.receive(&k.sup, limit)
	}
	k.reaping.supEnded = true
	if l := k.sup.link; k.sup.ready() && l != nil && !l.eof {
		_, k.reaping.supEnded = k.sys.hasEnded(k.sup.pid)
	}
}

// tell sends the supervisor a value of the store.
func (k *keeper) tell(key string) {
	if h, ok := k.sup.out.(*handBack); ok {
		h.keys = append(h.keys, key)
		k.flush(&k.sup)
	}
}

// stranger is the exit:PID of a process that could be a main process of which the
// supervisor did not live to tell; else "".
func (k *keeper) stranger(pid int, status unix.WaitStatus) string {
	if !k.everReady || k.strangers == maxStrangers {
		return "" // before the first was ready nothing had been started
	}
	// A process ends thread by thread: its descriptors are closed before its last
	// thread leaves us the last child, and only after that it can be waited for.
	if l := k.sup.link; k.sup.ready() && l != nil && !l.eof && !k.reaping.supEnded {
		return ""
	}
	who := k.sys.identify(pid)
	if !who.leader || who.cgroup == "" {
		return ""
	}
	k.strangers++
	return strconv.FormatUint(who.start, 10) + " " + strconv.FormatUint(uint64(status), 10) + " " + who.cgroup
}

// identify reads /proc/PID/stat (proc(5)) and /proc/PID/cgroup (cgroups(7)).
func (kernel) identify(pid int) identity {
	var who identity
	dir := "/proc/" + strconv.Itoa(pid)
	b, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return who
	}
	// After the name, which may hold anything: state, parent, group, session, …
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	const session, start = 3, 19
	if len(fields) <= start {
		return who
	}
	if who.start, err = strconv.ParseUint(fields[start], 10, 64); err != nil {
		return identity{}
	}
	if who.leader = fields[session] == strconv.Itoa(pid); !who.leader {
		return who
	}
	if b, err = os.ReadFile(dir + "/cgroup"); err != nil {
		return who
	}
	for line := range strings.Lines(string(b)) {
		if path, ok := strings.CutPrefix(line, "0::"); ok {
			who.cgroup = strings.TrimSuffix(strings.TrimSuffix(path, "\n"), " (deleted)")
		}
	}
	return who
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
