package proc

import (
	"errors"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// DefaultPath is where programs are looked for when Env has no PATH.
const DefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Spawner starts processes. It may be used from many goroutines.
type Spawner struct {
	shim string
	null int
	self *Credential
	// viaShim: we were started with signals blocked, and what the runtime
	// gives to children is the mask that it was started with.
	viaShim bool
	drop    chan os.Signal
}

// NewSpawner makes one. shim is the path of nines-exec; without it ("") only
// what one clone can do is done.
//
// It also sees to it, for this process as a whole, that children inherit
// nothing from whoever started us: every descriptor above 2 becomes
// close-on-exec, and SIGHUP and SIGINT, if ignored (nohup), are received and
// dropped instead.
func NewSpawner(shim string) (*Spawner, error) {
	self, err := current()
	if err != nil {
		return nil, err
	}
	if err := closeOnExec(); err != nil {
		return nil, &Error{Step: StepClone, Why: "cannot mark descriptors close-on-exec", Err: err}
	}
	blocked, err := anyBlocked()
	if err != nil {
		return nil, &Error{Step: StepSignals, Why: "cannot read the mask", Err: err}
	}
	null, err := openNull(os.DevNull)
	if err != nil {
		return nil, &Error{Step: StepClone, Path: os.DevNull, Why: "cannot open " + os.DevNull, Err: err}
	}
	s := &Spawner{shim: shim, null: null, self: self, viaShim: blocked, drop: make(chan os.Signal, 1)}
	// What is ignored stays ignored across exec, what is handled does not. The
	// runtime handles every signal but these two if they were ignored before.
	for _, sig := range []os.Signal{unix.SIGHUP, unix.SIGINT} {
		if signal.Ignored(sig) {
			signal.Notify(s.drop, sig) // the channel is never read: the signal is lost
		}
	}
	if err := resetLibrarySignals(); err != nil {
		return nil, err
	}
	return s, nil
}

// openNull opens what children read nothing from. Where there is no /dev, as in
// a bare chroot, it is the end of a pipe that nobody writes to.
func openNull(path string) (int, error) {
	var fd int
	err := retry(func() (err error) {
		fd, err = unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
		return err
	})
	if err == nil {
		return fd, nil
	}
	var p [2]int
	if unix.Pipe2(p[:], unix.O_CLOEXEC) != nil {
		return -1, err // the first error is the one to tell
	}
	Close(p[1])
	return p[0], nil
}

// Close gives back what the Spawner holds. Children live on.
func (s *Spawner) Close() error {
	signal.Stop(s.drop)
	return unix.Close(s.null)
}

// Start starts c. When err is nil there is a process, pid; it must be reaped
// whatever comes after. When confirm is nil too, it has executed c. Otherwise
// confirm blocks until it has, or says why it has not; it must be called, once,
// from a goroutine that may wait. What the process of a failed confirm exits
// with means nothing.
//
// Errors are of type *Error. The descriptors in c may be closed when Start has
// returned.
func (s *Spawner) Start(c *Command) (pid int, confirm func() error, err error) {
	path, err := c.resolve()
	if err != nil {
		return 0, nil, err
	}
	if s.viaShim || c.needsShim() {
		return s.startShim(c, path)
	}
	sys := &syscall.SysProcAttr{Setsid: true}
	if cred := s.change(c); cred != nil {
		sys.Credential = &syscall.Credential{Uid: cred.UID, Gid: cred.GID, Groups: cred.Groups}
	}
	if c.CgroupFD >= 0 {
		sys.UseCgroupFD, sys.CgroupFD = true, c.CgroupFD
	}
	files := []uintptr{s.stdin(c), s.file(c.Stdout), s.file(c.Stderr)}
	if c.ReadyAs != 0 {
		for len(files) < c.ReadyAs {
			files = append(files, ^uintptr(0)) // closed
		}
		files = append(files, uintptr(c.Ready))
	}
	pid, err = syscall.ForkExec(path, c.Argv, &syscall.ProcAttr{
		Dir:   c.Dir,
		Env:   c.Env,
		Files: files,
		Sys:   sys,
	})
	if err != nil {
		return 0, nil, s.diagnose(c, path, err)
	}
	return pid, nil, nil
}

// stdin is the descriptor that the child gets as 0.
func (s *Spawner) stdin(c *Command) uintptr {
	if c.Stdin <= 0 {
		return uintptr(s.null)
	}
	return uintptr(c.Stdin)
}

// file is the descriptor that the child gets.
func (s *Spawner) file(fd int) uintptr {
	if fd < 0 {
		return uintptr(s.null)
	}
	return uintptr(fd)
}

// change is the credential to take on, nil if it is our own.
func (s *Spawner) change(c *Command) *Credential {
	if c.Credential == nil || c.Credential.same(s.self) {
		return nil
	}
	return c.Credential
}

// resolve checks the command and finds what to execute: Argv[0] itself if it
// has a slash (from Dir, if relative), else the first match in PATH.
func (c *Command) resolve() (string, error) {
	if len(c.Argv) == 0 || c.Argv[0] == "" {
		return "", &Error{Step: StepLookup, Path: "a program", Why: "the command is empty", Err: unix.EINVAL}
	}
	if strings.IndexByte(c.Dir, 0) >= 0 {
		return "", &Error{Step: StepDirectory, Path: strconv.Quote(c.Dir), Why: "it contains a NUL byte", Err: unix.EINVAL}
	}
	for _, list := range [][]string{c.Argv, c.Env} {
		for _, v := range list {
			if strings.IndexByte(v, 0) >= 0 {
				name, _, _ := strings.Cut(v, "=") // the value may be a secret
				return "", &Error{Step: StepExec, Path: c.Argv[0], Why: "an argument or variable contains a NUL byte: " + strconv.Quote(name), Err: unix.EINVAL}
			}
		}
	}
	if strings.IndexByte(c.Argv[0], '/') >= 0 {
		return c.Argv[0], nil
	}
	return c.lookup()
}

// lookup finds Argv[0] in PATH. Relative folders in PATH are passed over: they
// would be relative to where the supervisor happens to be.
func (c *Command) lookup() (string, error) {
	path, name := c.path(), c.Argv[0]
	var refused string
	for dir := range strings.SplitSeq(path, ":") {
		if dir == "" || dir[0] != '/' {
			continue
		}
		file := dir + "/" + name
		var st unix.Stat_t
		if unix.Stat(file, &st) != nil || st.Mode&unix.S_IFMT == unix.S_IFDIR {
			continue
		}
		// Executable by anybody: whether by the service's user, exec will say.
		if st.Mode&0o111 != 0 {
			return file, nil
		}
		if refused == "" {
			refused = file
		}
	}
	if refused != "" {
		return "", &Error{Step: StepLookup, Path: name, Why: "the only one in PATH, " + refused + ", has no permission to be executed", Err: unix.EACCES}
	}
	return "", &Error{Step: StepLookup, Path: name, Why: "it is in no folder of PATH " + path, Err: unix.ENOENT}
}

func (c *Command) path() string {
	path := DefaultPath
	for _, v := range c.Env {
		if p, ok := strings.CutPrefix(v, "PATH="); ok {
			path = p // the last one wins, as in a shell
		}
	}
	return path
}

// closeOnExec marks every descriptor above 2.
func closeOnExec() error {
	err := unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC)
	if err == nil {
		return nil
	}
	// Linux before 5.11, or a seccomp filter.
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd <= 2 {
			continue
		}
		// EBADF: the descriptor of the listing itself, closed by now.
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC); err != nil && !errors.Is(err, unix.EBADF) {
			return err
		}
	}
	return nil
}

// anyBlocked says whether this process was started with signals blocked.
func anyBlocked() (bool, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var set unix.Sigset_t
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, nil, &set); err != nil {
		return false, err
	}
	for _, word := range set.Val {
		if word != 0 {
			return true, nil
		}
	}
	return false, nil
}
