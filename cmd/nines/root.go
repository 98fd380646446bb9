package main

import (
	"strings"

	"github.com/spf13/cobra"
)

func newRootCmd(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "nines",
		Short: "A process supervisor that mends itself, and can prove that it does",
		Long: `nines keeps services running: it starts them in order, restarts what dies with growing
delays, ends everything that a stopped one has started, and says in plain words what
it did and why. "nines up" supervises in the foreground; nines-init does on a machine
or in a container. All other commands talk to the supervisor by its control socket.`,
		Example: `  nines up -f nines.hcl
  nines status
  nines logs web -f
  nines explain web`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return nil
		},
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.SetIn(a.in)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		// The flags of a mistyped command are not what is wrong.
		if name := firstWord(cmd, a.args); cmd == root && name != "" {
			return unknownCommand(root, name)
		}
		what, _, _ := strings.Cut(err.Error(), ": strconv.") // which is Go's word, not ours
		if cmd != root {
			what = cmd.Name() + ": " + what
		}
		return usageError("%s: see %q", what, cmd.CommandPath()+" --help")
	})
	f := root.PersistentFlags()
	f.StringVar(&a.flags.socket, "socket", "", "the supervisor's control `socket` (NINES_SOCKET)")
	f.StringVar(&a.flags.runtimeDir, "runtime-dir", "", "runtime `folder` (NINES_RUNTIME_DIR)")
	f.StringVar(&a.flags.stateDir, "state-dir", "", "state `folder` (NINES_STATE_DIR)")
	f.StringVar(&a.flags.logDir, "log-dir", "", "log `folder` (NINES_LOG_DIR)")
	root.AddGroup(
		&cobra.Group{ID: "run", Title: "Running:"},
		&cobra.Group{ID: "look", Title: "Looking:"},
		&cobra.Group{ID: "act", Title: "Acting:"},
	)
	group := func(id string, cmds ...*cobra.Command) {
		for _, c := range cmds {
			c.GroupID = id
			root.AddCommand(c)
		}
	}
	group("run", newUpCmd(a), newSuperviseCmd(a), newCheckCmd(a), newFmtCmd(a), newShutdownCmd(a))
	group("look", newStatusCmd(a), newReadyCmd(a), newLogsCmd(a), newEventsCmd(a), newExplainCmd(a), newHistoryCmd(a), newQuarantineCmd(a))
	group("act", newPlanCmd(a), newApplyCmd(a), newConfirmCmd(a), newStartCmd(a), newStopCmd(a), newRestartCmd(a), newReloadCmd(a), newScaleCmd(a), newSignalCmd(a), newUpgradeCmd(a), newDeployCmd(a), newRollbackCmd(a))
	root.AddCommand(newVersionCmd(a), newCompletionCmd(a))
	root.SetHelpCommand(newHelpCmd(root))
	a.completeAll(root)
	return root
}

func unknownCommand(root *cobra.Command, name string) error {
	f := &failure{code: exitUsage, what: "unknown command " + quote(name), todo: `see "nines --help"`}
	root.SuggestionsMinimumDistance = 2
	if s := root.SuggestionsFor(name); len(s) > 0 {
		f.todo = "did you mean " + quote(strings.Join(s, `", "`)) + "?"
	}
	return f
}

// firstWord is the first argument that is neither a flag nor the value of a
// global one.
func firstWord(root *cobra.Command, args []string) string {
	for i := 0; i < len(args); i++ {
		name, isFlag := strings.CutPrefix(args[i], "--")
		switch {
		case isFlag:
			if root.PersistentFlags().Lookup(name) != nil {
				i++
			}
		case strings.HasPrefix(args[i], "-"):
			return "" // a flag that we do not know comes first
		default:
			return args[i]
		}
	}
	return ""
}

// newHelpCmd is cobra's, but an unknown topic is an error.
func newHelpCmd(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND]",
		Short:   "Show the help of a command",
		Example: `  nines help status`,
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			var names []string
			for _, c := range root.Commands() {
				if c.IsAvailableCommand() {
					names = append(names, c.Name())
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err != nil || cmd == nil || len(rest) > 0 {
				return unknownCommand(root, strings.Join(args, " "))
			}
			return cmd.Help()
		},
	}
}
