package proc

import (
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"nines/supervisor/proc/shim"
)

// ErrShimDied is in the error of a start whose nines-exec ended before it
// reached the exec and without saying why: it was killed, or the Go runtime
// could not go on.
var ErrShimDied = errors.New("it ended before the exec")

// rlimits are the resources by the names of prlimit(1).
func rlimit(name string) (uint32, bool) {
	for n, known := range rlimitNames() {
		if known == name {
			return uint32(n), true
		}
	}
	return 0, false
}

// rlimitNames is indexed by RLIMIT_*; the numbers are the same on every
// architecture that Go runs on but MIPS and sparc.
func rlimitNames() [16]string {
	return [16]string{
		unix.RLIMIT_CPU: "cpu", unix.RLIMIT_FSIZE: "fsize", unix.RLIMIT_DATA: "data",
		unix.RLIMIT_STACK: "stack", unix.RLIMIT_CORE: "core", unix.RLIMIT_RSS: "rss",
		unix.RLIMIT_NPROC: "nproc", unix.RLIMIT_NOFILE: "nofile", unix.RLIMIT_MEMLOCK: "memlock",
		unix.RLIMIT_AS: "as", unix.RLIMIT_LOCKS: "locks", unix.RLIMIT_SIGPENDING: "sigpending",
		unix.RLIMIT_MSGQUEUE: "msgqueue", unix.RLIMIT_NICE: "nice", unix.RLIMIT_RTPRIO: "rtprio",
		unix.RLIMIT_RTTIME: "rttime",
	}
}

// settings is the command as nines-exec reads it.
func (s *Spawner) settings(c *Command, path string) ([]byte, error) {
	set := shim.Settings{
		Umask: c.Umask, Nice: c.Nice, OOMScoreAdj: c.OOMScoreAdj,
		Listen: len(c.Listen), Ready: c.ReadyAs, Watchdog: c.Watchdog, Dir: c.Dir, Path: path, Argv: c.Argv, Env: c.Env,
	}
	if cred := s.change(c); cred != nil {
		set.Credential = &shim.Credential{UID: cred.UID, GID: cred.GID, Groups: cred.Groups}
	}
	for _, r := range c.Rlimits {
		n, ok := rlimit(r.Name)
		if !ok {
			return nil, &Error{Step: StepRlimit, Path: r.Name, Why: "there is no such resource", Err: unix.EINVAL}
		}
		if r.Soft > r.Hard {
			return nil, &Error{Step: StepRlimit, Path: r.Name, Why: "the soft limit is above the hard one", Err: unix.EINVAL}
		}
		set.Rlimits = append(set.Rlimits, shim.Rlimit{Resource: n, Soft: r.Soft, Hard: r.Hard})
	}
	b, err := set.Encode()
	if err != nil {
		return nil, &Error{Step: StepExec, Path: path, Err: unix.E2BIG}
	}
	// The shim refuses what it cannot set; said here, it has a name.
	if _, err := shim.Decode(b); err != nil {
		return nil, c.badSetting()
	}
	return b, nil
}

// badSetting names the value that the shim would not take.
func (c *Command) badSetting() error {
	switch {
	case len(c.Listen) > shim.MaxListen:
		return &Error{Step: StepListen, Path: strconv.Itoa(len(c.Listen)) + " sockets", Why: "a service can be given " + strconv.Itoa(shim.MaxListen) + " at most", Err: unix.EINVAL}
	case c.ReadyAs != 0 && (c.ReadyAs < shim.SettingsFD+len(c.Listen) || c.ReadyAs > shim.MaxReady):
		return &Error{Step: StepListen, Path: "descriptor " + strconv.Itoa(c.ReadyAs), Why: "it is one of those that the " + strconv.Itoa(len(c.Listen)) + " sockets get, or above " + strconv.Itoa(shim.MaxReady) + ": let ready.fd be another", Err: unix.EINVAL}
	case c.Umask != nil && *c.Umask > 0o777:
		return &Error{Step: StepUmask, Path: strconv.FormatUint(uint64(*c.Umask), 8), Why: "it is above 0777", Err: unix.EINVAL}
	case c.Nice != nil && (*c.Nice < -20 || *c.Nice > 19):
		return &Error{Step: StepNice, Path: strconv.Itoa(*c.Nice), Why: "it is not within -20 and 19", Err: unix.EINVAL}
	case c.OOMScoreAdj != nil && (*c.OOMScoreAdj < -1000 || *c.OOMScoreAdj > 1000):
		return &Error{Step: StepOOMScoreAdj, Path: strconv.Itoa(*c.OOMScoreAdj), Why: "it is not within -1000 and 1000", Err: unix.EINVAL}
	}
	return &Error{Step: StepShim, Path: c.Argv[0], Err: shim.ErrSettings}
}

// startShim starts c through nines-exec.
func (s *Spawner) startShim(c *Command, path string) (pid int, confirm func() error, err error) {
	if s.shim == "" {
		return 0, nil, &Error{Step: StepShim, Path: "nines-exec", Why: "umask, rlimits, nice, oom_score_adj, listen and heartbeat need it, and it was not found beside nines", Err: unix.ENOENT}
	}
	b, err := s.settings(c, path)
	if err != nil {
		return 0, nil, err
	}
	mem, err := sealed(b)
	if err != nil {
		return 0, nil, &Error{Step: StepClone, Why: "cannot make a memfd", Err: err}
	}
	// No pipe: see StatusFD.
	status, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		// Our end alone: it is parked in the poller.
		if err = unix.SetNonblock(status[0], true); err != nil {
			closeAll(status[0], status[1])
		}
	}
	if err != nil {
		closeAll(mem)
		return 0, nil, &Error{Step: StepClone, Why: "cannot make a socket pair", Err: err}
	}
	sys := &syscall.SysProcAttr{Setsid: true}
	if c.CgroupFD >= 0 {
		sys.UseCgroupFD, sys.CgroupFD = true, c.CgroupFD
	}
	files := []uintptr{s.stdin(c), s.file(c.Stdout), s.file(c.Stderr), uintptr(mem), uintptr(status[1])}
	for _, fd := range c.Listen {
		files = append(files, uintptr(fd))
	}
	if c.ReadyAs != 0 {
		files = append(files, uintptr(c.Ready))
	}
	pid, err = syscall.ForkExec(s.shim, []string{s.shim}, &syscall.ProcAttr{
		// For the shim's own runtime; the service never sees them. It lives for
		// a millisecond: collecting its garbage would only take threads.
		Env:   []string{"GOGC=off", "GOMAXPROCS=1"},
		Files: files,
		Sys:   sys,
	})
	closeAll(mem, status[1])
	if err != nil {
		closeAll(status[0])
		return 0, nil, s.diagnoseShim(c, err)
	}
	says := os.NewFile(uintptr(status[0]), "status of nines-exec")
	return pid, func() error { return s.confirm(c, path, says) }, nil
}

// closeAll closes descriptors that nothing was written to: that it fails
// cannot lose anything.
func closeAll(fds ...int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}

// sealed is a memfd that holds b and that nobody can change any more.
func sealed(b []byte) (int, error) {
	fd, err := unix.MemfdCreate("nines-exec", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return -1, err
	}
	for n := 0; n < len(b); {
		m, err := unix.Pwrite(fd, b[n:], int64(n))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			closeAll(fd)
			return -1, err
		}
		n += m
	}
	_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE)
	if err != nil {
		closeAll(fd)
		return -1, err
	}
	return fd, nil
}

// confirm waits for what the shim says.
func (s *Spawner) confirm(c *Command, path string, status *os.File) error {
	b, err := io.ReadAll(io.LimitReader(status, shim.StatusMax+1))
	if cerr := status.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return &Error{Step: StepShim, Path: s.shim, Why: "cannot read what it says", Err: err}
	}
	reached, f, ok := shim.ParseStatus(b)
	switch {
	case !ok:
		return &Error{Step: StepShim, Path: s.shim, Err: errors.New("it is not of this version: install all programs of nines together")}
	case f != nil:
		return s.failed(c, path, f)
	case !reached:
		return &Error{Step: StepShim, Path: s.shim, Err: ErrShimDied}
	}
	return nil
}

// failed puts a failure of the shim into words.
func (s *Spawner) failed(c *Command, path string, f *shim.Failure) error {
	e := &Error{Err: f.Errno}
	switch f.Step {
	case shim.StepListen:
		e.Step, e.Path = StepListen, strconv.Itoa(len(c.Listen))+" sockets"
	case shim.StepRlimit:
		e.Step, e.Path = StepRlimit, "?"
		if names := rlimitNames(); f.Detail < uint32(len(names)) {
			e.Path = names[f.Detail]
		}
	case shim.StepNice:
		e.Step, e.Path = StepNice, strconv.Itoa(*c.Nice)
	case shim.StepOOMScoreAdj:
		e.Step, e.Path = StepOOMScoreAdj, strconv.Itoa(*c.OOMScoreAdj)
	case shim.StepUser:
		e.Step, e.Path = StepUser, c.Credential.String()
	case shim.StepDirectory:
		return s.as(c, func() *Error { return explainDir(c.Dir, f.Errno) })
	case shim.StepExec:
		return s.as(c, func() *Error { return explainExec(c.Dir, path, f.Errno) })
	case shim.StepSignals:
		e.Step = StepSignals
	default:
		e.Step, e.Path = StepShim, s.shim
	}
	return e
}

// diagnoseShim explains why the shim could not be started.
func (s *Spawner) diagnoseShim(c *Command, err error) error {
	no, ok := err.(syscall.Errno)
	if !ok {
		return &Error{Step: StepShim, Path: s.shim, Err: err}
	}
	if e := diagnoseClone(c, no); e != nil {
		return e
	}
	e := explainExec("", s.shim, no)
	e.Step = StepShim
	if !strings.HasPrefix(s.shim, "/") && e.Why == "" {
		e.Why = "its path is not absolute"
	}
	return e
}

// resetLibrarySignals: 32 and 33 are the C library's own, and make, for one,
// hands them on ignored. The Go runtime leaves them alone, so without this every
// service would begin with them ignored.
func resetLibrarySignals() error {
	for sig := 32; sig < sigRTMin; sig++ {
		if no := shim.ResetSignal(sig); no != 0 {
			return &Error{Step: StepSignals, Why: "cannot reset signal " + strconv.Itoa(sig), Err: no}
		}
	}
	return nil
}
