package proc

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Peek is a child that has ended and was not reaped yet: its pid and how it
// ended, as wait4(2) has it. It stays a zombie; ReapPID takes it. What is to
// survive our own death is told to another between the two.
func Peek() (pid int, raw uint32, ok bool) {
	for {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
		if err == unix.EINTR {
			continue
		}
		// siginfo_t of SIGCHLD, after signo, errno, code: pid, uid, status; on
		// 64-bit machines there are four bytes between (sigaction(2)).
		b := (*[unsafe.Sizeof(info)]byte)(unsafe.Pointer(&info))
		at := 12
		if unsafe.Sizeof(uintptr(0)) == 8 {
			at = 16
		}
		pid = int(binary.NativeEndian.Uint32(b[at:]))
		if err != nil || pid == 0 {
			return 0, 0, false
		}
		status := binary.NativeEndian.Uint32(b[at+8:])
		const exited, dumped = 1, 3 // CLD_EXITED, CLD_DUMPED
		switch info.Code {
		case exited:
			status = status & 0xff << 8
		case dumped:
			status |= 0x80
		}
		return pid, status, true
	}
}

// ReapPID reaps a child that Peek has shown.
func ReapPID(pid int) {
	for {
		// It is a zombie of ours, so all that can happen is an interruption.
		if _, err := unix.Wait4(pid, nil, unix.WNOHANG, nil); err != unix.EINTR {
			return
		}
	}
}

// StatusOf is a status as wait4(2) has it, in our words.
func StatusOf(raw uint32) Status { return status(unix.WaitStatus(raw)) }

// FindMain finds, among the processes of one incarnation's cgroup, the main
// process: the session leader that the keeper has inherited from a dead
// supervisor. A leftover session leader of a double fork is the keeper's child
// as well; the main process is older.
func FindMain(pids []int, keeper int) (pid int, start uint64, ok bool) {
	for _, p := range pids {
		st, err := readStat(p)
		if err != nil || !st.lives() || st.parent != keeper || st.session != p {
			continue
		}
		if !ok || st.start < start || st.start == start && p < pid {
			pid, start, ok = p, st.start, true
		}
	}
	return pid, start, ok
}
