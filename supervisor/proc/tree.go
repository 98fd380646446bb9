package proc

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"nines/cgroups"
)

// Tree is everything that one start has brought about: its main process, and
// whatever that has started, directly or not.
type Tree struct {
	PID   int
	Start uint64         // StartTime of PID. 0: not known; then, without a Group, a pid used again may be taken for it
	Group *cgroups.Group // nil at level none
	Mark  string         // value of NINES_INCARNATION

	// Without a Group: the subreaper that orphans are given to, and which of
	// its and our children are main processes of others, so that they need not
	// be looked at (nil: none).
	KeeperPID int
	Known     func(pid int) bool

	alone uint8 // for how many samples more MemoryReader takes PID for all of it
}

// killAgain is after how long a group that is still populated is killed once
// more: kill reaches all that is in it, but a process can be moved in later.
const killAgain = time.Second

// Empty says whether nothing of the tree lives. It is for when the main
// process has been reaped; it never blocks, and costs some microseconds when
// nothing is left.
func (t *Tree) Empty() (bool, error) {
	if t.Group != nil {
		populated, err := t.Group.Populated()
		return !populated, err
	}
	found, err := t.search(searchOrphans, nil)
	return len(found) == 0, err
}

// Kill ends everything in the tree, the main process too, and returns when
// nothing lives (what is left are zombies, for their parents to reap) or with
// an error that wraps the context's, naming what still lives. It blocks.
func (t *Tree) Kill(ctx context.Context) error {
	if t.Group != nil {
		return t.killGroup(ctx)
	}
	return t.killSearch(ctx)
}

func (t *Tree) killGroup(ctx context.Context) error {
	for {
		if err := t.Group.Kill(); err != nil {
			return err
		}
		slice, cancel := context.WithTimeout(ctx, killAgain)
		err := t.Group.WaitEmpty(slice)
		cancel()
		if err == nil {
			return nil
		}
		if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			return t.left(err, nil)
		}
	}
}

// left says what could not be ended.
func (t *Tree) left(err error, found []stat) error {
	var pids []int
	if t.Group != nil {
		if p, perr := t.Group.Procs(); perr == nil {
			pids = p
		}
	}
	for _, st := range found {
		pids = append(pids, st.pid)
	}
	const most = 5
	var b strings.Builder
	for i, pid := range pids {
		if i == most {
			b.WriteString(", …")
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(strconv.Itoa(pid))
		if st, err := readStat(pid); err == nil {
			b.WriteString(" (state " + string(rune(st.state)) + ")")
		}
	}
	if b.Len() == 0 {
		b.WriteString("what is dying")
	}
	return &KillError{Mark: t.Mark, Left: b.String(), Err: err}
}

// KillError is a tree that could not be ended in time.
type KillError struct {
	Mark string
	Left string // "812 (state D), 815 (state S)"
	Err  error
}

func (e *KillError) Error() string {
	return "cannot end all processes of " + e.Mark + ": still there: " + e.Left + ": " + e.Err.Error()
}

// Unwrap gives the cause to errors.Is.
func (e *KillError) Unwrap() error { return e.Err }

// stopRounds bounds how often we look for processes that were forked while we
// stopped the others; the next round of killing goes on from there.
const stopRounds = 100

// killWait is how long one look waits for what it has killed, and killHeld how
// many of those it waits for by name.
const (
	killWait = time.Second
	killHeld = 64
)

// killSearch ends what search finds, again and again. All is stopped before
// anything is killed: a stopped process forks no more, and the death of a
// parent would take from us the trace to a child that has left its session and
// cleared its environment.
func (t *Tree) killSearch(ctx context.Context) error {
	mine := map[procID]bool{}
	for {
		found, err := t.stopAll(ctx, mine)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return nil
		}
		refused := t.killAll(ctx, found)
		if ctx.Err() == nil {
			continue
		}
		// Time is up; but was this round enough?
		if found, err = t.search(searchAll, mine); err != nil || len(found) == 0 {
			return err
		}
		return t.left(errors.Join(ctx.Err(), refused), found)
	}
}

// stopAll stops everything that search finds until it finds nothing new, and
// adds it to mine.
func (t *Tree) stopAll(ctx context.Context, mine map[procID]bool) ([]stat, error) {
	stopped := map[procID]bool{}
	for range stopRounds {
		found, err := t.search(searchAll, mine)
		if err != nil {
			return nil, err
		}
		fresh := false
		for _, st := range found {
			id := procID{st.pid, st.start}
			if stopped[id] {
				continue
			}
			stopped[id], mine[id], fresh = true, true, true
			if h, err := hold(st.pid, st.start); err == nil {
				// If it may not be stopped it may not be killed either, which
				// then is said.
				_ = h.signal(unix.SIGSTOP)
				h.close()
			}
		}
		if !fresh || ctx.Err() != nil {
			return found, nil
		}
	}
	return t.search(searchAll, mine)
}

// killAll kills what was found and waits until it has ended, for a while. The
// error is what the kernel refused.
func (t *Tree) killAll(ctx context.Context, found []stat) error {
	var refused error
	var held []handle
	for _, st := range found {
		h, err := hold(st.pid, st.start)
		if err == nil {
			err = h.signal(unix.SIGKILL)
			if len(held) < killHeld {
				held = append(held, h)
			} else {
				h.close()
			}
		}
		if err != nil && !errors.Is(err, unix.ESRCH) {
			refused = &SignalError{PID: st.pid, Signal: "SIGKILL", Err: err}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, killWait)
	defer cancel()
	for _, h := range held {
		h.await(ctx, killWait)
	}
	return refused
}

// protected are processes that no search gives, whatever it looks like: we,
// the keeper and init.
func (t *Tree) protected(pid int) bool {
	return pid <= 1 || pid == t.KeeperPID || pid == os.Getpid()
}
