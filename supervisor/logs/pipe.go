package logs

import (
	"errors"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	readSize   = 64 << 10
	firstSize  = 4 << 10 // of a read that may find one line only
	shortRead  = 8 << 10 // less than this is not worth a wake-up each
	napTime    = 400 * time.Microsecond
	stuckAfter = 5 * time.Second
	idleAfter  = 100 * time.Millisecond // then followers see an unfinished line
	drainBytes = 4 << 20                // of one pipe, at the end

	busyPipe      = 1 << 20 // bytes a busy pipe is enlarged to
	maxBusyPipes  = 16      // the kernel starves a user's other pipes past 64 MiB
	busyAfterNaps = 4
)

// pipe is the read end of one log pipe. While it is idle it costs this struct
// and a descriptor; a goroutine and a buffer are there only while it is busy.
type pipe struct {
	hub  *hub
	name string
	fd   int
	id   uint64 // inode: the same name may come again with the same pipe
	sink *sink

	meter   *meter
	matcher matcher

	mu      sync.Mutex
	epoch   uint64 // of the pump; one that is stuck on the disk is left behind
	running bool   // a pump of this epoch is at work
	again   bool   // the poller said so meanwhile
	writing bool
	closed  bool
	prompt  *time.Timer // shows an unfinished line

	// The pump's.
	naps  int
	large bool // it was enlarged
	away  bool // not watched just now
	bulk  bool // it has more than firstSize at a time
}

// work is what a pump needs while it reads; pooled.
type work struct {
	in    []byte
	out   []byte
	guard *guard
}

// getWork returns what one read needs; large ones are for pipes with much to
// read, so that a thousand that say one line each do not cost 64 KiB each.
func (h *hub) getWork(bulk bool) *work {
	pool, size := &h.firsts, firstSize
	if bulk {
		pool, size = &h.bulks, readSize
	}
	if w, ok := pool.Get().(*work); ok {
		return w
	}
	return &work{in: make([]byte, size)}
}

func (h *hub) putWork(w *work) {
	if cap(w.out) > 4*len(w.in) {
		w.out = nil
	}
	if len(w.in) == readSize {
		h.bulks.Put(w)
	} else {
		h.firsts.Put(w)
	}
}

// guard rescues a pipe whose pump does not come back from the disk.
type guard struct {
	timer *time.Timer
	mu    sync.Mutex
	p     *pipe
	epoch uint64
}

func (g *guard) fire() {
	g.mu.Lock()
	p, epoch := g.p, g.epoch
	g.mu.Unlock()
	p.rescue(epoch)
}

// kick has the pipe read. It never blocks.
func (p *pipe) kick() {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
	case p.running:
		p.again = true
	default:
		p.running = true
		p.hub.pumps.Add(1)
		go p.pump(p.epoch)
	}
}

// rescue leaves the pump of that epoch to the disk that holds it, and has
// another read the pipe. What that one reads is dropped and counted.
func (p *pipe) rescue(epoch uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.epoch != epoch || !p.writing {
		return
	}
	p.sink.stuck.Store(true)
	if p.closed { // there is nothing left to read
		return
	}
	p.writing = false
	p.epoch++
	p.hub.pumps.Add(1)
	go p.pump(p.epoch)
	p.hub.stuck(p.sink)
}

// enterWrite begins what may get stuck; leaveWrite ends it and reports whether
// the pump was left behind.
func (p *pipe) enterWrite(w *work, epoch uint64) {
	p.mu.Lock()
	p.writing = true
	p.mu.Unlock()
	g := w.guard
	if g == nil {
		g = &guard{p: p, epoch: epoch}
		g.timer = time.AfterFunc(p.hub.stuckAfter, g.fire)
		w.guard = g
		return
	}
	g.mu.Lock()
	g.p, g.epoch = p, epoch
	g.mu.Unlock()
	g.timer.Reset(p.hub.stuckAfter)
}

func (p *pipe) leaveWrite(w *work, epoch uint64) (left bool) {
	if !w.guard.timer.Stop() {
		w.guard = nil // it is firing now, and must not meet the next user
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.epoch != epoch {
		return true
	}
	p.writing = false
	return false
}

// idle ends the pump's run unless there is more to read.
func (p *pipe) idle() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.again {
		p.again = false
		return false
	}
	p.running = false
	if p.hub.draining.Load() {
		return true // nothing wakes it again
	}
	p.watch()
	if p.sink.ring.waiting(p) {
		if p.prompt == nil {
			p.prompt = time.AfterFunc(idleAfter, func() { p.sink.ring.show(p) })
		} else {
			p.prompt.Reset(idleAfter)
		}
	}
	return true
}

// watch has the poller kick p when there is something to read, also if it is
// there already. p.mu is held.
func (p *pipe) watch() {
	set := p.hub.poll.rearm
	if p.away {
		set = p.hub.poll.add
	}
	if err := set(p.fd); err != nil {
		// Out of kernel memory or watches. Its service must not wait for ever.
		p.hub.print("cannot watch the output of " + p.sink.key.instance + ": " + err.Error() + ": it is looked at once a second")
		time.AfterFunc(time.Second, func() { p.hub.ready(p.fd) })
		return
	}
	p.away = false
}

// pump reads until there is nothing to read.
func (p *pipe) pump(epoch uint64) {
	defer p.hub.pumps.Done()
	warm, drained := false, 0
	for {
		n, left, err := p.step(epoch)
		switch {
		case left:
			return
		case errors.Is(err, unix.EAGAIN):
			if p.idle() {
				return
			}
			continue
		case err != nil || n == 0:
			p.finish(err, epoch)
			return
		}
		if p.hub.draining.Load() {
			if drained += n; drained > drainBytes && p.idle() {
				return
			}
			continue
		}
		p.sink.restrain()
		if n >= shortRead {
			continue
		}
		// The first short read may be all there is: that is asked at once. If
		// there was more, a writer is at work, and waiting a little makes one
		// wake-up of many.
		if warm {
			p.nap()
		}
		warm = true
	}
}

func (p *pipe) nap() {
	if p.naps++; p.naps == busyAfterNaps && p.meter.rate.Load() == 0 {
		p.enlarge()
	}
	if !p.away && p.naps >= busyAfterNaps {
		// Even a disarmed watch costs the writer something at each write.
		p.away = p.hub.poll.remove(p.fd) == nil
	}
	time.Sleep(napTime)
}

// enlarge lets a busy pipe hold more, where the kernel allows, so that its
// writer is not stopped while we nap.
func (p *pipe) enlarge() {
	if p.hub.large.Add(1) > maxBusyPipes {
		p.hub.large.Add(-1)
		return
	}
	if _, err := unix.FcntlInt(uintptr(p.fd), unix.F_SETPIPE_SZ, busyPipe); err != nil {
		// Not allowed (pipe-user-pages-soft, pipe-max-size): it only costs speed.
		p.hub.large.Add(-1)
		return
	}
	p.large = true
}

// step reads once and disposes of what came.
func (p *pipe) step(epoch uint64) (n int, left bool, err error) {
	h, k := p.hub, p.sink
	// Before anything is held that others wait for.
	room := p.meter.allow(p.size())
	file := k.set.Load().ToFile
	vol := k.vol.Load()
	if !file || !vol.enter(h.stuckAfter) {
		file = false
		h.spare <- struct{}{} // bounds buffers; nothing in here waits for a disk
		defer func() { <-h.spare }()
	} else {
		defer vol.leave()
	}
	w := h.getWork(p.bulk)
	defer h.putWork(w)
	n, err = readFD(p.fd, w.in[:min(room, len(w.in))])
	p.meter.took(max(n, 0))
	if n <= 0 || err != nil {
		p.bulk = false
		return n, false, err
	}
	p.bulk = p.bulk || n == len(w.in)
	b, now := w.in[:n], time.Now()
	p.matcher.feed(b, h.tallies, now)
	switch {
	case !file && !k.set.Load().ToFile:
		k.ring.publish(p, b, now.UnixNano(), place{})
	case !file || !k.take(h.stuckAfter):
		k.skip(p, b, now)
	default:
		p.enterWrite(w, epoch)
		w.out = k.write(p, b, w.out, now)
		if left = p.leaveWrite(w, epoch); left {
			k.say(time.Now())
		}
		k.give()
	}
	return n, left, nil
}

// size is how much is read at a time.
func (p *pipe) size() int {
	if p.bulk {
		return readSize
	}
	return firstSize
}

func readFD(fd int, b []byte) (int, error) {
	for {
		n, err := unix.Read(fd, b)
		if err != unix.EINTR {
			return n, err
		}
	}
}

// finish is the end of the pipe: everything that wrote to it is gone.
func (p *pipe) finish(err error, epoch uint64) {
	h, k := p.hub, p.sink
	if err != nil {
		h.print("cannot read the output of " + k.key.instance + ": " + err.Error())
	}
	p.mu.Lock()
	if p.prompt != nil {
		p.prompt.Stop()
	}
	p.mu.Unlock()
	p.matcher.end(h.tallies, time.Now())
	last := h.remove(p)
	vol := k.vol.Load()
	if k.set.Load().ToFile && vol.enter(h.stuckAfter) {
		if k.take(h.stuckAfter) {
			w := h.getWork(false)
			p.enterWrite(w, epoch)
			k.end(p, time.Now())
			if last {
				k.file.close()
			}
			p.leaveWrite(w, epoch)
			h.putWork(w)
			k.give()
		} else {
			k.ring.end(p)
		}
		vol.leave()
	} else {
		k.ring.end(p)
	}
	if p.large {
		h.large.Add(-1)
	}
	h.report(p.name)
}

// inode tells pipes apart.
func inode(fd int) (uint64, error) {
	var st unix.Stat_t
	for {
		err := unix.Fstat(fd, &st)
		if err == nil {
			return st.Ino, nil
		}
		if err != unix.EINTR {
			return 0, os.NewSyscallError("fstat", err)
		}
	}
}
