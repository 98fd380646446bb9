package main

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"nines/ipc"
)

// completionPatience bounds what a press of the tab key waits for.
const completionPatience = 300 * time.Millisecond

// specExtension is what a specification's name ends in.
const specExtension = "hcl"

// completeAll gives every command below c the completion that its usage line
// and its flags ask for, unless it has one of its own: so a new command has it
// by naming its arguments as the others do.
func (a *app) completeAll(c *cobra.Command) {
	if c.ValidArgsFunction == nil && len(c.ValidArgs) == 0 {
		c.ValidArgsFunction = a.completeArgs(c.Use)
	}
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if complete := flagCompletion(f); complete != nil {
			// It fails where the flag has a completion of its own, which is to stay.
			_ = c.RegisterFlagCompletionFunc(f.Name, complete)
		}
	})
	for _, sub := range c.Commands() {
		a.completeAll(sub)
	}
}

// completeArgs completes the arguments that a usage line names:
// "signal SERVICE[/N] SIGNAL", "check [PATH…]".
func (a *app) completeArgs(use string) cobra.CompletionFunc {
	var words []string
	flag := false // inside "[-f PATH]…"
	for _, w := range strings.Fields(use)[1:] {
		switch {
		case strings.HasPrefix(w, "[-"), strings.HasPrefix(w, "--"):
			flag = !strings.Contains(w, "]")
		case flag:
			flag = !strings.Contains(w, "]")
		default:
			words = append(words, w)
		}
	}
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		n := len(args)
		if last := len(words) - 1; last >= 0 && n > last && strings.Contains(words[last], "…") {
			n = last
		}
		if n >= len(words) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		switch w := strings.Trim(words[n], "[]…."); {
		case strings.HasPrefix(w, "SERVICE"):
			return a.completeTargets(strings.Contains(words[n], "/N"), -1)(cmd, args, typed)
		case w == "SIGNAL":
			return signalNames(), cobra.ShellCompDirectiveNoFileComp
		case w == "PATH":
			return []string{specExtension}, cobra.ShellCompDirectiveFilterFileExt
		}
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
}

// flagCompletion completes the value of a flag by what its help calls it; nil:
// the shell's own files.
func flagCompletion(f *pflag.Flag) cobra.CompletionFunc {
	switch value, _ := pflag.UnquoteUsage(f); value {
	case "path":
		return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{specExtension}, cobra.ShellCompDirectiveFilterFileExt
		}
	case "folder":
		return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		}
	case "duration":
		return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"10m", "1h", "1d", "30d"}, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
		}
	case "", "socket", "file":
		return nil
	}
	return cobra.NoFileCompletions
}

func signalNames() []string {
	return []string{
		"SIGHUP\thang up: read the configuration again", "SIGINT\tinterrupt", "SIGQUIT\tquit, with a core or a trace", "SIGABRT\tabort, with a core",
		"SIGUSR1", "SIGUSR2", "SIGTERM\tend in order", "SIGKILL\tend at once", "SIGSTOP\tstand still", "SIGCONT\tgo on",
	}
}

// completeTargets completes the names of services, and of instances once a
// service's name is there. What stands on the line already is not offered. most
// bounds the number of arguments; < 0: any.
func (a *app) completeTargets(instances bool, most int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if most >= 0 && len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		c, err := a.client()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completionPatience)
		defer cancel()
		st, err := c.Status(ctx)
		if err != nil { // nothing to complete with; an error message would tear the line
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var out []string
		offer := func(name, about string) {
			if strings.HasPrefix(name, typed) && !slices.Contains(args, name) {
				out = append(out, name+"\t"+about)
			}
		}
		for i := range st.Services {
			svc := &st.Services[i]
			offer(svc.Name, aboutService(svc))
			if !instances || typed != svc.Name && !strings.HasPrefix(typed, svc.Name+"/") {
				continue
			}
			for j := range svc.Instances {
				in := &svc.Instances[j]
				offer(in.ID, aboutInstance(in))
			}
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	}
}

func aboutService(s *ipc.Service) string {
	ready := 0
	for i := range s.Instances {
		if s.Instances[i].State == "ready" {
			ready++
		}
	}
	return s.State + ", " + strconv.Itoa(ready) + "/" + strconv.Itoa(s.InstancesDesired)
}

func aboutInstance(in *ipc.Instance) string {
	if in.PID == 0 {
		return in.State
	}
	return in.State + ", pid " + strconv.Itoa(in.PID)
}
