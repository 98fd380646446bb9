package keeper

import (
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"nines/supervisor/notify"
)

const (
	reapATurn = 4096 // before the children's messages have their turn
	reapWork  = 64   // what one reaping makes
)

// To find one child that has ended, the kernel walks past all that live: 0.4 ms
// with 10,000 of them. Where thousands die while thousands live on, those walks
// are all that PID 1 does, and the dying wait for the processor. So once a turn
// has walked for walkLong, all children are asked for by their pids instead, in
// one sweep, which takes all that have ended for the price of some walks; and
// then it rests, while more end.
const (
	walkLong   = 5 * time.Millisecond
	restFactor = 4 // times what the sweep took
	restMost   = 250 * time.Millisecond
)

// reaping is how it goes on after a sweep.
type reaping struct {
	rest     time.Time // orphans wait until then; zero: they do not
	at       time.Time // when reap is called for what has come meanwhile; zero: nothing has
	unlisted bool      // children cannot be listed: it walks
	// heard: all that is reaped now was ours before hearOfOrphans was called, which need
	// not be called for each.
	heard    bool
	supEnded bool // what it found: the supervisor has ended
}

// childEnded is SIGCHLD. It may stand for thousands. Our own two do not wait for
// the end of a rest.
func (k *keeper) childEnded() {
	r := &k.reaping
	if r.rest.IsZero() || !k.sys.now().Before(r.rest) {
		k.reap()
		return
	}
	r.at = r.rest
	k.reapOwn()
}

// reapOwn takes those of our own two that have ended.
func (k *keeper) reapOwn() {
	for _, c := range []*child{&k.log, &k.sup} {
		if c.pid == 0 {
			continue
		}
		if status, ended := k.sys.hasEnded(c.pid); ended {
			k.took(c.pid, status)
		}
	}
}

// reap takes all that has ended.
func (k *keeper) reap() {
	r := &k.reaping
	k.moreToReap, r.rest, r.at = false, time.Time{}, time.Time{}
	var walked time.Duration
	for range reapATurn {
		before := k.sys.now()
		pid, status := k.sys.ended()
		walked += k.sys.now().Sub(before)
		if pid == 0 {
			return
		}
		k.took(pid, status)
		if walked > walkLong && !r.unlisted {
			k.sweep()
			return
		}
	}
	k.moreToReap = true
}

// sweep reaps every child that has ended by now.
func (k *keeper) sweep() {
	r := &k.reaping
	began := k.sys.now()
	pids, err := k.sys.children()
	if err != nil {
		// A kernel without CONFIG_PROC_CHILDREN, or no /proc.
		r.unlisted, k.moreToReap = true, true
		k.note("cannot list children: " + err.Error() + ": many that end at once are reaped more slowly")
		return
	}
	k.work += 4 * cap(pids)
	k.reapOwn()
	k.guard("a socket", func() { k.hearOfOrphans(messagesHeld) })
	r.heard = true
	defer func() { r.heard = false }()
	for _, pid := range pids {
		if status, ended := k.sys.hasEnded(int(pid)); ended {
			k.took(int(pid), status)
		}
	}
	now := k.sys.now()
	r.rest = now.Add(min(restFactor*now.Sub(began), restMost))
	r.at = r.rest // once more, for a child of another thread than the one that was asked
}

// took reaps one that has ended, and sees to what follows.
func (k *keeper) took(pid int, status unix.WaitStatus) {
	k.work += reapWork
	switch {
	case pid == k.sup.pid:
		k.sys.reap(pid)
		k.guard("the supervisor's exit", func() { k.supervisorEnded(status) })
	case pid == k.log.pid:
		k.sys.reap(pid)
		k.guard("the log process's exit", func() { k.logEnded(status) })
	case k.reexec != nil && pid == k.reexec.pid:
		k.guard("a check", func() { k.checked(status) })
		k.sys.reap(pid)
	default:
		// Not reaped yet: /proc still knows it.
		k.guard("an orphan's exit", func() { k.orphanEnded(pid, status) })
		k.sys.reap(pid)
	}
}

// children reads /proc/self/task/PID/children (proc(5)). Orphans are given to the
// first thread; what another thread has forked, as our own two may be, is not in it.
func (kernel) children() ([]int32, error) {
	self := "/proc/" + strconv.Itoa(os.Getpid())
	fd, err := openRetry(self+"/task"+self[len("/proc"):]+"/children", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer notify.CloseAll([]int{fd})
	var pids []int32
	var buf [4096]byte // the kernel gives no more at once
	pid := int32(0)
	for {
		n, err := unix.Read(fd, buf[:])
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return nil, os.NewSyscallError("read", err)
		case n == 0:
			return pids, nil
		}
		for _, c := range buf[:n] { // "PID PID … PID "
			if c != ' ' {
				pid = pid*10 + int32(c-'0')
				continue
			}
			pids, pid = append(pids, pid), 0
		}
	}
}
