package probe

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// series is one line of an exposition. It is valid until the next one is read.
type series struct {
	labels [][2][]byte // name, value, in the order of the line
	value  float64
}

// maxLine is more than a series with its labels needs.
const maxLine = 64 << 10

// maxLabels bounds the labels of a series.
const maxLabels = 256

// exposition reads the Prometheus text format, and OpenMetrics as far as it is
// the same: of the second, exemplars and times are passed over. It holds one line
// at a time. Lines of metrics that nobody wants are not looked at beyond their
// name.
type exposition struct {
	br     *bufio.Reader
	number int    // of the line
	long   []byte // a line that does not fit into br
	value  []byte // values of labels without their escapes
	s      series
}

// each calls fn for all series of the metrics that wanted says, until fn returns
// an error.
func (e *exposition) each(wanted func(name []byte) bool, fn func(name []byte, s *series) error) error {
	for {
		line, err := e.line()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' || line[0] == '{' {
			continue // a comment; a name in quotes, which no rule can have
		}
		n := nameLength(line)
		if n == 0 || n < len(line) && line[n] != '{' && line[n] != ' ' && line[n] != '\t' {
			return e.wrong("does not begin with the name of a metric")
		}
		if name := line[:n]; wanted(name) {
			if why := e.parse(line[n:]); why != "" {
				return e.wrong(why)
			}
			if err := fn(name, &e.s); err != nil {
				return err
			}
		}
	}
}

func (e *exposition) wrong(why string) error {
	return fmt.Errorf("%w: line %d %s", errNotExposition, e.number, why)
}

var errNotExposition = errors.New("it is not in the text format of Prometheus")

// line is the next line, or io.EOF.
func (e *exposition) line() ([]byte, error) {
	e.number++
	e.long = e.long[:0]
	for {
		part, err := e.br.ReadSlice('\n')
		if err == bufio.ErrBufferFull {
			if e.long = append(e.long, part...); len(e.long) > maxLine {
				return nil, e.wrong("is too long")
			}
			continue
		}
		if len(e.long) > 0 {
			e.long = append(e.long, part...)
			part = e.long
		}
		if err == io.EOF && len(part) > 0 {
			err = nil
		}
		return part, err
	}
}

// nameLength is how many bytes of b are the name of a metric.
func nameLength(b []byte) int {
	for i, c := range b {
		if !nameByte(c, i) && c != ':' {
			return i
		}
	}
	return len(b)
}

// nameByte says whether c may stand at place i of a label's name.
func nameByte(c byte, i int) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_' || i > 0 && '0' <= c && c <= '9'
}

// parse reads what follows the name into e.s, and says what is wrong with it.
func (e *exposition) parse(b []byte) string {
	e.s.labels, e.value = e.s.labels[:0], e.value[:0]
	b = bytes.TrimLeft(b, " \t")
	if len(b) > 0 && b[0] == '{' {
		var why string
		if b, why = e.labels(b[1:]); why != "" {
			return why
		}
	}
	b = bytes.TrimLeft(b, " \t")
	text := b
	if i := bytes.IndexAny(b, " \t"); i >= 0 {
		text = b[:i]
	}
	v, err := strconv.ParseFloat(string(text), 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return "has no number"
	}
	e.s.value = v
	return ""
}

// labels reads NAME="VALUE",… up to the closing brace, and returns what follows.
func (e *exposition) labels(b []byte) (rest []byte, why string) {
	for {
		b = bytes.TrimLeft(b, " \t")
		if len(b) > 0 && b[0] == '}' {
			return b[1:], ""
		}
		n := 0
		for n < len(b) && nameByte(b[n], n) {
			n++
		}
		name := b[:n]
		b = bytes.TrimLeft(b[n:], " \t")
		if n == 0 || len(b) == 0 || b[0] != '=' {
			return nil, "has labels of another form than NAME=\"VALUE\""
		}
		b = bytes.TrimLeft(b[1:], " \t")
		if len(b) == 0 || b[0] != '"' {
			return nil, "has a label without a value in quotes"
		}
		value, after, ok := e.unquote(b[1:])
		if !ok {
			return nil, "has a label whose value does not end"
		}
		if len(e.s.labels) == maxLabels {
			return nil, "has more than " + strconv.Itoa(maxLabels) + " labels"
		}
		e.s.labels = append(e.s.labels, [2][]byte{name, value})
		b = bytes.TrimLeft(after, " \t")
		switch {
		case len(b) > 0 && b[0] == ',':
			b = b[1:]
		case len(b) > 0 && b[0] == '}':
		default:
			return nil, "has labels that do not end"
		}
	}
}

// unquote reads a value up to its closing quote, and returns what follows.
func (e *exposition) unquote(b []byte) (value, rest []byte, ok bool) {
	i := bytes.IndexAny(b, `"\`)
	if i >= 0 && b[i] == '"' {
		return b[:i], b[i+1:], true
	}
	begin := len(e.value)
	for i := 0; i < len(b); i++ {
		c := b[i]
		switch {
		case c == '"':
			return e.value[begin:], b[i+1:], true
		case c == '\\' && i+1 < len(b):
			i++
			if c = b[i]; c == 'n' {
				c = '\n'
			}
		}
		e.value = append(e.value, c)
	}
	return nil, nil, false
}

// label is the value of a label, "" where there is none.
func (s *series) label(name string) []byte {
	for _, l := range s.labels {
		if string(l[0]) == name {
			return l[1]
		}
	}
	return nil
}
