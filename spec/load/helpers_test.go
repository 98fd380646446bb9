package load

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nines/spec"
)

var update = flag.Bool("update", false, "write the golden files anew")

// testOptions are the same on every machine.
func testOptions() Options {
	return Options{
		Environ: []string{"HOME=/root", "PWD=/work", "SECRET=hunter2-from-env", "EMPTY=", "N=3"},
		Host:    &Host{Name: "alpha", CPUs: 4, Memory: 8 << 30},
	}
}

// loadText loads one file of that text.
func loadText(t testing.TB, text string) (*spec.Spec, Diagnostics) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "x.hcl")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load([]string{file}, testOptions())
}

// mustLoad loads text that has no errors.
func mustLoad(t testing.TB, text string) *spec.Spec {
	t.Helper()
	s, diags := loadText(t, text)
	if s == nil {
		t.Fatalf("cannot load:\n%s\n%s", text, render(t, diags))
	}
	return s
}

func render(t testing.TB, diags Diagnostics) string {
	t.Helper()
	var b bytes.Buffer
	if err := diags.Write(&b, false); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// golden compares with a file, or writes it with -update.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test -update writes it):\n--- got\n%s\n--- want\n%s", file, got, want)
	}
}

// wantCode checks that a load says just that error, at that line.
func wantCode(t *testing.T, diags Diagnostics, code string, line int) {
	t.Helper()
	for _, d := range diags {
		if d.Severity == SeverityError {
			if d.Code != code || line > 0 && d.Line != line {
				t.Errorf("got %s at line %d: %s; want %s at line %d", d.Code, d.Line, d.Summary, code, line)
			}
			return
		}
	}
	t.Errorf("no error; want %s", code)
}

func firstError(diags Diagnostics) string {
	for _, d := range diags {
		if d.Severity == SeverityError {
			return d.Summary
		}
	}
	return ""
}

func oneService(t testing.TB, body string) *spec.Service {
	t.Helper()
	return mustLoad(t, "service \"web\" {\n"+withCommand(body)+"\n}\n").Services[0]
}

func withCommand(body string) string {
	if strings.HasPrefix(body, "command =") || strings.Contains(body, "\ncommand =") {
		return body
	}
	return "command = [\"/bin/web\"]\n" + body
}
