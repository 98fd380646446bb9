package proc

import (
	"debug/elf"
	"errors"
	"io"
	"os"
	"path"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// diagnose finds out which step of a clone failed: all that the child can tell
// is an errno. Steps are tried again, as the user, in the order in which the
// child does them; the first that fails now is the one. If none does, things
// have changed meanwhile, and the exec is blamed.
func (s *Spawner) diagnose(c *Command, file string, err error) error {
	no, ok := err.(syscall.Errno)
	if !ok {
		return &Error{Step: StepExec, Path: file, Err: err}
	}
	if e := diagnoseClone(c, no); e != nil {
		return e
	}
	if cred := s.change(c); cred != nil && (no == unix.EPERM || no == unix.EINVAL) {
		if e := s.diagnoseUser(cred, no); e != nil {
			return e
		}
	}
	return s.as(c, func() *Error {
		if c.Dir != "" {
			if e := tryDir(c.Dir); e != nil {
				return e
			}
		}
		return explainExec(c.Dir, file, no)
	})
}

// diagnoseClone explains what failed before there was a child, nil if it was
// not that.
func diagnoseClone(c *Command, no syscall.Errno) *Error {
	if passing(no) {
		return &Error{Step: StepClone, Err: no}
	}
	if c.CgroupFD < 0 {
		return nil
	}
	switch no {
	case unix.ENOSYS:
		return &Error{Step: StepCgroup, Why: "the kernel or a seccomp filter refuses clone3 (Linux 5.7 is needed)", Err: no}
	case unix.EBADF:
		return &Error{Step: StepCgroup, Why: "the descriptor is not one of a cgroup", Err: no}
	case unix.ENODEV, unix.ENOENT:
		// ENOENT may as well be the program's.
		if unix.Faccessat(c.CgroupFD, "cgroup.procs", unix.F_OK, 0) != nil {
			return &Error{Step: StepCgroup, Why: "it has been removed", Err: no}
		}
	case unix.EBUSY:
		return &Error{Step: StepCgroup, Why: "it gives controllers to children, so no process may live in it", Err: no}
	case unix.EOPNOTSUPP:
		return &Error{Step: StepCgroup, Why: "it is threaded or invalid", Err: no}
	case unix.EACCES:
		if err := unix.Faccessat(c.CgroupFD, "cgroup.procs", unix.W_OK, unix.AT_EACCESS); err != nil {
			return &Error{Step: StepCgroup, Why: "its cgroup.procs is not ours to write", Err: no}
		}
	}
	return nil
}

// diagnoseUser tells a failed change of user from one that worked.
func (s *Spawner) diagnoseUser(cred *Credential, no syscall.Errno) *Error {
	e := &Error{Step: StepUser, Path: cred.String(), Err: no}
	err := asUser(cred, func() {})
	if err == nil {
		return nil
	}
	if no == unix.EINVAL {
		e.Why = "it does not exist in this user namespace"
	}
	return e
}

// as runs fn as the user of c; if that cannot be, as we are: then a file that
// the user may not reach is explained less well.
func (s *Spawner) as(c *Command, fn func() *Error) *Error {
	var e *Error
	if cred := s.change(c); cred != nil {
		if asUser(cred, func() { e = fn() }) == nil {
			return e
		}
	}
	return fn()
}

// asUser runs fn on a thread whose view of files is cred's. No other thread
// changes.
func asUser(cred *Credential, fn func()) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		groups, err := unix.Getgroups()
		if err != nil {
			runtime.UnlockOSThread()
			result <- err
			return
		}
		uid, gid := unix.Geteuid(), unix.Getegid()
		if err = fsBecome(int(cred.UID), int(cred.GID), toInts(cred.Groups)); err == nil {
			fn()
		}
		if fsBecome(uid, gid, groups) == nil {
			runtime.UnlockOSThread()
		} // else the thread ends with the goroutine, and nobody gets it
		result <- err
	}()
	return <-result
}

// fsBecome sets the calling thread's groups and the ids that files are opened
// with. The user comes first on the way back to root and last on the way from
// it, for what it may do depends on it; both orders are tried.
func fsBecome(uid, gid int, groups []int) error {
	// The result of these two is the id before; whether it worked is seen only
	// by asking again with an id that does not exist.
	set := func(uid int) bool {
		_, _ = unix.SetfsuidRetUid(uid)
		now, _ := unix.SetfsuidRetUid(-1)
		return now == uid
	}
	back := uid == unix.Geteuid()
	if back && !set(uid) {
		return unix.EPERM
	}
	if err := unix.Setgroups(groups); err != nil {
		return err
	}
	_, _ = unix.SetfsgidRetGid(gid) // as above: the next line asks
	if now, _ := unix.SetfsgidRetGid(-1); now != gid {
		return unix.EPERM
	}
	if !back && !set(uid) {
		return unix.EPERM
	}
	return nil
}

func toInts(ids []uint32) []int {
	v := make([]int, len(ids))
	for i, id := range ids {
		v[i] = int(id)
	}
	return v
}

// access asks as the calling thread's file ids say.
func access(file string, mode uint32) error {
	return unix.Faccessat(unix.AT_FDCWD, file, mode, unix.AT_EACCESS)
}

// tryDir tries to enter dir, without doing it.
func tryDir(dir string) *Error {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == nil {
		closeAll(fd)
		err = access(dir, unix.X_OK)
	}
	if no, ok := err.(syscall.Errno); ok {
		return explainDir(dir, no)
	}
	return nil
}

func explainDir(dir string, no syscall.Errno) *Error {
	e := &Error{Step: StepDirectory, Path: dir, Err: no}
	if no == unix.EACCES {
		e.Why = barrier(dir)
	}
	return e
}

// barrier names the first folder on the way to file that may not be entered.
func barrier(file string) string {
	for i := 1; i < len(file); i++ {
		if file[i] != '/' {
			continue
		}
		if access(file[:i], unix.X_OK) == unix.EACCES {
			return "permission denied: the folder " + file[:i] + " may not be entered"
		}
	}
	return ""
}

// explainExec says why file, seen from dir, could not be executed.
func explainExec(dir, file string, no syscall.Errno) *Error {
	e := &Error{Step: StepExec, Path: file, Err: no}
	full := file
	if !strings.HasPrefix(full, "/") && dir != "" {
		full = path.Join(dir, full)
	}
	var st unix.Stat_t
	if err := unix.Stat(full, &st); err != nil {
		if err == unix.EACCES {
			e.Why = barrier(full)
		}
		return e
	}
	// It is there.
	switch no {
	case unix.ENOENT, unix.ENOTDIR, unix.ELOOP, unix.ELIBBAD:
		if name := interpreter(full); name != "" {
			e.Why = "its interpreter " + name + " does not exist"
		}
	case unix.EACCES, unix.EISDIR:
		e.Why = whyNotExecutable(full, &st)
	case unix.EPERM:
		e.Why = "not permitted: it has file capabilities that may not be given here, or a security module forbids it"
	case unix.ENOEXEC:
		e.Why = whyNoFormat(full)
	case unix.EINVAL:
		e.Why = "not a valid executable"
	}
	return e
}

// whyNotExecutable explains EACCES of a file that is there.
func whyNotExecutable(file string, st *unix.Stat_t) string {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return "it is a folder"
	case unix.S_IFREG:
	default:
		return "it is not a regular file"
	}
	if access(file, unix.X_OK) != nil {
		var fs unix.Statfs_t
		if unix.Statfs(file, &fs) == nil && fs.Flags&unix.ST_NOEXEC != 0 {
			return "permission denied: its filesystem is mounted noexec"
		}
		if st.Mode&0o111 == 0 {
			return "permission denied: it has no execute permission; try chmod +x"
		}
		return "permission denied: its mode or owner does not let this user execute it"
	}
	if name := interpreter(file); name != "" && access(name, unix.X_OK) != nil {
		return "permission denied: its interpreter " + name + " is not executable"
	}
	return ""
}

// The first bytes of a file that tell what it is; the kernel too reads no
// longer a first line.
const headSize = 256

// head is the beginning of a regular file, empty if it cannot be read.
func head(file string) []byte {
	f, err := os.OpenFile(file, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }() // read only
	b := make([]byte, headSize)
	n, err := io.ReadFull(f, b)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return b[:n]
}

// interpreter is what a script's first line or a program's ELF header names,
// "" if neither can be read.
func interpreter(file string) string {
	b := head(file)
	if line, ok := strings.CutPrefix(string(b), "#!"); ok {
		line, _, _ = strings.Cut(line, "\n")
		if strings.HasSuffix(line, "\r") {
			// The classic: written on Windows, and the name ends in it.
			name, _, _ := strings.Cut(strings.TrimSpace(strings.TrimSuffix(line, "\r")), " ")
			return name + `\r (the line ends in a carriage return; try dos2unix)`
		}
		if fields := strings.Fields(line); len(fields) > 0 {
			return fields[0]
		}
		return ""
	}
	if !strings.HasPrefix(string(b), elf.ELFMAG) {
		return ""
	}
	f, err := elf.Open(file)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }() // read only
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP || p.Filesz > unix.PathMax {
			continue
		}
		name := make([]byte, p.Filesz)
		if _, err := p.ReadAt(name, 0); err != nil {
			return ""
		}
		return strings.TrimRight(string(name), "\x00")
	}
	return ""
}

// whyNoFormat explains ENOEXEC.
func whyNoFormat(file string) string {
	b := head(file)
	const lead = "not an executable format: "
	switch {
	case b == nil:
		var st unix.Stat_t
		if unix.Stat(file, &st) == nil && st.Size == 0 {
			return lead + "it is empty"
		}
		return ""
	case strings.HasPrefix(string(b), elf.ELFMAG):
		f, err := elf.Open(file)
		if err != nil {
			return lead + "its ELF header is damaged"
		}
		defer func() { _ = f.Close() }() // read only
		return lead + "it is made for another machine (" + f.Machine.String() + ")"
	case strings.HasPrefix(string(b), "#!"):
		return lead + "its first line names no interpreter"
	}
	for _, c := range b {
		if c == 0 {
			return ""
		}
	}
	return lead + "a script must begin with #! and its interpreter"
}
