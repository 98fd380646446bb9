package logs

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	maxIdleSinks = 1024 // whose pipes have ended, kept for their last lines
	spareSlots   = 16
	queryFiles   = 512 // open at once for all queries
)

// hub knows all pipes, sinks and readers.
type hub struct {
	fs         filesystem
	stderr     io.Writer
	force      bool // all go to stdout
	stuckAfter time.Duration
	poll       *poller
	budget     *budget
	notices    *notices
	tallies    *tallies
	firsts     sync.Pool // of *work
	bulks      sync.Pool
	spare      chan struct{}
	files      chan struct{}
	large      atomic.Int32
	draining   atomic.Bool
	pumps      sync.WaitGroup

	mu      sync.Mutex
	pipes   map[string]*pipe
	fds     map[int]*pipe
	sinks   map[sinkKey]*sink
	volumes map[string]*volume
	readers map[*reader]struct{}

	patterns map[string]*expression // that lines are matched by
	count    uint64                 // pipes ever added
	idle     int                    // sinks whose pipes have all ended

	printMu sync.Mutex

	outMu sync.Mutex
	ended []string // names of pipes that ended, to be reported
	wake  chan struct{}
}

func newHub(c Config, fs filesystem) (*hub, error) {
	poll, err := newPoller()
	if err != nil {
		return nil, fmt.Errorf("cannot watch pipes: %w", err)
	}
	h := &hub{
		fs:         fs,
		stderr:     c.Stderr,
		force:      c.ForceStdout,
		stuckAfter: cmp.Or(c.stuckAfter, stuckAfter),
		poll:       poll,
		budget:     newBudget(ringsBytes),
		notices:    newNotices(),
		tallies:    newTallies(),
		patterns:   make(map[string]*expression),
		spare:      make(chan struct{}, spareSlots),
		files:      make(chan struct{}, queryFiles),
		pipes:      make(map[string]*pipe),
		fds:        make(map[int]*pipe),
		sinks:      make(map[sinkKey]*sink),
		volumes:    make(map[string]*volume),
		readers:    make(map[*reader]struct{}),
		wake:       make(chan struct{}, 1),
	}
	if c.LogDir != "" {
		h.volumeOf(c.LogDir)
	}
	return h, nil
}

// volumeOf returns the volume of that folder, "" being that of what is not
// written to files. h.mu is held, or nobody else has h yet.
func (h *hub) volumeOf(dir string) *volume {
	v := h.volumes[dir]
	if v == nil {
		v = newVolume(dir, h.fs, h.print, h.notices)
		h.volumes[dir] = v
		if dir != "" {
			v.pack.begin()
		}
	}
	return v
}

// stuck says that a write of k does not return.
func (h *hub) stuck(k *sink) {
	text := "a write to the log of " + k.key.instance + " does not return (disk or network file system stuck): its lines are dropped and counted until it does"
	h.notices.add(Notice{Service: k.key.service, Instance: k.key.instance, Stream: k.key.stream, Text: text})
	h.print(text)
}

// print says something to the people who run this.
func (h *hub) print(message string) {
	h.printMu.Lock()
	defer h.printMu.Unlock()
	// There is no other place to say that this one does not work.
	_, _ = io.WriteString(h.stderr, "nines-log: "+message+"\n")
}

// ready is called by the poller.
func (h *hub) ready(fd int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if p := h.fds[fd]; p != nil && !h.draining.Load() {
		p.kick()
	}
}

// adopt takes over fd, the read end of the pipe of that name. A name that is
// known already brings new settings, or another pipe in place of the old one.
func (h *hub) adopt(fd int, name, settings string) {
	if err := h.take(fd, name, settings); err != nil {
		// The keeper has it too: the writers are not killed by this, but when
		// the pipe is full they wait.
		_ = unix.Close(fd)
		h.print("cannot read the output of " + name + ": " + err.Error())
	}
}

func (h *hub) take(fd int, name, settings string) error {
	s, err := ParseSettings(settings)
	if err != nil {
		// A pipe that nobody reads stops its service: better memory alone.
		h.print(name + ": " + err.Error() + ": its lines are kept in memory only")
		s = fallback(name)
	}
	s.ToStdout = s.ToStdout || h.force
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	id, err := inode(fd)
	if err != nil {
		return err
	}
	h.mu.Lock()
	if h.draining.Load() { // the next nines-log gets it
		h.mu.Unlock()
		return unix.Close(fd)
	}
	if p := h.pipes[name]; p != nil && p.id == id {
		// Whose it is does not change.
		s.Service, s.Instance, s.Stream = p.sink.key.service, p.sink.key.instance, p.sink.key.stream
		h.update(p.sink, s)
		h.rematch(p, s.Matches)
		h.mu.Unlock()
		return unix.Close(fd)
	}
	k := h.sinkOf(s)
	if k.pipes == 0 && k.used > 0 {
		h.idle--
	}
	p := &pipe{hub: h, name: name, fd: fd, id: id, sink: k, meter: newMeter(s.Rate)}
	k.pipes++
	h.count++
	k.used = h.count
	h.pipes[name] = p
	h.fds[fd] = p
	h.rematch(p, s.Matches)
	h.mu.Unlock()
	if err := h.poll.add(fd); err != nil {
		h.forget(p)
		return err
	}
	return nil
}

// fallback is what a pipe's name alone tells: SERVICE/INDEX.INCARNATION:STREAM.
func fallback(name string) Settings {
	id, stream, _ := strings.Cut(name, ":")
	if i := strings.LastIndexByte(id, '.'); i > 0 {
		id = id[:i]
	}
	service, _, _ := strings.Cut(id, "/")
	if stream != Err {
		stream = Out
	}
	return Settings{Service: service, Instance: id, Stream: stream}
}

// sinkOf returns the sink for s, with s as its settings. h.mu is held.
func (h *hub) sinkOf(s Settings) *sink {
	key := sinkKey{s.Service, s.Instance, s.Stream}
	if k := h.sinks[key]; k != nil {
		h.update(k, s)
		return k
	}
	k := newSink(s, h.fs, h.volumeOf(s.Dir), h.budget)
	h.sinks[key] = k
	for r := range h.readers {
		r.attach(k, false)
	}
	return k
}

// update gives k, which runs, new settings. h.mu is held.
func (h *hub) update(k *sink, s Settings) {
	old := k.set.Swap(&s)
	k.vol.Store(h.volumeOf(s.Dir))
	h.restream(k, old, &s)
	if s.ToFile && (s.Compress && !old.Compress || s.Keep < old.Keep) {
		k.vol.Load().pack.put(k)
	}
	if s.Rate == old.Rate {
		return
	}
	for _, p := range h.pipes {
		if p.sink == k {
			p.meter.set(s.Rate)
		}
	}
}

// restream lets readers that go by settings know that they changed. h.mu is held.
func (h *hub) restream(k *sink, old, now *Settings) {
	if old.ToStdout == now.ToStdout {
		return
	}
	for r := range h.readers {
		if r.stdout {
			r.detach(k)
			r.attach(k, true)
		}
	}
}

// forgetIdle drops the sink that is longest without a pipe, when there are too
// many. h.mu is held.
func (h *hub) forgetIdle() {
	if h.idle <= maxIdleSinks {
		return
	}
	var oldest *sink
	for _, k := range h.sinks {
		if k.pipes == 0 && (oldest == nil || k.used < oldest.used) {
			oldest = k
		}
	}
	h.idle--
	delete(h.sinks, oldest.key)
	for r := range h.readers {
		r.detach(oldest)
	}
	h.budget.leave(&oldest.ring)
	oldest.vol.Load().forget(&oldest.file)
}

// remove ends the watch over p and closes it. It reports whether its sink has
// no other pipe.
func (h *hub) remove(p *pipe) (last bool) {
	if err := h.poll.remove(p.fd); err != nil && !p.away {
		h.print("cannot stop watching the output of " + p.name + ": " + err.Error())
	}
	last = h.forget(p)
	if err := unix.Close(p.fd); err != nil && !errors.Is(err, unix.EINTR) {
		h.print("cannot close the output of " + p.name + ": " + err.Error())
	}
	return last
}

func (h *hub) forget(p *pipe) (last bool) {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.pipes[p.name] == p {
		delete(h.pipes, p.name)
	}
	delete(h.fds, p.fd)
	h.unmatchAll(p)
	if p.sink.pipes--; p.sink.pipes > 0 {
		return false
	}
	h.idle++
	h.forgetIdle()
	return true
}

// report has the keeper told that the pipe of that name has ended.
func (h *hub) report(name string) {
	h.outMu.Lock()
	h.ended = append(h.ended, name)
	h.outMu.Unlock()
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

func (h *hub) takeEnded() []string {
	h.outMu.Lock()
	defer h.outMu.Unlock()
	names := h.ended
	h.ended = nil
	return names
}

// drain reads what is in the pipes now, for at most d, and says what was lost.
func (h *hub) drain(d time.Duration) {
	h.mu.Lock()
	for _, v := range h.volumes {
		v.pack.stop()
	}
	h.draining.Store(true) // from here on only this starts pumps
	pipes := make([]*pipe, 0, len(h.pipes))
	for _, p := range h.fds {
		pipes = append(pipes, p)
	}
	sinks := make([]*sink, 0, len(h.sinks))
	for _, k := range h.sinks {
		sinks = append(sinks, k)
	}
	h.mu.Unlock()
	for _, p := range pipes {
		p.meter.set(0) // what is there is read, and at once
		p.kick()
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.pumps.Wait()
		for _, k := range sinks {
			if k.take(0) {
				now := time.Now()
				k.file.writeHeld(k.set.Load(), nil, now)
				k.say(now)
				k.sayAnyway()
				k.file.close()
				k.give()
			}
		}
	}()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
		h.print("the end does not wait any longer for a disk: lines of some instances are not written")
	}
}

// waitPacked waits until nothing is being compressed; drain has stopped it.
func (h *hub) waitPacked() {
	h.mu.Lock()
	var all []*compressor
	for _, v := range h.volumes {
		all = append(all, v.pack)
	}
	h.mu.Unlock()
	for _, c := range all {
		c.wait()
	}
}

// closePipes closes our copies of all pipes, at the end.
func (h *hub) closePipes() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for fd := range h.fds {
		_ = unix.Close(fd) // read ends hold nothing of ours
		delete(h.fds, fd)
	}
}
