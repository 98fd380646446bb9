package vm

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// goTest runs go test with vmexec in the module's folder.
func goTest(t *testing.T, args ...string) (out string, err error) {
	t.Helper()
	Need(t)
	dir := t.TempDir()
	if err := build(dir, "nines/testdata/vm/vmexec"); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", append([]string{"test", "-count=1", "-exec", filepath.Join(dir, "vmexec")}, args...)...)
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	var b bytes.Buffer
	cmd.Stdout, cmd.Stderr = &b, &b
	err = cmd.Run()
	return b.String(), err
}

// TestPackages runs, as root with every controller, the tests of packages that
// deal with cgroups. Level "full" is nowhere else to be had.
func TestPackages(t *testing.T) {
	t.Parallel()
	profile := filepath.Join(t.TempDir(), "cover")
	for _, args := range [][]string{
		{"-v", "-coverprofile=" + profile, "./cgroups"},
		{"-v", "-run", "TreeWithLeftovers|KillWithMain|UsedAgain|WrongCgroup|Mark", "./supervisor/proc"},
	} {
		t.Run(args[len(args)-1], func(t *testing.T) {
			out, err := goTest(t, args...)
			if err != nil {
				t.Fatalf("go test %q: %v\n%s", args, err, out)
			}
			if n := strings.Count(out, "\n--- PASS: "); n < 4 {
				t.Errorf("only %d tests passed:\n%s", n, out)
			}
			if skipped := regexp.MustCompile(`(?m)^\s*--- SKIP: .*`).FindAllString(out, -1); len(skipped) > 0 {
				t.Errorf("skipped in a machine that has everything: %q\n%s", skipped, out)
			}
		})
	}
	if text, err := os.ReadFile(profile); err != nil || !strings.HasPrefix(string(text), "mode: ") || !strings.Contains(string(text), "nines/cgroups/tree.go:") {
		t.Errorf("the coverage profile: %.200q, %v", text, err)
	}
}

// TestVmexecFails: the status of a failing test comes back, with its output.
func TestVmexecFails(t *testing.T) {
	t.Parallel()
	out, err := goTest(t, "./cgroups", "-args", "-test.nosuchflag")
	if err == nil || !strings.Contains(out, "flag provided but not defined: -test.nosuchflag") {
		t.Errorf("%v\n%s", err, out)
	}
}
