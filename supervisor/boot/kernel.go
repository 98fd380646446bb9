package boot

import (
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"nines/supervisor/signals"
)

// kernel is the real system.
type kernel struct {
	mask *unix.Sigset_t // as New has it
}

func (kernel) mkdir(path string, mode uint32) error { return unix.Mkdir(path, mode) }
func (kernel) symlink(to, path string) error        { return unix.Symlink(to, path) }
func (kernel) sync()                                { unix.Sync() }
func (kernel) kill(pid int, sig unix.Signal) error  { return unix.Kill(pid, sig) }
func (kernel) reboot(cmd int) error                 { return unix.Reboot(cmd) }
func (kernel) setHostname(name string) error        { return unix.Sethostname([]byte(name)) }

func (kernel) readFile(path string) (string, error) {
	b, err := os.ReadFile(path)
	return string(b), err
}

func (k kernel) hostname() (string, error) {
	name, err := k.readFile("/proc/sys/kernel/hostname")
	return trimLine(name), err
}

func (kernel) exists(path string) bool { return unix.Access(path, unix.X_OK) == nil }

// isMount compares devices: what is mounted by init has another than the folder
// that it is mounted on.
func (kernel) isMount(path string) (bool, error) {
	var at, above unix.Stat_t
	if err := retry(func() error { return unix.Stat(path, &at) }); err != nil {
		return false, err
	}
	if err := retry(func() error { return unix.Stat(path+"/..", &above) }); err != nil {
		return false, err
	}
	return at.Dev != above.Dev, nil
}

func (kernel) mount(source, target, fstype string, flags uintptr, data string) error {
	return retry(func() error { return unix.Mount(source, target, fstype, flags, data) })
}

func (kernel) unmount(target string, flags int) error {
	return retry(func() error { return unix.Unmount(target, flags|unix.UMOUNT_NOFOLLOW) })
}

func (kernel) swapoff(path string) error {
	p, err := unix.BytePtrFromString(path)
	if err != nil {
		return err
	}
	return retry(func() error {
		if _, _, errno := unix.Syscall(unix.SYS_SWAPOFF, uintptr(unsafe.Pointer(p)), 0, 0); errno != 0 {
			return errno
		}
		return nil
	})
}

func (kernel) loopDevices() ([]string, error) {
	dir, err := os.Open("/sys/block")
	if err != nil {
		return nil, err
	}
	names, err := dir.Readdirnames(-1)
	_ = dir.Close() // was only read
	var all []string
	for _, name := range names {
		// The folder loop is there while a file is attached.
		if strings.HasPrefix(name, "loop") && unix.Access("/sys/block/"+name+"/loop/backing_file", unix.F_OK) == nil {
			all = append(all, "/dev/"+name)
		}
	}
	return all, err
}

func (kernel) detachLoop(path string) error {
	fd, err := open(path, unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer closeFD(fd)
	return retry(func() error { return unix.IoctlSetInt(fd, unix.LOOP_CLR_FD, 0) })
}

// loopbackUp sets the interface up; the kernel then gives it 127.0.0.1 and ::1.
func (kernel) loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer closeFD(fd)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, req); err != nil {
		return os.NewSyscallError("ioctl(SIOCGIFFLAGS)", err)
	}
	req.SetUint16(req.Uint16() | unix.IFF_UP)
	return os.NewSyscallError("ioctl(SIOCSIFFLAGS)", unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req))
}

func (kernel) limitFiles(most uint64) (bool, error) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return false, os.NewSyscallError("getrlimit", err)
	}
	if l.Max >= most {
		return false, nil
	}
	// Go has raised the soft limit to the hard one; 1024 is what it was, and what
	// programs that use select(2) can bear.
	err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: min(1024, most), Max: most})
	if err != nil {
		return false, os.NewSyscallError("setrlimit", err)
	}
	return true, nil
}

func open(path string, flags int) (int, error) {
	for {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
		switch err {
		case nil:
			return fd, nil
		case unix.EINTR:
		default:
			return -1, &os.PathError{Op: "open", Path: path, Err: err}
		}
	}
}

// console gives us /dev/console where we have no stdio. The kernel opens it for
// its init, unless there was none yet: then Go's runtime has put /dev/null there.
// With tty the terminal is made usable, whoever left it in which state.
func (kernel) console(tty bool) error {
	var null, fd unix.Stat_t
	lacking := false
	for n := range 3 {
		if unix.Fstat(n, &fd) != nil || unix.Stat("/dev/null", &null) == nil && fd.Rdev == null.Rdev && fd.Mode&unix.S_IFMT == unix.S_IFCHR {
			lacking = true
		}
	}
	if lacking {
		con, err := open("/dev/console", unix.O_RDWR|unix.O_NONBLOCK)
		if err != nil {
			return err // a machine without one
		}
		// Nonblocking only so that the opening waits for no carrier.
		err = unix.SetNonblock(con, false)
		for n := range 3 {
			err = errors.Join(err, unix.Dup3(con, n, unix.O_CLOEXEC)) // children are given it by name
		}
		closeFD(con)
		if err != nil {
			return err
		}
	}
	if !tty {
		return nil
	}
	return saneTerminal(0)
}

// saneTerminal is what `stty sane` does, but for the speed and size of
// characters, which the kernel's command line or the firmware has set.
func saneTerminal(fd int) error {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil // it is no terminal
	}
	t.Iflag = t.Iflag&^(unix.IGNBRK|unix.BRKINT|unix.ISTRIP|unix.INLCR|unix.IGNCR|unix.IUCLC) | unix.ICRNL | unix.IMAXBEL | unix.IUTF8
	t.Oflag |= unix.OPOST | unix.ONLCR
	t.Cflag |= unix.CREAD
	t.Lflag = t.Lflag&^(unix.TOSTOP|unix.ECHOPRT) | unix.ISIG | unix.ICANON | unix.IEXTEN | unix.ECHO | unix.ECHOE | unix.ECHOK | unix.ECHOCTL | unix.ECHOKE
	for i, c := range map[int]byte{unix.VINTR: 3, unix.VQUIT: 28, unix.VERASE: 127, unix.VKILL: 21, unix.VEOF: 4, unix.VSTART: 17, unix.VSTOP: 19, unix.VSUSP: 26,
		unix.VREPRINT: 18, unix.VWERASE: 23, unix.VLNEXT: 22, unix.VTIME: 0, unix.VMIN: 1} {
		t.Cc[i] = c
	}
	return os.NewSyscallError("ioctl(TCSETS)", unix.IoctlSetTermios(fd, unix.TCSETS, t))
}

func (k kernel) spawnShell(argv, env []string) (int, error) {
	con, err := open("/dev/console", unix.O_RDWR)
	if err != nil {
		return 0, err
	}
	defer closeFD(con)
	fd := uintptr(con)
	fork := func(_ *unix.Sigset_t, f func()) { f() }
	if k.mask != nil {
		fork = signals.Fork
	}
	var pid int
	fork(k.mask, func() {
		pid, err = syscall.ForkExec(argv[0], argv, &syscall.ProcAttr{
			Dir: "/", Env: env, Files: []uintptr{fd, fd, fd},
			Sys: &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0},
		})
	})
	if err != nil {
		return 0, &os.PathError{Op: "exec", Path: argv[0], Err: err}
	}
	return pid, nil
}

func (kernel) processes(each func(process)) error {
	dir, err := os.Open("/proc")
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }() // was only read
	for {
		names, err := dir.Readdirnames(256)
		if len(names) == 0 {
			if err != nil && err != io.EOF {
				return err
			}
			return nil
		}
		for _, name := range names {
			pid, err := strconv.Atoi(name)
			if err != nil || pid <= 1 {
				continue
			}
			if p, ok := readProcess(pid); ok {
				each(p)
			}
		}
	}
}

// readProcess looks at one; false: it is gone, or a zombie, which only its
// parent can help.
func readProcess(pid int) (process, bool) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return process{}, false
	}
	p, ok := parseStat(pid, string(stat))
	if !ok || p.kernel {
		return p, ok
	}
	if argv, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline"); err == nil {
		p.stays = len(argv) > 0 && argv[0] == '@'
	}
	return p, true
}

const pfKthread = 0x00200000 // PF_KTHREAD of linux/sched.h

// parseStat reads /proc/PID/stat: the name may hold anything, so from its end.
func parseStat(pid int, text string) (process, bool) {
	f := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(f) < 7 || f[0] == "Z" || f[0] == "X" {
		return process{}, false
	}
	flags, err := strconv.ParseUint(f[6], 10, 64)
	return process{pid: pid, kernel: err == nil && flags&pfKthread != 0}, true
}

func (kernel) reap() (int, unix.WaitStatus) {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		switch {
		case err == unix.EINTR:
		case err != nil: // ECHILD
			return 0, 0
		default:
			return pid, status
		}
	}
}
