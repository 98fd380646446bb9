package keeper

import (
	"bytes"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"nines/supervisor/notify"
)

// The state of a keeper that becomes another program, as text: one line a thing,
// words separated by spaces, texts quoted as Go has it, times in nanoseconds on
// CLOCK_MONOTONIC (0: none). Lines that a reader does not know it skips, so only
// a change that it would go wrong by needs another number in the first line. The
// last one shows that it is whole. Version 1 knows no machine and no hardware
// watchdog.
const (
	stateFirst  = "nines-init state 2"
	stateBefore = "nines-init state 1" // is read too
	stateLast   = "end"
)

// savedState is a state in a sealed memfd.
type savedState struct {
	fd   int
	kept []int // the descriptors that it speaks of
}

// stateWriter collects lines and the first error.
type stateWriter struct {
	savedState
	b   []byte
	err error
	now time.Time
	mon int64 // now, on CLOCK_MONOTONIC
}

const (
	stateChunk = 32 << 10                        // bytes, written at once
	maxLine    = 4*(maxSettings+maxName) + 1<<10 // bytes: each of a text may be quoted as four
)

func (w *stateWriter) word(s string) *stateWriter {
	if n := len(w.b); n > 0 && w.b[n-1] != '\n' {
		w.b = append(w.b, ' ')
	}
	w.b = append(w.b, s...)
	return w
}

func (w *stateWriter) num(n int64) *stateWriter   { return w.word(strconv.FormatInt(n, 10)) }
func (w *stateWriter) text(s string) *stateWriter { return w.word(strconv.Quote(s)) }

func (w *stateWriter) at(t time.Time) *stateWriter {
	if t.IsZero() {
		return w.num(0)
	}
	return w.num(w.mon + t.Sub(w.now).Nanoseconds())
}

func (w *stateWriter) yes(b bool) *stateWriter {
	if b {
		return w.num(1)
	}
	return w.num(0)
}

// keep is a descriptor that goes along; -1: none.
func (w *stateWriter) keep(fd int) *stateWriter {
	if fd >= 0 {
		w.kept = append(w.kept, fd)
	}
	return w.num(int64(fd))
}

func (w *stateWriter) end() {
	w.b = append(w.b, '\n')
	if len(w.b) >= stateChunk {
		w.flush()
	}
}

func (w *stateWriter) flush() {
	for len(w.b) > 0 && w.err == nil {
		n, err := unix.Write(w.fd, w.b)
		if err == unix.EINTR {
			continue
		}
		w.err = os.NewSyscallError("write", err)
		w.b = w.b[max(n, 0):]
	}
	w.b = w.b[:0]
}

// saveState writes down all that the next program must know.
func (k *keeper) saveState() (*savedState, error) {
	fd, err := unix.MemfdCreate("nines-init", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	w := &stateWriter{savedState: savedState{fd: fd}, now: k.sys.now(), mon: k.sys.monotonic()}
	w.word(stateFirst).end()
	w.word("version").text(k.version).end()
	w.word("dir").text(k.dir).end()
	w.word("runtime").text(k.runtime).end()
	w.word("lock").keep(k.lockFD).end()
	if k.mask != nil {
		for _, v := range k.mask.Val {
			w.word("mask").num(int64(v)).end()
		}
	}
	if k.machine != nil {
		w.word("machine").text(k.power.action).end()
	}
	if h := &k.hardware; h.path != "" {
		fd := -1
		if h.open {
			fd = h.dog.Descriptor()
		}
		w.word("watchdog").keep(fd).at(h.vouched).text(h.path).end()
	}
	w.word("ready").yes(k.everReady).end()
	w.word("strangers").num(int64(k.strangers)).end()
	for _, sig := range k.remembered {
		w.word("remembered").num(int64(sig)).end()
	}
	w.word("manager").yes(k.manager.isReady).yes(k.manager.isEnd).end()
	for _, f := range k.manager.pending {
		w.word("notify").text(f.Key).text(f.Value).end()
	}
	w.child("supervisor", &k.sup)
	w.child("log", &k.log)
	for _, log := range []bool{false, true} {
		for _, e := range k.store.listed(log) {
			w.word("fd").keep(e.fd).num(int64(e.seq)).yes(e.log).text(e.name).text(e.settings).end()
		}
	}
	for _, key := range k.store.keys() {
		v := k.store.values[key]
		w.word("value").num(int64(v.seq)).text(key).text(v.value).end()
	}
	w.word(stateLast).end()
	w.flush()
	if w.err == nil {
		_, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE)
		w.err = os.NewSyscallError("fcntl", err)
	}
	if w.err != nil {
		notify.CloseAll([]int{fd})
		return nil, w.err
	}
	return &w.savedState, nil
}

func (w *stateWriter) child(name string, c *child) {
	w.word("child").word(name).num(int64(c.pid)).num(int64(c.generation)).num(int64(c.crashes)).num(int64(c.backoff.failures)).
		at(c.readyAt).at(c.startAt).at(c.killAt).at(c.barkAt).yes(c.replacing).text(c.killWhy).end()
	if c.link != nil {
		w.word("link").word(name).keep(c.link.conn.Descriptor()).end()
	}
	if p := c.programs.good; p != nil {
		w.word("good").word(name).keep(p.fd).text(p.path).end()
	}
	if p := c.programs.now; p != nil && p != c.programs.good {
		w.word("now").word(name).keep(p.fd).text(p.path).end()
	}
	switch o := c.out.(type) {
	case *handBack:
		for _, e := range o.fds {
			w.word("give").text(e.name).end()
		}
		for _, key := range o.keys {
			w.word("tell").text(key).end()
		}
		w.word("given").yes(o.ended).end()
	case *pipes:
		for _, e := range o.pending {
			w.word("pipe").text(e.name).end()
		}
	}
}

// oldState is a state that was read.
type oldState struct {
	version, dir, runtime string
	lockFD                int
	mask                  *unix.Sigset_t
	masks                 int
	machine               bool   // it is the init of a machine
	action                string // and that end of it was asked for; "": none
	watchdog              oldWatchdog
	everReady             bool
	strangers             int
	remembered            []unix.Signal
	manager               manager // isReady, isEnd and pending
	store                 *store
	sup, log              oldChild
	give, tell, pipes     []string
	given                 bool
	fds                   []int // all that it speaks of
}

type oldWatchdog struct {
	path    string // "": none is petted
	fd      int    // -1: it could not be opened yet
	vouched int64
}

type oldChild struct {
	pid, generation, crashes, failures int
	readyAt, startAt, killAt, barkAt   int64
	replacing                          bool
	killWhy                            string
	link                               int // -1: none
	good, now                          *program
}

// words reads a line. bad is set by what cannot be read.
type words struct {
	rest []byte
	bad  bool
}

func (w *words) word() string {
	word, rest, _ := bytes.Cut(w.rest, []byte{' '})
	w.rest = rest
	return string(word)
}

func (w *words) num() int64 {
	n, err := strconv.ParseInt(w.word(), 10, 64)
	w.bad = w.bad || err != nil
	return n
}

func (w *words) yes() bool { return w.num() == 1 }

func (w *words) text() string {
	quoted, err := strconv.QuotedPrefix(string(w.rest))
	if err == nil {
		w.rest = bytes.TrimPrefix(w.rest[len(quoted):], []byte{' '})
		quoted, err = strconv.Unquote(quoted)
	}
	w.bad = w.bad || err != nil
	return quoted
}

// readState reads a state; it changes nothing.
func readState(fd int) (*oldState, error) {
	s := &oldState{lockFD: -1, store: newStore(0)}
	s.sup.link, s.log.link, s.watchdog.fd = -1, -1, -1
	buf := make([]byte, 0, 2*stateChunk)
	at := int64(0)
	for line := 1; ; line++ {
		i := bytes.IndexByte(buf, '\n')
		for i < 0 {
			if len(buf) == cap(buf) {
				buf = slices.Grow(buf, len(buf))
			}
			n, err := unix.Pread(fd, buf[len(buf):cap(buf)], at)
			if err == unix.EINTR {
				continue
			}
			if err != nil {
				return nil, os.NewSyscallError("pread", err)
			}
			if n == 0 {
				return nil, refusal("it is cut off")
			}
			at += int64(n)
			i = bytes.IndexByte(buf[len(buf):len(buf)+n], '\n')
			if i >= 0 {
				i += len(buf)
			}
			buf = buf[:len(buf)+n]
			if i > maxLine || i < 0 && len(buf) > maxLine {
				return nil, refusal("line " + strconv.Itoa(line) + " is too long")
			}
		}
		text := buf[:i]
		switch {
		case line == 1 && string(text) != stateFirst && string(text) != stateBefore:
			return nil, refusal("it begins with " + strconv.Quote(string(text[:min(i, 40)])) + " and not with " + strconv.Quote(stateFirst))
		case string(text) == stateLast:
			return s, nil
		case line > 1:
			w := words{rest: text}
			if s.line(w.word(), &w); w.bad {
				return nil, refusal("line " + strconv.Itoa(line) + " is not understood")
			}
		}
		buf = buf[:copy(buf, buf[i+1:])]
	}
}

func (s *oldState) fd(w *words) int {
	fd := int(w.num())
	if fd >= 0 {
		s.fds = append(s.fds, fd)
	}
	return fd
}

func (s *oldState) child(w *words) *oldChild {
	switch w.word() {
	case "supervisor":
		return &s.sup
	case "log":
		return &s.log
	}
	w.bad = true
	return &oldChild{}
}

func (s *oldState) line(key string, w *words) {
	switch key {
	case "version":
		s.version = w.text()
	case "dir":
		s.dir = w.text()
	case "runtime":
		s.runtime = w.text()
	case "lock":
		s.lockFD = s.fd(w)
	case "mask":
		if s.mask == nil {
			s.mask = &unix.Sigset_t{}
		}
		if s.masks < len(s.mask.Val) {
			setWord(&s.mask.Val[s.masks], w.num())
		}
		s.masks++
	case "machine":
		s.machine, s.action = true, w.text()
	case "watchdog":
		s.watchdog = oldWatchdog{fd: s.fd(w), vouched: w.num(), path: w.text()}
	case "ready":
		s.everReady = w.yes()
	case "strangers":
		s.strangers = int(w.num())
	case "remembered":
		s.remembered = append(s.remembered, unix.Signal(w.num()))
	case "manager":
		s.manager.isReady, s.manager.isEnd = w.yes(), w.yes()
	case "notify":
		s.manager.pending = append(s.manager.pending, notify.Field{Key: w.text(), Value: w.text()})
	case "child":
		c := s.child(w)
		c.pid, c.generation, c.crashes, c.failures = int(w.num()), int(w.num()), int(w.num()), int(w.num())
		c.readyAt, c.startAt, c.killAt, c.barkAt = w.num(), w.num(), w.num(), w.num()
		c.replacing, c.killWhy = w.yes(), w.text()
	case "link":
		c := s.child(w)
		c.link = s.fd(w)
	case "good":
		c := s.child(w)
		c.good = &program{fd: s.fd(w), path: w.text()}
		c.now = c.good
	case "now":
		c := s.child(w)
		c.now = &program{fd: s.fd(w), path: w.text()}
	case "give":
		s.give = append(s.give, w.text())
	case "tell":
		s.tell = append(s.tell, w.text())
	case "given":
		s.given = w.yes()
	case "pipe":
		s.pipes = append(s.pipes, w.text())
	case "fd":
		e := &storedFD{fd: s.fd(w), seq: uint64(w.num()), log: w.yes(), name: w.text(), settings: w.text()}
		s.store.fds[e.name] = e
		s.store.seq = max(s.store.seq, e.seq)
	case "value":
		seq, name, value := uint64(w.num()), w.text(), w.text()
		s.store.values[name] = &storedValue{value, seq}
		s.store.valueBytes += len(name) + len(value)
		s.store.seq = max(s.store.seq, seq)
	}
}

// setWord sets one word of a mask, of whatever size the machine has.
func setWord[T ~uint32 | ~uint64](to *T, v int64) { *to = T(v) }
