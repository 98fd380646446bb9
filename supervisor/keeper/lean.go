package keeper

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// dropText lets go of the pages of the program's own file that only the beginning
// needed: 2 MiB of text, of which what is needed on comes back from the page cache
// at the next instruction. They are the largest part of what PID 1 keeps resident.
// Only what nobody can have written to is dropped, for it is read again.
func dropText() error {
	b, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(b)) {
		from, to, ok := ownText(line)
		if !ok {
			continue
		}
		if _, _, errno := unix.RawSyscall(unix.SYS_MADVISE, from, to-from, unix.MADV_DONTNEED); errno != 0 {
			return os.NewSyscallError("madvise", errno)
		}
	}
	return nil
}

// ownText reads a line of /proc/PID/maps (proc(5)): "FROM-TO PERMS OFFSET DEVICE
// INODE PATH". A static program has no file mapped but its own.
func ownText(line string) (from, to uintptr, ok bool) {
	f := strings.Fields(line)
	if len(f) < 6 || len(f[1]) != 4 || f[1][1] != '-' || f[1][3] != 'p' || f[4] == "0" {
		return 0, 0, false
	}
	first, last, _ := strings.Cut(f[0], "-")
	a, err1 := strconv.ParseUint(first, 16, strconv.IntSize)
	b, err2 := strconv.ParseUint(last, 16, strconv.IntSize)
	return uintptr(a), uintptr(b), err1 == nil && err2 == nil && a < b
}
