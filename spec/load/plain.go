package load

import (
	"bytes"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// maxPlain is how deep a file may nest that the plain reader takes on: half of
// maxNesting, so that what it accepts is never too deep for HCL's parser.
const maxPlain = maxNesting / 2

// plain reads the part of HCL that nearly all specifications are written in,
// without a list of tokens: HCL's own takes some twenty kilobytes for a service
// of ten lines. It makes the very nodes that HCL's parser makes. An expression
// that is more than strings, numbers, names, lists and maps is given to HCL's
// parser alone. Where anything is wrong or unusual the plain reader gives up,
// and the whole file is read again by HCL's, which knows how to say what is
// wrong.
type plain struct {
	name  string // of the file
	data  []byte
	names map[string]string // one string for each name, however often it stands
	items []span            // of the outermost body: whole lines
	place

	foreignLeft int // tokens that HCL's parser may still be given
}

// place is where the plain reader is.
type place struct {
	pos, line int
	start     int // of the line
	depth     int
}

// newPlain reads a file. foreign is how many tokens HCL's parser may be given.
func newPlain(name string, data []byte, foreign int) *plain {
	return &plain{name: name, data: data, names: map[string]string{}, foreignLeft: foreign, place: place{line: 1}}
}

// file returns the body of the file, and where its attributes and blocks stand;
// nil where it gives up, at p.line. The data is valid UTF-8. Unlike HCL's, the
// body as a whole has no range.
func (p *plain) file() (*hclsyntax.Body, []span) {
	body, ok := p.body(true)
	if !ok {
		return nil, nil
	}
	return body, p.items
}

// peek returns the next byte, and 0 at the end.
func (p *plain) peek() byte { return p.ahead(0) }

func (p *plain) ahead(n int) byte {
	if p.pos+n < len(p.data) {
		return p.data[p.pos+n]
	}
	return 0
}

func (p *plain) ended() bool { return p.pos >= len(p.data) }

// here is the position of the next byte. A column is a byte, because a line on
// which that is not so ends before its next position is asked for.
func (p *plain) here() hcl.Pos {
	return hcl.Pos{Line: p.line, Column: p.pos - p.start + 1, Byte: p.pos}
}

func (p *plain) since(from hcl.Pos) hcl.Range {
	return hcl.Range{Filename: p.name, Start: from, End: p.here()}
}

// take reads one byte of punctuation.
func (p *plain) take() hcl.Range {
	from := p.here()
	p.pos++
	return p.since(from)
}

// blank skips spaces within a line.
func (p *plain) blank() {
	for c := p.peek(); c == ' ' || c == '\t'; c = p.peek() {
		p.pos++
	}
}

// newline reads the end of a line, if it is there.
func (p *plain) newline() bool {
	n := 1
	if p.peek() == '\r' {
		n = 2
	}
	if p.ahead(n-1) != '\n' {
		return false
	}
	p.pos += n
	p.line++
	p.start = p.pos
	return true
}

// atComment tells whether a comment begins that ends with its line.
func (p *plain) atComment() bool {
	return p.peek() == '#' || p.peek() == '/' && p.ahead(1) == '/'
}

// comment reads one, up to the end of its line.
func (p *plain) comment() bool {
	n := bytes.IndexByte(p.data[p.pos:], '\n')
	if n < 0 {
		n = len(p.data) - p.pos
	}
	text := p.data[p.pos : p.pos+n]
	if i := bytes.IndexByte(text, '\r'); i >= 0 {
		if i != n-1 {
			return false
		}
		n--
	}
	p.pos += n
	return true
}

// lineEnd reads what may stand behind an attribute or a block: a comment, and
// the end of the line or of the file.
func (p *plain) lineEnd() bool {
	p.blank()
	if p.atComment() && !p.comment() {
		return false
	}
	return p.ended() || p.newline()
}

func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_' }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// ident reads a name; the next byte is a letter.
func (p *plain) ident() (string, hcl.Range) {
	from := p.here()
	for c := p.peek(); isLetter(c) || isDigit(c) || c == '-'; c = p.peek() {
		p.pos++
	}
	text := p.data[from.Byte:p.pos]
	name, known := p.names[string(text)]
	if !known {
		name = string(text)
		p.names[name] = name
	}
	return name, p.since(from)
}

// body reads attributes and blocks up to a closing brace, or in the outermost
// up to the end of the file.
func (p *plain) body(outermost bool) (*hclsyntax.Body, bool) {
	b := &hclsyntax.Body{Attributes: hclsyntax.Attributes{}, Blocks: hclsyntax.Blocks{}}
	for {
		p.blank()
		switch {
		case p.ended():
			return b, outermost
		case p.peek() == '}':
			return b, !outermost
		case isLetter(p.peek()):
			from := p.pos
			if !p.item(b) {
				return nil, false
			}
			if outermost {
				p.items = append(p.items, span{from, p.pos})
			}
		default:
			if !p.lineEnd() {
				return nil, false
			}
		}
	}
}

// item reads an attribute or a block into a body.
func (p *plain) item(b *hclsyntax.Body) bool {
	name, rng := p.ident()
	p.blank()
	if p.peek() == '=' {
		a := p.attribute(name, rng, false)
		if a == nil || b.Attributes[name] != nil {
			return false
		}
		b.Attributes[name] = a
		return p.lineEnd()
	}
	x := p.block(name, rng)
	if x == nil {
		return false
	}
	b.Blocks = append(b.Blocks, x)
	return p.lineEnd()
}

// block reads a block from behind its type.
func (p *plain) block(kind string, rng hcl.Range) *hclsyntax.Block {
	x := &hclsyntax.Block{Type: kind, TypeRange: rng}
	for p.blank(); p.peek() != '{'; p.blank() {
		var label string
		switch c := p.peek(); {
		case c == '"':
			from := p.here()
			text, ok := p.quoted()
			if !ok {
				return nil
			}
			label, rng = string(text), p.since(from)
		case isLetter(c):
			label, rng = p.ident()
		default:
			return nil
		}
		x.Labels = append(x.Labels, label)
		x.LabelRanges = append(x.LabelRanges, rng)
	}
	if p.depth++; p.depth > maxPlain {
		return nil
	}
	x.OpenBraceRange = p.take()
	p.blank()
	oneLine := isLetter(p.peek())
	if oneLine {
		x.Body = p.oneLine()
	} else if body, ok := p.body(false); ok {
		x.Body = body
	}
	if x.Body == nil || p.peek() != '}' {
		return nil
	}
	p.depth--
	x.CloseBraceRange = p.take()
	if !oneLine {
		x.Body.SrcRange = hcl.RangeBetween(x.OpenBraceRange, x.CloseBraceRange)
	}
	x.Body.EndRange = hcl.Range{Filename: p.name, Start: x.Body.SrcRange.End, End: x.Body.SrcRange.End}
	return x
}

// oneLine reads the body of a block that is written on one line, with one
// attribute, up to the closing brace.
func (p *plain) oneLine() *hclsyntax.Body {
	name, rng := p.ident()
	p.blank()
	if p.peek() != '=' {
		return nil
	}
	a := p.attribute(name, rng, true)
	if a == nil {
		return nil
	}
	p.blank()
	return &hclsyntax.Body{Attributes: hclsyntax.Attributes{name: a}, SrcRange: a.SrcRange}
}

// attribute reads an attribute from its equals sign on.
func (p *plain) attribute(name string, rng hcl.Range, oneLine bool) *hclsyntax.Attribute {
	if c := p.ahead(1); c == '=' || c == '>' {
		return nil
	}
	a := &hclsyntax.Attribute{Name: name, NameRange: rng, EqualsRange: p.take()}
	p.blank()
	before := p.place
	if a.Expr = p.expr(); a.Expr == nil || !p.exprEnds(oneLine) {
		p.place = before
		if a.Expr = p.foreign(oneLine); a.Expr == nil {
			return nil
		}
	}
	a.SrcRange = hcl.RangeBetween(rng, a.Expr.Range())
	return a
}

// exprEnds tells whether an attribute's expression is over here.
func (p *plain) exprEnds(oneLine bool) bool {
	p.blank()
	if oneLine {
		return p.peek() == '}'
	}
	c := p.peek()
	return p.ended() || c == '\n' || c == '\r' || p.atComment()
}
