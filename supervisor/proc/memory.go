package proc

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"nines/cgroups"
)

// MemoryReader reads how much memory trees of processes hold. It allocates
// nothing for a tree of some hundred processes. It may not be used from two
// goroutines at a time.
type MemoryReader struct {
	groups *cgroups.Sampler
	reads  uint
	swap   bool // the machine has some
	core   bool // there is no memory controller: to ask for its files costs as much as all the rest
	pids   []int
	path   [64]byte
	buf    [256]byte
	page   uint64
}

// aloneReads is for how many samples a main process that was alone is taken to be
// so: to look for others costs more than to read a process, and most
// instances are one process for life. What it starts meanwhile is counted so much
// later.
const aloneReads = 3

// NewMemoryReader makes a MemoryReader; one serves for any number of trees.
func NewMemoryReader() *MemoryReader {
	return &MemoryReader{groups: cgroups.NewSampler(), page: uint64(os.Getpagesize())}
}

// Held is the memory in bytes that a tree holds and that only it can give back.
// Of that, page cache is no part at any level: a service that writes files is not
// one that leaks. ESRCH, ENOENT or ENODEV: nothing of it is left.
//
// With the memory controller it is what the tree's cgroup is charged with, swap
// included, less page cache and the kernel's own reclaimable caches. enough says
// that it is not worth knowing more exactly below that many bytes: then what is
// returned may be with page cache, and costs a third (0: exactly, always).
//
// Without it, it is the anonymous resident memory of its processes (/proc/PID/statm:
// resident less shared): not what is swapped out, not shared memory, and what a
// child shares with its parent since the fork counts for both. Those of the
// cgroup are taken, and where there is none, the main process and all below it. Where
// there was nothing but the main process, that is looked at again only with every
// fourth sample: what it starts is counted that late.
func (r *MemoryReader) Held(t *Tree, enough uint64) (uint64, error) {
	if t.Group != nil && !r.core {
		held, err := r.charged(t.Group, enough)
		if !errors.Is(err, errNoController) {
			return held, err
		}
		r.core = true
	}
	if t.alone > 0 {
		t.alone--
		// 0: it has ended, and others may live.
		if pages, err := r.anonymous(t.PID); err == nil && pages > 0 {
			return pages * r.page, nil
		}
		t.alone = 0
	}
	r.pids = r.pids[:0]
	if t.Group != nil {
		var err error
		if r.pids, err = r.groups.Procs(t.Group, r.pids); err != nil {
			return 0, err
		}
	} else {
		r.pids = append(r.pids, t.PID)
		for i := 0; i < len(r.pids); i++ {
			// What the kernel does not tell is not counted: the main process
			// always is.
			r.pids, _ = childrenOf(r.pids, r.pids[i], true)
		}
	}
	if len(r.pids) == 1 && r.pids[0] == t.PID {
		t.alone = aloneReads
	}
	return r.sum()
}

var errNoController = errors.New("no memory controller")

// swapAgain is after how many reads it is asked again whether there is swap.
const swapAgain = 1000

// charged is what a cgroup is charged with.
func (r *MemoryReader) charged(g *cgroups.Group, enough uint64) (uint64, error) {
	if r.reads%swapAgain == 0 {
		var info unix.Sysinfo_t
		r.swap = unix.Sysinfo(&info) != nil || info.Totalswap > 0
	}
	r.reads++
	want := cgroups.MemoryPart
	if r.swap {
		want |= cgroups.SwapPart
	}
	var st cgroups.Stats
	if enough > 0 {
		if err := r.groups.Read(g, want, &st); err != nil {
			return 0, err
		}
		if held := st.Memory + st.Swap; st.Has&cgroups.MemoryPart != 0 && held <= enough {
			return held, nil
		}
	}
	if err := r.groups.Read(g, want|cgroups.MemoryStatPart, &st); err != nil {
		return 0, err
	}
	if st.Has&cgroups.MemoryPart == 0 {
		return 0, errNoController
	}
	return st.Held(), nil
}

// sum is the anonymous resident memory of r.pids.
func (r *MemoryReader) sum() (sum uint64, err error) {
	found := false
	for _, pid := range r.pids {
		pages, err := r.anonymous(pid)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) {
			continue // it has just ended
		}
		if err != nil {
			return 0, errors.New("cannot read /proc/" + strconv.Itoa(pid) + "/statm: " + err.Error())
		}
		found = true
		sum += pages * r.page
	}
	if !found {
		return 0, unix.ESRCH
	}
	return sum, nil
}

// anonymous is the anonymous resident memory of a process, in pages. Go's scheduler
// is not told of the calls: none of them waits for anything, and to tell it is a fifth of
// what they cost.
func (r *MemoryReader) anonymous(pid int) (uint64, error) {
	path := append(r.path[:0], "/proc/"...)
	path = strconv.AppendInt(path, int64(pid), 10)
	path = append(path, "/statm\x00"...)
	var fd uintptr
	for {
		var errno syscall.Errno
		dir := unix.AT_FDCWD
		fd, _, errno = unix.RawSyscall6(unix.SYS_OPENAT, uintptr(dir), uintptr(unsafe.Pointer(&path[0])), unix.O_RDONLY|unix.O_CLOEXEC, 0, 0, 0)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return 0, errno
		}
		break
	}
	n, _, errno := unix.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&r.buf[0])), uintptr(len(r.buf)))
	_, _, _ = unix.RawSyscall(unix.SYS_CLOSE, fd, 0, 0) // read only: nothing is lost
	if errno != 0 {
		return 0, errno
	}
	pages, ok := parseStatm(r.buf[:n])
	if !ok {
		return 0, errors.New("unknown format")
	}
	return pages, nil
}

// parseStatm reads "size resident shared text lib data dt", and gives resident
// less shared: shared is what files and shared memory back.
func parseStatm(b []byte) (pages uint64, ok bool) {
	_, b, _ = bytes.Cut(b, []byte(" "))
	field, b, _ := bytes.Cut(b, []byte(" "))
	resident, ok := digits(field)
	if !ok {
		return 0, false
	}
	field, _, ok = bytes.Cut(b, []byte(" "))
	shared, whole := digits(field)
	// The kernel keeps both per CPU, so that they may be out of step.
	return resident - min(shared, resident), ok && whole
}
