package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"nines/ipc"
)

func newUpgradeCmd(a *app) *cobra.Command {
	var keeper, asJSON bool
	var timeout, probation time.Duration
	cmd := &cobra.Command{
		Use:   "upgrade PATH",
		Short: "Replace the running supervisor, or keeper, by another program; services stay",
		Long: `Replace the running supervisor by PATH, a nines, or a folder that holds one. The
services go on. If the new one is not ready in time (--timeout), or ends three
times before it was ready for --probation, the one before it runs again: exit 1.
A nines-log beside PATH is tried together with it; nines-exec is taken from
beside PATH, else from where nines-init is. With --keeper: nines-init itself,
which stays the process that it is.

This installs nothing: when nines-init starts again (a reboot), it runs what is
installed beside it.`,
		Example: `  nines upgrade /opt/nines-1.3
  nines upgrade ./bin/nines-init --keeper`,
		Args: argsBetween(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ms := probation.Milliseconds()
			r := ipc.UpgradeRequest{Keeper: keeper, TimeoutMS: timeout.Milliseconds(), ProbationMS: &ms}
			if r.TimeoutMS <= 0 || timeout > time.Hour || ms < 0 || probation > time.Hour {
				return usageError("upgrade: --timeout and --probation are from 1ms and 0 to 1h")
			}
			path, err := filepath.Abs(args[0])
			if err != nil {
				return usageError("upgrade: %s: %v", quote(args[0]), err)
			}
			r.Path = path
			return a.upgrade(cmd.Context(), r, asJSON)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&keeper, "keeper", false, "replace nines-init, not the supervisor")
	f.DurationVar(&timeout, "timeout", 30*time.Second, "how long the new one may take to be ready")
	f.DurationVar(&probation, "probation", 10*time.Second, "how long it must live before it is taken for good")
	jsonFlag(cmd, &asJSON)
	return cmd
}

// probePatience is how long a program may take to say its version.
const probePatience = 10 * time.Second

// probe has the program say its version: what cannot do that is no program of
// ours, and not worth a try.
func probe(path string, keeper bool) error {
	name, args := "nines", []string{"version"}
	if keeper {
		name, args = "nines-init", []string{"--version"}
	}
	if fi, err := os.Stat(path); err == nil && fi.IsDir() {
		path = filepath.Join(path, name)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	p, err := os.StartProcess(path, append([]string{path}, args...), &os.ProcAttr{Files: []*os.File{nil, w, nil}})
	_ = w.Close() // the child has its own
	if err != nil {
		return err
	}
	late := time.AfterFunc(probePatience, func() {
		_ = p.Kill() // it may have ended just now
		_ = r.Close()
	})
	defer late.Stop()
	out, rerr := io.ReadAll(io.LimitReader(r, 4<<10))
	_ = r.Close()
	state, err := p.Wait()
	switch {
	case err != nil:
		return err
	case rerr != nil || !state.Success() || !strings.HasPrefix(string(out), name+" "):
		return fmt.Errorf("%s, asked for its version, does not say %q (%v)", path, name+" VERSION", state)
	}
	return nil
}

func (a *app) upgrade(parent context.Context, r ipc.UpgradeRequest, asJSON bool) error {
	what := "cannot upgrade to " + r.Path
	client, err := a.client()
	if err != nil {
		return err
	}
	ctx, stop := interruptible(parent)
	defer stop()
	before, err := client.Status(ctx)
	if err != nil {
		return a.explain(what, cause(ctx, err))
	}
	last, err := client.UpgradeState(ctx, false)
	if err != nil {
		return a.explain(what, cause(ctx, err))
	}
	if err := probe(r.Path, r.Keeper); err != nil {
		return &failure{code: exitFailed, what: what, why: err.Error(), err: err}
	}
	asked, err := client.Upgrade(ctx, r)
	var lost *ipc.ErrLost
	if err != nil && !errors.As(err, &lost) {
		return a.explain(what, cause(ctx, err))
	}
	id := asked.ID
	if err != nil {
		id = last.ID + 1 // it may have gone as far as that
	}
	u, err := a.awaitUpgrade(ctx, client, r, id)
	if err != nil {
		return a.explain(what, cause(ctx, err))
	}
	after, err := client.Status(ctx)
	if err != nil {
		return a.explain(what, cause(ctx, err))
	}
	same, all := samePIDs(before, after)
	if asJSON {
		if err := a.printJSON(struct {
			ipc.Upgrade
			To        string `json:"to"`
			PIDBefore int    `json:"pid_before"`
			PID       int    `json:"pid"`
			Processes int    `json:"processes"`
			Unchanged int    `json:"unchanged"`
		}{u, after.Supervisor.Version, before.Supervisor.PID, after.Supervisor.PID, all, same}); err != nil {
			return err
		}
	}
	if u.ID != id || u.State != "done" {
		why := "reverted: " + u.Why
		if u.ID != id {
			why = "the supervisor ended before it could hand over"
		}
		return &failure{code: exitFailed, what: what, why: why, todo: "what ran before runs"}
	}
	if !asJSON {
		how := fmt.Sprintf("supervisor %s (pid %d) is now %s (pid %d)", u.From, before.Supervisor.PID, after.Supervisor.Version, after.Supervisor.PID)
		if r.Keeper {
			how = u.Why
		}
		a.say(a.out, "upgraded: %s; %d of %d processes are the same\n", how, same, all)
	}
	return nil
}

// awaitUpgrade waits across the change of the supervisor until it is decided.
func (a *app) awaitUpgrade(ctx context.Context, client *ipc.Client, r ipc.UpgradeRequest, id uint64) (ipc.Upgrade, error) {
	timeout, probation := r.Times()
	// The trial, its crashes, and the return of the one before it.
	end := time.Now().Add(4*timeout + 2*probation + time.Minute)
	for {
		u, err := client.UpgradeState(ctx, true)
		var none *ipc.ErrNoSupervisor
		var lost *ipc.ErrLost
		var api *ipc.Error
		away := errors.As(err, &none) || errors.As(err, &lost) || errors.As(err, &api) && api.Code == ipc.CodeBusy
		if !away || time.Now().After(end) {
			return u, err
		}
		select {
		case <-time.After(50 * time.Millisecond): // nothing tells when a socket is there again
		case <-ctx.Done():
			return u, ctx.Err()
		}
	}
}

// samePIDs counts the processes that ran before, and those of them that still do.
func samePIDs(before, after *ipc.Status) (same, all int) {
	now := map[string]int{}
	for _, s := range after.Services {
		for _, in := range s.Instances {
			now[in.ID] = in.PID
		}
	}
	for _, s := range before.Services {
		for _, in := range s.Instances {
			if in.PID == 0 {
				continue
			}
			all++
			if now[in.ID] == in.PID {
				same++
			}
		}
	}
	return same, all
}
