// Command web is a small, real web service: what the demo supervises and what
// tests kill. It has a start that can fail, a health page, work that takes
// time, logs, and a graceful end; flags make it misbehave on purpose. Built with
// the tag v2 it is a second version, which panics while it starts.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

// config is what the flags say.
type config struct {
	addr       string
	db         string
	migrate    bool
	startDelay time.Duration
	crashAfter time.Duration
	exitCode   int
	drain      time.Duration
}

func parse(args []string, stderr io.Writer) (config, error) {
	var c config
	f := flag.NewFlagSet("web", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&c.addr, "addr", "", "`host:port` to listen on (default: the socket that $LISTEN_FDS says, else 127.0.0.1:$NINES_PORT_http)")
	f.StringVar(&c.db, "db", "", "`file` that -migrate makes and that must exist before the service starts")
	f.BoolVar(&c.migrate, "migrate", false, "make the -db file, then exit 0")
	f.DurationVar(&c.startDelay, "start-delay", 0, "time between exec and listening")
	f.DurationVar(&c.crashAfter, "crash-after", 0, "exit with -exit-code so long after listening (0: never)")
	f.IntVar(&c.exitCode, "exit-code", 1, "exit status of -crash-after")
	f.DurationVar(&c.drain, "drain", 5*time.Second, "longest wait for requests in flight at SIGTERM")
	if err := f.Parse(args); err != nil {
		return c, err
	}
	if f.NArg() > 0 {
		return c, fmt.Errorf("cannot use argument %q: web takes flags only", f.Arg(0))
	}
	if c.migrate && c.db == "" {
		return c, errors.New("cannot migrate: -migrate needs -db")
	}
	if c.addr == "" && !c.migrate && !inherits() {
		port := os.Getenv("NINES_PORT_http")
		if port == "" {
			return c, errors.New("cannot listen: neither -addr nor NINES_PORT_http nor a socket is given")
		}
		c.addr = net.JoinHostPort("127.0.0.1", port)
	}
	return c, nil
}

func main() {
	c, err := parse(os.Args[1:], os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		fmt.Fprintln(os.Stderr, "web:", err)
		os.Exit(2)
	}
	// From here on SIGTERM is an orderly end, even while the start still waits.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stdout, nil)).With("instance", instanceID())
	code, err := run(ctx, c, log)
	if err != nil {
		log.Error(err.Error())
	}
	os.Exit(code)
}

// instanceID is who we are under nines, and "web" elsewhere.
func instanceID() string {
	if id := os.Getenv("NINES_INSTANCE_ID"); id != "" {
		return id
	}
	return "web"
}

// run is the whole life of the process; it returns the exit status.
func run(ctx context.Context, c config, log *slog.Logger) (int, error) {
	if c.migrate {
		if err := migrate(c.db); err != nil {
			return 1, err
		}
		log.Info("migrated", "db", c.db)
		return 0, nil
	}
	if c.db != "" {
		if _, err := os.Stat(c.db); err != nil {
			return 1, fmt.Errorf("cannot start: the database was not migrated: %w", err)
		}
	}
	select {
	case <-time.After(c.startDelay):
	case <-ctx.Done():
		return 0, nil
	}
	warm()
	l, err := listen(c.addr)
	if err != nil {
		return 1, fmt.Errorf("cannot listen: %w", err)
	}
	return serve(ctx, l, c, log)
}

// inherits says whether a socket was given as sd_listen_fds(3) has it.
func inherits() bool {
	return os.Getenv("LISTEN_FDS") == "1" && os.Getenv("LISTEN_PID") == strconv.Itoa(os.Getpid())
}

// listen listens at addr; "": at the socket that was given.
func listen(addr string) (l net.Listener, err error) {
	if addr != "" {
		return net.Listen("tcp", addr)
	}
	f := os.NewFile(3, "http") // the first descriptor, by sd_listen_fds(3)
	l, err = net.FileListener(f)
	return l, errors.Join(err, f.Close()) // l has a copy
}

// serve answers until ctx ends, then finishes what is in flight.
func serve(ctx context.Context, l net.Listener, c config, log *slog.Logger) (int, error) {
	srv := &http.Server{Handler: newSite(instanceID(), log).handler(), ReadHeaderTimeout: 5 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	log.Info("listening", "addr", l.Addr().String(), "pid", os.Getpid())

	var crash <-chan time.Time // nil, and so never ready, without -crash-after
	if c.crashAfter > 0 {
		crash = time.After(c.crashAfter)
	}
	select {
	case err := <-failed:
		return 1, fmt.Errorf("cannot serve: %w", err)
	case <-crash:
		return c.exitCode, errors.New("cannot go on: crashing, as -crash-after asks")
	case <-ctx.Done():
	}
	log.Info("stopping")
	drained, cancel := context.WithTimeout(context.Background(), c.drain)
	defer cancel()
	if err := srv.Shutdown(drained); err != nil {
		return 1, fmt.Errorf("cannot finish the requests in flight: %w", err)
	}
	log.Info("stopped")
	return 0, nil
}

// migrate makes the database in one step: a death half-way leaves none.
func migrate(path string) error {
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, []byte("schema 1\n"), 0o600); err != nil {
		return fmt.Errorf("cannot migrate: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("cannot migrate: %w", err)
	}
	return nil
}
