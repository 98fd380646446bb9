package man

import (
	"fmt"
	"strings"
)

// page is one man page, in the macros of man(7) that groff and mandoc share.
type page struct {
	name    string // file and title: nines-start
	section int
	brief   string // behind the name, in one line
	body    strings.Builder
	fresh   bool // nothing stands below the heading yet
}

func newPage(name string, section int, brief string) *page {
	return &page{name: name, section: section, brief: brief}
}

// path is where the page belongs below share/man.
func (p *page) path() string { return fmt.Sprintf("man%d/%s.%d", p.section, p.name, p.section) }

// bytes is the whole page. It says no date: the same tree gives the same bytes.
func (p *page) bytes() []byte {
	return []byte(fmt.Sprintf(".TH %q %d \"\" \"nines\" \"nines\"\n.SH NAME\n%s \\- %s\n", strings.ToUpper(p.name), p.section, escape(p.name), escape(p.brief)) +
		p.body.String())
}

// line writes a macro or a line that is roff already.
func (p *page) line(parts ...string) {
	p.body.WriteString(strings.Join(parts, "") + "\n")
	p.fresh = false
}

func (p *page) heading(text string) {
	p.line(".SH ", escape(strings.ToUpper(text)))
	p.fresh = true
}

// subheading is part of a section; a quote would begin an argument of the macro.
func (p *page) subheading(text string) {
	p.line(".SS ", strings.ReplaceAll(escape(text), `"`, `\(dq`))
}

// text writes paragraphs, which a blank line divides; a paragraph whose lines
// are indented is shown as it stands.
func (p *page) text(s string) {
	for i, par := range strings.Split(strings.Trim(s, "\n"), "\n\n") {
		if strings.HasPrefix(par, "  ") {
			p.example(par)
			continue
		}
		if i > 0 {
			p.line(".PP")
		}
		for l := range strings.Lines(par) {
			p.words(strings.TrimSpace(l))
		}
	}
}

// words writes one line of a paragraph.
func (p *page) words(s string) {
	if s != "" {
		p.line(escapeLine(s))
	}
}

// example shows lines as they stand, without the indent that they share.
func (p *page) example(s string) {
	lines := strings.Split(strings.Trim(s, "\n"), "\n")
	indent := len(lines[0])
	for _, l := range lines {
		if t := strings.TrimLeft(l, " "); t != "" {
			indent = min(indent, len(l)-len(t))
		}
	}
	if !p.fresh {
		p.line(".PP")
	}
	p.line(".in +4n")
	p.line(".nf")
	for _, l := range lines {
		p.line(escapeLine(l[min(indent, len(l)):]))
	}
	p.line(".fi")
	p.line(".in")
}

// item is a term and what it means. The term is roff already.
func (p *page) item(term, meaning string) {
	p.line(".TP")
	p.line(term)
	for l := range strings.Lines(strings.TrimSpace(meaning)) {
		p.words(strings.TrimSpace(l))
	}
}

// see names other pages.
func (p *page) see(refs ...string) {
	p.heading("see also")
	for i, r := range refs {
		if i < len(refs)-1 {
			r += " ,"
		}
		p.line(r)
	}
}

func bold(s string) string   { return `\fB` + escape(s) + `\fR` }
func italic(s string) string { return `\fI` + escape(s) + `\fR` }

// escapeLine is escape for the beginning of a line, where a dot or a quote
// would make it a request.
func escapeLine(s string) string {
	s = escape(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		return `\&` + s
	}
	return s
}

// escape makes text roff. Hyphens are all minus signs, so that what is copied
// from a page is what was written; what is not ASCII is named by its number.
func escape(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\\':
			b.WriteString(`\e`)
		case r == '-':
			b.WriteString(`\-`)
		case r == '\'':
			b.WriteString(`\(aq`)
		case r == '`':
			b.WriteString(`\(ga`)
		case r == '^':
			b.WriteString(`\(ha`)
		case r == '~':
			b.WriteString(`\(ti`)
		case r == '…':
			b.WriteString("...")
		case r > '~':
			fmt.Fprintf(&b, `\[u%04X]`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
