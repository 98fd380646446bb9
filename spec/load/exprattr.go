package load

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"nines/spec"
)

// check judges the value that an expression has for a sample instance: it
// returns what is wrong, and what to write instead. It quotes the value only
// with show, which knows whether it may be a secret.
type check[T any] func(v T, show func(string) string) (wrong, detail string)

// exprString reads an attribute that may differ from instance to instance.
func (b *block) exprString(name string, dst *spec.Expr, example string, ok check[string]) *value {
	return readExpr(b, name, dst, "a string", example, toString, (*program).string, ok, (*printer).quoted)
}

func (b *block) exprStrings(name string, dst *spec.Expr, example string, ok check[[]string]) *value {
	return readExpr(b, name, dst, "a list of strings", example, toStrings, (*program).strings, ok, (*printer).strings)
}

func (b *block) exprMap(name string, dst *spec.Expr, example string, ok check[map[string]string]) *value {
	return readExpr(b, name, dst, "a map of strings", example, toMap, (*program).mapping, ok, (*printer).mapping)
}

// readExpr folds an attribute, tries it with a sample instance, and stores its
// text. What depends on nothing is stored as the literal of its value, which
// print prints.
func readExpr[T any](b *block, name string, dst *spec.Expr, want, example string, convert func(cty.Value) (T, error), run func(*program, *Scope) (T, bool), ok check[T], print func(*printer, T)) *value {
	b.attrs = append(b.attrs, name)
	a := b.body.Attributes[name]
	if a == nil {
		return nil
	}
	v := &value{b: b, name: name, rng: a.Expr.Range()}
	e, folded := b.d.fold(a.Expr, b.service, name == "env")
	if !folded {
		return nil
	}
	lit, constant := e.(*hclsyntax.LiteralValueExpr)
	text := ""
	var got T
	var err error
	if constant {
		if lit.Val.IsNull() {
			return nil
		}
		v.Value = lit.Val
		got, err = convert(v.Value)
	} else {
		c, usable := b.compileExpr(v, e)
		if !usable {
			return nil
		}
		text = string(c.text)
		s := b.sampleScope()
		done := false
		if got, done = run(c.program, s); !done {
			if !b.sample(v, c, s) {
				return nil
			}
			if v.Value == cty.NilVal {
				*dst = spec.Expr(text) // cannot be tried here, and a warning says why
				return v
			}
			got, err = convert(v.Value)
		}
	}
	if err != nil {
		if v.secret {
			err = fmt.Errorf("%s is expected", want) // it may quote a key
		}
		b.d.errorAt("wrong_type", v.rng, fmt.Sprintf("%s: %v", name, err), fmt.Sprintf("Write for example: %s = %s", name, example))
		return nil
	}
	if ok != nil {
		if wrong, detail := ok(got, v.show); wrong != "" {
			v.bad(wrong, detail)
			return nil
		}
	}
	if constant {
		p := &printer{}
		print(p, got)
		text = p.b.String()
	}
	*dst = spec.Expr(text)
	return v
}

// compileExpr compiles an expression that may use what it refers to.
func (b *block) compileExpr(v *value, e hclsyntax.Expression) (*Compiled, bool) {
	for _, r := range refsOf(e) {
		if !b.refAllowed(v, r) {
			return nil, false
		}
	}
	c, ok := b.d.compile(e, v.rng)
	if !ok {
		return nil, false
	}
	v.secret = c.secret()
	return c, true
}

// sampleScope is what instance 0 would see.
func (b *block) sampleScope() *Scope {
	s := &Scope{Env: b.d.env, Host: b.d.host()}
	if svc := b.service; svc != nil {
		s.Service, s.Ports = svc.name, svc.portBases
		s.ReleasePath, s.ReleaseID = svc.release, strings.Repeat("0", 64)
	}
	return s
}

// sample evaluates an expression. The value stays empty where a variable of the
// environment is not set here: it may be where the service runs.
func (b *block) sample(v *value, c *Compiled, s *Scope) bool {
	got, err := c.eval(s, v.name == "env")
	var unset *UnsetError
	switch {
	case errors.As(err, &unset):
		b.d.warnAt("env_not_set", v.rng, fmt.Sprintf("%s needs env.%s, which is not set here", v.name, unset.Name),
			fmt.Sprintf("Set it where the service will run, or write coalesce(env.%s, \"default\").", unset.Name))
	case err != nil:
		b.d.errorAt("expression", v.rng, strings.TrimPrefix(err.Error(), "cannot evaluate the expression: "), "")
		return false
	default:
		v.Value = got
	}
	return true
}

func (b *block) refAllowed(v *value, r ref) bool {
	svc := b.service
	if svc == nil {
		if r.perInstance() || r.root == "service" {
			b.d.errorAt("not_static", v.rng, fmt.Sprintf("%s is not known here", r), "It has a value only inside a service block.")
			return false
		}
		return true
	}
	switch r.root {
	case "port":
		if !slices.Contains(svc.ports, r.name) {
			b.d.errorAt("unknown_value", v.rng, fmt.Sprintf("service %q has no port %q", svc.name, r.name),
				didYouMean(r.name, svc.ports, fmt.Sprintf("Add a block: port %q { }", r.name)))
			return false
		}
	case "release":
		if !svc.hasRelease {
			b.d.errorAt("unknown_value", v.rng, fmt.Sprintf("%s is used, but service %q has no release block", r, svc.name),
				"Add a block: release { path = \"/opt/web/web\" }")
			return false
		}
	}
	return true
}
