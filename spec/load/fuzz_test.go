package load

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nines/spec"
)

// FuzzLoad: no input panics, hangs or shows a variable of the environment, and
// what loads can be evaluated and loads again from its own expressions.
func FuzzLoad(f *testing.F) {
	for _, pattern := range []string{"testdata/*.hcl", "testdata/diagnostics/*.hcl", "testdata/diagnostics/folder/*.hcl"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatalf("%s: %v", pattern, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Add([]byte(thousand(2)))
	const secret = "s3cr3t-0f-the-fuzzer"
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 64<<10 || bytes.Contains(data, []byte(secret)) {
			return
		}
		file := filepath.Join(t.TempDir(), "x.hcl")
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		o := testOptions()
		o.Environ = []string{"SECRET=" + secret, "HOME=" + secret}
		s, diags := Load([]string{file}, o)
		if (s == nil) != diags.HasErrors() {
			t.Fatalf("nil is %v, errors %v", s == nil, diags.HasErrors())
		}
		text := render(t, diags)
		if strings.Contains(text, secret) {
			t.Fatalf("a secret is shown:\n%s", text)
		}
		if strings.ContainsAny(strings.ReplaceAll(text, file, ""), "\x1b\x00\r") {
			t.Fatalf("control characters reach the terminal: %q", text)
		}
		if s == nil {
			return
		}
		for _, v := range s.Services {
			evaluateAll(t, v)
		}
	})
}

func evaluateAll(t *testing.T, v *spec.Service) {
	t.Helper()
	scope := testScope()
	scope.Ports = map[string]int{}
	for _, p := range v.Ports {
		scope.Ports[p.Name] = 1
	}
	p := v.Process
	for _, e := range []spec.Expr{p.Command, p.Directory, p.Env, p.EnvFile, v.Stop.Command} {
		if e == "" {
			continue
		}
		if _, err := Compile(e); err != nil {
			t.Fatalf("%s of %s: %v", e, v.Name, err)
		}
	}
	// An error is allowed here: it may depend on the index or the environment.
	if list, err := Strings(p.Command, scope); err == nil && len(list) == 0 && !PerInstance(p.Command) {
		t.Fatalf("%s has an empty command: %s", v.Name, p.Command)
	}
}

// FuzzExpr: no expression panics or hangs, and a program gives what HCL gives.
func FuzzExpr(f *testing.F) {
	for _, e := range []string{`"x"`, `["a", instance.index]`, `{ A = env.B }`, `[for x in range(3) : "${x}"]`, `join(",", [1, 2])[0]`, `format("%5d", 1)`, `a ? b : c`, `[1][*].x`, `"%{ if true }x%{ endif }"`,
		`["a\\\"b", "${instance.index}$", tostring(port.http), 42]`, `{ A = "x${env.UNSET}", "b.c" = host.name }`} {
		f.Add(e)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 16<<10 {
			return
		}
		sameProgram(t, text)
		c, err := Compile(spec.Expr(text))
		if err != nil {
			return
		}
		if list, err := c.Strings(testScope()); err == nil {
			n := 0
			for _, s := range list {
				n += len(s)
			}
			if n > maxValue {
				t.Fatalf("%d bytes", n)
			}
		}
	})
}
