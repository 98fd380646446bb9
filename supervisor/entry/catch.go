//go:build (amd64 || arm64) && !portable

package entry

import (
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// caught is what the handler needs to know. A handler belongs to the process, so
// there is one of it; it is set before the handler is, and only the bits of
// missed change afterwards. The order of the fields is the assembly's too.
var caught struct {
	pid     int32   // ours
	pipe    int32   // where the number of each signal is written to
	runtime uintptr // Go's handler
	missed  uint64  // set of those that the pipe had no room for
}

// handlerPC is the address of the signal handler: see catch_amd64.s.
func handlerPC() uintptr

// catchable are the signals that catch can have: all.
func catchable() set { return ^set(0) }

// catcher writes the number of each signal that comes to a pipe.
type catcher struct {
	new action
}

// newCatcher makes the one catcher of the process.
func newCatcher(pipe int) (*catcher, error) {
	// As the runtime does it: on the stack that each of its threads has for
	// signals, with all others blocked, returning through the same function.
	var c catcher
	if err := sigaction(unix.SIGTERM, nil, &c.new); err != nil {
		return nil, err
	}
	state := &caught
	state.pid, state.pipe, state.runtime = int32(unix.Getpid()), int32(pipe), c.new.handler
	c.new.handler = handlerPC()
	return &c, nil
}

func (c *catcher) catch(sigs set) error {
	for sig := unix.Signal(1); sig <= maxSignal; sig++ {
		if sigs.has(sig) {
			if err := sigaction(sig, &c.new, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// missed takes the signals that found no room in the pipe.
func (c *catcher) missed() set {
	return set(atomic.SwapUint64(&caught.missed, 0))
}
