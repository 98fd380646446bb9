package cgroups

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"path"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Group is one cgroup. It holds no descriptor, and may be used from many
// goroutines. A group that does not exist is empty: to kill, wait for or
// remove it succeeds.
type Group struct {
	t    *Tree
	name string
}

// Name is the name in the tree: "web/0.17".
func (g *Group) Name() string { return g.name }

// Path is the absolute path of the group's folder.
func (g *Group) Path() string { return path.Join(g.t.dir, g.name) }

// List is the names of the groups directly in this one.
func (g *Group) List() ([]string, error) { return g.t.list(g.name) }

// ID is the number by which the kernel names the group: pidfds and perf know it
// by that. No other group has it for as long as the machine runs.
func (g *Group) ID() (uint64, error) {
	h, _, err := unix.NameToHandleAt(g.t.fd, g.name, 0)
	if err != nil || h.Size() != 8 {
		return 0, &Error{Op: "find the id of", Path: g.Path(), Err: cmp.Or(err, error(unix.EOPNOTSUPP))}
	}
	return binary.NativeEndian.Uint64(h.Bytes()), nil
}

// write writes a value to a file of the group.
func (g *Group) write(file, value string) error {
	if g.t.fault != nil {
		if err := g.t.fault(g.name+"/"+file, value); err != nil {
			return err
		}
	}
	fd, err := g.t.open(g.name+"/"+file, unix.O_WRONLY)
	if err != nil {
		return err
	}
	return writeClose(fd, value)
}

// read appends what a file of the group holds to buf.
func (g *Group) read(file string, buf []byte) ([]byte, error) {
	fd, err := g.t.open(g.name+"/"+file, unix.O_RDONLY)
	if err != nil {
		return buf, err
	}
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, make([]byte, len(buf)+4096)...)[:len(buf)]
		}
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

// Populated says whether a process lives in the group or below it.
func (g *Group) Populated() (bool, error) {
	var space [512]byte
	b, err := g.read("cgroup.events", space[:0])
	if err != nil {
		if gone(err) {
			return false, nil
		}
		return false, &Error{Op: "read the events of", Path: g.Path(), Err: err}
	}
	return flag(b, "populated"), nil
}

// flag is a value of cgroup.events, which is lines of "key 0" or "key 1".
func flag(events []byte, key string) bool {
	for line := range bytes.Lines(events) {
		if v, ok := bytes.CutPrefix(line, []byte(key+" ")); ok {
			return len(v) > 0 && v[0] == '1'
		}
	}
	return false
}

// Procs is the processes in the group and below it that are not dying. The
// list may be out of date when it is returned.
func (g *Group) Procs() ([]int, error) {
	pids, err := g.procs(nil)
	if err != nil {
		return nil, &Error{Op: "list the processes of", Path: g.Path(), Err: err}
	}
	return pids, nil
}

func (g *Group) procs(pids []int) ([]int, error) {
	b, err := g.read("cgroup.procs", nil)
	if errors.Is(err, unix.EOPNOTSUPP) { // threaded: it lists threads alone
		b, err = g.read("cgroup.threads", nil)
	}
	if err != nil {
		if gone(err) {
			return pids, nil
		}
		return pids, err
	}
	for line := range bytes.Lines(b) {
		pid, err := strconv.Atoi(string(bytes.TrimSpace(line)))
		if err != nil {
			return pids, errors.New("cgroup.procs holds " + strconv.Quote(string(line)))
		}
		if pid > 0 { // 0: in a pid namespace that we do not see
			pids = append(pids, pid)
		}
	}
	names, err := g.List()
	if err != nil {
		return pids, err
	}
	for _, name := range names {
		if pids, err = g.t.Group(name).procs(pids); err != nil {
			return pids, err
		}
	}
	return pids, nil
}

// Kill sends SIGKILL to every process in the group and below it, also to those
// that are being forked at this instant. It does not wait for their end. The
// group cannot be used again, see Tree.Create.
func (g *Group) Kill() error {
	err := g.write("cgroup.kill", "1")
	if errors.Is(err, unix.ENOENT) {
		// Either the group is gone, or the kernel is older than 5.14.
		err = g.killOneByOne()
	}
	if err != nil && !gone(err) {
		return &Error{Op: "kill", Path: g.Path(), Err: err}
	}
	return nil
}

// killRounds bounds killOneByOne: frozen processes do not fork, so that two
// rounds find all there is but for what the freezer had not reached yet.
const killRounds = 100

// killOneByOne is Kill for kernels without cgroup.kill.
func (g *Group) killOneByOne() error {
	// Frozen processes do not fork, and SIGKILL ends them all the same. That
	// freezing may fail does not matter, then there are more rounds.
	_ = g.write("cgroup.freeze", "1")
	// The group may be used again, so it is not left frozen; if that fails,
	// the freezing has failed too, or the group is gone.
	defer func() { _ = g.write("cgroup.freeze", "0") }()
	sent := map[int]bool{}
	for range killRounds {
		pids, err := g.procs(nil)
		if err != nil {
			return err
		}
		fresh := 0
		for _, pid := range pids {
			if !sent[pid] {
				fresh++
			}
			sent[pid] = true
			if err := g.killMember(pid); err != nil {
				return err
			}
		}
		if fresh == 0 {
			return nil
		}
	}
	return nil
}

// killMember kills pid if it is still in the group: between the list and the
// kill it may have ended and its number been given to another process.
func (g *Group) killMember(pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err == unix.ESRCH {
		return nil
	}
	if err != nil {
		return err
	}
	now, err := g.procs(nil)
	if err == nil {
		for _, p := range now {
			if p != pid {
				continue
			}
			if err = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err == unix.ESRCH {
				err = nil
			}
			break
		}
	}
	if cerr := unix.Close(fd); err == nil {
		err = cerr
	}
	return err
}

// Freeze stops every process in the group and below it, and returns when all
// of them stand still.
func (g *Group) Freeze(ctx context.Context) error { return g.freeze(ctx, true) }

// Thaw lets them go on.
func (g *Group) Thaw(ctx context.Context) error { return g.freeze(ctx, false) }

func (g *Group) freeze(ctx context.Context, on bool) error {
	op, value := "thaw", "0"
	if on {
		op, value = "freeze", "1"
	}
	err := g.write("cgroup.freeze", value)
	if err == nil {
		err = g.await(ctx, func(events []byte) bool { return flag(events, "frozen") == on })
	}
	if err != nil {
		return &Error{Op: op, Path: g.Path(), Err: err}
	}
	return nil
}

// The pauses of Remove, while the kernel still refuses an empty group.
const (
	removePause    = 100 * time.Microsecond
	removePauseMax = 20 * time.Millisecond
)

// Remove removes the group and all below it as soon as they are empty; it does
// not empty them. It returns the context's error if they are not by then.
func (g *Group) Remove(ctx context.Context) error {
	pause := removePause
	for {
		err := g.remove()
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) {
			return &Error{Op: "remove", Path: g.Path(), Err: err}
		}
		// EBUSY: a process lives there, which events will tell; or none does,
		// but the kernel has not let go of the last yet, which nothing tells.
		if err := g.WaitEmpty(ctx); err != nil {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return &Error{Op: "remove", Path: g.Path(), Err: ctx.Err()}
		case <-timer.C:
		}
		pause = min(2*pause, removePauseMax)
	}
}

// TryRemove removes the group if no process lives in it and no group is below
// it; it says whether it is gone.
func (g *Group) TryRemove() bool {
	err := g.rmdir()
	return err == nil || gone(err)
}

// remove removes the group and all below it, or fails with EBUSY.
func (g *Group) remove() error {
	err := g.rmdir()
	if err == nil || gone(err) {
		return nil
	}
	if err != unix.EBUSY && err != unix.ENOTEMPTY {
		return err
	}
	// Busy with processes, or with groups below.
	names, lerr := g.List()
	if lerr != nil {
		return lerr
	}
	if len(names) == 0 {
		return err
	}
	for _, name := range names {
		if err := g.t.Group(name).remove(); err != nil {
			return err
		}
	}
	if err := g.rmdir(); err != nil && !gone(err) {
		return err
	}
	return nil
}

func (g *Group) rmdir() error {
	if g.name == "." { // rmdir of "." is EINVAL
		return unix.Rmdir(g.t.dir)
	}
	return unix.Unlinkat(g.t.fd, g.name, unix.AT_REMOVEDIR)
}
