package man

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// commandPages are the pages of the root and of every command below it that
// people are to see.
func commandPages(root *cobra.Command) []*page {
	var all []*page
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		all = append(all, commandPage(c))
		for _, sub := range visible(c) {
			walk(sub)
		}
	}
	walk(root)
	return all
}

func visible(c *cobra.Command) []*cobra.Command {
	var all []*cobra.Command
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() && sub.Name() != "help" {
			all = append(all, sub)
		}
	}
	return all
}

func pageName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

func commandPage(c *cobra.Command) *page {
	p := newPage(pageName(c), 1, lowerFirst(c.Short))
	p.heading("synopsis")
	synopsis(p, c)
	p.heading("description")
	long := c.Long
	if long == "" {
		long = c.Short + "."
	}
	p.text(long)
	commands(p, c)
	flags(p, "options", c.NonInheritedFlags())
	if c.HasParent() {
		flags(p, "options of all commands", c.InheritedFlags())
	}
	if c.Example != "" {
		p.heading("examples")
		p.example(c.Example)
	}
	if !c.HasParent() {
		aboutAll(p)
		p.see(".BR nines.hcl (5)", ".BR nines\\-init (8)", ".BR nines\\-exec (8)", ".BR nines\\-log (8)")
		return p
	}
	p.heading("exit status")
	p.words("See")
	p.line(".BR nines (1).")
	p.see(seeAlso(c)...)
	return p
}

// synopsis is the usage, the words to type in bold.
func synopsis(p *page, c *cobra.Command) {
	words := strings.Fields(c.UseLine())
	n := len(strings.Fields(c.CommandPath()))
	line := bold(strings.Join(words[:n], " "))
	for _, w := range words[n:] {
		line += " " + escape(w)
	}
	p.line(line)
	if c.HasSubCommands() && !c.HasParent() {
		p.line(".br")
		p.line(bold(c.CommandPath()), " ", italic("COMMAND"), " [flags] ...")
	}
}

// commands lists those below c, by their groups.
func commands(p *page, c *cobra.Command) {
	subs := visible(c)
	if len(subs) == 0 {
		return
	}
	p.heading("commands")
	list := func(group string) {
		for _, sub := range subs {
			if sub.GroupID == group {
				p.item(bold(sub.CommandPath()), lowerFirst(sub.Short)+"; see\n")
				p.line(".BR ", escape(pageName(sub)), " (1).")
			}
		}
	}
	for _, g := range c.Groups() {
		p.subheading(strings.TrimSuffix(g.Title, ":"))
		list(g.ID)
	}
	if slices.ContainsFunc(subs, func(s *cobra.Command) bool { return s.GroupID == "" }) {
		if len(c.Groups()) > 0 {
			p.subheading("Others")
		}
		list("")
	}
}

func flags(p *page, title string, set *pflag.FlagSet) {
	first := true
	set.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		if first {
			p.heading(title)
			first = false
		}
		value, usage := pflag.UnquoteUsage(f)
		term := bold("--" + f.Name)
		if f.Shorthand != "" {
			term = bold("-"+f.Shorthand) + ", " + term
		}
		if value != "" {
			term += " " + italic(value)
		}
		switch f.DefValue {
		case "", "false", "[]", "0", "0s":
		default:
			usage += " (default " + f.DefValue + ")"
		}
		p.item(term, usage)
	})
}

func seeAlso(c *cobra.Command) []string {
	var refs []string
	for up := c.Parent(); up != nil; up = up.Parent() {
		refs = append(refs, ".BR "+escape(pageName(up))+" (1)")
	}
	return append(refs, ".BR nines.hcl (5)")
}

// aboutAll is what holds for all commands, on the page of the root.
func aboutAll(p *page) {
	p.heading("exit status")
	for _, e := range [][2]string{
		{"0", "done"}, {"1", "it failed: the service did not come up, the specification is wrong"}, {"2", "wrong usage"},
		{"3", "no supervisor answers at the socket"}, {"4", "not permitted"}, {"5", "no such service or instance"},
		{"128+N", "ended by signal N"},
	} {
		p.item(bold(e[0]), e[1])
	}
	p.heading("environment")
	for _, e := range [][2]string{
		{"NINES_RUNTIME_DIR", "runtime folder, where the control socket is"}, {"NINES_SOCKET", "the control socket"},
		{"NINES_STATE_DIR", "state folder: what must last"}, {"NINES_LOG_DIR", "log folder"},
		{"NO_COLOR", "no colour, also on a terminal"},
	} {
		p.item(bold(e[0]), e[1])
	}
	p.heading("files")
	for _, e := range [][2]string{
		{"/etc/nines/*.hcl", "the specification, where no -f names another"},
		{"/run/nines", "runtime folder of root; otherwise $XDG_RUNTIME_DIR/nines, else /tmp/nines-UID"},
		{"/var/lib/nines", "state of root; otherwise $XDG_STATE_HOME/nines, else ~/.local/state/nines"},
		{"/var/log/nines", "logs of root; otherwise the folder log in the state folder"},
	} {
		p.item(italic(e[0]), e[1])
	}
}

func lowerFirst(s string) string {
	if len(s) > 1 && s[1] >= 'a' && s[1] <= 'z' || strings.HasPrefix(s, "A ") {
		return strings.ToLower(s[:1]) + s[1:]
	}
	return s
}
