package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"nines/supervisor/notify"
)

// Limits of what one line may cost.
const (
	maxRingLine = 16 << 10 // longer lines are cut in memory, never in files
	maxFileLine = 1 << 20  // longer lines are cut in answers that come from files
)

// How long an orderly end may wait: for the pipes to be written, for the
// keeper and the readers to take what is left.
const (
	drainTime  = 3 * time.Second
	finishTime = time.Second
)

// Config is what Run needs.
type Config struct {
	// KeeperFD is our end of the keeper's socketpair; Run owns it.
	KeeperFD int
	// RuntimeDir is where the query socket is made.
	RuntimeDir string
	// LogDir, where not empty, is also searched for logs of instances that have
	// no pipe now.
	LogDir string
	// Stdout is where lines with ToStdout go; nil: nowhere.
	Stdout *os.File
	// ForceStdout sends the lines of all there.
	ForceStdout bool
	// Color gives each instance's prefix a colour.
	Color bool
	// Stderr takes nines-log's own messages.
	Stderr io.Writer

	stuckAfter time.Duration // tests make it shorter
}

// Run is the log process. It returns nil after an orderly end: the keeper said
// STOPPING=1 or is gone, or ctx ended; what was in the pipes then is written.
func Run(ctx context.Context, c Config) error {
	conn, err := notify.NewConn(c.KeeperFD)
	if err != nil {
		return fmt.Errorf("cannot talk to the keeper: %w", err)
	}
	return run(ctx, c, conn, disk{})
}

func run(ctx context.Context, c Config, conn *notify.Conn, fsys filesystem) (err error) {
	var tasks, talk sync.WaitGroup
	defer talk.Wait()
	defer func() {
		if cerr := conn.Close(); cerr != nil && !errors.Is(cerr, notify.ErrClosed) {
			err = errors.Join(err, cerr)
		}
	}()
	h, err := newHub(c, fsys)
	if err != nil {
		return err
	}
	defer h.closePipes()
	ln, path, err := listen(c.RuntimeDir)
	if err != nil {
		return errors.Join(err, h.poll.close())
	}
	s := newServer(h, ln)

	queries, endQueries := context.WithCancel(context.Background())
	defer endQueries()
	tasks.Go(func() { s.serve(queries) })
	tasks.Go(func() {
		if err := h.poll.run(h.ready); err != nil {
			h.print("cannot watch pipes any more: " + err.Error())
			// Without eyes it is of no use; the keeper starts another.
			_ = conn.Close()
		}
	})
	shown := make(chan struct{})
	go func() { // it may hang in a write for ever, and is then left behind
		defer close(shown)
		if c.Stdout != nil {
			h.console(queries, c.Stdout, c.Color)
		}
	}()

	told := make(chan struct{}) // nothing more is to be reported
	toldAll := make(chan struct{})
	talk.Go(func() {
		defer close(toldAll)
		h.tell(conn, told)
	})
	ended := make(chan error, 1)
	talk.Go(func() { ended <- h.hear(conn) })
	err = conn.Send(notify.Message{notify.Ready()}.Append(nil), nil)
	if err != nil && !errors.Is(err, notify.ErrClosed) {
		err = fmt.Errorf("cannot tell the keeper that logs are ready: %w", err)
	} else {
		select {
		case err = <-ended:
		case <-ctx.Done():
			err = nil
		}
	}

	err = errors.Join(err, ln.Close(), ignoreMissing(os.Remove(path)))
	h.drain(drainTime)
	err = errors.Join(err, h.poll.close())
	packed := make(chan struct{})
	go func() { defer close(packed); h.waitPacked() }() // left behind if a disk is stuck
	within(finishTime, packed)
	endQueries()
	s.finish(finishTime)
	close(told)
	within(finishTime, toldAll)
	within(finishTime, shown)
	tasks.Wait()
	return err
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func within(d time.Duration, done <-chan struct{}) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
	}
}

// hear does what the keeper says until it says STOPPING=1 or is gone.
func (h *hub) hear(conn *notify.Conn) error {
	buf := make([]byte, notify.MaxMessage)
	for {
		n, fds, err := conn.Receive(buf)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, notify.ErrClosed):
			return nil
		case errors.Is(err, notify.ErrTruncated):
			h.print("cannot take pipes from the keeper: out of descriptors (raise the limit, `ulimit -n`) or an overlong message: output of some instances is not read")
			continue
		case err != nil:
			return fmt.Errorf("cannot hear the keeper: %w", err)
		}
		m, err := notify.Parse(buf[:n])
		if err != nil {
			notify.CloseAll(fds)
			h.print("cannot understand the keeper: " + err.Error())
			continue
		}
		if v, ok := m.Get(notify.KeyStopping); ok && v == "1" {
			notify.CloseAll(fds)
			return nil
		}
		h.receive(m, fds)
	}
}

// receive takes over pipes: the n-th FDNAME is of the n-th descriptor, its
// settings follow it.
func (h *hub) receive(m notify.Message, fds []int) {
	type pair struct{ name, settings string }
	var pairs []pair
	for _, f := range m {
		switch f.Key {
		case notify.KeyFDName:
			pairs = append(pairs, pair{name: f.Value})
		case notify.KeyLog:
			if n := len(pairs); n > 0 {
				pairs[n-1].settings = f.Value
			}
		}
	}
	if len(pairs) != len(fds) {
		h.print("cannot take pipes from the keeper: not as many names as descriptors")
		notify.CloseAll(fds)
		return
	}
	for i, p := range pairs {
		h.adopt(fds[i], p.name, p.settings)
	}
}

// tell reports the pipes that ended, until done is closed and the rest is told.
func (h *hub) tell(conn *notify.Conn, done <-chan struct{}) {
	for {
		names := h.takeEnded()
		for _, name := range names {
			for {
				err := conn.Send(notify.Message{notify.FDStoreRemove(), notify.FDName(name)}.Append(nil), nil)
				if errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.ENOMEM) {
					time.Sleep(10 * time.Millisecond) // the kernel has no memory for it now
					continue
				}
				if err != nil {
					return // the keeper is gone; its successor sends its own
				}
				break
			}
		}
		select {
		case <-h.wake:
			continue
		default:
		}
		select {
		case <-h.wake:
		case <-done:
			if len(names) == 0 {
				return
			}
		}
	}
}

func isRefused(err error) bool { return errors.Is(err, unix.ECONNREFUSED) }
