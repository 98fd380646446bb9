package main

import (
	"context"
	"path/filepath"

	"github.com/spf13/cobra"

	"nines/ipc"
)

func newDeployCmd(a *app) *cobra.Command {
	var wait, force bool
	cmd := &cobra.Command{
		Use:   "deploy SERVICE PATH",
		Short: "Make a file or folder a new revision of a service and roll it out",
		Long: `Make what is at PATH a new revision of a service, as its release, and roll it out as its
update block says: the canary first, then the others; reverted by itself where it does
not work. PATH is copied, so it may go afterwards.

With --wait, tell each step and wait until all of the service runs it; exit 1 if it was
reverted. What is marked bad is refused unless --force says otherwise.`,
		Example: `  nines deploy web ./web-2.0 --wait
  nines deploy web /srv/builds/web --force`,
		Args: argsBetween(2, 2),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return nil, cobra.ShellCompDirectiveDefault
			}
			return a.completeTargets(false, 1)(cmd, args, toComplete)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := filepath.Abs(args[1])
			if err != nil {
				return usageError("deploy: cannot tell where %s is: %v", quote(args[1]), err)
			}
			return a.revise(cmd.Context(), "deploy "+args[0], !wait, func(ctx context.Context, c *ipc.Client) (ipc.Result, error) {
				return c.Deploy(ctx, args[0], ipc.DeployRequest{Path: path, Force: force, NoWait: !wait})
			})
		},
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until all of it runs the revision, or it was reverted")
	cmd.Flags().BoolVar(&force, "force", false, "also what is marked bad")
	return cmd
}
