//go:build ninesfault

package supervisor

import (
	"os"
	"syscall"
)

// fault ends the supervisor by SIGKILL, as if at this very instruction, if
// NINES_FAULT names the point and the file NINES_FAULT_ONCE is still there.
func fault(point string) {
	if os.Getenv("NINES_FAULT") != point {
		return
	}
	if err := os.Remove(os.Getenv("NINES_FAULT_ONCE")); err != nil {
		return // it died there before
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
		panic(err)
	}
	select {}
}
