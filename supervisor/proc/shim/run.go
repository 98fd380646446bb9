package shim

import (
	"runtime"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The exit statuses of nines-exec, as a shell's.
const (
	exitFailed        = 1
	exitNotExecutable = 126
	exitNotFound      = 127
)

// Run is nines-exec: it reads the settings, applies them and execs. It returns
// only when that failed, with the exit status, after having said on the status
// socket what failed.
func Run() (status int) {
	// Nice, credentials and the signal mask are a thread's, and the thread that
	// execs is what the service becomes.
	runtime.LockOSThread()
	unix.CloseOnExec(StatusFD)
	say := speaker(StatusFD)

	s, err := read()
	if err != 0 {
		return say.fail(Failure{Step: StepSettings, Errno: err})
	}
	// First of all: a limit on descriptors is the service's.
	if say, err = s.descriptors(say); err != 0 {
		return say.fail(Failure{Step: StepListen, Errno: err})
	}
	if f := s.apply(); f.Errno != 0 {
		return say.fail(f)
	}
	// Tells the spawner that what ends the process from here on is no longer
	// us. If it cannot be told, there is nobody to tell.
	_ = say.send([]byte{recordReached})
	return say.fail(Failure{Step: StepExec, Errno: errno(syscall.Exec(s.Path, s.Argv, s.Env))})
}

// speaker is the descriptor of the status socket.
type speaker int

// send says it to whoever still listens. The signals are the service's by then:
// a SIGPIPE would end it.
func (say speaker) send(b []byte) error {
	for {
		if err := unix.Send(int(say), b, unix.MSG_NOSIGNAL); err != unix.EINTR {
			return err
		}
	}
}

// fail tells the spawner and gives the exit status.
func (say speaker) fail(f Failure) int {
	if err := say.send(appendFailure(nil, f)); err == unix.EBADF || err == unix.ENOTSOCK {
		// Not started by the spawner. Any other error means that it is gone,
		// and there is nobody to tell.
		_, _ = unix.Write(unix.Stderr, []byte("nines-exec: cannot read its settings: only the supervisor can start it\n"))
	}
	if f.Step != StepExec {
		return exitFailed
	}
	if f.Errno == unix.ENOENT || f.Errno == unix.ENOTDIR {
		return exitNotFound
	}
	return exitNotExecutable
}

// descriptors moves the listening sockets from ListenFD to where sd_listen_fds(3)
// looks for them, and what is behind them to where the service says ready, and
// adds the variables that hold our pid, which is the service's. The status socket,
// which is in their way, moves behind them all.
func (s *Settings) descriptors(say speaker) (speaker, syscall.Errno) {
	if s.Watchdog {
		s.Env = append(s.Env, "WATCHDOG_PID="+strconv.Itoa(unix.Getpid()))
	}
	if s.Listen == 0 && s.Ready == 0 {
		return say, 0
	}
	behind := max(ListenFD+s.Listen, s.Ready) + 1
	moved, err := unix.FcntlInt(uintptr(say), unix.F_DUPFD_CLOEXEC, behind)
	if err != nil {
		return say, errno(err)
	}
	if err := unix.Close(int(say)); err != nil {
		return say, errno(err)
	}
	say = speaker(moved)
	ready := -1
	if s.Ready != 0 {
		if ready, err = unix.FcntlInt(uintptr(ListenFD+s.Listen), unix.F_DUPFD_CLOEXEC, behind); err != nil {
			return say, errno(err)
		}
		if err := unix.Close(ListenFD + s.Listen); err != nil {
			return say, errno(err)
		}
	}
	// Ascending: what is overwritten was moved before, or is StatusFD's copy.
	const passOn = 0 // not close-on-exec: the service is to have it
	for i := range s.Listen {
		if err := unix.Dup3(ListenFD+i, SettingsFD+i, passOn); err != nil {
			return say, errno(err)
		}
	}
	// What was not overwritten above: the ones that came last.
	for fd := max(ListenFD, SettingsFD+s.Listen); fd < ListenFD+s.Listen; fd++ {
		if err := unix.Close(fd); err != nil {
			return say, errno(err)
		}
	}
	if s.Listen > 0 {
		s.Env = append(s.Env, "LISTEN_PID="+strconv.Itoa(unix.Getpid()))
	}
	if ready >= 0 {
		if err := unix.Dup3(ready, s.Ready, passOn); err != nil {
			return say, errno(err)
		}
		if err := unix.Close(ready); err != nil {
			return say, errno(err)
		}
	}
	return say, 0
}

// errno is the errno in an error of a system call.
func errno(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	if no, ok := err.(syscall.Errno); ok {
		return no
	}
	return unix.EINVAL // ours, not the kernel's: a NUL in an argument
}

// read reads the settings and closes their descriptor, so that the service
// does not get it.
func read() (*Settings, syscall.Errno) {
	var st unix.Stat_t
	if err := unix.Fstat(SettingsFD, &st); err != nil {
		return nil, errno(err)
	}
	if st.Size > MaxSize {
		return nil, unix.E2BIG
	}
	b := make([]byte, st.Size)
	for n := 0; n < len(b); {
		m, err := unix.Pread(SettingsFD, b[n:], int64(n))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, errno(err)
		}
		if m == 0 {
			return nil, unix.EINVAL
		}
		n += m
	}
	if err := unix.Close(SettingsFD); err != nil {
		return nil, errno(err)
	}
	s, err := Decode(b)
	if err != nil {
		return nil, unix.EINVAL
	}
	return s, 0
}

// apply does everything but the exec. The order:
//
//   - rlimits, nice, oom_score_adj while we may still raise them;
//   - credentials, after which we may not;
//   - umask, which no step before it should be subject to;
//   - the directory as the user, who may not be allowed into it;
//   - signals last, for the runtime lives by them.
//
// From the limits on, everything is a raw system call on this thread: a limit
// on address space or processes must not meet the runtime making a thread.
func (s *Settings) apply() Failure {
	s.prepare()
	for _, r := range s.Rlimits {
		// Also tells syscall.Exec that the soft limit of descriptors, which the
		// runtime has raised at start, is not to be put back to the old one.
		lim := unix.Rlimit{Cur: r.Soft, Max: r.Hard}
		if err := unix.Prlimit(0, int(r.Resource), &lim, nil); err != nil {
			return Failure{StepRlimit, errno(err), r.Resource}
		}
	}
	if s.Nice != nil {
		if err := unix.Setpriority(unix.PRIO_PROCESS, 0, *s.Nice); err != nil {
			return Failure{Step: StepNice, Errno: errno(err)}
		}
	}
	if s.OOMScoreAdj != nil {
		if err := setOOMScoreAdj(*s.OOMScoreAdj); err != 0 {
			return Failure{Step: StepOOMScoreAdj, Errno: err}
		}
	}
	if c := s.Credential; c != nil {
		if err := c.become(); err != 0 {
			return Failure{Step: StepUser, Errno: err}
		}
	}
	if s.Umask != nil {
		unix.Umask(int(*s.Umask))
	}
	if s.Dir != "" {
		if err := unix.Chdir(s.Dir); err != nil {
			return Failure{Step: StepDirectory, Errno: errno(err)}
		}
	}
	if err := resetSignals(); err != 0 {
		return Failure{Step: StepSignals, Errno: err}
	}
	return Failure{}
}

// prepare takes the memory that syscall.Exec needs to copy the arguments while
// there is no limit on it yet. Without it, a service with a low limit of
// address space and a large environment could not be started: the runtime
// would find no memory and throw.
func (s *Settings) prepare() {
	for _, r := range s.Rlimits {
		if r.Resource != unix.RLIMIT_AS && r.Resource != unix.RLIMIT_DATA {
			continue
		}
		size := 1 << 20
		for _, list := range [][]string{s.Argv, s.Env} {
			for _, v := range list {
				size += 2*len(v) + 64
			}
		}
		grow(size)
		runtime.GC() // what grow took is the heap's to give again
		return
	}
}

//go:noinline
func grow(size int) {
	b := make([]byte, size)
	runtime.KeepAlive(b)
}

func setOOMScoreAdj(v int) syscall.Errno {
	fd, err := unix.Open("/proc/self/oom_score_adj", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return errno(err)
	}
	_, err = unix.Write(fd, strconv.AppendInt(nil, int64(v), 10))
	if cerr := unix.Close(fd); err == nil {
		err = cerr
	}
	return errno(err)
}

// become takes the credentials on, for this thread alone: package syscall
// would change them for every thread of the process, which an exec ends anyway.
func (c *Credential) become() syscall.Errno {
	groups := make([]int, len(c.Groups))
	for i, g := range c.Groups {
		groups[i] = int(g)
	}
	if err := unix.Setgroups(groups); err != nil {
		return errno(err)
	}
	if _, _, err := unix.RawSyscall(unix.SYS_SETRESGID, uintptr(c.GID), uintptr(c.GID), uintptr(c.GID)); err != 0 {
		return err
	}
	_, _, err := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(c.UID), uintptr(c.UID), uintptr(c.UID))
	return err
}

// numSignals is the kernel's, and sigsetSize the bytes of a set of them.
const (
	numSignals = 64
	sigsetSize = numSignals / 8
)

// ResetSignal gives one signal its default disposition in this process, behind
// the back of the Go runtime: for signals that it does not use.
func ResetSignal(sig int) syscall.Errno {
	var action [64]byte // a struct sigaction of zeros is SIG_DFL on every architecture
	_, _, err := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&action)), 0, sigsetSize, 0, 0)
	return err
}

// resetSignals gives every signal its default disposition and unblocks all:
// exec resets handlers, but keeps what is ignored or blocked.
func resetSignals() syscall.Errno {
	for sig := 1; sig <= numSignals; sig++ {
		if sig == int(unix.SIGKILL) || sig == int(unix.SIGSTOP) {
			continue
		}
		if err := ResetSignal(sig); err != 0 {
			return err
		}
	}
	var none unix.Sigset_t
	_, _, err := unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&none)), 0, sigsetSize, 0, 0)
	return err
}
