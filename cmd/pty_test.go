package cmd_test

import (
	"os"

	"golang.org/x/sys/unix"
)

// ptyNumber unlocks the inner end of a pseudo terminal and tells its number.
func ptyNumber(outer *os.File) (n int, err error) {
	raw, err := outer.SyscallConn()
	if err != nil {
		return 0, err
	}
	cerr := raw.Control(func(fd uintptr) {
		if err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err == nil {
			n, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	})
	if err == nil {
		err = cerr
	}
	return n, err
}
