package logs

import (
	"bytes"
	"regexp/syntax"
	"slices"
	"unicode/utf8"
)

// maxNeedles is how many texts are looked for at most before a pattern is tried on
// each line.
const maxNeedles = 8

// needles are texts of which every line that matches pattern holds one; none:
// that cannot be told. To look for them in all that was read costs a hundredth of
// trying the pattern on each line of it.
func needles(pattern string) [][]byte {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil // whoever compiles it says so
	}
	var all [][]byte
	for _, s := range required(re) {
		all = append(all, []byte(s))
	}
	return all
}

func required(re *syntax.Regexp) []string {
	switch re.Op {
	case syntax.OpLiteral:
		// RuneError also matches bytes that are no UTF-8.
		if re.Flags&syntax.FoldCase == 0 && !slices.Contains(re.Rune, utf8.RuneError) {
			return []string{string(re.Rune)}
		}
	case syntax.OpCapture, syntax.OpPlus:
		return required(re.Sub[0])
	case syntax.OpRepeat:
		if re.Min > 0 {
			return required(re.Sub[0])
		}
	case syntax.OpConcat:
		var best []string
		for _, sub := range re.Sub {
			if of := required(sub); len(shortest(of)) > len(shortest(best)) {
				best = of
			}
		}
		return best
	case syntax.OpAlternate:
		var all []string
		for _, sub := range re.Sub {
			of := required(sub)
			if all = append(all, of...); len(of) == 0 || len(all) > maxNeedles {
				return nil
			}
		}
		return all
	}
	return nil
}

func shortest(of []string) string {
	if len(of) == 0 {
		return ""
	}
	return slices.MinFunc(of, func(a, b string) int { return len(a) - len(b) })
}

// quiet says whether no line that is wholly in b can match.
func (t *tally) quiet(b []byte) bool {
	return len(t.needles) > 0 && !slices.ContainsFunc(t.needles, func(n []byte) bool { return bytes.Contains(b, n) })
}
