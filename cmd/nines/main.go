// Command nines is how people and programs control the supervisor: a client of
// package ipc with one file a command, and `nines supervise`, which is the
// supervisor itself.
//
// Exit codes: 0 done · 1 it failed · 2 usage · 3 no supervisor answers · 4 not
// permitted · 5 no such service or instance · 128+N ended by signal N.
package main

import (
	"os"
	"time"

	"github.com/mattn/go-isatty"
)

// version is set by the build (-ldflags "-X main.version=…").
var version string

// run is main without the exit.
func run(args []string) int {
	a := &app{
		args: args, in: os.Stdin, out: os.Stdout, err: os.Stderr,
		getenv: os.Getenv, uid: os.Getuid(), now: time.Now,
		outTTY: isatty.IsTerminal(os.Stdout.Fd()),
		errTTY: isatty.IsTerminal(os.Stderr.Fd()),
	}
	// https://no-color.org: set and not empty.
	plain := os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb"
	a.outColor, a.errColor = a.outTTY && !plain, a.errTTY && !plain
	root := newRootCmd(a)
	root.SetArgs(args)
	return a.finish(root.Execute())
}
