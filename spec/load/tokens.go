package load

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

const (
	// maxNesting is how deep brackets, templates and blocks may nest.
	maxNesting = 200
	// maxOperators is how many operators, indexes and unary signs may stand
	// in one expression between two commas: each makes the tree that HCL
	// walks recursively one deeper.
	maxOperators = 500
	// maxNumber is the longest number literal, and maxExponent its largest
	// exponent: HCL writes numbers out in full when it makes strings of them.
	maxNumber   = 64
	maxExponent = 300
	// maxTokens bounds all files of one Load together, so that reading them takes
	// at most some 300 MB: a token takes the plain reader up to 90 bytes, and
	// HCL's lexer and parser up to 420. Ten thousand services as people write
	// them have 2.6 million.
	maxTokens = 3_500_000
	// hclTokens is what a token that HCL's parser is given counts besides.
	hclTokens = 5
	// maxSecretTokens is how large a block or an attribute may be for its
	// secrets to be told from the rest of it. All of a larger one is secret.
	maxSecretTokens = 100_000
)

// scanTokens looks at the tokens of a file before HCL's parser does. It says
// what is nested too deeply for it and where, and it notes which literals
// stand inside env attributes, so that no snippet ever shows them.
func scanTokens(src *source) (hcl.Range, string) {
	tokens, _ := hclsyntax.LexConfig(src.data, src.name, hcl.InitialPos) // the parser reports bad tokens
	src.keepSecrets(0, secretSpans(tokens))
	return checkNesting(tokens)
}

// mostTokens is at least the number of HCL's tokens in a text. A token takes
// HCL 96 bytes, so it is asked before the list is made.
func mostTokens(data []byte) int {
	n := 1 // the end of the file
	var last byte
	for _, c := range data {
		switch {
		case c == ' ' || c == '\t':
			// Inside a string, blanks may be a literal of their own behind
			// what cannot belong to one.
			if strings.IndexByte("\"}$%\n\r\\", last) >= 0 || last >= 0x80 {
				n++
			}
		case isDigit(c) && !isWord(last): // 1a is a number and a name
			n += 2
		case !isWord(c) || !isWord(last):
			n++
		}
		last = c
	}
	return n
}

func isWord(c byte) bool { return isLetter(c) || isDigit(c) }

// level is what is open at one depth.
type level struct {
	open      hclsyntax.TokenType
	operators int // since the last comma
	control   int // %{ if } and %{ for } not yet ended
}

// endLine ends the expression of a line, where lines do, and returns how many
// operators that takes back.
func (l *level) endLine() int {
	if l.open != hclsyntax.TokenNil && l.open != hclsyntax.TokenOBrace {
		return 0
	}
	n := l.operators
	l.operators = 0
	return n
}

func checkNesting(tokens hclsyntax.Tokens) (hcl.Range, string) {
	stack := []level{{}}
	operators, controls := 0, 0 // over the whole stack
	for i, t := range tokens {
		top := &stack[len(stack)-1]
		switch t.Type {
		case hclsyntax.TokenOBrace, hclsyntax.TokenOParen, hclsyntax.TokenTemplateInterp,
			hclsyntax.TokenTemplateControl, hclsyntax.TokenOQuote, hclsyntax.TokenOHeredoc, hclsyntax.TokenOBrack:
			if t.Type == hclsyntax.TokenOBrack {
				top.operators++
				operators++
			}
			if t.Type == hclsyntax.TokenTemplateControl && i+1 < len(tokens) {
				switch string(tokens[i+1].Bytes) {
				case "if", "for":
					top.control++
					controls++
				case "endif", "endfor":
					if top.control > 0 {
						top.control--
						controls--
					}
				}
			}
			stack = append(stack, level{open: t.Type})
			if len(stack)+controls > maxNesting {
				return t.Range, fmt.Sprintf("this is nested deeper than %d levels", maxNesting)
			}
		case hclsyntax.TokenCBrace, hclsyntax.TokenCBrack, hclsyntax.TokenCParen, hclsyntax.TokenTemplateSeqEnd,
			hclsyntax.TokenCQuote, hclsyntax.TokenCHeredoc:
			operators -= top.operators
			controls -= top.control
			if len(stack) > 1 {
				stack = stack[:len(stack)-1]
			} else {
				stack[0] = level{}
			}
		case hclsyntax.TokenComma:
			operators -= top.operators
			top.operators = 0
		case hclsyntax.TokenNewline:
			operators -= top.endLine()
		case hclsyntax.TokenComment:
			if bytes.HasSuffix(t.Bytes, []byte{'\n'}) { // it took the newline with it
				operators -= top.endLine()
			}
		case hclsyntax.TokenNumberLit:
			if !sensibleNumber(string(t.Bytes)) {
				return t.Range, "this number is too large or too long"
			}
		default:
			if isOperator(t.Type) {
				top.operators++
				operators++
			}
		}
		if operators > maxOperators {
			return t.Range, fmt.Sprintf("this expression has more than %d operators", maxOperators)
		}
	}
	return hcl.Range{}, ""
}

func isOperator(t hclsyntax.TokenType) bool {
	switch t {
	case hclsyntax.TokenStar, hclsyntax.TokenSlash, hclsyntax.TokenPlus, hclsyntax.TokenMinus, hclsyntax.TokenPercent,
		hclsyntax.TokenEqualOp, hclsyntax.TokenNotEqual, hclsyntax.TokenLessThan, hclsyntax.TokenLessThanEq,
		hclsyntax.TokenGreaterThan, hclsyntax.TokenGreaterThanEq, hclsyntax.TokenAnd, hclsyntax.TokenOr,
		hclsyntax.TokenBang, hclsyntax.TokenQuestion, hclsyntax.TokenDot:
		return true
	}
	return false
}

func sensibleNumber(s string) bool {
	if len(s) > maxNumber {
		return false
	}
	_, exp, ok := strings.Cut(strings.ToLower(s), "e")
	if !ok {
		return true
	}
	n := 0
	for _, c := range strings.TrimLeft(exp, "+-") {
		if n = n*10 + int(c-'0'); n > maxExponent {
			return false
		}
	}
	return true
}

// secretSpans finds the string literals in `env = …`. It works on tokens
// because a file that does not parse is shown in snippets too.
func secretSpans(tokens hclsyntax.Tokens) []span {
	var spans []span
	depth, inside := 0, false
	for i, t := range tokens {
		switch t.Type {
		case hclsyntax.TokenEqual:
			if !inside && i > 0 && tokens[i-1].Type == hclsyntax.TokenIdent && string(tokens[i-1].Bytes) == "env" {
				inside, depth = true, 0
			}
		case hclsyntax.TokenOBrace, hclsyntax.TokenOBrack, hclsyntax.TokenOParen:
			depth++
		case hclsyntax.TokenCBrace, hclsyntax.TokenCBrack, hclsyntax.TokenCParen:
			if depth--; depth < 0 {
				inside = false
			}
		case hclsyntax.TokenNewline:
			if depth <= 0 {
				inside = false
			}
		case hclsyntax.TokenQuotedLit, hclsyntax.TokenStringLit, hclsyntax.TokenNumberLit:
			if inside {
				spans = append(spans, span{t.Range.Start.Byte, t.Range.End.Byte})
			}
		}
	}
	return spans
}
