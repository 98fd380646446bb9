package logs

import (
	"bytes"
	"time"
	"unicode/utf8"
)

// Object is a line as FormatJSON has it, in files and on stdout: one object a
// line, with these names in this order. `message` is what journald (MESSAGE)
// and the common schemas call it; the others are as in Line.
type Object struct {
	Time     string `json:"time"` // RFC 3339, UTC, always with microseconds
	Service  string `json:"service"`
	Instance string `json:"instance"`
	Stream   string `json:"stream"`
	Message  string `json:"message"` // without its newline; invalid UTF-8 replaced
	// Partial: the line goes on in the next object of this stream. A line longer
	// than maxMessage bytes is cut so, as container runtimes do.
	Partial bool `json:"partial,omitempty"`
}

const (
	maxMessage  = 16 << 10
	jsonBegin   = `{"time":"`
	jsonStampAt = len(jsonBegin)
)

// appendObject appends o as a line.
func appendObject(out []byte, key *sinkKey, at time.Time, message []byte, partial bool) []byte {
	out = append(out, jsonBegin...)
	out = at.UTC().AppendFormat(out, stampLayout)
	out = append(out, `","service":`...)
	out = appendJSON(out, key.service)
	out = append(out, `,"instance":`...)
	out = appendJSON(out, key.instance)
	out = append(out, `,"stream":`...)
	out = appendJSON(out, key.stream)
	out = append(out, `,"message":`...)
	out = appendJSON(out, message)
	if partial {
		out = append(out, `,"partial":true`...)
	}
	return append(out, "}\n"...)
}

// appendJSON appends s as a JSON string. encoding/json would make garbage of
// every line.
func appendJSON[T string | []byte](out []byte, s T) []byte {
	const hex = "0123456789abcdef"
	out = append(out, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\' && c != 0x7f {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(string(s[i:min(len(s), i+utf8.UTFMax)]))
			if r != utf8.RuneError || n > 1 {
				i += n
				continue
			}
			out = append(append(out, s[from:i]...), `\ufffd`...)
			i++
			from = i
			continue
		}
		out = append(out, s[from:i]...)
		switch c {
		case '"', '\\':
			out = append(out, '\\', c)
		case '\t':
			out = append(out, '\\', 't')
		case '\r':
			out = append(out, '\\', 'r')
		default:
			out = append(out, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		from = i
	}
	return append(append(out, s[from:]...), '"')
}

// held is an unfinished line. An object is written when its line is whole, or
// too long to wait for.
type held struct {
	src  any // whose; nil: there is none
	at   time.Time
	text []byte
}

// appendObjects writes what src wrote as objects. out is scratch; it is
// returned for reuse. prepare returned true just before.
func (l *logFile) appendObjects(s *Settings, src any, b, out []byte, now time.Time) []byte {
	if !l.settle(s, now) {
		l.dropHeld(src, b)
		return out
	}
	key := s.key()
	out = out[:0]
	if l.mid != nil || !l.clean { // it was text before
		out, l.mid = append(out, '\n'), nil
	}
	if l.held.src != src {
		out = l.release(&key, out)
	}
	for len(b) > 0 {
		n := bytes.IndexByte(b, '\n')
		whole := n >= 0
		if !whole {
			n = len(b)
		}
		text, at := b[:n], now
		if l.held.src != nil {
			l.held.text = append(l.held.text, text...)
			text, at = l.held.text, l.held.at
		}
		var ok bool
		if out, text, ok = l.pieces(s, &key, out, text, at, now, whole); !ok {
			l.dropHeld(src, b)
			return out
		}
		if whole {
			l.held.src, n = nil, n+1
		} else {
			l.hold(src, at, text)
		}
		b = b[n:]
	}
	l.flush(s, out, now)
	return out
}

// pieces appends text as objects of at most maxMessage bytes, and the last
// piece only if the line is whole; else it is what is left.
func (l *logFile) pieces(s *Settings, key *sinkKey, out, text []byte, at, now time.Time, whole bool) (_, left []byte, ok bool) {
	for {
		n := len(text)
		if n > maxMessage {
			n = runeCut(text, maxMessage)
		} else if !whole {
			return out, text, true
		}
		last := n == len(text)
		// What a string can grow to is seldom near; what it takes is seen after.
		from := len(out)
		out = appendObject(out, key, at, text[:n], !last)
		if size := len(out) - from; from > 0 || s.MaxSize > 0 {
			if out, ok = l.room(s, out, from, size, now); !ok {
				return out, nil, false
			}
		}
		text = text[n:]
		if last {
			return out, nil, true
		}
	}
}

// room makes way for the last size bytes of out, which begin at from: what is
// before them is written when there is much of it, or when the file is full and
// is rotated.
func (l *logFile) room(s *Settings, out []byte, from, size int, now time.Time) ([]byte, bool) {
	used := l.size + int64(from)
	full := s.MaxSize > 0 && used > 0 && uint64(used)+uint64(size) > s.MaxSize
	if !full && (from == 0 || len(out) <= maxOut) {
		return out, true
	}
	if !l.flush(s, out[:from], now) || full && !l.rotate(s, now) {
		return out[:0], false
	}
	return out[:copy(out, out[from:])], true
}

// runeCut is the largest n <= limit at which b is not cut within a character.
func runeCut(b []byte, limit int) int {
	for n := limit; n > limit-utf8.UTFMax; n-- {
		if utf8.RuneStart(b[n]) {
			return n
		}
	}
	return limit // it is no UTF-8 anyway
}

// hold keeps text, which may be part of what is held already.
func (l *logFile) hold(src any, at time.Time, text []byte) {
	kept := l.held.text[:0]
	l.held = held{src: src, at: at, text: append(kept, text...)}
}

// release appends what is held as a whole line: nothing follows it.
func (l *logFile) release(key *sinkKey, out []byte) []byte {
	if l.held.src == nil {
		return out
	}
	out = appendObject(out, key, l.held.at, l.held.text, false)
	l.held.src = nil
	if l.held.text = l.held.text[:0]; cap(l.held.text) > 1<<10 {
		l.held.text = nil // one long line must not cost every idle instance 16 KiB
	}
	return out
}

// dropHeld counts the lines of b, and what is held, as lost.
func (l *logFile) dropHeld(src any, b []byte) {
	if l.held.src != nil && l.held.src != src {
		l.lost++
	}
	l.held = held{}
	l.drop(src, b)
}

// writeHeld writes what src has left unfinished, at its end or at ours.
func (l *logFile) writeHeld(s *Settings, src any, now time.Time) {
	if l.held.src == nil || src != nil && l.held.src != src {
		return
	}
	if !l.prepare(s, now) || !l.settle(s, now) {
		l.held, l.lost = held{}, l.lost+1
		return
	}
	key := s.key()
	l.flush(s, l.release(&key, nil), now)
}
