package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"nines/ipc"
)

func newHistoryCmd(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "history SERVICE",
		Short: "Show the revisions of a service, the newest first",
		Long: `Show the revisions of a service, the newest first: what its processes were run with,
since when, by whose word, what changed from the one before, why it was left, and what
going back to it does with the service's data.

  candidate   an update to it is under way
  current     what runs
  good        an earlier one that survived its probation: what a revert goes back to
  previous    an earlier one
  bad         it was reverted, and is not started again by itself
  superseded  another came before it had been through`,
		Example: `  nines history web
  nines history web --json`,
		Args:              argsBetween(1, 1),
		ValidArgsFunction: a.completeTargets(false, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			list, err := client.History(cmd.Context(), args[0])
			if err != nil {
				return a.explain("history "+args[0], err)
			}
			if asJSON {
				b, err := json.Marshal(list)
				if err != nil {
					return err
				}
				return a.write(append(b, '\n'))
			}
			return a.write([]byte(historyText(list)))
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	return cmd
}

// shortDigest is how much of a digest tells revisions apart for people.
const shortDigest = 12

func historyText(list []ipc.Revision) string {
	rows := [][]string{{"REVISION", "STATE", "SINCE", "BY", "DIGEST", "CHANGE"}}
	for _, r := range list {
		by := r.By
		if by == "" {
			by = "-"
		}
		since := "-"
		if !r.CreatedAt.IsZero() {
			since = r.CreatedAt.Local().Format(time.DateTime)
		}
		digest := r.Digest
		if _, release, ok := strings.Cut(digest, "."); ok {
			digest = release
		}
		rows = append(rows, []string{strconv.Itoa(r.Revision), r.State, since, by, digest[:min(len(digest), shortDigest)], r.Change})
	}
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], len(cell))
		}
	}
	var b strings.Builder
	for n, row := range rows {
		for i, cell := range row {
			cell = printable(cell)
			if i == len(row)-1 {
				b.WriteString(cell)
				break
			}
			b.WriteString(cell + strings.Repeat(" ", width[i]-len(cell)+2))
		}
		b.WriteByte('\n')
		if n > 0 && list[n-1].Reason != "" {
			b.WriteString("  " + printable(list[n-1].Reason) + "\n")
		}
		if n > 0 && list[n-1].Data != nil {
			b.WriteString("  " + dataText(&list[n-1]) + "\n")
		}
	}
	return b.String()
}

// dataText says what of the data of a revision is kept, and what going back does to
// them.
func dataText(r *ipc.Revision) string {
	text := fmt.Sprintf("its data of %s are kept, %s: ", r.Data.TakenAt.Local().Format(time.DateTime), bytesText(uint64(max(r.Data.SizeBytes, 0))))
	back := "going back"
	if r.Rollback {
		back = "a rollback"
	}
	if r.Data.Restored {
		return text + back + " puts them back, and moves what is there then aside"
	}
	return text + back + " leaves what is there then (restore = false)"
}

func newRollbackCmd(a *app) *cobra.Command {
	var to int
	var noWait bool
	cmd := &cobra.Command{
		Use:   "rollback SERVICE",
		Short: "Go back to an earlier revision of a service, and wait until all of it runs that",
		Long: `Go back to an earlier revision of a service, and wait until all of it runs that: the
newest good one, or the one before where none is good yet, or the one that --to names,
also a bad one. It comes back under its own number and stays until the specification,
or the file at release.path, changes again. It is not reverted by itself: one that
does not work either is held. Where the service has a data block with restore = true,
all of it stops, what it has made of its data is moved aside and named in the events, and
the data that were kept when that revision was left are put back first.`,
		Example: `  nines rollback web
  nines rollback web --to 3`,
		Args:              argsBetween(1, 1),
		ValidArgsFunction: a.completeTargets(false, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("to") && to < 1 {
				return usageError("rollback: --to %d is no revision: %q shows them", to, "nines history "+args[0])
			}
			return a.revise(cmd.Context(), "rollback "+args[0], noWait, func(ctx context.Context, c *ipc.Client) (ipc.Result, error) {
				return c.Rollback(ctx, args[0], ipc.RollbackRequest{Revision: to, NoWait: noWait})
			})
		},
	}
	cmd.Flags().IntVar(&to, "to", 0, "the `revision` to go back to")
	noWaitFlag(cmd, &noWait)
	return cmd
}

// revise carries out what brings another revision, and meanwhile tells what happens.
func (a *app) revise(parent context.Context, what string, noWait bool, do func(context.Context, *ipc.Client) (ipc.Result, error)) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	ctx, stop := interruptible(parent)
	defer stop()
	end := func() {}
	if !noWait {
		end = a.tellSteps(ctx, client)
	}
	res, err := do(ctx, client)
	end()
	if err != nil {
		return a.explain(what, cause(ctx, err))
	}
	return a.write([]byte(printable(res.Message) + "\n"))
}
