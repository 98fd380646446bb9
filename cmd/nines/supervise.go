package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"nines/ipc"
	"nines/spec"
	"nines/spec/diff"
	"nines/spec/load"
	"nines/supervisor"
	"nines/supervisor/journal"
	"nines/supervisor/notify"
	"nines/supervisor/pathwatch"
	"nines/supervisor/policy"
	"nines/supervisor/threads"
)

// newSuperviseCmd is what the keeper runs; people run nines-init or `nines up`.
func newSuperviseCmd(a *app) *cobra.Command {
	var files []string
	var watch bool
	cmd := &cobra.Command{
		Use:   "supervise [-f PATH]… [--watch]",
		Short: "Supervise (run by nines-init)",
		Long: `Supervise the services of a spec (default ` + defaultSpecs + `). The keeper, nines-init, runs this and
keeps it alive; people run nines-init, or "nines up".`,
		Example: `  nines supervise -f /etc/nines        # by nines-init: by hand it finds no keeper`,
		Args:    argsBetween(0, 0),
		RunE: func(*cobra.Command, []string) error {
			if len(files) == 0 {
				files = []string{defaultSpecs}
			}
			if code := supervise(a, files, watch); code != 0 {
				return silent(code)
			}
			return nil
		},
	}
	cmd.Flags().StringArrayVarP(&files, "file", "f", nil, "spec `path`: a file or a folder (repeatable)")
	watchFlag(cmd, &watch)
	return cmd
}

func watchFlag(cmd *cobra.Command, p *bool) {
	cmd.Flags().BoolVar(p, "watch", false, "apply the spec files when they have changed and settled for 1s")
}

// defaultSpecs is where specs are where no -f names others.
const defaultSpecs = "/etc/nines"

// handBackPatience is how long the hand-back of the store may take.
const handBackPatience = 10 * time.Second

// supervise is what the keeper runs. It returns the exit status; the keeper
// learns by X_NINES_END that it is meant.
func supervise(a *app, files []string, watch bool) int {
	nameSelf()
	threads.Reserve(supervisorThreads)
	log := slog.New(newLogLines(a.err))
	fd, err := strconv.Atoi(a.getenv("NINES_KEEPER_FD"))
	if err != nil || fd < 3 {
		a.complain("cannot supervise: there is no keeper: start nines-init, which runs this, or \"nines up\"")
		return exitUsage
	}
	conn, err := notify.NewConn(fd)
	if err != nil {
		a.complain("cannot supervise: no keeper at descriptor %d: %v: start nines-init, which runs this", fd, err)
		return exitUsage
	}
	generation := max(atoiOr(a.getenv("NINES_GENERATION"), 1), 1)
	code, err := superviseWith(a, files, watch, conn, generation, log)
	if errors.Is(err, supervisor.ErrHandedOver) {
		return 0 // the keeper knows, and starts the one that takes over
	}
	if err != nil {
		a.complain("%v", err)
		if generation > 1 {
			// Services run: to end the keeper would end them. Without X_NINES_END
			// it starts the next one, again and again until what is wrong is mended.
			return code
		}
	}
	if err := conn.Send(notify.Message{notify.End(code)}.Append(nil), nil); err != nil {
		log.Error("cannot tell the keeper that this end is meant", "err", err)
	}
	return code
}

// supervisorThreads is how many the keeper has counted for us when it found that
// there is room (keeper.Fits).
const supervisorThreads = 10

// listenControl makes the control socket. That somebody answers there is another
// supervisor's at a first start. Later it can only be ours: the keeper's lock
// lets nobody else in, but a process that our dead predecessor was just making
// holds copies of its sockets until it has exec'ed.
func listenControl(path string, c spec.Control, generation int) (net.Listener, error) {
	l, err := ipc.Listen(path, c.Mode, c.Group)
	var used *ipc.ErrInUse
	if generation > 1 && errors.As(err, &used) {
		if err := os.Remove(path); err != nil {
			return nil, err
		}
		return ipc.Listen(path, c.Mode, c.Group)
	}
	return l, err
}

func superviseWith(a *app, files []string, watch bool, conn *notify.Conn, generation int, log *slog.Logger) (int, error) {
	keeperPID := atoiOr(a.getenv("NINES_KEEPER_PID"), os.Getppid())
	runtimeDir, err := a.runtimePath()
	if err != nil {
		return 1, err
	}
	values, sockets, err := handBack(conn)
	if err != nil {
		return 1, err
	}
	past, err := supervisor.ReadPast(values)
	if err != nil && past.OnTrial() {
		// What it does not understand it would take for leftovers, and end.
		return 1, fmt.Errorf("cannot take over: %w", err)
	}
	if err != nil {
		log.Warn(err.Error())
	}
	var run *running
	var diags load.Diagnostics
	if generation == 1 {
		run, diags = firstSpec(a, files, runtimeDir)
	} else {
		run, diags = nextSpec(a, files, runtimeDir, past.Applied, log)
	}
	if generation == 1 || diags.HasErrors() {
		if err := diags.Write(a.err, a.errColor); err != nil {
			log.Warn("cannot write the diagnostics", "err", err)
		}
	}
	if diags.HasErrors() {
		return 1, errors.New("the spec is wrong: nothing was started: correct what is shown above (\"nines check\" shows it again)")
	}
	sp := run.spec
	about := ipc.Supervisor{
		Version: buildVersion(), PID: os.Getpid(), KeeperPID: keeperPID, StartedAt: time.Now().UTC().Truncate(time.Millisecond),
		Restarts: atoiOr(a.getenv("NINES_RESTARTS"), generation-1), Warnings: []string{},
	}
	socket, err := a.socketPath()
	if err != nil {
		return 1, err
	}
	logDir, err := a.logPath(sp.Supervisor.LogDir, sp.Supervisor.StateDir)
	if err != nil {
		// A user without a home, as in a container, is no reason not to run: the
		// last lines are kept in memory, and stdout has them all.
		logDir = ""
		about.Warnings = append(about.Warnings, fmt.Sprintf("logs are not written to files: %v", err))
		log.Warn("logs are not written to files", "err", err)
	}
	events := openJournal(a, sp.Supervisor.StateDir, log)
	rel := openReleases(a, sp.Supervisor.StateDir, log)
	snapshots := openSnapshots(a, sp.Supervisor.StateDir, log)
	run.withReleases(rel, events)
	enforce := openCgroups(a, runtimeDir, keeperPID, &about)
	tree := enforce.tree
	if diags := enforce.required(sp); len(diags) > 0 && generation == 1 {
		// Later, services run: what cannot be limited any more is not started again,
		// which is said of each.
		if err := diags.Write(a.err, a.errColor); err != nil {
			log.Warn("cannot write the diagnostics", "err", err)
		}
		return 1, errors.New("limits that the spec requires cannot be enforced here: nothing was started")
	}
	for _, text := range enforce.warnings(sp) {
		log.Warn(text)
	}
	machine := a.getenv("NINES_MACHINE") == "1"
	container := keeperPID == 1 && !machine
	ch := newChanger(run, files, enforce, rel, snapshots, log)
	sup, err := supervisor.New(supervisor.Config{
		Change: run.begin(), Before: run.before, Next: run.next, Hangup: func() { ch.reread("SIGHUP", true) },
		Keeper: conn, KeeperPID: keeperPID, RuntimeDir: runtimeDir, LogDir: logDir,
		Shim: a.beside("nines-exec"), Environ: os.Environ(), NotifySocket: a.getenv("NINES_NOTIFY_SOCKET"),
		InheritEnv: container || a.getenv("NINES_UP") == "1",
		Stdout:     container || a.getenv("NINES_LOG_STDOUT") == "1",
		Past:       past, Sockets: sockets, Cgroups: tree, Seed: seed(), Journal: events, Releases: rel.store, Snapshots: snapshots, Differs: diff.Revision, Log: log, Version: buildVersion(),
		Watchdog: time.Duration(atoiOr(a.getenv("WATCHDOG_USEC"), 0)) * time.Microsecond,
	})
	if err != nil {
		return 1, err
	}
	ch.sup = sup
	for _, text := range run.notes {
		log.Warn(text)
		sup.Note(journal.Entry{Kind: policy.KindSpecApplied, Text: text})
	}
	l, err := listenControl(socket, sp.Supervisor.Control, generation)
	if err != nil {
		return 1, err
	}
	limits, err := ipc.FitDescriptors()
	if err != nil {
		log.Warn("the control socket takes as many connections as by default, which may leave too few descriptors", "err", err)
	}
	srv := ipc.NewServer(ipc.ServerConfig{
		Backend: newBackend(sup, ch, about, runtimeDir, machine), Path: socket,
		Mode: sp.Supervisor.Control.Mode, Group: sp.Supervisor.Control.Group, UID: uint32(a.uid), Log: log, Limits: limits,
	})
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	ctx, cancel := context.WithCancel(context.Background())
	told := make(chan struct{})
	go func() { defer close(told); tell(ctx, sup.Journal(), a.err, a.getenv("NINES_UP") == "1") }()

	ch.resume()
	if watch {
		stop, err := watchFiles(files, pathwatch.Settle, log, func() { ch.reread("--watch", false) })
		if err != nil {
			log.Error("cannot watch the spec files: a change is only seen by nines apply", "err", err)
		} else {
			defer stop()
		}
	}
	stopWatch := ch.watchReleases()
	code, err := sup.Run()
	stopWatch()
	ch.stop()
	end, done := context.WithTimeout(context.Background(), 2*time.Second)
	defer done()
	if e := events.Close(end); e != nil {
		log.Warn(e.Error())
	}
	if e := srv.Shutdown(end); e != nil {
		log.Warn("cannot end every request in time", "err", e)
	}
	if e := <-served; e != nil {
		log.Warn("the control socket failed", "err", e)
	}
	cancel()
	<-told
	if tree != nil && !errors.Is(err, supervisor.ErrHandedOver) {
		if e := tree.Remove(end); e != nil {
			log.Warn("cannot remove cgroup", "cgroup", tree.Path(), "err", e)
		}
	}
	return code, err
}

// openJournal opens the journal in the state folder; without one, as for a user
// who has no home, events stay in memory.
func openJournal(a *app, fromSpec string, log *slog.Logger) *journal.Journal {
	dir, err := a.statePath(fromSpec)
	if err != nil {
		log.Warn("events are kept in memory only", "err", err)
		dir = ""
	}
	return journal.Open(journal.Config{Dir: dir})
}

// tell writes events to the supervisor's own output, as they come and at its
// own pace: a terminal that stands still holds up nobody. Where people look on
// (`nines up`) it writes all; else not the everyday ones.
func tell(ctx context.Context, j *journal.Journal, w io.Writer, all bool) {
	var b []byte
	// The error can only be w's: nobody is left to be told.
	_ = j.ReadBatches(ctx, journal.Query{After: j.Begun(), Follow: true}, func(batch []journal.Entry) error {
		b = b[:0]
		for i := range batch {
			e := &batch[i]
			if !all && (e.Kind == policy.KindStarting || e.Kind == policy.KindReady) {
				continue
			}
			b = append(b, "nines: "...)
			b = e.Time.AppendFormat(b, "15:04:05.000 ")
			if who := firstOf(e.Instance, e.Service); who != "" {
				b = append(append(b, who...), ": "...)
			}
			b = append(append(b, e.Kind...), ": "...)
			b = append(append(b, e.Message()...), '\n')
		}
		if len(b) == 0 {
			return nil
		}
		_, err := w.Write(b)
		return err
	})
}

// handBack reads what the keeper holds, values and descriptors by their names,
// until it says that this is all.
func handBack(conn *notify.Conn) (values map[string]string, sockets map[string]int, err error) {
	values, sockets = map[string]string{}, map[string]int{}
	defer func() {
		if err != nil {
			notify.CloseAll(slices.Collect(maps.Values(sockets)))
		}
	}()
	late := time.AfterFunc(handBackPatience, func() { conn.Close() })
	defer late.Stop()
	buf := make([]byte, notify.MaxMessage)
	for {
		n, fds, err := conn.Receive(buf)
		if err != nil {
			return nil, sockets, fmt.Errorf("cannot get the store back from the keeper: %w", err)
		}
		m, err := notify.Parse(buf[:n])
		if err != nil {
			notify.CloseAll(fds)
			return nil, sockets, fmt.Errorf("cannot read the keeper's message: %w", err)
		}
		end := false
		for _, f := range m {
			switch f.Key {
			case notify.KeyValue:
				key, value, _ := notify.SplitValue(f.Value)
				values[key] = value
			case notify.KeyFDName:
				if len(fds) == 0 {
					return nil, sockets, fmt.Errorf("cannot read the keeper's message: there is no descriptor %s with it", f.Value)
				}
				if old, twice := sockets[f.Value]; twice {
					notify.CloseAll([]int{old})
				}
				sockets[f.Value], fds = fds[0], fds[1:]
			case notify.KeyStore:
				end = true
			}
		}
		notify.CloseAll(fds) // without a name they are nobody's
		if end {
			return values, sockets, nil
		}
	}
}

// isDefaultRuntime says whether dir is where the runtime folder would be if
// nobody had named one. Only the supervisor there has the plain name in the
// cgroup tree, so that two never meet.
func (a *app) isDefaultRuntime(dir string) bool {
	plain := *a
	plain.flags.runtimeDir = ""
	plain.getenv = func(key string) string {
		if key == "NINES_RUNTIME_DIR" {
			return ""
		}
		return a.getenv(key)
	}
	def, err := plain.runtimePath()
	return err == nil && dir == def
}

func seed() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails since Go 1.24: it ends the program instead
	return binary.LittleEndian.Uint64(b[:])
}

func atoiOr(s string, or int) int {
	if n, err := strconv.Atoi(s); err == nil {
		return n
	}
	return or
}

// beside is a program of ours: the four are installed side by side. One that
// was upgraded alone has the others where the keeper was installed.
func (a *app) beside(name string) string {
	self, err := os.Executable()
	if err != nil {
		self = ""
	}
	path := filepath.Join(filepath.Dir(self), name)
	if dir := a.getenv("NINES_KEEPER_DIR"); dir != "" && !executable(path) {
		return filepath.Join(dir, name)
	}
	return path
}

// nameSelf gives the process the name that people know, where the keeper has
// executed it by a descriptor because its path leads elsewhere by now.
func nameSelf() {
	b, err := os.ReadFile("/proc/self/comm")
	if _, e := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && e == nil {
		// It is for people alone.
		_ = os.WriteFile("/proc/self/comm", []byte("nines"), 0)
	}
}
