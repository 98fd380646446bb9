package boot

import (
	"errors"
	"time"
)

// errTimeout says that something was left behind in the kernel.
var errTimeout = errors.New("it did not return in time")

// maxLeft is how many threads limited may leave behind: PID 1 has some made
// beforehand, and may find no others.
const maxLeft = 6

// limited is bounded for what there may be many of, and the machine can end
// without.
func (m *Machine) limited(d time.Duration, f func() error) error {
	if m.left >= maxLeft {
		return errors.New("too much hangs already")
	}
	return m.bounded(d, f)
}

// bounded runs f and waits at most d for it. After that f is left behind, with
// its thread. A panic of f is an error of it.
func (m *Machine) bounded(d time.Duration, f func() error) error {
	done := make(chan error, 1)
	go func() {
		defer func() {
			if r := recover(); r != nil {
				done <- errors.New("internal error: " + panicText(r))
			}
		}()
		done <- f()
	}()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case err := <-done:
		return err
	case <-t.C:
		m.left++
		return errTimeout
	}
}

func panicText(r any) string {
	switch v := r.(type) {
	case error:
		return v.Error()
	case string:
		return v
	}
	return "panic"
}

// Guard runs f. A panic is said, and costs f alone.
func (m *Machine) Guard(what string, f func()) { m.step(what, f) }

// step runs one part of a sequence. A panic costs this part alone.
func (m *Machine) step(what string, f func()) {
	defer func() {
		if r := recover(); r != nil {
			m.say("internal error in " + what + ": " + panicText(r) + ": it goes on; please report it")
		}
	}()
	f()
}
