package cgroups

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Pressure is a line of a PSI file: how much of the time processes were held up
// because a resource was short (Documentation/accounting/psi.rst).
type Pressure struct {
	Avg10, Avg60, Avg300 float64 // percent of the last so many seconds
	Total                time.Duration
}

// ParsePressure reads a PSI file ("cpu.pressure", "/proc/pressure/memory"): some
// of the processes held up, and all of them. ok is false for what is not one.
func ParsePressure(b []byte) (some, full Pressure, ok bool) {
	for line := range bytes.Lines(b) {
		f := bytes.Fields(line)
		if len(f) != 5 {
			continue
		}
		var p Pressure
		good := true
		for i, key := range []string{"avg10=", "avg60=", "avg300=", "total="} {
			text, found := bytes.CutPrefix(f[i+1], []byte(key))
			v, err := strconv.ParseFloat(string(text), 64)
			// Also not NaN, which is neither below nor above anything.
			if good = good && found && err == nil && v >= 0 && v < 1e15; !good {
				break
			}
			switch i {
			case 0:
				p.Avg10 = v
			case 1:
				p.Avg60 = v
			case 2:
				p.Avg300 = v
			case 3:
				us, _ := number(text) // it fits: v does
				p.Total = time.Duration(us) * time.Microsecond
			}
		}
		switch {
		case !good:
		case string(f[0]) == "some":
			some, ok = p, true
		case string(f[0]) == "full":
			full = p
		}
	}
	return some, full, ok
}

// Trigger is a PSI trigger: the kernel tells when processes were held up for
// longer than wanted. It holds a descriptor.
type Trigger struct {
	file   *os.File // the kernel has the trigger as long as it is open
	full   bool
	stall  time.Duration
	Window time.Duration // what the kernel has accepted
}

// The windows that the kernel takes, and what those without CAP_SYS_RESOURCE
// must give: multiples of 2 s.
const (
	windowMin  = 500 * time.Millisecond
	windowMax  = 10 * time.Second
	windowUnit = 2 * time.Second
)

// Trigger makes one for a resource ("cpu", "memory", "io") of a group: stall of
// each window, of some of its processes or of all (full) at once. Where the
// kernel does not take such a window from us, it is the next multiple of 2 s,
// and stall grows with it.
func (g *Group) Trigger(resource string, full bool, stall, window time.Duration) (*Trigger, error) {
	return openTrigger(path.Join(g.Path(), resource+".pressure"), full, stall, window)
}

// MachineTrigger is Trigger for the machine as a whole.
func MachineTrigger(resource string, full bool, stall, window time.Duration) (*Trigger, error) {
	return openTrigger("/proc/pressure/"+resource, full, stall, window)
}

func openTrigger(file string, full bool, stall, window time.Duration) (*Trigger, error) {
	window = min(max(window, windowMin), windowMax)
	t, err := tryTrigger(file, full, stall, window)
	if (errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EPERM)) && window%windowUnit != 0 {
		wider := min((window/windowUnit+1)*windowUnit, windowMax)
		t, err = tryTrigger(file, full, time.Duration(float64(stall)*float64(wider)/float64(window)), wider)
	}
	if err != nil {
		return nil, &Error{Op: "be told of pressure by", Path: file, Err: err}
	}
	return t, nil
}

func tryTrigger(file string, full bool, stall, window time.Duration) (*Trigger, error) {
	var fd int
	err := retry(func() (err error) {
		fd, err = unix.Open(file, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	kind := "some "
	if full {
		kind = "full "
	}
	// With its NUL: the kernel overwrites the last byte.
	text := kind + strconv.FormatInt(stall.Microseconds(), 10) + " " + strconv.FormatInt(window.Microseconds(), 10) + "\x00"
	err = retry(func() error {
		_, err := unix.Write(fd, []byte(text))
		return err
	})
	if err != nil {
		_ = unix.Close(fd) // nothing was written that closing could lose
		return nil, err
	}
	return &Trigger{file: os.NewFile(uintptr(fd), file), full: full, stall: stall, Window: window}, nil
}

// Run calls fn whenever the kernel says that there was more than wanted, which
// is at most once a window, until ctx ends; it returns the context's error then,
// or ENODEV when the group is gone.
func (t *Trigger) Run(ctx context.Context, fn func()) error {
	if err := t.file.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	conn, err := t.file.SyscallConn()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() {
		// It fails only when it was closed, and then nobody waits any more.
		_ = t.file.SetReadDeadline(time.Unix(1, 0))
	})
	defer stop()
	var space [512]byte
	var rerr error
	var last time.Duration
	first := true
	err = conn.Read(func(fd uintptr) bool {
		var n int
		rerr = retry(func() (err error) {
			n, err = unix.Pread(int(fd), space[:], 0)
			return err
		})
		if rerr != nil {
			return true
		}
		p, full, _ := ParsePressure(space[:n])
		if t.full {
			p = full
		}
		// The poller also wakes us when it begins to look, and for the triggers of
		// others: what was held up since the last time tells these apart.
		if !first && p.Total-last < t.stall/2 {
			return false
		}
		last = p.Total
		if !first {
			fn()
		}
		first = false
		return false
	})
	switch {
	case rerr != nil:
		return &Error{Op: "wait for pressure of", Path: t.file.Name(), Err: rerr}
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return err
}

// Close ends it.
func (t *Trigger) Close() error { return t.file.Close() }
