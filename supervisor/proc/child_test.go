package proc

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// childPrograms are what the test binary can be instead of tests.
func childPrograms() map[string]func() int {
	return map[string]func() int{
		"spawn-cat":  spawnCat,
		"spawn-fail": spawnFail,
	}
}

func die(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// spawnCat leaks descriptors to itself, and then starts cat on os.Args[1:]
// without and with the shim, with standard output as it is.
func spawnCat() int {
	var leak [2]int
	if err := unix.Pipe(leak[:]); err != nil {
		return die(err)
	}
	s, err := NewSpawner(os.Getenv(binVariable) + "/nines-exec")
	if err != nil {
		return die(err)
	}
	umask := uint32(0o22)
	for _, u := range []*uint32{nil, &umask} {
		pid, confirm, err := s.Start(&Command{
			Argv:   append([]string{"/bin/cat"}, os.Args[1:]...),
			Stdout: 1, Stderr: 2, CgroupFD: -1, Umask: u,
		})
		if err != nil {
			return die(err)
		}
		if confirm != nil {
			if err := confirm(); err != nil {
				return die(err)
			}
		}
		if _, err := unix.Wait4(pid, nil, 0, nil); err != nil {
			return die(err)
		}
	}
	return 0
}

// spawnFail starts something with no descriptor left, and prints the error.
func spawnFail() int {
	s, err := NewSpawner(os.Getenv(binVariable) + "/nines-exec")
	if err != nil {
		return die(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 4, Max: 100}); err != nil {
		return die(err)
	}
	umask := uint32(0o22)
	for _, u := range []*uint32{nil, &umask} {
		_, _, err := s.Start(&Command{Argv: []string{"/bin/true"}, Stdout: -1, Stderr: -1, CgroupFD: -1, Umask: u})
		e, ok := err.(*Error)
		if !ok {
			return die(fmt.Errorf("no *Error but %w", err))
		}
		fmt.Println(e.Step, e.Again(), e.ExitCode(), e)
	}
	return 0
}
