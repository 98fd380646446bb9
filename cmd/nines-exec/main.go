// Command nines-exec stands between the clone and the exec of a service that
// needs what one clone cannot set: umask, rlimits, nice, oom_score_adj,
// LISTEN_PID. The supervisor starts it; it is never run by people. See package
// shim.
package main

import (
	"golang.org/x/sys/unix"

	"nines/supervisor/proc/shim"
)

// Package os is left out: what it does at start is not needed here, and each
// start waits for it.
func main() { unix.Exit(shim.Run()) }
