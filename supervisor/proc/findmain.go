package proc

import "golang.org/x/sys/unix"

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
