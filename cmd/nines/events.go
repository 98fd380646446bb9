package main

import (
	"time"

	"github.com/spf13/cobra"

	"nines/ipc"
)

func newEventsCmd(a *app) *cobra.Command {
	var follow, asJSON bool
	var since string
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show what happened, and with -f what happens",
		Example: `  nines events --since 1h
  nines events -f --json`,
		Args:              argsBetween(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			from, err := ipc.ParseSince(since, a.now())
			if err != nil {
				return a.explain("events", err)
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			out := newOutput(a)
			q := ipc.EventQuery{Since: from, Follow: follow}
			err = a.follow(ctx, follow, func() error {
				return client.Events(ctx, q, func(e ipc.Event) error {
					q.After = max(q.After, e.Seq) // where the next supervisor goes on
					if asJSON {
						return out.json(&e)
					}
					return a.eventLine(out, &e)
				})
			})
			if ferr := out.flush(); ferr != nil {
				return ferr
			}
			what := "events"
			if follow {
				what = "" // being interrupted is how following ends
			}
			return a.explain(what, err)
		},
	}
	followFlags(cmd, &follow, &since)
	jsonFlag(cmd, &asJSON)
	return cmd
}

func followFlags(cmd *cobra.Command, follow *bool, since *string) {
	cmd.Flags().BoolVarP(follow, "follow", "f", false, "go on with what comes")
	cmd.Flags().StringVar(since, "since", "", "from then on: a `duration` before now (10m, 2d) or an RFC 3339 time")
}

// eventLine is "time  kind  who  message" for people, and separated by tabs
// for programs.
func (a *app) eventLine(out *output, e *ipc.Event) error {
	who := firstOf(e.Instance, e.Service, "-")
	msg := printable(e.Message)
	if !a.outTTY {
		return out.line(e.Time.UTC().Format(time.RFC3339Nano), "\t", e.Kind, "\t", printable(who), "\t", msg)
	}
	t := e.Time.In(a.now().Location())
	layout := "15:04:05.000"
	if y, m, d := a.now().Date(); t.Year() != y || t.Month() != m || t.Day() != d {
		layout = "2006-01-02 15:04:05.000"
	}
	return out.line(paint(a.outColor, dim, t.Format(layout)), "  ", paint(a.outColor, eventColor(e.Kind), pad(e.Kind, 20)), "  ",
		paint(a.outColor, bold, pad(printable(who), 12)), "  ", msg)
}

func eventColor(kind string) string {
	switch kind {
	case "ready", "check_recovered", "update_done", "canary_passed", "supervisor_started", "supervisor_recovered":
		return green
	case "exited", "restarting", "backoff", "check_failed", "check_excused", "memory_high", "leak_suspected", "budget_wait":
		return yellow
	case "oom_killed", "crash_loop", "held", "stuck", "rollback", "data_failed", "quarantined", "spec_rejected", "alert_failed", "log_lost":
		return red
	}
	return plain
}

// pad fills s up to n columns.
func pad(s string, n int) string {
	for c := columns(s); c < n; c++ {
		s += " "
	}
	return s
}
