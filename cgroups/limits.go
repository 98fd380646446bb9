package cgroups

import (
	"errors"
	"strconv"

	"golang.org/x/sys/unix"
)

// Limits are what the kernel is to enforce on a group. Nil is what the kernel
// does by itself.
type Limits struct {
	MemoryLow  *uint64 // bytes: not reclaimed below, as far as the groups above are protected too
	MemoryHigh *uint64 // bytes: above it, throttled and reclaimed
	MemoryMax  *uint64 // bytes: above it, the memory killer
	SwapMax    *uint64 // bytes
	OOMGroup   bool    // the memory killer ends the group as a whole, or nothing of it
	CPUMax     float64 // processors: 1.5; 0: no limit
	CPUWeight  int     // 1 … 10000, against the groups beside it; 0: the kernel's 100
	PidsMax    int     // processes and threads; 0: no limit
	IOWeight   int     // 1 … 10000, as CPUWeight
}

// Setting is one file of a group and what it is to say.
type Setting struct {
	Controller string // which must be there: "memory"
	File       string // "memory.max"
	Value      string
}

// Settings are the files for l, in the order in which they are to be written. A
// service's are the same for each start: make them once.
func (l *Limits) Settings() []Setting {
	var s []Setting
	size := func(file string, v *uint64) {
		if v != nil {
			s = append(s, Setting{"memory", file, strconv.FormatUint(*v, 10)})
		}
	}
	count := func(controller, file string, n int) {
		if n > 0 {
			s = append(s, Setting{controller, file, strconv.Itoa(n)})
		}
	}
	if l.OOMGroup {
		s = append(s, Setting{"memory", "memory.oom.group", "1"})
	}
	size("memory.low", l.MemoryLow)
	size("memory.high", l.MemoryHigh)
	size("memory.max", l.MemoryMax)
	size("memory.swap.max", l.SwapMax)
	if l.CPUMax > 0 {
		s = append(s, Setting{"cpu", "cpu.max", cpuMax(l.CPUMax)})
	}
	count("cpu", "cpu.weight", l.CPUWeight)
	count("pids", "pids.max", l.PidsMax)
	count("io", "io.weight", l.IOWeight)
	return s
}

// cpuMax is "QUOTA PERIOD" in microseconds. The kernel takes a quota of 1 ms at
// least and a period of 1 s at most: below a hundredth of a processor the usual
// period of 100 ms is too short, and a thousandth is the least there can be.
func cpuMax(processors float64) string {
	period := 100_000.0
	if processors*period < 1000 {
		period = 1_000_000
	}
	quota := max(int64(processors*period), 1000)
	return strconv.FormatInt(quota, 10) + " " + strconv.FormatInt(int64(period), 10)
}

// Set writes one setting. The error is an *Error with the errno: ENOENT where
// the kernel, or the controllers of the tree, do not offer it.
func (g *Group) Set(s Setting) error {
	err := g.write(s.File, s.Value)
	if s.File == "io.weight" {
		// Two schedulers share disks by weight, each with a file of its own; BFQ
		// takes 1000 at most. Either will do.
		if n, nerr := strconv.Atoi(s.Value); nerr == nil {
			if berr := g.write("io.bfq.weight", strconv.Itoa(min(n, 1000))); errors.Is(err, unix.ENOENT) {
				err = berr
			}
		}
	}
	if err != nil {
		return &Error{Op: "set " + s.File + " = " + s.Value + " of", Path: g.Path(), Err: err}
	}
	return nil
}

// OOMKilled says whether the kernel's memory killer has ended a process of the
// group, or below it, since the group was made. Where there is no memory
// controller nobody can say, and it is false.
func (g *Group) OOMKilled() (bool, error) {
	var space [512]byte
	b, err := g.read("memory.events", space[:0])
	if err != nil {
		if gone(err) {
			return false, nil
		}
		return false, &Error{Op: "read memory.events of", Path: g.Path(), Err: err}
	}
	var e MemoryEvents
	e.parse(b)
	return e.OOMKill > 0 || e.OOMGroupKill > 0, nil
}
