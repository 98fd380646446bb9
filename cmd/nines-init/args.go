package main

import (
	"errors"
	"strconv"
	"strings"

	"nines/supervisor/entry"
)

// By hand, because package flag links fmt.

const usage = `nines-init keeps nines supervise and nines-log alive and reaps everything, or
runs one command as the entrypoint of a container.

usage: nines-init [flags]
       nines-init [-g] [-s] [-p SIGNAL] [-r FROM:TO] [-e CODE] [-v] -- COMMAND...

  -f PATH               a spec file, or a folder of *.hcl (repeatable; default /etc/nines)
      --watch           apply spec files when they have changed
      --supervisor PATH the nines to run (default: beside nines-init)
      --runtime-dir DIR where lock and sockets are (default /run/nines; NINES_RUNTIME_DIR)
      --socket PATH     the control socket (default DIR/control.sock; NINES_SOCKET)
      --state-dir DIR   what must last (default /var/lib/nines; NINES_STATE_DIR)
      --log-dir DIR     the services' logs (default /var/log/nines; NINES_LOG_DIR)
      --machine yes|no  whether to be the init of a machine: mounts, console, power-off
                        (default: as PID 1 outside of containers)
  -v, --verbose         say more
      --version         print the version
  -h, --help            print this

SIGTERM and SIGINT stop everything in order; SIGHUP applies the spec files again;
SIGQUIT, SIGUSR1 and SIGUSR2 are passed on to the supervisor too. Exit status: as the supervisor
says; 1 if it cannot begin, 2 for wrong usage.

With a command, every signal but SIGCHLD is passed on to it:

  -g                    the command has a session of its own; signals go to its whole
                        process group, which gets SIGTERM when the command ends;
                        SIGTSTP, SIGTTIN and SIGTTOU are sent on as SIGSTOP
  -s                    reap orphans also when not PID 1 (become a subreaper)
  -p SIGNAL             the signal that comes when the parent dies
  -r FROM:TO            pass signal FROM on as TO, or, if TO is 0, not at all (repeatable)
  -e CODE               exit with 0 where the status would be CODE (repeatable)

A SIGNAL is a name or a number: TERM, SIGTERM, 15, RTMIN+3. Exit status: the
command's, or 128+N if signal N killed it; 127 if it is not found, 126 if it
cannot be executed, 1 if it cannot be started for another reason.
`

// flags is what the command line says.
type flags struct {
	supervisor    string
	runtimeDir    string
	pass          []string // for nines supervise
	verbose       bool
	version, help bool
	command       *entry.Options // nil: keep a supervisor
}

func usageError(what, why string) error {
	return errors.New(what + ": " + why + ": nines-init --help lists what there is")
}

// parse reads the command line as getopt_long does: -f PATH, -fPATH,
// --flag VALUE, --flag=VALUE, -gs.
func parse(args []string) (flags, error) {
	var f flags
	var cmd entry.Options
	var keeps, runs string // a flag for one of the two alone
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		if arg == "--" {
			return f, f.runCommand(args, cmd, keeps)
		}
		name, value, attached := strings.Cut(arg, "=")
		if len(arg) > 2 && arg[0] == '-' {
			switch {
			case strings.IndexByte("fpre", arg[1]) >= 0:
				name, value, attached = arg[:2], arg[2:], true
			case strings.IndexByte("gsv", arg[1]) >= 0 && switches(arg[1:]):
				name, attached = arg[:2], false
				args = append([]string{"-" + arg[2:]}, args...)
			}
		}
		if !strings.HasPrefix(arg, "-") || arg == "-" {
			return f, usageError("cannot use argument "+arg, "a spec is given with -f "+arg+", a command after --")
		}
		switch name {
		case "-v", "--verbose", "--version", "-h", "--help", "--watch", "-g", "-s":
			if attached {
				return f, usageError("cannot use "+arg, name+" takes no value")
			}
		case "-f", "--supervisor", "--runtime-dir", "--socket", "--state-dir", "--log-dir", "--machine", "-p", "-r", "-e":
			if !attached {
				if len(args) == 0 {
					return f, usageError("cannot use "+name, "its value is missing")
				}
				value, args = args[0], args[1:]
			}
			if value == "" {
				return f, usageError("cannot use "+name, "its value is empty")
			}
		default:
			return f, usageError("cannot use "+arg, "there is no such flag")
		}
		switch name {
		case "-v", "--verbose":
			f.verbose = true
		case "--watch":
			keeps = name
			f.pass = append(f.pass, name)
		case "--version":
			f.version = true
		case "-h", "--help":
			f.help = true
		case "-g", "-s", "-p", "-r", "-e":
			runs = name
			if err := commandFlag(&cmd, name, value); err != nil {
				return f, err
			}
		default:
			keeps = name
			switch name {
			case "--supervisor":
				f.supervisor = value
			case "--runtime-dir":
				f.runtimeDir = value
			case "--machine":
				if value != "yes" && value != "no" {
					return f, usageError("cannot use --machine "+value, "it takes yes or no")
				}
			}
			if name != "--supervisor" && name != "--machine" {
				f.pass = append(f.pass, name, value)
			}
		}
	}
	if runs != "" && !f.help && !f.version {
		return f, usageError("cannot use "+runs, "it is for a command, and there is none after --")
	}
	return f, nil
}

// switches says whether all of letters are flags without a value.
func switches(letters string) bool {
	for _, c := range []byte(letters) {
		if c != 'g' && c != 's' && c != 'v' {
			return false
		}
	}
	return true
}

// runCommand is the end of a command line with --.
func (f *flags) runCommand(command []string, cmd entry.Options, keeps string) error {
	switch {
	case keeps != "":
		return usageError("cannot use "+keeps, "it is for keeping the services of a spec, not for a command after --")
	case len(command) == 0:
		return usageError("cannot run a command", "none follows --")
	}
	cmd.Argv, cmd.Verbose = command, f.verbose
	f.command = &cmd
	return nil
}

// commandFlag takes one of the flags that are for a command.
func commandFlag(cmd *entry.Options, name, value string) error {
	switch name {
	case "-g":
		cmd.Group = true
	case "-s":
		cmd.Subreaper = true
	case "-p":
		sig, ok := entry.ParseSignal(value)
		if !ok {
			return noSignal("-p "+value, value)
		}
		cmd.DeathSignal = sig
	case "-e":
		code, err := strconv.ParseUint(value, 10, 8)
		if err != nil {
			return usageError("cannot use -e "+value, "an exit code is a number from 0 to 255")
		}
		cmd.Success = append(cmd.Success, int(code))
	case "-r":
		from, to, ok := strings.Cut(value, ":")
		if !ok {
			return usageError("cannot use -r "+value, "it takes FROM:TO, as TERM:INT")
		}
		var r entry.Rewrite
		if r.From, ok = entry.ParseSignal(from); !ok {
			return noSignal("-r "+value, from)
		}
		if !entry.CanForward(r.From) {
			return usageError("cannot use -r "+value, from+" is not passed on to the command")
		}
		if to != "0" {
			if r.To, ok = entry.ParseSignal(to); !ok {
				return noSignal("-r "+value, to)
			}
		}
		cmd.Rewrites = append(cmd.Rewrites, r)
	}
	return nil
}

func noSignal(flag, text string) error {
	return usageError("cannot use "+flag, "there is no signal "+strconv.Quote(text))
}

// machineChoice is the value of --machine, before anything else is read: whether
// this is the init of a machine decides how.
func machineChoice(args []string) string {
	for i, arg := range args {
		switch {
		case arg == "--":
			return ""
		case arg == "--machine" && i+1 < len(args):
			return args[i+1]
		case strings.HasPrefix(arg, "--machine="):
			return arg[len("--machine="):]
		}
	}
	return ""
}
