package inspect

import (
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// Thread is one thread, and where it is.
type Thread struct {
	TID         int      `json:"tid"`
	Name        string   `json:"name"`
	State       string   `json:"state"`
	Wchan       string   `json:"wchan"`        // the kernel's function in which it waits
	Syscall     string   `json:"syscall"`      // the system call that it is in: "read", "271"; "": none
	KernelStack []string `json:"kernel_stack"` // innermost first
	UserStack   []Frame  `json:"user_stack"`   // innermost first

	regs registers
}

// registers are what /proc/PID/task/TID/syscall tells.
type registers struct {
	number   int64 // of the system call; -1: in none
	args     [6]uint64
	sp, pc   uint64
	complete bool // args are there
	known    bool
}

func (in *inspector) threads() {
	entries, err := os.ReadDir(in.dir + "/task")
	if err != nil {
		in.note("the threads", err)
		return
	}
	maps, err := readMaps(in.dir)
	if err != nil {
		return // memory has noted it
	}
	mem, err := os.Open(in.dir + "/mem")
	if err != nil {
		in.note("its memory, so that there are no user stacks", err)
	} else {
		defer func() { _ = mem.Close() }() // read only: nothing is lost
	}
	var kernel, call bool
	for i, e := range entries {
		tid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if i >= maxThreads {
			in.p.Notes = append(in.p.Notes, strconv.Itoa(len(entries)-maxThreads)+" more threads are not shown")
			return
		}
		dir := in.dir + "/task/" + e.Name()
		t := Thread{TID: tid, KernelStack: []string{}, UserStack: []Frame{}}
		if b, err := readFile(dir + "/status"); err == nil {
			t.Name, t.State = field(b, "Name"), field(b, "State")
		}
		if b, err := readFile(dir + "/wchan"); err == nil && string(b) != "0" {
			t.Wchan = string(b)
		}
		if b, err := readFile(dir + "/stack"); err == nil {
			t.KernelStack = kernelStack(string(b))
		} else if !kernel {
			kernel = true
			in.note("the kernel's stacks", err)
		}
		if t.regs, err = readRegisters(dir); err != nil {
			if !call {
				call = true
				in.note("in which system calls its threads are, so that there are no user stacks", err)
			}
		} else if t.regs.known {
			if t.regs.number >= 0 {
				t.Syscall = syscallName(t.regs.number)
			}
			if mem != nil {
				t.UserStack = walk(mem, maps, &t.regs, func(m *Mapping, pc uint64) Frame { return in.symbols.frame(in.dir, m, pc) })
			}
		}
		in.p.Threads = append(in.p.Threads, t)
	}
	slices.SortFunc(in.p.Threads, func(a, b Thread) int { return a.TID - b.TID })
}

// kernelStack takes the functions of lines "[<0>] do_freezer_trap+0x5a/0x80".
func kernelStack(text string) []string {
	frames := []string{}
	for line := range strings.Lines(text) {
		_, frame, ok := strings.Cut(line, "] ")
		if frame = strings.TrimSpace(frame); ok && frame != "" {
			frames = append(frames, frame)
		}
	}
	return frames
}

// readRegisters reads "NUMBER ARG… SP PC", "-1 SP PC" or "running".
func readRegisters(dir string) (r registers, err error) {
	b, err := readFile(dir + "/syscall")
	if err != nil {
		return r, err
	}
	words := strings.Fields(string(b))
	if len(words) != 9 && len(words) != 3 {
		return r, nil // it runs
	}
	if r.number, err = strconv.ParseInt(words[0], 10, 64); err != nil {
		return registers{}, err
	}
	values := make([]uint64, 0, 8)
	for _, w := range words[1:] {
		v, err := strconv.ParseUint(strings.TrimPrefix(w, "0x"), 16, 64)
		if err != nil {
			return registers{}, err
		}
		values = append(values, v)
	}
	n := len(values)
	r.sp, r.pc, r.known = values[n-2], values[n-1], true
	if n == 8 {
		r.complete = true
		copy(r.args[:], values)
	}
	return r, nil
}

// syscallName names the calls in which threads wait; others by their number.
func syscallName(n int64) string {
	names := map[int64]string{}
	switch runtime.GOARCH {
	case "amd64":
		names = map[int64]string{
			0: "read", 1: "write", 7: "poll", 16: "ioctl", 17: "pread64", 18: "pwrite64", 19: "readv", 20: "writev", 23: "select", 34: "pause",
			35: "nanosleep", 42: "connect", 43: "accept", 44: "sendto", 45: "recvfrom", 46: "sendmsg", 47: "recvmsg", 61: "wait4", 72: "fcntl",
			73: "flock", 74: "fsync", 75: "fdatasync", 128: "rt_sigtimedwait", 130: "rt_sigsuspend", 202: "futex", 230: "clock_nanosleep",
			232: "epoll_wait", 247: "waitid", 257: "openat", 270: "pselect6", 271: "ppoll", 281: "epoll_pwait", 288: "accept4",
			426: "io_uring_enter", 441: "epoll_pwait2", 219: "restart_syscall", 24: "sched_yield",
		}
	case "arm64":
		names = map[int64]string{
			63: "read", 64: "write", 22: "epoll_pwait", 25: "fcntl", 29: "ioctl", 32: "flock", 56: "openat", 65: "readv", 66: "writev", 72: "pselect6",
			73: "ppoll", 82: "fsync", 83: "fdatasync", 95: "waitid", 98: "futex", 101: "nanosleep", 115: "clock_nanosleep", 128: "restart_syscall",
			133: "rt_sigsuspend", 137: "rt_sigtimedwait", 202: "accept", 203: "connect", 206: "sendto", 207: "recvfrom", 211: "sendmsg", 212: "recvmsg",
			242: "accept4", 260: "wait4", 426: "io_uring_enter", 441: "epoll_pwait2",
		}
	}
	if name := names[n]; name != "" {
		return name
	}
	return strconv.FormatInt(n, 10)
}
