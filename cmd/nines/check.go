package main

import (
	"errors"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"nines/spec/load"
)

func newCheckCmd(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check [PATH…]",
		Short: "Say what is wrong with a spec",
		Long: `Read a spec (files, or folders of *.hcl; default ` + defaultSpecs + `) and say everything
that is wrong with it. Exit 1 if there are errors; warnings alone exit 0.`,
		Example: `  nines check nines.hcl
  nines check --json /etc/nines`,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				if err := needDefaultSpecs("check"); err != nil {
					return err
				}
				args = []string{defaultSpecs}
			}
			_, diags := load.Load(args, load.Options{})
			if asJSON {
				if err := a.printJSON(diagnosticsJSON(diags)); err != nil {
					return err
				}
			} else if err := diags.Write(a.err, a.errColor); err != nil {
				return &failure{code: exitFailed, what: "cannot write the diagnostics", why: err.Error(), err: err}
			}
			if diags.HasErrors() {
				return silent(exitFailed)
			}
			return nil
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

// needDefaultSpecs says what to do where command ("plan -f") names no spec and
// there is none at the default place.
func needDefaultSpecs(command string) error {
	if _, err := os.Stat(defaultSpecs); !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	f := &failure{code: exitFailed, what: "cannot read " + defaultSpecs, why: "there is no such folder", todo: "name a spec: " + quote("nines "+command+" PATH")}
	if _, err := os.Stat(localSpec); err == nil {
		f.todo = "did you mean " + quote("nines "+command+" "+localSpec) + "?"
	}
	return f
}

// diagnostic is one entry of `check --json`; unlike load's own it always has
// every field.
type diagnostic struct {
	Severity string       `json:"severity"`
	Code     string       `json:"code"`
	Summary  string       `json:"summary"`
	Detail   string       `json:"detail"`
	File     string       `json:"file"`
	Line     int          `json:"line"`
	Column   int          `json:"column"`
	Related  []load.Place `json:"related,omitempty"`
}

type diagnosticsDoc struct {
	Diagnostics []diagnostic `json:"diagnostics"`
}

func diagnosticsJSON(diags load.Diagnostics) diagnosticsDoc {
	doc := diagnosticsDoc{Diagnostics: make([]diagnostic, 0, len(diags))}
	for i := range diags {
		d := &diags[i]
		doc.Diagnostics = append(doc.Diagnostics, diagnostic{d.Severity, d.Code, d.Summary, d.Detail, d.File, d.Line, d.Column, d.Related})
	}
	return doc
}
