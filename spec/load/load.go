package load

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"nines/spec"
)

// Options are the circumstances of a Load.
type Options struct {
	Environ []string // what env.NAME stands for, as "NAME=value"; nil: os.Environ()
	Host    *Host    // what host.* stands for; nil: this machine
}

// Load reads specifications: each path is a file, or a folder whose *.hcl are
// read in name order; all are merged. The *Spec is nil when there are errors;
// warnings may come with it.
func Load(paths []string, o Options) (*spec.Spec, Diagnostics) {
	d := newDecoder(o)
	return d.load(d.readPaths(paths))
}

// File is a file of a specification that was read: its name, for diagnostics, and
// what it holds.
type File struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// Read reads the files that Load would, with its bounds, and nothing more: what
// is in them may be wrong.
func Read(paths []string) ([]File, Diagnostics) {
	d := newDecoder(Options{})
	sources := d.readPaths(paths)
	diags := d.finish()
	if diags.HasErrors() {
		return nil, diags
	}
	files := make([]File, len(sources))
	for i, src := range sources {
		files[i] = File{src.name, string(src.data)}
	}
	return files, diags
}

// LoadFiles is Load of files that were read before, perhaps by somebody else:
// whatever they hold is bounded as Load bounds it. Paths in them mean what they
// mean here.
func LoadFiles(files []File, o Options) (*spec.Spec, Diagnostics) {
	d := newDecoder(o)
	var sources []*source
	if len(files) == 0 {
		d.errorFile("no_files", "", "no specification is given", "")
	}
	for _, f := range files {
		if !d.addSource(&sources, &source{name: f.Name, data: []byte(f.Text)}) {
			break
		}
	}
	return d.load(sources)
}

func (d *decoder) readPaths(paths []string) []*source {
	if len(paths) == 0 {
		d.errorFile("no_files", "", "no specification is named", "Name a file or a folder with -f PATH.")
	}
	return d.readAll(paths)
}

func (d *decoder) load(sources []*source) (*spec.Spec, Diagnostics) {
	intact := len(d.list) == 0
	for _, src := range sources {
		if !d.parse(src) {
			intact = false
		}
	}
	s := d.decode(sources)
	if intact {
		d.validate(s)
	}
	diags := d.finish()
	if diags.HasErrors() {
		return nil, diags
	}
	return s, diags
}

// decoder is one Load.
type decoder struct {
	report
	environ   map[string]string
	hostGiven *Host
	functions functionTable
	work      int // what all evaluations may still produce
	exhausted bool
	locals    map[string]*local
	blocks    map[*spec.Service]*block // for the places of attributes
	groups    map[string]*block        // by name
	accounts  accounts
	tainted   map[string]bool // attributes whose values come from the environment, by taintKey
	spare     []asked
}

func newDecoder(o Options) *decoder {
	environ := o.Environ
	if environ == nil {
		environ = os.Environ()
	}
	d := &decoder{
		report:    report{files: map[string]*source{}, order: map[string]int{}, seen: map[string]int{}, tokens: maxTokens},
		environ:   make(map[string]string, len(environ)),
		hostGiven: o.Host,
		functions: functions(),
		work:      maxLoadWork,
		locals:    map[string]*local{},
		blocks:    map[*spec.Service]*block{},
		groups:    map[string]*block{},
		tainted:   map[string]bool{},
		accounts:  accounts{users: map[string]error{}, groups: map[string]error{}},
	}
	for _, kv := range environ {
		if k, v, ok := strings.Cut(kv, "="); ok {
			d.environ[k] = v
		}
	}
	return d
}

func (d *decoder) env(name string) (string, bool) {
	v, ok := d.environ[name]
	return v, ok
}

// host returns what host.* stands for. A machine whose figures cannot be read
// has none, and a percentage of them is not judged.
func (d *decoder) host() *Host {
	if d.hostGiven == nil {
		h, err := ThisHost()
		if err != nil {
			d.add(Diagnostic{Severity: SeverityWarning, Code: "host", Summary: err.Error(), Detail: "host.* and percentages count as zero."})
			h = &Host{}
		}
		d.hostGiven = h
	}
	return d.hostGiven
}

// fold folds an attribute's expression. false: it is wrong, and that was
// reported.
func (d *decoder) fold(e hclsyntax.Expression, svc *service, quiet bool) (folded hclsyntax.Expression, ok bool) {
	if d.exhausted {
		return nil, false
	}
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if _, spent := p.(overdraft); !spent {
			panic(p)
		}
		d.exhausted = true
		d.errorAt("too_large", e.Range(), "the expressions up to here make more values than one specification may",
			fmt.Sprintf("All values together may take up to %s: make the locals smaller.", spec.FormatBytes(maxLoadWork)))
		folded, ok = nil, false
	}()
	f := &folder{d: d, quiet: quiet}
	if svc != nil {
		f.service = svc.name
	}
	folded = f.expr(e)
	return folded, !f.failed
}

// local is one attribute of a locals block.
type local struct {
	name        string
	attr        *hclsyntax.Attribute
	state       localState
	value       hclsyntax.Expression
	size        int
	usesService bool
}

type localState uint8

const (
	localUnread localState = iota
	localReading
	localGood
	localBad
)

func (d *decoder) localNames() []string { return sortedKeys(d.locals) }

// readLocals collects the locals of all files and evaluates them.
func (d *decoder) readLocals(sources []*source) {
	for _, src := range sources {
		if src.body == nil {
			continue
		}
		for _, x := range src.body.Blocks {
			if x.Type == "locals" {
				d.readLocalsBlock(x)
			}
		}
	}
	for _, name := range d.localNames() {
		l := d.locals[name]
		d.resolveLocal(l, l.attr.NameRange)
	}
}

func (d *decoder) readLocalsBlock(x *hclsyntax.Block) {
	if len(x.Labels) > 0 {
		d.errorAt("labels", x.LabelRanges[0], "a locals block has no name", "Write locals { … }.")
	}
	for _, b := range x.Body.Blocks {
		d.errorAt("unknown_block", b.TypeRange, fmt.Sprintf("locals hold values, and %q is a block", b.Type), fmt.Sprintf("Write %s = { … }.", b.Type))
	}
	for _, name := range sortedKeys(x.Body.Attributes) {
		a := x.Body.Attributes[name]
		if first := d.locals[name]; first != nil {
			d.errorBoth("duplicate", a.NameRange, fmt.Sprintf("local %q is defined twice", name), "Rename one of them, or leave it out.",
				d.place(first.attr.NameRange, "first defined here"))
			continue
		}
		d.locals[name] = &local{name: name, attr: a}
	}
}

// resolveLocal evaluates a local when it is first needed.
func (d *decoder) resolveLocal(l *local, at hcl.Range) bool {
	switch l.state {
	case localGood:
		return true
	case localBad:
		return false
	case localReading:
		d.errorBoth("cycle", at, fmt.Sprintf("local %q is defined by itself", l.name), "Define one of the locals of this circle without the others.",
			d.place(l.attr.NameRange, "it is defined here"))
		return false
	}
	l.state = localReading
	value, ok := d.fold(l.attr.Expr, nil, false)
	l.state = localBad
	if !ok {
		return false
	}
	text, fits := printExpr(value)
	if !fits {
		d.errorAt("too_large", l.attr.Expr.Range(), fmt.Sprintf("local %q is larger than 1 MiB", l.name), "Make it smaller.")
		return false
	}
	l.value, l.size, l.state = value, len(text), localGood
	l.usesService = slices.Contains(refsOf(value), ref{"service", "name"})
	return true
}

// decode reads the blocks of all files into a Spec, as far as they are right.
func (d *decoder) decode(sources []*source) *spec.Spec {
	d.readLocals(sources)
	var all hclsyntax.Body
	all.Attributes = hclsyntax.Attributes{}
	for _, src := range sources {
		if src.body == nil {
			continue
		}
		all.Blocks = append(all.Blocks, src.body.Blocks...)
		for _, name := range sortedKeys(src.body.Attributes) {
			a := src.body.Attributes[name]
			d.errorAt("unknown_attribute", a.NameRange, fmt.Sprintf("%q stands outside any block", name),
				didYouMean(name, topBlocks(), "Attributes belong into a service, supervisor or locals block."))
		}
	}
	s := &spec.Spec{Supervisor: defaultSupervisor()}
	top := &block{d: d, title: "a specification", body: &all}
	top.blocks = append(top.blocks, "locals")
	top.sub("supervisor", func(b *block) { b.supervisor(&s.Supervisor) })
	named(top, "check", "root", spec.CheckName, &s.Checks, (*block).nodeCheck)
	named(top, "alert", "page", spec.CheckName, &s.Alerts, (*block).alert)
	named(top, "group", "app", spec.CheckName, &s.Groups, (*block).group)
	named(top, "service", "web", spec.CheckName, &s.Services, (*block).serviceBlock)
	top.finish()
	return s
}

func topBlocks() []string {
	return []string{"supervisor", "locals", "check", "alert", "group", "service"}
}

func sortedKeys[M ~map[string]V, V any](m M) []string { return slices.Sorted(maps.Keys(m)) }
