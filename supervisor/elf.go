package supervisor

import (
	"os"
	"syscall"

	"nines/supervisor/program"
)

// openProgram opens a file that is to be executed in place of one of ours, and
// refuses what cannot be: so a mistake costs nothing. That it works is shown by
// running it.
func openProgram(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO does not hold us up
	if err != nil {
		return nil, refuseUpgrade("%v", err)
	}
	if err := checkProgram(f, path); err != nil {
		_ = f.Close() // was only read
		return nil, err
	}
	return f, nil
}

func checkProgram(f *os.File, path string) error {
	fi, err := f.Stat()
	switch {
	case err != nil:
		return refuseUpgrade("%v", err)
	case !fi.Mode().IsRegular():
		return refuseUpgrade("%s is no regular file", path)
	case fi.Mode()&0o111 == 0:
		return refuseUpgrade("%s is not executable: chmod +x", path)
	case fi.Mode()&0o002 != 0:
		return refuseUpgrade("everyone may write to %s: chmod o-w", path)
	}
	theirs, err := program.Read(f, fi.Size())
	if err != nil {
		return refuseUpgrade("%s is no whole program: %v", path, err)
	}
	own, err := program.ReadFile("/proc/self/exe")
	if err != nil {
		return nil // without /proc there is nothing to compare it with
	}
	if own.Machine != theirs.Machine || own.Class != theirs.Class || own.Data != theirs.Data {
		return refuseUpgrade("%s is for %s %s, this machine is %s %s", path, theirs.Machine, theirs.Class, own.Machine, own.Class)
	}
	return nil
}
