package load

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"nines/spec"
)

const (
	// maxFile is the size from which on a file is refused: ten thousand
	// services fit in it.
	maxFile = 4 << 20
	// maxTotal bounds all files of one load together.
	maxTotal = 64 << 20
)

// source is one file.
type source struct {
	name    string
	data    []byte
	body    *hclsyntax.Body
	items   []span         // its attributes and blocks, where the plain reader read it
	secrets map[int][]span // of the item, or of the file as number 0: literals inside env attributes, never shown
}

// span is a range of bytes.
type span struct{ start, end int }

// secret tells whether a byte belongs to a literal that is never shown. What is
// secret is found when it is first asked: most files load without a snippet.
func (s *source) secret(i int) bool {
	part, text := 0, span{0, len(s.data)}
	if s.items != nil {
		ok := false
		if part, ok = find(s.items, i); !ok {
			return false
		}
		text = s.items[part]
	}
	spans, known := s.secrets[part]
	if data := s.data[text.start:text.end]; !known && bytes.Contains(data, []byte("env")) {
		if mostTokens(data) > maxSecretTokens {
			spans = s.keepSecrets(part, []span{text})
		} else {
			start := hcl.InitialPos
			start.Byte = text.start
			tokens, _ := hclsyntax.LexConfig(data, s.name, start)
			spans = s.keepSecrets(part, secretSpans(tokens))
		}
	}
	_, is := find(spans, i)
	return is
}

func (s *source) keepSecrets(part int, spans []span) []span {
	if s.secrets == nil {
		s.secrets = map[int][]span{}
	}
	s.secrets[part] = spans
	return spans
}

// find returns which of some spans, in order, holds a byte.
func find(spans []span, i int) (int, bool) {
	n := sort.Search(len(spans), func(k int) bool { return spans[k].end > i })
	return n, n < len(spans) && spans[n].start <= i
}

// readAll reads the files that the paths name.
func (r *report) readAll(paths []string) []*source {
	var list []*source
	for _, p := range paths {
		for _, name := range r.expand(p) {
			if src := r.read(name); src != nil && !r.addSource(&list, src) {
				return list
			}
		}
	}
	return list
}

// addSource takes a file in; false: there is no room for more.
func (r *report) addSource(list *[]*source, src *source) bool {
	name := src.name
	if _, twice := r.files[name]; twice {
		r.errorFile("duplicate", name, "this file was named twice", "Name each file once: the folder that holds it, or the file itself.")
		return true
	}
	if len(src.data) > maxFile {
		r.tooLarge(name)
		return true
	}
	if r.total += len(src.data); r.total > maxTotal {
		r.errorFile("too_large", name, fmt.Sprintf("the files together are larger than %s", spec.FormatBytes(maxTotal)), "Split what they describe over several supervisors.")
		return false
	}
	r.order[name] = len(r.files)
	r.files[name] = src
	*list = append(*list, src)
	return true
}

// expand turns a folder into its *.hcl in name order. Names that begin with a
// dot are skipped: editors leave such files behind.
func (r *report) expand(path string) []string {
	info, err := os.Stat(path)
	if err != nil {
		r.unreadable(path, err)
		return nil
	}
	if !info.IsDir() {
		return []string{path}
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		r.unreadable(path, err)
		return nil
	}
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".hcl") && !strings.HasPrefix(e.Name(), ".") && !e.IsDir() {
			names = append(names, filepath.Join(path, e.Name()))
		}
	}
	if len(names) == 0 {
		r.errorFile("no_files", path, "the folder holds no *.hcl file", "Put a specification there, for example \"web.hcl\", or name another path with -f.")
	}
	slices.Sort(names)
	return names
}

func (r *report) unreadable(path string, err error) {
	reason, detail := err.Error(), ""
	var pe *fs.PathError
	if errors.As(err, &pe) {
		reason = pe.Err.Error()
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		reason, detail = "there is no such file or folder", "Name a file or a folder of *.hcl files with -f PATH."
	case errors.Is(err, fs.ErrPermission):
		reason, detail = "permission denied", "Run as a user who may read it, or change its mode."
	}
	r.errorFile("unreadable", path, "cannot read the specification: "+reason, detail)
}

// read reads one file, or says why it cannot be used.
func (r *report) read(name string) *source {
	// Not opened before it is known to be a plain file: opening a pipe that
	// nobody writes to would hang.
	info, err := os.Stat(name)
	if err != nil {
		r.unreadable(name, err)
		return nil
	}
	if !info.Mode().IsRegular() {
		r.errorFile("unreadable", name, "cannot read the specification: it is not a plain file", "Name a file or a folder of *.hcl files.")
		return nil
	}
	if info.Size() > maxFile {
		r.tooLarge(name)
		return nil
	}
	f, err := os.Open(name)
	if err != nil {
		r.unreadable(name, err)
		return nil
	}
	var data bytes.Buffer
	data.Grow(int(info.Size()) + bytes.MinRead)
	_, err = data.ReadFrom(io.LimitReader(f, maxFile+1))
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		r.unreadable(name, err)
		return nil
	}
	if data.Len() > maxFile {
		r.tooLarge(name)
		return nil
	}
	return &source{name: name, data: bytes.TrimPrefix(data.Bytes(), []byte("\xef\xbb\xbf"))}
}

func (r *report) tooLarge(name string) {
	r.errorFile("too_large", name, fmt.Sprintf("the file is larger than %s", spec.FormatBytes(maxFile)),
		"Split it: a folder's *.hcl files are read in name order and merged.")
}

// parse turns a source into its body, or reports why not. A body is returned
// only for a file without any syntax error: half a block would bring errors
// that are not there.
func (r *report) parse(src *source) bool {
	n := mostTokens(src.data)
	r.tokens -= n
	tooMany := r.tokens < 0
	if tooMany { // what is secret in it cannot be found out
		src.keepSecrets(0, []span{{0, len(src.data)}})
	}
	if i := firstBadByte(src.data); i >= 0 {
		rng := src.rangeAt(i, i+1)
		r.errorAt("not_utf8", rng, fmt.Sprintf("byte 0x%02x is not UTF-8", src.data[i]), "Save the file as UTF-8 text.")
		return false
	}
	if i := bytes.IndexByte(src.data, 0); i >= 0 {
		r.errorAt("not_text", src.rangeAt(i, i+1), "the file holds a zero byte", "A specification is a text file; this looks like a binary one.")
		return false
	}
	if tooMany {
		r.errorFile("too_large", src.name, fmt.Sprintf("the files up to here hold more than %d signs and words", maxTokens), "Split what they describe over several supervisors.")
		return false
	}
	given := r.tokens / hclTokens
	p := newPlain(src.name, src.data, given)
	if src.body, src.items = p.file(); src.body != nil {
		r.tokens -= hclTokens * (given - p.foreignLeft)
		return true
	}
	if n > given {
		src.keepSecrets(0, []span{{0, len(src.data)}})
		r.tooMuchForHCL(src, p.line)
		return false
	}
	r.tokens -= hclTokens * n
	if rng, what := scanTokens(src); what != "" {
		r.errorAt("too_deep", rng, what, "Split the expression: give its parts names in a locals block.")
		return false
	}
	file, diags := parseConfig(src)
	for _, d := range diags {
		r.addHCL("syntax", d)
	}
	if diags.HasErrors() || file == nil {
		return false
	}
	src.body = file
	return true
}

// tooMuchForHCL: something is wrong in a file, or more than the plain reader
// reads, and all of it is too large for HCL's parser. line is about where.
func (r *report) tooMuchForHCL(src *source, line int) {
	r.errorFile("too_large", src.name, fmt.Sprintf("something is wrong or unusual near line %d, and the file is too large to say what", line),
		fmt.Sprintf("What is more than names, strings, numbers, lists and maps counts %d times, and all may count %d signs and words. Split the file into smaller ones: a folder's *.hcl files are read in name order and merged.",
			hclTokens+1, maxTokens))
}

// parseConfig runs HCL's parser. A panic in it is a bug of it and must not end
// the supervisor that reads a changed file.
func parseConfig(src *source) (body *hclsyntax.Body, diags hcl.Diagnostics) {
	defer func() {
		if p := recover(); p != nil {
			body = nil
			diags = hcl.Diagnostics{{Severity: hcl.DiagError, Summary: "The parser failed on this file", Detail: fmt.Sprint(p), Subject: &hcl.Range{Filename: src.name, Start: hcl.InitialPos, End: hcl.InitialPos}}}
		}
	}()
	file, diags := hclsyntax.ParseConfig(src.data, src.name, hcl.InitialPos)
	if file == nil {
		return nil, diags
	}
	body, _ = file.Body.(*hclsyntax.Body)
	return body, diags
}

func firstBadByte(b []byte) int {
	if utf8.Valid(b) {
		return -1
	}
	for i := 0; i < len(b); {
		c, size := utf8.DecodeRune(b[i:])
		if c == utf8.RuneError && size <= 1 {
			return i
		}
		i += size
	}
	return -1
}

// rangeAt makes the range of some bytes.
func (s *source) rangeAt(start, end int) hcl.Range {
	line := 1 + bytes.Count(s.data[:start], []byte{'\n'})
	begin := bytes.LastIndexByte(s.data[:start], '\n') + 1
	column := 1 + utf8.RuneCount(s.data[begin:start])
	return hcl.Range{
		Filename: s.name,
		Start:    hcl.Pos{Line: line, Column: column, Byte: start},
		End:      hcl.Pos{Line: line, Column: column + 1, Byte: end},
	}
}

// addHCL takes over a diagnostic of HCL.
func (r *report) addHCL(code string, d *hcl.Diagnostic) {
	var rng hcl.Range
	if d.Subject != nil {
		rng = *d.Subject
	}
	if _, ok := d.Extra.(overdraft); ok {
		code = "too_large"
	}
	severity := SeverityError
	if d.Severity == hcl.DiagWarning {
		severity = SeverityWarning
	}
	r.add(*r.at(severity, code, rng, lowerFirst(strings.TrimSuffix(d.Summary, ".")), d.Detail))
}

func lowerFirst(s string) string {
	if len(s) > 1 && s[0] >= 'A' && s[0] <= 'Z' && (s[1] < 'A' || s[1] > 'Z') {
		return strings.ToLower(s[:1]) + s[1:]
	}
	return s
}
