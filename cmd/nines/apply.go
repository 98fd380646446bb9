package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"nines/ipc"
	"nines/spec"
)

func newApplyCmd(a *app) *cobra.Command {
	var files []string
	var noWait bool
	var confirm string
	cmd := &cobra.Command{
		Use:   "apply [-f PATH]…",
		Short: "Make a spec the one that runs, and wait until all that changed is ready",
		Long: `Make a spec the one that runs, all of it or nothing: one with errors changes
nothing. Only what changed is touched ("nines plan" shows it). Then wait until
every changed service is ready or gone; exit 1 naming those that are not. What is
wanted stays wanted either way.

With --confirm D it is undone by itself D after apply has returned, also if the
supervisor or the machine died in between, unless "nines confirm" comes in time.
Another apply meanwhile takes its place.

What was applied holds until the next apply, also over a boot as long as the
files that nines-init was started with are as they were.`,
		Example: `  nines apply
  nines apply -f nines.hcl --confirm 5m`,
		Args: argsBetween(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			req := ipc.ApplyRequest{NoWait: noWait}
			if cmd.Flags().Changed("confirm") {
				d, err := spec.ParseDuration(confirm)
				if err != nil || d <= 0 || d > ipc.MaxConfirm {
					return usageError("apply: --confirm %s is not a duration such as 5m", quote(confirm))
				}
				req.ConfirmSeconds = d.Seconds()
			}
			var err error
			if req.Files, err = a.readSpec("apply", files); err != nil {
				return err
			}
			return a.apply(cmd.Context(), req)
		},
	}
	specFlag(cmd, &files)
	noWaitFlag(cmd, &noWait)
	cmd.Flags().StringVar(&confirm, "confirm", "", "undo it after this `duration` unless confirmed")
	return cmd
}

func (a *app) apply(parent context.Context, req ipc.ApplyRequest) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	ctx, stop := interruptible(parent)
	defer stop()
	end := func() {}
	if !req.NoWait {
		end = a.tellEvents(ctx, client)
	}
	res, err := client.Apply(ctx, req)
	end()
	if err != nil {
		return a.rejected("apply", cause(ctx, err))
	}
	a.warn(res.Warnings)
	return a.write([]byte(printable(res.Message) + "\n"))
}

// tellEvents writes what happens to stderr until its result is called: people see
// how far an apply is. What it misses is no loss.
func (a *app) tellEvents(parent context.Context, client *ipc.Client) func() {
	end, _ := a.followEvents(parent, client, time.Now())
	return end
}

// tellSteps is tellEvents that misses nothing: what had not come when its result is
// called is asked for then.
func (a *app) tellSteps(parent context.Context, client *ipc.Client) func() {
	began := time.Now()
	end, told := a.followEvents(parent, client, began)
	return func() {
		end()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(parent), 5*time.Second)
		defer cancel()
		// As in followEvents.
		_ = client.Events(ctx, ipc.EventQuery{Since: began, After: *told}, func(e ipc.Event) error {
			a.tellEvent(&e)
			return nil
		})
	}
}

// followEvents tells events from began on until end is called; told is the number of
// the last.
func (a *app) followEvents(parent context.Context, client *ipc.Client, began time.Time) (end func(), told *uint64) {
	ctx, cancel := context.WithCancel(parent)
	told = new(uint64)
	var wg sync.WaitGroup
	wg.Go(func() {
		// Its error is the command's own as well: the supervisor is gone.
		_ = client.Events(ctx, ipc.EventQuery{Since: began, Follow: true}, func(e ipc.Event) error {
			*told = max(*told, e.Seq)
			a.tellEvent(&e)
			return nil
		})
	})
	return func() { cancel(); wg.Wait() }, told
}

func (a *app) tellEvent(e *ipc.Event) {
	if who := firstOf(e.Instance, e.Service); who != "" {
		a.say(a.err, "%s: %s: %s\n", printable(who), e.Kind, printable(e.Message))
	}
}

func asAPI(err error, api **ipc.Error) bool { return errors.As(err, api) }

func newConfirmCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "confirm",
		Short:             `Keep what "nines apply --confirm" has applied`,
		Example:           `  nines confirm`,
		Args:              argsBetween(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			res, err := client.Confirm(ctx)
			if err != nil {
				return a.explain("confirm", cause(ctx, err))
			}
			return a.write([]byte(printable(res.Message) + "\n"))
		},
	}
}
