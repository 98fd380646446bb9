package vm

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

// packages are built into every guest, each into /usr/bin.
var packages = [][]string{
	{"-ldflags=-s -w", "nines/cmd/nines", "nines/cmd/nines-exec", "nines/cmd/nines-log", "nines/testdata/programs/misbehave", "nines/testdata/vm/guest"},
	// As the Makefile builds it.
	{"-ldflags=-s -w -X=runtime.godebugDefault=asyncpreemptoff=1 -E=nines_start", "nines/cmd/nines-init"},
}

// built are all programs by name, built once a test run.
var built = sync.OnceValues(func() (programs map[string][]byte, err error) {
	dir, err := os.MkdirTemp("", "nines-vm-bin-")
	if err != nil {
		return nil, err
	}
	defer removeAll(dir, &err)
	for _, args := range packages {
		if err := build(dir, args...); err != nil {
			return nil, err
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	programs = map[string][]byte{}
	for _, f := range files {
		if programs[f.Name()], err = os.ReadFile(filepath.Join(dir, f.Name())); err != nil {
			return nil, err
		}
	}
	return programs, nil
})

// removeAll is for defer: it adds its error to the function's.
func removeAll(dir string, err *error) { *err = errors.Join(*err, os.RemoveAll(dir)) }

// build makes static programs in dir; args are package paths, after flags.
func build(dir string, args ...string) error {
	cmd := exec.Command("go", append([]string{"build", "-trimpath", "-buildvcs=false", "-o", dir + "/"}, args...)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot build %q: %w\n%s", args, err, out)
	}
	return nil
}
