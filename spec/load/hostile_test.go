package load

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// deadline is how long a hostile input may take here; the machine may be busy.
const deadline = 2 * time.Minute

func loadHostile(t *testing.T, name, text string) (diags Diagnostics, allocated uint64) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	_, diags = loadText(t, text)
	if d := time.Since(start); d > deadline {
		t.Errorf("%s took %v", name, d)
	}
	runtime.ReadMemStats(&after)
	return diags, after.TotalAlloc - before.TotalAlloc
}

func TestNesting(t *testing.T) {
	const n = 5_000
	web := "service \"web\" {\n  command = [\"x\"]\n  env = { A = %s }\n}\n"
	for name, text := range map[string]string{
		"brackets":     "service \"web\" {\n  command = " + strings.Repeat("[", 40*n) + "\n}\n",
		"closed":       fmt.Sprintf(web, strings.Repeat("[", n)+strings.Repeat("]", n)),
		"parentheses":  fmt.Sprintf(web, strings.Repeat("(", n)+"1"+strings.Repeat(")", n)),
		"objects":      fmt.Sprintf(web, strings.Repeat("{a=", n)+"1"+strings.Repeat("}", n)),
		"templates":    fmt.Sprintf(web, strings.Repeat(`"${`, n)+"1"+strings.Repeat(`}"`, n)),
		"directives":   fmt.Sprintf(web, `"`+strings.Repeat(`%{if x}`, n)+strings.Repeat(`%{endif}`, n)+`"`),
		"blocks":       strings.Repeat("a {\n", n) + strings.Repeat("}\n", n),
		"not":          fmt.Sprintf(web, strings.Repeat("!", n)+"true"),
		"minus":        fmt.Sprintf(web, strings.Repeat("-", n)+"1"),
		"sum":          fmt.Sprintf(web, "1"+strings.Repeat("+1", n)),
		"sum in lines": fmt.Sprintf(web, "(1"+strings.Repeat("\n+1", n)+")"),
		"conditions":   fmt.Sprintf(web, strings.Repeat("true ? 1 : ", n)+"1"),
		"indexes":      fmt.Sprintf(web, "[1]"+strings.Repeat("[0]", n)),
		"splats":       fmt.Sprintf(web, "[1]"+strings.Repeat("[*]", n)),
		"attributes":   fmt.Sprintf(web, "instance"+strings.Repeat(".a", n)),
		"calls":        fmt.Sprintf(web, strings.Repeat("upper(", n)+`"x"`+strings.Repeat(")", n)),
		"huge number":  fmt.Sprintf(web, "1e999999999"),
		"long number":  fmt.Sprintf(web, strings.Repeat("9", 100_000)),
	} {
		diags, _ := loadHostile(t, name, text)
		if len(diags) == 0 || diags[0].Code != "too_deep" || diags[0].Line == 0 {
			t.Errorf("%s: %.500s", name, render(t, diags))
		}
	}
	// What people write is far from the limit.
	deep := fmt.Sprintf(web, strings.Repeat("upper(", 90)+`"x"`+strings.Repeat(")", 90))
	if _, diags := loadText(t, deep); diags.HasErrors() {
		t.Errorf("90 levels: %s", render(t, diags))
	}
	long := fmt.Sprintf(web, "join(\",\", ["+strings.Repeat("\"a\" == \"b\" ? 1 : 2,\n", 5000)+"])")
	if _, diags := loadText(t, long); diags.HasErrors() {
		t.Errorf("a long list: %.300s", render(t, diags))
	}
}

// TestBombs: expressions that grow without measure end with a diagnostic.
func TestBombs(t *testing.T) {
	double := "locals {\n  a0 = \"xxxxxxxxxxxxxxxx\"\n"
	symbolic := "locals {\n  a0 = env.HOME\n"
	lists := "locals {\n  a0 = [1]\n"
	for i := range 60 {
		double += fmt.Sprintf("  a%d = \"${local.a%d}${local.a%d}\"\n", i+1, i, i)
		symbolic += fmt.Sprintf("  a%d = \"${local.a%d}${local.a%d}\"\n", i+1, i, i)
		lists += fmt.Sprintf("  a%d = [local.a%d, local.a%d]\n", i+1, i, i)
	}
	squares := "locals {\n  a0 = 1e300\n"
	for i := range 40 {
		squares += fmt.Sprintf("  a%d = local.a%d * local.a%d\n", i+1, i, i)
	}
	web := "service \"web\" {\n  command = [\"x\", %s]\n}\n"
	thousand := `[` + strings.Repeat("1,", 1000) + `]`
	long := `"` + strings.Repeat("x", 500_000) + `"`
	for name, text := range map[string]string{
		"double":         double + "}\n" + fmt.Sprintf(web, "local.a60"),
		"symbolic":       symbolic + "}\n" + fmt.Sprintf(web, "local.a60"),
		"lists":          lists + "}\n" + fmt.Sprintf(web, "jsonencode(local.a60)"),
		"squares":        squares + "}\n" + fmt.Sprintf(web, "local.a40"),
		"nested for":     "locals {\n l = " + thousand + "\n}\n" + fmt.Sprintf(web, `length([for a in local.l : [for b in local.l : [for c in local.l : [for d in local.l : a]]]])`),
		"sym nested for": "locals {\n l = " + thousand + "\n}\n" + fmt.Sprintf(web, `length([for a in local.l : [for b in local.l : [for c in local.l : instance.index]]])`),
		"for errors":     "locals {\n l = " + thousand + "\n}\n" + fmt.Sprintf(web, `length([for a in local.l : [for b in local.l : [for c in local.l : a.x]]])`),
		"for join":       "locals {\n l = " + thousand + "\n}\n" + fmt.Sprintf(web, `join("", [for a in local.l : join("", [for b in local.l : join("", local.l)])])`),
		"template":       "locals {\n x = " + long + "\n}\n" + fmt.Sprintf(web, `"`+strings.Repeat("${local.x}", 5000)+`"`),
		"pad":            fmt.Sprintf(web, `format("%999999999d", 1)`),
		"precision":      fmt.Sprintf(web, `format("%.999999999f", 1)`),
		"argument":       fmt.Sprintf(web, `format("`+strings.Repeat("%[1]s", 1000)+`", `+`"`+strings.Repeat("x", 10000)+`")`),
		"formatlist":     fmt.Sprintf(web, `length(formatlist("%s%s", range(1000), "`+strings.Repeat("x", 10000)+`"))`),
		"replace":        fmt.Sprintf(web, `replace("`+strings.Repeat("a", 10000)+`", "a", "`+strings.Repeat("b", 10000)+`")`),
		"regexreplace":   fmt.Sprintf(web, `regexreplace("`+strings.Repeat("a", 10000)+`", "a*", "`+strings.Repeat("$0", 1000)+`")`),
		"join":           fmt.Sprintf(web, `join("`+strings.Repeat("b", 10000)+`", range(1000))`),
		"number text":    fmt.Sprintf(web, `"${"1e999999999" * 1}"`),
		"tonumber":       fmt.Sprintf(web, `tonumber("1e999999999")`),
		"object key":     fmt.Sprintf(web, `length({ ("1e999999999" * 1) = 1 })`),
		"conditional":    fmt.Sprintf(web, `true ? "1e999999999" * 1 : "x"`),
		"merge":          "locals {\n l = " + thousand + "\n}\n" + fmt.Sprintf(web, `length(flatten([for a in local.l : local.l]))`) + strings.Repeat("\n", 1),
	} {
		diags, allocated := loadHostile(t, name, text)
		if !diags.HasErrors() && name != "merge" {
			t.Errorf("%s has no error", name)
		}
		if allocated > 1500<<20 {
			t.Errorf("%s allocated %d MiB", name, allocated>>20)
		}
	}
}

// TestManyBombs: many expressions, each within its budget, are bounded too.
func TestManyBombs(t *testing.T) {
	var b strings.Builder
	b.WriteString("locals {\n  x = \"" + strings.Repeat("x", 500_000) + "\"\n}\n")
	for i := range 600 {
		fmt.Fprintf(&b, "service \"s%d\" {\n  command = [\"x\", local.x]\n}\n", i)
	}
	diags, allocated := loadHostile(t, "many", b.String())
	if !diags.HasErrors() || diags[0].Code != "too_large" {
		t.Errorf("%.300s", render(t, diags))
	}
	t.Logf("allocated %d MiB in all", allocated>>20)
}

// TestManyTokens: what would fill the memory with tokens is refused before HCL
// sees it, and nothing of it is shown.
func TestManyTokens(t *testing.T) {
	for name, text := range map[string]string{
		"brackets": strings.Repeat("[", maxFile-1),
		"commas":   "x = [" + strings.Repeat("1,", maxFile/2-10) + "]\n",
		"strings":  "env = {\n A = \"hidden\"\n}\n" + strings.Repeat("\"\" ", 1_200_000),
		"bad":      "env = \"hidden\" \xff" + strings.Repeat("&", 3_000_000),
	} {
		diags, allocated := loadHostile(t, name, text)
		want := "too_large"
		if name == "bad" {
			want = "not_utf8"
		}
		wantCode(t, diags, want, 0)
		if got := render(t, diags); strings.Contains(got, "hidden") {
			t.Errorf("%s: a secret is shown:\n%s", name, got)
		}
		if allocated > 64<<20 {
			t.Errorf("%s allocated %d MiB", name, allocated>>20)
		}
	}
	// Ten thousand services are below the limit, in files of a size that is read.
	if n := mostTokens([]byte(thousand(10_000))); n > maxTokens*3/4 {
		t.Errorf("10,000 services count as %d tokens", n)
	}
}

// TestManyComments: a comment ends the line that it stands on, so the lines of
// a long list do not add up.
func TestManyComments(t *testing.T) {
	body := ""
	for i := range maxOperators + 100 {
		body += fmt.Sprintf("    A%d = -1 # less\n", i)
	}
	if _, diags := loadText(t, "service \"web\" {\n  command = [\"x\"]\n  env = {\n"+body+"  }\n}\n"); diags.HasErrors() {
		t.Errorf("%.300s", render(t, diags))
	}
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	one := "service \"a\" {\n  command = [\"x\"]\n}\n"
	good := write("good.hcl", one)
	huge := write("huge.hcl", "")
	if err := os.Truncate(huge, 10<<20); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, code string
		paths      []string
	}{
		{"no path", "no_files", nil},
		{"absent", "unreadable", []string{filepath.Join(dir, "absent.hcl")}},
		{"device", "unreadable", []string{"/dev/null"}},
		{"10 MiB", "too_large", []string{huge}},
		{"twice", "duplicate", []string{good, good}},
		{"zero byte", "not_text", []string{write("zero.hcl", "a\x00b")}},
		{"empty", "no_services", []string{write("empty.hcl", "")}},
		{"no folder", "unreadable", []string{filepath.Join(good, "x")}},
	} {
		s, diags := Load(test.paths, testOptions())
		if s != nil || len(diags) == 0 || diags[0].Code != test.code {
			t.Errorf("%s: %+v", test.name, diags)
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	Load([]string{huge}, testOptions())
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 2<<20 {
		t.Errorf("a file of 10 MiB took %d bytes", n)
	}
	if os.Geteuid() != 0 {
		secret := write("secret.hcl", one)
		if err := os.Chmod(secret, 0); err != nil {
			t.Fatal(err)
		}
		if _, diags := Load([]string{secret}, testOptions()); len(diags) == 0 || diags[0].Code != "unreadable" {
			t.Errorf("unreadable: %+v", diags)
		}
	}
	folder := filepath.Join(dir, "folder")
	if err := os.MkdirAll(filepath.Join(folder, "sub.hcl"), 0o700); err != nil {
		t.Fatal(err)
	}
	write("folder/b.hcl", "service \"b\" {\n  command = [\"x\"]\n  needs = [\"a\"]\n}\n")
	write("folder/a.hcl", "\xef\xbb\xbf"+one)
	s, diags := Load([]string{folder}, testOptions())
	if s == nil || len(s.Services) != 2 || s.Services[0].Name != "a" || s.Services[1].Name != "b" {
		t.Errorf("folder: %v %s", s, render(t, diags))
	}
}

// TestManyDiagnostics: a hostile file does not print for ever.
func TestManyDiagnostics(t *testing.T) {
	_, diags := loadText(t, strings.Repeat("a {\n}\n", 5_000))
	if len(diags) > maxDiagnostics+1 || diags[len(diags)-1].Code != "too_many" {
		t.Errorf("%d diagnostics, the last %+v", len(diags), diags[len(diags)-1])
	}
}

func TestLongChain(t *testing.T) {
	var b strings.Builder
	n := 2_000
	for i := range n {
		fmt.Fprintf(&b, "service \"s%d\" {\n  command = [\"x\"]\n  needs = [\"s%d\"]\n}\n", i, (i+1)%n)
	}
	diags, _ := loadHostile(t, "chain", b.String())
	wantCode(t, diags, "cycle", 3)
	if len(diags[0].Related) > maxCycle || !strings.Contains(diags[0].Summary, "…") {
		t.Errorf("%d places, %s", len(diags[0].Related), diags[0].Summary)
	}
}

func TestLongLine(t *testing.T) {
	_, diags := loadText(t, "service \"web\" {\n  command = ["+strings.Repeat("\"é\", ", 10000)+"bad, "+strings.Repeat("\"é\", ", 10000)+"]\n}\n")
	got := render(t, diags)
	if len(got) > 2000 || !strings.Contains(got, "bad") || !strings.Contains(got, "^^^") {
		t.Errorf("%d bytes: %.800s", len(got), got)
	}
}

// TestManyWarnings: warnings alone are never an error, however many.
func TestManyWarnings(t *testing.T) {
	// Each service has one: no code was ever in that.
	s, diags := loadText(t, strings.ReplaceAll(thousand(maxDiagnostics+100), "  log {\n", "  slo = \"99.9%\"\n  log {\n"))
	if s == nil || diags.HasErrors() || len(diags) != maxDiagnostics+1 || diags[maxDiagnostics].Code != "too_many" {
		t.Errorf("%v, %d diagnostics", s == nil, len(diags))
	}
}
