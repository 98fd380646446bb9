package main

import (
	"os"

	"golang.org/x/sys/unix"

	"nines/supervisor/boot"
	"nines/supervisor/entry"
	"nines/supervisor/keeper"
)

// machine is the init of a machine. It does not return: whatever cannot be done
// is said on the console, and a person gets a shell there. past is not nil where
// another program was that init before.
func machine(args, env []string, past *keeper.Resumption) {
	keeper.WarmUp()
	say := keeper.Lines(2)
	dog := boot.NewDog(0)
	m := boot.New(say, dog, env, entry.Mask())
	if past != nil {
		m.Resume()
	} else {
		begin(m, say, env)
	}
	cmdline := m.Cmdline()
	dog.SetTimeout(cmdline.WatchdogTimeout)
	if past == nil && cmdline.Watchdog != "" {
		if err := dog.Open(cmdline.Watchdog); err != nil {
			say(err.Error()) // the keeper tries again
		}
	}
	if past == nil && cmdline.Shell {
		if action := m.Shell("the kernel's command line asks for it"); action != "" {
			m.End(action)
		}
	}
	for {
		why := "nothing could be started"
		state := keeper.Machine{Power: boot.Asked}
		// What the keeper does not survive itself is not the end of the machine.
		m.Guard("the keeper", func() {
			r := past
			past = nil // if it ends without an end of the machine, another begins
			o, place, err := machineOptions(args, m, &state, r)
			o.Hardware, o.Device = dog, cmdline.Watchdog
			switch {
			case r != nil && err != nil:
				r.GoBack(err.Error())
			case r != nil:
				keeper.Resume(o, r)
			case err != nil:
				why = err.Error()
			default:
				keeper.Run(o, place)
			}
		})
		if state.Begun {
			m.End(boot.ParseAction(state.Action))
		}
		if action := m.Shell(why); action != "" {
			m.End(action)
		}
	}
}

// begin makes the machine what every program expects.
func begin(m *boot.Machine, say func(string), env []string) {
	m.Begin()
	if !m.RaiseLimits() {
		return
	}
	// The same program with the same arguments: what is done is done, and
	// this time the limits are there from its beginning. If it fails, they
	// are lower than they could be.
	mask := entry.Unmask()
	if err := unix.Exec("/proc/self/exe", os.Args, env); err != nil {
		say("cannot execute /proc/self/exe: " + err.Error() + ": services have the kernel's limit of open files")
	}
	mask()
}

// machineOptions is what the keeper is told. Arguments that are wrong are said,
// and the machine is run without them.
func machineOptions(args []string, m *boot.Machine, state *keeper.Machine, past *keeper.Resumption) (keeper.Options, keeper.Place, error) {
	f, err := parse(boot.OwnArgs(args))
	if err == nil && f.command != nil {
		err = usageError("cannot run a command", "nines-init is the init of this machine")
	}
	if err != nil {
		keeper.WriteLine(2, err.Error())
		f = flags{}
	}
	for _, spec := range m.Cmdline().Specs {
		f.pass = append(f.pass, "-f", spec)
	}
	dir := keeper.Dir()
	var place keeper.Place
	if past != nil {
		dir = past.Dir() // and its place is in the state
	} else if place, err = keeper.FindPlace(f.runtimeDir, m.Env(), 0); err != nil {
		return keeper.Options{}, place, err
	}
	sup, log, err := keeper.Programs(dir, f.supervisor, f.pass)
	if err != nil {
		return keeper.Options{}, place, err
	}
	return keeper.Options{Supervisor: sup, Log: log, Env: m.Env(), Args: args, Dir: dir, Version: named(),
		Verbose: f.verbose, Stderr: 2, Mask: entry.Mask(), Machine: state}, place, nil
}
