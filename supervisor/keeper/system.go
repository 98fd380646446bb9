package keeper

import (
	"math"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"nines/supervisor/notify"
	"nines/supervisor/signals"
	"nines/supervisor/threads"
	"nines/supervisor/wait"
)

// system is what the loop asks of the kernel; tests have another one.
type system interface {
	now() time.Time
	monotonic() int64 // CLOCK_MONOTONIC in ns, which the supervisor has as well
	// spawn starts p as argv with fd as its descriptor 3.
	spawn(p *program, argv, env []string, fd int) (pid int, err error)
	kill(pid int, sig unix.Signal) error
	killCgroup(dir string) error
	// ended shows one child that ended; pid 0: none now. reap takes it.
	ended() (pid int, status unix.WaitStatus)
	reap(pid int)
	// hasEnded says whether that child has ended, and how; it is not reaped.
	hasEnded(pid int) (status unix.WaitStatus, ended bool)
	// children lists those that orphans are, dead ones that were not reaped among them.
	children() ([]int32, error)
	// identify tells of a child that ended and was not reaped.
	identify(pid int) identity
	// dropText lets go of the pages of our program that only the beginning needed.
	dropText() error
	// Where signals come through handlers, hold blocks them in this thread, which
	// executes the next program; settle returns when those that came so far are in
	// their channel. release undoes it.
	hold()
	settle()
	release()
	// become executes p as argv in this process, which keeps the descriptors
	// fds. It returns only if that failed, with everything as it was.
	become(p *program, argv []string, fds []int) error
}

// spareThreads is how many the keeper makes at start. What can hold one at a time:
// the loop in a system call, the console in write(2), the signal receiver, the
// netpoller, Go's sysmon and garbage collector. The rest is reserve.
const spareThreads = 16

// WarmUp makes the process's threads. With one processor there is never more than
// one goroutine running, so the idle ones suffice. Call it first.
func WarmUp() {
	runtime.GOMAXPROCS(1)
	threads.Reserve(spareThreads)
}

// becomeSubreaper makes orphans of the whole subtree our children. PID 1 is
// their reaper anyway, but not of those in a PID namespace that it joined.
func becomeSubreaper() error {
	return os.NewSyscallError("prctl(PR_SET_CHILD_SUBREAPER)", unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
}

// sealInherited sets CLOEXEC on whatever our own parent left open: no service
// is to inherit a shell's or a container runtime's descriptors.
func sealInherited() error {
	if unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC) == nil {
		return nil
	}
	return sealByProc()
}

// sealByProc is for Linux before 5.11, and seccomp filters that forbid
// close_range.
func sealByProc() error {
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		return err
	}
	names, err := dir.Readdirnames(-1)
	for _, name := range names {
		if fd, e := strconv.Atoi(name); e == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
	if e := dir.Close(); err == nil {
		err = e
	}
	return err
}

// kernel is the real system.
type kernel struct {
	mask  *unix.Sigset_t // of the signals that children begin with; nil: our own
	queue *signals.Queue // nil: signals come through handlers
}

func (kernel) now() time.Time { return time.Now() }

func (s kernel) spawn(p *program, argv, env []string, fd int) (int, error) {
	null, err := nothing()
	if err != nil {
		return 0, err
	}
	defer notify.CloseAll([]int{null})
	file, done, err := p.file(max(null, fd))
	if err != nil {
		return 0, err
	}
	defer done()
	var pid int
	s.fork(func() {
		pid, err = syscall.ForkExec(file, argv, &syscall.ProcAttr{
			Env:   env,
			Files: []uintptr{uintptr(null), 1, 2, uintptr(fd)},
			// A group of its own: a terminal's Ctrl-C reaches the keeper alone,
			// which forwards it; and the children never read from the terminal.
			Sys: &syscall.SysProcAttr{Setpgid: true},
		})
	})
	if err != nil {
		return 0, &os.PathError{Op: "exec", Path: p.path, Err: err}
	}
	return pid, nil
}

// nothing opens something to read nothing from.
func nothing() (int, error) {
	fd, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err == nil {
		return fd, nil
	}
	// No /dev yet, or a container without it: a pipe that nobody writes to.
	var p [2]int
	if e := unix.Pipe2(p[:], unix.O_CLOEXEC); e != nil {
		return -1, &os.PathError{Op: "open", Path: "/dev/null", Err: err}
	}
	_ = unix.Close(p[1])
	return p[0], nil
}

func (kernel) kill(pid int, sig unix.Signal) error { return unix.Kill(pid, sig) }

func (kernel) ended() (int, unix.WaitStatus) {
	pid, raw, _ := wait.Peek()
	return pid, unix.WaitStatus(raw)
}

func (kernel) dropText() error { return dropText() }

func (kernel) reap(pid int) { wait.Reap(pid) }

func (kernel) hasEnded(pid int) (unix.WaitStatus, bool) {
	raw, ended := wait.Ended(pid)
	return unix.WaitStatus(raw), ended
}
