package keeper

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"nines/supervisor/notify"
)

// The keeper can become another program and stay the process that it is: the
// same pid, children, descriptors. What it knows goes along in a sealed memfd.
//
//	asked ──▶ the new program is run beside us, to say whether it can read this
//	   │      very state (CheckFlag)
//	   │  it can                                  it cannot, or does not answer
//	   ▼                                                      └──▶ stays, says why
//	signals are held, exec (ResumeFlag): the new one reads the state
//	   │  it can                                  it cannot after all
//	   ▼                                                      └──▶ exec of the old
//	goes on                                            one, held open; says why
const (
	// CheckFlag is the first argument of one that is to say by exit status 0
	// that it can read the state at descriptor 3, and the arguments that follow.
	CheckFlag = "--resume-check"
	// ResumeFlag is the first argument of one that goes on; the second says how:
	// "STATE OLD [WHY]", the descriptor of the state, that of the program before
	// it (-1: none), and why the one between them did not go on.
	ResumeFlag = "--resume"
)

const (
	checkPatience   = 10 * time.Second
	consolePatience = time.Second
)

// reexec is a change of the keeper's own program under way.
type reexec struct {
	next  *program
	pid   int       // of the check; 0: it is over, and next is to be executed
	until time.Time // when something is due
}

// beginReexec has the new program check whether it could go on.
func (k *keeper) beginReexec(path string, fd int) {
	next := &program{strings.Clone(path), fd}
	why := k.fitForChange()
	if why == "" {
		why = k.check(next)
	}
	if why != "" {
		next.close()
		k.settle(stateReverted, why)
	}
}

func (k *keeper) check(next *program) (why string) {
	s, err := k.saveState()
	if err != nil {
		return err.Error()
	}
	defer notify.CloseAll([]int{s.fd})
	argv := append([]string{next.path, CheckFlag}, k.args...)
	pid, err := k.sys.spawn(next, argv, k.env, s.fd)
	if err != nil {
		return err.Error()
	}
	k.reexec = &reexec{next, pid, k.sys.now().Add(checkPatience)}
	k.settle(stateTrying, "")
	return ""
}

// checked is the end of the check.
func (k *keeper) checked(status unix.WaitStatus) {
	r := k.reexec
	r.pid = 0
	if status.Exited() && status.ExitStatus() == 0 {
		r.until = k.sys.now() // from the top of the loop, with nothing half done
		return
	}
	k.notReexec("asked whether it can go on, it " + howEnded(status))
}

// notReexec gives the change up.
func (k *keeper) notReexec(why string) {
	r := k.reexec
	k.reexec = nil
	k.say("upgrade: " + r.next.path + " is given up: " + why)
	r.next.close()
	k.settle(stateReverted, why)
}

// reexecDue ends a check that takes too long, or carries the change out.
func (k *keeper) reexecDue() {
	r := k.reexec
	if r.pid != 0 {
		r.until = time.Time{}
		if err := k.sys.kill(r.pid, unix.SIGKILL); err != nil {
			k.say("cannot kill pid " + strconv.Itoa(r.pid) + ": " + err.Error())
		}
		return // its exit says the rest
	}
	if k.moreToReap || k.syncDue {
		return // that is not in the state; what is due now is carried out first
	}
	why := "internal error"
	defer func() { // a panic too must leave it decided
		k.reexec = r
		k.notReexec(why)
	}()
	k.reexec = nil // whatever comes, it is not tried again
	if why = k.fitForChange(); why == "" {
		why = k.become(r.next)
	}
}

// become returns only if it could not.
func (k *keeper) become(next *program) (why string) {
	if !k.console.flush(consolePatience) {
		return "stderr does not take what was said"
	}
	mask := threadMask()
	if m := k.mask; m != nil {
		mask = *m
	}
	k.sys.hold()
	defer k.sys.release()
	// The fewer are left to the next program the better, for one of them may be
	// SIGTERM: that must not wait.
	k.takeSignals()
	if why := k.fitForChange(); why != "" {
		return why // one of them was SIGTERM
	}
	k.mask = &mask
	s, err := k.saveState()
	if err != nil {
		return err.Error()
	}
	defer notify.CloseAll([]int{s.fd})
	old := openProgram("/proc/self/exe")
	if old.fd < 0 {
		return "the program that runs cannot be held, and without it there is no way back: /proc must be mounted"
	}
	defer old.close()
	keep := append(s.kept, s.fd, old.fd)
	argv := append([]string{next.path, ResumeFlag, strconv.Itoa(s.fd) + " " + strconv.Itoa(old.fd)}, k.args...)
	if h := &k.hardware; h.open && !h.starving {
		// What it says about it the next pet says as well.
		_ = h.dog.Pet() // the next program has all its time to begin
	}
	return k.sys.become(next, argv, keep).Error()
}

// takeSignals handles the signals that are there.
func (k *keeper) takeSignals() {
	k.sys.settle()
	k.takeQueued()
	for {
		select {
		case sig := <-k.signals:
			if s, ok := sig.(unix.Signal); ok {
				k.signalled(s)
			}
		default:
			return
		}
	}
}

func (kernel) become(p *program, argv []string, fds []int) error {
	path, done, err := p.file(slices.Max(fds))
	if err != nil {
		return err
	}
	defer done()
	inherit(fds, true)
	defer inherit(fds, false)
	// Exec lowers the limit to what we were started with; it is raised again by
	// whoever begins.
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err == nil {
		// It was so a moment ago.
		defer func() { _ = unix.Setrlimit(unix.RLIMIT_NOFILE, &limit) }()
	}
	for {
		if err := syscall.Exec(path, argv, os.Environ()); err != unix.EINTR {
			return &os.PathError{Op: "exec", Path: p.path, Err: err}
		}
	}
}

// inherit says whether descriptors live on across exec.
func inherit(fds []int, yes bool) {
	flag := unix.FD_CLOEXEC
	if yes {
		flag = 0
	}
	for _, fd := range fds {
		// It can only say that there is no such descriptor.
		_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETFD, flag)
	}
}
