package cmd_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestInstall runs `make install` and `make uninstall` as a packager does, and
// uses what was installed: the manual, the completions, the unit.
func TestInstall(t *testing.T) {
	bin := binaries(t)
	dest, out := t.TempDir(), t.TempDir()
	run := func(target string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "make", target, "DESTDIR="+dest, "PREFIX=/opt/n", "BIN="+out)
		cmd.Dir = ".."
		cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "MAKE") || strings.HasPrefix(v, "MFLAGS") })
		text, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("make %s: %v\n%s", target, err, text)
		}
		return string(text)
	}
	run("install")

	want := []string{
		"bin/nines", "bin/nines-exec", "bin/nines-init", "bin/nines-log",
		"lib/systemd/system/nines.service",
		"share/bash-completion/completions/nines", "share/fish/vendor_completions.d/nines.fish", "share/zsh/site-functions/_nines",
		"share/man/man1/nines.1", "share/man/man5/nines.hcl.5", "share/man/man8/nines-exec.8", "share/man/man8/nines-init.8", "share/man/man8/nines-log.8",
		"share/nines/manifest",
	}
	for _, name := range append(subcommands(t, bin), "quarantine-inspect", "quarantine-kill", "quarantine-list", "quarantine-resume") {
		want = append(want, "share/man/man1/nines-"+name+".1")
	}
	slices.Sort(want)
	prefix := dest + "/opt/n"
	if got := filesBelow(t, prefix); !slices.Equal(got, want) {
		t.Errorf("installed:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	manifest, err := os.ReadFile(prefix + "/share/nines/manifest")
	if err != nil || strings.TrimSpace(string(manifest)) != strings.Join(want, "\n") {
		t.Errorf("the manifest (%v) is\n%s", err, manifest)
	}
	for _, name := range want {
		fi, err := os.Stat(prefix + "/" + name)
		mode := fs.FileMode(0o644)
		if strings.HasPrefix(name, "bin/") {
			mode = 0o755
		}
		if err != nil || fi.Mode() != mode || fi.Size() == 0 {
			t.Errorf("%s: %v, %v", name, fi, err)
		}
	}
	unit, err := os.ReadFile(prefix + "/lib/systemd/system/nines.service")
	if err != nil || !strings.Contains(string(unit), "\nExecStart=/opt/n/bin/nines-init ") || strings.Contains(string(unit), "@") {
		t.Errorf("%v\n%s", err, unit)
	}

	t.Run("manual", func(t *testing.T) { lintManual(t, prefix+"/share/man") })
	t.Run("nines-init", func(t *testing.T) { initManual(t, prefix) })
	t.Run("unit", func(t *testing.T) {
		verify, err := exec.LookPath("systemd-analyze")
		if err != nil {
			t.Skip("skipped: no systemd-analyze")
		}
		// The path of the program is that of another root.
		text := strings.ReplaceAll(string(unit), "/opt/n/bin/nines-init", prefix+"/bin/nines-init")
		path := filepath.Join(t.TempDir(), "nines.service")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if text, err := exec.CommandContext(t.Context(), verify, "verify", "--man=no", path).CombinedOutput(); err != nil || strings.Contains(string(text), "nines.service:") {
			t.Errorf("%v\n%s", err, text)
		}
	})
	t.Run("completion", func(t *testing.T) { complete(t, prefix) })

	foreign := prefix + "/share/man/man1/nines-other.1"
	if err := os.WriteFile(foreign, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	run("uninstall")
	if got := filesBelow(t, dest); !slices.Equal(got, []string{"opt/n/share/man/man1/nines-other.1"}) {
		t.Errorf("uninstall leaves %q", got)
	}
	if text := run("uninstall"); !strings.Contains(text, "nothing to remove") {
		t.Errorf("a second uninstall says %s", text)
	}
}

// subcommands are those that the command line offers for completion.
func subcommands(t *testing.T, bin string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), bin+"/nines", "__complete", "").Output()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for l := range strings.Lines(string(out)) {
		if name, _, ok := strings.Cut(l, "\t"); ok && name != "help" {
			names = append(names, name)
		}
	}
	if len(names) < 10 {
		t.Fatalf("subcommands: %q", names)
	}
	return names
}

func filesBelow(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, err := filepath.Rel(dir, path)
			all = append(all, rel)
			return err
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return all
}

// lintManual has each page read by what shows it, with all warnings.
func lintManual(t *testing.T, dir string) {
	found := false
	for _, lint := range [][]string{
		{"groff", "-man", "-ww", "-Tutf8", "-z"},
		{"mandoc", "-Tlint", "-Wwarning"},
	} {
		if _, err := exec.LookPath(lint[0]); err != nil {
			continue
		}
		found = true
		for _, name := range filesBelow(t, dir) {
			cmd := exec.CommandContext(t.Context(), lint[0], append(lint[1:], filepath.Join(dir, name))...)
			out, err := cmd.CombinedOutput()
			for l := range strings.Lines(string(out)) {
				if !strings.Contains(l, "missing date") { // so that the same tree gives the same bytes
					t.Errorf("%s: %s: %s (%v)", lint[0], name, l, err)
				}
			}
		}
	}
	if !found {
		t.Skip("skipped: neither groff nor mandoc is installed")
	}
}

// initManual: nines-init(8) knows every flag that the program says it has, and
// no other.
func initManual(t *testing.T, prefix string) {
	help, err := exec.CommandContext(t.Context(), prefix+"/bin/nines-init", "--help").CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(prefix + "/share/man/man8/nines-init.8")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(page), `\-`, "-")
	for _, m := range regexp.MustCompile(`(?m)^  (-\w)|^ .*(--[a-z-]+)`).FindAllStringSubmatch(string(help), -1) {
		flag := m[1] + m[2]
		if !strings.Contains(text, flag) {
			t.Errorf("nines-init(8) does not know %s", flag)
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^\\fB(-[a-z-]+)`).FindAllStringSubmatch(text, -1) {
		if !strings.Contains(string(help), m[1]) {
			t.Errorf("nines-init(8) explains %s, which nines-init does not have", m[1])
		}
	}
}
