package load

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"pgregory.net/rapid"

	"nines/spec"
)

func testScope() *Scope {
	return &Scope{
		Service: "web", Index: 2, Ports: map[string]int{"http": 8080}, ReleasePath: "/store/abc", ReleaseID: "abc",
		Env:  func(name string) (string, bool) { return "v-" + name, name != "UNSET" },
		Host: &Host{Name: "alpha", CPUs: 4, Memory: 1 << 30},
	}
}

// TestExpr: what an attribute is stored as, and what that evaluates to.
func TestExpr(t *testing.T) {
	const prelude = `
locals {
  port  = 8080
  text  = "t"
  list  = ["a", 1]
  sym   = "${env.A}:${local.port}"
  part  = { n = 1, e = env.B, deep = { x = [instance.index, "y"] } }
  mine  = "${service.name}-${instance.index}"
  sum   = instance.index + 1
  quote = "a\"b\\c$${d}%%{e}\n\t\u001b"
}
service "web" {
  port "http" {
  }
  release {
    path = "/opt/web"
  }
  command = [%EXPR%]
}
`
	for _, test := range []struct {
		expr string // as the one element of command
		text string // stored; "" = the literal of want
		want string
	}{
		{`"x"`, ``, "x"},
		{`8080`, ``, "8080"},
		{`1.5`, ``, "1.5"},
		{`true`, ``, "true"},
		{`local.port`, ``, "8080"},
		{`"p${local.port}"`, ``, "p8080"},
		{`"p${local.port + 1}/${instance.index}"`, `"p8081/${instance.index}"`, "p8081/2"},
		{`"${instance.index}"`, `instance.index`, "2"},
		{`"${local.text}${instance.index}${local.text}"`, `"t${instance.index}t"`, "t2t"},
		{`local.sym`, `"${env.A}:8080"`, "v-A:8080"},
		{`"x${local.sym}y"`, `"x${env.A}:8080y"`, "xv-A:8080y"},
		{`local.part.n`, ``, "1"},
		{`local.part.e`, `env.B`, "v-B"},
		{`local.part["e"]`, `env.B`, "v-B"},
		{`local.part.deep.x[0]`, `instance.index`, "2"},
		{`local.part.deep.x[1]`, ``, "y"},
		{`local.mine`, `"web-${instance.index}"`, "web-2"},
		{`local.sum * 2`, `(instance.index + 1) * 2`, "6"},
		{`service.name`, ``, "web"},
		{`instance.id`, `instance.id`, "web/2"},
		{`host.name`, `host.name`, "alpha"},
		{`host.cpus * 2`, `host.cpus * 2`, "8"},
		{`host.memory`, `host.memory`, "1073741824"},
		{`port.http`, `port.http`, "8080"},
		{`port.http   +    instance.index`, `port.http + instance.index`, "8082"},
		{`release.path`, `release.path`, "/store/abc"},
		{`release.id`, `release.id`, "abc"},
		{`env.HOME`, `env.HOME`, "v-HOME"},
		{`env["HOME"]`, `env.HOME`, "v-HOME"},
		{`env["A-B C"]`, `env["A-B C"]`, "v-A-B C"},
		{`coalesce(env.UNSET, "d")`, `coalesce(env.UNSET, "d")`, "d"},
		{`upper("${local.text}x")`, ``, "TX"},
		{`upper(instance.id)`, `upper(instance.id)`, "WEB/2"},
		{`format("%s-%03d", local.text, instance.index)`, `format("%s-%03d", "t", instance.index)`, "t-002"},
		{`join(",", local.list)`, ``, "a,1"},
		{`join(",", [for i in range(3) : "${i}:${instance.index}"])`, `join(",", [for i in [0, 1, 2] : "${i}:${instance.index}"])`, "0:2,1:2,2:2"},
		{`join(",", [for i, x in local.list : "${i}${x}" if i > 0])`, ``, "11"},
		{`join(",", keys({for k in ["b", "a"] : k => instance.index}))`, `join(",", keys({for k in ["b", "a"] : k => instance.index}))`, "a,b"},
		{`instance.index == 0 ? "first" : "other"`, `instance.index == 0 ? "first" : "other"`, "other"},
		{`local.port > 80 ? "high" : "low"`, ``, "high"},
		{`!(instance.index > 1 && true)`, `!(instance.index > 1 && true)`, "false"},
		{`-instance.index`, `-instance.index`, "-2"},
		{`["a", "b", "c"][instance.index]`, `(["a", "b", "c"])[instance.index]`, "c"},
		{`{ x = instance.index, a = "1" }.x`, `({ a = "1", x = instance.index }).x`, "2"},
		{`join("", [{ n = instance.index }, { n = 5 }][*].n)`, `join("", ([{ n = instance.index }, { n = 5 }])[*].n)`, "25"},
		{`"%{ if instance.index > 1 }big%{ else }small%{ endif }"`, `tostring(instance.index > 1 ? "big" : "small")`, "big"},
		{`"a%{ for i in [1, 2] }${i}-${instance.index},%{ endfor }"`, `"a${join("", [for i in [1, 2] : "${i}-${instance.index},"])}"`, "a1-2,2-2,"},
		{`local.quote`, ``, "a\"b\\c${d}%{e}\n\t\x1b"},
		{`"$${x}${instance.index}$"`, `"\u0024{x}${instance.index}$"`, "${x}2$"},
		{`"$${instance.index}"`, ``, "${instance.index}"},
		{`"100%${instance.index}"`, `"100\u0025${instance.index}"`, "100%2"},
		{`"$$${instance.index}"`, ``, ""},
		{`"ü€😀"`, ``, "ü€😀"},
		{`(("x"))`, ``, "x"},
		{`((instance.index))`, `(instance.index)`, "2"},
		{`basename("/a/b") == "b" && startswith("abc", "ab") ? dirname("/a/b") : ""`, ``, "/a"},
		{`tonumber("5") + 1`, ``, "6"},
		{`length("abc") + length([1, 2])`, ``, "5"},
		{`element(split(",", "a,b"), 1)`, ``, "b"},
		{`replace("a-b", "-", "_")`, ``, "a_b"},
		{`regexreplace("a1b2", "[0-9]", "#")`, ``, "a#b#"},
		{`trimprefix("v1", "v")`, ``, "1"},
		{`min(3, host.cpus)`, `min(3, host.cpus)`, "3"},
	} {
		if test.want == "" && test.text == "" {
			continue
		}
		s := mustLoad(t, strings.ReplaceAll(prelude, "%EXPR%", test.expr))
		got := s.Services[0].Process.Command
		if want := spec.Expr("[" + test.text + "]"); test.text != "" && got != want {
			t.Errorf("%s is stored as %s, want %s", test.expr, got, want)
		}
		if test.text == "" && PerInstance(got) {
			t.Errorf("%s is stored as %s, which depends on the instance", test.expr, got)
		}
		list, err := Strings(got, testScope())
		if err != nil || len(list) != 1 || list[0] != test.want {
			t.Errorf("%s (%s) is %q, %v; want %q", test.expr, got, list, err, test.want)
		}
		// What is stored folds to itself.
		again := mustLoad(t, strings.ReplaceAll(prelude, "[%EXPR%]", string(got)))
		if again.Services[0].Process.Command != got {
			t.Errorf("%s is stored as %s, and that as %s", test.expr, got, again.Services[0].Process.Command)
		}
	}
}

func TestExprFormatting(t *testing.T) {
	a := oneService(t, "env = {\n  B = \"x${ instance.index }\" # why\n  A   =   1\n}")
	b := oneService(t, "env = { A = 1, B = \"x${instance.index}\" }")
	if a.Process.Env != b.Process.Env {
		t.Errorf("%s differs from %s", a.Process.Env, b.Process.Env)
	}
	m, err := Map(a.Process.Env, testScope())
	if diff := cmp.Diff(map[string]string{"A": "1", "B": "x2"}, m); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func TestPerInstance(t *testing.T) {
	for text, want := range map[spec.Expr]bool{
		`"x"`: false, `env.A`: false, `"${host.name}"`: false, `instance.index`: true, `"${port.http}"`: true,
		`[release.path]`: true, `{ A = instance.id }`: true, `[for x in ["instance"] : x]`: false, `not readable(`: true,
	} {
		if got := PerInstance(text); got != want {
			t.Errorf("PerInstance(%s) is %v", text, got)
		}
	}
}

func TestEvalErrors(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{``, "was not given"},
		{`[`, "cannot read the expression"},
		{strings.Repeat("[", 300) + strings.Repeat("]", 300), "nested deeper than 200"},
		{`local.x`, "local.x is not known here"},
		{`service.name`, "service.name is not known here"},
		{`nonsense.x`, `no value called "nonsense"`},
		{`port.none`, "no such port"},
		{`env.UNSET`, "not set"},
		{`"${env.UNSET}x"`, "not set"},
		{`["x"]`, "a string is expected"},
		{`{ a = 1 }`, "a string is expected"},
		{`instance.index + "x"`, "cannot evaluate"},
		{`nofunc(1)`, "cannot"},
	} {
		if _, err := String(spec.Expr(test.text), testScope()); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%.40s: %v; want %q", test.text, err, test.want)
		}
	}
	var unset *UnsetError
	if _, err := Strings(`[env.UNSET]`, testScope()); !errors.As(err, &unset) || unset.Name != "UNSET" {
		t.Errorf("%v is no UnsetError", err)
	}
	if _, err := Strings(`"x"`, nil); err == nil {
		t.Error("a string is no list")
	}
	if _, err := Map(`["x"]`, nil); err == nil {
		t.Error("a list is no map")
	}
	if _, err := Map(`{ A = [1] }`, nil); err == nil {
		t.Error("a list is no string")
	}
	secret := &Scope{Env: func(string) (string, bool) { return "hunter2", true }}
	for _, e := range []spec.Expr{`parseint(env.A, 10)`, `tonumber(env.A) + 1`, `[env.A][env.A]`, `{ a = 1 }[env.A]`, `format(env.A, 1)`, `regex(env.A, "(")`, `jsondecode(env.A)`, `env.A + 1`} {
		if _, err := String(e, secret); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", e, err)
		}
	}
	if _, err := Map(`{ A = parseint("hunter2", instance.index) }`, testScope()); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v", err)
	}
}

func TestCompiledConcurrently(t *testing.T) {
	c, err := Compile(`join(",", [for x in [instance.index, instance.index + 1] : "${x}"])`)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 100 {
				if _, err := c.String(&Scope{Index: i}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// TestRealScope evaluates with this process's environment and machine.
func TestRealScope(t *testing.T) {
	t.Setenv("NINES_TEST_VALUE", "x")
	got, err := Strings(`[env.NINES_TEST_VALUE, host.cpus > 0, host.memory > 0, host.name != ""]`, nil)
	if diff := cmp.Diff([]string{"x", "true", "true", "true"}, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

// TestPrintedValues: any string and list of strings comes back from its
// canonical text.
func TestPrintedValues(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		alphabet := rapid.SampledFrom([]rune("ab$%{}\"\\~ \n\r\t\x00\x1b\u0301éü€😀\u2028\ufeff#"))
		var values []cty.Value
		for _, s := range rapid.SliceOfN(rapid.StringOfN(alphabet, 0, 12, -1), 0, 4).Draw(t, "strings") {
			values = append(values, cty.StringVal(s))
		}
		values = append(values, cty.NumberFloatVal(float64(rapid.Int32().Draw(t, "n"))/8))
		v := cty.TupleVal(values)
		p := &printer{}
		p.value(v)
		e, diags := hclsyntax.ParseExpression([]byte(p.b.String()), "", hcl.InitialPos)
		if diags.HasErrors() {
			t.Fatalf("%s: %v", p.b.String(), diags)
		}
		got, diags := e.Value(nil)
		if diags.HasErrors() || !got.RawEquals(v) {
			t.Fatalf("%#v printed as %s comes back as %#v: %v", v, p.b.String(), got, diags)
		}
	})
}

// TestTemplateParts: literal parts beside interpolations come back too.
func TestTemplateParts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		alphabet := rapid.SampledFrom([]rune("a$%{}\"\\~"))
		want, parts := "", []hclsyntax.Expression(nil)
		for range rapid.IntRange(1, 5).Draw(t, "parts") {
			s := rapid.StringOfN(alphabet, 0, 4, -1).Draw(t, "s")
			parts = append(parts, literal(cty.StringVal(s), hcl.Range{}), &hclsyntax.ScopeTraversalExpr{Traversal: hcl.Traversal{hcl.TraverseRoot{Name: "instance"}, hcl.TraverseAttr{Name: "index"}}})
			want += s + "7"
		}
		text, _ := printExpr(&hclsyntax.TemplateExpr{Parts: parts})
		if got, err := String(spec.Expr(text), &Scope{Index: 7}); err != nil || got != want {
			t.Fatalf("%s is %q, %v; want %q", text, got, err, want)
		}
	})
}
