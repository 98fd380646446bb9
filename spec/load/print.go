package load

import (
	"math/big"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// printer writes expressions in canonical form: one space where one belongs,
// no line ends, no comments, strings quoted one way. It writes what evaluates
// to the same, so parentheses stay where they were.
type printer struct{ b strings.Builder }

// printExpr returns the canonical text of an expression, and false if it would be
// longer than maxValue.
func printExpr(e hclsyntax.Expression) (string, bool) {
	var p printer
	p.expr(e)
	return p.b.String(), !p.full()
}

func (p *printer) full() bool { return p.b.Len() > maxValue }

func (p *printer) expr(e hclsyntax.Expression) {
	if p.full() {
		return
	}
	switch e := unmeter(e).(type) {
	case *hclsyntax.LiteralValueExpr:
		p.value(e.Val)
	case *hclsyntax.ParenthesesExpr:
		p.b.WriteByte('(')
		p.expr(e.Expression)
		p.b.WriteByte(')')
	case *hclsyntax.ScopeTraversalExpr:
		p.b.WriteString(e.Traversal.RootName())
		p.traversal(e.Traversal[1:])
	case *hclsyntax.RelativeTraversalExpr:
		p.term(e.Source)
		p.traversal(e.Traversal)
	case *hclsyntax.IndexExpr:
		p.term(e.Collection)
		p.b.WriteByte('[')
		p.expr(e.Key)
		p.b.WriteByte(']')
	case *hclsyntax.SplatExpr:
		p.term(e.Source)
		p.b.WriteString("[*]")
		p.expr(e.Each)
	case *hclsyntax.AnonSymbolExpr:
		// Its place was printed by the splat.
	case *hclsyntax.FunctionCallExpr:
		p.b.WriteString(e.Name)
		p.b.WriteByte('(')
		p.list(e.Args)
		if e.ExpandFinal {
			p.b.WriteString("...")
		}
		p.b.WriteByte(')')
	case *hclsyntax.UnaryOpExpr:
		p.b.WriteString(operator(e.Op))
		p.expr(e.Val)
	case *hclsyntax.BinaryOpExpr:
		p.expr(e.LHS)
		p.b.WriteString(" " + operator(e.Op) + " ")
		p.expr(e.RHS)
	case *hclsyntax.ConditionalExpr:
		p.expr(e.Condition)
		p.b.WriteString(" ? ")
		p.expr(e.TrueResult)
		p.b.WriteString(" : ")
		p.expr(e.FalseResult)
	case *hclsyntax.TupleConsExpr:
		p.b.WriteByte('[')
		p.list(e.Exprs)
		p.b.WriteByte(']')
	case *hclsyntax.ObjectConsExpr:
		p.object(e)
	case *hclsyntax.ObjectConsKeyExpr:
		p.key(e)
	case *hclsyntax.ForExpr:
		p.forExpr(e)
	case *hclsyntax.TemplateExpr:
		p.template(e.Parts)
	case *hclsyntax.TemplateWrapExpr:
		p.expr(e.Wrapped)
	case *hclsyntax.TemplateJoinExpr:
		p.b.WriteString(`join("", `)
		p.expr(e.Tuple)
		p.b.WriteByte(')')
	}
}

// term prints what something is appended to: in parentheses, unless it is
// closed already.
func (p *printer) term(e hclsyntax.Expression) {
	switch unmeter(e).(type) {
	case *hclsyntax.ParenthesesExpr, *hclsyntax.ScopeTraversalExpr, *hclsyntax.FunctionCallExpr, *hclsyntax.AnonSymbolExpr,
		*hclsyntax.IndexExpr, *hclsyntax.RelativeTraversalExpr:
		p.expr(e)
	default:
		p.b.WriteByte('(')
		p.expr(e)
		p.b.WriteByte(')')
	}
}

func (p *printer) list(list []hclsyntax.Expression) {
	for i, e := range list {
		if i > 0 {
			p.b.WriteString(", ")
		}
		p.expr(e)
	}
}

func (p *printer) object(e *hclsyntax.ObjectConsExpr) {
	if len(e.Items) == 0 {
		p.b.WriteString("{}")
		return
	}
	p.b.WriteString("{ ")
	for i, item := range e.Items {
		if i > 0 {
			p.b.WriteString(", ")
		}
		p.expr(item.KeyExpr)
		p.b.WriteString(" = ")
		p.expr(item.ValueExpr)
	}
	p.b.WriteString(" }")
}

func (p *printer) key(e *hclsyntax.ObjectConsKeyExpr) {
	if name, ok := literalKey(e); ok {
		p.keyName(name)
		return
	}
	p.b.WriteByte('(')
	p.expr(e.Wrapped)
	p.b.WriteByte(')')
}

func (p *printer) keyName(name string) {
	if hclsyntax.ValidIdentifier(name) && name != "for" {
		p.b.WriteString(name)
	} else {
		p.quoted(name)
	}
}

// literalKey returns the key of an object's item where it is written out.
func literalKey(e hclsyntax.Expression) (string, bool) {
	k, ok := unmeter(e).(*hclsyntax.ObjectConsKeyExpr)
	if !ok {
		return "", false
	}
	if !k.ForceNonLiteral {
		if name := hcl.ExprAsKeyword(k.Wrapped); name != "" {
			return name, true
		}
	}
	if lit, ok := unmeter(k.Wrapped).(*hclsyntax.LiteralValueExpr); ok && lit.Val.Type() == cty.String && !lit.Val.IsNull() {
		return lit.Val.AsString(), true
	}
	return "", false
}

func (p *printer) forExpr(e *hclsyntax.ForExpr) {
	open, closing := "[for ", "]"
	if e.KeyExpr != nil {
		open, closing = "{for ", "}"
	}
	p.b.WriteString(open)
	if e.KeyVar != "" {
		p.b.WriteString(e.KeyVar + ", ")
	}
	p.b.WriteString(e.ValVar + " in ")
	p.expr(e.CollExpr)
	p.b.WriteString(" : ")
	if e.KeyExpr != nil {
		p.expr(e.KeyExpr)
		p.b.WriteString(" => ")
	}
	p.expr(e.ValExpr)
	if e.Group {
		p.b.WriteString("...")
	}
	if e.CondExpr != nil {
		p.b.WriteString(" if ")
		p.expr(e.CondExpr)
	}
	p.b.WriteString(closing)
}

func (p *printer) template(parts []hclsyntax.Expression) {
	p.b.WriteByte('"')
	for i, part := range parts {
		if lit, ok := unmeter(part).(*hclsyntax.LiteralValueExpr); ok && lit.Val.Type() == cty.String && !lit.Val.IsNull() {
			p.escaped(lit.Val.AsString(), i+1 < len(parts))
			continue
		}
		p.b.WriteString("${")
		p.expr(part)
		p.b.WriteByte('}')
	}
	p.b.WriteByte('"')
}

func (p *printer) traversal(t hcl.Traversal) {
	for _, step := range t {
		switch step := step.(type) {
		case hcl.TraverseAttr:
			p.b.WriteString("." + step.Name)
		case hcl.TraverseIndex:
			if k := step.Key; k.Type() == cty.String && hclsyntax.ValidIdentifier(k.AsString()) {
				p.b.WriteString("." + k.AsString())
				continue
			}
			p.b.WriteByte('[')
			p.value(step.Key)
			p.b.WriteByte(']')
		}
	}
}

// value prints a value as the expression that makes it.
func (p *printer) value(v cty.Value) {
	if p.full() {
		return
	}
	t := v.Type()
	switch {
	case v.IsNull() || !v.IsKnown():
		p.b.WriteString("null")
	case t == cty.String:
		p.quoted(v.AsString())
	case t == cty.Number:
		p.b.WriteString(numberText(v.AsBigFloat()))
	case t == cty.Bool:
		p.b.WriteString(strconv.FormatBool(v.True()))
	case t.IsMapType() || t.IsObjectType():
		p.mapValue(v)
	case v.CanIterateElements():
		p.b.WriteByte('[')
		first := true
		for it := v.ElementIterator(); it.Next(); first = false {
			if !first {
				p.b.WriteString(", ")
			}
			_, e := it.Element()
			p.value(e)
		}
		p.b.WriteByte(']')
	default:
		p.b.WriteString("null")
	}
}

// strings prints a list of strings.
func (p *printer) strings(list []string) {
	p.b.WriteByte('[')
	for i, s := range list {
		if i > 0 {
			p.b.WriteString(", ")
		}
		p.quoted(s)
	}
	p.b.WriteByte(']')
}

// mapping prints a map of strings, in the order of their names.
func (p *printer) mapping(m map[string]string) {
	if len(m) == 0 {
		p.b.WriteString("{}")
		return
	}
	p.b.WriteString("{ ")
	for i, k := range sortedKeys(m) {
		if i > 0 {
			p.b.WriteString(", ")
		}
		p.keyName(k)
		p.b.WriteString(" = ")
		p.quoted(m[k])
	}
	p.b.WriteString(" }")
}

func (p *printer) mapValue(v cty.Value) {
	if v.LengthInt() == 0 {
		p.b.WriteString("{}")
		return
	}
	p.b.WriteString("{ ")
	first := true
	for it := v.ElementIterator(); it.Next(); first = false {
		if !first {
			p.b.WriteString(", ")
		}
		k, e := it.Element()
		p.keyName(k.AsString())
		p.b.WriteString(" = ")
		p.value(e)
	}
	p.b.WriteString(" }")
}

func numberText(f *big.Float) string { return f.Text('f', -1) }

func (p *printer) quoted(s string) {
	p.b.WriteByte('"')
	p.escaped(s, false)
	p.b.WriteByte('"')
}

// escaped prints the inside of a string. A "$" or "%" is written as an escape
// where HCL could read it as the beginning of a template sequence; more is set
// when such a sequence follows.
func (p *printer) escaped(s string, more bool) {
	for i := 0; i < len(s); {
		c, size := utf8.DecodeRuneInString(s[i:])
		next := i + size
		switch {
		case c == '"' || c == '\\':
			p.b.WriteByte('\\')
			p.b.WriteRune(c)
		case c == '\n':
			p.b.WriteString(`\n`)
		case c == '\t':
			p.b.WriteString(`\t`)
		case c == '\r':
			p.b.WriteString(`\r`)
		case (c == '$' || c == '%') && (next == len(s) && more || next < len(s) && (s[next] == '{' || s[next] == byte(c))):
			p.unicode(c)
		case !unicode.IsPrint(c):
			p.unicode(c)
		default:
			p.b.WriteRune(c)
		}
		i = next
	}
}

func (p *printer) unicode(c rune) {
	hex := strings.ToUpper(strconv.FormatInt(int64(c), 16))
	if c > 0xffff {
		p.b.WriteString(`\U` + strings.Repeat("0", 8-len(hex)) + hex)
		return
	}
	p.b.WriteString(`\u` + strings.Repeat("0", 4-len(hex)) + hex)
}

func operator(op *hclsyntax.Operation) string {
	switch op {
	case hclsyntax.OpLogicalOr:
		return "||"
	case hclsyntax.OpLogicalAnd:
		return "&&"
	case hclsyntax.OpLogicalNot:
		return "!"
	case hclsyntax.OpEqual:
		return "=="
	case hclsyntax.OpNotEqual:
		return "!="
	case hclsyntax.OpGreaterThan:
		return ">"
	case hclsyntax.OpGreaterThanOrEqual:
		return ">="
	case hclsyntax.OpLessThan:
		return "<"
	case hclsyntax.OpLessThanOrEqual:
		return "<="
	case hclsyntax.OpAdd:
		return "+"
	case hclsyntax.OpSubtract, hclsyntax.OpNegate:
		return "-"
	case hclsyntax.OpMultiply:
		return "*"
	case hclsyntax.OpDivide:
		return "/"
	case hclsyntax.OpModulo:
		return "%"
	}
	return "?"
}
