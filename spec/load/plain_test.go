package load

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// samePlain checks that what the plain reader accepts HCL's parser accepts too,
// that both make the same nodes, and that it is not deep. It tells whether the
// plain reader accepted it.
func samePlain(t *testing.T, data []byte) bool {
	t.Helper()
	src := &source{name: "x.hcl", data: data}
	if n, most := tokenCount(data), mostTokens(data); n > most {
		t.Fatalf("%q has %d tokens, and mostTokens says %d", data, n, most)
	}
	if !utf8.Valid(data) || strings.ContainsRune(string(data), 0) {
		return false
	}
	got, items := newPlain(src.name, data, maxTokens).file()
	if got == nil {
		return false
	}
	sameSecrets(t, data, items)
	if _, what := scanTokens(src); what != "" {
		t.Fatalf("accepted, but %s:\n%s", what, data)
	}
	want, diags := parseConfig(src)
	if len(diags) > 0 {
		t.Fatalf("accepted, but %v:\n%s", diags, data)
	}
	want.SrcRange, want.EndRange = hcl.Range{}, hcl.Range{}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("other nodes: %s\n%s", difference(got, want), data)
	}
	return true
}

// sameSecrets checks that what is secret is found too where each part of a file
// is looked at alone. A comment behind a secret may make the whole file's scan
// hide more than it need: it takes the end of its line for its own.
func sameSecrets(t *testing.T, data []byte, items []span) {
	t.Helper()
	parts, whole := &source{name: "x.hcl", data: data, items: items}, &source{name: "x.hcl", data: data}
	for i := range data {
		if a, b := parts.secret(i), whole.secret(i); a != b && (a || !bytes.ContainsAny(data, "#/")) {
			t.Fatalf("byte %d is secret: %v, and in the whole file: %v\n%s", i, a, b, data)
		}
	}
}

func tokenCount(data []byte) int {
	tokens, _ := hclsyntax.LexConfig(data, "", hcl.InitialPos)
	return len(tokens)
}

// difference names the first attribute or block that differs.
func difference(got, want *hclsyntax.Body) string {
	for name, a := range want.Attributes {
		if b := got.Attributes[name]; !reflect.DeepEqual(a, b) {
			return "attribute " + name
		}
	}
	for i, a := range want.Blocks {
		if i < len(got.Blocks) && !reflect.DeepEqual(a, got.Blocks[i]) {
			if !reflect.DeepEqual(a.Body, got.Blocks[i].Body) {
				return a.Type + ": " + difference(got.Blocks[i].Body, a.Body)
			}
			return "head of " + a.Type
		}
	}
	return "ranges"
}

func TestPlain(t *testing.T) {
	deep := strings.Repeat("[", maxPlain) + strings.Repeat("]", maxPlain)
	for text, accepted := range map[string]bool{
		"":                                     true,
		"\n\n  # only a comment":               true,
		"a {\n}\n":                             true,
		"a {}":                                 true,
		"a { }\r\nb \"c\" d {\r\n}\r\n":        true,
		"a { x = 1 }\n":                        true,
		"a { x = -1 }\n":                       true,
		"a { x = \"ü\" }\n":                    false,
		"a { x = [1,\n2] } // c\n":             true,
		"a {\n\tx = \"ü\" # ü\n y=2 // z\n}\n": true,
		"x = [\"a\", 1.5, true, port.http, [], {}, {\n a = 1\n\n \"b c\" = false, d = \"\" }, ]": true,
		"x = [1, # c\n 2]\ny = (1\n+2)\n":              true,
		"x = \"${local.a}/${\n1 }\" \nz = a.b[0]\n":    true,
		"x = 25\ny = \"25%\"\nz = \"a$\"\n":            true,
		"x = \"\\\"\\u0041\"\n":                        true,
		"x = a ? b.c : !d && e.*.f == f(1, 2...)":      true,
		"x = {for k, v in a : k => v}\n":               true,
		"x = " + deep[1:len(deep)-1] + "\n":            true,
		"x = " + deep + "\n":                           true,
		"x = [" + deep + "]\n":                         false,
		"x = \"$${a}\"\n":                              false,
		"x = \"%{if a}b%{endif}\"\n":                   false,
		"x = <<E\n}\nE\n":                              false,
		"x = 1 /* c\n */\n":                            false,
		"x = { \"${a.b}\" = \"${ true }${c.d} e\" }\n": true,
		"x = \"a ${b} ${for.c}\"\n":                    true,
		"x = \"\t\n\t":                                 false,
		"x = 1 \r":                                     false,
		"# a\rb\n":                                     false,
		"x = 1e3\n":                                    false,
		"x = 1\nx = 2\n":                               false,
		"a {":                                          false,
		"}":                                            false,
		"x = ]\n":                                      false,
		"x = [1 2]\n":                                  false,
		"x = [for.x]\n":                                false,
		"x == 1\n":                                     false,
		"a { x = 1\n}\n":                               false,
		"a { b {} }\n":                                 false,
		"a {\n x = 1 }\n":                              false,
		"a \"${b}\" {\n}\n":                            false,
		"a = \n1\n":                                    false,
		"é = 1\n":                                      false,
	} {
		if got := samePlain(t, []byte(text)); got != accepted {
			t.Errorf("%q: accepted is %v", text, got)
		}
	}
	for _, text := range []string{small(3), thousand(3)} {
		if !samePlain(t, []byte(text)) {
			t.Errorf("not plain: %s", text)
		}
	}
}

// FuzzPlain: what the plain reader accepts is what HCL's parser makes of it.
func FuzzPlain(f *testing.F) {
	for _, pattern := range []string{"testdata/*.hcl", "testdata/diagnostics/*.hcl"} {
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
	for _, text := range []string{
		small(1), thousand(1), "a { x = \"ü\" }", "x = [1, # c\n 2]\r\ny = \"a${b[\"c\"]}d\" // e", "x = {a = 1, \"b\" = c.d\n}",
		"x = \"$$${a}%\\\\\"", "x = \"~ %{if a}~${~b~}%{endif}\"", "x = <<-E\n ${a}\n E\n", "x = /* a */ 1a1.2.3e4", "x = \"$ $ % $\"",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) <= 16<<10 {
			samePlain(t, data)
		}
	})
}

// TestPlainRandom puts pieces of the language together at random.
func TestPlainRandom(t *testing.T) {
	pieces := []string{
		"a", "b-c", "for", "true", "null", "env", "1", "2.5", "1e3", "1a", ".", "..", "...", ",", ",", "=", "=", "==", "=>", ":", "?", "+", "-", "!", "&&", "<", "<<E", "E",
		"\n", "\n", "\n", "\r\n", "\r", " ", " ", "\t", "#c\n", "# ü\r\n", "//x\n", "/*y*/", "/",
		"\"", "\"\"", "\"s\"", "\"ü\"", "\"e\u0301\"", "\"\\n\"", "\"\\q\"", "\"5%\"", "\"$\"", "\"${", "\"x${a.b}y\"", "\"${a}\"", "\"${a.b}\"", "\"${ a.b }c\"", "env = ", "env = \"s\"\n", "%{if a}", "$${", "~", "\\",
		"{", "{", "}", "}", "}", "[", "]", "[", "]", "(", ")", "f(a)", "a.b", "a.b", "x = ", "y = 1\n", "z = \"v\"\n", "k {\n", "k \"l\" {\n", "}\n", "}\n", "k { x = 1 }\n",
		"[1, 2]", "{ a = 1 }", "é", ";", "'", "\u2028", "\ufeff",
	}
	r := rand.New(rand.NewPCG(1, 2))
	accepted := 0
	for range 60_000 {
		text := ""
		for range 1 + r.IntN(12) {
			text += pieces[r.IntN(len(pieces))]
		}
		if r.IntN(2) == 0 {
			text = "x = " + text + "\n"
		}
		if samePlain(t, []byte(text)) {
			accepted++
		}
	}
	t.Logf("%d accepted", accepted)
	if accepted < 1000 {
		t.Errorf("only %d were accepted", accepted)
	}
}
