//go:build ninesfault

package supervisor

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// fault ends the supervisor by SIGKILL, as if at this very instruction, if
// NINES_FAULT names the point and the file NINES_FAULT_ONCE, where one is named,
// is still there. "POINT:N" is the Nth time that it comes there while that file is,
// and "*" only adds each point to it, a line each.
func fault(point string) {
	want, n, _ := strings.Cut(os.Getenv("NINES_FAULT"), ":")
	if want != point && want != "*" {
		return
	}
	once := os.Getenv("NINES_FAULT_ONCE")
	if times, err := strconv.Atoi(n); want == "*" || err == nil {
		if f, err := os.OpenFile(once, os.O_WRONLY|os.O_APPEND, 0); err == nil {
			_, err = f.WriteString(point + "\n")
			if err = errors.Join(err, f.Close()); err != nil {
				panic(err)
			}
		}
		if b, _ := os.ReadFile(once); want == "*" || bytes.Count(b, []byte("\n")) < times {
			return
		}
	}
	if once != "" && os.Remove(once) != nil {
		return // it died there before
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
		panic(err)
	}
	select {}
}
