package load

import (
	"fmt"

	"github.com/hashicorp/hcl/v2/hclwrite"
)

// Format returns a specification's text in its canonical layout, as HCL's own
// formatter has it: indentation, spaces, aligned equal signs. Words, comments and
// their order stay as they are, and what is formatted once stays as it is. Text
// with a syntax error is not touched: then there are diagnostics. Whether it
// makes sense as a specification does not matter.
func Format(f File) (string, Diagnostics) {
	d := newDecoder(Options{})
	var list []*source
	src := &source{name: f.Name, data: []byte(f.Text)}
	if !d.addSource(&list, src) || len(list) == 0 || !d.parse(src) {
		return "", d.finish()
	}
	if mostTokens(src.data) > maxTokens/(hclTokens+1) { // HCL's formatter keeps them all
		d.errorFile("too_large", src.name, fmt.Sprintf("the file holds more than %d signs and words", maxTokens/(hclTokens+1)),
			"Split it: a folder's *.hcl files are read in name order and merged.")
		return "", d.finish()
	}
	text := src.data
	// One pass may leave an alignment that a second one changes.
	for range formatPasses {
		next := hclwrite.Format(text)
		if string(next) == string(text) {
			break
		}
		text = next
	}
	return string(text), nil
}

// formatPasses bounds how often a text is formatted until it stays as it is.
const formatPasses = 8
