package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"nines/ipc"
)

// outputDelay is how long a line may wait for company before it is written:
// one write a line would make a flood of them ten times as dear.
const outputDelay = 5 * time.Millisecond

// output gathers lines for stdout and writes them soon.
type output struct {
	mu    sync.Mutex
	w     *bufio.Writer
	timer *time.Timer
	err   error
}

func newOutput(a *app) *output {
	o := &output{w: bufio.NewWriterSize(a.out, 64<<10)}
	o.timer = time.AfterFunc(time.Hour, func() { _ = o.flush() }) // the next write returns its error
	o.timer.Stop()
	return o
}

// line writes parts as one line.
func (o *output) line(parts ...string) error { return o.text(append(parts, "\n")...) }

// text writes parts.
func (o *output) text(parts ...string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return o.err
	}
	if o.w.Buffered() == 0 {
		o.timer.Reset(outputDelay)
	}
	for _, p := range parts {
		if _, err := o.w.WriteString(p); err != nil {
			o.fail(err)
			return o.err
		}
	}
	return nil
}

func (o *output) json(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return &failure{code: exitFailed, what: "cannot encode the output", why: err.Error(), err: err}
	}
	return o.line(string(b))
}

func (o *output) fail(err error) {
	o.err = &failure{code: exitFailed, what: "cannot write the output", why: err.Error(), err: err}
}

func (o *output) flush() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.w.Flush(); err != nil && o.err == nil {
		o.fail(err)
	}
	return o.err
}

const (
	// rejoinPatience is how long a follower waits for the next supervisor.
	rejoinPatience = 10 * time.Second
	rejoinPause    = 100 * time.Millisecond
)

// follow runs a stream until it ends, and if it is to be followed, again when
// its supervisor was replaced by another; once must go on where it left off.
func (a *app) follow(ctx context.Context, follow bool, once func() error) error {
	var silent time.Time // since when nobody has answered
	for joined := false; ; {
		err := once()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var none *ipc.ErrNoSupervisor
		var lost *ipc.ErrLost
		switch {
		case !follow:
			return err
		case err == nil, errors.As(err, &lost):
			joined, silent = true, time.Time{}
		case errors.As(err, &none) && joined && none.Stale:
			if silent.IsZero() {
				silent = a.now()
			}
			if a.now().Sub(silent) > rejoinPatience {
				return err
			}
		case errors.As(err, &none) && joined:
			return nil // its socket is gone: it ended in order, and so did what was followed
		default:
			return err
		}
		select {
		case <-time.After(rejoinPause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
