package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"nines/ipc"
)

// defaultLines is how much of each log is shown when neither -n nor --since
// says.
const defaultLines = 100

func newLogsCmd(a *app) *cobra.Command {
	var follow, asJSON bool
	var since string
	var lines int
	cmd := &cobra.Command{
		Use:   "logs [SERVICE[/N]…]",
		Short: "Show the last lines that services wrote, and with -f what they write",
		Long: `Show the last lines that services wrote. Lines of several instances are
prefixed with whose they are, those of a stderr that is told apart
(log.streams = "split") with :err behind it, or err alone. -n counts for each
instance; 0 is none, -1 all that is kept, which is also what --since without -n
shows.`,
		Example: `  nines logs -f
  nines logs web/0 -n 20
  nines logs web db --since 10m --json`,
		ValidArgsFunction: a.completeTargets(true, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			targets, err := parseTargets(args)
			if err != nil {
				return err
			}
			q := ipc.LogRequest{Lines: lines, Follow: follow}
			if q.Since, err = ipc.ParseSince(since, a.now()); err != nil {
				return a.explain("logs", err)
			}
			switch {
			case cmd.Flags().Changed("lines"):
				if lines < -1 {
					return usageError("logs: -n %d: give a number of lines, or -1 for all", lines)
				}
			case !q.Since.IsZero():
				q.Lines = -1
			}
			for _, t := range targets {
				if t.index == nil {
					q.Services = append(q.Services, t.service)
				} else {
					q.Instances = append(q.Instances, t.String())
				}
			}
			p := &logPrinter{app: a, json: asJSON}
			if p.client, err = a.client(); err != nil {
				return err
			}
			return p.print(cmd.Context(), q)
		},
	}
	followFlags(cmd, &follow, &since)
	cmd.Flags().IntVarP(&lines, "lines", "n", defaultLines, "the last `n` lines of each instance")
	jsonFlag(cmd, &asJSON)
	return cmd
}

// logStderr is the stream of lines from a stderr that is told apart.
const logStderr = "err"

// logPrinter prints lines as they come.
type logPrinter struct {
	*app
	client *ipc.Client
	json   bool
	out    *output
	prefix bool
	open   string // the stream whose unfinished line was printed last
}

func (p *logPrinter) print(parent context.Context, q ipc.LogRequest) error {
	ctx, stop := interruptible(parent)
	defer stop()
	if err := p.choosePrefix(ctx, q); err != nil {
		return p.explain("logs", cause(ctx, err))
	}
	p.out = newOutput(p.app)
	joined := time.Time{} // when the last line that was seen was written
	err := p.follow(ctx, q.Follow, func() error {
		if !joined.IsZero() { // the next supervisor's: what came since
			q.Lines, q.Since = -1, joined.Add(1)
		}
		return p.client.Logs(ctx, q, func(l ipc.LogLine) error {
			if l.Time.After(joined) {
				joined = l.Time
			}
			return p.line(&l)
		})
	})
	if ferr := p.finish(); ferr != nil {
		return ferr
	}
	what := "logs"
	if q.Follow {
		what = "" // being interrupted is how following ends
	}
	return p.explain(what, err)
}

// choosePrefix says whether lines need their instance's name: not where there
// can be only one.
func (p *logPrinter) choosePrefix(ctx context.Context, q ipc.LogRequest) error {
	p.prefix = true
	switch {
	case p.json:
	case len(q.Services) == 0 && len(q.Instances) == 1:
		p.prefix = false
	case len(q.Services) == 1 && len(q.Instances) == 0:
		svc, err := p.client.Service(ctx, q.Services[0])
		if err != nil {
			return err
		}
		p.prefix = len(svc.Instances) != 1
	}
	return nil
}

// line prints one line, or a part of one: what is too long to be handed over
// at once is joined again, unless another instance speaks in between.
func (p *logPrinter) line(l *ipc.LogLine) error {
	if p.json {
		return p.out.json(l)
	}
	var before, prefix, end string
	who := l.Instance + ":" + l.Stream
	if p.open != "" && p.open != who {
		before, p.open = "\n", ""
	}
	if p.open == "" {
		name := ""
		switch isErr := l.Stream == logStderr; {
		case p.prefix && isErr:
			name = printable(l.Instance) + ":" + logStderr
		case p.prefix:
			name = printable(l.Instance)
		case isErr:
			name = logStderr
		}
		if name != "" {
			prefix = paint(p.outColor, instanceColor(l.Instance), name+" |") + " "
		}
	}
	p.open = ""
	if l.Partial {
		p.open = who
	} else {
		end = "\n"
	}
	return p.out.text(before, prefix, l.Line, end)
}

// finish ends a line that is still open, so that the prompt gets its own.
func (p *logPrinter) finish() error {
	if p.open != "" {
		if err := p.out.text("\n"); err != nil {
			return err
		}
	}
	return p.out.flush()
}
