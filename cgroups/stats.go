package cgroups

import (
	"errors"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Part is a set of files that a sample reads: each costs an open, a read and a
// close.
type Part uint16

// The parts of Stats.
const (
	MemoryPart       Part = 1 << iota // memory.current; needs the memory controller
	SwapPart                          // memory.swap.current; likewise
	MemoryEventsPart                  // memory.events; likewise
	CPUPart                           // cpu.stat: there at any level; throttling by the cpu controller alone
	PidsPart                          // pids.current; needs the pids controller
	PidsEventsPart                    // pids.events; likewise
	MemoryStatPart                    // memory.stat; needs the memory controller. Dearer than the others
	endOfParts
)

// Stats is what a group, with all below it, uses and what has happened to it.
// What is not in Has is zero.
type Stats struct {
	Has          Part
	Memory       uint64 // bytes, page cache included
	Swap         uint64 // bytes
	MemoryStat   MemoryStat
	MemoryEvents MemoryEvents
	CPU          CPUStats
	Pids         uint64 // processes and threads
	PidsMax      uint64 // how often pids.max refused a fork
}

// MemoryStat is what Memory is made of, as far as it matters what can be given
// back (memory.stat). Bytes.
type MemoryStat struct {
	Anon            uint64 // heaps and stacks
	File            uint64 // page cache, with tmpfs and shared memory
	Shmem           uint64 // of File: tmpfs and shared memory, which no disk backs
	SlabReclaimable uint64 // the kernel's own caches
}

// Held is the memory that can not be given back but by the processes themselves,
// swapped out or not: all but page cache and the kernel's own caches. It needs
// MemoryPart and MemoryStatPart; the two are read one after the other, so that it
// may be off by what is allocated in between.
func (st *Stats) Held() uint64 {
	cache := st.MemoryStat.File - min(st.MemoryStat.Shmem, st.MemoryStat.File) + st.MemoryStat.SlabReclaimable
	return st.Memory - min(cache, st.Memory) + st.Swap
}

// MemoryEvents counts what has happened since the group was made
// (memory.events).
type MemoryEvents struct {
	Low          uint64 // it was reclaimed although below memory.low
	High         uint64 // processes were throttled at memory.high
	Max          uint64 // memory.max was about to be passed
	OOM          uint64 // an allocation was about to fail
	OOMKill      uint64 // processes that the kernel's memory killer ended
	OOMGroupKill uint64 // how often it ended the whole group (Linux 5.17)
}

// CPUStats is processor time since the group was made (cpu.stat).
type CPUStats struct {
	Usage, User, System time.Duration
	Periods             uint64 // of cpu.max, in which it ran
	ThrottledPeriods    uint64 // of these, in which it was held up
	Throttled           time.Duration
}

// Sampler reads Stats without allocating. It holds no descriptor, so that it
// makes no fork dearer. It may not be used from two goroutines at a time.
type Sampler struct {
	path [1100]byte // a name (see checkName), a file and a NUL
	buf  [4096]byte
}

// NewSampler makes a Sampler; one serves for any number of groups.
func NewSampler() *Sampler { return &Sampler{} }

// Read reads the parts that are wanted, of those that there are (Stats.Has). An
// error is for a group that does not exist (ENOENT, ENODEV) or a file that
// cannot be read; what was read before stands in st.
func (s *Sampler) Read(g *Group, want Part, st *Stats) error {
	*st = Stats{}
	for part := MemoryPart; part < endOfParts; part <<= 1 {
		if want&part == 0 {
			continue
		}
		b, err := s.read(g, part.file())
		if err == unix.ENOENT {
			continue // no such controller, or no such group: told apart below
		}
		if err != nil {
			return &Error{Op: "read " + part.file() + " of", Path: g.Path(), Err: err}
		}
		if st.parse(part, b) {
			st.Has |= part
		}
	}
	if st.Has != 0 || want == 0 {
		return nil
	}
	if _, err := s.read(g, "cgroup.events"); err != nil {
		return &Error{Op: "read the statistics of", Path: g.Path(), Err: err}
	}
	return nil
}

func (p Part) file() string {
	switch p {
	case MemoryPart:
		return "memory.current"
	case SwapPart:
		return "memory.swap.current"
	case MemoryEventsPart:
		return "memory.events"
	case CPUPart:
		return "cpu.stat"
	case PidsPart:
		return "pids.current"
	case PidsEventsPart:
		return "pids.events"
	case MemoryStatPart:
		return "memory.stat"
	}
	return ""
}

// parse reads one file; false: it does not say what it should.
func (st *Stats) parse(part Part, b []byte) (ok bool) {
	switch part {
	case MemoryPart:
		st.Memory, ok = value(b)
	case SwapPart:
		st.Swap, ok = value(b)
	case PidsPart:
		st.Pids, ok = value(b)
	case MemoryEventsPart:
		ok = st.MemoryEvents.parse(b)
	case MemoryStatPart:
		ok = st.MemoryStat.parse(b)
	case CPUPart:
		ok = st.CPU.parse(b)
	case PidsEventsPart:
		for len(b) > 0 {
			var key []byte
			var v uint64
			key, v, b = entry(b)
			if string(key) == "max" {
				st.PidsMax, ok = v, true
			}
		}
	}
	return ok
}

func (m *MemoryStat) parse(b []byte) (ok bool) {
	for len(b) > 0 {
		var key []byte
		var v uint64
		key, v, b = entry(b)
		switch string(key) {
		case "anon":
			m.Anon, ok = v, true
		case "file":
			m.File = v
		case "shmem":
			m.Shmem = v
		case "slab_reclaimable":
			m.SlabReclaimable = v
		}
	}
	return ok
}

func (e *MemoryEvents) parse(b []byte) (ok bool) {
	for len(b) > 0 {
		var key []byte
		var v uint64
		key, v, b = entry(b)
		switch string(key) {
		case "low":
			e.Low = v
		case "high":
			e.High = v
		case "max":
			e.Max = v
		case "oom":
			e.OOM = v
		case "oom_kill":
			e.OOMKill, ok = v, true
		case "oom_group_kill":
			e.OOMGroupKill = v
		}
	}
	return ok
}

func (c *CPUStats) parse(b []byte) (ok bool) {
	for len(b) > 0 {
		var key []byte
		var v uint64
		key, v, b = entry(b)
		// More than 292 years would be negative.
		us := time.Duration(min(v, 1<<62/1000)) * time.Microsecond
		switch string(key) {
		case "usage_usec":
			c.Usage, ok = us, true
		case "user_usec":
			c.User = us
		case "system_usec":
			c.System = us
		case "nr_periods":
			c.Periods = v
		case "nr_throttled":
			c.ThrottledPeriods = v
		case "throttled_usec":
			c.Throttled = us
		}
	}
	return ok
}

// Procs appends the processes in the group and below it that are not dying. It
// allocates only where there are hundreds, or groups below.
func (s *Sampler) Procs(g *Group, pids []int) ([]int, error) {
	b, err := s.read(g, "cgroup.procs")
	if err == nil && len(b) < len(s.buf) {
		var links uint32
		// A folder has a link for itself, its name, and each folder in it.
		if links, err = s.links(g); err == nil && links <= 2 {
			for len(b) > 0 {
				v, n := number(b)
				if v > 0 && v < 1<<31 {
					pids = append(pids, int(v))
				}
				b = b[min(n+1, len(b)):]
			}
			return pids, nil
		}
	}
	if err == nil || err == unix.EOPNOTSUPP {
		pids, err = g.procs(pids)
	}
	if err != nil {
		return pids, &Error{Op: "list the processes of", Path: g.Path(), Err: err}
	}
	return pids, nil
}

// links is how many links the group's folder has. (unix.Statx allocates a copy of
// the path.)
func (s *Sampler) links(g *Group) (uint32, error) {
	s.path[copy(s.path[:], g.name)] = 0
	var st unix.Statx_t
	for {
		_, _, errno := unix.Syscall6(unix.SYS_STATX, uintptr(g.t.fd), uintptr(unsafe.Pointer(&s.path[0])), 0, unix.STATX_NLINK, uintptr(unsafe.Pointer(&st)), 0)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return 0, errno
		}
		return st.Nlink, nil
	}
}

var errLongName = errors.New("its name is too long")

// read reads a file of the group into s.buf. The openat is made here, because
// unix.Openat allocates a copy of the path. Go's scheduler is told of what may wait:
// statistics that the kernel first has to collect from all processors. Of the rest it is
// not, which costs a fifth less.
func (s *Sampler) read(g *Group, file string) ([]byte, error) {
	n := copy(s.path[:], g.name)
	if n+1+len(file)+1 > len(s.path) {
		return nil, errLongName
	}
	s.path[n] = '/'
	n += 1 + copy(s.path[n+1:], file)
	s.path[n] = 0
	var fd uintptr
	for {
		var errno syscall.Errno
		fd, _, errno = unix.RawSyscall6(unix.SYS_OPENAT, uintptr(g.t.fd), uintptr(unsafe.Pointer(&s.path[0])), unix.O_RDONLY|unix.O_CLOEXEC, 0, 0, 0)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return nil, errno
		}
		break
	}
	var got uintptr
	var errno syscall.Errno
	for {
		// The kernel gives all of it at once: these files are below a page.
		if strings.HasSuffix(file, ".current") {
			got, _, errno = unix.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&s.buf[0])), uintptr(len(s.buf)))
		} else {
			got, _, errno = unix.Syscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&s.buf[0])), uintptr(len(s.buf)))
		}
		if errno != unix.EINTR {
			break
		}
	}
	_, _, _ = unix.RawSyscall(unix.SYS_CLOSE, fd, 0, 0) // read only: nothing is lost
	if errno != 0 {
		return nil, errno
	}
	return s.buf[:got], nil
}
