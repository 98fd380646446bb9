package supervisor

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"nines/spec"
	"nines/supervisor/notify"
	"nines/supervisor/policy"
	"nines/supervisor/proc"
)

// listening is a supervisor at cgroup level none with nothing but its notifier and
// its machine, and the keeper's end. This test is its services: what it sends is
// sent by this process.
type listening struct {
	*notifier
	t     *testing.T
	bench *bench
}

func listenFor(t *testing.T, past Past, back map[string]int, services ...*spec.Service) *listening {
	t.Helper()
	sp := &spec.Spec{Services: services}
	b := newBench(t, past, back, services...)
	s := b.s
	s.cfg.RuntimeDir = t.TempDir()
	s.mark = Mark(s.cfg.RuntimeDir)
	s.clock, s.box = newClock(), newMailbox()
	s.machine = policy.New(policy.Config{})
	s.live, s.pids = map[policy.Slot]*incarnation{}, map[int]owner{}
	s.machine.Step(s.clock.now(), policy.SpecChanged{Spec: sp})
	s.notifier = newNotifier(s)
	l := &listening{notifier: s.notifier, t: t, bench: b}
	l.begin()
	t.Cleanup(func() {
		l.close()
		for _, src := range l.sources {
			proc.Close(src.fd)
		}
	})
	return l
}

func notifying(name string) *spec.Service {
	return &spec.Service{Name: name, Type: spec.TypeService, Enabled: true, Instances: 1, Ready: &spec.Ready{Notify: "systemd"}}
}

// start has the only instance of a service be started, and returns it and what it
// was given.
func (l *listening) start(svc *spec.Service, number uint64) (*incarnation, *proc.Command) {
	l.t.Helper()
	ref, ok := l.s.machine.Incarnation(svc.Name, 0, number)
	if !ok {
		l.t.Fatalf("%s was not started", svc.Name)
	}
	in := l.s.incarnation(ref, svc.Name+"/0")
	l.s.live[ref.Slot] = in
	c := &proc.Command{}
	ready, err := l.prepare(&launch{in: in, cmd: c})
	if err != nil {
		l.t.Fatal(err)
	}
	if ready >= 0 {
		l.t.Cleanup(func() { proc.Close(ready) })
	}
	return in, c
}

// runs has it be known which process it is.
func (l *listening) runs(in *incarnation, pid int) {
	in.pid, in.start = pid, 1
	l.started(in)
	l.s.step(policy.Spawned{Ref: in.ref, PID: pid, Start: 1})
}

// dial connects to a notify socket.
func dial(t *testing.T, path string) int {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { proc.Close(fd) })
	if err := syscall.Connect(fd, &syscall.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	return fd
}

// dialTo is dial for what a process was given.
func dialTo(t *testing.T, c *proc.Command) int {
	t.Helper()
	for _, kv := range c.Env {
		if path, ok := strings.CutPrefix(kv, "NOTIFY_SOCKET="); ok {
			return dial(t, path)
		}
	}
	t.Fatalf("it was given no socket: %q", c.Env)
	return -1
}

func say(t *testing.T, conn int, text string, fds ...int) {
	t.Helper()
	if err := syscall.Sendmsg(conn, []byte(strings.ReplaceAll(text, "|", "\n")), syscall.UnixRights(fds...), nil, 0); err != nil {
		t.Fatal(err)
	}
}

// turn hears what was said, as run and the loop do.
func (l *listening) turn() {
	l.t.Helper()
	l.mu.Lock()
	var tokens []uint32
	for token := range l.sources {
		tokens = append(tokens, token)
	}
	l.mu.Unlock()
	slices.Sort(tokens)
	for _, token := range tokens {
		l.mu.Lock()
		src := l.sources[token]
		heard := src == nil || src.sock == nil && (src.of == nil || src.of.pipe != src) // a stored one is waited for by the kernel alone
		l.mu.Unlock()
		if !heard && !l.hear(token) {
			l.deal(token)
		}
	}
	l.s.box.run()
}

func open(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

// descriptors are those that are open here.
func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// TestStoreLimit: an instance has 64 descriptors kept, each once; what is not kept
// is closed, and said.
func TestStoreLimit(t *testing.T) {
	web, db := notifying("web"), notifying("db")
	l := listenFor(t, Past{}, nil, web, db)
	in, c := l.start(web, 1)
	l.runs(in, os.Getpid())
	other, oc := l.start(db, 1)
	l.runs(other, os.Getpid())
	conn, dbConn := dialTo(t, c), dialTo(t, oc)
	l.bench.heard()

	var fds []int
	for range 70 {
		r, _ := open(t)
		fds = append(fds, int(r.Fd()))
	}
	before := descriptors(t)
	say(t, conn, "FDSTORE=1|FDNAME=one|FDPOLL=0", fds[:30]...)
	say(t, conn, "FDSTORE=1|FDNAME=one|FDPOLL=0", fds[10:40]...) // ten are new
	say(t, conn, "FDSTORE=1|FDNAME=bad:name|FDPOLL=0", fds[40:]...)
	l.turn()
	if n := descriptors(t) - before; n != maxStored {
		t.Errorf("%d descriptors are held, not %d", n, maxStored)
	}
	told, kept := l.bench.heard()
	notify.CloseAll(valuesOf(kept))
	if n := strings.Count(told, "FDNAME=store:web/0:"); n != maxStored || strings.Count(told, ":one") != 40 || strings.Count(told, ":stored") != 24 {
		t.Errorf("the keeper keeps %d: %s", n, told)
	}
	if ev := l.bench.events(); strings.Count(ev, "FDSTORE: 64 descriptors are kept already: remove some") != 1 {
		t.Errorf("events: %s", ev)
	}
	// Another instance has its own.
	say(t, dbConn, "FDSTORE=1|FDNAME=one|FDPOLL=0", fds[0])
	l.turn()
	if n := len(l.store.held["db/0"]); n != 1 {
		t.Errorf("db/0 has %d", n)
	}
	// By name, all of that name, and of that instance alone.
	_, kept = l.bench.heard()
	notify.CloseAll(valuesOf(kept))
	say(t, conn, "FDSTOREREMOVE=1|FDNAME=one")
	say(t, conn, "FDSTOREREMOVE=1|FDNAME=none")
	say(t, conn, "FDSTOREREMOVE=1") // of what?
	l.turn()
	told, _ = l.bench.heard()
	if n := strings.Count(told, "FDSTOREREMOVE=1"); n != 40 || strings.Contains(told, "db/0") {
		t.Errorf("the keeper drops %d: %s", n, told)
	}
	if n := descriptors(t) - before; n != 25 {
		t.Errorf("%d descriptors are held, not 25", n)
	}
	// The next start gets what is there, in its order.
	l.end(in)
	next := &proc.Command{Env: []string{"LISTEN_FDS=1", "LISTEN_FDNAMES=http"}, Listen: []int{99}}
	l.store.give("web/0", next)
	if len(next.Listen) != 25 || next.Listen[0] != 99 || !slices.Contains(next.Env, "LISTEN_FDS=25") ||
		!slices.Contains(next.Env, "LISTEN_FDNAMES=http"+strings.Repeat(":stored", 24)) {
		t.Errorf("given: %d, %q", len(next.Listen), next.Env)
	}
}

func valuesOf(m map[string]int) (all []int) {
	for _, fd := range m {
		all = append(all, fd)
	}
	return all
}

// TestStoreWithReadyFD: which number a descriptor would get is taken already.
func TestStoreWithReadyFD(t *testing.T) {
	web := &spec.Service{Name: "web", Type: spec.TypeService, Enabled: true, Instances: 1, Ready: &spec.Ready{FD: 3}, Checks: []spec.Check{{Heartbeat: &spec.CheckHeartbeat{}}}}
	l := listenFor(t, Past{}, nil, web)
	in, c := l.start(web, 1)
	if c.ReadyAs != 3 || !c.Watchdog {
		t.Errorf("%+v", c)
	}
	in.pid = os.Getpid()
	l.started(in)
	r, _ := open(t)
	before := descriptors(t)
	say(t, dialTo(t, c), "FDSTORE=1", int(r.Fd()))
	l.turn()
	if n := descriptors(t) - before - 1; n != 0 { // the connection
		t.Errorf("%d more are open", n)
	}
	if ev := l.bench.events(); !strings.Contains(ev, "where ready.fd is one of them") {
		t.Errorf("events: %s", ev)
	}
}

// TestStoreIsTakenOver: a successor has what its predecessor kept, in the order in
// which it came; what is nobody's, or cannot be read, is dropped.
func TestStoreIsTakenOver(t *testing.T) {
	back := map[string]int{}
	add := func(key string) {
		r, _ := open(t)
		fd, err := syscall.Dup(int(r.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		back[key] = fd
	}
	for _, key := range []string{
		"store:web/0:10:ten", "store:web/0:9:nine", "store:web/0:2+:two", "store:gone/0:3:x", "store:web/7:4:x",
		"store:web/0:x:bad", "store:web/0:5:bad\x01name", "store:", "ready:web/0.9", "notify:web/0.9", "listen:web/http",
	} {
		add(key)
	}
	web := notifying("web")
	l := listenFor(t, Past{}, back, web)
	if len(back) != 1 || back["listen:web/http"] == 0 {
		t.Errorf("left for others: %v", back)
	}
	proc.Close(back["listen:web/http"])
	l.adopted()
	told, _ := l.bench.heard()
	for _, key := range []string{"store:gone/0:3:x", "store:web/7:4:x", "store:web/0:x:bad", "store:", "ready:web/0.9", "notify:web/0.9"} {
		if !strings.Contains(told+"\n", "FDNAME="+key+"\n") {
			t.Errorf("%s is not dropped: %s", key, told)
		}
	}
	var names []string
	for _, e := range l.store.held["web/0"] {
		names = append(names, e.name)
	}
	if got := strings.Join(names, " "); got != "two nine ten" {
		t.Errorf("held: %s", got)
	}
	// One more comes after all of them.
	in, c := l.start(web, 1)
	l.runs(in, os.Getpid())
	r, _ := open(t)
	say(t, dialTo(t, c), "FDSTORE=1|FDNAME=last|FDPOLL=0", int(r.Fd()))
	l.turn()
	told, kept := l.bench.heard()
	notify.CloseAll(valuesOf(kept))
	if !strings.Contains(told, "FDNAME=store:web/0:11:last") {
		t.Error(told)
	}
}

// TestBarrier: the descriptor is closed when all that was said before it was dealt
// with, and not earlier.
func TestBarrier(t *testing.T) {
	web := notifying("web")
	l := listenFor(t, Past{}, nil, web)
	in, c := l.start(web, 1)
	l.runs(in, os.Getpid())
	conn := dialTo(t, c)
	r, w := open(t)
	say(t, conn, "STATUS=before")
	say(t, conn, "EXTEND_TIMEOUT_USEC=1000000")
	say(t, conn, "BARRIER=1", int(w.Fd()))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	token := l.of(in).socket.token
	if l.hear(token) {
		t.Fatal("nothing is left to the loop")
	}
	fd := int(r.Fd()) // once: it makes it blocking
	if err := syscall.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	if _, err := syscall.Read(fd, make([]byte, 1)); err != syscall.EAGAIN {
		t.Errorf("passed before the loop had a turn: %v", err)
	}
	l.deal(token)
	if n, err := syscall.Read(fd, make([]byte, 1)); n != 0 || err != nil {
		t.Errorf("not passed: %d, %v", n, err)
	}
	if got := l.of(in).status; got != "before" {
		t.Errorf("status %q", got)
	}
}

// TestWhoSaysIt: at level none a socket is an incarnation's own; of a sender that
// lives it is known whether it is of that incarnation.
func TestWhoSaysIt(t *testing.T) {
	web := notifying("web")
	l := listenFor(t, Past{}, nil, web)
	in, c := l.start(web, 1)
	conn := dialTo(t, c)
	other := exec.Command("sleep", "1000")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = other.Process.Kill()
		_ = other.Wait() // it was killed
	}()

	// Its main process is another, which this one does not descend from.
	l.runs(in, other.Process.Pid)
	for range 3 {
		say(t, conn, "READY=1|STATUS=not mine")
		l.turn()
	}
	if !l.s.machine.Starting(in.ref) || l.of(in).status != "" {
		t.Error("a stranger was listened to")
	}
	if ev := l.bench.events(); strings.Count(ev, "dropped a notify message of process "+strconv.Itoa(os.Getpid())) != 1 || !strings.Contains(ev, "belongs to no instance") {
		t.Errorf("told once a minute: %s", ev)
	}
	// This one descends from its parent, if that is not the keeper.
	l.s.pids[os.Getppid()] = owner{in: in}
	in.pid = os.Getppid()
	l.started(in)
	if t1, s := l.belongs(l.of(in), &notify.Sender{PID: os.Getpid()}); os.Getppid() > 1 && (t1 == nil || s.why != "") {
		t.Errorf("a child is a stranger: %+v", s)
	}
	l.s.cfg.KeeperPID = os.Getppid()
	in.pid = other.Process.Pid
	l.started(in)
	if t1, _ := l.belongs(l.of(in), &notify.Sender{PID: os.Getpid()}); t1 != nil {
		t.Error("a child of the keeper's is listened to")
	}
	in.pid = os.Getpid()
	l.started(in)
	say(t, conn, "READY=1")
	l.turn()
	if l.s.machine.Starting(in.ref) {
		t.Error("its main process was not listened to")
	}
	// Too long a message is told, and not read.
	say(t, conn, "STATUS="+strings.Repeat("x", notify.MaxDatagram))
	l.turn()
	if ev := l.bench.events(); !strings.Contains(ev, "longer than 4 KiB") {
		t.Errorf("events: %s", ev)
	}
}

// TestLateWords: what comes of a source that was dropped, or of an incarnation that
// has ended, is nobody's.
func TestLateWords(t *testing.T) {
	web := notifying("web")
	l := listenFor(t, Past{}, nil, web)
	in, c := l.start(web, 1)
	l.runs(in, os.Getpid())
	conn := dialTo(t, c)
	token := l.of(in).socket.token

	// It has ended, and was not taken away yet: another stands in its place.
	say(t, conn, "READY=1|MAINPID="+strconv.Itoa(os.Getppid()))
	ref := in.ref
	l.s.live[ref.Slot] = &incarnation{ref: policy.Ref{Slot: ref.Slot, Incarnation: 2}, name: "web/0.2", id: "web/0", svc: web}
	l.deal(token)
	if !l.s.machine.Starting(ref) || in.pid != os.Getpid() {
		t.Error("one that has ended was listened to")
	}
	say(t, conn, "WATCHDOG=1|STATUS=still here")
	_, kept := l.bench.heard()
	notify.CloseAll(valuesOf(kept)) // the keeper's copy would keep the socket open
	before := descriptors(t)
	l.end(in)
	if !l.hear(token) {
		t.Error("a token of what was dropped is for nobody")
	}
	l.deal(token)
	if n := descriptors(t) - before; n != -1 {
		t.Errorf("%d descriptors", n)
	}
	if err := syscall.Sendmsg(conn, []byte("READY=1"), nil, nil, 0); err == nil {
		t.Error("its socket is still there")
	}
	if last, _ := l.s.Beat(ref, in.name); last != 0 {
		t.Error("it gives signs of life")
	}
	told, _ := l.bench.heard()
	if !strings.Contains(told, "FDSTOREREMOVE=1\nFDNAME=notify:web/0.1") {
		t.Error(told)
	}
}

// TestReadyPipe: a newline is ready; the end without one is told, and is not.
func TestReadyPipe(t *testing.T) {
	for text, ready := range map[string]bool{"\n": true, "half": false, "up\nmore": true, "": false} {
		t.Run(fmt.Sprintf("%q", text), func(t *testing.T) {
			web := &spec.Service{Name: "web", Type: spec.TypeService, Enabled: true, Instances: 1, Ready: &spec.Ready{FD: 5}}
			l := listenFor(t, Past{}, nil, web)
			ref, _ := l.s.machine.Incarnation("web", 0, 1)
			in := l.s.incarnation(ref, "web/0")
			l.s.live[ref.Slot] = in
			c := &proc.Command{}
			w, err := l.prepare(&launch{in: in, cmd: c})
			if err != nil || c.ReadyAs != 5 || slices.ContainsFunc(c.Env, func(s string) bool { return strings.HasPrefix(s, "NOTIFY_SOCKET") }) {
				t.Fatalf("%v %+v", err, c)
			}
			l.runs(in, os.Getpid())
			if _, err := syscall.Write(w, []byte(text)); err != nil {
				t.Fatal(err)
			}
			l.turn()
			if text != "\n" && ready == false && !l.s.machine.Starting(ref) {
				t.Error("ready too early")
			}
			proc.Close(w)
			l.turn()
			if l.s.machine.Starting(ref) == ready {
				t.Errorf("ready: %v", !ready)
			}
			if ev := l.bench.events(); strings.Contains(ev, "closed descriptor 5 without having written a newline") == ready {
				t.Errorf("events: %s", ev)
			}
			if l.of(in).pipe != nil {
				t.Error("the pipe is still there")
			}
		})
	}
}

// TestAdopted: what an earlier supervisor made goes on being heard, from where it
// was left.
func TestAdopted(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "own")
	sock, err := notify.ListenService(notify.Address(dir), 0o600, -1, -1)
	if err != nil {
		t.Fatal(err)
	}
	conn := dial(t, dir)
	say(t, conn, "READY=1|STATUS=said while nobody listened")
	web := notifying("web")
	l := listenFor(t, Past{Statuses: map[string]string{"web/0.1": "before", "old/0.3": "gone"}}, map[string]int{"notify:web/0.1": sock.Descriptor()}, web)
	ref, _ := l.s.machine.Incarnation("web", 0, 1)
	in := l.s.incarnation(ref, "web/0")
	in.pid = os.Getpid()
	l.s.live[ref.Slot] = in
	l.adopt(in)
	if got := l.statuses(l.s.live)[ref.Slot]; got != "before" {
		t.Errorf("status %q", got)
	}
	l.adopted()
	if !slices.Contains(l.s.values, keySaid+"old/0.3 ") {
		t.Errorf("values: %q", l.s.values)
	}
	l.s.step(policy.Spawned{Ref: ref, PID: in.pid, Start: 1})
	l.turn()
	if l.s.machine.Starting(ref) || l.of(in).status != "said while nobody listened" {
		t.Errorf("not heard: %q", l.of(in).status)
	}
}
