package load

import (
	"fmt"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// ref is what a symbolic name refers to: instance.index, env.HOME, port.http.
type ref struct{ root, name string }

func (r ref) String() string {
	if hclsyntax.ValidIdentifier(r.name) {
		return r.root + "." + r.name
	}
	return fmt.Sprintf("%s[%q]", r.root, r.name)
}

// perInstance tells whether its value may differ from instance to instance.
func (r ref) perInstance() bool {
	return r.root == "instance" || r.root == "port" || r.root == "release"
}

// roots of all names that an expression may use, for suggestions.
func rootNames() []string {
	return []string{"instance", "service", "host", "env", "port", "release", "local"}
}

// members are the names under a root; nil where any name may stand.
func members(root string) []string {
	switch root {
	case "instance":
		return []string{"index", "id"}
	case "service":
		return []string{"name"}
	case "host":
		return []string{"name", "cpus", "memory"}
	case "release":
		return []string{"path", "id"}
	}
	return nil
}

// refOf reads a traversal as a reference, or says what is wrong with it.
func refOf(t hcl.Traversal) (r ref, summary, detail string) {
	root := t.RootName()
	if !slices.Contains(rootNames(), root) {
		return ref{}, fmt.Sprintf("there is no value called %q", root), didYouMean(root, rootNames(),
			fmt.Sprintf("A string stands in quotes: %q. Values are instance.index, instance.id, service.name, host.name, host.cpus, host.memory, env.NAME, port.NAME, release.path, release.id and local.NAME.", root))
	}
	name, ok := "", false
	if len(t) > 1 {
		name, ok = stepName(t[1])
	}
	if !ok {
		example := root + ".NAME"
		if m := members(root); m != nil {
			example = root + "." + m[0]
		}
		return ref{}, fmt.Sprintf("%q needs a name behind it", root), fmt.Sprintf("Write for example %s.", example)
	}
	if m := members(root); m != nil && !slices.Contains(m, name) {
		return ref{}, fmt.Sprintf("there is no value called %q", root+"."+name), didYouMean(name, m, fmt.Sprintf("%q has %s.", root, listing(m)))
	}
	if root != "local" && len(t) > 2 {
		return ref{}, fmt.Sprintf("%s has nothing inside it", ref{root, name}), "It is a plain value: leave out what follows."
	}
	return ref{root, name}, "", ""
}

func stepName(step hcl.Traverser) (string, bool) {
	switch step := step.(type) {
	case hcl.TraverseAttr:
		return step.Name, true
	case hcl.TraverseIndex:
		if step.Key.Type() == cty.String && !step.Key.IsNull() {
			return step.Key.AsString(), true
		}
	}
	return "", false
}

// refsOf lists what an expression refers to, without doubles, in order. Only
// of expressions that fold or Compile accepted.
func refsOf(e hclsyntax.Expression) []ref {
	var refs []ref
	for _, t := range e.Variables() {
		if len(t) < 2 {
			continue
		}
		name, ok := stepName(t[1])
		if !ok {
			continue
		}
		r := ref{t.RootName(), name}
		if !slices.Contains(refs, r) {
			refs = append(refs, r)
		}
	}
	slices.SortFunc(refs, func(a, b ref) int {
		if a.root != b.root {
			if a.root < b.root {
				return -1
			}
			return 1
		}
		if a.name < b.name {
			return -1
		}
		return 1
	})
	return refs
}
