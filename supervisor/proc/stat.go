package proc

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// ticksPerSecond is USER_HZ, which is 100 on every architecture that Go runs
// on.
const ticksPerSecond = 100

// StartTime is when a process started, in clock ticks since boot: with the
// pid, it names a process for good. The error is ESRCH if there is none.
func StartTime(pid int) (uint64, error) {
	st, err := readStat(pid)
	return st.start, err
}

// Parent is the parent of a process, 0 if that is not there (any more).
func Parent(pid int) int {
	st, err := readStat(pid)
	if err != nil {
		return 0
	}
	return st.parent
}

// ReadStat is the resident memory in bytes and the CPU time a process has
// used, and when it started. The kernel keeps resident memory per CPU, so that
// it is off by up to some hundred KiB.
func ReadStat(pid int) (rss uint64, cpu time.Duration, start uint64, err error) {
	st, err := readStat(pid)
	return st.rss * uint64(os.Getpagesize()), time.Duration(st.cpu) * (time.Second / ticksPerSecond), st.start, err
}

// stat is what is needed of /proc/PID/stat.
type stat struct {
	pid, parent, group, session int
	state                       byte
	exiting                     bool   // it executes no instruction of its own any more
	cpu                         uint64 // ticks
	start                       uint64 // ticks since boot
	rss                         uint64 // pages
}

// lives says that it is not merely waiting to be reaped.
func (st *stat) lives() bool { return st.state != 'Z' && st.state != 'X' }

// statMax is more than the 52 fields can take.
const statMax = 2048

func readStat(pid int) (stat, error) {
	var space [statMax]byte
	b, err := readSmall("/proc/"+strconv.Itoa(pid)+"/stat", space[:0])
	if err != nil {
		if errors.Is(err, unix.ENOENT) {
			err = unix.ESRCH
		}
		return stat{}, err
	}
	st, ok := parseStat(b)
	if !ok {
		return stat{}, errors.New("cannot read /proc/" + strconv.Itoa(pid) + "/stat: unknown format")
	}
	return st, nil
}

// readSmall reads a file of /proc into buf, as far as there is room.
func readSmall(file string, buf []byte) ([]byte, error) {
	var fd int
	err := retry(func() (err error) {
		fd, err = unix.Open(file, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	for len(buf) < cap(buf) {
		var n int
		err = retry(func() (err error) {
			n, err = unix.Read(fd, buf[len(buf):cap(buf)])
			return err
		})
		if err != nil || n == 0 {
			break
		}
		buf = buf[:len(buf)+n]
	}
	if cerr := unix.Close(fd); err == nil {
		err = cerr
	}
	return buf, err
}

// The fields of /proc/PID/stat that are used, counted from the state, which
// follows the name; the name may hold blanks and parentheses.
const (
	fieldState, fieldParent, fieldGroup, fieldSession = 0, 1, 2, 3
	fieldFlags                                        = 6
	fieldUser, fieldSystem, fieldStart, fieldRSS      = 11, 12, 19, 21
)

// pfExiting is PF_EXITING of the kernel's sched.h.
const pfExiting = 4

func parseStat(b []byte) (st stat, ok bool) {
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 2 || end < open {
		return st, false
	}
	pid, ok := digits(b[:open-1])
	if !ok {
		return st, false
	}
	st.pid = int(pid)
	b = bytes.TrimSpace(b[end+1:])
	for i := 0; i <= fieldRSS; i++ {
		field, rest, more := bytes.Cut(b, []byte(" "))
		if len(field) == 0 || !more && i < fieldRSS {
			return st, false
		}
		b = rest
		if i == fieldState {
			st.state = field[0]
			continue
		}
		v, ok := digits(field)
		if !ok && field[0] == '-' { // -1: the process is just being released
			v, ok = 0, true
		}
		switch i {
		case fieldParent:
			st.parent = int(v)
		case fieldGroup:
			st.group = int(v)
		case fieldSession:
			st.session = int(v)
		case fieldFlags:
			st.exiting = v&pfExiting != 0
		case fieldUser, fieldSystem:
			st.cpu += v
		case fieldStart:
			st.start = v
		case fieldRSS:
			st.rss = v
		}
		if !ok {
			return st, false
		}
	}
	return st, true
}

func digits(b []byte) (v uint64, ok bool) {
	for _, c := range b {
		if c < '0' || c > '9' || v > (1<<64-1)/10-1 {
			return 0, false
		}
		v = v*10 + uint64(c-'0')
	}
	return v, len(b) > 0
}
