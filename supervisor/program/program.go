// Package program says beforehand whether the kernel would execute a file, in words
// that help: so that a deploy of one for another machine, or of half a file, costs
// nothing but its refusal.
//
// It refuses only what is sure to fail. What depends on the user, on a sandbox or on
// libraries is for the exec itself to say, and a format that nobody here knows may be
// one that binfmt_misc does.
package program

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Error is why a file cannot be executed.
type Error struct {
	Path string
	Why  string // with the remedy, where there is one
	Err  error  // ErrCutOff, ErrMachine, or nil
}

func (e *Error) Error() string { return "cannot execute " + e.Path + ": " + e.Why }
func (e *Error) Unwrap() error { return e.Err }

// Reasons that a caller may act on.
var (
	ErrCutOff  = errors.New("it is cut off")
	ErrMachine = errors.New("it is for another machine")
)

// headSize is how much of a file the kernel looks at to tell what it is; a script's
// first line may be no longer either.
const headSize = 256

// Check looks at the file that path leads to. An error is an *Error if the file is
// at fault, else a *fs.PathError: it could not be looked at.
func Check(path string) error {
	return checker{self: "/proc/self/exe", binfmt: "/proc/sys/fs/binfmt_misc"}.check(path)
}

// checker has what else of the machine a file is compared with.
type checker struct {
	self   string // a program that is known to run here
	binfmt string
}

func (c checker) check(path string) error {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO does not hold us up
	if err != nil {
		return err
	}
	defer f.Close() // was only read
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	refuse := func(why string, err error) error { return &Error{Path: path, Why: why, Err: err} }
	switch {
	case fi.IsDir():
		return refuse("it is a folder: name a program in it", nil)
	case !fi.Mode().IsRegular():
		return refuse("it is no regular file", nil)
	case fi.Mode()&0o111 == 0:
		return refuse("it is not executable: chmod +x", nil)
	case fi.Size() == 0:
		return refuse("it is empty", ErrCutOff)
	case noexec(f):
		return refuse("its filesystem is mounted noexec: mount it with exec, or put the state folder elsewhere (--state-dir)", nil)
	}
	head := make([]byte, headSize)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	head = head[:n]
	switch line, script := strings.CutPrefix(string(head), "#!"); {
	case script:
		return c.script(path, line)
	case strings.HasPrefix(string(head), magic):
		return c.elf(path, f, fi.Size())
	case c.otherFormats():
		return nil
	case !strings.Contains(string(head), "\x00"):
		return refuse("it is no program: a script begins with #! and its interpreter", nil)
	}
	return refuse("it is no program of a format that is known here", nil)
}

// stNoexec is ST_NOEXEC of statfs(2).
const stNoexec = 0x8

// noexec says whether nothing on the file's filesystem can be executed. /var often
// is mounted so.
func noexec(f *os.File) bool {
	var st syscall.Statfs_t
	return syscall.Fstatfs(int(f.Fd()), &st) == nil && st.Flags&stNoexec != 0
}

// script checks that the interpreter is there. line is what follows #!.
func (c checker) script(path, line string) error {
	line, _, _ = strings.Cut(line, "\n")
	line = strings.Trim(line, " \t")
	name, _, _ := strings.Cut(strings.ReplaceAll(line, "\t", " "), " ")
	if name == "" {
		return &Error{Path: path, Why: "its first line names no interpreter"}
	}
	if strings.HasSuffix(name, "\r") {
		return &Error{Path: path, Why: "its first line ends in a carriage return, as written on Windows: dos2unix"}
	}
	return interpreter(path, name)
}

// interpreter checks what a script, or a dynamically linked program, is run by.
func interpreter(path, name string) error {
	if !filepath.IsAbs(name) {
		return nil // from wherever the service is
	}
	fi, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &Error{Path: path, Why: "its interpreter " + name + " does not exist: install it, or deploy a program that is linked statically"}
	case err != nil:
		return nil // that we cannot look does not mean that the service could not
	case fi.IsDir() || fi.Mode()&0o111 == 0:
		return &Error{Path: path, Why: "its interpreter " + name + " is not executable"}
	}
	return nil
}

func (c checker) elf(path string, f *os.File, size int64) error {
	h, err := Read(f, size)
	if err != nil {
		return &Error{Path: path, Why: "it is no whole program: " + err.Error(), Err: err}
	}
	if own, err := ReadFile(c.self); err == nil && !own.Runs(h) && !c.otherFormats() {
		return &Error{Path: path, Why: "it is for " + h.Name() + ", this machine is " + own.Name(), Err: ErrMachine}
	}
	if h.Interpreter == "" {
		return nil
	}
	return interpreter(path, h.Interpreter)
}

// otherFormats says whether anything was taught to the kernel: an emulator of
// another machine, for example.
func (c checker) otherFormats() bool {
	entries, err := os.ReadDir(c.binfmt)
	if err != nil {
		return false // it is not mounted, so that nothing was
	}
	for _, e := range entries {
		if e.Name() != "register" && e.Name() != "status" {
			return true
		}
	}
	return false
}
