package logs

import (
	"context"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Limits of what one line may cost.
const (
	maxRingLine = 16 << 10 // longer lines are cut in memory, never in files
	maxFileLine = 1 << 20  // longer lines are cut in answers that come from files
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
}

// Run is the log process. It returns nil after an orderly end: the keeper said
// STOPPING=1 or is gone, or ctx ended; what was in the pipes then is written.
func Run(ctx context.Context, c Config) error {
	return errors.New("cannot run: not built yet")
}

func isRefused(err error) bool { return errors.Is(err, unix.ECONNREFUSED) }
