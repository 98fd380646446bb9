package cgroups

import (
	"errors"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Leaf is the name of the group that Vacate moves processes into. It is what
// systemd's DelegateSubgroup= would be given.
const Leaf = "supervisor"

// vacateRounds bounds how often Vacate looks for processes that were forked
// meanwhile: each look moves all it sees, and what is moved forks elsewhere.
const vacateRounds = 50

// Vacate moves the processes that are in our own cgroup into the group Leaf
// below it: a cgroup with processes of its own cannot give controllers to its
// children (but for the true root, which can, so that there is nothing to do).
// Own stays what it was, also for a process that looks later, see Detect.
//
// mine says of a process whether it may be moved. If it may not of one, nothing
// is moved, and the error says which. In a system that systemd manages, it must
// have been delegated to us: systemd would undo it.
func (h *Hierarchy) Vacate(mine func(pid int) bool) error {
	dir := h.dir(h.Own)
	if h.Mount == "" || len(readWords(dir+"/cgroup.type")) == 0 || len(readWords(dir+"/cgroup.controllers")) == 0 {
		return nil
	}
	if err := delegated(dir); err != nil {
		return err
	}
	leaf := &Error{Op: "move processes into", Path: dir + "/" + Leaf}
	made := false
	for range vacateRounds {
		words := readWords(dir + "/cgroup.procs")
		if len(words) == 0 {
			return nil
		}
		pids := make([]int, len(words))
		for i, w := range words {
			pid, err := strconv.Atoi(w)
			if err != nil || pid <= 0 || !mine(pid) {
				return errors.New("the cgroup " + dir + " also holds processes that are not ours, such as " + describe(w) +
					": start nines in a cgroup of its own (systemd-run --scope -p Delegate=yes …)")
			}
			pids[i] = pid
		}
		if !made {
			if leaf.Err = mkdirAll(leaf.Path); leaf.Err != nil {
				return leaf
			}
			made = true
		}
		for _, pid := range pids {
			// ESRCH: it has ended.
			if err := h.write(leaf.Path+"/cgroup.procs", strconv.Itoa(pid)); err != nil && err != unix.ESRCH {
				leaf.Err = err
				return leaf
			}
		}
	}
	leaf.Err = unix.EBUSY
	return leaf
}

// describe is a process for people: "812 (bash)".
func describe(pid string) string {
	if comm := readWords("/proc/" + pid + "/comm"); pid != "0" && len(comm) > 0 {
		return pid + " (" + strings.Join(comm, " ") + ")"
	}
	return pid
}

// delegated is an error where systemd runs the system and has not given us dir.
func delegated(dir string) error {
	if unix.Access("/run/systemd/system", unix.F_OK) != nil {
		return nil
	}
	var value [8]byte
	for _, name := range []string{"trusted.delegate", "user.delegate"} {
		if n, err := unix.Getxattr(dir, name, value[:]); err == nil && string(value[:n]) == "1" {
			return nil
		}
	}
	return errors.New("systemd has not delegated the cgroup " + dir + ": write Delegate=yes in the unit")
}

// unleaf is our cgroup as it was before Vacate.
func (h *Hierarchy) unleaf(own string) string {
	above := path.Dir(own)
	if path.Base(own) != Leaf {
		return own
	}
	if level, _ := h.inspect(above); level == None {
		return own
	}
	return above
}

// give makes the controllers of a cgroup available to its children: those that
// it has itself. It returns which of them the children have, and the first
// error, which is of one that they have not.
func (h *Hierarchy) give(dir string) (given []string, err error) {
	file := dir + "/cgroup.subtree_control"
	have, given := readWords(dir+"/cgroup.controllers"), readWords(file)
	// But for the true root. The kernel would refuse memory and io, and take cpu and
	// pids: then no process could live in any group below.
	busy := len(readWords(dir+"/cgroup.type")) > 0 && len(readWords(dir+"/cgroup.procs")) > 0
	for _, c := range controllers() {
		if slices.Contains(given, c) || !slices.Contains(have, c) {
			continue
		}
		// One by one: a write of several fails as a whole.
		werr := error(unix.EBUSY)
		if !busy {
			werr = h.write(file, "+"+c)
		}
		if werr == nil {
			given = append(given, c)
		} else if err == nil {
			err = &Error{Op: "enable the " + c + " controller below", Path: dir, Err: werr}
		}
	}
	return given, err
}

// write writes a value to an absolute path.
func (h *Hierarchy) write(file, value string) error {
	if h.fault != nil {
		if err := h.fault(file); err != nil {
			return err
		}
	}
	fd := -1
	err := retry(func() (err error) {
		fd, err = unix.Open(file, unix.O_WRONLY|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return err
	}
	return writeClose(fd, value)
}

// writeClose writes and closes; these files take all of it or nothing.
func writeClose(fd int, value string) error {
	err := retry(func() error {
		_, err := unix.Write(fd, []byte(value))
		return err
	})
	if cerr := unix.Close(fd); err == nil {
		err = cerr
	}
	return err
}

// delegate gives the controllers from our own cgroup (or, where the base lies
// elsewhere, from the nearest that exists) down to the groups of the tree, and
// sets the level to what came of it.
func (t *Tree) delegate(from string) {
	h := t.h
	var failed error
	dirs := []string{h.dir(from)}
	for _, name := range strings.Split(strings.TrimPrefix(strings.TrimPrefix(t.base, from), "/"), "/") {
		dirs = append(dirs, path.Join(dirs[len(dirs)-1], name))
	}
	for _, dir := range dirs {
		var err error
		if t.controllers, err = h.give(dir); err != nil && failed == nil {
			failed = err
		}
	}
	// Folders of an earlier run, perhaps of one that could not.
	if names, err := t.list(""); err == nil {
		for _, name := range names {
			if len(readWords(t.dir+"/"+name+"/cgroup.procs")) == 0 {
				// What it lacks is said when a limit is set there.
				_, _ = h.give(t.dir + "/" + name)
			}
		}
	}
	var missing []string
	for _, c := range controllers() {
		if !slices.Contains(t.controllers, c) {
			missing = append(missing, c)
		}
	}
	if len(missing) == 0 {
		t.level, t.why = Full, ""
		return
	}
	if t.level, t.why = h.inspect(path.Dir(t.base)); t.level == Full {
		t.level, t.why = Core, "not available to groups in "+t.dir+": "+list(missing)
	}
	if failed != nil {
		t.why = failed.Error()
	}
}

// nearest is cgroup, or the nearest above it that exists.
func (h *Hierarchy) nearest(cgroup string) string {
	for cgroup != "/" {
		if _, err := os.Stat(h.dir(cgroup)); err == nil {
			break
		}
		cgroup = path.Dir(cgroup)
	}
	return cgroup
}

// Controllers are those that the groups of the tree have.
func (t *Tree) Controllers() []string { return t.controllers }
