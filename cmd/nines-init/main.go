// Command nines-init is the keeper: PID 1, or a subreaper, that keeps the
// supervisor and the log process alive and ends when the supervisor says so.
// See package keeper. With a command after -- it is the entrypoint for that
// command instead: see package entry.
package main

import (
	"os"

	"golang.org/x/sys/unix"

	"nines/supervisor/boot"
	"nines/supervisor/entry"
	"nines/supervisor/keeper"
)

// version is set by the build (-ldflags -X).
var version string

func main() { os.Exit(run(os.Args[1:], os.Environ())) }

func run(args, env []string) int {
	parent := unix.Getppid() // first of all: it may die
	if len(args) > 0 && args[0] == entry.ShimFlag {
		return entry.Shim(args[1:], env)
	}
	if boot.Detect(unix.Getpid(), env, machineChoice(args)) {
		machine(args, env)
	}
	f, err := parse(args)
	if err != nil {
		keeper.WriteLine(2, err.Error())
		return 2
	}
	switch {
	case f.help:
		return print(usage)
	case f.version:
		v := version
		if v == "" {
			v = "dev"
		}
		return print("nines-init " + v + "\n")
	}
	if c := f.command; c != nil {
		c.Env, c.Stderr, c.Parent = env, 2, parent
		return entry.Run(*c)
	}
	if unix.Getpid() == 1 {
		if err := keeper.Fits(); err != nil {
			keeper.WriteLine(2, err.Error())
			return 1
		}
	}
	keeper.WarmUp()
	place, err := keeper.FindPlace(f.runtimeDir, env, unix.Geteuid())
	if err != nil {
		keeper.WriteLine(2, err.Error())
		return 1
	}
	sup, log, err := keeper.Programs(f.supervisor, f.pass)
	if err != nil {
		keeper.WriteLine(2, err.Error())
		return 1
	}
	return keeper.Run(keeper.Options{
		Supervisor: sup, Log: log, Env: env, Verbose: f.verbose, Stderr: 2, Hardware: boot.NewDog(boot.DefaultWatchdogTimeout),
	}, place)
}

func print(text string) int {
	if _, err := os.Stdout.WriteString(text); err != nil {
		keeper.WriteLine(2, "cannot write: "+err.Error())
		return 1
	}
	return 0
}
