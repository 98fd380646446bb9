package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// mounts is what an init mounts before anything runs.
var mounts = []struct {
	source, target, kind string
	flags                uintptr
	data                 string
}{
	{"proc", "/proc", "proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
	{"sysfs", "/sys", "sysfs", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
	{"devtmpfs", "/dev", "devtmpfs", unix.MS_NOSUID, "mode=0755"},
	{"devpts", "/dev/pts", "devpts", unix.MS_NOSUID | unix.MS_NOEXEC, "mode=0620,gid=5,ptmxmode=0666"},
	{"tmpfs", "/dev/shm", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777"},
	{"tmpfs", "/run", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=0755"},
	{"tmpfs", "/tmp", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777"},
	{"cgroup2", "/sys/fs/cgroup", "cgroup2", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, "nsdelegate,memory_recursiveprot"},
}

// prepare makes a machine of what the kernel gives.
func prepare() error {
	for _, m := range mounts {
		if err := os.MkdirAll(m.target, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.source, m.target, m.kind, m.flags, m.data); err != nil {
			return fmt.Errorf("cannot mount %s: %w", m.target, err)
		}
	}
	if err := loadModules(); err != nil {
		return err
	}
	if err := mountDisks(); err != nil {
		return err
	}
	if err := loopback(); err != nil {
		return fmt.Errorf("cannot bring up the loopback interface: %w", err)
	}
	// The kernel's own hard limit for PID 1 is 4096; systemd raises it too.
	limit := unix.Rlimit{Cur: 1 << 19, Max: 1 << 19}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return os.NewSyscallError("setrlimit", err)
	}
	return os.NewSyscallError("sethostname", unix.Sethostname([]byte("vm")))
}

// loadModules loads what the host listed, in its order.
func loadModules() error {
	list, err := os.ReadFile("/etc/vm/modules")
	if err != nil {
		return err
	}
	for name := range strings.FieldsSeq(string(list)) {
		f, err := os.Open("/lib/modules/" + name + ".ko")
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		f.Close()
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("cannot load module %s: %w", name, err)
		}
	}
	return nil
}

func mountDisks() error {
	list, err := os.ReadFile("/etc/vm/mounts")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(list)) {
		device, target, _ := strings.Cut(strings.TrimSpace(line), " ")
		if err := os.MkdirAll(target, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(device, target, "ext4", 0, ""); err != nil {
			return fmt.Errorf("cannot mount %s on %s: %w", device, target, err)
		}
	}
	return nil
}

func loopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	r, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, r)
}
