package load

import (
	"bytes"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// expr reads a plain expression. It returns nil where it is not one; what was
// read is then read again by foreign.
func (p *plain) expr() hclsyntax.Expression {
	switch c := p.peek(); {
	case c == '"':
		return p.text()
	case isDigit(c):
		return p.number()
	case isLetter(c):
		return p.word()
	case c == '[':
		return p.tuple()
	case c == '{':
		return p.object()
	}
	return nil
}

// isText tells whether a byte of a string stands for itself in the plain
// reader: ASCII that is no escape and no template.
func isText(c byte) bool {
	return ' ' <= c && c <= '~' && c != '"' && c != '\\' && c != '$' && c != '%'
}

// quoted reads a string in quotes that stands for itself.
func (p *plain) quoted() ([]byte, bool) {
	rest := p.data[p.pos+1:]
	for i, c := range rest {
		switch {
		case c == '"':
			p.pos += i + 2
			return rest[:i], true
		case !isText(c):
			return nil, false
		}
	}
	return nil, false
}

// textNode is a string: three nodes in one piece.
type textNode struct {
	template hclsyntax.TemplateExpr
	literal  hclsyntax.LiteralValueExpr
	parts    [1]hclsyntax.Expression
}

func (p *plain) text() hclsyntax.Expression {
	from := p.here()
	text, ok := p.quoted()
	if !ok {
		return p.template()
	}
	rng := p.since(from)
	n := &textNode{}
	n.template.SrcRange = rng
	n.template.Parts = n.parts[:]
	n.parts[0] = &n.literal
	n.literal.Val = cty.StringVal(string(text))
	n.literal.SrcRange = hcl.Range{Filename: p.name, Start: inward(rng.Start, 1), End: inward(rng.End, -1)}
	if len(text) == 0 { // HCL puts what is not there behind the quotes
		n.literal.SrcRange.Start, n.literal.SrcRange.End = rng.End, rng.End
	}
	return &n.template
}

// template reads a string that holds text and names: "a ${b.c} d".
func (p *plain) template() hclsyntax.Expression {
	if p.depth += 2; p.depth > maxPlain {
		return nil
	}
	open := p.take()
	var parts []hclsyntax.Expression
	for p.peek() != '"' {
		from := p.here()
		for isText(p.peek()) {
			p.pos++
		}
		if p.pos > from.Byte {
			parts = append(parts, literal(cty.StringVal(string(p.data[from.Byte:p.pos])), p.since(from)))
			continue
		}
		if p.peek() != '$' || p.ahead(1) != '{' {
			return nil
		}
		p.pos += 2
		p.blank()
		if !isLetter(p.peek()) {
			return nil
		}
		e := p.word()
		p.blank()
		if e == nil || p.peek() != '}' {
			return nil
		}
		p.pos++
		parts = append(parts, e)
	}
	p.depth -= 2
	rng := hcl.RangeBetween(open, p.take())
	if len(parts) == 1 { // not text, which quoted reads
		return &hclsyntax.TemplateWrapExpr{Wrapped: parts[0], SrcRange: rng}
	}
	return &hclsyntax.TemplateExpr{Parts: parts, SrcRange: rng}
}

func inward(at hcl.Pos, n int) hcl.Pos {
	at.Column += n
	at.Byte += n
	return at
}

func (p *plain) number() hclsyntax.Expression {
	from := p.here()
	dots := 0
	for c := p.peek(); isDigit(c) || c == '.' && dots == 0 && isDigit(p.ahead(1)); c = p.peek() {
		if c == '.' {
			dots++
		}
		p.pos++
	}
	text := p.data[from.Byte:p.pos]
	if c := p.peek(); len(text) > maxNumber/2 || isLetter(c) || c == '.' {
		return nil
	}
	v, err := cty.ParseNumberVal(string(text))
	if err != nil {
		return nil
	}
	return &hclsyntax.LiteralValueExpr{Val: v, SrcRange: p.since(from)}
}

// reserved are the names that are not always names.
func reserved(name string) bool {
	switch name {
	case "true", "false", "null", "for":
		return true
	}
	return false
}

// word reads true, false, or a name with one name behind it.
func (p *plain) word() hclsyntax.Expression {
	name, rng := p.ident()
	if p.peek() == '.' && isLetter(p.ahead(1)) && !reserved(name) {
		from := p.here()
		p.pos++
		member, _ := p.ident()
		step := p.since(from)
		return &hclsyntax.ScopeTraversalExpr{
			Traversal: hcl.Traversal{hcl.TraverseRoot{Name: name, SrcRange: rng}, hcl.TraverseAttr{Name: member, SrcRange: step}},
			SrcRange:  hcl.RangeBetween(rng, step),
		}
	}
	switch name {
	case "true":
		return &hclsyntax.LiteralValueExpr{Val: cty.True, SrcRange: rng}
	case "false":
		return &hclsyntax.LiteralValueExpr{Val: cty.False, SrcRange: rng}
	}
	return nil
}

func (p *plain) tuple() hclsyntax.Expression {
	if p.depth++; p.depth > maxPlain {
		return nil
	}
	t := &hclsyntax.TupleConsExpr{OpenRange: p.take()}
	for {
		p.gap()
		if p.peek() == ']' {
			break
		}
		e := p.expr()
		if e == nil {
			return nil
		}
		t.Exprs = append(t.Exprs, e)
		p.gap()
		if p.peek() == ',' {
			p.pos++
		} else if p.peek() != ']' {
			return nil
		}
	}
	p.depth--
	t.SrcRange = hcl.RangeBetween(t.OpenRange, p.take())
	return t
}

// gap skips spaces and ends of lines.
func (p *plain) gap() {
	for p.blank(); p.newline(); p.blank() {
	}
}

func (p *plain) object() hclsyntax.Expression {
	if p.depth++; p.depth > maxPlain {
		return nil
	}
	o := &hclsyntax.ObjectConsExpr{OpenRange: p.take()}
	for {
		p.gap()
		if p.peek() == '}' {
			break
		}
		key := p.objectKey()
		if key == nil {
			return nil
		}
		p.blank()
		if c := p.ahead(1); p.peek() != '=' || c == '=' || c == '>' {
			return nil
		}
		p.pos++
		p.blank()
		value := p.expr()
		if value == nil {
			return nil
		}
		o.Items = append(o.Items, hclsyntax.ObjectConsItem{KeyExpr: &hclsyntax.ObjectConsKeyExpr{Wrapped: key}, ValueExpr: value})
		p.blank()
		if p.peek() == ',' {
			p.pos++
		} else if p.peek() != '}' && !p.newline() {
			return nil
		}
	}
	p.depth--
	o.SrcRange = hcl.RangeBetween(o.OpenRange, p.take())
	return o
}

func (p *plain) objectKey() hclsyntax.Expression {
	switch c := p.peek(); {
	case c == '"':
		return p.text()
	case isLetter(c):
		name, rng := p.ident()
		if reserved(name) {
			return nil
		}
		return &hclsyntax.ScopeTraversalExpr{Traversal: hcl.Traversal{hcl.TraverseRoot{Name: name, SrcRange: rng}}, SrcRange: rng}
	}
	return nil
}

// foreign gives an attribute's expression to HCL's parser.
func (p *plain) foreign(oneLine bool) hclsyntax.Expression {
	from := p.here()
	s := skipper{plain: p, oneLine: oneLine}
	if !s.skip() || s.wide && oneLine {
		return nil
	}
	text := bytes.TrimRight(p.data[from.Byte:p.pos], " \t")
	if p.foreignLeft -= mostTokens(text); p.foreignLeft < 0 {
		return nil
	}
	e, diags := parseExpression(text, p.name, from)
	if len(diags) > 0 {
		return nil
	}
	return e
}
