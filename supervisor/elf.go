package supervisor

import (
	"debug/elf"
	"errors"
	"io/fs"
	"os"
	"syscall"
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
	theirs, err := readELF(f, fi)
	if err != nil {
		return refuseUpgrade("%s is no whole program: %v", path, err)
	}
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return nil // without /proc there is nothing to compare it with
	}
	defer self.Close()
	own, err := elf.NewFile(self)
	if err != nil {
		return nil // it is none of the new one's business
	}
	if own.Machine != theirs.Machine || own.Class != theirs.Class || own.Data != theirs.Data {
		return refuseUpgrade("%s is for %s %s, this machine is %s %s", path, theirs.Machine, theirs.Class, own.Machine, own.Class)
	}
	return nil
}

// readELF reads the head of a program, all of whose parts must be there.
func readELF(f *os.File, fi fs.FileInfo) (*elf.File, error) {
	e, err := elf.NewFile(f)
	if err != nil {
		return nil, err
	}
	if e.Type != elf.ET_EXEC && e.Type != elf.ET_DYN {
		return nil, errors.New("it cannot be executed")
	}
	for _, p := range e.Progs {
		if p.Type == elf.PT_LOAD && p.Off+p.Filesz > uint64(fi.Size()) {
			return nil, errors.New("it is cut off")
		}
	}
	return e, nil
}
