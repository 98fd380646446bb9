package load

// skipper finds the end of an expression, and counts what makes its tree deep.
// It knows what opens and closes in HCL: brackets, strings, templates in them
// and comments. It gives up on what is not balanced, and on the rest of what
// opens: heredocs, directives (%{), comments over several lines.
type skipper struct {
	*plain
	oneLine   bool // a closing brace ends the expression too
	open      []byte
	operators int
	wide      bool // there are characters of more than one byte
}

// skip goes behind the expression.
func (s *skipper) skip() bool {
	for !s.ended() {
		if s.top() == '"' {
			if !s.inString() {
				return false
			}
			continue
		}
		c := s.peek()
		if len(s.open) == 0 && (c == '\n' || c == '\r' || s.atComment() || c == '}' && s.oneLine) {
			return true
		}
		if !s.token(c) || s.operators > maxOperators {
			return false
		}
	}
	return len(s.open) == 0
}

// top is what was opened last: '"' for a string, '$' for ${, or the bracket.
func (s *skipper) top() byte {
	if n := len(s.open); n > 0 {
		return s.open[n-1]
	}
	return 0
}

func (s *skipper) push(c byte, size int) bool {
	s.open = append(s.open, c)
	s.pos += size
	return s.depth+len(s.open) <= maxPlain
}

func (s *skipper) pop(a, b byte) bool {
	c := s.top()
	if c == 0 || c != a && c != b {
		return false
	}
	s.open = s.open[:len(s.open)-1]
	s.pos++
	return true
}

// inString goes on inside a string.
func (s *skipper) inString() bool {
	switch c := s.peek(); c {
	case '"':
		return s.pop('"', '"')
	case '\n', '\r':
		return false
	case '\\':
		if c := s.ahead(1); c == '\n' || c == '\r' || c >= 0x80 {
			return false
		}
		s.pos += 2
	case '$', '%':
		switch s.ahead(1) {
		case c: // $${ is an escape
			return false
		case '{':
			return c == '$' && s.ahead(2) != '~' && s.push('$', 2)
		}
		s.pos++
	default:
		s.wide = s.wide || c >= 0x80
		s.pos++
	}
	return true
}

// token goes behind what begins with c outside of strings.
func (s *skipper) token(c byte) bool {
	switch {
	case isLetter(c):
		s.ident()
	case isDigit(c):
		return s.number()
	case c == ' ' || c == '\t' || c == ',':
		s.pos++
	case c == '\n' || c == '\r':
		return s.newline()
	case s.atComment():
		s.wide = true // it may be
		return s.comment()
	case c == '"' || c == '(' || c == '{':
		return s.push(c, 1)
	case c == '[':
		s.operators++
		return s.push(c, 1)
	case c == ')':
		return s.pop('(', '(')
	case c == ']':
		return s.pop('[', '[')
	case c == '}':
		return s.pop('{', '$')
	case c == '/' && s.ahead(1) == '*', c == '<' && s.ahead(1) == '<', c == '~', c < ' ', c > '~':
		return false
	default:
		s.operators++
		s.pos++
	}
	return true
}

// number goes behind a number, and what stands against it. Each dot may be an
// operator.
func (s *skipper) number() bool {
	from := s.pos
	for c := s.peek(); isDigit(c) || isLetter(c) || c == '.'; c = s.peek() {
		switch c {
		case '.':
			s.operators++
		case 'e', 'E':
			return false
		}
		s.pos++
	}
	return s.pos-from <= maxNumber
}
