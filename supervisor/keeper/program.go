package keeper

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"nines/supervisor/notify"
)

// program is the file that a child is started from. It is held open, so that it
// stays what it is when its path is written over, renamed or removed.
type program struct {
	path string
	fd   int // -1: it could not be opened; executing it says why
}

func openProgram(path string) *program {
	fd, err := openRetry(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		fd = -1
	}
	return &program{path, fd}
}

func (p *program) close() {
	if p != nil && p.fd >= 0 {
		notify.CloseAll([]int{p.fd})
		p.fd = -1
	}
}

// is reports whether both are one file.
func (p *program) is(other *program) bool {
	return p == other || p != nil && other != nil && p.fd >= 0 && other.fd >= 0 && sameFile(p.fd, other.fd)
}

// atPath reports whether its path still leads to it. Executed by its path a
// process has a name that people know, and needs no /proc.
func (p *program) atPath() bool {
	if p.fd < 0 {
		return true
	}
	var there, held unix.Stat_t
	return unix.Stat(p.path, &there) == nil && unix.Fstat(p.fd, &held) == nil &&
		there.Dev == held.Dev && there.Ino == held.Ino
}

// programs is what a child may be started from.
type programs struct {
	good  *program // the last that lived; nil: none has yet
	trial *program // of an upgrade under way; nil: none
	now   *program // what runs, or ran last
}

// crashesAtOnce is how many it takes, each before backoffForget is over, to give
// a program up.
const crashesAtOnce = 3

// pick says from what the child is started next: home is where it is installed.
// The last good one is preferred to what may have been put there since. But if
// that one crashes again and again, somebody may have installed a better: then
// it is every other start's turn.
func (c *child) pick(home string) *program {
	switch p := &c.programs; {
	case p.trial != nil:
		return p.use(p.trial)
	case p.good != nil && (c.backoff.failures < crashesAtOnce || c.backoff.failures%2 == 0):
		return p.use(p.good)
	default:
		next := openProgram(home)
		if p.good != nil && (next.fd < 0 || next.is(p.good)) {
			next.close()
			next = p.good
		}
		return p.use(next)
	}
}

func (p *programs) use(next *program) *program {
	old := p.now
	p.now = next
	p.letGo(old)
	return next
}

// letGo closes a program that is none of ours any more.
func (p *programs) letGo(old *program) {
	if old != p.now && old != p.good && old != p.trial {
		old.close()
	}
}

// lived: what runs has shown that it can.
func (p *programs) lived() {
	if p.now == nil || p.now.fd < 0 && p.good != nil {
		return
	}
	old := p.good
	p.good = p.now
	p.letGo(old)
}

// abandon ends a trial.
func (p *programs) abandon() {
	old := p.trial
	p.trial = nil
	if old != nil {
		p.letGo(old)
	}
}

// file is what to execute, in a child that has descriptors up to highest given
// to it. done is to be called afterwards.
func (p *program) file(highest int) (path string, done func(), err error) {
	if p.atPath() {
		return p.path, func() {}, nil
	}
	// Beyond the numbers that ForkExec moves the child's descriptors to.
	fd, err := unix.FcntlInt(uintptr(p.fd), unix.F_DUPFD_CLOEXEC, highest+16)
	if err != nil {
		return "", nil, os.NewSyscallError("fcntl", err)
	}
	return "/proc/self/fd/" + strconv.Itoa(fd), func() { notify.CloseAll([]int{fd}) }, nil
}
