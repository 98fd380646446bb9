package load

import (
	"fmt"
	"maps"
	"reflect"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

const (
	// maxValue bounds one value: bytes of its strings, and elementCost for
	// each element. The kernel takes at most 2 MiB of arguments and environment.
	maxValue    = 1 << 20
	elementCost = 16
	// maxWork bounds what one evaluation produces on its way.
	maxWork = 8 << 20
	// maxLoadWork bounds all evaluations of one Load together.
	maxLoadWork = 128 << 20
	// maxExponent2 is maxExponent in powers of two: a larger number would be
	// written out in full.
	maxExponent2 = 1024
)

// budget is what an evaluation may still produce. It travels in the root of
// the evaluation context, so that a compiled expression may be evaluated by
// several goroutines.
type budget struct{ left int }

// overdraft is panicked with by a metered node when the budget is used up:
// HCL goes on after an error, through all of a million iterations.
type overdraft struct{ rng hcl.Range }

// budgetKey cannot be written in HCL.
const budgetKey = "\x00budget"

// newBudgetType makes the capsule type that carries a budget.
func newBudgetType() cty.Type { return cty.Capsule("budget", reflect.TypeFor[budget]()) }

// metered is a node whose results are measured.
type metered struct {
	hclsyntax.Expression
	// product: each evaluation makes something new, so its size is charged;
	// other nodes only hand on what was charged before.
	product bool
}

// Value implements hclsyntax.Expression.
func (m *metered) Value(ctx *hcl.EvalContext) (cty.Value, hcl.Diagnostics) {
	v, diags := m.Expression.Value(ctx)
	if diags.HasErrors() {
		// HCL's own loops add a diagnostic an iteration.
		charge(ctx, 64*len(diags), m.Range())
		return v, diags
	}
	n := sizeOf(v, maxValue)
	if n > maxValue {
		panic(overdraft{m.Range()})
	}
	if m.product {
		charge(ctx, n+elementCost, m.Range())
	}
	return v, diags
}

func charge(ctx *hcl.EvalContext, n int, rng hcl.Range) {
	if ctx == nil {
		return
	}
	for ctx.Parent() != nil {
		ctx = ctx.Parent()
	}
	v, ok := ctx.Variables[budgetKey]
	if !ok {
		return
	}
	b, ok := v.EncapsulatedValue().(*budget)
	if !ok {
		return
	}
	if b.left -= n; b.left < 0 {
		panic(overdraft{rng})
	}
}

// sizeOf measures a value, and stops when it is larger than limit: values
// share their parts, so a small one may be huge when walked. Numbers that
// would be huge when written out count as larger than any limit.
func sizeOf(v cty.Value, limit int) int {
	v, _ = v.Unmark()
	if v.IsNull() || !v.IsKnown() {
		return elementCost
	}
	t := v.Type()
	switch {
	case t == cty.String:
		return len(v.AsString())
	case t == cty.Number:
		if f := v.AsBigFloat(); f.IsInf() || f.MantExp(nil) > maxExponent2 {
			return limit + 1
		}
		return elementCost
	case t.IsPrimitiveType(), t.IsCapsuleType():
		return elementCost
	case v.CanIterateElements():
		n := elementCost
		for it := v.ElementIterator(); it.Next(); {
			key, e := it.Element()
			n += elementCost + sizeOf(e, limit-n)
			if key.Type() == cty.String {
				n += len(key.AsString())
			}
			if n > limit {
				return n
			}
		}
		return n
	}
	return elementCost
}

// evaluate runs an expression within a budget. It changes the expression: it
// puts metered nodes into it, if it has none yet.
func evaluate(e hclsyntax.Expression, vars map[string]cty.Value, f functionTable, b *budget) (v cty.Value, diags hcl.Diagnostics) {
	root := &hcl.EvalContext{Variables: make(map[string]cty.Value, len(vars)+1), Functions: f}
	maps.Copy(root.Variables, vars)
	root.Variables[budgetKey] = cty.CapsuleVal(newBudgetType(), b)
	defer func() {
		switch p := recover().(type) {
		case nil:
		case overdraft:
			v, diags = cty.DynamicVal, hcl.Diagnostics{{Severity: hcl.DiagError, Summary: "The expression's result is too large",
				Detail: "One value may take up to 1 MiB, and what is made on the way to it 8 MiB. A division by zero has no end.", Subject: &p.rng, Extra: p}}
		default:
			rng := e.Range()
			v, diags = cty.DynamicVal, hcl.Diagnostics{{Severity: hcl.DiagError, Summary: "The expression cannot be evaluated", Detail: fmt.Sprint(p), Subject: &rng}}
		}
	}()
	return charged(meter(e)).Value(root)
}

// evaluate runs an expression with the load's functions and what is left of
// its budget.
func (d *decoder) evaluate(e hclsyntax.Expression, vars map[string]cty.Value) (cty.Value, hcl.Diagnostics) {
	given := min(maxWork, d.work)
	b := &budget{left: given}
	v, diags := evaluate(e, vars, d.functions, b)
	if b.left < 0 && given < maxWork {
		panic(overdraft{}) // it is the load's budget that is used up
	}
	d.spend(given - max(b.left, 0))
	return v, diags
}

// spend charges the budget of the load.
func (d *decoder) spend(n int) {
	if d.work -= n; d.work < 0 {
		panic(overdraft{})
	}
}

// functionTable is what an expression may call.
type functionTable = map[string]function.Function
