package main

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// target is SERVICE or SERVICE/N.
type target struct {
	service string
	index   *int // nil: all instances
}

func (t target) String() string {
	if t.index == nil {
		return t.service
	}
	return t.service + "/" + strconv.Itoa(*t.index)
}

func parseTarget(s string) (target, error) {
	name, idx, has := strings.Cut(s, "/")
	if name == "" {
		return target{}, usageError("cannot read %s: name a SERVICE or SERVICE/N", quote(s))
	}
	if !has {
		return target{service: name}, nil
	}
	n, err := strconv.Atoi(idx)
	if err != nil || n < 0 || strconv.Itoa(n) != idx {
		return target{}, usageError("cannot read %s: an instance is a number from 0: %s/0", quote(s), name)
	}
	return target{service: name, index: &n}, nil
}

// parseTargets reads several; one that is given twice counts once.
func parseTargets(args []string) ([]target, error) {
	var out []target
	seen := make(map[string]bool)
	for _, s := range args {
		t, err := parseTarget(s)
		if err != nil {
			return nil, err
		}
		if !seen[t.String()] {
			seen[t.String()] = true
			out = append(out, t)
		}
	}
	return out, nil
}

// completionPatience bounds what a press of the tab key waits for.
const completionPatience = 300 * time.Millisecond

// completeTargets completes the names of services, and of instances once a
// slash was typed. most bounds the number of arguments; < 0: any.
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
		for i := range st.Services {
			svc := &st.Services[i]
			if instances && strings.HasPrefix(typed, svc.Name+"/") {
				for j := range svc.Instances {
					out = append(out, svc.Instances[j].ID)
				}
				continue
			}
			if strings.HasPrefix(svc.Name, typed) {
				out = append(out, svc.Name)
			}
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	}
}
