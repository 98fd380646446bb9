package load

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/hashicorp/hcl/v2"

	"nines/spec"
)

// The severities of a Diagnostic.
const (
	SeverityError   = "error"
	SeverityWarning = "warning"
)

// Diagnostic is one thing that is wrong with a specification. Code is stable
// and for machines; the texts are for people and may change.
type Diagnostic struct {
	Severity string  `json:"severity"`
	Code     string  `json:"code"`
	Summary  string  `json:"summary"`          // what is wrong
	Detail   string  `json:"detail,omitempty"` // what to write instead
	File     string  `json:"file,omitempty"`
	Line     int     `json:"line,omitempty"` // from 1; 0: the file as a whole
	Column   int     `json:"column,omitempty"`
	Related  []Place `json:"related,omitempty"` // other places that belong to it

	snippet snippet
}

// Place is another place that a Diagnostic speaks of.
type Place struct {
	Text   string `json:"text"` // "first defined here"
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`

	snippet snippet
}

// snippet is the source line of a place, fit for a terminal, and the runes of
// it to mark.
type snippet struct {
	line       string
	start, len int
}

// Diagnostics is everything that is wrong, in the order of the files and lines.
type Diagnostics []Diagnostic

// HasErrors tells whether any of them is an error; the rest are warnings.
func (d Diagnostics) HasErrors() bool {
	return slices.ContainsFunc(d, func(x Diagnostic) bool { return x.Severity == SeverityError })
}

// maxDiagnostics bounds the errors, and the warnings, that one load reports:
// beyond it nobody reads, and a hostile file could make millions.
const maxDiagnostics = 500

// report collects diagnostics while loading.
type report struct {
	files map[string]*source
	total int            // bytes of them
	order map[string]int // of the files
	list  Diagnostics
	seen  map[string]int // by severity

	tokens int // what the files may still hold: see maxTokens
}

func (r *report) add(d Diagnostic) {
	if r.seen[d.Severity]++; r.seen[d.Severity] <= maxDiagnostics {
		r.list = append(r.list, d)
	}
}

// at makes a diagnostic of a range.
func (r *report) at(severity, code string, rng hcl.Range, summary, detail string) *Diagnostic {
	return &Diagnostic{
		Severity: severity, Code: code, Summary: summary, Detail: detail,
		File: rng.Filename, Line: rng.Start.Line, Column: rng.Start.Column,
		snippet: r.snippet(rng),
	}
}

// full counts a diagnostic that is not kept, before its snippet is made.
func (r *report) full(severity string) bool {
	if r.seen[severity] < maxDiagnostics {
		return false
	}
	r.seen[severity]++
	return true
}

func (r *report) errorAt(code string, rng hcl.Range, summary, detail string) {
	if r.full(SeverityError) {
		return
	}
	r.add(*r.at(SeverityError, code, rng, summary, detail))
}

func (r *report) warnAt(code string, rng hcl.Range, summary, detail string) {
	if r.full(SeverityWarning) {
		return
	}
	r.add(*r.at(SeverityWarning, code, rng, summary, detail))
}

// errorBoth is an error that has two places.
func (r *report) errorBoth(code string, rng hcl.Range, summary, detail string, others ...Place) {
	d := r.at(SeverityError, code, rng, summary, detail)
	d.Related = others
	r.add(*d)
}

// place is another place for errorBoth.
func (r *report) place(rng hcl.Range, text string) Place {
	return Place{Text: text, File: rng.Filename, Line: rng.Start.Line, Column: rng.Start.Column, snippet: r.snippet(rng)}
}

// errorFile is an error about a file as a whole.
func (r *report) errorFile(code, file, summary, detail string) {
	r.add(Diagnostic{Severity: SeverityError, Code: code, Summary: summary, Detail: detail, File: file})
}

// finish returns what was collected, in order.
func (r *report) finish() Diagnostics {
	slices.SortStableFunc(r.list, func(a, b Diagnostic) int {
		return cmp.Or(cmp.Compare(r.order[a.File], r.order[b.File]), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	r.list = slices.CompactFunc(r.list, func(a, b Diagnostic) bool {
		return a.File == b.File && a.Line == b.Line && a.Column == b.Column && a.Code == b.Code && a.Summary == b.Summary
	})
	for _, severity := range []string{SeverityWarning, SeverityError} {
		if n := r.seen[severity] - maxDiagnostics; n > 0 {
			r.list = append(r.list, Diagnostic{
				Severity: severity, Code: "too_many", File: r.list[len(r.list)-1].File,
				Summary: fmt.Sprintf("%d more %ss are not shown", n, severity),
			})
		}
	}
	return r.list
}

func pos(rng hcl.Range) spec.Pos {
	return spec.Pos{File: rng.Filename, Line: rng.Start.Line, Column: rng.Start.Column}
}
