// Command guest is what the VM harness runs inside: it mounts a machine, starts
// nines-init on it, runs the script and hands the results to the host.
//
//	guest keep [ARG]…   as PID 1: mount, load modules, exec nines-init ARG…
//	guest script        as PID 1: the same, then run the script without nines
//	guest drive         run the script, as a task under nines
//	guest modules       load the modules
//	guest orphans N     leave N children to PID 1, waiting for a signal
//	guest limit PID nofile N
//	                    set a process's soft limit of open files
//	guest container [-ro] CGROUP COMMAND…
//	                    run it there, in a cgroup namespace of its own
//	go build …          see gobuild.go
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

func main() {
	err := run(os.Args)
	if err == nil {
		return
	}
	// PID 1's end is a panic of the kernel, which ends the machine.
	fmt.Fprintln(os.Stderr, "guest:", err)
	os.Exit(1)
}

func run(args []string) error {
	if filepath.Base(args[0]) == "go" {
		return goBuild(args[1:])
	}
	if len(args) < 2 {
		return errors.New("cannot run without a mode: its documentation lists them")
	}
	switch args[1] {
	case "keep":
		if err := prepare(); err != nil {
			return err
		}
		return exec(append([]string{"/usr/bin/nines-init"}, args[2:]...))
	case "script":
		if err := prepare(); err != nil {
			return err
		}
		return drive(true)
	case "drive":
		return drive(false)
	case "modules":
		return loadModules()
	case "limit":
		return limit(args[2:])
	case "container":
		return container(args[2:])
	case "orphans":
		return orphans(args[2:])
	}
	return fmt.Errorf("cannot run %q: there is no such mode", args[1])
}

// exec never returns nil. The environment is a fixed one: the kernel's has odds
// and ends of its command line.
func exec(argv []string) error {
	env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "TERM=linux"}
	text, err := os.ReadFile("/etc/vm/env")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		env = append(env, strings.TrimSpace(line))
	}
	return os.NewSyscallError("execve", unix.Exec(argv[0], argv, env))
}
