package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"nines/ipc"
	"nines/spec/load"
)

func newPlanCmd(a *app) *cobra.Command {
	var files []string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "plan [-f PATH]…",
		Short: "Say what apply would change, service by service",
		Long: `Say what "nines apply" would do to each service: start, stop, restart (each
instance is replaced, one after the other), change it in place, or nothing; which
attributes are the reason; and which revision would come back by itself if what is
restarted fails. What takes something away that serves now is marked with "!".
Nothing is changed.

The running supervisor compares, so that the plan is what apply would do.`,
		Example: `  nines plan
  nines plan -f nines.hcl --json`,
		Args: argsBetween(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := a.readSpec("plan", files)
			if err != nil {
				return err
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			p, err := client.Plan(ctx, ipc.PlanRequest{Files: list})
			if err != nil {
				return a.rejected("plan", cause(ctx, err))
			}
			if asJSON {
				return a.printJSON(p)
			}
			a.warn(p.Warnings)
			return a.printPlan(p)
		},
	}
	specFlag(cmd, &files)
	jsonFlag(cmd, &asJSON)
	return cmd
}

func specFlag(cmd *cobra.Command, files *[]string) {
	cmd.Flags().StringArrayVarP(files, "file", "f", nil, "spec `path`: a file or a folder (repeatable; default "+defaultSpecs+")")
}

// readSpec reads the files that are to be planned or applied. They are read here,
// as who calls, and sent as text. command is what is asked for.
func (a *app) readSpec(command string, paths []string) ([]ipc.SpecFile, error) {
	if len(paths) == 0 {
		if err := needDefaultSpecs(command + " -f"); err != nil {
			return nil, err
		}
		paths = []string{defaultSpecs}
	}
	files, diags := load.Read(paths)
	if diags.HasErrors() {
		if err := diags.Write(a.err, a.errColor); err != nil {
			return nil, &failure{code: exitFailed, what: "cannot write the diagnostics", why: err.Error(), err: err}
		}
		return nil, &failure{code: exitFailed, what: "cannot read the spec", why: "see above"}
	}
	list := make([]ipc.SpecFile, len(files))
	for i, f := range files {
		list[i] = ipc.SpecFile(f)
	}
	return list, nil
}

// rejected explains an error, and shows the diagnostics that came with it.
func (a *app) rejected(what string, err error) error {
	var api *ipc.Error
	if asAPI(err, &api) && api.Detail != "" {
		for line := range strings.Lines(api.Detail) {
			a.say(a.err, "%s\n", printable(strings.TrimSuffix(line, "\n")))
		}
	}
	return a.explain(what, err)
}

// warn tells what people should know of a specification.
func (a *app) warn(list []string) {
	for _, w := range list {
		a.say(a.err, "%s: %s\n", paint(a.errColor, yellow, "warning"), printable(w))
	}
}

// printPlan prints a row for each service that changes.
func (a *app) printPlan(p *ipc.Plan) error {
	width, _ := terminalSize(a.out)
	t := newTable(a.outTTY, a.outColor, width)
	t.header("", "ACTION", "SERVICE", "INSTANCES", "WHY")
	counts := map[string]int{}
	destructive, restores := 0, 0
	for _, s := range p.Services {
		counts[s.Action]++
		if s.Action == "nothing" {
			continue
		}
		mark := ""
		if a.outTTY {
			mark = " " // for people a "-" would mean that it is taken away
		}
		switch {
		case s.DataOf != 0:
			mark = "!"
			restores++
		case s.Destructive:
			mark = "!"
			destructive++
		}
		n := strconv.Itoa(s.To)
		if s.From != s.To {
			n = strconv.Itoa(s.From) + " -> " + n
		}
		t.row(cell{mark, red}, cell{strings.ReplaceAll(s.Action, "_", " "), planColor(s.Action)}, cell{s.Name, bold}, cell{n, plain}, cell{strings.Join(s.Why, ", "), plain})
	}
	var b strings.Builder
	if counts["nothing"] < len(p.Services) {
		if err := a.write(t.bytes()); err != nil {
			return err
		}
		b.WriteByte('\n')
	}
	for _, w := range p.InEffect {
		fmt.Fprintf(&b, "%s changes\n", w)
	}
	for _, w := range p.AfterRestart {
		fmt.Fprintf(&b, "%s changes when nines-init is started again\n", w)
	}
	fmt.Fprintf(&b, "%d to start, %d to stop, %d to restart, %d in place, %d unchanged\n",
		counts["start"], counts["stop"], counts["restart"], counts["in_place"], counts["nothing"])
	if destructive > 0 {
		fmt.Fprintf(&b, "! takes away what serves now: %s\n", count(destructive, "service"))
	}
	if restores > 0 {
		fmt.Fprintf(&b, "! puts data back, what is there is moved aside: %s\n", count(restores, "service"))
	}
	return a.write([]byte(b.String()))
}

func planColor(action string) string {
	switch action {
	case "start":
		return green
	case "stop":
		return red
	case "restart":
		return yellow
	}
	return plain
}
