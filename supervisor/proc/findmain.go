package proc

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

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

// Ending lists the cgroups, as /proc/PID/cgroup has those of v2, of the main processes
// that the keeper has inherited from a dead supervisor and that are ending: between its
// last instruction and its being a zombie a process is in no cgroup.procs any more, and
// can be waited for only after that.
func Ending(keeper int) (cgroups []string, err error) {
	pids, err := allPIDs()
	if err != nil {
		return nil, err
	}
	for _, p := range pids {
		st, err := readStat(p)
		if err != nil || st.parent != keeper || st.session != p || st.lives() && !st.exiting {
			continue // it is gone, or not one of these
		}
		b, err := os.ReadFile("/proc/" + strconv.Itoa(p) + "/cgroup")
		if err != nil {
			continue // it is gone
		}
		for line := range strings.Lines(string(b)) {
			if path, ok := strings.CutPrefix(line, "0::"); ok {
				cgroups = append(cgroups, strings.TrimSuffix(strings.TrimSuffix(path, "\n"), " (deleted)"))
			}
		}
	}
	return cgroups, nil
}
