package load

import (
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"nines/spec"
)

// value is an attribute that was evaluated here.
type value struct {
	cty.Value
	b      *block
	name   string
	rng    hcl.Range
	secret bool // may hold an environment variable: never shown
}

// fromEnv stands in for a value that may be a secret.
const fromEnv = "(a value from the environment)"

// show quotes a value for a diagnostic, unless it may be a secret.
func (v *value) show(s string) string {
	if v.secret {
		return fromEnv
	}
	if len(s) > 80 {
		s = s[:runeStart([]byte(s), 80)] + "…"
	}
	return fmt.Sprintf("%q", s)
}

// shown prints a value that was parsed, unless it may be a secret.
func (v *value) shown(x any) string {
	if v.secret {
		return fromEnv
	}
	return fmt.Sprint(x)
}

// shown prints the parsed value of an attribute of this service, named by its
// path in the language, unless it may be a secret.
func (b *block) shown(path string, x any) string {
	if b.d.tainted[b.taintKey(path)] {
		return fromEnv
	}
	return fmt.Sprint(x)
}

func (b *block) taintKey(path string) string {
	if b.service == nil {
		return path
	}
	return b.service.name + " " + path
}

func (v *value) bad(summary, detail string) { v.b.d.errorAt("bad_value", v.rng, summary, detail) }

// badItem is bad for an element of a list.
func (v *value) badItem(i int, summary, detail string) {
	v.b.d.errorAt("bad_value", v.b.item(v.name, i), summary, detail)
}

func (v *value) wrongType(want, example string) {
	if v.secret && v.Type() == cty.String && strings.Contains(want, "number") {
		v.b.d.errorAt("wrong_type", v.rng, fmt.Sprintf("%s must be %s, and a variable of the environment is a string", v.name, want), "Write tonumber(…) around it.")
		return
	}
	v.b.d.errorAt("wrong_type", v.rng, fmt.Sprintf("%s must be %s, not %s", v.name, want, typeName(v.Type())),
		fmt.Sprintf("Write for example: %s = %s", v.name, example))
}

// static evaluates an attribute that is the same for all instances. nil: it
// was not given, is null, or is wrong (and that was reported).
func (b *block) static(name string) *value {
	b.attrs = append(b.attrs, name)
	a := b.body.Attributes[name]
	if a == nil {
		return nil
	}
	v := &value{b: b, name: name, rng: a.Expr.Range()}
	e, ok := b.d.fold(a.Expr, b.service, false)
	if !ok {
		return nil
	}
	if lit, ok := e.(*hclsyntax.LiteralValueExpr); ok {
		v.Value = lit.Val
	} else if !b.symbolicStatic(v, e) {
		return nil
	}
	if v.IsNull() || !v.IsKnown() {
		return nil
	}
	if v.secret {
		b.d.tainted[b.taintKey(b.path+"."+name)] = true
	}
	if v.Type() != cty.String || v.AsString() != "" { // "" is the default: none
		b.d.warnNotYet(b.path+"."+name, a.NameRange, func() string { return fmt.Sprintf("%s of the %s", name, b.title) })
	}
	return v
}

// symbolicStatic evaluates what uses host.* and env.*.
func (b *block) symbolicStatic(v *value, e hclsyntax.Expression) bool {
	for _, r := range refsOf(e) {
		switch {
		case r.perInstance():
			b.d.errorAt("not_static", v.rng, fmt.Sprintf("%s cannot use %s: it is the same for all instances", v.name, r),
				"Only command, directory, env, env_file and the addresses and commands of checks may differ from instance to instance.")
			return false
		case r.root == "service":
			b.d.errorAt("not_static", v.rng, fmt.Sprintf("%s is not known here", r), "It has a value only inside a service block.")
			return false
		case r.root == "env":
			v.secret = true
		}
	}
	c, ok := b.d.compile(e, v.rng)
	if !ok {
		return false
	}
	got, err := c.eval(&Scope{Env: b.d.env, Host: b.d.host()}, false)
	if err != nil {
		b.d.errorAt("expression", v.rng, strings.TrimPrefix(err.Error(), "cannot evaluate the expression: "), "")
		return false
	}
	v.Value = got
	return true
}

// compile makes an expression of its own out of a folded one.
func (d *decoder) compile(e hclsyntax.Expression, rng hcl.Range) (*Compiled, bool) {
	text, ok := printExpr(e)
	if !ok {
		d.errorAt("too_large", rng, "the expression is longer than 1 MiB when its locals are put in", "Make it shorter.")
		return nil, false
	}
	d.spend(len(text))
	c, err := Compile(spec.Expr(text))
	if err != nil {
		d.errorAt("expression", rng, err.Error(), "")
		return nil, false
	}
	return c, true
}

func (b *block) string(name string, dst *string, example string) *value {
	v := b.static(name)
	if v == nil {
		return nil
	}
	if v.Type() != cty.String {
		v.wrongType("a string", example)
		return nil
	}
	if s := v.AsString(); strings.ContainsRune(s, 0) {
		v.bad(name+" holds a zero byte", "")
		return nil
	}
	*dst = v.AsString()
	return v
}

func (b *block) bool(name string, dst *bool) *value {
	v := b.static(name)
	if v == nil {
		return nil
	}
	if v.Type() != cty.Bool {
		v.wrongType("true or false", "true")
		return nil
	}
	*dst = v.True()
	b.d.warnNotYet(b.path+"."+name+"="+strconv.FormatBool(*dst), v.rng, func() string { return fmt.Sprintf("%s = %s", name, v.shown(*dst)) })
	return v
}

func (b *block) int(name string, dst *int, low, high int) *value {
	v := b.static(name)
	if v == nil {
		return nil
	}
	n, ok := v.asInt()
	if !ok {
		if v.Type() == cty.Number {
			v.bad(name+" must be a whole number", fmt.Sprintf("Write for example: %s = %d", name, max(low, 1)))
		} else {
			v.wrongType("a whole number", fmt.Sprint(max(low, 1)))
		}
		return nil
	}
	if n < int64(low) || n > int64(high) {
		v.bad(fmt.Sprintf("%s must be from %d to %d", name, low, high), "")
		return nil
	}
	*dst = int(n)
	return v
}

func (v *value) asInt() (int64, bool) {
	if v.Type() != cty.Number {
		return 0, false
	}
	f := v.AsBigFloat()
	if !f.IsInt() {
		return 0, false
	}
	n, accuracy := f.Int64()
	return n, accuracy == big.Exact
}

func (b *block) float(name string, dst *float64, low, high float64) *value {
	v := b.static(name)
	if v == nil {
		return nil
	}
	if v.Type() != cty.Number {
		v.wrongType("a number", fmt.Sprint(low))
		return nil
	}
	f, _ := v.AsBigFloat().Float64()
	if f < low || f > high {
		v.bad(fmt.Sprintf("%s must be from %v to %v", name, low, high), "")
		return nil
	}
	*dst = f
	return v
}

// parsed reads a string attribute of some syntax.
func parsed[T any](b *block, name string, dst *T, what, example string, parse func(string) (T, error)) *value {
	v := b.static(name)
	if v == nil {
		return nil
	}
	if v.Type() != cty.String {
		v.wrongType(what+" in quotes", example)
		return nil
	}
	x, err := parse(v.AsString())
	if err != nil {
		why := ": " + err.Error()
		if v.secret {
			why = "" // it may quote
		}
		v.bad(fmt.Sprintf("%s: %s is not %s%s", name, v.show(v.AsString()), what, why), fmt.Sprintf("Write for example: %s = %s", name, example))
		return nil
	}
	*dst = x
	return v
}

// duration reads a duration of at least low.
func (b *block) duration(name string, dst *time.Duration, low time.Duration) *value {
	var d time.Duration
	v := parsed(b, name, &d, "a duration", `"10s"`, spec.ParseDuration)
	if v == nil {
		return nil
	}
	if d < low {
		least := "above zero"
		if low > 1 {
			least = "at least " + low.String()
		}
		v.bad(fmt.Sprintf("%s must be %s", name, least), fmt.Sprintf("Write for example: %s = \"10s\"", name))
		return nil
	}
	*dst = d
	return v
}

// size reads a size or a share of the memory; "" is not given.
func (b *block) size(name string, dst *spec.Size) *value {
	return parsed(b, name, dst, "a size", `"256MiB" or "25%"`, orEmpty(spec.ParseSize))
}

func (b *block) rate(name string, dst *spec.Rate, example string) *value {
	return parsed(b, name, dst, "a rate", example, orEmpty(spec.ParseRate))
}

// orEmpty takes "" for the zero value: the language shows it as "none".
func orEmpty[T any](parse func(string) (T, error)) func(string) (T, error) {
	return func(s string) (T, error) {
		if s == "" {
			var zero T
			return zero, nil
		}
		return parse(s)
	}
}

// percent reads a percentage above 0 and at most high.
func (b *block) percent(name string, dst *float64, example string, high float64) *value {
	var p float64
	v := parsed(b, name, &p, "a percentage", `"`+example+`"`, spec.ParsePercent)
	if v == nil {
		return nil
	}
	if p <= 0 || p > high {
		v.bad(fmt.Sprintf("%s must be above 0%% and at most %v%%", name, high), fmt.Sprintf("Write for example: %s = %q", name, example))
		return nil
	}
	*dst = p
	return v
}

func (b *block) strings(name string, dst *[]string, example string) *value {
	v := b.static(name)
	if v == nil {
		return nil
	}
	list, err := toStrings(v.Value)
	if err != nil {
		b.d.errorAt("wrong_type", v.rng, fmt.Sprintf("%s: %v", name, err), fmt.Sprintf("Write for example: %s = %s", name, example))
		return nil
	}
	for _, s := range list {
		if strings.ContainsRune(s, 0) {
			v.bad(name+" holds a zero byte", "")
			return nil
		}
	}
	*dst = list
	return v
}

// enum reads one of a few words.
func enum[T ~string](b *block, name string, dst *T, choices ...T) *value {
	v := b.static(name)
	if v == nil {
		return nil
	}
	words := make([]string, len(choices))
	for i, c := range choices {
		words[i] = string(c)
	}
	if v.Type() != cty.String {
		v.wrongType("one of "+listing(words), fmt.Sprintf("%q", words[0]))
		return nil
	}
	s := v.AsString()
	if !slices.Contains(words, s) {
		detail := "It is one of " + listing(words) + "."
		if !v.secret {
			detail = didYouMean(s, words, detail)
		}
		v.bad(fmt.Sprintf("%s cannot be %s", name, v.show(s)), detail)
		return nil
	}
	*dst = T(s)
	b.d.warnNotYet(b.path+"."+name+"="+s, v.rng, func() string { return fmt.Sprintf("%s = %s", name, v.show(s)) })
	return v
}

func (b *block) signal(name string, dst *string) *value {
	v := b.static(name)
	if v == nil {
		return nil
	}
	s := ""
	switch n, isInt := v.asInt(); {
	case v.Type() == cty.String:
		s = v.AsString()
	case isInt:
		s = fmt.Sprint(n)
	default:
		v.wrongType("a signal", `"SIGTERM"`)
		return nil
	}
	canonical, err := spec.ParseSignal(s)
	if err != nil {
		detail := "Write for example \"SIGTERM\", \"TERM\" or \"15\"."
		if !v.secret {
			given := strings.ToUpper(s)
			if !strings.HasPrefix(given, "SIG") {
				given = "SIG" + given
			}
			detail = didYouMean(given, spec.Signals(), detail)
		}
		v.bad(fmt.Sprintf("%s: %s is not a signal", name, v.show(s)), detail)
		return nil
	}
	*dst = canonical
	return v
}
