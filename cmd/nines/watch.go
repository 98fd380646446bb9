package main

import (
	"bytes"
	"context"
	"errors"
	"time"

	"nines/ipc"
)

const (
	// watchTick is how often what no event tells of (uptime, memory) is shown anew.
	watchTick = time.Second
	// watchPause keeps a storm of events from drawing all the time.
	watchPause = 100 * time.Millisecond
	// watchPatience is how long no supervisor may answer: one that crashed is
	// back sooner.
	watchPatience = 10 * time.Second
)

// watch shows the view until it is interrupted: on a terminal it is redrawn in
// place every second and at each event; elsewhere it is appended when
// something has happened.
func (v *view) watch(parent context.Context) error {
	ctx, stop := interruptible(parent)
	defer stop()
	s := &screen{view: v}
	if err := s.draw(ctx); err != nil {
		return v.explain("status", cause(ctx, err))
	}
	changed := make(chan struct{}, 1)
	go s.follow(ctx, changed)
	tick := time.NewTicker(watchTick)
	defer tick.Stop()
	var silent time.Time // since when nobody has answered
	for {
		select {
		case <-ctx.Done():
			return v.explain("", context.Cause(ctx))
		case <-changed:
			select {
			case <-time.After(watchPause):
			case <-ctx.Done():
				continue
			}
		case <-tick.C:
			if !v.outTTY && silent.IsZero() {
				continue
			}
		}
		err := s.draw(ctx)
		var none *ipc.ErrNoSupervisor
		var lost *ipc.ErrLost
		switch {
		case err == nil:
			silent = time.Time{}
		case errors.As(err, &none), errors.As(err, &lost):
			if silent.IsZero() {
				silent = v.now()
				v.complain("no supervisor answers: waiting for it")
			}
			if v.now().Sub(silent) > watchPatience {
				return v.explain("status", err)
			}
		default:
			return v.explain("", cause(ctx, err))
		}
	}
}

// screen is what watch draws on.
type screen struct {
	*view
	drawn bool
}

func (s *screen) draw(ctx context.Context) error {
	text, err := s.text(ctx, 0)
	if err != nil {
		return err
	}
	if !s.outTTY {
		if s.drawn {
			text = append([]byte("\n"), text...)
		}
		s.drawn = true
		return s.write(text)
	}
	_, rows := terminalSize(s.out)
	return s.write(frame(text, rows))
}

// frame redraws in place: home, every line cleared to its end, and the rest of
// the screen cleared. Clearing the screen first would flicker. What does not
// fit is cut: scrolling would leave a copy above.
func frame(text []byte, rows int) []byte {
	lines := bytes.SplitAfter(text, []byte("\n"))
	if n := len(lines); n > 0 && len(lines[n-1]) == 0 {
		lines = lines[:n-1]
	}
	cut := rows > 1 && len(lines) > rows-1
	if cut {
		lines = lines[:rows-2]
	}
	b := []byte("\x1b[H")
	for _, l := range lines {
		b = append(append(b, bytes.TrimSuffix(l, []byte("\n"))...), "\x1b[K\n"...)
	}
	if cut {
		b = append(b, "…\x1b[K\n"...)
	}
	return append(b, "\x1b[J"...)
}

// follow says on changed when an event came. It survives the supervisor: the
// next one's stream is joined as soon as it answers.
func (s *screen) follow(ctx context.Context, changed chan<- struct{}) {
	for ctx.Err() == nil {
		// How it ended does not matter here: draw asks for itself.
		_ = s.client.Events(ctx, ipc.EventQuery{Since: s.now(), Follow: true}, func(e ipc.Event) error {
			if s.target == nil || e.Service == s.target.service {
				select {
				case changed <- struct{}{}:
				default:
				}
			}
			return nil
		})
		select {
		case <-time.After(watchTick):
		case <-ctx.Done():
		}
	}
}
