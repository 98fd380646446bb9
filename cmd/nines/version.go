package main

import (
	"encoding/json"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// buildVersion is the version that the build stamped, else what the Go command
// noted, else "dev".
func buildVersion() string {
	if version != "" {
		return version
	}
	if bi, ok := debug.ReadBuildInfo(); ok && bi.Main.Version != "" && bi.Main.Version != "(devel)" {
		return bi.Main.Version
	}
	return "dev"
}

func newVersionCmd(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Example: `  nines version
  nines version --json`,
		Args:              argsBetween(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			if !asJSON {
				a.say(a.out, "nines %s %s %s/%s\n", buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
				return nil
			}
			return a.printJSON(struct {
				Version string `json:"version"`
				Go      string `json:"go"`
				OS      string `json:"os"`
				Arch    string `json:"arch"`
			}{buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH})
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

func jsonFlag(cmd *cobra.Command, p *bool) {
	cmd.Flags().BoolVar(p, "json", false, "print JSON")
}

// printJSON writes one document.
func (a *app) printJSON(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return &failure{code: exitFailed, what: "cannot encode the output", why: err.Error(), err: err}
	}
	return a.write(append(b, '\n'))
}

// write puts out what the command was called for: that it could not is a failure.
func (a *app) write(b []byte) error {
	if _, err := a.out.Write(b); err != nil {
		return &failure{code: exitFailed, what: "cannot write the output", why: err.Error(), err: err}
	}
	return nil
}
