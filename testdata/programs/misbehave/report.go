package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Report is what the process was started with. Limits are those of
// a child: Go's runtime has raised the soft limit of descriptors in this
// process, and puts it back in children.
type Report struct {
	PID, PPID, Group, Session int
	Args, Env                 []string
	Dir                       string
	UID, GID                  int
	Groups                    []int
	Umask                     string // octal
	Nice                      int
	OOMScoreAdj               int
	FDs                       map[string]string // inherited ones: number to what it is
	Limits                    map[string]string // as in /proc/PID/limits: name to "soft hard"
	Cgroup                    string
}

func report(args []string) {
	file := arg(args, 0, "")
	if file == "" {
		fail("report to which file?")
	}
	r := Report{
		PID: os.Getpid(), PPID: os.Getppid(), Group: unix.Getpgrp(),
		Args: os.Args, Env: os.Environ(),
		UID: os.Getuid(), GID: os.Getgid(),
		FDs: descriptors(),
	}
	var err error
	r.Session, err = unix.Getsid(0)
	check(err)
	r.Dir, err = os.Getwd()
	check(err)
	r.Groups, err = os.Getgroups()
	check(err)
	umask := unix.Umask(0)
	unix.Umask(umask)
	r.Umask = strconv.FormatInt(int64(umask), 8)
	prio, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	check(err)
	r.Nice = 20 - prio // the system call's own way to avoid negative results
	oom, err := os.ReadFile("/proc/self/oom_score_adj")
	check(err)
	r.OOMScoreAdj = integer(strings.TrimSpace(string(oom)))
	cgroup, err := os.ReadFile("/proc/self/cgroup")
	check(err)
	for line := range strings.Lines(string(cgroup)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			r.Cgroup = path
		}
	}
	r.Limits = limits()
	b, err := json.MarshalIndent(r, "", "  ")
	check(err)
	// A test waits for the file: it must never see half of it.
	check(os.WriteFile(file+".tmp", b, 0o644))
	check(os.Rename(file+".tmp", file))
	if arg(args, 1, "") == "stay" {
		say()
		forever()
	}
}

// descriptors is read by hand: a directory opened by package os would itself be
// among them, and may start the runtime's poller, which has two.
func descriptors() map[string]string {
	fd, err := unix.Open("/proc/self/fd", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	check(err)
	buf := make([]byte, 64<<10)
	n, err := unix.Getdents(fd, buf)
	check(err)
	fds := map[string]string{}
	_, _, names := unix.ParseDirent(buf[:n], -1, nil)
	for _, name := range names {
		if name == strconv.Itoa(fd) {
			continue
		}
		// One that is close-on-exec was opened by this process: the runtime keeps
		// some of its own.
		n, err := strconv.Atoi(name)
		check(err)
		flags, err := unix.FcntlInt(uintptr(n), unix.F_GETFD, 0)
		check(err)
		if flags&unix.FD_CLOEXEC != 0 {
			continue
		}
		link, err := os.Readlink("/proc/self/fd/" + name)
		check(err)
		fds[name] = link
	}
	check(unix.Close(fd))
	return fds
}

func limits() map[string]string {
	out, err := exec.Command("/bin/cat", "/proc/self/limits").Output()
	check(err)
	m := map[string]string{}
	for line := range strings.Lines(string(out)) {
		// Max open files            1024                 4096                 files
		if len(line) < 69 || strings.HasPrefix(line, "Limit") {
			continue
		}
		m[strings.TrimSpace(line[:26])] = strings.TrimSpace(line[26:47]) + " " + strings.TrimSpace(line[47:68])
	}
	return m
}

// defaultAction gives a signal back to the kernel: the runtime keeps a handler
// even for signals that nobody asked for.
func defaultAction(sig unix.Signal) error {
	var action [64]byte // a struct sigaction of zeros is SIG_DFL
	if sig == unix.SIGKILL || sig == unix.SIGSTOP {
		return nil
	}
	_, _, err := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0)
	if err != 0 {
		return err
	}
	return nil
}
