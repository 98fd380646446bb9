package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// screen is what the spectator sees. Events arrive while a scene plays, so it
// has a lock.
type screen struct {
	mu     sync.Mutex
	out    io.Writer
	began  time.Time
	colour bool
}

// newScreen colours on a terminal only.
func newScreen(f *os.File) *screen {
	st, err := f.Stat()
	colour := err == nil && st.Mode()&os.ModeCharDevice != 0 && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return &screen{out: f, began: time.Now(), colour: colour}
}

const (
	bold  = "1"
	dim   = "2"
	red   = "31"
	green = "32"
	blue  = "36"
)

// say prints one line.
func (s *screen) say(style, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.colour && style != "" {
		text = "\x1b[" + style + "m" + text + "\x1b[0m"
	}
	// Nobody looks, then: the demo still checks what it is for.
	_, _ = fmt.Fprintln(s.out, text)
}

func (s *screen) title(n, of int, text string) {
	s.say("", "")
	s.say(bold, fmt.Sprintf("── %d/%d  %s", n, of, text))
}

// shell shows what was typed, and what it printed.
func (s *screen) shell(command, output string) {
	s.say(blue, "  $ "+command)
	for line := range strings.Lines(output) {
		s.say("", "  "+strings.TrimRight(line, "\n"))
	}
}

// event shows one entry of the event stream, when it happened.
func (s *screen) event(e event) {
	who := e.Instance
	if who == "" {
		who = e.Service
	}
	s.say(dim, fmt.Sprintf("  %+8.3fs  %-9s %-18s %s", e.Time.Sub(s.began).Seconds(), who, e.Kind, e.Message))
}

// ok is a claim that was checked.
func (s *screen) ok(format string, args ...any) { s.say(green, "  ✓ "+fmt.Sprintf(format, args...)) }

func (s *screen) fail(err error) {
	s.say("", "")
	s.say(red, "demo: "+err.Error())
}

func (s *screen) end() {
	s.say("", "")
	s.say(green, fmt.Sprintf("All of it happened as said, in %.0f s.", time.Since(s.began).Seconds()))
}
