package main

import (
	"bytes"
	"errors"
	"log/slog"
	"testing"
)

func TestLogLines(t *testing.T) {
	for name, c := range map[string]struct {
		log  func(*slog.Logger)
		want string
	}{
		"alone":     {func(l *slog.Logger) { l.Info("making way") }, "nines: making way\n"},
		"an error":  {func(l *slog.Logger) { l.Error("cannot end it", "err", errors.New("busy")) }, "nines: cannot end it: busy\n"},
		"more":      {func(l *slog.Logger) { l.Warn("cannot kill", "instance", "web/0", "pid", 7, "err", errors.New("gone")) }, "nines: cannot kill: gone (instance=web/0, pid=7)\n"},
		"two lines": {func(l *slog.Logger) { l.Warn("a\nb") }, "nines: a\n  b\n"},
		"groups":    {func(l *slog.Logger) { l.With("a", 1).WithGroup("g").With("b", 2).Info("m", "c", 3) }, "nines: m (a=1, g.b=2, g.c=3)\n"},
		"debug":     {func(l *slog.Logger) { l.Debug("nothing") }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			c.log(slog.New(newLogLines(&out)))
			if out.String() != c.want {
				t.Errorf("%q, want %q", out.String(), c.want)
			}
		})
	}
}
