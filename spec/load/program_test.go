package load

import (
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"nines/spec"
)

// sameProgram checks that a program gives what HCL gives, whatever the scope.
// It tells whether the text is a program.
func sameProgram(t *testing.T, text string) bool {
	t.Helper()
	p := parseProgram(spec.Expr(text))
	if p == nil {
		return false
	}
	h, refs, err := compileHCL(spec.Expr(text))
	if err != nil {
		t.Fatalf("%q is a program, and for HCL %v", text, err)
	}
	if !slices.Equal(refs, p.refs) {
		t.Fatalf("%q: refers to %v, and for HCL %v", text, p.refs, refs)
	}
	fast, slow := &Compiled{text: spec.Expr(text), refs: refs, program: p}, &Compiled{text: spec.Expr(text), refs: refs}
	slow.parsed.Store(h)
	full := testScope()
	full.Ports = map[string]int{"http": 80, "x-y": 65535}
	wide := *full
	wide.Service, wide.ReleasePath = "wéb", "e\u0301"
	wide.Env = func(string) (string, bool) { return "e\u0301 \x00\xff", true }
	long := *full
	long.Env = func(string) (string, bool) { return strings.Repeat("x", 3*maxProgram), true }
	for name, s := range map[string]*Scope{"full": full, "none": nil, "no host": {Env: full.Env, Ports: full.Ports}, "wide": &wide, "long": &long} {
		a, err1 := fast.String(s)
		b, err2 := slow.String(s)
		if a != b || !sameError(err1, err2) {
			t.Fatalf("%s: %q is %q (%v), and for HCL %q (%v)", name, text, a, err1, b, err2)
		}
		c, err1 := fast.Strings(s)
		d, err2 := slow.Strings(s)
		if !slices.Equal(c, d) || (c == nil) != (d == nil) || !sameError(err1, err2) {
			t.Fatalf("%s: %q is %q (%v), and for HCL %q (%v)", name, text, c, err1, d, err2)
		}
		e, err1 := fast.Map(s)
		f, err2 := slow.Map(s)
		if !maps.Equal(e, f) || (e == nil) != (f == nil) || !sameError(err1, err2) {
			t.Fatalf("%s: %q is %q (%v), and for HCL %q (%v)", name, text, e, err1, f, err2)
		}
	}
	return true
}

func sameError(a, b error) bool {
	var x, y *UnsetError
	return errors.As(a, &x) == errors.As(b, &y) && (a == nil) == (b == nil) && (a == nil || a.Error() == b.Error())
}

func TestProgram(t *testing.T) {
	for text, is := range map[string]bool{
		`""`:                                 true,
		`"a b"`:                              true,
		`"5% $1 a$ b%"`:                      true,
		`"a\"\\\n\r\t"`:                      true,
		`"${instance.index}"`:                true,
		`"a$${b}"`:                           false,
		`"a\$${env.HOME}"`:                   false,
		`"x ${instance.index} y${env.HOME}"`: true,
		`instance.id`:                        true,
		`tostring(port.http)`:                true,
		`tostring("a")`:                      false,
		`port.x-y`:                           true,
		`port.none`:                          true,
		`env.UNSET`:                          true,
		`[]`:                                 true,
		`["a", env.UNSET, host.memory]`:      true,
		`["a", 1, 0, 999999999999999]`:       true,
		`["a", 01]`:                          false,
		`["a",]`:                             false,
		`["a" "b"]`:                          false,
		`[for.x]`:                            false,
		`[local.x]`:                          false,
		`[instance.x]`:                       false,
		`["\u0041"]`:                         false,
		`["é"]`:                              false,
		`["a", ["b"]]`:                       false,
		`{}`:                                 true,
		`{ }`:                                true,
		`{ A = "x", "b.c" = host.name, A = release.id, D = "${host.cpus}" }`: true,
		`{ for = "x" }`:         false,
		`{ (A) = "x" }`:         false,
		`{ "${A}" = "x" }`:      false,
		`"a`:                    false,
		`"a\`:                   false,
		`"${env.HOME`:           false,
		`"%{if true}a%{endif}"`: false,
		`"~${~env.HOME}"`:       false,
		`env.HOME + 1`:          false,
		`1.5`:                   false,
	} {
		if got := sameProgram(t, text); got != is {
			t.Errorf("%s: a program is %v", text, got)
		}
	}
}

// TestProgramRandom puts pieces of expressions together at random.
func TestProgramRandom(t *testing.T) {
	pieces := []string{
		`"`, `"`, `"`, `"a"`, `""`, "a", " ", "$", "%", "${", "}", "{", `\`, `\n`, `\"`, `\\`, "~", "é", "\n", "#", ".",
		"[", "]", ", ", ",", "{ ", " }", " = ", "=", "A", "for", "null", "true", "1", "0", "42", "-", "(", ")",
		"env.HOME", "env.UNSET", "port.http", "port.none", "instance.id", "instance.index", "host.name", "release.path", "${env.HOME}", "${host.cpus}", "tostring(",
	}
	shapes := [][2]string{{"", ""}, {`"`, `"`}, {`["`, `"]`}, {"[", "]"}, {"{ A = ", " }"}, {`{ A = "`, `" }`}, {`["a", "`, `", port.http]`}}
	r := rand.New(rand.NewPCG(1, 2))
	n := 0
	for range 6_000 {
		shape := shapes[r.IntN(len(shapes))]
		text := shape[0]
		for range 1 + r.IntN(5) {
			text += pieces[r.IntN(len(pieces))]
		}
		if sameProgram(t, text+shape[1]) {
			n++
		}
	}
	t.Logf("%d programs", n)
	if n < 1000 {
		t.Errorf("only %d were programs", n)
	}
}

// TestProgramCopies: what an evaluation returns is the caller's.
func TestProgramCopies(t *testing.T) {
	list, m := mustCompile(t, `["a", "b"]`), mustCompile(t, `{ A = "b" }`)
	for range 2 {
		got, err := list.Strings(nil)
		if err != nil || !slices.Equal(got, []string{"a", "b"}) {
			t.Fatalf("%v %v", got, err)
		}
		got[0] = "changed"
		env, err := m.Map(nil)
		if err != nil || len(env) != 1 || env["A"] != "b" {
			t.Fatalf("%v %v", env, err)
		}
		env["A"] = "changed"
	}
}

func mustCompile(t *testing.T, e spec.Expr) *Compiled {
	t.Helper()
	c, err := Compile(e)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestProgramCanonical: what Load makes of plain attributes are programs.
func TestProgramCanonical(t *testing.T) {
	p := oneService(t, "command = [\"/bin/x\", \"-p\", port.http, \"${env.HOME}/a\", 5, \"${instance.index}\"]\nenv = {\n B = \"50%\"\n A = \"a${instance.id}\"\n}\ndirectory = \"/x\"\nport \"http\" {\n}").Process
	for _, e := range []spec.Expr{p.Command, p.Env, p.Directory} {
		if parseProgram(e) == nil {
			t.Errorf("not a program: %s", e)
		}
	}
}
