package load

import "github.com/hashicorp/hcl/v2/hclsyntax"

// meter puts a metered node before each node of an expression that makes a new
// value. The expression is changed in place; it is this package's own copy.
func meter(e hclsyntax.Expression) hclsyntax.Expression {
	switch e := e.(type) {
	case nil:
		return nil
	case *metered, *hclsyntax.LiteralValueExpr, *hclsyntax.ScopeTraversalExpr, *hclsyntax.AnonSymbolExpr:
		return e
	case *hclsyntax.ParenthesesExpr:
		e.Expression = meter(e.Expression)
		return e
	case *hclsyntax.ObjectConsKeyExpr:
		if e.ForceNonLiteral {
			e.Wrapped = meter(e.Wrapped)
		}
		return e
	case *hclsyntax.TupleConsExpr:
		meterAll(e.Exprs)
	case *hclsyntax.ObjectConsExpr:
		for i := range e.Items {
			e.Items[i].KeyExpr = meter(e.Items[i].KeyExpr)
			e.Items[i].ValueExpr = meter(e.Items[i].ValueExpr)
		}
	case *hclsyntax.RelativeTraversalExpr:
		e.Source = meter(e.Source)
	case *hclsyntax.IndexExpr:
		e.Collection, e.Key = meter(e.Collection), meter(e.Key)
	case *hclsyntax.UnaryOpExpr:
		e.Val = meter(e.Val)
	case *hclsyntax.BinaryOpExpr:
		e.LHS, e.RHS = meter(e.LHS), meter(e.RHS)
	case *hclsyntax.ConditionalExpr:
		e.Condition, e.TrueResult, e.FalseResult = meter(e.Condition), meter(e.TrueResult), meter(e.FalseResult)
	case *hclsyntax.TemplateWrapExpr:
		e.Wrapped = meter(e.Wrapped)
	case *hclsyntax.TemplateJoinExpr:
		e.Tuple = meter(e.Tuple)
		return charged(e)
	case *hclsyntax.TemplateExpr:
		for i, p := range e.Parts {
			// Literals too: locals are literals here, and there may be a
			// hundred thousand of them in one template.
			e.Parts[i] = charged(meter(p))
		}
		return charged(e)
	case *hclsyntax.FunctionCallExpr:
		for i, a := range e.Args {
			e.Args[i] = charged(meter(a))
		}
		return charged(e)
	case *hclsyntax.SplatExpr:
		e.Source, e.Each = charged(meter(e.Source)), charged(meter(e.Each))
	case *hclsyntax.ForExpr:
		e.CollExpr, e.ValExpr = charged(meter(e.CollExpr)), charged(meter(e.ValExpr))
		if e.KeyExpr != nil {
			e.KeyExpr = charged(meter(e.KeyExpr))
		}
		if e.CondExpr != nil {
			e.CondExpr = charged(meter(e.CondExpr))
		}
	}
	return &metered{Expression: e}
}

func meterAll(list []hclsyntax.Expression) {
	for i, e := range list {
		list[i] = meter(e)
	}
}

func charged(e hclsyntax.Expression) hclsyntax.Expression {
	if m, ok := e.(*metered); ok {
		if !m.product { // a compiled one may be in use by others: it is not written to again
			m.product = true
		}
		return m
	}
	return &metered{Expression: e, product: true}
}

// unmeter gives back the node behind a metered one.
func unmeter(e hclsyntax.Expression) hclsyntax.Expression {
	for {
		m, ok := e.(*metered)
		if !ok {
			return e
		}
		e = m.Expression
	}
}
