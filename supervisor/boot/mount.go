package boot

import (
	"errors"

	"golang.org/x/sys/unix"
)

// mount is one of the filesystems that every program expects.
type mount struct {
	fstype, target string
	flags          uintptr
	data           []string // the first that the kernel takes
}

// mounts has the options that systemd gives them.
func mounts() []mount {
	const strict = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	return []mount{
		{"proc", "/proc", strict, []string{""}},
		{"sysfs", "/sys", strict, []string{""}},
		{"devtmpfs", "/dev", unix.MS_NOSUID, []string{"mode=0755", ""}},
		{"devpts", "/dev/pts", unix.MS_NOSUID | unix.MS_NOEXEC, []string{"mode=0620,gid=5,ptmxmode=0666", "mode=0620,ptmxmode=0666"}},
		{"tmpfs", "/dev/shm", unix.MS_NOSUID | unix.MS_NODEV, []string{"mode=1777"}},
		{"tmpfs", "/run", unix.MS_NOSUID | unix.MS_NODEV, []string{"mode=0755,size=20%,nr_inodes=800k", "mode=0755"}},
		{"cgroup2", "/sys/fs/cgroup", strict, []string{"nsdelegate,memory_recursiveprot", "nsdelegate", ""}},
	}
}

// mountAll makes what is not there yet.
func (m *Machine) mountAll() {
	for _, mt := range mounts() {
		m.step("mounting "+mt.target, func() {
			if err := m.mountOne(mt); err != nil {
				m.say("cannot mount " + mt.fstype + " on " + mt.target + ": " + err.Error() + ": it goes on without")
			}
		})
	}
	for _, l := range [...][2]string{
		{"/proc/self/fd", "/dev/fd"}, {"/proc/self/fd/0", "/dev/stdin"}, {"/proc/self/fd/1", "/dev/stdout"}, {"/proc/self/fd/2", "/dev/stderr"},
	} {
		if err := m.sys.symlink(l[0], l[1]); err != nil && !errors.Is(err, unix.EEXIST) {
			m.say("cannot link " + l[1] + ": " + err.Error())
		}
	}
}

func (m *Machine) mountOne(mt mount) error {
	on, err := m.sys.isMount(mt.target)
	if errors.Is(err, unix.ENOENT) {
		if err := m.sys.mkdir(mt.target, 0o755); err != nil && !errors.Is(err, unix.EEXIST) {
			return errors.New("there is no such folder, and it cannot be made: " + err.Error())
		}
	} else if err != nil {
		return err
	}
	if on {
		return nil
	}
	for _, data := range mt.data {
		err = m.sys.mount(mt.fstype, mt.target, mt.fstype, mt.flags, data)
		if !errors.Is(err, unix.EINVAL) {
			break // EINVAL: an option that this kernel does not know
		}
	}
	return err
}
