package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// tested runs a command line in this process, away from any supervisor.
func tested(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	dir := t.TempDir()
	a := &app{args: args, in: strings.NewReader(""), out: &out, err: &err, uid: os.Getuid(), now: fixedNow, getenv: func(name string) string {
		if name == "NINES_RUNTIME_DIR" || name == "HOME" {
			return filepath.Join(dir, "none")
		}
		return ""
	}}
	root := newRootCmd(a)
	root.SetArgs(args)
	code = a.finish(root.Execute())
	return code, out.String(), err.String()
}

// everyCommand is the tree as the binary has it.
func everyCommand() (all []*cobra.Command) {
	root := newRootCmd(&app{getenv: func(string) string { return "" }})
	root.InitDefaultHelpCmd()
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		all = append(all, c)
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
	return all
}

// words are the arguments behind the program's name.
func words(c *cobra.Command) []string { return strings.Fields(c.CommandPath())[1:] }

// TestHelpIsWhole: every command says what it does, at length where it takes
// arguments or flags of its own to be explained, and shows how it is used; and
// the examples are right.
func TestHelpIsWhole(t *testing.T) {
	for _, c := range everyCommand() {
		name := c.CommandPath()
		switch {
		case c.Short == "" || strings.HasSuffix(c.Short, ".") || strings.ToUpper(c.Short[:1]) != c.Short[:1]:
			t.Errorf("%s: Short is %q: a sentence without its full stop", name, c.Short)
		case len(c.Short) > 90:
			t.Errorf("%s: Short is longer than 90 columns", name)
		case c.Long == c.Short:
			t.Errorf("%s: Long says no more than Short", name)
		}
		for l := range strings.Lines(c.Long) {
			if len(l) > 130 {
				t.Errorf("%s: a line of Long is %d columns", name, len(l))
			}
		}
		if c.Example == "" {
			t.Errorf("%s has no Example", name)
		}
		for l := range strings.Lines(c.Example) {
			l, _, _ = strings.Cut(strings.TrimSpace(l), "  #")
			rest, ok := strings.CutPrefix(strings.TrimSpace(l), "nines")
			if !ok || !strings.HasPrefix(strings.TrimSpace(l), name) && c.HasParent() {
				t.Errorf("%s: example %q is not one of it", name, l)
				continue
			}
			args := strings.Fields(rest)
			root := newRootCmd(&app{getenv: func(string) string { return "" }})
			root.InitDefaultHelpCmd()
			found, left, err := root.Find(args)
			if err == nil {
				err = found.ParseFlags(left)
			}
			if err == nil {
				err = found.ValidateArgs(found.Flags().Args())
			}
			if err != nil || c.HasParent() && found.CommandPath() != name {
				t.Errorf("%s: example %q: %v (of %s)", name, l, err, found.CommandPath())
			}
		}
		args := append(words(c), "--help")
		code, out, stderr := tested(t, args...)
		if code != 0 || stderr != "" || !strings.Contains(out, "Usage:") || c.Example != "" && !strings.Contains(out, c.Example) {
			t.Errorf("%q: %d, %s%s", args, code, out, stderr)
		}
	}
}

// TestWrongUsage: whatever is wrong with a command line exits 2, says so in one
// line on stderr, and says where to look or what is expected.
func TestWrongUsage(t *testing.T) {
	hinted := func(args ...string) {
		t.Helper()
		code, out, stderr := tested(t, args...)
		hint := strings.Contains(stderr, "--help") || strings.Contains(stderr, "usage: nines ") || strings.Contains(stderr, "did you mean")
		if code != exitUsage || out != "" || !strings.HasPrefix(stderr, "nines: ") || strings.Count(stderr, "\n") != 1 || !hint {
			t.Errorf("%q: exit %d, %q, %q", args, code, out, stderr)
		}
	}
	for _, c := range everyCommand() {
		args := words(c)
		hinted(append(args, "--no-such-flag")...)
		if c.HasSubCommands() {
			hinted(append(args, "nosuch")...)
			continue
		}
		if c.Name() == "help" {
			continue
		}
		// As many arguments as the usage line names, then one more.
		_, rest, _ := strings.Cut(c.Use, " ")
		for strings.Contains(rest, "[-") {
			before, flag, _ := strings.Cut(rest, "[-")
			_, after, _ := strings.Cut(flag, "]")
			rest = before + strings.TrimLeft(after, "….")
		}
		if strings.Contains(rest, "…") || strings.Contains(rest, "...") {
			continue
		}
		n := len(strings.Fields(rest))
		hinted(append(args, strings.Fields(strings.Repeat(" x", n+1))...)...)
		if !strings.Contains(rest, "[") || strings.Contains(rest, "SERVICE[") && !strings.HasPrefix(rest, "[") {
			if n > 0 {
				hinted(append(args, strings.Fields(strings.Repeat(" x", n-1))...)...)
			}
		}
	}
}
