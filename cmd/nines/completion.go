package main

import (
	"io"
	"strings"

	"github.com/spf13/cobra"
)

func completionShells() []string { return []string{"bash", "zsh", "fish", "powershell"} }

func newCompletionCmd(a *app) *cobra.Command {
	shells := completionShells()
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Print the completion script of a shell: " + strings.Join(shells, ", "),
		Long: `Print the completion script of a shell; "make install" puts those of bash, zsh and
fish where the shells find them. For this session:

  source <(nines completion bash)        # or zsh
  nines completion fish | source

Names of services and instances come from the supervisor that answers at the socket.`,
		Example: `  nines completion bash
  nines completion fish`,
		Args:      argsBetween(1, 1),
		ValidArgs: shells,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.explain("cannot write the script", writeCompletion(cmd.Root(), args[0], a.out))
		},
	}
}

// writeCompletion writes the script of a shell; one that is not known is a
// usage error.
func writeCompletion(root *cobra.Command, shell string, w io.Writer) error {
	switch shell {
	case "bash":
		return root.GenBashCompletionV2(w, true)
	case "zsh":
		return root.GenZshCompletion(w)
	case "fish":
		return root.GenFishCompletion(w, true)
	case "powershell":
		return root.GenPowerShellCompletionWithDesc(w)
	}
	return usageError("completion: unknown shell %s: one of %s", quote(shell), strings.Join(completionShells(), ", "))
}
