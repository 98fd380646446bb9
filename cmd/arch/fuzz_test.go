package arch_test

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// hostile are the packages that read what somebody else wrote, and what that is:
// each has fuzz targets, and inputs that are kept for them.
var hostile = map[string]string{
	"spec/load":          "specifications",
	"ipc":                "requests and answers of the API",
	"supervisor/journal": "the journal's file",
	"supervisor/logs":    "log files",
	"supervisor/notify":  "sd_notify messages",
	"supervisor/program": "the headers of programs that are deployed",
	"supervisor/release": "manifests of releases",
	"supervisor/keeper":  "what the keeper stores, and how it is framed",
}

// TestWhatIsHostileIsFuzzed: testdata/fuzz.sh, which `make test` runs, finds a
// target in each of these packages.
func TestWhatIsHostileIsFuzzed(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "testdata/fuzz.sh", "-l")
	cmd.Dir = root(t)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	targets := map[string][]string{}
	for l := range strings.Lines(string(out)) {
		dir, name, ok := strings.Cut(strings.TrimSpace(l), " ")
		if !ok {
			t.Fatalf("line %q", l)
		}
		dir = strings.TrimPrefix(dir, "./")
		targets[dir] = append(targets[dir], name)
	}
	for dir, what := range hostile {
		if len(targets[dir]) == 0 {
			t.Errorf("%s has no fuzz target: it reads %s", dir, what)
		}
		kept, err := filepath.Glob(filepath.Join(root(t), dir, "testdata/fuzz/*/*"))
		if err != nil || len(kept) == 0 {
			t.Errorf("%s keeps no fuzz inputs: %v", dir, err)
		}
		for _, path := range kept {
			if name := filepath.Base(filepath.Dir(path)); !slices.Contains(targets[dir], name) {
				t.Errorf("%s: %s is kept for a target that is gone", dir, path)
			}
		}
	}
}
