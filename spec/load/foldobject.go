package load

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// object folds a map that is written out. Its members get into the order of
// their names, so that their order in the file makes no new revision.
func (f *folder) object(e *hclsyntax.ObjectConsExpr) hclsyntax.Expression {
	c := *e
	c.Items = make([]hclsyntax.ObjectConsItem, len(e.Items))
	constant, literalKeys := true, true
	seen := map[string]hcl.Range{}
	for i, item := range e.Items {
		key := f.objectKey(item.KeyExpr)
		if name, ok := literalKey(key); ok {
			if first, twice := seen[name]; twice {
				f.failed = true
				f.d.errorBoth("duplicate", item.KeyExpr.Range(), fmt.Sprintf("%q is given twice", name), "Leave one of them out.", f.d.place(first, "first given here"))
			}
			seen[name] = item.KeyExpr.Range()
		} else {
			literalKeys = false
		}
		c.Items[i] = hclsyntax.ObjectConsItem{KeyExpr: key, ValueExpr: f.expr(item.ValueExpr)}
		constant = constant && isLiteral(c.Items[i].ValueExpr)
	}
	if constant && literalKeys {
		return f.constant(&c)
	}
	if literalKeys {
		sortItems(c.Items)
	}
	return &c
}

func (f *folder) objectKey(e hclsyntax.Expression) hclsyntax.Expression {
	k, ok := e.(*hclsyntax.ObjectConsKeyExpr)
	if !ok {
		return f.expr(e)
	}
	if name, ok := literalKey(k); ok {
		return &hclsyntax.ObjectConsKeyExpr{Wrapped: literal(cty.StringVal(name), k.Range())}
	}
	if t, ok := k.Wrapped.(*hclsyntax.ScopeTraversalExpr); ok && !k.ForceNonLiteral {
		return f.fail("expression", t.SrcRange, "this key could be a name or a reference", "Write (…) around a reference, or quotes around a name that holds dots.")
	}
	inner := f.expr(k.Wrapped)
	if lit, ok := inner.(*hclsyntax.LiteralValueExpr); ok && !f.failed {
		if s, err := convert.Convert(lit.Val, cty.String); err == nil && !s.IsNull() && s.IsKnown() {
			inner = literal(s, lit.SrcRange)
		}
	}
	return &hclsyntax.ObjectConsKeyExpr{Wrapped: inner, ForceNonLiteral: true}
}

// sortItems puts the members of an object into the order of their names.
func sortItems(items []hclsyntax.ObjectConsItem) {
	slices.SortStableFunc(items, func(a, b hclsyntax.ObjectConsItem) int {
		x, _ := literalKey(a.KeyExpr)
		y, _ := literalKey(b.KeyExpr)
		return cmp.Compare(x, y)
	})
}
