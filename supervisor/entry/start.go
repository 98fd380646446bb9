package entry

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The exit statuses of a command that did not start, as a shell's.
const (
	exitCannotStart   = 1
	exitNotExecutable = 126
	exitNotFound      = 127
)

// defaultPath is where a command is looked for if there is no PATH.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// lookup finds a command as execvp(3) does.
func lookup(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil // exec says what is wrong with it
	}
	if name == "" {
		return "", unix.ENOENT
	}
	path, ok := getenv(env, "PATH")
	if !ok {
		path = defaultPath
	}
	var found error = unix.ENOENT
	for dir := range strings.SplitSeq(path, ":") {
		if dir == "" {
			dir = "."
		}
		file := dir + "/" + name
		switch info, err := os.Stat(file); {
		case errors.Is(err, unix.EACCES):
			found = unix.EACCES
		case err != nil:
		case info.Mode().IsRegular() && info.Mode()&0o111 != 0:
			return file, nil
		default:
			found = unix.EACCES
		}
	}
	return "", found
}

// getenv is the first value of a name, which is the one that programs see.
func getenv(env []string, name string) (string, bool) {
	for _, v := range env {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value, true
		}
	}
	return "", false
}

// start starts the command. It must run on a locked thread.
func (e *entry) start() error {
	path, err := lookup(e.Argv[0], e.Env)
	if err != nil {
		return err
	}
	attr := &syscall.ProcAttr{Env: e.Env, Files: []uintptr{0, 1, 2}, Sys: e.place()}
	// The child gets the mask of the thread that forks.
	mine := sigmask(unix.SIG_SETMASK, e.blocked)
	defer sigmask(unix.SIG_SETMASK, mine)

	listen, ok := getenv(e.Env, "LISTEN_PID")
	if e.ignored != 0 || ok && listen == strconv.Itoa(e.pid) {
		switch err := e.startByShim(path, attr); {
		case err == nil:
			return nil
		case !errors.Is(err, unix.ENOENT): // no /proc
			return err
		}
		e.say("cannot give the command its ignored signals and LISTEN_PID: there is no /proc/self/exe: mount /proc")
	}
	return e.fork(path, e.Argv, attr)
}

// fork is ForkExec, once more without the terminal if that is why it failed.
func (e *entry) fork(path string, argv []string, attr *syscall.ProcAttr) (err error) {
	e.child, err = syscall.ForkExec(path, argv, attr)
	if (attr.Sys.Foreground || attr.Sys.Setctty) &&
		(errors.Is(err, unix.EIO) || errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EPERM)) {
		// It was hung up, or given to somebody else, at this very moment.
		attr.Sys.Setpgid = !attr.Sys.Setsid
		attr.Sys.Foreground, attr.Sys.Setctty = false, false
		e.child, err = syscall.ForkExec(path, argv, attr)
	}
	if err != nil {
		e.child = 0
	}
	return err
}

// startByShim starts the command through this program once more (see Shim).
func (e *entry) startByShim(path string, attr *syscall.ProcAttr) error {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return err
	}
	defer unix.Close(p[1])
	// Nothing else is started, so nothing else can inherit it.
	if _, err := unix.FcntlInt(uintptr(p[1]), unix.F_SETFD, 0); err != nil {
		unix.Close(p[0])
		return err
	}
	argv := append([]string{os.Args[0], ShimFlag, format(e.ignored), format(e.blocked), strconv.Itoa(p[1]), path}, e.Argv...)
	if err := e.fork("/proc/self/exe", argv, attr); err != nil {
		unix.Close(p[0])
		return err
	}
	e.shim = p[0]
	return nil
}

// whyNotStarted is what to say and the status.
func whyNotStarted(name string, err error) (text string, status int) {
	status = exitNotExecutable
	help := "give the path of a program"
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		status = exitNotFound
		help = "give its path, or look at PATH; a script may lack its interpreter"
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		help = "it must be a file with the permission to execute it (chmod +x), on a mount without noexec"
	case errors.Is(err, unix.ENOEXEC):
		help = "it is not for this machine, or a script without #!/bin/sh as its first line"
	case errors.Is(err, unix.E2BIG):
		help = "make its arguments and environment smaller"
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENOMEM), errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		status = exitCannotStart
		help = "allow more processes, memory or open files (pids.max, memory.max, ulimit)"
	}
	return "cannot run " + strconv.Quote(name) + ": " + err.Error() + ": " + help, status
}

// letGo drops what we inherited and keep for nobody. The descriptors that are
// closed on exec are ours and the runtime's, the others the command's.
func letGo() {
	// If it fails, a mount is busy as long as the command runs.
	_ = unix.Chdir("/")
	// Not os.Open, which makes an epoll instance that is not needed otherwise.
	dir, err := unix.Open("/proc/self/fd", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(dir)
	var b [2048]byte
	var fds []int // closed afterwards, so that none is passed over
	for {
		n, err := unix.Getdents(dir, b[:])
		if err != nil || n <= 0 {
			break
		}
		_, _, names := unix.ParseDirent(b[:n], -1, nil)
		for _, name := range names {
			if fd, err := strconv.Atoi(name); err == nil && fd > 2 {
				fds = append(fds, fd)
			}
		}
	}
	for _, fd := range fds {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			unix.Close(fd)
		}
	}
}
