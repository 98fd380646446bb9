//go:build ninesfault

package supervisor

import (
	"os"
	"syscall"
)

// fault ends the supervisor by SIGKILL, as if at this very instruction, if
// NINES_FAULT names the point and the file NINES_FAULT_ONCE, where one is named,
// is still there.
func fault(point string) {
	if os.Getenv("NINES_FAULT") != point {
		return
	}
	if once := os.Getenv("NINES_FAULT_ONCE"); once != "" && os.Remove(once) != nil {
		return // it died there before
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
		panic(err)
	}
	select {}
}
