package keeper

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"nines/supervisor/notify"
)

const (
	batchBytes = 16 << 10 // so that a message needs no memory that is hard to get
	sendRetry  = 50 * time.Millisecond
)

// outbox is what a child has still to be told. It holds no copies: it walks the
// store, so a child that reads nothing costs nothing.
type outbox interface {
	// fill appends the next message, of at most limit items, and returns how
	// many it holds; 0: there is none.
	fill(b []byte, fds []int, limit int) ([]byte, []int, int)
	// advance says that these items were sent.
	advance(n int)
	// next names the first item.
	next() string
}

// handBack gives the store to a new supervisor: first the descriptors that are
// no log pipes, then the values, then it says "end". What is added to keys later
// follows as it comes.
type handBack struct {
	store *store
	fds   []*storedFD
	keys  []string
	ended bool // the end was said
}

func newHandBack(s *store) *handBack {
	return &handBack{store: s, fds: s.listed(false), keys: s.keys()}
}

func (h *handBack) fill(b []byte, fds []int, limit int) ([]byte, []int, int) {
	for {
		n := 0
		if len(h.fds) > 0 {
			b, fds, n = h.fillFDs(b, fds, limit)
		} else {
			b, n = h.fillValues(b, limit)
		}
		switch {
		case n > 0 && len(b) == 0:
			// All were dropped. Nothing to send, and a message is never empty.
			h.advance(n)
		case n == 0 && !h.ended:
			return appendField(b, notify.StoreDone()), fds, 1
		default:
			return b, fds, n
		}
	}
}

func (h *handBack) fillFDs(b []byte, fds []int, limit int) ([]byte, []int, int) {
	n := 0
	for _, e := range h.fds {
		if n == limit || len(fds) == notify.MaxFDs || len(b) >= batchBytes {
			break
		}
		n++
		if e.fd < 0 {
			continue // dropped since
		}
		if len(b) == 0 {
			b = appendField(b, notify.FDStore())
		}
		b = appendField(b, notify.FDName(e.name))
		fds = append(fds, e.fd)
	}
	return b, fds, n
}

func (h *handBack) fillValues(b []byte, limit int) ([]byte, int) {
	n := 0
	for _, key := range h.keys {
		if n == limit || n == notify.MaxFields || len(b) >= batchBytes {
			break
		}
		n++
		v, ok := h.store.values[key]
		if !ok {
			continue // deleted since: sent as nothing, and counted
		}
		b = appendField(b, notify.Value(key, v.value))
	}
	return b, n
}

func (h *handBack) advance(n int) {
	switch {
	case len(h.fds) > 0:
		if h.fds = h.fds[n:]; len(h.fds) == 0 {
			h.fds = nil // let go of the array
		}
	case len(h.keys) > 0:
		if h.keys = h.keys[n:]; len(h.keys) == 0 {
			h.keys = nil
		}
	default:
		h.ended = true
	}
}

func (h *handBack) next() string {
	switch {
	case len(h.fds) > 0:
		return "descriptor " + h.fds[0].name
	case len(h.keys) > 0:
		return "value " + h.keys[0]
	}
	return "the end of the store"
}

// pipes gives log pipes to the log process, then, at the end of all, STOPPING=1.
type pipes struct {
	pending  []*storedFD
	stopping bool
	done     bool
}

func (p *pipes) fill(b []byte, fds []int, limit int) ([]byte, []int, int) {
	for len(p.pending) > 0 && p.pending[0].fd < 0 {
		p.pending = p.pending[1:] // dropped since
	}
	n := 0
	for _, e := range p.pending {
		if n == limit || len(fds) == notify.MaxFDs || len(b) >= batchBytes {
			break
		}
		n++
		if e.fd < 0 {
			continue
		}
		if len(b) == 0 {
			b = appendField(b, notify.FDStore())
		}
		b = appendField(b, notify.FDName(e.name))
		b = appendField(b, notify.Log(e.settings))
		fds = append(fds, e.fd)
	}
	if n == 0 && p.stopping && !p.done {
		return appendField(b, notify.Stopping()), fds, 1
	}
	return b, fds, n
}

func (p *pipes) advance(n int) {
	if len(p.pending) == 0 {
		p.done = true
		return
	}
	p.pending = p.pending[n:]
	if len(p.pending) == 0 {
		p.pending = nil // let go of the array
	}
}

func (p *pipes) next() string {
	if len(p.pending) == 0 {
		return "STOPPING=1"
	}
	return "log pipe " + p.pending[0].name
}

func appendField(b []byte, f notify.Field) []byte {
	if len(b) > 0 {
		b = append(b, '\n')
	}
	return f.Append(b)
}

// flush sends what the child's outbox has, as far as the socket takes it, and
// arranges to be called again for the rest.
func (k *keeper) flush(c *child) {
	l := c.link
	if l == nil || l.waiting || l.eof || c.out == nil {
		return
	}
	c.retryAt = time.Time{}
	for limit := notify.MaxFields; ; {
		b, fds, n := c.out.fill(k.sendBuf[:0], k.sendFDs[:0], limit)
		if n == 0 {
			return
		}
		err := l.conn.TrySend(b, fds)
		switch {
		case err == nil:
			c.out.advance(n)
			limit = notify.MaxFields
		case errors.Is(err, notify.ErrWouldBlock):
			l.awaitRoom()
			return
		case errors.Is(err, notify.ErrClosed):
			return // it is dead, or hung up; its reaping or end of file says so
		case errors.Is(err, unix.ETOOMANYREFS), errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.ENOMEM):
			// The kernel's, and passing: but nothing wakes us for it.
			c.retryAt = k.sys.now().Add(sendRetry)
			return
		case n > 1:
			limit = 1 // find the one that cannot be sent
		default:
			k.say("cannot send " + c.out.next() + " to " + c.name + ": " + err.Error() + ": it goes without")
			c.out.advance(n)
		}
	}
}
