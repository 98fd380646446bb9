package boot

import (
	"time"

	"golang.org/x/sys/unix"
)

// system is what the machine's init asks of the kernel; tests have another one,
// because these calls end or change the machine they are made on.
type system interface {
	mkdir(path string, mode uint32) error
	symlink(to, path string) error
	readFile(path string) (string, error)
	isMount(path string) (bool, error) // whether path is the root of a mount; ENOENT
	mount(source, target, fstype string, flags uintptr, data string) error
	unmount(target string, flags int) error
	swapoff(path string) error
	loopDevices() ([]string, error) // attached, by path
	detachLoop(path string) error
	setHostname(name string) error
	hostname() (string, error)
	loopbackUp() error
	limitFiles(most uint64) (raised bool, err error)
	console(tty bool) error // stdio, and a sane terminal
	// spawnShell starts argv on the console, in a session of its own whose
	// controlling terminal that is.
	spawnShell(argv, env []string) (pid int, err error)
	exists(path string) bool
	processes(each func(process)) error // all but ourselves
	kill(pid int, sig unix.Signal) error
	reap() (pid int, status unix.WaitStatus) // pid 0: none has ended
	sync()
	reboot(cmd int) error
}

// process is one entry of /proc.
type process struct {
	pid    int
	kernel bool // a kernel thread
	stays  bool // argv[0] begins with '@': it serves the root filesystem
}

// Watchdog is the hardware watchdog, as far as it is petted here.
type Watchdog interface {
	// Interval is how often it wants to be petted; 0: it is not open.
	Interval() time.Duration
	Pet() error
	// Close lets go of it: armed, or, with disarm, so that it does not bite.
	Close(disarm bool) error
}
