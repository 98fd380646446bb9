package keeper

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// dropText lets go of the pages of the program's own file that only the beginning
// needed: 2 MiB of text and tables, of which what is needed on comes back from the
// page cache when it is touched. They are the largest part of what PID 1 keeps
// resident. It is dropped only where nobody has written to it, for it is read again:
// a dynamic loader makes pages read-only that it has written to.
func dropText() error {
	b, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return err
	}
	var from, to uintptr // 0: nothing that could be dropped
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		switch {
		case len(f) > 1 && !strings.HasSuffix(f[0], ":"):
			from, to = readOnly(f)
		case to != 0 && len(f) == 3 && f[0] == "Anonymous:" && f[1] == "0":
			if _, _, errno := unix.RawSyscall(unix.SYS_MADVISE, from, to-from, unix.MADV_DONTNEED); errno != 0 {
				return os.NewSyscallError("madvise", errno)
			}
		}
	}
	return nil
}

// readOnly is the range of a mapping of a file that cannot be written to, by the
// words of its line in /proc/PID/smaps (proc(5)): FROM-TO PERMS OFFSET DEVICE INODE
// PATH. 0: it is another.
func readOnly(f []string) (from, to uintptr) {
	if len(f) < 6 || f[1] != "r-xp" && f[1] != "r--p" || f[4] == "0" {
		return 0, 0
	}
	first, last, _ := strings.Cut(f[0], "-")
	a, err1 := strconv.ParseUint(first, 16, strconv.IntSize)
	b, err2 := strconv.ParseUint(last, 16, strconv.IntSize)
	if err1 != nil || err2 != nil || a >= b {
		return 0, 0
	}
	return uintptr(a), uintptr(b)
}
