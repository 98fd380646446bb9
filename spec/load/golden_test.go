package load

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDiagnostics compares what is said about each testdata/diagnostics/*.hcl,
// and about each folder there, with the .txt beside it.
func TestDiagnostics(t *testing.T) {
	entries, err := os.ReadDir("testdata/diagnostics")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name(), ".hcl")
		if strings.HasSuffix(name, ".txt") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			path := filepath.Join("testdata/diagnostics", e.Name())
			s, diags := Load([]string{path}, testOptions())
			if (s == nil) != diags.HasErrors() {
				t.Errorf("spec is nil: %v, but has errors: %v", s == nil, diags.HasErrors())
			}
			got := render(t, diags)
			if strings.Contains(got, "hunter2") {
				t.Errorf("a secret is shown:\n%s", got)
			}
			golden(t, filepath.Join("testdata/diagnostics", name+".txt"), got)
		})
	}
}

// TestFull loads every block of the language.
func TestFull(t *testing.T) {
	s, diags := Load([]string{"testdata/full.hcl"}, testOptions())
	if s == nil {
		t.Fatalf("testdata/full.hcl has errors:\n%s", render(t, diags))
	}
	for _, d := range diags {
		if d.Severity != SeverityWarning {
			t.Errorf("not a warning: %+v", d)
		}
	}
	golden(t, "testdata/full.warnings.txt", render(t, diags))
	if web := s.Service("web"); web.Sandbox == nil || web.Data == nil || web.Release == nil || len(web.Checks) != 10 || len(web.Listen) != 2 {
		t.Errorf("web is not whole: %+v", web)
	}
}
