package keeper

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"nines/supervisor/notify"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// started is one process that the fake kernel started.
type started struct {
	name       string
	generation string
	pid        int
	at         time.Duration // since the rig began
	conn       *notify.Conn
	fd         int // of conn
}

type sent struct {
	pid int
	sig unix.Signal
}

// fake is a kernel with a clock that the test moves.
type fake struct {
	t          *testing.T
	clock      time.Time
	began      time.Time
	nextPID    int
	fail       error // of spawn
	exits      []sent
	identities map[int]identity
	started    []started
	signals    []sent
	cgroups    []string // killed
	panics     bool     // at the next reaping
	held       int      // signals
	became     [][]string
	atHold     func() // what comes just before the signals are looked at
	states     []*oldState
	walk, list time.Duration // what ended and children take
	walks      int           // how often ended was asked
	living     []int32       // children that live
	own        int           // a child that children does not list
	unlisted   error         // of children
}

func (f *fake) now() time.Time { return f.clock }

func (f *fake) spawn(p *program, argv, env []string, fd int) (int, error) {
	if f.fail != nil {
		return 0, f.fail
	}
	f.nextPID++
	if len(argv) > 1 && argv[1] == CheckFlag {
		if _, err := readState(fd); err != nil {
			f.t.Errorf("the state cannot be read: %v", err)
		}
		f.started = append(f.started, started{name: argv[0], pid: f.nextPID, at: f.clock.Sub(f.began)})
		return f.nextPID, nil
	}
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	conn, err := notify.NewConn(own)
	if err != nil {
		return 0, err
	}
	f.started = append(f.started, started{argv[0], getenv(env, "NINES_GENERATION"), f.nextPID, f.clock.Sub(f.began), conn, own})
	return f.nextPID, nil
}

func (f *fake) hold() { f.held++ }

func (f *fake) settle() {
	if f.atHold != nil {
		f.atHold()
		f.atHold = nil
	}
}

func (f *fake) release() { f.held-- }
func (f *fake) become(p *program, argv []string, fds []int) error {
	f.became = append(f.became, argv)
	if f.held == 0 {
		f.t.Error("signals are not held")
	}
	state, _, _ := strings.Cut(argv[2], " ")
	s, err := readState(atoi(state))
	if err != nil {
		f.t.Error(err)
	}
	for _, fd := range append(s.fds, atoi(state)) {
		if !slices.Contains(fds, fd) {
			f.t.Errorf("descriptor %d, of which the state speaks, is not kept", fd)
		}
	}
	f.states = append(f.states, s)
	return unix.ENOEXEC
}

func (f *fake) monotonic() int64 { return f.clock.Sub(f.began).Nanoseconds() }

func (f *fake) killCgroup(dir string) error {
	f.cgroups = append(f.cgroups, dir)
	return nil
}

func (f *fake) kill(pid int, sig unix.Signal) error {
	f.signals = append(f.signals, sent{pid, sig})
	return nil
}

func (f *fake) ended() (int, unix.WaitStatus) {
	f.walks++
	f.clock = f.clock.Add(f.walk)
	if f.panics {
		f.panics = false
		panic("reaping")
	}
	if len(f.exits) == 0 {
		return 0, 0
	}
	return f.exits[0].pid, unix.WaitStatus(f.exits[0].sig)
}

func (f *fake) dropText() error { return nil }

func (f *fake) reap(pid int) {
	i := slices.IndexFunc(f.exits, func(e sent) bool { return e.pid == pid })
	if i < 0 {
		f.t.Fatalf("reaped %d, which has not ended", pid)
	}
	f.exits = slices.Delete(f.exits, i, i+1)
}

func (f *fake) hasEnded(pid int) (unix.WaitStatus, bool) {
	for _, e := range f.exits {
		if e.pid == pid {
			return unix.WaitStatus(e.sig), true
		}
	}
	return 0, false
}

func (f *fake) children() ([]int32, error) {
	if f.unlisted != nil {
		return nil, f.unlisted
	}
	f.clock = f.clock.Add(f.list)
	pids := slices.Clone(f.living)
	for _, e := range f.exits {
		if e.pid != f.own { // of another thread
			pids = append(pids, int32(e.pid))
		}
	}
	return pids, nil
}

func (f *fake) identify(pid int) identity { return f.identities[pid] }

// rig is a keeper on the fake kernel, driven by hand: no goroutine but those
// that wait at sockets.
type rig struct {
	*keeper
	t    *testing.T
	fake *fake
}

func newRig(t *testing.T, env ...string) *rig {
	t.Helper()
	base := time.Unix(1e9, 0)
	f := &fake{t: t, clock: base, began: base, nextPID: 100}
	con := &console{verbose: true, lines: make(chan string, 8192), marks: make(chan chan struct{})}
	k := newKeeper(Options{
		Supervisor: func() []string { return []string{"sup"} },
		Log:        func() []string { return []string{"log"} },
		RuntimeDir: "/run/nines",
		Env:        env,
	}, f, con, 1000)
	r := &rig{k, t, f}
	t.Cleanup(func() {
		for _, c := range []*child{&k.sup, &k.log} {
			if c.link != nil {
				c.link.close()
			}
		}
		for _, s := range f.started {
			if s.conn != nil {
				_ = s.conn.Close() // a test may have done it
			}
		}
		for _, e := range k.store.fds {
			notify.CloseAll([]int{e.fd})
		}
	})
	return r
}

// up starts both children.
func (r *rig) up() {
	r.t.Helper()
	r.start(&r.log)
	r.start(&r.sup)
}

// latest returns the last process of that name.
func (r *rig) latest(name string) started {
	r.t.Helper()
	for i := len(r.fake.started) - 1; i >= 0; i-- {
		if s := r.fake.started[i]; s.name == name {
			return s
		}
	}
	r.t.Fatalf("no %s was started", name)
	return started{}
}

func (r *rig) count(name string) int {
	n := 0
	for _, s := range r.fake.started {
		if s.name == name {
			n++
		}
	}
	return n
}

// tell has a process send a message and the keeper read it.
func (r *rig) tell(name string, fds []int, fields ...notify.Field) {
	r.t.Helper()
	r.tellRaw(name, notify.Message(fields).Append(nil), fds)
}

func (r *rig) tellRaw(name string, b []byte, fds []int) {
	r.t.Helper()
	if err := r.latest(name).conn.Send(b, fds); err != nil {
		r.t.Fatal(err)
	}
	r.receive(r.child(name), messagesATurn)
}

func (r *rig) child(name string) *child {
	if strings.HasSuffix(name, "log") {
		return &r.log
	}
	return &r.sup
}

// hear reads one message of the keeper.
func (r *rig) hear(name string) (string, []int) {
	r.t.Helper()
	buf := make([]byte, notify.MaxMessage)
	n, fds, err := r.latest(name).conn.TryReceive(buf)
	if err != nil {
		r.t.Fatalf("%s hears nothing: %v", name, err)
	}
	return string(buf[:n]), fds
}

func (r *rig) hearsNothing(name string) {
	r.t.Helper()
	buf := make([]byte, notify.MaxMessage)
	if n, _, err := r.latest(name).conn.TryReceive(buf); !errors.Is(err, notify.ErrWouldBlock) {
		r.t.Errorf("%s hears %q, %v", name, buf[:n], err)
	}
}

func killedBy(sig unix.Signal) unix.Signal { return sig }
func exitedWith(code int) unix.Signal      { return unix.Signal(code << 8) }

// dies ends a process and has the keeper reap it.
func (r *rig) dies(name string, status unix.Signal) {
	r.t.Helper()
	s := r.latest(name)
	if err := s.conn.Close(); err != nil && !errors.Is(err, notify.ErrClosed) {
		r.t.Fatal(err)
	}
	r.fake.exits = append(r.fake.exits, sent{s.pid, status})
	r.reap()
	r.deadlines()
}

// pass moves the clock to each deadline in turn, for d in all.
func (r *rig) pass(d time.Duration) {
	r.t.Helper()
	end := r.fake.clock.Add(d)
	for range 1000 {
		next := r.nextDeadline()
		if next.IsZero() || next.After(end) {
			r.fake.clock = end
			return
		}
		if next.After(r.fake.clock) {
			r.fake.clock = next
		}
		r.deadlines()
	}
	r.t.Fatal("a deadline that stays due")
}

// said returns and forgets what was said.
func (r *rig) said() []string {
	var all []string
	for {
		select {
		case line := <-r.console.lines:
			all = append(all, line)
		default:
			return all
		}
	}
}

func (r *rig) wantSaid(part string) {
	r.t.Helper()
	all := r.said()
	if !slices.ContainsFunc(all, func(s string) bool { return strings.Contains(s, part) }) {
		r.t.Errorf("nobody said %q, only:\n%s", part, strings.Join(all, "\n"))
	}
}

func (r *rig) wantSignals(want ...sent) {
	r.t.Helper()
	if !slices.Equal(r.fake.signals, want) {
		r.t.Errorf("signals = %v, want %v", r.fake.signals, want)
	}
	r.fake.signals = nil
}

// logPipe returns the two ends of a pipe; the write end is closed with the test.
func logPipe(t *testing.T) (read int, write *os.File) {
	t.Helper()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	w := os.NewFile(uintptr(p[1]), "pipe")
	t.Cleanup(func() { _ = w.Close() }) // a test may have closed it
	return p[0], w
}

// store has the supervisor store a log pipe.
func (r *rig) storePipe(name, settings string) {
	r.t.Helper()
	fd, _ := logPipe(r.t)
	r.tell("sup", []int{fd}, notify.FDStore(), notify.FDName(name), notify.Log(settings))
	notify.CloseAll([]int{fd})
}

func openFDs(t *testing.T) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}
