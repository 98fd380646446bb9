package load

import (
	"fmt"
	"strings"
)

// nearest returns the candidate that a misspelt name most likely meant, or "".
func nearest(given string, candidates []string) string {
	best, bestAt := "", len([]rune(given))/3+2
	for _, c := range candidates {
		if strings.EqualFold(c, given) || strings.ReplaceAll(c, "-", "_") == strings.ReplaceAll(given, "-", "_") {
			return c
		}
		if d := distance(given, c, bestAt); d < bestAt && d < len([]rune(c)) {
			best, bestAt = c, d
		}
	}
	return best
}

// didYouMean is a detail: the suggestion if there is one, else otherwise.
func didYouMean(given string, candidates []string, otherwise string) string {
	if s := nearest(given, candidates); s != "" {
		return fmt.Sprintf("Did you mean %q?", s)
	}
	return otherwise
}

// distance counts the insertions, deletions, replacements and swaps of
// neighbours between two words, and stops counting at limit.
func distance(a, b string, limit int) int {
	s, t := []rune(a), []rune(b)
	if len(s) > 64 || len(t) > 64 || len(s)-len(t) >= limit || len(t)-len(s) >= limit {
		return limit
	}
	var before []int
	last := make([]int, len(t)+1)
	for j := range last {
		last[j] = j
	}
	for i := range s {
		row := make([]int, len(t)+1)
		row[0] = i + 1
		for j := range t {
			cost := 1
			if s[i] == t[j] {
				cost = 0
			}
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+cost)
			if i > 0 && j > 0 && s[i] == t[j-1] && s[i-1] == t[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(t)]
}

// listing joins names for a sentence: "a, b or c".
func listing(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = fmt.Sprintf("%q", n)
	}
	if len(quoted) < 2 {
		return strings.Join(quoted, "")
	}
	return strings.Join(quoted[:len(quoted)-1], ", ") + " or " + quoted[len(quoted)-1]
}
