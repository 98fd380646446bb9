// Command demo shows nines at work and checks what it shows: a real web
// service of three instances, a task that it needs, and a service that always
// crashes, under one `nines up`; then, under another, a version that does not
// work, copied over one that clients use. It reads only what any user can read (the
// JSON of status, events, logs and history, and the web pages), needs neither root nor
// network, ends by itself, and exits with 1 when anything that it says did not
// happen.
package main

import (
	"context"
	"embed"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

//go:embed demo.hcl deploy.hcl
var specs embed.FS

// limit is what the whole demo may take; it takes about ten seconds.
const limit = 55 * time.Second

func main() {
	bin := flag.String("bin", "bin", "`folder` of the nines binaries")
	web := flag.String("web", "", "the web service's `binary`")
	web2 := flag.String("web-v2", "", "the `binary` of its second version")
	flag.Parse()
	// Whatever ends the demo, a reader that went away too, ends what it started.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	defer stop()
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("the demo took longer than %s", limit))
	defer cancel()

	s := newScreen(os.Stdout)
	if err := run(ctx, s, *bin, *web, *web2); err != nil {
		s.fail(err)
		os.Exit(1)
	}
}

// step is one scene: a title, and what happens in it.
type step struct {
	title string
	play  func(*demo, context.Context) error
}

var steps = []step{
	{"Start: migrate first, then web ×3, which needs it; flaky at once", (*demo).start},
	{"Real pages from a real service", (*demo).serve},
	{"kill -9 of web/1: seen, restarted, serving again", (*demo).kill},
	{"A crash-looper: each delay is longer than the last, until it is held", (*demo).loop},
	{"Orderly shutdown, with a request in flight", (*demo).shutdown},
	{"A version that does not work is copied over the one that clients use", (*demo).deploy},
}

// run plays all scenes and leaves nothing behind.
func run(ctx context.Context, s *screen, bin, web, web2 string) (err error) {
	dir, err := os.MkdirTemp("", "nines-demo-")
	if err != nil {
		return fmt.Errorf("cannot make a folder: %w", err)
	}
	d, err := newDemo(s, dir, bin, web, web2)
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	defer func() { err = errors.Join(err, d.close(err != nil), os.RemoveAll(dir)) }()
	if err := d.up(ctx, "demo.hcl"); err != nil {
		return err
	}
	for i, st := range steps {
		s.title(i+1, len(steps), st.title)
		if err := st.play(d, ctx); err != nil {
			if cause := context.Cause(ctx); cause != nil {
				err = fmt.Errorf("%w (%w)", err, cause)
			}
			return err
		}
	}
	s.end()
	return nil
}

// newDemo puts the specs and the web service into dir.
func newDemo(s *screen, dir, bin, web, web2 string) (*demo, error) {
	bin, err := filepath.Abs(bin)
	if err != nil {
		return nil, fmt.Errorf("cannot find the binaries: %w", err)
	}
	if web, err = filepath.Abs(web); err != nil {
		return nil, fmt.Errorf("cannot find the web service: %w", err)
	}
	d := &demo{
		screen: s, dir: dir, nines: filepath.Join(bin, "nines"), web: web, web2: web2,
		env: append(os.Environ(),
			"DEMO_BIN="+filepath.Dir(web), "DEMO_DIR="+dir,
			"NINES_RUNTIME_DIR="+filepath.Join(dir, "run"), "NINES_SOCKET="+filepath.Join(dir, "run", "control.sock"),
			"NINES_STATE_DIR="+filepath.Join(dir, "state"), "NINES_LOG_DIR="+filepath.Join(dir, "log")),
	}
	for _, f := range []string{d.nines, web, web2} {
		if _, err := os.Stat(f); err != nil {
			return nil, fmt.Errorf("cannot find what the demo runs: %w: build it with `make build`", err)
		}
	}
	if err := os.CopyFS(dir, specs); err != nil {
		return nil, fmt.Errorf("cannot write the specs: %w", err)
	}
	return d, nil
}
