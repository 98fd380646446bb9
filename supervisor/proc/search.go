package proc

import (
	"maps"

	"golang.org/x/sys/unix"
)

// searchDepth says how hard to look.
type searchDepth int

const (
	// searchOrphans: the main process has been reaped. What is left of its
	// session is told by one kill, and what has left it is below a child of the
	// keeper, whose first thread the kernel gives orphans to.
	searchOrphans searchDepth = iota
	// searchAll: from the main process and from all threads of the keeper down.
	searchAll
)

// walks bounds how often a walk is repeated until two in a row saw the same.
const walks = 16

// search finds what lives of the tree by looking at the main process, at what
// the keeper was given, and at all that is below these; and only if that does
// not explain what is in the process group, or the kernel does not tell
// children, at all processes. A process belongs to the tree if it is in the
// main process's session or group, carries the mark, is in mine, or has a
// parent that belongs to it.
//
// One walk proves nothing about what it has not seen: a process can fork and
// end behind it, and a list of children misses one when another is reaped
// while it is read. So that nothing was found counts only when a second walk
// has seen exactly the same processes.
func (t *Tree) search(depth searchDepth, mine map[procID]bool) ([]stat, error) {
	var before map[int]bool
	for range walks {
		s := searcher{t: t, depth: depth, mine: mine, seen: map[int]bool{}}
		s.walk()
		if len(s.found) > 0 && !s.blind {
			return s.found, nil
		}
		if s.blind || t.KeeperPID <= 0 {
			break
		}
		if before == nil || !maps.Equal(before, s.seen) {
			before = s.seen
			continue
		}
		// A zombie answers for the group as well, so with the main process not
		// reaped yet the question would mean nothing.
		if s.ownSession && !s.main && unix.Kill(-t.PID, 0) != unix.ESRCH {
			break
		}
		return nil, nil
	}
	s := searcher{t: t, depth: depth, mine: mine, seen: map[int]bool{}}
	return s.scan()
}

// procID names a process for good.
type procID struct {
	pid   int
	start uint64
}

type searcher struct {
	t          *Tree
	depth      searchDepth
	mine       map[procID]bool // found before to belong to the tree
	ownSession bool            // session and group numbered t.PID are the tree's
	main       bool            // the main process is there, if only as a zombie
	blind      bool            // the kernel does not tell children
	seen       map[int]bool
	marks      markReader
	found      []stat
}

// walk looks at the main process and the keeper, and what is below them.
func (s *searcher) walk() {
	if main, ok := s.findMain(); ok {
		s.visit(main, true)
	}
	if s.t.KeeperPID > 0 {
		s.below(s.t.KeeperPID, false)
	}
}

// findMain finds the main process, and whether its session is still the tree's.
func (s *searcher) findMain() (stat, bool) {
	if s.t.PID <= 1 {
		return stat{}, false
	}
	st, err := readStat(s.t.PID)
	// If nothing has the number, it can be no other session's as long as one
	// process of ours is in it. If another process has it, the number was given
	// away, so all of our session and group have ended.
	s.ownSession = err != nil || s.t.Start == 0 || st.start == s.t.Start
	s.main = err == nil && s.ownSession
	return st, s.main
}

// below looks at the children of pid, which belongs to the tree or not.
func (s *searcher) below(pid int, ours bool) {
	var space [64]int
	pids, ok := childrenOf(space[:0], pid, ours || s.depth == searchAll || pid != s.t.KeeperPID)
	if !ok {
		s.blind = true
		return
	}
	for _, child := range pids {
		if s.seen[child] || s.t.protected(child) {
			continue
		}
		// The main process of another is not ours, nor what is below it; but a
		// main process is never below something of ours.
		if !ours && (child == s.t.PID || s.t.Known != nil && s.t.Known(child)) {
			continue
		}
		st, err := readStat(child)
		if err != nil || st.parent != pid {
			continue // ended meanwhile, and the number perhaps used again
		}
		s.visit(st, ours)
	}
}

// visit looks at one process; parent says that it has a parent that belongs to
// the tree, or is the main process.
func (s *searcher) visit(st stat, parent bool) {
	if s.seen[st.pid] {
		return
	}
	s.seen[st.pid] = true
	ours := parent || s.belongs(st)
	if ours && st.lives() {
		s.found = append(s.found, st)
	}
	// A zombie's children have been given to the keeper, but for those of its
	// threads that live.
	s.below(st.pid, ours)
}

// belongs says whether a process is of the tree by what it carries itself.
func (s *searcher) belongs(st stat) bool {
	if s.ownSession && (st.session == s.t.PID || st.group == s.t.PID) {
		return true
	}
	if s.mine[procID{st.pid, st.start}] {
		return true
	}
	if s.t.Mark == "" || !st.lives() {
		return false
	}
	if s.depth == searchOrphans {
		// One in the middle of an exec may be ours; it costs a closer look.
		mark, m := s.marks.mark(st.pid)
		return m == markUnclear || m == markFound && mark == s.t.Mark
	}
	mark, ok := s.marks.settled(st.pid)
	return ok && mark == s.t.Mark
}

// scan looks at all processes there are.
func (s *searcher) scan() ([]stat, error) {
	s.findMain()
	pids, err := allPIDs()
	if err != nil {
		return nil, err
	}
	all := make(map[int]stat, len(pids))
	children := map[int][]int{}
	for _, pid := range pids {
		if st, err := readStat(pid); err == nil {
			all[pid] = st
			children[st.parent] = append(children[st.parent], pid)
		}
	}
	var queue []int
	for pid, st := range all {
		if s.main && pid == s.t.PID || s.belongs(st) {
			queue = append(queue, pid)
		}
	}
	for len(queue) > 0 {
		pid := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		if s.seen[pid] || s.t.protected(pid) {
			continue
		}
		s.seen[pid] = true
		if st := all[pid]; st.lives() {
			s.found = append(s.found, st)
		}
		queue = append(queue, children[pid]...)
	}
	return s.found, nil
}
