package main

import (
	"errors"
	"fmt"
	"strconv"
)

// idle starts a child process that shares this one's memory and waits for a
// signal for ever; it returns its pid, or a negative errno. Nothing is copied, so
// that ten thousand cost seconds even where the processor is emulated.
func idle() int

// orphans starts N children and ends, which leaves them to PID 1.
func orphans(args []string) error {
	if len(args) != 1 {
		return errors.New("cannot leave orphans: how many?")
	}
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return fmt.Errorf("cannot leave %s orphans: %w", args[0], err)
	}
	for i := range n {
		if pid := idle(); pid < 0 {
			return fmt.Errorf("cannot start orphan %d: errno %d", i, -pid)
		}
	}
	return nil
}
