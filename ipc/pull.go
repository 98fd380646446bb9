package ipc

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// maxDepth bounds how deep unknown values may be nested.
const maxDepth = 64

// pull reads a JSON document from front to back. The strings that it returns
// are parts of the document, which is why it reads a string and not bytes. The
// first error sticks, and every method then returns zero values. As in
// encoding/json, null is the zero value of everything.
type pull struct {
	s   string
	i   int
	err error
}

func (p *pull) fail(what string) {
	if p.err == nil {
		p.err = fmt.Errorf("%s expected at byte %d", what, p.i)
		p.i = len(p.s) // whoever loops, ends
	}
}

// peek returns the next byte that is not space, 0 at the end.
func (p *pull) peek() byte {
	for p.i < len(p.s) {
		switch c := p.s[p.i]; c {
		case ' ', '\t', '\n', '\r':
			p.i++
		default:
			return c
		}
	}
	return 0
}

func (p *pull) eat(c byte) bool {
	if p.peek() != c {
		return false
	}
	p.i++
	return true
}

func (p *pull) null() bool {
	if p.peek() != 'n' {
		return false
	}
	p.word("null")
	return true
}

func (p *pull) word(w string) {
	if len(p.s)-p.i < len(w) || p.s[p.i:p.i+len(w)] != w {
		p.fail(w)
		return
	}
	p.i += len(w)
}

// object calls field for each name; field must read the value, or skip it.
func (p *pull) object(field func(name string)) {
	if p.null() {
		return
	}
	if !p.eat('{') {
		p.fail("{")
		return
	}
	if p.eat('}') {
		return
	}
	for p.err == nil {
		if p.peek() != '"' {
			p.fail("a name")
			return
		}
		name := p.string()
		if !p.eat(':') {
			p.fail(":")
			return
		}
		field(name)
		if p.eat(',') {
			continue
		}
		if !p.eat('}') {
			p.fail("}")
		}
		return
	}
}

// array calls item before each item; item must read it.
func (p *pull) array(item func()) {
	if p.null() {
		return
	}
	if !p.eat('[') {
		p.fail("[")
		return
	}
	if p.eat(']') {
		return
	}
	for p.err == nil {
		item()
		if p.eat(',') {
			continue
		}
		if !p.eat(']') {
			p.fail("]")
		}
		return
	}
}

func (p *pull) string() string {
	if p.null() {
		return ""
	}
	if !p.eat('"') {
		p.fail("a string")
		return ""
	}
	start, ascii := p.i, true
	for p.i < len(p.s) {
		switch c := p.s[p.i]; {
		case c == '"':
			s := p.s[start:p.i]
			p.i++
			if !ascii {
				s = strings.ToValidUTF8(s, "\ufffd")
			}
			return s
		case c >= utf8.RuneSelf:
			ascii = false
		case c == '\\':
			return p.escaped(start)
		case c < ' ':
			p.fail("a character")
			return ""
		}
		p.i++
	}
	p.fail(`"`)
	return ""
}

// escaped finishes a string in which there is a backslash. They are rare.
func (p *pull) escaped(start int) string {
	for p.i < len(p.s) && p.s[p.i] != '"' {
		if p.s[p.i] == '\\' {
			p.i++
		}
		p.i++
	}
	if p.i >= len(p.s) {
		p.fail(`"`)
		return ""
	}
	p.i++
	var s string
	if err := json.Unmarshal([]byte(p.s[start-1:p.i]), &s); err != nil {
		p.fail("a string")
	}
	return s
}

// number returns the text of a number, "" for null.
func (p *pull) number() string {
	if p.null() {
		return ""
	}
	start := p.i
	for p.i < len(p.s) {
		switch c := p.s[p.i]; {
		case c >= '0' && c <= '9', c == '-', c == '+', c == '.', c == 'e', c == 'E':
			p.i++
			continue
		}
		break
	}
	if p.i == start {
		p.fail("a number")
	}
	return p.s[start:p.i]
}

func (p *pull) int() int {
	n, err := strconv.Atoi(p.orZero(p.number()))
	if err != nil {
		p.fail("a whole number")
	}
	return n
}

func (p *pull) uint64() uint64 {
	n, err := strconv.ParseUint(p.orZero(p.number()), 10, 64)
	if err != nil {
		p.fail("a whole number")
	}
	return n
}

func (p *pull) float() float64 {
	f, err := strconv.ParseFloat(p.orZero(p.number()), 64)
	if err != nil {
		p.fail("a number")
	}
	return f
}

func (p *pull) orZero(s string) string {
	if s == "" {
		return "0"
	}
	return s
}

// time returns nil for null.
func (p *pull) time() *time.Time {
	if p.null() {
		return nil
	}
	t, err := time.Parse(time.RFC3339Nano, p.string())
	if err != nil {
		p.fail("a time")
		return nil
	}
	return &t
}

func (p *pull) timeOrZero() time.Time {
	if t := p.time(); t != nil {
		return *t
	}
	return time.Time{}
}

// skip reads a value of any kind: a field that a newer server has.
func (p *pull) skip() { p.skipAt(0) }

func (p *pull) skipAt(depth int) {
	if depth > maxDepth {
		p.fail("less nesting")
		return
	}
	switch p.peek() {
	case '{':
		p.object(func(string) { p.skipAt(depth + 1) })
	case '[':
		p.array(func() { p.skipAt(depth + 1) })
	case '"':
		p.string()
	case 't':
		p.word("true")
	case 'f':
		p.word("false")
	default:
		p.float()
	}
}

// end says that the document is over.
func (p *pull) end() error {
	if p.err == nil && p.peek() != 0 || p.err == nil && p.i < len(p.s) {
		p.fail("the end")
	}
	return p.err
}
