//go:build !(amd64 || arm64) || portable

package entry

import (
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// catchable are the signals that Go hands out: not those of faults, not
// SIGPROF. SIGURG it sends to itself.
func catchable() set {
	return ^setOf(unix.SIGILL, unix.SIGTRAP, unix.SIGBUS, unix.SIGFPE, unix.SIGSEGV, unix.SIGSTKFLT, unix.SIGSYS,
		unix.SIGPROF, unix.SIGURG, 34)
}

// catcher writes the number of each signal that comes to a pipe.
type catcher struct {
	signals chan os.Signal
}

func newCatcher(pipe int) (*catcher, error) {
	// As much as a burst may have; the runtime drops what does not fit.
	c := &catcher{signals: make(chan os.Signal, 256)}
	go func() {
		for sig := range c.signals {
			if sig, ok := sig.(unix.Signal); ok {
				// There are 65,536 in it if it does not take one more.
				_, _ = unix.Write(pipe, []byte{byte(sig)})
			}
		}
	}()
	return c, nil
}

func (c *catcher) catch(sigs set) error {
	for sig := unix.Signal(1); sig <= maxSignal; sig++ {
		if sigs.has(sig) {
			signal.Notify(c.signals, sig)
		}
	}
	return nil
}

func (c *catcher) missed() set { return 0 }
