package main

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
)

// logLines writes log records as this program says everything else on stderr:
//
//	nines: MESSAGE: ERROR (KEY=VALUE, …)
//
// one line a record, in one write. Who keeps stderr adds the time.
type logLines struct {
	to     io.Writer
	mu     *sync.Mutex
	attrs  []slog.Attr
	prefix string // of the keys: the groups
}

func newLogLines(to io.Writer) slog.Handler { return &logLines{to: to, mu: new(sync.Mutex)} }

func (h *logLines) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

func (h *logLines) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *h
	with.attrs = slices.Clone(h.attrs)
	for _, a := range attrs {
		a.Key = h.prefix + a.Key
		with.attrs = append(with.attrs, a)
	}
	return &with
}

func (h *logLines) WithGroup(name string) slog.Handler {
	with := *h
	if name != "" {
		with.prefix += name + "."
	}
	return &with
}

func (h *logLines) Handle(_ context.Context, r slog.Record) error {
	failed, rest := "", ""
	add := func(a slog.Attr) {
		text := a.Value.Resolve().String()
		switch {
		case a.Equal(slog.Attr{}):
		case a.Key == "err" && failed == "":
			failed = ": " + text
		default:
			rest += ", " + a.Key + "=" + text
		}
	}
	for _, a := range h.attrs {
		add(a)
	}
	r.Attrs(func(a slog.Attr) bool {
		a.Key = h.prefix + a.Key
		add(a)
		return true
	})
	if rest != "" {
		rest = " (" + rest[len(", "):] + ")"
	}
	line := strings.ReplaceAll("nines: "+r.Message+failed+rest, "\n", "\n  ")
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := io.WriteString(h.to, line+"\n")
	return err
}
