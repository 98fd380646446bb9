package load

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"nines/spec"
)

// Scope is what the names in an expression stand for, for one instance. What
// an expression does not refer to need not be set.
type Scope struct {
	Service     string // name of the service
	Index       int
	Ports       map[string]int
	ReleasePath string
	ReleaseID   string
	Env         func(name string) (string, bool) // nil: the process's own environment
	Host        *Host                            // nil: this machine
}

// Host is what host.* stands for.
type Host struct {
	Name   string
	CPUs   int
	Memory uint64 // bytes: the machine's, or the container's limit
}

// UnsetError says that an expression needs an environment variable that is not
// set.
type UnsetError struct{ Name string }

func (e *UnsetError) Error() string {
	return fmt.Sprintf("cannot evaluate env.%s: the environment variable is not set: set it, or write coalesce(env.%s, \"default\")", e.Name, e.Name)
}

// Compiled is an expression that has been parsed. It may be evaluated by
// several goroutines at once; what it evaluates to is the caller's.
type Compiled struct {
	text    spec.Expr
	refs    []ref
	program *program                // nil: only HCL can evaluate it
	parsed  atomic.Pointer[hclExpr] // parsed by HCL; with a program, when it is first needed
}

// hclExpr is an expression as HCL evaluates it.
type hclExpr struct {
	expr  hclsyntax.Expression
	value cty.Value // where there is nothing to refer to
	funcs functionTable
}

// Compile parses an expression that Load made. The empty Expr is refused.
func Compile(e spec.Expr) (*Compiled, error) {
	if e == "" {
		return nil, errors.New("cannot evaluate an expression that was not given")
	}
	if p := parseProgram(e); p != nil {
		return &Compiled{text: e, refs: p.refs, program: p}, nil
	}
	h, refs, err := compileHCL(e)
	if err != nil {
		return nil, err
	}
	c := &Compiled{text: e, refs: refs}
	c.parsed.Store(h)
	return c, nil
}

// hcl returns the expression as HCL evaluates it.
func (c *Compiled) hcl() (*hclExpr, error) {
	if h := c.parsed.Load(); h != nil {
		return h, nil
	}
	h, _, err := compileHCL(c.text)
	if err != nil {
		return nil, err
	}
	c.parsed.Store(h) // if another goroutine did the same, either will do
	return h, nil
}

// compileHCL parses an expression with HCL, and evaluates it if it is constant.
func compileHCL(e spec.Expr) (*hclExpr, []ref, error) {
	if len(e) > maxFile {
		return nil, nil, fmt.Errorf("cannot read the expression: it is longer than %s", spec.FormatBytes(maxFile))
	}
	src := []byte(e)
	tokens, _ := hclsyntax.LexExpression(src, "", hcl.InitialPos) // the parser reports bad tokens
	if _, what := checkNesting(tokens); what != "" {
		return nil, nil, fmt.Errorf("cannot read the expression: %s", what)
	}
	expr, diags := parseExpression(src, "", hcl.InitialPos)
	if diags.HasErrors() {
		return nil, nil, fmt.Errorf("cannot read the expression: %s", reason(diags, false))
	}
	h, refs := &hclExpr{}, refsOf(expr)
	if strings.Contains(string(e), "(") { // else it calls nothing, and the table is not cheap
		h.funcs = functions()
	}
	for _, t := range expr.Variables() {
		if r, summary, _ := refOf(t); summary != "" {
			return nil, nil, fmt.Errorf("cannot read the expression: %s", summary)
		} else if r.root == "local" || r.root == "service" {
			return nil, nil, fmt.Errorf("cannot read the expression: %s is not known here", r)
		}
	}
	h.expr = charged(meter(expr))
	if len(refs) == 0 {
		v, diags := evaluate(h.expr, nil, h.funcs, &budget{left: maxWork})
		if diags.HasErrors() {
			return nil, nil, fmt.Errorf("cannot evaluate the expression: %s", reason(diags, false))
		}
		h.value = v
	}
	return h, refs, nil
}

func parseExpression(src []byte, file string, start hcl.Pos) (e hclsyntax.Expression, diags hcl.Diagnostics) {
	defer func() {
		if p := recover(); p != nil {
			e, diags = nil, hcl.Diagnostics{{Severity: hcl.DiagError, Summary: "The parser failed", Detail: fmt.Sprint(p)}}
		}
	}()
	return hclsyntax.ParseExpression(src, file, start)
}

// reason puts the first error into words. HCL's and cty's details may quote
// values, so where a value may be a secret only the summary is used.
func reason(diags hcl.Diagnostics, secret bool) string {
	for _, d := range diags {
		if d.Severity != hcl.DiagError {
			continue
		}
		if d.Detail == "" || secret {
			return lowerFirst(d.Summary)
		}
		return lowerFirst(d.Summary) + ": " + d.Detail
	}
	return "unknown reason"
}

// PerInstance tells whether the value may differ from instance to instance.
// If not, one evaluation serves all.
func (c *Compiled) PerInstance() bool {
	for _, r := range c.refs {
		if r.perInstance() {
			return true
		}
	}
	return false
}

// secret tells whether the value may hold one of the environment.
func (c *Compiled) secret() bool {
	for _, r := range c.refs {
		if r.root == "env" {
			return true
		}
	}
	return false
}

// eval returns the value in a scope. quiet says that an error must not quote
// what the expression is made of.
func (c *Compiled) eval(s *Scope, quiet bool) (cty.Value, error) {
	h, err := c.hcl()
	if err != nil {
		return cty.NilVal, err
	}
	if h.value != cty.NilVal {
		return h.value, nil
	}
	vars, unset, err := c.variables(s)
	if err != nil {
		return cty.NilVal, err
	}
	v, diags := evaluate(h.expr, vars, h.funcs, &budget{left: maxWork})
	if diags.HasErrors() {
		if unset != "" {
			return cty.NilVal, &UnsetError{unset}
		}
		return cty.NilVal, fmt.Errorf("cannot evaluate the expression: %s", reason(diags, quiet || c.secret()))
	}
	if unset != "" && hasNull(v) {
		return cty.NilVal, &UnsetError{unset}
	}
	return v, nil
}

func hasNull(v cty.Value) bool {
	if v.IsNull() {
		return true
	}
	if v.CanIterateElements() {
		for it := v.ElementIterator(); it.Next(); {
			if _, e := it.Element(); e.IsNull() {
				return true
			}
		}
	}
	return false
}

// variables makes the objects that the references name, with only what is
// referred to in them, and returns the first environment variable that is not
// set.
func (c *Compiled) variables(s *Scope) (vars map[string]cty.Value, unset string, err error) {
	if s == nil {
		s = &Scope{}
	}
	host := s.Host
	members := map[string]map[string]cty.Value{}
	for _, r := range c.refs {
		var v cty.Value
		switch r.root {
		case "instance":
			if v = cty.NumberIntVal(int64(s.Index)); r.name == "id" {
				v = cty.StringVal(s.Service + "/" + strconv.Itoa(s.Index))
			}
		case "port":
			n, ok := s.Ports[r.name]
			if !ok {
				return nil, "", fmt.Errorf("cannot evaluate port.%s: there is no such port here", r.name)
			}
			v = cty.NumberIntVal(int64(n))
		case "release":
			if v = cty.StringVal(s.ReleasePath); r.name == "id" {
				v = cty.StringVal(s.ReleaseID)
			}
		case "env":
			lookup := s.Env
			if lookup == nil {
				lookup = os.LookupEnv
			}
			text, ok := lookup(r.name)
			if v = cty.StringVal(text); !ok {
				if v = cty.NullVal(cty.String); unset == "" {
					unset = r.name
				}
			}
		case "host":
			if host == nil {
				if host, err = ThisHost(); err != nil {
					return nil, "", err
				}
			}
			v = host.value(r.name)
		}
		if members[r.root] == nil {
			members[r.root] = map[string]cty.Value{}
		}
		members[r.root][r.name] = v
	}
	vars = make(map[string]cty.Value, len(members))
	for root, m := range members {
		vars[root] = cty.ObjectVal(m)
	}
	return vars, unset, nil
}

func (h *Host) value(name string) cty.Value {
	switch name {
	case "cpus":
		return cty.NumberIntVal(int64(h.CPUs))
	case "memory":
		return cty.NumberUIntVal(h.Memory)
	}
	return cty.StringVal(h.Name)
}

// String evaluates to a string; numbers and bools become one.
func (c *Compiled) String(s *Scope) (string, error) {
	if got, ok := c.program.string(s); ok {
		return got, nil
	}
	v, err := c.eval(s, false)
	if err != nil {
		return "", err
	}
	return toString(v)
}

// Strings evaluates to a list of strings.
func (c *Compiled) Strings(s *Scope) ([]string, error) {
	if got, ok := c.program.strings(s); ok {
		return got, nil
	}
	v, err := c.eval(s, false)
	if err != nil {
		return nil, err
	}
	return toStrings(v)
}

// Map evaluates to a map of strings: an environment, so errors quote nothing
// of it.
func (c *Compiled) Map(s *Scope) (map[string]string, error) {
	if got, ok := c.program.mapping(s); ok {
		return got, nil
	}
	v, err := c.eval(s, true)
	if err != nil {
		return nil, err
	}
	return toMap(v)
}

// String evaluates an expression to a string. Whoever evaluates it more than
// once compiles it once.
func String(e spec.Expr, s *Scope) (string, error) {
	c, err := Compile(e)
	if err != nil {
		return "", err
	}
	return c.String(s)
}

// Strings evaluates an expression to a list of strings.
func Strings(e spec.Expr, s *Scope) ([]string, error) {
	c, err := Compile(e)
	if err != nil {
		return nil, err
	}
	return c.Strings(s)
}

// Map evaluates an expression to a map of strings.
func Map(e spec.Expr, s *Scope) (map[string]string, error) {
	c, err := Compile(e)
	if err != nil {
		return nil, err
	}
	return c.Map(s)
}

// PerInstance tells whether an expression depends on instance.*, port.* or
// release.*; else one evaluation serves all instances. What cannot be read
// counts as such.
func PerInstance(e spec.Expr) bool {
	c, err := Compile(e)
	return err != nil || c.PerInstance()
}
