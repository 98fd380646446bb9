package main

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"nines/ipc"
)

// actsAtOnce bounds how many requests one command has under way: far below
// what the server takes from one caller.
const actsAtOnce = 16

func newStartCmd(a *app) *cobra.Command {
	return newActCmd(a, ipc.VerbStart, "Start services or instances, and wait until they are ready",
		`Start services or instances, and wait until they are ready. What they need is not
started with them: they wait for it. A service that is held after a crash loop is
tried at once, and its failures are forgotten.`,
		`  nines start web
  nines start web/0 db --no-wait`)
}

func newStopCmd(a *app) *cobra.Command {
	return newActCmd(a, ipc.VerbStop, "Stop services or instances, what needs them first, and wait until they are gone",
		`Stop services or instances, what needs them first, and wait until they are gone, with
everything that they started. They stay stopped until they are started again, also
when the supervisor dies meanwhile.`,
		`  nines stop web
  nines stop web/1 db`)
}

func newRestartCmd(a *app) *cobra.Command {
	return newActCmd(a, ipc.VerbRestart, "Restart services (replicas one after the other) or instances",
		`Restart services or instances. The instances of a service go one after the other, each
when the one before is ready again.`,
		`  nines restart web
  nines restart web/1 --no-wait`)
}

func newReloadCmd(a *app) *cobra.Command {
	return newActCmd(a, ipc.VerbReload, "Have services or instances read their configuration again",
		`Have services or instances read their configuration again, by the signal or the command
that the reload block of their specification names.`,
		`  nines reload web
  nines reload web/0 db`)
}

// newActCmd is a command that takes several SERVICE[/N].
func newActCmd(a *app, verb, short, long, example string) *cobra.Command {
	var noWait bool
	cmd := &cobra.Command{
		Use:               verb + " SERVICE[/N]…",
		Short:             short,
		Long:              long,
		Example:           example,
		Args:              argsBetween(1, -1),
		ValidArgsFunction: a.completeTargets(true, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			targets, err := parseTargets(args)
			if err != nil {
				return err
			}
			return a.act(cmd.Context(), verb, targets, ipc.Command{NoWait: noWait})
		},
	}
	noWaitFlag(cmd, &noWait)
	return cmd
}

func noWaitFlag(cmd *cobra.Command, p *bool) {
	cmd.Flags().BoolVar(p, "no-wait", false, "return as soon as it is accepted")
}

func newScaleCmd(a *app) *cobra.Command {
	var noWait bool
	cmd := &cobra.Command{
		Use:   "scale SERVICE N",
		Short: "Run N instances of a service",
		Long: `Run N instances of a service, until the specification is applied anew or the machine
boots. Those with the highest index go first.`,
		Example: `  nines scale web 3
  nines scale web 0 --no-wait`,
		Args:              argsBetween(2, 2),
		ValidArgsFunction: a.completeTargets(false, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := parseTarget(args[0])
			if err != nil {
				return err
			}
			if t.index != nil {
				return usageError("scale: %s is an instance: name the service %s", quote(args[0]), quote(t.service))
			}
			n, err := strconv.Atoi(args[1])
			if err != nil || n < 0 || n > ipc.MaxScale {
				return usageError("scale: %s is not a number of instances: 0 to %d", quote(args[1]), ipc.MaxScale)
			}
			return a.act(cmd.Context(), ipc.VerbScale, []target{t}, ipc.Command{Instances: n, NoWait: noWait})
		},
	}
	noWaitFlag(cmd, &noWait)
	cmd.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		// "-1" is read as a flag, and meant as a number.
		var unknown interface{ GetSpecifiedShortnames() string } // of pflag
		if errors.As(err, &unknown) {
			if n, err := strconv.Atoi("-" + unknown.GetSpecifiedShortnames()); err == nil {
				return usageError("scale: %s is not a number of instances: 0 to %d", quote(strconv.Itoa(n)), ipc.MaxScale)
			}
		}
		return c.Parent().FlagErrorFunc()(c, err)
	})
	return cmd
}

func newSignalCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "signal SERVICE[/N] SIGNAL",
		Short: "Send a signal to the main process of each instance",
		Long:  "Send a signal, named with or without SIG or by number, to the main process of each instance.",
		Example: `  nines signal web HUP
  nines signal web/0 SIGUSR1`,
		Args: argsBetween(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := parseTarget(args[0])
			if err != nil {
				return err
			}
			sig, err := ipc.ParseSignal(args[1])
			if err != nil {
				return a.explain("signal", err)
			}
			return a.act(cmd.Context(), ipc.VerbSignal, []target{t}, ipc.Command{Signal: sig})
		},
	}
}

// act asks for verb on every target at once, waits, and tells each failure. It
// ends as the first target, in the order of the command line, that failed.
func (a *app) act(parent context.Context, verb string, targets []target, c ipc.Command) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	ctx, stop := interruptible(parent)
	defer stop()
	p := newProgress(a, verb, targets)
	defer p.clear()
	errs := make([]error, len(targets))
	slots := make(chan struct{}, actsAtOnce)
	var wg sync.WaitGroup
	for i, t := range targets {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if ctx.Err() != nil {
				errs[i] = context.Cause(ctx)
				return
			}
			c := c
			c.Instance = t.index
			_, err := client.Do(ctx, t.service, verb, c)
			errs[i] = cause(ctx, err)
			p.done(t)
		})
	}
	wg.Wait()
	p.clear()
	return a.report(verb, targets, errs)
}

// report tells what failed. What is the same for all (no supervisor, an
// interrupt) is told once.
func (a *app) report(verb string, targets []target, errs []error) error {
	var first error
	told := make(map[string]bool)
	var interruptedTargets []string
	var sig *interrupted
	for i, err := range errs {
		if err == nil {
			continue
		}
		if errors.As(err, &sig) {
			interruptedTargets = append(interruptedTargets, targets[i].String())
			continue
		}
		f := a.explain(verb+" "+targets[i].String(), err)
		if first == nil {
			first = f
			told[f.Error()] = true
			continue
		}
		if msg := f.Error(); !told[msg] {
			told[msg] = true
			a.complain("%s", msg)
		}
	}
	if len(interruptedTargets) > 0 {
		f := sig.failure(verb + " " + strings.Join(interruptedTargets, " "))
		if first != nil {
			a.complain("%s", first.Error())
		}
		return f
	}
	return first
}

// progress is one line on a person's terminal while a command waits.
type progress struct {
	a    *app
	verb string

	mu    sync.Mutex
	wait  []string // targets that are not done
	shown bool
}

func newProgress(a *app, verb string, targets []target) *progress {
	p := &progress{a: a, verb: verb}
	for _, t := range targets {
		p.wait = append(p.wait, t.String())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.show()
	return p
}

func (p *progress) show() {
	if !p.a.errTTY || len(p.wait) == 0 {
		return
	}
	const most = 5
	names := p.wait
	rest := ""
	if len(names) > most {
		rest = " and " + count(len(names)-most, "more")
		rest = strings.TrimSuffix(rest, "s")
		names = names[:most]
	}
	line := p.verb + ": waiting for " + listText(names) + rest
	if rest != "" {
		line = p.verb + ": waiting for " + strings.Join(names, ", ") + rest
	}
	if width, _ := terminalSize(p.a.err); width > 1 {
		line = shorten(line, width-1)
	}
	p.shown = true
	p.a.say(p.a.err, "\r\x1b[K%s", line)
}

func (p *progress) done(t target) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, s := range p.wait {
		if s == t.String() {
			p.wait = append(p.wait[:i], p.wait[i+1:]...)
			break
		}
	}
	p.show()
}

// clear leaves the terminal as it was.
func (p *progress) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shown {
		p.shown = false
		p.a.say(p.a.err, "\r\x1b[K")
	}
}
