package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"nines/ipc"
)

func newQuarantineCmd(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "quarantine [list|inspect|kill|resume]",
		Short: "Look at instances that were frozen, end them, or let them run on",
		Long: `Look at instances that were frozen, end them, or let them run on.

An instance that fails a check with on_failure = "isolate" is frozen where it
stands, and another takes its place. It is kept until its isolate block, a stop
of its service or a person ends it.`,
		Example: `  nines quarantine
  nines quarantine --json`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError("quarantine: unknown command %s: list, inspect, kill or resume (see \"nines quarantine --help\")", quote(args[0]))
			}
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return a.listQuarantine(cmd.Context(), asJSON) },
	}
	jsonFlag(cmd, &asJSON)
	list := &cobra.Command{
		Use: "list", Short: "List them, with an id for each", Example: "  nines quarantine list --json",
		Args: argsBetween(0, 0), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.listQuarantine(cmd.Context(), asJSON) },
	}
	jsonFlag(list, &asJSON)
	cmd.AddCommand(list, newInspectCmd(a), newInmateCmd(a, ipc.VerbKill, "End one, and wait until it is gone", ""),
		newInmateCmd(a, ipc.VerbResume, "Let one run on, outside its instance", `Let one run on, outside its instance: for a debugger, or to finish what it was at.
It stays in the list. It is neither checked nor restarted, the instance that
replaced it stays where it is, and what would have ended it frozen ends it still.
Where they share a socket, it takes connections again.`))
	return cmd
}

// newInmateCmd is a command that does something to one in quarantine.
func newInmateCmd(a *app, verb, short, long string) *cobra.Command {
	return &cobra.Command{
		Use: verb + " ID", Short: short, Long: long, Example: "  nines quarantine " + verb + " web/0.17",
		Args: argsBetween(1, 1), ValidArgsFunction: a.completeInmates,
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			_, err = client.Quarantine(ctx, args[0], verb)
			return a.explain("quarantine "+verb+" "+args[0], cause(ctx, err))
		},
	}
}

func newInspectCmd(a *app) *cobra.Command {
	var asJSON bool
	var core string
	cmd := &cobra.Command{
		Use:   "inspect ID",
		Short: "Show threads and their stacks, files, sockets, memory and the last log lines of one",
		Long: `Show threads and their stacks, files, sockets, memory and the last log lines of one,
without waking it.

--core FILE writes a core of its main process for a debugger. The core holds all
that the process has in memory, its secrets too; FILE can be read by you alone.`,
		Example: `  nines quarantine inspect web/0.17
  nines quarantine inspect web/0.17 --core web.core`,
		Args: argsBetween(1, 1), ValidArgsFunction: a.completeInmates,
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			what := "quarantine inspect " + args[0]
			if core != "" {
				n, err := writeCore(ctx, client, args[0], core)
				if err != nil {
					return a.explain(what, cause(ctx, err))
				}
				a.say(a.err, "wrote %s: %s\n", core, bytesText(uint64(n)))
				if !asJSON {
					return nil
				}
			}
			doc, err := client.InspectJSON(ctx, args[0])
			if err != nil {
				return a.explain(what, cause(ctx, err))
			}
			if asJSON {
				return a.write(doc)
			}
			var in inspection
			if err := json.Unmarshal(doc, &in); err != nil {
				return &failure{code: exitFailed, what: what, why: "cannot understand the answer: " + err.Error()}
			}
			return a.write(inspectionText(&in, a.now(), a.outColor))
		},
	}
	jsonFlag(cmd, &asJSON)
	cmd.Flags().StringVar(&core, "core", "", "write a core to `FILE` instead")
	return cmd
}

// writeCore writes a core beside FILE and then names it so: a FILE that is there is
// a whole one.
func writeCore(ctx context.Context, client *ipc.Client, id, path string) (n int64, err error) {
	// 0600 from its first byte, and never through a link that another has laid.
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return 0, &failure{code: exitFailed, what: "cannot write a core", why: err.Error(), err: err}
	}
	defer func() {
		if err != nil {
			_ = f.Close()           // it failed already
			_ = os.Remove(f.Name()) // what is in it is of no use
		}
	}()
	if n, err = client.Core(ctx, id, f); err != nil {
		return 0, err
	}
	if err = f.Close(); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return 0, &failure{code: exitFailed, what: "cannot write a core", why: err.Error(), err: err}
	}
	return n, nil
}

func (a *app) listQuarantine(parent context.Context, asJSON bool) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	ctx, stop := interruptible(parent)
	defer stop()
	if asJSON {
		doc, err := client.QuarantinedJSON(ctx)
		if err != nil {
			return a.explain("quarantine list", cause(ctx, err))
		}
		return a.write(doc)
	}
	list, err := client.Quarantined(ctx)
	if err != nil {
		return a.explain("quarantine list", cause(ctx, err))
	}
	width := 0
	if a.outTTY {
		width, _ = terminalSize(a.out)
	}
	t := newTable(a.outTTY, a.outColor, width)
	t.header("ID", "STATE", "PID", "AGE", "LEFT", "MEMORY", "REASON")
	t.right(2, 3, 4, 5)
	now := a.now()
	for i := range list {
		q := &list[i]
		t.row(
			cell{q.ID, bold}, cell{q.State, plain}, cell{pidText(q.PID), plain}, cell{age(now.Sub(q.Since)), plain},
			cell{age(q.ExpiresAt.Sub(now)), plain}, cell{memoryText(q.MemoryBytes), plain}, cell{q.Reason, plain},
		)
	}
	if len(list) == 0 && a.outTTY {
		return a.write([]byte("nothing is in quarantine\n"))
	}
	return a.write(t.bytes())
}

func (a *app) completeInmates(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	var ids []string
	if client, err := a.client(); err == nil && len(args) == 0 {
		ctx, cancel := context.WithTimeout(cmd.Context(), completionPatience)
		defer cancel()
		list, err := client.Quarantined(ctx)
		if err != nil { // nothing to complete with; an error message would tear the line
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		for i := range list {
			if strings.HasPrefix(list[i].ID, typed) {
				ids = append(ids, list[i].ID)
			}
		}
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}

// lines are told one below the other, indented.
type lines struct {
	out   []byte
	color bool
}

func (l *lines) head(text string) {
	l.out = append(l.out, '\n')
	l.out = append(append(l.out, paint(l.color, bold, printable(text))...), '\n')
}

func (l *lines) add(indent int, format string, args ...any) {
	l.out = append(l.out, strings.Repeat("  ", indent)+printable(fmt.Sprintf(format, args...))+"\n"...)
}
