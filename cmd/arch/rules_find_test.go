package arch_test

import (
	"go/ast"
	"go/token"
	"regexp"
	"strings"
)

var (
	unfinished = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|X` + `XX|HA` + `CK)\b`)
	silenced   = regexp.MustCompile(`no` + `lint|lint:` + `ignore|lint:` + `file-ignore`)
)

// comments finds a pattern in comments.
func comments(s *source, re *regexp.Regexp, r report) {
	for _, g := range s.file.Comments {
		for _, c := range g.List {
			if found := re.FindString(c.Text); found != "" {
				r(c, found)
			}
		}
	}
}

// globals finds package-level variables that a function of the same file
// changes, or that are made to be changed. (Shadowing is told apart by the
// parser's own resolution; a change from another file of the package is found
// by name.)
func globals(s *source, r report) {
	vars := map[string]bool{}
	for _, d := range s.file.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.VAR {
			continue
		}
		for _, sp := range g.Specs {
			v := sp.(*ast.ValueSpec)
			for _, n := range v.Names {
				vars[n.Name] = n.Name != "_"
			}
			if typ := s.selector(v.Type); strings.HasPrefix(typ, "sync.") || strings.HasPrefix(typ, "sync/atomic.") {
				r(v, typ)
			}
		}
	}
	changed := func(e ast.Expr) {
		for {
			switch x := e.(type) {
			case *ast.IndexExpr:
				e = x.X
				continue
			case *ast.SelectorExpr:
				e = x.X
				continue
			case *ast.StarExpr:
				e = x.X
				continue
			case *ast.ParenExpr:
				e = x.X
				continue
			case *ast.Ident:
				if vars[x.Name] && (x.Obj == nil || isPackageVar(s.file, x)) {
					r(x, x.Name+" changes")
				}
			}
			return
		}
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			if n.Tok != token.DEFINE {
				for _, l := range n.Lhs {
					changed(l)
				}
			}
		case *ast.IncDecStmt:
			changed(n.X)
		}
		return true
	})
}

// isPackageVar says whether an identifier means the variable at the top of
// the file, not one of the same name inside a function.
func isPackageVar(f *ast.File, id *ast.Ident) bool {
	return f.Scope.Lookup(id.Name) == id.Obj
}

// sleeps finds time.Sleep outside a polling loop and outside synctest. A
// function literal begins anew: what it runs on is not the loop around it.
func sleeps(s *source, r report) {
	var walk func(n ast.Node, fine bool)
	walk = func(n ast.Node, fine bool) {
		ast.Inspect(n, func(c ast.Node) bool {
			switch c := c.(type) {
			case nil:
				return false
			case *ast.ForStmt:
				if c != n {
					walk(c.Body, true)
					return false
				}
			case *ast.RangeStmt:
				if c != n {
					walk(c.Body, true)
					return false
				}
			case *ast.FuncLit:
				walk(c.Body, false)
				return false
			case *ast.CallExpr:
				if name := s.selector(c.Fun); name == "testing/synctest.Test" {
					return false // its time is not real
				}
				if s.selector(c.Fun) == "time.Sleep" && !fine {
					r(c, "time.Sleep")
				}
			}
			return true
		})
	}
	walk(s.file, false)
}

// skips finds skipped tests that do not say why.
func skips(s *source, r report) {
	ast.Inspect(s.file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		switch sel.Sel.Name {
		case "SkipNow":
			r(call, "SkipNow")
		case "Skip", "Skipf":
			x, isIdent := sel.X.(*ast.Ident)
			if !isIdent || len(x.Name) > 2 { // t, b, f, tb: not some other type's Skip
				return true
			}
			if len(call.Args) > 0 {
				if lit, ok := call.Args[0].(*ast.BasicLit); ok && strings.HasPrefix(lit.Value, `"skipped: `) {
					return true
				}
			}
			r(call, sel.Sel.Name)
		}
		return true
	})
}

// discards finds `_ = call()` with no comment on its line or just above: one
// comment may speak for a few of them. Close says enough by itself: where its
// error matters, for what was written, it is Sync's error that is looked at.
func discards(s *source, r report) {
	explained := map[int]bool{}
	for _, g := range s.file.Comments {
		explained[s.fset.Position(g.Pos()).Line] = true
		explained[s.fset.Position(g.End()).Line] = true
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		a, ok := n.(*ast.AssignStmt)
		if !ok || a.Tok != token.ASSIGN || len(a.Rhs) != 1 {
			return true
		}
		call, ok := a.Rhs[0].(*ast.CallExpr)
		if !ok {
			return true
		}
		if sel, ok := call.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Close" {
			return true
		}
		for _, l := range a.Lhs {
			if id, ok := l.(*ast.Ident); !ok || id.Name != "_" {
				return true
			}
		}
		for line := s.fset.Position(a.Pos()).Line; ; line-- {
			if explained[line] {
				return true
			}
			if line <= s.fset.Position(a.Pos()).Line-4 {
				r(a, "_ =")
				return true
			}
		}
	})
}

// cloexec are the calls that take close-on-exec as a flag, and which argument
// that is; plain are those that cannot, and what to call instead.
var (
	cloexec = map[string]int{"Open": 1, "Openat": 2, "Socket": 1, "Socketpair": 1, "Pipe2": 1, "Accept4": 1, "EpollCreate1": 0,
		"Eventfd": 1, "InotifyInit1": 0, "MemfdCreate": 1, "Signalfd": 2, "TimerfdCreate": 1, "Dup3": 2, "FanotifyInit": 0}
	plain = map[string]string{"Pipe": "Pipe2", "Dup": "FcntlInt(F_DUPFD_CLOEXEC)", "Dup2": "Dup3", "Accept": "Accept4",
		"EpollCreate": "EpollCreate1", "InotifyInit": "InotifyInit1", "Creat": "Open"}
)

// inherited finds descriptors made without close-on-exec. Flags that a wrapper
// is handed in a variable are its caller's.
func inherited(s *source, r report) {
	ast.Inspect(s.file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		name, ok := strings.CutPrefix(s.selector(call.Fun), "golang.org/x/sys/unix.")
		if !ok {
			if name, ok = strings.CutPrefix(s.selector(call.Fun), "syscall."); !ok {
				return true
			}
		}
		if instead := plain[name]; instead != "" {
			r(call, name+" (use "+instead+")")
		}
		flags, takes := cloexec[name]
		if !takes || flags >= len(call.Args) {
			return true
		}
		if _, variable := call.Args[flags].(*ast.Ident); variable {
			return true
		}
		said := false
		ast.Inspect(call.Args[flags], func(n ast.Node) bool {
			if id, ok := n.(*ast.Ident); ok && strings.Contains(id.Name, "CLOEXEC") {
				said = true
			}
			return true
		})
		if !said {
			r(call, name)
		}
		return true
	})
}
