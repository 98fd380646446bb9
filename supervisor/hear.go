package supervisor

import (
	"errors"
	"time"

	"nines/supervisor/journal"
	"nines/supervisor/notify"
	"nines/supervisor/policy"
	"nines/supervisor/proc"
)

// turnDatagrams is how many datagrams of one socket are taken in one go, so that
// who floods holds up nobody for long.
const turnDatagrams = 128

// hear takes what is light off a source; false: there is something for the loop.
func (n *notifier) hear(token uint32) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	src := n.sources[token]
	if src == nil {
		return true // dropped meanwhile
	}
	return src.sock != nil && n.hearLight(src)
}

// hearLight is hear for a socket; n.mu is held.
func (n *notifier) hearLight(src *source) bool {
	for range turnDatagrams {
		k, err := src.sock.Look(n.light)
		if errors.Is(err, notify.ErrWouldBlock) {
			n.stale = false
			return true
		}
		if err != nil && !errors.Is(err, notify.ErrTruncated) || err == nil && !notify.IsLight(n.light[:k]) {
			return false
		}
		d, err := src.sock.Take(n.light, false)
		notify.CloseAll(d.FDs)
		t, stranger := n.sender(src, &d.Sender)
		switch {
		case errors.Is(err, notify.ErrTruncated):
			n.tooLong(t, &d.Sender)
		case err != nil:
			return true // somebody else took it
		case t == nil:
			n.refuse(&d.Sender, stranger)
		default:
			said := notify.ParseSaid(d.Text)
			n.note(t, &said)
		}
	}
	return true
}

// tooLong says that a message was longer than it may be; n.mu is held.
func (n *notifier) tooLong(t *talker, from *notify.Sender) {
	of := stranger{why: "it is longer than 4 KiB"}
	if t != nil {
		of.name = t.name
	}
	n.refuse(from, of)
}

// note takes what is light of what was said; n.mu is held.
func (n *notifier) note(t *talker, said *notify.Said) {
	if said.Beat {
		t.beat.Store(int64(n.s.clock.now()))
		if t.waits.CompareAndSwap(true, false) {
			ref := t.ref
			n.s.box.put(func() { n.s.step(policy.Ready{Ref: ref}) })
		}
	}
	if said.HasStatus || said.Errno != 0 {
		if said.HasStatus {
			t.status, t.errno = said.Status, 0
		}
		if said.Errno != 0 {
			t.errno = said.Errno
		}
		if !t.waiting {
			t.waiting = true
			n.dirty = append(n.dirty, t)
		}
		if !n.flushing {
			n.flushing = true
			time.AfterFunc(statusPause, func() { n.s.box.put(n.flush) })
		}
	}
}

// statusPause is how long status lines are gathered before the keeper is told.
const statusPause = 100 * time.Millisecond

// flush has the keeper know what the status lines are now; the loop's.
func (n *notifier) flush() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.flushing = false
	for _, t := range n.dirty {
		t.waiting = false
		if n.talkers[t.name] == t {
			n.s.values = append(n.s.values, keySaid+t.name+" "+t.shown())
		}
	}
	clear(n.dirty)
	n.dirty = n.dirty[:0]
}

// deal is the loop's part of what there is to hear.
func (n *notifier) deal(token uint32) {
	n.mu.Lock()
	src := n.sources[token]
	n.mu.Unlock()
	switch {
	case src == nil: // dropped meanwhile
	case src.sock != nil:
		n.drain(src)
	default:
		src.told()
	}
}

// drain deals with what was said on a socket, in its order; the loop's.
func (n *notifier) drain(src *source) {
	for range turnDatagrams {
		n.mu.Lock()
		if n.sources[src.token] != src {
			n.mu.Unlock()
			return
		}
		d, err := src.sock.Take(n.heavy, true)
		if errors.Is(err, notify.ErrWouldBlock) {
			n.stale = false
			n.mu.Unlock()
			return
		}
		t, stranger := n.sender(src, &d.Sender)
		switch {
		case errors.Is(err, notify.ErrTruncated):
			n.tooLong(t, &d.Sender)
			t = nil
		case err != nil:
			// Once: it would be told without end.
			n.mu.Unlock()
			n.s.log.Error("cannot hear what services say", "what", src.key, "err", err)
			n.drop(src, true)
			return
		case t == nil:
			n.refuse(&d.Sender, stranger)
		}
		n.mu.Unlock()
		if t != nil {
			n.s.said(t, &d)
			// What was made of it is with the keeper before it is taken away.
			n.s.handOut()
			fault("said")
		}
		notify.CloseAll(d.FDs)
		n.mu.Lock()
		if n.sources[src.token] == src {
			// Nobody else takes what is not light, so it is still the first.
			if err := src.sock.Drop(); err != nil {
				n.s.log.Error("cannot take what was said", "what", src.key, "err", err)
			}
		}
		n.mu.Unlock()
	}
}

// lastWords deals with what an incarnation has said before it ended: a process
// may say something and end at once.
func (n *notifier) lastWords(in *incarnation) {
	t := n.of(in)
	if t == nil {
		return
	}
	if t.pipe != nil {
		n.deal(t.pipe.token)
	}
	src := t.socket
	if src == nil {
		n.mu.Lock()
		src = n.shared
		n.mu.Unlock()
	}
	if src != nil && talks(in.svc) {
		n.drain(src)
	}
}

// readPipe: there is something on the descriptor that an instance says ready on.
func (n *notifier) readPipe(t *talker) {
	found, ended, err := notify.Newline(t.pipe.fd)
	switch {
	case err != nil:
		n.s.log.Error("cannot hear whether an instance is ready", "instance", t.id, "err", err)
		ended = true
	case found:
		n.s.step(policy.Ready{Ref: t.ref})
		n.s.handOut()
		fault("said")
	case ended:
		if n.s.current(t.ref) == t.in && !t.in.reaped && n.s.machine.Starting(t.ref) && proc.Runs(t.in.pid) {
			n.s.note(journal.Entry{Kind: journal.KindNotifyRefused, Service: t.svc.Name, Instance: t.id,
				Text: "closed descriptor " + itoa(t.svc.Ready.FD) + " without having written a newline to it, so it will not become ready: write a line to it when it is, then close it"})
		}
	}
	if found || ended {
		n.drop(t.pipe, true)
		n.mu.Lock()
		t.pipe = nil
		n.mu.Unlock()
	}
}
