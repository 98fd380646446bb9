package main

import (
	"github.com/spf13/cobra"

	"nines/ipc"
)

func newShutdownCmd(a *app) *cobra.Command {
	var poweroff, reboot, halt, noWait bool
	cmd := &cobra.Command{
		Use:   "shutdown",
		Short: "Stop all services in order, then the supervisor",
		Long: `Stop all services in order, then end the supervisor and its keeper, and wait
until it is gone. Where nines-init is the init of a machine, that powers it off;
--reboot and --halt choose otherwise.`,
		Example: `  nines shutdown
  nines shutdown --reboot`,
		Args:              argsBetween(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r := ipc.ShutdownRequest{NoWait: noWait}
			for _, f := range []struct {
				on     bool
				action string
			}{{poweroff, "poweroff"}, {reboot, "reboot"}, {halt, "halt"}} {
				switch {
				case !f.on:
				case r.Action != "":
					return usageError("shutdown: --%s and --%s exclude each other", r.Action, f.action)
				default:
					r.Action = f.action
				}
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			if !noWait && a.errTTY {
				a.say(a.err, "shutdown: waiting for all services to stop")
				defer a.say(a.err, "\r\x1b[K")
			}
			_, err = client.Shutdown(ctx, r)
			return a.explain("shutdown", cause(ctx, err))
		},
	}
	f := cmd.Flags()
	f.BoolVar(&poweroff, "poweroff", false, "then power off the machine")
	f.BoolVar(&reboot, "reboot", false, "then reboot the machine")
	f.BoolVar(&halt, "halt", false, "then halt the machine")
	noWaitFlag(cmd, &noWait)
	return cmd
}
