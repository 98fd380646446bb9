package arch_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// source is one Go file of the tree.
type source struct {
	path  string // inside the module
	pkg   string // folder inside the module
	test  bool
	lines int
	fset  *token.FileSet
	file  *ast.File
	names map[string]string // local name of an import -> its path
}

// report says where a rule is broken, and by what.
type report func(n ast.Node, what string)

// rule is one thing that is not done, why, and what to do instead. Every rule
// has examples, which TestRulesFindTheirExamples runs: a rule that finds
// nothing is worse than none.
type rule struct {
	name  string
	why   string
	where func(s *source) bool // nil: everywhere
	find  func(s *source, r report)
	bad   []example
	good  []example
}

// example is a Go file, or the inside of a function when it begins otherwise
// than with "package".
type example struct {
	path string
	src  string
}

func TestRules(t *testing.T) {
	for _, s := range tree(t) {
		for _, ru := range rules {
			if ru.where != nil && !ru.where(s) {
				continue
			}
			ru.find(s, func(n ast.Node, what string) {
				t.Errorf("%s: %s: %s: %s", s.place(n), ru.name, what, ru.why)
			})
		}
	}
}

func TestRulesFindTheirExamples(t *testing.T) {
	for _, ru := range rules {
		if len(ru.bad) == 0 || len(ru.good) == 0 {
			t.Errorf("rule %q needs an example of each kind", ru.name)
		}
		for _, ex := range ru.bad {
			if found(t, ru, ex) == 0 {
				t.Errorf("rule %q does not find what is wrong in %s:\n%s", ru.name, ex.path, ex.src)
			}
		}
		for _, ex := range ru.good {
			if n := found(t, ru, ex); n != 0 {
				t.Errorf("rule %q finds %d faults in %s, which has none:\n%s", ru.name, n, ex.path, ex.src)
			}
		}
	}
}

// found counts what a rule finds in an example.
func found(t *testing.T, ru rule, ex example) int {
	t.Helper()
	src := ex.src
	if !strings.HasPrefix(src, "package ") {
		src = wrap(src)
	}
	s, err := parse(ex.path, []byte(src))
	if err != nil {
		t.Fatalf("rule %q: %v\n%s", ru.name, err, src)
	}
	if ru.where != nil && !ru.where(s) {
		return 0
	}
	n := 0
	ru.find(s, func(ast.Node, string) { n++ })
	return n
}

// wrap makes a file of statements, importing what they name.
func wrap(body string) string {
	src := "package p\n"
	for _, imp := range []string{"context", "fmt", "net/http", "os", "math/rand/v2", "sync", "testing", "testing/synctest", "time", "golang.org/x/sys/unix"} {
		name := path.Base(imp)
		if imp == "math/rand/v2" {
			name = "rand"
		}
		if strings.Contains(body, name+".") {
			src += "import " + strconv.Quote(imp) + "\n"
		}
	}
	return src + "func f(t *testing.T) {\n" + body + "\n}\n"
}

// parse reads one file.
func parse(name string, text []byte) (*source, error) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, name, text, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	s := &source{path: name, pkg: path.Dir(name), test: strings.HasSuffix(name, "_test.go"), fset: fset, file: f, names: map[string]string{}}
	s.lines = fset.File(f.Pos()).LineCount()
	for _, imp := range f.Imports {
		p, err := strconv.Unquote(imp.Path.Value)
		if err != nil {
			return nil, err
		}
		local := path.Base(p)
		if strings.HasPrefix(local, "v") && strings.Trim(local[1:], "0123456789") == "" {
			local = path.Base(path.Dir(p)) // math/rand/v2 is rand
		}
		if imp.Name != nil {
			local = imp.Name.Name
		}
		s.names[local] = p
	}
	return s, nil
}

// tree is every Go file of the module, whatever its build tags.
func tree(t *testing.T) []*source {
	t.Helper()
	var all []*source
	dir := root(t)
	for _, top := range topLevel {
		if !strings.HasSuffix(top, "/") || top == "bin/" {
			continue
		}
		err := filepath.WalkDir(filepath.Join(dir, top), func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(p, ".go") {
				return err
			}
			text, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(dir, p)
			if err != nil {
				return err
			}
			s, err := parse(filepath.ToSlash(rel), text)
			all = append(all, s)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(all) < 10 {
		t.Fatalf("only %d Go files found under %s", len(all), dir)
	}
	return all
}

// place is FILE:LINE.
func (s *source) place(n ast.Node) string {
	return s.path + ":" + strconv.Itoa(s.fset.Position(n.Pos()).Line)
}

// selector is "time.Now" with the import's path in full for x.Sel, and "" for
// anything else.
func (s *source) selector(n ast.Node) string {
	sel, ok := n.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	x, ok := sel.X.(*ast.Ident)
	if !ok || s.names[x.Name] == "" {
		return ""
	}
	return s.names[x.Name] + "." + sel.Sel.Name
}

// uses finds selectors by name; one that ends in .* means all of a package,
// except those that follow it with a minus.
func uses(names ...string) func(*source, report) {
	return func(s *source, r report) {
		ast.Inspect(s.file, func(n ast.Node) bool {
			name := s.selector(n)
			if name == "" || slices.Contains(names, "-"+name) {
				return true
			}
			if slices.Contains(names, name) || slices.Contains(names, name[:strings.LastIndexByte(name, '.')]+".*") {
				r(n, name)
			}
			return true
		})
	}
}

// in, tests and code say where a rule holds.
func in(patterns ...string) func(*source) bool {
	return func(s *source) bool { return !s.test && covers(patterns, s.pkg) }
}

func outside(patterns ...string) func(*source) bool {
	return func(s *source) bool { return !s.test && !covers(patterns, s.pkg) }
}

// product leaves out the programs of testdata, which misbehave on purpose.
func product(s *source) bool { return !s.test && !strings.HasPrefix(s.path, "testdata/") }

func tests(s *source) bool { return s.test }
func code(s *source) bool  { return !s.test }
