package keeper

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// lockName is the file in the runtime directory that the one keeper holds
// locked and that has its pid. It is never removed: two could then hold two.
const lockName = "keeper.lock"

// lock makes this the one keeper of dir, until the descriptor is closed or the
// process ends. The descriptor is not inherited, so neither is the lock.
func lock(dir string, pid int) (fd int, err error) {
	path := filepath.Join(dir, lockName)
	fd, err = openRetry(path, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return -1, refusal("cannot open " + path + ": " + err.Error() + ": give --runtime-dir a folder that you may write to")
	}
	// Whoever can open it can hold its lock, and so keep us from starting.
	_ = unix.Fchmod(fd, 0o600) // it fails where the file is not ours: then it was not we who left it open
	for {
		err = unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
		if err != unix.EINTR {
			break
		}
	}
	if err == unix.EWOULDBLOCK {
		first := readPID(fd)
		_ = unix.Close(fd) // was only read
		return -1, refusal("cannot start: another nines-init" + first + " keeps " + dir +
			": stop it (nines shutdown), or give --runtime-dir another folder")
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, refusal("cannot lock " + path + ": " + err.Error() + ": give --runtime-dir a folder on a local file system")
	}
	// The pid is for people; a full disk must not keep the keeper from its work.
	// Written first and cut afterwards, so that nobody reads an empty file.
	text := strconv.Itoa(pid) + "\n"
	if _, err := unix.Pwrite(fd, []byte(text), 0); err == nil {
		_ = unix.Ftruncate(fd, int64(len(text)))
	}
	return fd, nil
}

func readPID(fd int) string {
	b := make([]byte, 32)
	n, err := unix.Pread(fd, b, 0)
	if err != nil || n <= 0 {
		return ""
	}
	line, _, _ := strings.Cut(string(b[:n]), "\n")
	if _, err := strconv.Atoi(line); err != nil {
		return ""
	}
	return " (pid " + line + ")"
}

// Dir is the folder that this program is in.
func Dir() string { return filepath.Dir(executable()) }

// executable is where this program is.
func executable() string {
	if path, err := os.Executable(); err == nil {
		return path
	}
	// No /proc (PID 1 before it is mounted).
	path, err := filepath.Abs(os.Args[0])
	if err != nil {
		return os.Args[0]
	}
	return path
}
