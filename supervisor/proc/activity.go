package proc

import (
	"errors"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"nines/cgroups"
)

// Activity is what a tree has done, and whether it could do anything.
type Activity struct {
	CPU     time.Duration // used since it began
	Blocked bool          // just now: each thread waits without a chance to be woken (D), or is stopped (T)

	// How long nothing of it could run since it began, because memory or a device
	// was waited for (PSI "full"). Zero where the kernel does not tell.
	MemoryStall, IOStall time.Duration
}

// ActivityReader reads Activity. It may not be used from two goroutines at a time.
type ActivityReader struct {
	groups *cgroups.Sampler
	pids   []int
}

// NewActivityReader makes an ActivityReader; one serves for any number of trees.
func NewActivityReader() *ActivityReader { return &ActivityReader{groups: cgroups.NewSampler()} }

// CPU is the CPU time that a tree has used. Without a cgroup it is that of the
// processes that live, so that it falls when one ends. ESRCH, ENOENT or ENODEV:
// nothing of it is left.
func (r *ActivityReader) CPU(t *Tree) (time.Duration, error) {
	if t.Group == nil {
		return r.sum(t)
	}
	var st cgroups.Stats
	if err := r.groups.Read(t.Group, cgroups.CPUPart, &st); err != nil {
		return 0, err
	}
	if st.Has&cgroups.CPUPart == 0 {
		return 0, errors.New("cannot read cpu.stat of cgroup " + t.Group.Path() + ": unknown format")
	}
	return st.CPU.Usage, nil
}

// Read is all of Activity. What it costs is that of CPU and, most of the time,
// one thread's state: the first that is not held up answers for all.
func (r *ActivityReader) Read(t *Tree) (Activity, error) {
	var a Activity
	var err error
	if a.CPU, err = r.CPU(t); err != nil {
		return a, err
	}
	if t.Group == nil {
		a.Blocked, err = blocked(r.pids)
		return a, err
	}
	if a.MemoryStall, err = fullStall(t.Group, "memory.pressure"); err != nil {
		return a, err
	}
	if a.IOStall, err = fullStall(t.Group, "io.pressure"); err != nil {
		return a, err
	}
	if r.pids, err = r.groups.Procs(t.Group, r.pids[:0]); err != nil {
		return a, err
	}
	a.Blocked, err = blocked(r.pids)
	return a, err
}

// sum is the CPU time of the main process and all below it, which are in r.pids
// then.
func (r *ActivityReader) sum(t *Tree) (sum time.Duration, _ error) {
	r.pids = append(r.pids[:0], t.PID)
	found := false
	for i := 0; i < len(r.pids); i++ {
		// What the kernel does not tell is not counted: the main process always is.
		r.pids, _ = childrenOf(r.pids, r.pids[i], true)
		_, cpu, start, err := ReadStat(r.pids[i])
		switch {
		case errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENOENT):
			continue // it has just ended
		case err != nil:
			return 0, err
		case i == 0 && t.Start != 0 && start != t.Start:
			return 0, unix.ESRCH // another one by now
		}
		found = true
		sum += cpu
	}
	if !found {
		return 0, unix.ESRCH
	}
	return sum, nil
}

// fullStall is the total of the "full" line of a PSI file; 0 where there is no
// such file.
func fullStall(g *cgroups.Group, file string) (time.Duration, error) {
	b, err := g.Read(file)
	switch {
	case errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP): // psi=0, or the group has gone, which the next read says
		return 0, nil
	case err != nil:
		return 0, err
	}
	_, full, _ := cgroups.ParsePressure(b)
	return full.Total, nil
}

// blocked says whether all threads of these processes are in D or stopped, and
// there is one.
func blocked(pids []int) (bool, error) {
	found := false
	for _, pid := range pids {
		base := "/proc/" + strconv.Itoa(pid) + "/task/"
		// Of the main thread, without a list: it often answers for all.
		state, err := threadState(base + strconv.Itoa(pid))
		if err == nil && !held(state) {
			return false, nil
		}
		d, err := os.Open(base)
		if err != nil {
			if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) {
				continue // it has just ended
			}
			return false, err
		}
		names, err := d.Readdirnames(-1)
		d.Close()
		if err != nil && !errors.Is(err, unix.ESRCH) && !errors.Is(err, unix.ENOENT) {
			return false, err
		}
		for _, name := range names {
			state, err := threadState(base + name)
			switch {
			case errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) || err == nil && (state == 'Z' || state == 'X'):
				continue
			case err != nil:
				return false, err
			case !held(state):
				return false, nil
			}
			found = true
		}
	}
	return found, nil
}

// held says that a thread in that state can neither run nor be woken by what it
// waits for being there. A thread that a debugger has stopped (t) is not meant.
func held(state byte) bool { return state == 'D' || state == 'T' || state == 'Z' || state == 'X' }

func threadState(dir string) (byte, error) {
	var space [statMax]byte
	b, err := readSmall(dir+"/stat", space[:0])
	if err != nil {
		return 0, err
	}
	st, ok := parseStat(b)
	if !ok {
		return 0, errors.New("cannot read " + dir + "/stat: unknown format")
	}
	return st.state, nil
}
