package main

import (
	"errors"
	"os"
	osexec "os/exec"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// container runs a command in a cgroup, and in a cgroup and a mount namespace
// of its own, where /sys/fs/cgroup shows that cgroup as its root; read-only with
// -ro.
func container(args []string) error {
	ro := len(args) > 0 && args[0] == "-ro"
	if ro {
		args = args[1:]
	}
	if len(args) < 2 {
		return errors.New("cannot run a container: it takes [-ro] CGROUP COMMAND…")
	}
	// What exec leaves is this thread, with its namespaces.
	runtime.LockOSThread()
	if err := os.WriteFile(args[0]+"/cgroup.procs", []byte(strconv.Itoa(os.Getpid())), 0); err != nil {
		return err
	}
	if err := unix.Unshare(unix.CLONE_NEWCGROUP | unix.CLONE_NEWNS); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return os.NewSyscallError("mount", err)
	}
	if err := unix.Unmount("/sys/fs/cgroup", unix.MNT_DETACH); err != nil {
		return os.NewSyscallError("umount", err)
	}
	if err := unix.Mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, ""); err != nil {
		return os.NewSyscallError("mount", err)
	}
	if ro {
		if err := unix.Mount("", "/sys/fs/cgroup", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
			return os.NewSyscallError("mount", err)
		}
	}
	path, err := osexec.LookPath(args[1])
	if err != nil {
		return err
	}
	return os.NewSyscallError("execve", unix.Exec(path, args[1:], os.Environ()))
}
