package logs

import (
	"context"
	"errors"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const stdoutBatch = 64 << 10

// printer writes lines with their instance in front: `web/0 | line`, those of a
// stderr that is told apart as `web/0:err | line`; or as JSON.
type printer struct {
	f      *os.File
	color  bool
	width  int // of the longest id seen
	colors map[string]int
	buf    []byte
	mid    *sinkKey // whose line is unfinished on the screen
}

// console copies the lines that are to go to stdout there until ctx ends. It
// is a reader like any other: when stdout is blocked, it alone waits.
func (h *hub) console(ctx context.Context, f *os.File, color bool) {
	r := newReader(func(k *sink) bool { return k.set.Load().ToStdout })
	r.stdout = true
	l := &losses{notices: h.notices, of: map[*sink]*loss{}}
	r.lost = l.add
	h.watch(r)
	defer h.unwatch(r)
	p := &printer{f: f, color: color, colors: make(map[string]int)}
	err := r.follow(ctx, func(batch []entry) error {
		err := p.emit(batch)
		l.tell(time.Now(), false)
		return err
	})
	l.tell(time.Now(), true)
	if err != nil {
		h.notices.add(Notice{Text: "cannot write to stdout: " + cause(err) + ": lines that were to go there alone are kept in memory only, the last of them"})
		h.print("cannot write to stdout: " + cause(err) + ": services' lines are not shown there any more; \"nines logs\" shows them")
	}
}

// losses are the lines that only stdout was to carry, and that were overwritten
// before it took them: the supervisor is told, which makes events of it. The
// console's goroutine alone uses it.
type losses struct {
	notices *notices
	of      map[*sink]*loss
}

// loss is one sink's.
type loss struct {
	lines uint64 // that were not told yet
	next  time.Time
}

// lossPause is how often a sink's losses are told at most, so that a stdout which is
// always too slow does not fill the journal.
const lossPause = 10 * time.Second

func (l *losses) add(k *sink, lines uint64) {
	if k.set.Load().ToFile {
		return // its file has them
	}
	o := l.of[k]
	if o == nil {
		o = &loss{}
		l.of[k] = o
	}
	o.lines += lines
}

// tell tells what is due, or all. What a stdout that has moved again did not carry is
// told at once, what comes within lossPause of that, with a later line.
func (l *losses) tell(now time.Time, all bool) {
	for k, o := range l.of {
		switch {
		case !all && now.Before(o.next):
		case o.lines == 0:
			delete(l.of, k)
		default:
			l.notices.add(lostNotice(k.set.Load(), o.lines, lostText(o.lines, errSlowStdout)))
			o.lines, o.next = 0, now.Add(lossPause)
		}
	}
}

var errSlowStdout = errors.New("stdout, where alone they were to go, is not read fast enough")

func (p *printer) emit(batch []entry) error {
	for i := range batch {
		p.add(&batch[i])
		if len(p.buf) >= stdoutBatch || i == len(batch)-1 {
			if err := p.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *printer) add(e *entry) {
	if e.json {
		if p.mid != nil {
			p.buf, p.mid = append(p.buf, '\n'), nil
		}
		p.buf = appendObject(p.buf, e.key, timeOf(e.time), e.text, e.partial)
		return
	}
	switch {
	case p.mid == e.key: // the rest of the line on the screen
	case p.mid != nil:
		p.buf = append(p.buf, '\n')
		fallthrough
	default:
		p.prefix(e.key)
	}
	p.buf = append(p.buf, e.text...)
	if p.mid = nil; e.partial {
		p.mid = e.key
		return
	}
	p.buf = append(p.buf, '\n')
}

func (p *printer) prefix(key *sinkKey) {
	id := key.instance
	if key.stream == Err {
		id += ":" + Err
	}
	p.width = max(p.width, min(len(id), 32))
	pad := strings.Repeat(" ", max(0, p.width-len(id)))
	if p.color {
		n, ok := p.colors[id]
		if !ok {
			n = len(p.colors)
			p.colors[id] = n
		}
		p.buf = append(p.buf, "\x1b[3"...)
		p.buf = append(p.buf, "623514"[n%6], 'm')
	}
	p.buf = append(p.buf, id...)
	p.buf = append(p.buf, pad...)
	p.buf = append(p.buf, " | "...)
	if p.color {
		p.buf = append(p.buf, "\x1b[0m"...)
	}
}

func (p *printer) flush() error {
	b := p.buf
	for len(b) > 0 {
		n, err := p.f.Write(b)
		b = b[n:]
		if errors.Is(err, unix.EAGAIN) {
			// Somebody made the shared terminal nonblocking.
			time.Sleep(5 * time.Millisecond)
		} else if err != nil {
			return err
		}
	}
	if p.buf = p.buf[:0]; cap(p.buf) > 4*stdoutBatch {
		p.buf = nil
	}
	return nil
}
