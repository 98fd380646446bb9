package main

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// limit sets the soft limit of open files of a running process.
func limit(args []string) error {
	if len(args) != 3 || args[1] != "nofile" {
		return errors.New("cannot set a limit: it takes PID nofile N")
	}
	pid, err1 := strconv.Atoi(args[0])
	n, err2 := strconv.ParseUint(args[2], 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	var l unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &l); err != nil {
		return os.NewSyscallError("prlimit", err)
	}
	l.Cur = n
	return os.NewSyscallError("prlimit", unix.Prlimit(pid, unix.RLIMIT_NOFILE, &l, nil))
}
