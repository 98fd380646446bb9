package load

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// block reads one block of the language. Every attribute and block that is
// asked for by name counts as known; what is left in the end is reported as
// unknown, with the nearest known name.
type block struct {
	d       *decoder
	path    string // in the language, for notYet: "service.restart"
	title   string // for people: `service "web"`
	body    *hclsyntax.Body
	def     hcl.Range // of the head
	service *service  // the one around, or nil

	asked
}

// asked are the names that were asked for.
type asked struct{ attrs, blocks []string }

// service is what the expressions of a service may refer to.
type service struct {
	name       string
	ports      []string
	portBases  map[string]int
	hasRelease bool
	release    string // its path, for samples
}

func (d *decoder) newBlock(parent *block, b *hclsyntax.Block) *block {
	path, title := b.Type, b.Type
	var svc *service
	if parent != nil && parent.path != "" {
		path, svc = parent.path+"."+b.Type, parent.service
	}
	if len(b.Labels) > 0 {
		title = b.Type + " " + strconv.Quote(b.Labels[0])
	} else {
		title += " block"
	}
	return &block{d: d, path: path, title: title, body: b.Body, def: b.DefRange(), service: svc}
}

// finish reports what nobody asked for.
func (b *block) finish() {
	if b.allKnown() {
		return
	}
	for _, name := range sortedKeys(b.body.Attributes) {
		if slices.Contains(b.attrs, name) {
			continue
		}
		a := b.body.Attributes[name]
		detail := b.knows(name, b.attrs, "attributes")
		if slices.Contains(b.blocks, name) {
			detail = fmt.Sprintf("It is a block: write %s { … } without \"=\".", name)
		}
		b.d.errorAt("unknown_attribute", a.NameRange, fmt.Sprintf("%s has no attribute %q", b.title, name), detail)
	}
	for _, x := range b.body.Blocks {
		if slices.Contains(b.blocks, x.Type) {
			continue
		}
		detail := b.knows(x.Type, b.blocks, "blocks")
		if slices.Contains(b.attrs, x.Type) {
			detail = fmt.Sprintf("It is an attribute: write %s = ….", x.Type)
		}
		b.d.errorAt("unknown_block", x.TypeRange, fmt.Sprintf("%s has no block %q", b.title, x.Type), detail)
	}
}

func (b *block) allKnown() bool {
	for name := range b.body.Attributes {
		if !slices.Contains(b.attrs, name) {
			return false
		}
	}
	return !slices.ContainsFunc(b.body.Blocks, func(x *hclsyntax.Block) bool { return !slices.Contains(b.blocks, x.Type) })
}

func (b *block) knows(name string, known []string, what string) string {
	known = slices.Compact(slices.Sorted(slices.Values(known)))
	if len(known) == 0 {
		return fmt.Sprintf("It has no %s.", what)
	}
	return didYouMean(name, known, fmt.Sprintf("Its %s are %s.", what, listing(known)))
}

// sub reads the one block of that type, if it is there, and tells whether it is.
func (b *block) sub(name string, read func(*block)) bool {
	b.blocks = append(b.blocks, name)
	var first *hclsyntax.Block
	for _, x := range b.body.Blocks {
		if x.Type != name {
			continue
		}
		if first != nil {
			b.d.errorBoth("duplicate", x.DefRange(), fmt.Sprintf("%s has two %s blocks", b.title, name), "Put what both say into one.", b.d.place(first.DefRange(), "the first one"))
			continue
		}
		first = x
		if len(x.Labels) > 0 {
			b.d.errorAt("labels", x.LabelRanges[0], fmt.Sprintf("a %s block has no name", name), fmt.Sprintf("Write %s { … }.", name))
		}
		b.run(x, read)
	}
	return first != nil
}

func (b *block) run(x *hclsyntax.Block, read func(*block)) {
	c := b.d.newBlock(b, x)
	b.d.warnNotYet(c.path, c.def, func() string { return "the " + c.title })
	// The lists of names are lent: thousands of blocks need them, one after
	// the other, and only until they are finished.
	if n := len(b.d.spare); n > 0 {
		c.attrs, c.blocks = b.d.spare[n-1].attrs, b.d.spare[n-1].blocks
		b.d.spare = b.d.spare[:n-1]
	}
	read(c)
	c.finish()
	b.d.spare = append(b.d.spare, asked{c.attrs[:0], c.blocks[:0]})
	c.attrs, c.blocks = nil, nil
}

// named reads all blocks of that type; each must have one name, valid and used
// once. One that has not is read too, for what else is wrong with it, but not
// kept.
func named[T any](b *block, name, example string, valid func(string) error, dst *[]T, read func(c *block, label string) T) {
	b.blocks = append(b.blocks, name)
	seen := map[string]hcl.Range{}
	for _, x := range b.body.Blocks {
		if x.Type != name {
			continue
		}
		keep := b.d.label(x, example, valid, seen)
		label := ""
		if len(x.Labels) > 0 {
			label = x.Labels[0]
		}
		b.run(x, func(c *block) {
			if v := read(c, label); keep {
				*dst = append(*dst, v)
			}
		})
	}
}

// label checks the one label of a block.
func (d *decoder) label(x *hclsyntax.Block, example string, valid func(string) error, seen map[string]hcl.Range) bool {
	write := func() string { return fmt.Sprintf("Write for example %s %q { … }.", x.Type, example) }
	switch {
	case len(x.Labels) == 0:
		d.errorAt("labels", x.TypeRange, fmt.Sprintf("this %s has no name", x.Type), write())
		return false
	case len(x.Labels) > 1:
		d.errorAt("labels", x.LabelRanges[1], fmt.Sprintf("a %s has one name, and this is a second one", x.Type), write())
		return false
	}
	label := x.Labels[0]
	if err := valid(label); err != nil {
		d.errorAt("name", x.LabelRanges[0], fmt.Sprintf("%q cannot be the name of a %s: %v", label, x.Type, err), write())
		return false
	}
	if first, twice := seen[label]; twice {
		d.errorBoth("duplicate", x.DefRange(), fmt.Sprintf("%s %q is defined twice", x.Type, label), "Rename one of them, or leave it out.", d.place(first, "first defined here"))
		return false
	}
	seen[label] = x.DefRange()
	return true
}

// kinds reads the nested blocks of which exactly one may stand, and returns
// which it was.
func (b *block) kinds(what string, names []string, extra string, read func(c *block, kind string)) string {
	b.blocks = append(b.blocks, names...)
	var first *hclsyntax.Block
	for _, x := range b.body.Blocks {
		if !slices.Contains(names, x.Type) {
			continue
		}
		if first != nil {
			b.d.errorBoth("several_kinds", x.DefRange(), fmt.Sprintf("%s has two kinds, %s and %s", b.title, first.Type, x.Type),
				fmt.Sprintf("Keep one, and write another %s for the other.", what), b.d.place(first.DefRange(), "the first one"))
			continue
		}
		first = x
		if len(x.Labels) > 0 {
			b.d.errorAt("labels", x.LabelRanges[0], fmt.Sprintf("a %s block has no name", x.Type), fmt.Sprintf("Write %s { … }.", x.Type))
		}
		b.run(x, func(c *block) { read(c, x.Type) })
	}
	if first == nil {
		if extra == "" {
			b.d.errorAt("missing", b.def, fmt.Sprintf("%s does not say what is checked", b.title), "Put one of these blocks into it: "+strings.Join(names, ", ")+".")
		}
		return ""
	}
	return first.Type
}

// has tells whether an attribute is written.
func (b *block) has(name string) bool { return b.body.Attributes[name] != nil }

// at returns the place of an attribute's value, or else of the block's head.
func (b *block) at(name string) hcl.Range {
	if a := b.body.Attributes[name]; a != nil {
		return a.Expr.Range()
	}
	return b.def
}

// subBlock returns the first block of that type, or nil.
func (b *block) subBlock(name string) *hclsyntax.Block {
	for _, x := range b.body.Blocks {
		if x.Type == name {
			return x
		}
	}
	return nil
}

func (b *block) hasSub(name string) bool { return b.subBlock(name) != nil }

// place returns the head of a block, by its type and name ("" for any).
func (b *block) place(name, label string) hcl.Range {
	for _, x := range b.body.Blocks {
		if x.Type == name && (label == "" || len(x.Labels) > 0 && x.Labels[0] == label) {
			return x.DefRange()
		}
	}
	return b.def
}

// item returns the place of an element of a list, where it is written out.
func (b *block) item(name string, i int) hcl.Range {
	a := b.body.Attributes[name]
	if a == nil {
		return b.def
	}
	if t, ok := a.Expr.(*hclsyntax.TupleConsExpr); ok && i < len(t.Exprs) {
		return t.Exprs[i].Range()
	}
	return a.Expr.Range()
}

func (b *block) errorAt(name, code, summary, detail string) {
	b.d.errorAt(code, b.at(name), summary, detail)
}

// require reports a missing attribute.
func (b *block) require(name, example string) bool {
	if b.has(name) {
		return true
	}
	b.d.errorAt("missing", b.def, fmt.Sprintf("%s has no %s", b.title, name), fmt.Sprintf("Write for example: %s = %s", name, example))
	return false
}

func (d *decoder) warnNotYet(path string, rng hcl.Range, what func() string) {
	if meanwhile, ok := notYet(path); ok {
		d.warnAt("not_in_effect", rng, "not in effect yet: "+what(), meanwhile)
	}
}
