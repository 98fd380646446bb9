// Command nines-exec stands between the clone and the exec of a service that
// needs what one clone cannot set: umask, rlimits, nice, oom_score_adj. The
// supervisor starts it; it is never run by people. See package shim.
package main

import (
	"os"

	"nines/supervisor/proc/shim"
)

func main() { os.Exit(shim.Run()) }
