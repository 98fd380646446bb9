package main

import (
	"context"
	"encoding/json"

	"github.com/spf13/cobra"

	"nines/ipc"
)

func newStatusCmd(a *app) *cobra.Command {
	var asJSON, watch bool
	cmd := &cobra.Command{
		Use:   "status [SERVICE[/N]]",
		Short: "Show what runs, and why not",
		Long: `Show what runs, and why not.

On a terminal: a table, or with SERVICE or SERVICE/N its details. In a pipe: the
same rows without a header, columns separated by tabs, "-" where there is
nothing: NAME STATE READY RESTARTS PID UPTIME MEMORY REASON.`,
		Example: `  nines status
  nines status web/0
  nines status --watch
  nines status --json`,
		Args:              argsBetween(0, 1),
		ValidArgsFunction: a.completeTargets(true, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			v := &view{app: a}
			if len(args) == 1 {
				t, err := parseTarget(args[0])
				if err != nil {
					return err
				}
				v.target = &t
			}
			var err error
			if v.client, err = a.client(); err != nil {
				return err
			}
			switch {
			case asJSON && watch:
				return usageError("status: --json and --watch exclude each other: use %s for a stream", quote("nines events -f --json"))
			case asJSON:
				return v.json(cmd.Context())
			case watch:
				return v.watch(cmd.Context())
			}
			text, err := v.text(cmd.Context(), 0)
			if err != nil {
				return a.explain("status", err)
			}
			return a.write(text)
		},
	}
	jsonFlag(cmd, &asJSON)
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "keep showing it as it changes")
	return cmd
}

// view is what status shows: everything, a service, or an instance.
type view struct {
	*app
	client *ipc.Client
	target *target
}

// json prints the document as the supervisor sent it: decoding it only to
// encode it again would double the time that the command takes.
func (v *view) json(ctx context.Context) error {
	var doc []byte
	var err error
	switch {
	case v.target == nil:
		doc, err = v.client.StatusJSON(ctx)
	case v.target.index == nil:
		doc, err = v.client.ServiceJSON(ctx, v.target.service)
	default:
		var in *ipc.Instance
		if _, in, err = v.instance(ctx); err == nil {
			doc, err = json.Marshal(in)
			doc = append(doc, '\n')
		}
	}
	if err != nil {
		return v.explain("status", err)
	}
	return v.write(doc)
}

// instance returns the target and its service.
func (v *view) instance(ctx context.Context) (*ipc.Service, *ipc.Instance, error) {
	svc, err := v.client.Service(ctx, v.target.service)
	if err != nil {
		return nil, nil, err
	}
	in := svc.Instance(v.target.String())
	if in == nil {
		return nil, nil, &ipc.Error{
			Code: ipc.CodeNoSuchInstance, Message: "cannot find instance " + quote(v.target.String()),
			Hint: quote("nines status "+svc.Name) + " lists them",
		}
	}
	return svc, in, nil
}

// text is what is shown to a person (on a terminal) or to a program. width
// bounds the lines; 0: no bound.
func (v *view) text(ctx context.Context, width int) ([]byte, error) {
	now := v.now()
	if width == 0 && v.outTTY {
		width, _ = terminalSize(v.out)
	}
	t := newStatusTable(v.outTTY, v.outColor, width)
	switch {
	case v.target == nil:
		st, err := v.client.Status(ctx)
		if err != nil {
			return nil, err
		}
		statusRows(t, st.Services, now)
		out := t.bytes()
		if v.outTTY {
			out = append(out, warnings(st, v.outColor)...)
		}
		return out, nil
	case v.target.index == nil:
		svc, err := v.client.Service(ctx, v.target.service)
		if err != nil {
			return nil, err
		}
		if v.outTTY {
			return serviceDetails(svc, now, v.outColor, width), nil
		}
		statusRows(t, []ipc.Service{*svc}, now)
		return t.bytes(), nil
	}
	svc, in, err := v.instance(ctx)
	if err != nil {
		return nil, err
	}
	if v.outTTY {
		return instanceDetails(svc, in, now, v.outColor), nil
	}
	instanceRow(t, in, in.ID, now)
	return t.bytes(), nil
}
