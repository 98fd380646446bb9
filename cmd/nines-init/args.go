package main

import (
	"errors"
	"strings"
)

// By hand, because package flag links fmt.

const usage = `nines-init keeps nines supervise and nines-log alive and reaps everything.

usage: nines-init [flags]

  -f PATH               a spec file, or a folder of *.hcl (repeatable; default /etc/nines)
      --supervisor PATH the nines to run (default: beside nines-init)
      --runtime-dir DIR where lock and sockets are (default /run/nines; NINES_RUNTIME_DIR)
      --socket PATH     the control socket (default DIR/control.sock; NINES_SOCKET)
      --state-dir DIR   what must last (default /var/lib/nines; NINES_STATE_DIR)
      --log-dir DIR     the services' logs (default /var/log/nines; NINES_LOG_DIR)
  -v, --verbose         say more
      --version         print the version
  -h, --help            print this

SIGTERM and SIGINT stop everything in order; SIGHUP, SIGQUIT, SIGUSR1 and
SIGUSR2 are passed on to the supervisor too. Exit status: as the supervisor
says; 1 if it cannot begin, 2 for wrong usage.
`

// flags is what the command line says.
type flags struct {
	supervisor    string
	runtimeDir    string
	pass          []string // for nines supervise
	verbose       bool
	version, help bool
}

func usageError(what, why string) error {
	return errors.New(what + ": " + why + ": nines-init --help lists what there is")
}

// parse reads the command line as getopt_long does: -f PATH, -fPATH,
// --flag VALUE, --flag=VALUE.
func parse(args []string) (flags, error) {
	var f flags
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		name, value, attached := strings.Cut(arg, "=")
		switch {
		case arg == "--":
			return f, usageError("cannot run a command", "nines-init keeps the services of a spec; `--` and a command after it are not taken")
		case !strings.HasPrefix(arg, "--") && strings.HasPrefix(arg, "-f") && len(arg) > 2:
			name, value, attached = "-f", arg[2:], true
		case !strings.HasPrefix(arg, "-") || arg == "-":
			return f, usageError("cannot use argument "+arg, "a spec is given with -f "+arg)
		}
		switch name {
		case "-v", "--verbose", "--version", "-h", "--help":
			if attached {
				return f, usageError("cannot use "+arg, name+" takes no value")
			}
		case "-f", "--supervisor", "--runtime-dir", "--socket", "--state-dir", "--log-dir":
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
		case "--version":
			f.version = true
		case "-h", "--help":
			f.help = true
		case "--supervisor":
			f.supervisor = value
		case "--runtime-dir":
			f.runtimeDir = value
			f.pass = append(f.pass, name, value)
		default:
			f.pass = append(f.pass, name, value)
		}
	}
	return f, nil
}
