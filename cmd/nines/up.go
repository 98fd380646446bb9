package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"nines/spec/load"
)

// localSpec is what `nines up` takes before the machine's own.
const localSpec = "nines.hcl"

func newUpCmd(a *app) *cobra.Command {
	var files []string
	var watch bool
	cmd := &cobra.Command{
		Use:   "up [-f PATH]… [--watch]",
		Short: "Supervise in the foreground, without root where it can",
		Long: `Supervise in the foreground: events and the services' output on the terminal,
Ctrl-C stops all in order. Without -f: ./` + localSpec + `, else ` + defaultSpecs + `.`,
		Example: `  nines up
  nines up -f web.hcl -f db.hcl`,
		Args: argsBetween(0, 0),
		RunE: func(*cobra.Command, []string) error {
			if len(files) == 0 {
				found, err := findSpec()
				if err != nil {
					return err
				}
				files = []string{found}
			}
			// Before anything is started: a diagnostic here stands alone, and the
			// exit is ours.
			_, diags := load.Load(files, load.Options{})
			if diags.HasErrors() {
				if err := diags.Write(a.err, a.errColor); err != nil {
					return &failure{code: exitFailed, what: "cannot write the diagnostics", why: err.Error(), err: err}
				}
				return &failure{code: exitFailed, what: "cannot start", why: "the spec has errors", todo: "correct what is shown above"}
			}
			return a.execInit(files, watch)
		},
	}
	cmd.Flags().StringArrayVarP(&files, "file", "f", nil, "spec `path`: a file or a folder (repeatable)")
	watchFlag(cmd, &watch)
	return cmd
}

func findSpec() (string, error) {
	for _, p := range []string{localSpec, defaultSpecs} {
		if _, err := os.Stat(p); !errors.Is(err, fs.ErrNotExist) {
			return p, nil
		}
	}
	return "", &failure{
		code: exitFailed, what: "cannot find a spec", why: "there is neither ./" + localSpec + " nor " + defaultSpecs,
		todo: "name one: nines up -f PATH",
	}
}

// execInit becomes the keeper, which starts `nines supervise`.
func (a *app) execInit(files []string, watch bool) error {
	init, self, err := a.findInit()
	if err != nil {
		return err
	}
	argv := a.initArgs(init, self, files, watch)
	env := append(os.Environ(), "NINES_LOG_STDOUT=1", "NINES_UP=1")
	err = retryEINTR(func() error { return syscall.Exec(init, argv, env) })
	return &failure{code: exitFailed, what: "cannot start " + init, why: err.Error(), todo: "install nines-init beside nines", err: err}
}

func retryEINTR(f func() error) error {
	for {
		if err := f(); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// initArgs is the keeper's command line. Folders that the environment names
// reach it by the environment.
func (a *app) initArgs(init, self string, files []string, watch bool) []string {
	argv := []string{init}
	for _, f := range files {
		argv = append(argv, "-f", f)
	}
	for _, d := range []struct{ flag, value string }{
		{"--runtime-dir", a.flags.runtimeDir}, {"--socket", a.flags.socket},
		{"--state-dir", a.flags.stateDir}, {"--log-dir", a.flags.logDir},
		{"--supervisor", self},
	} {
		if d.value != "" {
			argv = append(argv, d.flag, d.value)
		}
	}
	if watch {
		argv = append(argv, "--watch")
	}
	return argv
}

// findInit returns nines-init: beside this program, with whose path it is to
// start the supervisor; else from PATH, with the supervisor that is beside it.
func (a *app) findInit() (init, self string, err error) {
	const name = "nines-init"
	self, err = os.Executable()
	if err == nil {
		if init = filepath.Join(filepath.Dir(self), name); executable(init) {
			return init, self, nil
		}
	}
	for _, dir := range filepath.SplitList(a.getenv("PATH")) {
		if init = filepath.Join(dir, name); filepath.IsAbs(dir) && executable(init) {
			return init, "", nil
		}
	}
	f := &failure{code: exitFailed, what: "cannot find nines-init", todo: "install it beside nines"}
	f.why = "it is neither beside " + firstOf(self, "nines") + " nor in PATH"
	return "", "", f
}

func executable(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0 && !strings.HasSuffix(path, "/")
}
