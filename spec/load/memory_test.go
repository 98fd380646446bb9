package load

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"
)

// loadPath tells the test binary to load what is there and say what it took.
const loadPath = "NINES_TEST_LOAD"

// loadBound is what the heap may hold while a hostile specification is read, in
// MiB, when the collector is kept at its heels. The largest seen was 316.
const loadBound = 384

// TestMain also is the process in which one specification is loaded.
func TestMain(m *testing.M) {
	if path := os.Getenv(loadPath); path != "" {
		loadAndMeasure(path)
		return
	}
	os.Exit(m.Run())
}

func loadAndMeasure(path string) {
	debug.SetGCPercent(25)
	done, peak := make(chan struct{}), make(chan uint64)
	go func() {
		var most uint64
		var now runtime.MemStats
		for tick := time.NewTicker(5 * time.Millisecond); ; {
			select {
			case <-tick.C:
				runtime.ReadMemStats(&now)
				most = max(most, now.HeapAlloc)
			case <-done:
				peak <- most
				return
			}
		}
	}()
	_, diags := Load([]string{path}, testOptions())
	close(done)
	code := "none"
	if len(diags) > 0 {
		code = diags[0].Code
	}
	fmt.Println(<-peak>>20, code)
}

// TestMemoryIsBounded: the shapes that cost most, each as large as is just read:
// by HCL's parser as a whole file, by it as one expression, by the plain reader.
func TestMemoryIsBounded(t *testing.T) {
	for name, s := range map[string]struct {
		before, each, behind string
		tokens               int
		code                 string
	}{
		"no equals":   {"", "a b\n", "", maxTokens / (hclTokens + 1), "syntax"},
		"parentheses": {"x = [", "(a),", "]\n", maxTokens / (hclTokens + 1), "unknown_attribute"},
		"entries":     {"x = {", "a=1,", "}\n", maxTokens, "unknown_attribute"},
		"too many":    {"x = [", "a[*],", "]\n", maxTokens / hclTokens, "too_large"},
	} {
		t.Run(name, func(t *testing.T) {
			unit := mostTokens([]byte(","+strings.Repeat(s.each, 100))) / 100
			n := min((s.tokens-100)/unit, (maxFile-100)/len(s.each))
			path := filepath.Join(t.TempDir(), "x.hcl")
			if err := os.WriteFile(path, []byte(s.before+strings.Repeat(s.each, n)+s.behind), 0o600); err != nil {
				t.Fatal(err)
			}
			peak, code := measure(t, path)
			if peak > loadBound || code != s.code {
				t.Errorf("%d tokens: %d MiB, %s", n*unit, peak, code)
			}
			t.Logf("%d tokens: %d MiB", n*unit, peak)
		})
	}
}

func measure(t *testing.T, path string) (peak int, code string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), loadPath+"="+path)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if n, err := fmt.Sscan(string(out), &peak, &code); n != 2 {
		t.Fatalf("%v: %s", err, out)
	}
	return peak, code
}

// TestFilesTogether: the bound is one for all files, and what is too large says
// so where it is.
func TestFilesTogether(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// Lines that say nothing cost nothing but their count.
	blank := strings.Repeat("\n", 1_800_000)
	write("a.hcl", blank)
	write("b.hcl", blank)
	_, diags := Load([]string{dir}, testOptions())
	if len(diags) == 0 || diags[0].Code != "too_large" || filepath.Base(diags[0].File) != "b.hcl" || !strings.Contains(diags[0].Summary, "3500000") {
		t.Errorf("%s", render(t, diags))
	}
	if text, diags := Format(File{"a.hcl", blank}); text != "" || len(diags) != 1 || diags[0].Code != "too_large" {
		t.Errorf("formatted: %s", render(t, diags))
	}
	// One fault in a file that HCL is not given: it is said where, and how much
	// would be read.
	write("b.hcl", "service \"web\" {\n  command = [\"x\"]\n}\noops!\n")
	_, diags = Load([]string{dir}, testOptions())
	if len(diags) == 0 || diags[0].Code != "syntax" || diags[0].Line != 4 {
		t.Errorf("a small file beside a large one:\n%s", render(t, diags))
	}
	write("b.hcl", "env = \"hidden\"\noops!\n"+strings.Repeat("\n", 400_000))
	_, diags = Load([]string{dir}, testOptions())
	got := render(t, diags)
	if len(diags) == 0 || diags[0].Code != "too_large" || !strings.Contains(got, "near line 2,") || !strings.Contains(got, "3500000") || strings.Contains(got, "hidden") {
		t.Errorf("%s", got)
	}
}
