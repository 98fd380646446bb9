package load

import (
	"cmp"
	"os"
	"slices"
	"strconv"
	"strings"

	"nines/spec"
)

// maxProgram is the longest text, and about the longest result, that a program
// has: so far below maxValue that HCL would never find it too large.
const maxProgram = 64 << 10

// program is an expression that can be evaluated without HCL, as nearly all
// are: a string, or a list or a map of strings, each of which consists of text
// and references. It only ever succeeds: where HCL would report something, or
// would change a text (it normalizes what is not ASCII), the program gives up
// and HCL evaluates the expression.
type program struct {
	kind  programKind
	items []programItem
	refs  []ref // as refsOf gives them
}

type programKind uint8

const (
	programText programKind = iota // one item
	programList
	programMap
)

// programItem is one string. It is its text, followed by what its parts make.
type programItem struct {
	key   string // in a map
	text  string
	parts []programPart
}

// programPart is a reference, and the text behind it.
type programPart struct {
	ref  ref
	text string
}

// parseProgram reads canonical source. It returns nil where that is not a program.
func parseProgram(e spec.Expr) *program {
	if len(e) > maxProgram {
		return nil
	}
	r := &programReader{rest: string(e)}
	p := &program{}
	ok := false
	switch {
	case strings.HasPrefix(r.rest, "["):
		p.kind = programList
		ok = r.sequence(p, ']', r.item)
	case strings.HasPrefix(r.rest, "{"):
		p.kind = programMap
		ok = r.sequence(p, '}', r.member)
	default:
		var x programItem
		x, ok = r.item()
		p.items = []programItem{x}
	}
	if !ok || r.rest != "" {
		return nil
	}
	slices.SortFunc(r.refs, func(a, b ref) int { return cmp.Or(cmp.Compare(a.root, b.root), cmp.Compare(a.name, b.name)) })
	p.refs = slices.Compact(r.refs)
	return p
}

type programReader struct {
	rest string
	refs []ref
}

// eat skips text, if it comes next.
func (r *programReader) eat(text string) bool {
	rest, ok := strings.CutPrefix(r.rest, text)
	r.rest = rest
	return ok
}

func (r *programReader) blank() { r.rest = strings.TrimLeft(r.rest, " ") }

// sequence reads the items of a list or a map, with the brackets around them.
func (r *programReader) sequence(p *program, closing byte, item func() (programItem, bool)) bool {
	r.rest = r.rest[1:]
	p.items = make([]programItem, 0, 1+strings.Count(r.rest, ","))
	for r.blank(); !strings.HasPrefix(r.rest, string(closing)); r.blank() {
		if len(p.items) > 0 {
			if !r.eat(",") {
				return false
			}
			r.blank()
		}
		x, ok := item()
		if !ok {
			return false
		}
		p.items = append(p.items, x)
	}
	r.rest = r.rest[1:]
	return true
}

// member reads KEY = ITEM.
func (r *programReader) member() (programItem, bool) {
	var key string
	if strings.HasPrefix(r.rest, `"`) {
		k, ok := r.quoted()
		if !ok || k.parts != nil {
			return k, false
		}
		key = k.text
	} else if key = r.name(); key == "" || reserved(key) {
		return programItem{}, false
	}
	r.blank()
	if !r.eat("=") {
		return programItem{}, false
	}
	r.blank()
	x, ok := r.item()
	x.key = key
	return x, ok
}

// name reads an identifier; "" if there is none.
func (r *programReader) name() string {
	n := 0
	for n < len(r.rest) && (isLetter(r.rest[n]) || n > 0 && (isDigit(r.rest[n]) || r.rest[n] == '-')) {
		n++
	}
	name := r.rest[:n]
	r.rest = r.rest[n:]
	return name
}

// item reads a string, a whole number, or a reference.
func (r *programReader) item() (programItem, bool) {
	switch {
	case strings.HasPrefix(r.rest, `"`):
		return r.quoted()
	case r.rest != "" && isDigit(r.rest[0]):
		n := 1
		for n < len(r.rest) && isDigit(r.rest[n]) {
			n++
		}
		text := r.rest[:n]
		r.rest = r.rest[n:]
		return programItem{text: text}, n == 1 || n < 16 && text[0] != '0'
	case r.eat("tostring("):
		x, ok := r.reference()
		return x, ok && r.eat(")")
	}
	return r.reference()
}

func (r *programReader) reference() (programItem, bool) {
	root := r.name()
	if !r.eat(".") {
		return programItem{}, false
	}
	x := ref{root, r.name()}
	switch root {
	case "instance", "host", "release":
		if !slices.Contains(members(root), x.name) {
			return programItem{}, false
		}
	case "env", "port":
		if x.name == "" {
			return programItem{}, false
		}
	default:
		return programItem{}, false
	}
	r.refs = append(r.refs, x)
	return programItem{parts: []programPart{{ref: x}}}, true
}

// quoted reads a string in quotes.
func (r *programReader) quoted() (programItem, bool) {
	var x programItem
	dst := &x.text // where text goes
	r.rest = r.rest[1:]
	for i := 0; i < len(r.rest); {
		switch c := r.rest[i]; {
		case c == '"':
			*dst += r.rest[:i]
			r.rest = r.rest[i+1:]
			return x, true
		case c < ' ' || c > '~':
			return x, false
		case c == '\\':
			if i+1 == len(r.rest) {
				return x, false
			}
			k := strings.IndexByte(`"\nrt`, r.rest[i+1])
			if k < 0 {
				return x, false
			}
			*dst += r.rest[:i] + "\"\\\n\r\t"[k:k+1]
			r.rest = r.rest[i+2:]
			i = 0
		case (c == '$' || c == '%') && i+1 < len(r.rest) && r.rest[i+1] == c:
			return x, false // $${ is an escape
		case (c == '$' || c == '%') && i+1 < len(r.rest) && r.rest[i+1] == '{':
			*dst += r.rest[:i]
			r.rest = r.rest[i+2:]
			inner, ok := r.reference()
			if c == '%' || !ok || !r.eat("}") {
				return x, false
			}
			x.parts = append(x.parts, inner.parts[0])
			dst = &x.parts[len(x.parts)-1].text
			i = 0
		default:
			i++
		}
	}
	return x, false
}

// one evaluates an item.
func (x *programItem) one(s *Scope) (string, bool) {
	if x.parts == nil {
		return x.text, true
	}
	var space [128]byte
	b := append(space[:0], x.text...)
	for i := range x.parts {
		ok := false
		if b, ok = x.parts[i].ref.append(b, s); !ok || len(b) > maxProgram {
			return "", false
		}
		b = append(b, x.parts[i].text...)
	}
	return string(b), true
}

// append appends the text of what a reference stands for, if it can be told
// without HCL.
func (r ref) append(b []byte, s *Scope) ([]byte, bool) {
	var text string
	switch r.root {
	case "instance":
		if r.name == "id" {
			if !ascii(s.Service) {
				return b, false
			}
			b = append(append(b, s.Service...), '/')
		}
		return strconv.AppendInt(b, int64(s.Index), 10), true
	case "port":
		n, ok := s.Ports[r.name]
		return strconv.AppendInt(b, int64(n), 10), ok
	case "release":
		if text = s.ReleasePath; r.name == "id" {
			text = s.ReleaseID
		}
	case "env":
		lookup := s.Env
		if lookup == nil {
			lookup = os.LookupEnv
		}
		v, ok := lookup(r.name)
		if text = v; !ok {
			return b, false
		}
	case "host":
		switch {
		case s.Host == nil:
			return b, false
		case r.name == "cpus":
			return strconv.AppendInt(b, int64(s.Host.CPUs), 10), true
		case r.name == "memory":
			return strconv.AppendUint(b, s.Host.Memory, 10), true
		}
		text = s.Host.Name
	}
	return append(b, text...), len(text) <= maxProgram && ascii(text)
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// The results of a program. A nil program, and one of another kind, has none;
// a nil scope knows nothing.

func (p *program) string(s *Scope) (string, bool) {
	if p == nil || p.kind != programText {
		return "", false
	}
	return p.items[0].one(scopeOr(s))
}

func (p *program) strings(s *Scope) ([]string, bool) {
	if p == nil || p.kind != programList {
		return nil, false
	}
	s = scopeOr(s)
	list := make([]string, len(p.items))
	size := 0
	for i := range p.items {
		ok := false
		list[i], ok = p.items[i].one(s)
		if size += len(list[i]); !ok || size > 2*maxProgram {
			return nil, false
		}
	}
	return list, true
}

func (p *program) mapping(s *Scope) (map[string]string, bool) {
	if p == nil || p.kind != programMap {
		return nil, false
	}
	s = scopeOr(s)
	m := make(map[string]string, len(p.items))
	size := 0
	for i := range p.items {
		text, ok := p.items[i].one(s)
		if size += len(text); !ok || size > 2*maxProgram {
			return nil, false
		}
		m[p.items[i].key] = text
	}
	return m, true
}

func scopeOr(s *Scope) *Scope {
	if s == nil {
		return &Scope{}
	}
	return s
}
