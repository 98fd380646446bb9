package man

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func testTree() *cobra.Command {
	run := func(*cobra.Command, []string) {}
	root := &cobra.Command{Use: "tool", Short: "A tool", Run: run}
	root.PersistentFlags().String("socket", "", "the `socket`")
	root.AddGroup(&cobra.Group{ID: "g", Title: "Acting:"})
	do := &cobra.Command{Use: "do THING…", Short: "Do it", GroupID: "g", Run: run, Example: "  tool do x",
		Long: ".begins with a dot and has a \\ and it's fine\n\nSecond.\n\n  as it\n    stands"}
	do.Flags().IntP("num", "n", 3, "how `many`")
	do.Flags().Bool("secret", false, "not shown")
	if err := do.Flags().MarkHidden("secret"); err != nil {
		panic(err)
	}
	do.AddCommand(&cobra.Command{Use: "more", Short: "More", Run: run})
	root.AddCommand(do, &cobra.Command{Use: "hidden", Hidden: true, Run: run}, &cobra.Command{Use: "alone", Short: "Alone", Run: run})
	return root
}

func TestCommandPages(t *testing.T) {
	got := map[string]string{}
	for _, p := range commandPages(testTree()) {
		got[p.path()] = string(p.bytes())
	}
	if len(got) != 4 || got["man1/tool-do-more.1"] == "" {
		t.Fatalf("%d pages", len(got))
	}
	do := got["man1/tool-do.1"]
	for _, want := range []string{
		".TH \"TOOL-DO\" 1 \"\" \"nines\" \"nines\"\n", "tool\\-do \\- do it\n", "\\fBtool do\\fR THING...", "\n\\&.begins with a dot and has a \\e and it\\(aqs fine\n.PP\nSecond.\n",
		".nf\nas it\n  stands\n.fi\n", ".TP\n\\fB\\-n\\fR, \\fB\\-\\-num\\fR \\fImany\\fR\nhow many (default 3)\n", ".SH OPTIONS OF ALL COMMANDS\n.TP\n\\fB\\-\\-socket\\fR \\fIsocket\\fR\n",
		".SH EXAMPLES\n", "tool do x\n", "\\fBtool do more\\fR", ".BR tool (1)",
	} {
		if !strings.Contains(do, want) {
			t.Errorf("no %q in\n%s", want, do)
		}
	}
	root := got["man1/tool.1"]
	for _, want := range []string{".SS Acting\n", ".SS Others\n", ".BR tool\\-alone (1)", "NINES_SOCKET"} {
		if !strings.Contains(root, want) {
			t.Errorf("no %q in\n%s", want, root)
		}
	}
	if strings.Contains(do, "secret") || strings.Contains(root, "hidden") {
		t.Error("what is hidden is shown")
	}
}

func TestWriteIsTheSameEachTime(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	for _, dir := range []string{a, b} {
		if err := Write(dir, testTree()); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for _, p := range pages(testTree()) {
		x, err := os.ReadFile(a + "/" + p.path())
		if err != nil {
			t.Fatal(err)
		}
		y, err := os.ReadFile(b + "/" + p.path())
		if err != nil || string(x) != string(y) {
			t.Errorf("%s differs: %v", p.path(), err)
		}
		n++
	}
	if n != 8 {
		t.Errorf("%d pages", n)
	}
	if err := Write("/dev/null", testTree()); err == nil {
		t.Error("writing below /dev/null succeeds")
	}
}

// TestLanguageIsComplete: whatever the specification that uses everything uses,
// nines.hcl(5) explains.
func TestLanguageIsComplete(t *testing.T) {
	text, err := os.ReadFile("../../spec/load/testdata/full.hcl")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	word := regexp.MustCompile(`[a-z][a-z0-9_]*`)
	for _, b := range language() {
		for _, w := range word.FindAllString(b.head+" "+b.means, -1) {
			known[b.path+"."+w] = true
		}
		for _, a := range b.attrs {
			known[b.path+"."+a.name] = true
		}
	}
	var path []string // of open blocks
	line := regexp.MustCompile(`^\s*([a-z_0-9]+)\s*(?:"[^"]*"\s*)?(=|\{)`)
	n := 0
	for l := range strings.Lines(string(text)) {
		l = strings.TrimSpace(l)
		m := line.FindStringSubmatch(l)
		switch {
		case l == "}":
			path = path[:len(path)-1]
		case m == nil:
		case m[2] == "{":
			path = append(path, m[1])
			if len(path) <= 2 && path[0] != "check" && !known[strings.Join(path, ".")+"."+m[1]] {
				t.Errorf("block %s is not explained", strings.Join(path, "."))
			}
		case m[2] == "=":
			n++
			if len(path) > 0 && (path[0] == "locals" || path[len(path)-1] == "env" || path[len(path)-1] == "rlimits") {
				break
			}
			// What stands in a block of the third level is named by the second.
			at := strings.Join(path[:min(len(path), 2)], ".")
			if path[0] == "check" {
				at = "check"
			}
			if !known[at+"."+m[1]] && !(len(path) > 2 && (path[1] == "ready" || path[1] == "check") && known["service.check."+m[1]]) {
				t.Errorf("%s.%s is not explained", strings.Join(path, "."), m[1])
			}
		}
		if m != nil && m[2] == "=" && strings.HasSuffix(l, "{") {
			path = append(path, m[1])
		}
	}
	if n < 100 {
		t.Errorf("only %d attributes seen", n)
	}
}

// TestNotYetIsMarked: the page says of each row of package load's list that it is
// not in effect.
func TestNotYetIsMarked(t *testing.T) {
	text, err := os.ReadFile("../../spec/load/effect.go")
	if err != nil {
		t.Fatal(err)
	}
	got := string(languagePage().bytes())
	for _, m := range regexp.MustCompile(`"([a-z_.]+(?:=[a-z-]+)?)"[,:]`).FindAllStringSubmatch(string(text), -1) {
		if want := bold(strings.ReplaceAll(m[1], "=", " = ")); !strings.Contains(got, want) {
			t.Errorf("nines.hcl(5) does not say that %s is not in effect", m[1])
		}
	}
}
