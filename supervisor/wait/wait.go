// Package wait takes children that have ended, in two steps: Peek shows one,
// which stays a zombie; Reap takes it. What must outlive a death of ours in
// between (the status) is told to another before Reap; and as long as it is a
// zombie its pid names nobody else, and /proc still knows its cgroup and start
// time. Stopped tells of a child that was stopped. None of them blocks. One
// goroutine alone may use them in a process: whoever reaps owns the pids.
package wait

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Peek is a child that has ended and was not reaped yet: its pid and how it
// ended, as wait4(2) has it. The same one is shown again until Reap.
func Peek() (pid int, raw uint32, ok bool) { return peek(unix.P_ALL, 0) }

// Ended says whether this child has ended, and how; it is not reaped.
func Ended(pid int) (raw uint32, ok bool) {
	_, raw, ok = peek(unix.P_PID, pid)
	return raw, ok
}

// Stopped says whether this child was stopped since it was last asked, and by which
// signal.
func Stopped(pid int) (by unix.Signal, ok bool) {
	_, _, status, ok := look(unix.P_PID, pid, unix.WSTOPPED|unix.WNOHANG)
	return unix.Signal(status), ok
}

func peek(kind, id int) (pid int, raw uint32, ok bool) {
	pid, code, status, ok := look(kind, id, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT)
	const exited, dumped = 1, 3 // CLD_EXITED, CLD_DUMPED
	switch code {
	case exited:
		status = status & 0xff << 8
	case dumped:
		status |= 0x80
	}
	return pid, status, ok
}

// look is waitid(2), with what it tells of a child.
func look(kind, id, options int) (pid int, code int32, status uint32, ok bool) {
	for {
		var info unix.Siginfo
		err := unix.Waitid(kind, id, &info, options, nil)
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
			return 0, 0, 0, false
		}
		return pid, info.Code, binary.NativeEndian.Uint32(b[at+8:]), true
	}
}

// Reap reaps a child that Peek has shown.
func Reap(pid int) {
	for {
		// It is a zombie of ours, so all that can happen is an interruption.
		if _, err := unix.Wait4(pid, nil, unix.WNOHANG, nil); err != unix.EINTR {
			return
		}
	}
}
