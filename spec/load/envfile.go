package load

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"unicode/utf8"

	"nines/spec"
)

// maxEnvFile bounds an environment file: the kernel takes no larger environment.
const maxEnvFile = 2 << 20

// EnvFileError is a mistake in an environment file. It never shows the line,
// which may hold a secret.
type EnvFileError struct {
	File  string
	Line  int
	Cause string
}

func (e *EnvFileError) Error() string {
	return fmt.Sprintf("cannot read the environment file: %s:%d: %s", e.File, e.Line, e.Cause)
}

// EnvFile reads lines of NAME=value as systemd's EnvironmentFile does: empty
// lines and those that begin with "#" or ";" are skipped; a value may be in
// single quotes (nothing is special inside), in double quotes (a backslash
// escapes " \ ` $ and the line end) or bare (a backslash escapes any
// character); quotes may span lines; white space around a bare value is cut;
// nothing is expanded. A "-" before the path lets the file be absent: the map
// is empty then.
func EnvFile(path string) (map[string]string, error) {
	file, optional := strings.CutPrefix(path, "-")
	data, err := readEnvFile(file)
	if err != nil {
		if optional && errors.Is(err, fs.ErrNotExist) {
			return map[string]string{}, nil
		}
		return nil, fmt.Errorf("cannot read the environment file: %w", err)
	}
	return parseEnv(file, string(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))))
}

func readEnvFile(file string) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: file, Err: errors.New("it is not a plain file")}
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxEnvFile+1))
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil && len(data) > maxEnvFile {
		err = &fs.PathError{Op: "read", Path: file, Err: fmt.Errorf("it is larger than %s", spec.FormatBytes(maxEnvFile))}
	}
	return data, err
}

// envReader reads an environment file from left to right.
type envReader struct {
	file string
	text string
	at   int
	line int
}

func parseEnv(file, text string) (map[string]string, error) {
	r := &envReader{file: file, text: text, line: 1}
	env := map[string]string{}
	for {
		r.skipBlank()
		if r.at >= len(r.text) {
			return env, nil
		}
		line := r.line
		name, err := r.name()
		if err != nil {
			return nil, err
		}
		value, err := r.value()
		if err != nil {
			return nil, err
		}
		if !utf8.ValidString(value) {
			return nil, &EnvFileError{file, line, "the value of " + name + " is not UTF-8"}
		}
		if strings.ContainsRune(value, 0) {
			return nil, &EnvFileError{file, line, "the value of " + name + " holds a zero byte"}
		}
		env[name] = value
	}
}

// skipBlank skips white space, empty lines and comments. A backslash at the
// end of a comment continues it.
func (r *envReader) skipBlank() {
	for r.at < len(r.text) {
		switch c := r.text[r.at]; c {
		case '\n', ' ', '\t', '\r':
			r.next()
		case '#', ';':
			for r.at < len(r.text) && r.text[r.at] != '\n' {
				if r.next() == '\\' && r.at < len(r.text) {
					r.next()
				}
			}
		default:
			return
		}
	}
}

func (r *envReader) next() byte {
	c := r.text[r.at]
	r.at++
	if c == '\n' {
		r.line++
	}
	return c
}

func (r *envReader) fail(line int, cause string) error { return &EnvFileError{r.file, line, cause} }

func (r *envReader) name() (string, error) {
	rest := r.text[r.at:]
	if i := strings.IndexByte(rest, '\n'); i >= 0 {
		rest = rest[:i]
	}
	name, _, ok := strings.Cut(rest, "=")
	if !ok {
		return "", r.fail(r.line, `a line is of the form NAME=value, and this one has no "="`)
	}
	trimmed := strings.TrimSpace(name)
	if bare, ok := strings.CutPrefix(trimmed, "export "); ok {
		return "", r.fail(r.line, fmt.Sprintf("it is not a shell script: leave out \"export\" before %q", strings.TrimSpace(bare)))
	}
	for i := range len(trimmed) {
		c := trimmed[i]
		if c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (i == 0 || c < '0' || c > '9') {
			return "", r.fail(r.line, "the name before \"=\" may hold letters, digits and \"_\", and does not begin with a digit")
		}
	}
	if err := spec.CheckEnvName(trimmed); err != nil {
		return "", r.fail(r.line, err.Error())
	}
	r.at += len(name) + 1
	return trimmed, nil
}

// value reads up to the end of the line, quotes and continuations included.
func (r *envReader) value() (string, error) {
	var b strings.Builder
	keep := 0 // how much of b trailing white space cannot be cut from
	for r.at < len(r.text) && (r.text[r.at] == ' ' || r.text[r.at] == '\t') {
		r.next()
	}
	for r.at < len(r.text) {
		line := r.line
		switch c := r.next(); c {
		case '\n':
			return trimTail(b.String(), keep), nil
		case '\'':
			if !r.quoted(&b, '\'') {
				return "", r.fail(line, "the single quote is not closed")
			}
			keep = b.Len()
		case '"':
			if !r.quoted(&b, '"') {
				return "", r.fail(line, "the double quote is not closed")
			}
			keep = b.Len()
		case '\\':
			if r.at < len(r.text) {
				if c := r.next(); c != '\n' {
					b.WriteByte(c)
					keep = b.Len()
				}
			}
		default:
			b.WriteByte(c)
		}
	}
	return trimTail(b.String(), keep), nil
}

func trimTail(s string, keep int) string {
	return s[:keep] + strings.TrimRight(s[keep:], " \t\r")
}

func (r *envReader) quoted(b *strings.Builder, quote byte) bool {
	for r.at < len(r.text) {
		c := r.next()
		switch {
		case c == quote:
			return true
		case c == '\\' && quote == '"' && r.at < len(r.text):
			if d := r.next(); strings.IndexByte("\"\\`$", d) >= 0 {
				b.WriteByte(d)
			} else if d != '\n' {
				b.WriteByte('\\')
				b.WriteByte(d)
			}
		default:
			b.WriteByte(c)
		}
	}
	return false
}
