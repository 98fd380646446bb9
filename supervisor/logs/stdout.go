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
	h.watch(r)
	defer h.unwatch(r)
	p := &printer{f: f, color: color, colors: make(map[string]int)}
	if err := r.follow(ctx, p.emit); err != nil {
		h.print("cannot write to stdout: " + cause(err) + ": services' lines are not shown there any more; \"nines logs\" shows them")
	}
}

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
