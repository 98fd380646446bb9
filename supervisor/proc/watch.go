package proc

import (
	"bytes"
	"errors"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Runs says whether there is such a process, and it is not merely waiting to be
// reaped.
func Runs(pid int) bool {
	st, err := readStat(pid)
	return err == nil && st.lives()
}

// Watch is a descriptor that can be read, so to speak, when the process has
// ended: whoever's child it is. ESRCH: it has ended.
func Watch(pid int, start uint64) (int, error) {
	h, err := hold(pid, start)
	if err == nil && h.fd < 0 {
		err = errors.New("cannot watch a process that is not our child: this kernel has no pidfd for us")
	}
	return h.fd, err
}

// ZombieExit is how a process ended that nobody has reaped yet, as wait4(2) has
// it. false: there is no such zombie.
func ZombieExit(pid int, start uint64) (raw uint32, ok bool) {
	var space [statMax]byte
	b, err := readSmall("/proc/"+strconv.Itoa(pid)+"/stat", space[:0])
	if err != nil {
		return 0, false
	}
	st, err := readStat(pid)
	if err != nil || st.lives() || st.start != start {
		return 0, false
	}
	// exit_code is the 52nd field; the third follows the last parenthesis.
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) < 50 {
		return 0, false
	}
	n, err := strconv.ParseUint(string(fields[49]), 10, 32)
	return uint32(n), err == nil
}

// ExitOf is how the process of a Watch ended, as wait4(2) has it. false: it was
// not reaped yet, or the kernel does not tell (it does from Linux 6.15 on).
func ExitOf(fd int) (raw uint32, ok bool) {
	// struct pidfd_info of <linux/pidfd.h>: the mask first, exit_code at byte 60.
	info := [11]uint64{0: unix.PIDFD_INFO_EXIT}
	_, _, err := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.PIDFD_GET_INFO, uintptr(unsafe.Pointer(&info)))
	if err != 0 || info[0]&unix.PIDFD_INFO_EXIT == 0 {
		return 0, false
	}
	return *(*uint32)(unsafe.Add(unsafe.Pointer(&info), 60)), true
}
