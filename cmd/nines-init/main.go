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
	var past *keeper.Resumption
	check := len(args) > 0 && args[0] == keeper.CheckFlag
	switch {
	case check:
		args = args[1:]
		machine, ok := keeper.CheckState()
		if !ok {
			return 1
		}
		if machine {
			return 0 // words of the kernel's are among the arguments; wrong ones it goes without
		}
	case len(args) > 1 && args[0] == keeper.ResumeFlag:
		past = keeper.ReadResumption(args[1], entry.Mask() != nil, &keeper.Machine{Power: boot.Asked})
		entry.RaisePending()
		args = args[2:]
		if past.Machine() {
			machine(args, env, past)
		}
	}
	if past == nil && !check && boot.Detect(unix.Getpid(), env, machineChoice(args)) {
		machine(args, env, nil)
	}
	f, err := parse(args)
	if past != nil && (err != nil || f.command != nil) {
		past.GoBack("it does not know the command line")
	}
	if err != nil || check || f.help || f.version {
		entry.Mortal()
	}
	if check && err == nil {
		return 0
	}
	if err != nil {
		keeper.WriteLine(2, err.Error())
		return 2
	}
	switch {
	case f.help:
		return print(usage)
	case f.version:
		return print("nines-init " + named() + "\n")
	}
	if c := f.command; c != nil {
		c.Env, c.Stderr, c.Parent = env, 2, parent
		return entry.Run(*c)
	}
	if unix.Getpid() == 1 && past == nil {
		if err := keeper.Fits(); err != nil {
			keeper.WriteLine(2, err.Error())
			return 1
		}
	}
	keeper.WarmUp()
	o := keeper.Options{Env: env, Args: args, Dir: keeper.Dir(), Version: named(), Verbose: f.verbose, Stderr: 2,
		Mask: entry.Mask(), Hardware: boot.NewDog(boot.DefaultWatchdogTimeout)}
	if past != nil {
		o.Dir = past.Dir()
	}
	o.Supervisor, o.Log, err = keeper.Programs(o.Dir, f.supervisor, f.pass)
	if past != nil {
		if err != nil {
			past.GoBack(err.Error())
		}
		return keeper.Resume(o, past)
	}
	var place keeper.Place
	if err == nil {
		place, err = keeper.FindPlace(f.runtimeDir, env, unix.Geteuid())
	}
	if err != nil {
		keeper.WriteLine(2, err.Error())
		return 1
	}
	return keeper.Run(o, place)
}

// named is the version that the build stamped.
func named() string {
	if version == "" {
		return "dev"
	}
	return version
}

func print(text string) int {
	if _, err := os.Stdout.WriteString(text); err != nil {
		keeper.WriteLine(2, "cannot write: "+err.Error())
		return 1
	}
	return 0
}
