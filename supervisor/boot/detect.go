package boot

import (
	"errors"

	"golang.org/x/sys/unix"
)

// initialPIDNamespace is the inode of the PID namespace that the kernel made at
// its start: PID_NS_INIT_INO of linux/nsfs.h, the same since Linux 3.8.
const initialPIDNamespace = 0xEFFFFFFC

// Detect says whether this process is the init of a machine. choice is what a
// person said: "yes" and "no" decide, but nothing makes a machine's init of a
// process that is not PID 1 of the initial PID namespace: what it does at the
// end (swap, the root filesystem) is not a container's to do.
func Detect(pid int, env []string, choice string) bool {
	if pid != 1 || choice == "no" {
		return false
	}
	if choice != "yes" {
		for _, e := range env {
			// Whoever says so wants no machine's init, where the namespace is the
			// machine's own too.
			if len(e) > len("container=") && e[:len("container=")] == "container=" {
				return false
			}
		}
	}
	ino, err := pidNamespace()
	return err == nil && ino == initialPIDNamespace
}

// pidNamespace is the inode of our PID namespace. Where /proc is not mounted yet,
// it is mounted where nobody sees it.
func pidNamespace() (uint64, error) {
	var st unix.Stat_t
	err := retry(func() error { return unix.Stat("/proc/self/ns/pid", &st) })
	if err == nil {
		return st.Ino, nil
	}
	if !errors.Is(err, unix.ENOENT) {
		return 0, err
	}
	fs, err := unix.Fsopen("proc", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return 0, err
	}
	defer closeFD(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return 0, err
	}
	proc, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer closeFD(proc)
	if err := retry(func() error { return unix.Fstatat(proc, "self/ns/pid", &st, 0) }); err != nil {
		return 0, err
	}
	return st.Ino, nil
}

func retry(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}

// closeFD closes what was not written to: there is nothing that could fail.
func closeFD(fd int) { _ = unix.Close(fd) }
