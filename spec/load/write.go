package load

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
)

// snippetWidth is how much of a line is shown: enough for any line that a
// person wrote, and a bound for one that a program did.
const snippetWidth = 160

// snippet cuts the line of a range out of its file.
func (r *report) snippet(rng hcl.Range) snippet {
	src := r.files[rng.Filename]
	if src == nil || rng.Start.Byte > len(src.data) {
		return snippet{}
	}
	begin := bytes.LastIndexByte(src.data[:rng.Start.Byte], '\n') + 1
	end := len(src.data)
	if i := bytes.IndexByte(src.data[rng.Start.Byte:], '\n'); i >= 0 {
		end = rng.Start.Byte + i
	}
	end = max(begin, end)
	markEnd := min(max(rng.End.Byte, rng.Start.Byte), end)
	cutFront, cutBack := false, false
	if rng.Start.Byte-begin > snippetWidth {
		begin, cutFront = runeStart(src.data, rng.Start.Byte-snippetWidth/2), true
	}
	if end-rng.Start.Byte > snippetWidth {
		end, cutBack = runeStart(src.data, rng.Start.Byte+snippetWidth), true
		markEnd = min(markEnd, end)
	}
	var line strings.Builder
	var s snippet
	if cutFront {
		line.WriteString("…")
		s.start++
	}
	for i := begin; i < end; {
		c, size := utf8.DecodeRune(src.data[i:end])
		switch {
		case src.secret(i):
			c = '*'
		case c == '\r' && i == end-1:
			i += size
			continue
		case c != '\t' && !unicode.IsPrint(c):
			// An escape sequence in a file must not reach the terminal.
			c = '·'
		}
		line.WriteRune(c)
		switch {
		case i < rng.Start.Byte:
			s.start++
		case i < markEnd:
			s.len++
		}
		i += size
	}
	if cutBack {
		line.WriteString("…")
	}
	s.len = max(1, s.len)
	s.line = line.String()
	return s
}

func runeStart(b []byte, i int) int {
	for i > 0 && i < len(b) && !utf8.RuneStart(b[i]) {
		i--
	}
	return i
}

// write prints the line and the marks under it.
func (s snippet) write(b *strings.Builder, color bool) {
	if s.line == "" && s.start == 0 {
		return
	}
	fmt.Fprintf(b, "    %s\n    ", s.line)
	n := 0
	for _, c := range s.line {
		if n == s.start {
			break
		}
		if c != '\t' {
			c = ' '
		}
		b.WriteRune(c)
		n++
	}
	b.WriteString(paint(color, "32", strings.Repeat("^", s.len)))
	b.WriteByte('\n')
}

// Write prints the diagnostics for people: `FILE:LINE:COL: error: what is
// wrong`, the source line with the place marked, and what to write instead.
func (d Diagnostics) Write(w io.Writer, color bool) error {
	var b strings.Builder
	for i := range d {
		x := &d[i]
		tone := "31"
		if x.Severity == SeverityWarning {
			tone = "33"
		}
		fmt.Fprintf(&b, "%s%s %s\n", head(x.File, x.Line, x.Column), paint(color, tone, x.Severity+":"), printable(x.Summary))
		x.snippet.write(&b, color)
		for _, p := range x.Related {
			fmt.Fprintf(&b, "  %s%s\n", head(p.File, p.Line, p.Column), printable(p.Text))
			p.snippet.write(&b, color)
		}
		if x.Detail != "" {
			fmt.Fprintf(&b, "  %s\n", strings.ReplaceAll(printable(x.Detail), "\n", "\n  "))
		}
		if _, err := io.WriteString(w, b.String()); err != nil {
			return fmt.Errorf("cannot write the diagnostics: %w", err)
		}
		b.Reset()
	}
	return nil
}

func head(file string, line, column int) string {
	switch {
	case file == "":
		return ""
	case line == 0:
		return printable(file) + ": "
	}
	return fmt.Sprintf("%s:%d:%d: ", printable(file), line, column)
}

func paint(color bool, tone, s string) string {
	if !color {
		return s
	}
	return "\x1b[" + tone + "m" + s + "\x1b[0m"
}

func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if c == '\n' || unicode.IsPrint(c) {
			return c
		}
		return '·'
	}, s)
}
