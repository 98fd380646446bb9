package load

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// folder rewrites an expression: local.* and service.name are replaced, and
// every part that refers to nothing symbolic is evaluated. The input is not
// changed; the result shares nodes with it and with other results, so nobody
// may change it either (compiling parses anew).
type folder struct {
	d       *decoder
	service string   // service.name; "" outside a service
	bound   []string // variables of the for expressions around
	quiet   bool     // an env attribute: what HCL says may quote its literals
	failed  bool
}

// fail reports, and stands in for what could not be folded.
func (f *folder) fail(code string, rng hcl.Range, summary, detail string) hclsyntax.Expression {
	f.failed = true
	f.d.errorAt(code, rng, summary, detail)
	return literal(cty.DynamicVal, rng)
}

func literal(v cty.Value, rng hcl.Range) *hclsyntax.LiteralValueExpr {
	return &hclsyntax.LiteralValueExpr{Val: v, SrcRange: rng}
}

func isLiteral(e hclsyntax.Expression) bool {
	_, ok := e.(*hclsyntax.LiteralValueExpr)
	return ok
}

func allLiteral(list []hclsyntax.Expression) bool {
	for _, e := range list {
		if !isLiteral(e) {
			return false
		}
	}
	return true
}

// constant evaluates a node all of whose children are literals.
func (f *folder) constant(e hclsyntax.Expression) hclsyntax.Expression {
	if f.failed {
		return literal(cty.DynamicVal, e.Range())
	}
	v, diags := f.d.evaluate(e, nil)
	for _, d := range diags {
		if d.Severity == hcl.DiagError {
			f.failed = true
		}
		if d.Subject == nil {
			rng := e.Range()
			d.Subject = &rng
		}
		if f.quiet {
			d.Detail = ""
		}
		f.d.addHCL("expression", d)
	}
	if f.failed {
		v = cty.DynamicVal
	}
	return literal(v, e.Range())
}

// literals makes the value of a tuple of literals: what constant does, without
// what an evaluation costs.
func (f *folder) literals(e *hclsyntax.TupleConsExpr) hclsyntax.Expression {
	vals := make([]cty.Value, len(e.Exprs))
	for i, x := range e.Exprs {
		if lit, ok := x.(*hclsyntax.LiteralValueExpr); ok {
			vals[i] = lit.Val
		}
	}
	v := cty.TupleVal(vals)
	n := sizeOf(v, maxValue)
	if f.failed || n > maxValue {
		return f.constant(e) // which reports it
	}
	f.d.spend(n + elementCost)
	return literal(v, e.Range())
}

// expr folds one expression.
func (f *folder) expr(e hclsyntax.Expression) hclsyntax.Expression {
	switch e := e.(type) {
	case nil:
		return nil
	case *hclsyntax.LiteralValueExpr, *hclsyntax.AnonSymbolExpr:
		return e
	case *hclsyntax.ParenthesesExpr:
		inner := f.expr(e.Expression)
		if isLiteral(inner) {
			return inner
		}
		if p, ok := inner.(*hclsyntax.ParenthesesExpr); ok {
			return p
		}
		return &hclsyntax.ParenthesesExpr{Expression: inner, SrcRange: e.SrcRange}
	case *hclsyntax.ScopeTraversalExpr:
		return f.reference(e)
	case *hclsyntax.RelativeTraversalExpr:
		c := *e
		c.Source = f.expr(e.Source)
		return f.result(&c, isLiteral(c.Source))
	case *hclsyntax.IndexExpr:
		c := *e
		c.Collection, c.Key = f.expr(e.Collection), f.expr(e.Key)
		return f.result(&c, isLiteral(c.Collection) && isLiteral(c.Key))
	case *hclsyntax.TupleConsExpr:
		c := *e
		c.Exprs = f.list(e.Exprs)
		if !allLiteral(c.Exprs) {
			return &c
		}
		return f.literals(&c)
	case *hclsyntax.ObjectConsExpr:
		return f.object(e)
	case *hclsyntax.FunctionCallExpr:
		return f.call(e)
	case *hclsyntax.UnaryOpExpr:
		c := *e
		c.Val = f.expr(e.Val)
		return f.result(&c, isLiteral(c.Val))
	case *hclsyntax.BinaryOpExpr:
		c := *e
		c.LHS, c.RHS = f.expr(e.LHS), f.expr(e.RHS)
		return f.result(&c, isLiteral(c.LHS) && isLiteral(c.RHS))
	case *hclsyntax.ConditionalExpr:
		c := *e
		c.Condition, c.TrueResult, c.FalseResult = f.expr(e.Condition), f.expr(e.TrueResult), f.expr(e.FalseResult)
		return f.result(&c, isLiteral(c.Condition) && isLiteral(c.TrueResult) && isLiteral(c.FalseResult))
	case *hclsyntax.TemplateExpr:
		return f.template(e)
	case *hclsyntax.TemplateWrapExpr:
		return group(f.expr(e.Wrapped))
	case *hclsyntax.TemplateJoinExpr:
		c := *e
		c.Tuple = f.expr(e.Tuple)
		return f.result(&c, isLiteral(c.Tuple))
	case *hclsyntax.ForExpr:
		return f.forExpr(e)
	case *hclsyntax.SplatExpr:
		c := *e
		c.Source, c.Each = f.expr(e.Source), f.expr(e.Each)
		return f.result(&c, isLiteral(c.Source) && len(c.Each.Variables()) == 0)
	}
	return f.fail("expression", e.Range(), "this kind of expression is not supported", "")
}

func (f *folder) result(e hclsyntax.Expression, constant bool) hclsyntax.Expression {
	if constant {
		return f.constant(e)
	}
	return e
}

func (f *folder) list(list []hclsyntax.Expression) []hclsyntax.Expression {
	out := make([]hclsyntax.Expression, len(list))
	for i, e := range list {
		out[i] = f.expr(e)
	}
	return out
}

func (f *folder) isBound(name string) bool {
	for _, b := range f.bound {
		if b == name {
			return true
		}
	}
	return false
}

// reference replaces local.* and service.name.
func (f *folder) reference(e *hclsyntax.ScopeTraversalExpr) hclsyntax.Expression {
	if f.isBound(e.Traversal.RootName()) {
		return e
	}
	r, summary, detail := refOf(e.Traversal)
	if summary != "" {
		return f.fail("unknown_value", e.SrcRange, summary, detail)
	}
	switch r.root {
	case "service":
		if f.service == "" {
			return e // in a local: replaced where that is used
		}
		return literal(cty.StringVal(f.service), e.SrcRange)
	case "local":
		return f.local(r.name, e)
	}
	return e
}

// local puts the value of a local in the place of its name.
func (f *folder) local(name string, at *hclsyntax.ScopeTraversalExpr) hclsyntax.Expression {
	l := f.d.locals[name]
	if l == nil {
		return f.fail("unknown_value", at.SrcRange, fmt.Sprintf("there is no local called %q", name),
			didYouMean(name, f.d.localNames(), "Define it: locals { "+name+" = … }"))
	}
	if !f.d.resolveLocal(l, at.SrcRange) {
		f.failed = true // said where it is defined
		return literal(cty.DynamicVal, at.SrcRange)
	}
	f.d.spend(l.size)
	value := l.value
	if l.usesService && f.service != "" {
		value = f.expr(value)
	}
	rest := at.Traversal[2:]
	for len(rest) > 0 {
		inner, ok := member(value, rest[0])
		if !ok {
			break
		}
		value, rest = inner, rest[1:]
	}
	if len(rest) == 0 {
		if lit, ok := value.(*hclsyntax.LiteralValueExpr); ok {
			return literal(lit.Val, at.SrcRange)
		}
		return group(value)
	}
	t := &hclsyntax.RelativeTraversalExpr{Source: group(value), Traversal: rest, SrcRange: at.SrcRange}
	return f.result(t, isLiteral(value))
}

// member takes one member out of a written-out object or tuple, so that a
// reference to local.a.b does not drag in what stands beside b.
func member(e hclsyntax.Expression, step hcl.Traverser) (hclsyntax.Expression, bool) {
	if p, ok := e.(*hclsyntax.ParenthesesExpr); ok {
		e = p.Expression
	}
	switch e := e.(type) {
	case *hclsyntax.ObjectConsExpr:
		name, ok := stepName(step)
		if !ok {
			return nil, false
		}
		for _, item := range e.Items {
			key, ok := literalKey(item.KeyExpr)
			if !ok {
				return nil, false
			}
			if key == name {
				return item.ValueExpr, true
			}
		}
	case *hclsyntax.TupleConsExpr:
		i, ok := step.(hcl.TraverseIndex)
		if !ok || i.Key.Type() != cty.Number {
			return nil, false
		}
		n, accuracy := i.Key.AsBigFloat().Int64()
		if accuracy == 0 && n >= 0 && n < int64(len(e.Exprs)) {
			return e.Exprs[n], true
		}
	}
	return nil, false
}

// group puts parentheses where an expression would fall apart in a new place.
func group(e hclsyntax.Expression) hclsyntax.Expression {
	switch e.(type) {
	case *hclsyntax.BinaryOpExpr, *hclsyntax.UnaryOpExpr, *hclsyntax.ConditionalExpr:
		return &hclsyntax.ParenthesesExpr{Expression: e, SrcRange: e.Range()}
	}
	return e
}

func (f *folder) call(e *hclsyntax.FunctionCallExpr) hclsyntax.Expression {
	if _, ok := f.d.functions[e.Name]; !ok {
		for _, a := range e.Args {
			f.expr(a)
		}
		return f.fail("unknown_function", e.NameRange, fmt.Sprintf("there is no function called %q", e.Name), didYouMean(e.Name, functionNames(), "The functions are "+listing(functionNames())+"."))
	}
	c := *e
	c.Args = f.list(e.Args)
	return f.result(&c, allLiteral(c.Args))
}

// template joins what has become literal, and the parts of templates within.
func (f *folder) template(e *hclsyntax.TemplateExpr) hclsyntax.Expression {
	if e.IsStringLiteral() {
		if lit, ok := e.Parts[0].(*hclsyntax.LiteralValueExpr); ok {
			f.d.spend(len(lit.Val.AsString()))
			return lit
		}
	}
	var parts []hclsyntax.Expression
	for _, p := range e.Parts {
		p = f.expr(p)
		if inner, ok := p.(*hclsyntax.TemplateExpr); ok {
			for _, q := range inner.Parts {
				parts = f.appendPart(parts, q)
			}
			continue
		}
		parts = f.appendPart(parts, p)
	}
	if f.failed {
		return literal(cty.DynamicVal, e.SrcRange)
	}
	c := &hclsyntax.TemplateExpr{Parts: parts, SrcRange: e.SrcRange}
	switch {
	case len(parts) == 0:
		return literal(cty.StringVal(""), e.SrcRange)
	case len(parts) == 1 && isLiteral(parts[0]):
		return parts[0]
	case allLiteral(parts):
		return f.constant(c)
	case len(parts) == 1:
		// "${x}" alone would hand on a number as a number, and this is a string.
		return &hclsyntax.FunctionCallExpr{Name: "tostring", Args: parts, NameRange: e.SrcRange, OpenParenRange: e.SrcRange, CloseParenRange: e.SrcRange}
	}
	return c
}

func (f *folder) appendPart(parts []hclsyntax.Expression, p hclsyntax.Expression) []hclsyntax.Expression {
	lit, ok := p.(*hclsyntax.LiteralValueExpr)
	if !ok || f.failed {
		return append(parts, p)
	}
	s, err := convert.Convert(lit.Val, cty.String)
	if err != nil || s.IsNull() || !s.IsKnown() {
		f.fail("expression", p.Range(), "this cannot stand inside a string", "A string, a number or a bool is expected; use join for a list.")
		return parts
	}
	text := s.AsString()
	f.d.spend(len(text))
	if text == "" {
		return parts
	}
	if n := len(parts); n > 0 {
		if before, ok := parts[n-1].(*hclsyntax.LiteralValueExpr); ok {
			joined := before.Val.AsString() + text
			f.d.spend(len(joined))
			parts[n-1] = literal(cty.StringVal(joined), before.SrcRange)
			return parts
		}
	}
	return append(parts, literal(s, lit.SrcRange))
}

func (f *folder) forExpr(e *hclsyntax.ForExpr) hclsyntax.Expression {
	c := *e
	c.CollExpr = f.expr(e.CollExpr)
	n := len(f.bound)
	if e.KeyVar != "" {
		f.bound = append(f.bound, e.KeyVar)
	}
	f.bound = append(f.bound, e.ValVar)
	c.ValExpr = f.expr(e.ValExpr)
	if e.KeyExpr != nil {
		c.KeyExpr = f.expr(e.KeyExpr)
	}
	if e.CondExpr != nil {
		c.CondExpr = f.expr(e.CondExpr)
	}
	f.bound = f.bound[:n]
	return f.result(&c, isLiteral(c.CollExpr) && len(c.Variables()) == 0)
}
