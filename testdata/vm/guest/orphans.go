package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// orphans starts a parent that starts N children, which all wait for the end of
// one pipe, and dies: they are PID 1's now. The pipe is then closed, so that
// they end at once. It prints "orphaned N" before that.
func orphans(args []string) error {
	if len(args) == 0 {
		return errors.New("cannot leave orphans: how many?")
	}
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	if len(args) == 2 { // the parent: fd 3 is the pipe
		pipe := os.NewFile(3, "pipe")
		for range n {
			if _, err := os.StartProcess("/bin/busybox", []string{"cat"}, &os.ProcAttr{Files: []*os.File{pipe}}); err != nil {
				return err
			}
		}
		return nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	parent, err := os.StartProcess("/usr/bin/guest", []string{"guest", "orphans", args[0], "parent"}, &os.ProcAttr{Env: os.Environ(), Files: []*os.File{nil, os.Stdout, os.Stderr, r}})
	if err != nil {
		return err
	}
	if state, err := parent.Wait(); err != nil || !state.Success() {
		return fmt.Errorf("cannot start the orphans: %v, %w", state, err)
	}
	fmt.Println("orphaned", n, "children of PID 1:", childrenOfInit())
	return w.Close()
}

// childrenOfInit counts them.
func childrenOfInit() int {
	text, err := os.ReadFile("/proc/1/task/1/children")
	if err != nil {
		return -1
	}
	return len(strings.Fields(string(text)))
}
