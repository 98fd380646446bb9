// Package arch_test holds the tests of the tree as a whole: that imports run as
// drawn, that the small programs stay small, and (rules_test.go) that calls
// which have hurt before are not made. It has no code, and stands below cmd
// because that is where everything is joined.
package arch_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// module is the import path of the tree's root.
const module = "nines"

// layers is the drawing: which of our packages each package may import. A
// leaf knows nothing of its users. A name that ends in /... covers what is
// below it. A package that is missing here fails the test: draw it first.
var layers = map[string][]string{
	"spec":                  {},
	"spec/load":             {"spec"},
	"spec/diff":             {"spec"},
	"cgroups":               {},
	"ipc":                   {"spec", "cgroups"},
	"supervisor/policy":     {"spec"},
	"supervisor/policy/sim": {"spec", "supervisor/policy"},
	"supervisor/notify":     {},
	"supervisor/wait":       {},
	"supervisor/inspect":    {},
	"supervisor/journal":    {"supervisor/policy"}, // it keeps policy's records
	"supervisor/proc/shim":  {},
	"supervisor/proc":       {"spec", "cgroups", "supervisor/proc/shim"},
	"supervisor/listen":     {"spec"},
	"supervisor/trend":      {},
	"supervisor/schedule":   {},
	"supervisor/alert":      {"spec"},
	"supervisor/probe":      {"spec"},
	"supervisor/probe/node": {"spec", "cgroups", "supervisor/probe", "supervisor/proc"},
	"supervisor/applied":    {"spec/load"},
	"supervisor/logs":       {"supervisor/notify"},
	"supervisor/signals":    {},
	"supervisor/threads":    {},
	"supervisor/keeper":     {"supervisor/notify", "supervisor/wait", "supervisor/signals", "supervisor/threads"},
	"supervisor/program":    {},
	"supervisor/copytree":   {},
	"supervisor/pathwatch":  {"supervisor/copytree"},
	"supervisor/snapshot":   {"supervisor/copytree"},
	"supervisor/release":    {"supervisor/copytree"},
	"supervisor/entry":      {"supervisor/wait", "supervisor/threads"},
	"supervisor/boot":       {"supervisor/signals"},
	"supervisor":            {"spec", "spec/load", "cgroups", "supervisor/..."},
	"cmd":                   {}, // scripts that run the programs
	"cmd/arch":              {},
	"cmd/man":               {"spec/load"}, // linked into the generator alone: cmd/nines may not import it (but with its tag)
	"cmd/nines":             {"spec", "spec/load", "spec/diff", "cgroups", "ipc", "supervisor", "supervisor/..."},
	"cmd/nines-init":        {"supervisor/keeper", "supervisor/notify", "supervisor/wait", "supervisor/signals", "supervisor/threads", "supervisor/entry", "supervisor/boot"},
	"cmd/nines-exec":        {"supervisor/proc/shim"},
	"cmd/nines-log":         {"supervisor/logs", "supervisor/notify"},
}

// modules says which packages may import what is not ours, outside tests.
var modules = map[string][]string{
	// Descriptors, signals and processes are handled where they are owned.
	"golang.org/x/sys": {"cgroups", "ipc", "supervisor/proc", "supervisor/proc/shim", "supervisor/keeper", "supervisor/notify", "supervisor/wait", "supervisor/signals", "supervisor/listen",
		"supervisor/entry", "supervisor/boot", "supervisor/logs", "supervisor/copytree", "supervisor/release", "supervisor/snapshot", "cmd/nines-init", "cmd/nines-exec", "cmd/nines-log"},
	// HCL is read in one place; all else sees plain values.
	"github.com/hashicorp/hcl/v2":  {"spec/load"},
	"github.com/zclconf/go-cty":    {"spec/load"},
	"github.com/agext/levenshtein": {"spec/load"},
	// State that outlives a boot.
	"go.etcd.io/bbolt": {"supervisor/journal"},
	// What people see is the command's.
	"github.com/spf13/cobra":       {"cmd/nines", "cmd/man"},
	"github.com/spf13/pflag":       {"cmd/nines", "cmd/man"},
	"github.com/fsnotify/fsnotify": {"supervisor/pathwatch"},
	"github.com/mattn/go-isatty":   {"cmd/nines", "cmd/nines-log"},
}

// standard limits parts of the standard library to some packages; what is not
// listed may be used by all.
var standard = []struct {
	path, why string
	allowed   []string
}{
	{"os/exec", "its Wait holds an OS thread for each child and takes exits from the reaper: start processes through supervisor/proc", []string{}},
	{"net/http", "it brings the network and a megabyte with it: ask through ipc", []string{"ipc", "cmd/nines", "supervisor/probe", "supervisor/alert"}},
	{"net/http/pprof", "it registers itself with everything that serves http.DefaultServeMux: build the handlers by name", []string{}},
	{"expvar", "it registers itself with everything that serves http.DefaultServeMux: use the metrics endpoint", []string{}},
	{"log", "it is global, and Fatal skips what is deferred: use log/slog, or plain lines in the small programs", []string{}},
	{"math/rand", "its functions share a source that no test can replay: use math/rand/v2 with a seeded source", []string{}},
	{"io/ioutil", "it is deprecated: use io and os", []string{}},
	{"testing", "it belongs to tests", []string{}},
}

// pure is what supervisor/policy and supervisor/trend may import: nothing that has a clock, a file,
// a goroutine or a source of randomness of its own. (time and math/rand/v2 are
// here for their types; rules_test.go refuses their impure functions.)
var pure = []string{
	"bytes", "cmp", "container/heap", "encoding/binary", "errors", "fmt", "hash/fnv", "iter", "maps", "math", "math/bits",
	"math/rand/v2", "slices", "sort", "strconv", "strings", "time", "unicode", "unicode/utf8", module + "/spec",
}

// small is what the keeper and the exec shim may be made of, with whatever
// these import themselves. PID 1 must have almost nothing to crash on, and the
// shim must start in about a millisecond.
var small = []string{
	"bytes", "cmp", "errors", "io", "maps", "math/bits", "os", "os/signal", "path/filepath", "runtime", "slices", "strconv", "strings", "sync",
	"sync/atomic", "syscall", "time", "unsafe", "golang.org/x/sys/unix",
}

// pkg is what `go list` says of a package.
type pkg struct {
	ImportPath, Dir, Name, Doc                         string
	Standard                                           bool
	Imports                                            []string
	GoFiles, IgnoredGoFiles, TestGoFiles, XTestGoFiles []string
}

// rel is the package's path inside the module.
func (p pkg) rel() string { return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/") }

func TestImportsRunAsDrawn(t *testing.T) {
	for _, p := range goList(t, "./...") {
		may, drawn := layers[p.rel()]
		if !drawn {
			t.Errorf("package %s is not in the drawing: add it to layers in cmd/arch/arch_test.go", p.ImportPath)
			continue
		}
		for _, imp := range p.Imports {
			if ours, ok := strings.CutPrefix(imp, module+"/"); ok && !covers(may, ours) {
				t.Errorf("%s imports %s: imports run cmd → supervisor, ipc → spec, cgroups, and a leaf knows nothing of its users", p.ImportPath, imp)
			}
		}
	}
}

func TestWhatIsNotOurs(t *testing.T) {
	for _, p := range goList(t, "./...") {
		for _, imp := range p.Imports {
			first, _, _ := strings.Cut(imp, "/")
			if !strings.Contains(first, ".") {
				continue // the standard library, or ours
			}
			known := false
			for mod, users := range modules {
				if imp == mod || strings.HasPrefix(imp, mod+"/") {
					known = true
					if !covers(users, p.rel()) {
						t.Errorf("%s imports %s: only %s may", p.ImportPath, imp, strings.Join(users, ", "))
					}
				}
			}
			if !known {
				t.Errorf("%s imports %s, which only tests may: or add it to modules in cmd/arch/arch_test.go with who needs it", p.ImportPath, imp)
			}
		}
		for _, s := range standard {
			if slices.Contains(p.Imports, s.path) && !covers(s.allowed, p.rel()) {
				t.Errorf("%s imports %s: %s", p.ImportPath, s.path, s.why)
			}
		}
	}
}

func TestPolicyIsPure(t *testing.T) {
	for _, p := range goList(t, "./supervisor/policy", "./supervisor/trend") {
		for _, imp := range p.Imports {
			if !slices.Contains(pure, imp) {
				t.Errorf("%s imports %s: policy decides and does nothing else; hand it in as an event or an argument", p.ImportPath, imp)
			}
		}
	}
}

func TestSmallProgramsStaySmall(t *testing.T) {
	may := map[string]bool{}
	for _, p := range goList(t, append([]string{"-deps"}, small...)...) {
		may[p.ImportPath] = true
	}
	for _, program := range []string{"cmd/nines-init", "cmd/nines-exec"} {
		for _, p := range goList(t, "-deps", "./"+program) {
			ours := p.ImportPath == module+"/"+program || strings.HasPrefix(p.ImportPath, module+"/") && covers(layers[program], p.rel())
			if !ours && !may[p.ImportPath] {
				t.Errorf("%s links %s: it may be made of %s only, so that it stays small and starts fast", program, p.ImportPath, strings.Join(small, ", "))
			}
		}
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	for _, p := range goList(t, append([]string{"./..."}, testPrograms(t)...)...) {
		if p.Doc == "" && len(p.GoFiles) > 0 {
			t.Errorf("package %s has no doc comment: it is the package's contract", p.ImportPath)
		}
	}
}

// topLevel is what may stand at the root, besides what begins with a dot and
// what `make clean` removes.
var topLevel = []string{
	"cgroups/", "cmd/", "ipc/", "spec/", "supervisor/", "testdata/",
	"go.mod", "go.sum", "Makefile", "README.md", "LICENSE", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "VERSION",
	"bin/", "coverage.out", "coverage.html",
}

func TestTopLevel(t *testing.T) {
	entries, err := os.ReadDir(root(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		name := e.Name()
		if e.IsDir() {
			name += "/"
		}
		if !strings.HasPrefix(name, ".") && !slices.Contains(topLevel, name) {
			t.Errorf("%s stands at the top level: the root holds only %s", name, strings.Join(topLevel, " "))
		}
	}
}

// covers says whether one of the patterns means the package.
func covers(patterns []string, path string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		below, tree := strings.CutSuffix(p, "...")
		return p == path || tree && strings.HasPrefix(path, below)
	})
}

func TestCovers(t *testing.T) {
	for _, tc := range []struct {
		pattern, path string
		want          bool
	}{
		{"spec", "spec", true}, {"spec", "spec/load", false}, {"spec", "specs", false},
		{"supervisor/...", "supervisor/proc/shim", true}, {"supervisor/...", "supervisor", false}, {"supervisor/...", "supervisors/x", false},
	} {
		if got := covers([]string{tc.pattern}, tc.path); got != tc.want {
			t.Errorf("covers(%q, %q) = %v", tc.pattern, tc.path, got)
		}
	}
}

// root is the folder of go.mod: a package's test runs in its own folder.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// testPrograms are the packages below testdata, which ./... leaves out.
func testPrograms(t *testing.T) []string {
	t.Helper()
	var dirs []string
	for _, pattern := range []string{"testdata/*/*.go", "testdata/*/*/*.go"} {
		mains, err := filepath.Glob(filepath.Join(root(t), pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range mains {
			dir, err := filepath.Rel(root(t), filepath.Dir(m))
			if err != nil {
				t.Fatal(err)
			}
			dirs = append(dirs, "./"+dir)
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

// goList asks the go command, as the binaries are built: without cgo.
func goList(t *testing.T, args ...string) []pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-json=ImportPath,Dir,Name,Doc,Standard,Imports,GoFiles,IgnoredGoFiles,TestGoFiles,XTestGoFiles"}, args...)...)
	cmd.Dir = root(t)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %s: %v\n%s", strings.Join(args, " "), err, &stderr)
	}
	var all []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		switch err := d.Decode(&p); {
		case errors.Is(err, io.EOF):
			if len(all) == 0 {
				t.Fatalf("go list %s: nothing found", strings.Join(args, " "))
			}
			return all
		case err != nil:
			t.Fatal(err)
		}
		all = append(all, p)
	}
}
