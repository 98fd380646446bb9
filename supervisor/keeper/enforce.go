package keeper

import (
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A shutdown must end, whatever becomes of the supervisor. It stores that one is
// in progress, and where its cgroups are:
const (
	keyShutdown = "shutdown" // "EXIT DEADLINE [ACTION]", the second on CLOCK_MONOTONIC in ns
	keyCgroups  = "cgroups"  // the folder of its cgroup tree
)

// How much longer than it said a supervisor may take (its last kill has ten
// seconds to be seen), and how long one that was asked to stop may take to say
// that it does, over all its generations.
const (
	endGrace  = 20 * time.Second
	askGrace  = 120 * time.Second
	killGrace = 5 * time.Second // from the kill of everything to our own end
)

// deadline is when the keeper ends everything itself; zero: not at all.
func (k *keeper) enforceAt() time.Time {
	switch {
	case k.finishing || k.over:
		return time.Time{}
	case !k.enforced.IsZero():
		return k.enforced.Add(killGrace)
	case k.stopAt.IsZero():
		if k.asked != 0 && !k.askedAt.IsZero() {
			return k.askedAt.Add(askGrace)
		}
		return time.Time{}
	}
	return k.stopAt.Add(endGrace)
}

// noteShutdown looks whether the supervisor has stored that it shuts down.
func (k *keeper) noteShutdown() {
	v := k.store.values[keyShutdown]
	if v == nil || v.value == k.stopValue {
		return
	}
	first := k.stopAt.IsZero()
	k.stopValue = v.value
	code, rest, _ := strings.Cut(v.value, " ")
	deadline, action, _ := strings.Cut(rest, " ")
	c, err := strconv.Atoi(code)
	at, err2 := strconv.ParseInt(deadline, 10, 64)
	if err != nil || err2 != nil || c < 0 || c > 255 {
		k.say("cannot read the shutdown that the supervisor stored: " + v.value)
		return
	}
	k.notePower(action)
	if !first {
		return // neither deadline nor status change
	}
	k.stopCode = c
	k.stopAt = k.sys.now().Add(time.Duration(at - k.sys.monotonic()))
}

// enforce kills everything that is left, then ends without the supervisor.
func (k *keeper) enforce() {
	now := k.sys.now()
	if !k.enforced.IsZero() {
		k.say("the shutdown is over: what still lives is left behind")
		k.endSaid = true
		k.finish(k.stopCode)
		return
	}
	k.enforced = now
	k.say("the supervisor has not shut down in time: everything is killed")
	if k.stopAt.IsZero() {
		k.stopCode = 1
	}
	k.sup.startAt = time.Time{}
	if k.sup.pid != 0 {
		k.endSaid, k.code = true, k.stopCode // its exit is the end
		k.sup.killWhy = "it has not shut down in time"
		k.kill(&k.sup)
	}
	if v := k.store.values[keyCgroups]; v != nil {
		if err := k.sys.killCgroup(v.value); err != nil {
			k.say("cannot kill " + v.value + ": " + err.Error())
		}
	}
	for _, key := range k.store.keys() {
		id, ok := strings.CutPrefix(key, keyMain)
		pid, err := strconv.Atoi(id)
		if !ok || err != nil || pid <= 1 {
			continue
		}
		// Its group as well: a main process leads its session. A pid that was
		// reaped is not ours to signal; it has its exit in the store.
		if k.store.values[keyExit+id] == nil {
			for _, p := range []int{-pid, pid} {
				if err := k.sys.kill(p, unix.SIGKILL); err != nil && err != unix.ESRCH {
					k.say("cannot kill " + id + ": " + err.Error())
				}
			}
		}
	}
	if k.sup.pid == 0 {
		k.endSaid = true
		k.finish(k.stopCode)
	}
}

func (kernel) monotonic() int64 {
	var ts unix.Timespec
	// EINVAL and EFAULT are not possible here.
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return ts.Nano()
}

func (kernel) killCgroup(dir string) error {
	return os.WriteFile(dir+"/cgroup.kill", []byte("1"), 0)
}
