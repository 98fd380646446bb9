package supervisor

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"nines/spec"
	"nines/supervisor/notify"
	"nines/supervisor/policy"
	"nines/supervisor/proc"
)

// Names of what the keeper holds for a notifier.
const (
	keyNotify = "notify"  // the socket of all instances; or notify:web/0.17, that of one
	keyReady  = "ready:"  // web/0.17: the read end of what it says ready on
	keySaid   = "status:" // web/0.17: the value is its STATUS
)

// notifier hears what services say: on a notify socket (sd_notify), and on the
// descriptors that they say ready on.
//
// One socket serves all instances where there are cgroups: the kernel says in
// which one a sender is, or was. At level none each incarnation has a socket of
// its own, which only its user can send to, and of a sender that lives it is
// known whether it is of that incarnation.
//
// One goroutine waits for all of them. It takes signs of life and status lines
// itself: they never meet policy. What a successor must know of is left where it
// is for the loop, which looks at it, steps, has it recorded, and only then takes
// it away: if we die in between, the next one finds it there.
type notifier struct {
	s       *Supervisor
	poll    *notify.Poller // nil: there is none, and nothing is heard
	address notify.Address // of the one socket
	done    chan struct{}  // one word: the loop has dealt with what was left to it
	stopped chan struct{}
	store   *fdStore
	back    map[string]int // what the keeper handed back, until it is known whose it is

	mu       sync.Mutex
	shared   *source
	sources  map[uint32]*source
	last     uint32             // token
	talkers  map[string]*talker // by the name of the incarnation
	cgroups  map[uint64]*talker // by the id of its cgroup
	refused  map[string]*refusal
	dirty    []*talker // whose status the keeper does not know
	flushing bool
	stale    bool   // what is there was sent before we began: its sender may have ended since
	light    []byte // what the goroutine reads into

	heavy []byte // what the loop reads into
}

// source is a descriptor that is waited for.
type source struct {
	token uint32
	fd    int
	key   string         // in the keeper's store
	sock  *notify.Socket // nil: none
	of    *talker        // whose it is; nil: everybody's
	told  func()         // where it is no socket: what the loop does when there is something
}

// talker is an incarnation that may say something. What is not atomic is mu's, or
// does not change.
type talker struct {
	in     *incarnation // the loop's
	ref    policy.Ref
	name   string // "web/0.17"
	id     string // "web/0"
	svc    *spec.Service
	cgroup uint64 // 0: none, or not known
	socket *source
	pipe   *source

	main    atomic.Int64 // pid of the main process; 0: not known
	beat    atomic.Int64 // policy.Time of the last sign of life; 0: there was none
	within  atomic.Int64 // a time.Duration: what it asked its heartbeat to be; 0: what the spec says
	waits   atomic.Bool  // for its first sign of life: then it is ready
	status  string
	errno   int
	waiting bool // it is in dirty
}

func newNotifier(s *Supervisor) *notifier {
	n := &notifier{
		s: s, done: make(chan struct{}, 1), stopped: make(chan struct{}), back: map[string]int{},
		sources: map[uint32]*source{}, talkers: map[string]*talker{}, cgroups: map[uint64]*talker{}, refused: map[string]*refusal{},
		light: make([]byte, notify.MaxDatagram), heavy: make([]byte, notify.MaxDatagram),
	}
	n.store = newFDStore(n)
	return n
}

// heartbeat is the check by heartbeat of a service, the quickest of several, or
// what its ready block says; nil: none.
func heartbeat(svc *spec.Service) *spec.Check {
	var found *spec.Check
	for i := range svc.Checks {
		c := &svc.Checks[i]
		if c.Heartbeat != nil && (found == nil || c.Timing.Timeout < found.Timing.Timeout) {
			found = c
		}
	}
	if r := svc.Ready; found == nil && r != nil && r.Check != nil && r.Check.Heartbeat != nil {
		return r.Check
	}
	return found
}

// talks says whether a service is given a notify socket.
func talks(svc *spec.Service) bool {
	return svc.Ready != nil && svc.Ready.Notify != "" || heartbeat(svc) != nil
}

// begin takes over what the keeper handed back of an earlier notifier, or makes
// what is missing, before anything is started. What cannot be made fails the
// starts that need it.
func (n *notifier) begin() {
	cfg := &n.s.cfg
	var err error
	if n.poll, err = notify.NewPoller(); err != nil {
		n.s.log.Error("services cannot say that they are ready, or alive", "err", err)
	}
	n.address = n.where("")
	n.store.take(cfg.Sockets)
	for key, fd := range cfg.Sockets {
		if key == keyNotify || strings.HasPrefix(key, keyReady) || strings.HasPrefix(key, keyNotify+":") {
			n.back[key] = fd
			delete(cfg.Sockets, key)
		}
	}
	if fd, had := n.back[keyNotify]; had {
		delete(n.back, keyNotify)
		sock, err := notify.TakeSocket(fd)
		if err == nil && cfg.Cgroups != nil && sock.Address() == n.address && sock.Reachable() {
			n.stale = true
			n.shared = n.add(keyNotify, sock, nil)
			return
		}
		if err == nil {
			proc.Close(sock.Descriptor())
		}
		n.forgetFD(keyNotify)
	}
	if cfg.Cgroups != nil && slices.ContainsFunc(cfg.Spec.Services, talks) {
		if err := n.bind(); err != nil {
			n.s.log.Error(err.Error())
		}
	}
}

// where a socket is: what a person set, else in the runtime directory, or where
// that path is too long, in the abstract namespace; with the suffix.
func (n *notifier) where(suffix string) notify.Address {
	a := notify.Address(n.s.cfg.NotifySocket)
	if a == "" {
		a = notify.Address(n.s.cfg.RuntimeDir + "/notify")
	}
	if a += notify.Address(suffix); len(a) > notify.MaxAddress {
		a = notify.Address("@nines/" + strings.TrimSuffix(n.s.mark, ":") + suffix)
	}
	return a
}

// bind makes the one socket, and gives the keeper a copy; the spawner's or Run's.
func (n *notifier) bind() error {
	sock, err := notify.ListenService(n.address, 0o666, -1, -1)
	if err != nil {
		return err
	}
	src := n.add(keyNotify, sock, nil)
	n.mu.Lock()
	n.shared = src
	n.mu.Unlock()
	n.keepFD(keyNotify, sock.Descriptor())
	return nil
}

// add waits for a socket.
func (n *notifier) add(key string, sock *notify.Socket, of *talker) *source {
	return n.wait(&source{key: key, fd: sock.Descriptor(), sock: sock, of: of}, false)
}

func (n *notifier) wait(src *source, hangup bool) *source {
	n.own(src)
	if n.poll == nil {
		return src
	}
	if hangup {
		// What cannot hang up, such as a file, does not.
		_ = n.poll.AddHangup(src.fd, src.token)
	} else if err := n.poll.Add(src.fd, src.token); err != nil {
		n.s.log.Error("cannot hear what services say", "what", src.key, "err", err)
	}
	return src
}

// own has a source be known, and nothing more.
func (n *notifier) own(src *source) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.last++
	src.token = n.last
	n.sources[src.token] = src
}

// drop waits no more for a source, and closes it. n.mu is not held.
func (n *notifier) drop(src *source, forget bool) {
	n.mu.Lock()
	_, live := n.sources[src.token]
	delete(n.sources, src.token)
	n.mu.Unlock()
	if !live {
		return
	}
	if n.poll != nil {
		// EPERM: of a kind that nobody waits for.
		if err := n.poll.Remove(src.fd); err != nil && !errors.Is(err, syscall.EPERM) {
			n.s.log.Warn("cannot leave a descriptor alone", "what", src.key, "err", err)
		}
	}
	proc.Close(src.fd)
	if forget {
		n.forgetFD(src.key)
	}
}

func (n *notifier) keepFD(key string, fd int) {
	n.tell(key, notify.Message{notify.FDStore(), notify.FDName(key)}, []int{fd})
}

func (n *notifier) forgetFD(key string) {
	n.tell(key, notify.Message{notify.FDStoreRemove(), notify.FDName(key)}, nil)
}

func (n *notifier) tell(key string, m notify.Message, fds []int) {
	if err := n.s.cfg.Keeper.Send(m.Append(nil), fds); err != nil {
		n.s.log.Error("cannot record with the keeper: a successor would not hear what is said meanwhile", "what", key, "err", err)
	}
}

// prepare gives a start what it says ready on, before there is a process. The
// spawner calls it; what it returns is closed after the clone, -1 is nothing.
func (n *notifier) prepare(l *launch) (int, error) {
	in, c := l.in, l.cmd
	ready := -1
	var pipe *source
	if r := in.svc.Ready; r != nil && r.FD != 0 {
		fd, w, err := proc.ReadyPipe(c.Credential)
		if err != nil {
			return -1, err
		}
		ready, c.Ready, c.ReadyAs = w, w, r.FD
		pipe = &source{key: keyReady + in.name, fd: fd}
		n.keepFD(pipe.key, fd)
	}
	if !talks(in.svc) && pipe == nil {
		return -1, nil
	}
	t := n.talker(in)
	t.pipe = pipe
	if g := l.group; g != nil {
		// Not known: then the path in /proc has to do.
		t.cgroup, _ = g.ID()
	}
	if talks(in.svc) {
		if err := n.open(t, c); err != nil {
			if pipe != nil {
				proc.Close(pipe.fd)
				proc.Close(ready)
				n.forgetFD(pipe.key)
			}
			return -1, err
		}
	}
	n.enter(t)
	return ready, nil
}

func (n *notifier) talker(in *incarnation) *talker {
	t := &talker{in: in, ref: in.ref, name: in.name, id: in.id, svc: in.svc}
	t.waits.Store(in.svc.Ready != nil && in.svc.Ready.Check != nil && in.svc.Ready.Check.Heartbeat != nil)
	return t
}

// open sees to the socket of a start, and what it is told of it.
func (n *notifier) open(t *talker, c *proc.Command) error {
	address := n.address
	if n.s.cfg.Cgroups == nil {
		address = n.where("." + strings.ReplaceAll(t.name, "/", "."))
		uid, gid := -1, -1
		if c.Credential != nil {
			uid, gid = int(c.Credential.UID), int(c.Credential.GID)
		}
		sock, err := notify.ListenService(address, 0o600, uid, gid)
		if err != nil {
			return &proc.Error{Step: proc.StepNotify, Path: string(address), Err: cause(err)}
		}
		t.socket = n.add(keyNotify+":"+t.name, sock, t)
		n.keepFD(t.socket.key, sock.Descriptor())
	} else if n.shared == nil {
		if err := n.bind(); err != nil {
			return &proc.Error{Step: proc.StepNotify, Path: string(address), Err: cause(err)}
		}
	}
	c.Env = append(c.Env, "NOTIFY_SOCKET="+string(address), "FDSTORE="+itoa(maxStored))
	n.store.give(t.id, c)
	if check := heartbeat(t.svc); check != nil {
		c.Env = append(c.Env, "WATCHDOG_USEC="+usec(check.Timing.Timeout))
		c.Watchdog = true
	}
	return nil
}

// enter has a talker be heard.
func (n *notifier) enter(t *talker) {
	n.mu.Lock()
	n.talkers[t.name] = t
	if t.cgroup != 0 {
		n.cgroups[t.cgroup] = t
	}
	n.mu.Unlock()
	if t.pipe != nil {
		t.pipe.of, t.pipe.told = t, func() { n.readPipe(t) }
		n.wait(t.pipe, false)
	}
}

// started: the main process of an incarnation is known; the loop's.
func (n *notifier) started(in *incarnation) {
	if t := n.of(in); t != nil {
		t.main.Store(int64(in.pid))
	}
}

// of is the talker of an incarnation; nil: it has none.
func (n *notifier) of(in *incarnation) *talker {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.talkers[in.name]
}

// end: nothing of an incarnation lives, or it was never started; the loop's.
func (n *notifier) end(in *incarnation) {
	n.store.ended(in)
	t := n.of(in)
	if t == nil {
		return
	}
	n.mu.Lock()
	delete(n.talkers, t.name)
	if n.cgroups[t.cgroup] == t {
		delete(n.cgroups, t.cgroup)
	}
	said := t.status != "" || t.errno != 0
	n.mu.Unlock()
	for _, src := range []*source{t.socket, t.pipe} {
		if src == nil {
			continue
		}
		if src.sock != nil {
			removeSocket(src.sock.Address())
		}
		n.drop(src, true)
	}
	if said {
		n.s.values = append(n.s.values, keySaid+t.name+" ")
	}
}

// adopt: an earlier supervisor started it.
func (n *notifier) adopt(in *incarnation) {
	back := n.back
	pipe, piped := back[keyReady+in.name]
	sock, own := back[keyNotify+":"+in.name]
	delete(back, keyReady+in.name)
	delete(back, keyNotify+":"+in.name)
	if !talks(in.svc) && !piped && !own {
		return
	}
	t := n.talker(in)
	t.main.Store(int64(in.pid))
	t.status = n.s.cfg.Past.Statuses[in.name]
	if in.group != nil {
		// Not known: then the path in /proc has to do.
		t.cgroup, _ = in.group.ID()
	}
	if piped {
		t.pipe = &source{key: keyReady + in.name, fd: pipe}
	}
	if own {
		s, err := notify.TakeSocket(sock)
		if err != nil {
			n.s.log.Warn("an instance is not heard any more", "instance", in.id, "err", err)
		} else {
			t.socket = n.add(keyNotify+":"+in.name, s, t)
		}
	}
	n.enter(t)
}

// adopted drops what was handed back and is nobody's any more.
func (n *notifier) adopted() {
	for _, key := range slices.Sorted(maps.Keys(n.back)) {
		proc.Close(n.back[key])
		n.forgetFD(key)
	}
	clear(n.back)
	n.store.begun()
	for name := range n.s.cfg.Past.Statuses {
		n.mu.Lock()
		_, lives := n.talkers[name]
		n.mu.Unlock()
		if !lives {
			n.s.values = append(n.s.values, keySaid+name+" ")
		}
	}
}

// run waits for what is said, until close.
func (n *notifier) run() {
	defer close(n.stopped)
	if n.poll == nil {
		return
	}
	tokens := make([]uint32, 32)
	for {
		k, err := n.poll.Wait(tokens)
		if err != nil {
			if !errors.Is(err, notify.ErrClosed) {
				n.s.log.Error("services cannot be heard any more", "err", err)
			}
			return
		}
		var left []uint32
		for _, token := range tokens[:k] {
			if !n.hear(token) {
				left = append(left, token)
			}
		}
		if len(left) == 0 {
			continue
		}
		n.s.box.put(func() {
			for _, token := range left {
				n.deal(token)
			}
			n.done <- struct{}{}
		})
		select {
		case <-n.done:
		case <-n.s.ended:
			return
		}
	}
}

// close ends run. Nothing is heard any more; what is said waits in the sockets.
func (n *notifier) close() {
	if n.poll != nil {
		// What it could report concerns nobody any more.
		_ = n.poll.Close()
	}
}

// remove removes the file of the one socket: everything has ended.
func (n *notifier) remove() {
	n.mu.Lock()
	shared := n.shared
	n.mu.Unlock()
	if shared != nil {
		removeSocket(shared.sock.Address())
	}
}
