package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"nines/ipc"
)

// app is what the commands share: the outside world, and the global flags.
type app struct {
	args               []string
	in                 io.Reader
	out, err           io.Writer
	outTTY, errTTY     bool // a person looks at it
	outColor, errColor bool
	getenv             func(string) string
	uid                int
	now                func() time.Time

	flags struct{ socket, runtimeDir, stateDir, logDir string }
}

// The exit codes. Those of API errors come from ipc.Code.
const (
	exitFailed       = 1
	exitUsage        = 2
	exitNoSupervisor = 3
)

// failure is an error with an exit code, told as "nines: what: why: what to do".
type failure struct {
	code            int
	what, why, todo string
	err             error
}

func (f *failure) Error() string {
	parts := make([]string, 0, 3)
	for _, s := range []string{f.what, f.why, f.todo} {
		if s != "" {
			parts = append(parts, printable(s))
		}
	}
	return strings.Join(parts, ": ")
}

func (f *failure) Unwrap() error { return f.err }

// silent ends with a code and no message: what there was to say was said.
func silent(code int) error { return &failure{code: code} }

func usageError(format string, args ...any) error {
	return &failure{code: exitUsage, what: fmt.Sprintf(format, args...)}
}

// explain turns an error of the client into a failure. what is what was tried
// ("stop web"); it is said where the error does not say it.
func (a *app) explain(what string, err error) error {
	var f *failure
	var api *ipc.Error
	var none *ipc.ErrNoSupervisor
	var lost *ipc.ErrLost
	var sig *interrupted
	switch {
	case err == nil:
		return nil
	case errors.As(err, &sig):
		return sig.failure(what)
	case errors.As(err, &f):
		return err
	case errors.As(err, &api):
		f = &failure{code: api.Code.ExitCode(), what: what, why: api.Message, todo: api.Hint, err: err}
		if strings.HasPrefix(api.Message, "cannot ") {
			f.what = ""
		}
		return f
	case errors.As(err, &none):
		return &failure{
			code: exitNoSupervisor, what: "cannot reach the supervisor", why: noSupervisorReason(none),
			todo: `start it with "nines up", or name its socket with --socket`, err: err,
		}
	case errors.As(err, &lost):
		return &failure{
			code: exitFailed, what: what, why: "the supervisor closed the connection before it had answered",
			todo: `what was asked for may have been done: see "nines status"`, err: err,
		}
	}
	return &failure{code: exitFailed, what: what, why: err.Error(), err: err}
}

func noSupervisorReason(e *ipc.ErrNoSupervisor) string {
	if errors.Is(e.Err, os.ErrNotExist) {
		return "there is no " + e.Socket
	}
	if e.Stale {
		return "nobody listens at " + e.Socket
	}
	return e.Err.Error()
}

// finish prints the error, if any, and returns the exit code. Whatever no
// command has made a failure of came from parsing the command line.
func (a *app) finish(err error) int {
	if err == nil {
		return 0
	}
	var f *failure
	if !errors.As(err, &f) {
		f = &failure{code: exitUsage, what: err.Error()}
	}
	if msg := f.Error(); msg != "" {
		a.complain("%s", msg)
	}
	return f.code
}

// complain writes one message to stderr.
func (a *app) complain(format string, args ...any) {
	a.say(a.err, "nines: "+format+"\n", args...)
}

// say writes for people.
func (a *app) say(w io.Writer, format string, args ...any) {
	// A closed pipe ends the process by SIGPIPE; for a stderr that cannot be
	// written to there is no place left to complain.
	_, _ = fmt.Fprintf(w, format, args...)
}

// client returns a client of the supervisor at the chosen socket.
func (a *app) client() (*ipc.Client, error) {
	path, err := a.socketPath()
	if err != nil {
		return nil, err
	}
	// A command is over before its garbage is worth collecting.
	debug.SetGCPercent(400)
	return ipc.NewClient(path), nil
}

// interrupted is the cause of a context that a signal ended.
type interrupted struct{ sig syscall.Signal }

func (e *interrupted) Error() string { return "interrupted" }

func (e *interrupted) failure(what string) error {
	f := &failure{code: 128 + int(e.sig), err: e}
	if what != "" {
		f.what, f.why, f.todo = what, "interrupted", `it goes on; see "nines status"`
	}
	return f
}

// interruptible returns a context that SIGINT or SIGTERM ends.
func interruptible(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		select {
		case s := <-ch:
			sig, ok := s.(syscall.Signal)
			if !ok {
				sig = syscall.SIGINT
			}
			signal.Stop(ch) // a second one ends us at once
			cancel(&interrupted{sig})
		case <-ctx.Done():
		}
	}()
	return ctx, func() { signal.Stop(ch); cancel(nil) }
}

// cause replaces a bare context error with what ended the context.
func cause(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return context.Cause(ctx)
	}
	return err
}

// exactArgs and the like say what is expected, as usage errors.
func argsBetween(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usageError("%s: too few arguments: usage: %s", cmd.Name(), cmd.UseLine())
		case most >= 0 && len(args) > most:
			return usageError("%s: unexpected argument %q: usage: %s", cmd.Name(), args[most], cmd.UseLine())
		}
		return nil
	}
}
