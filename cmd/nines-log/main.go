// Command nines-log reads the services' output. The keeper starts it with its
// end of a socketpair as NINES_KEEPER_FD; people never run it.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"

	"github.com/mattn/go-isatty"
	"golang.org/x/sys/unix"

	"nines/supervisor/logs"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "nines-log: %v\n", err)
		os.Exit(1)
	}
}

func run() error {
	fd, err := strconv.Atoi(os.Getenv("NINES_KEEPER_FD"))
	if err != nil || fd < 3 {
		return fmt.Errorf("cannot start: NINES_KEEPER_FD is %q: nines-log is started by nines-init, not by hand", os.Getenv("NINES_KEEPER_FD"))
	}
	unix.CloseOnExec(fd)
	dir := os.Getenv("NINES_RUNTIME_DIR")
	if dir == "" {
		return fmt.Errorf("cannot start: NINES_RUNTIME_DIR is not set: nines-log is started by nines-init, not by hand")
	}
	// Whatever we inherited: nobody but us and our group reads what is logged.
	unix.Umask(0o027)
	// Little is allocated while lines pass through, so a small heap costs little.
	debug.SetGCPercent(40)
	// A terminal's hang-up and Ctrl-C are the keeper's to judge; a closed
	// stdout is an error of write, not a death.
	signal.Ignore(unix.SIGHUP, unix.SIGINT, unix.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	return logs.Run(ctx, logs.Config{
		KeeperFD:    fd,
		RuntimeDir:  dir,
		LogDir:      os.Getenv("NINES_LOG_DIR"),
		Stdout:      os.Stdout,
		ForceStdout: os.Getenv("NINES_LOG_STDOUT") == "1",
		Color:       os.Getenv("NO_COLOR") == "" && isatty.IsTerminal(os.Stdout.Fd()),
		Stderr:      os.Stderr,
	})
}
