package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"nines/ipc"
)

func newReadyCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "ready [SERVICE]…",
		Short: "Succeed when all wanted services (or these) are ready",
		Long: `Exit 0 when all services that are wanted, or the named ones, are ready; else
exit 1 and name those which are not. A task is ready when it has completed.`,
		Example: `  nines ready
  nines ready web db`,
		ValidArgsFunction: a.completeTargets(false, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, s := range args {
				if t, err := parseTarget(s); err != nil {
					return err
				} else if t.index != nil {
					return usageError("ready: %s is an instance: name the service %s", quote(s), quote(t.service))
				}
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			not, err := c.Ready(cmd.Context(), args...)
			if err != nil {
				return a.explain("ready", err)
			}
			if len(not) == 0 {
				return nil
			}
			names := make([]string, len(not))
			for i := range not {
				names[i] = notReadyText(&not[i])
			}
			return &failure{code: exitFailed, what: "not ready", why: strings.Join(names, "; ")}
		},
	}
}

func notReadyText(n *ipc.NotReady) string {
	s := fmt.Sprintf("%s (%s, %d/%d", n.Service, n.State, n.Ready, n.Desired)
	if n.Reason != "" {
		s += ": " + n.Reason
	}
	return s + ")"
}
