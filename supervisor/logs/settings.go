package logs

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// The streams of an instance. A merged pipe carries both as Out.
const (
	Out = "out"
	Err = "err"
)

// Formats of files and of stdout.
const (
	FormatText = "text" // a timestamp, a space, the line
	FormatJSON = "json" // an object a line: see Object
)

// maxSettings bounds an encoded Settings: the longest path, and patterns of which
// each byte is escaped. The keeper takes 16 KiB.
const maxSettings = 10 << 10

// Settings is how the output that comes from one pipe is kept. The supervisor
// makes it, the keeper carries it without looking, nines-log reads it.
type Settings struct {
	Service  string
	Instance string // id: "web/0"
	Stream   string // Out (also both, merged) or Err
	Dir      string // log folder; the file is Dir/SERVICE/INDEX.log, of Err INDEX.err.log
	MaxSize  uint64 // bytes before rotation; 0 = never
	Keep     int    // rotated files kept, compressed ones counted
	Compress bool   // rotated files
	Rate     uint64 // bytes a second read from the pipe at most; 0 = all
	ToFile   bool
	ToStdout bool
	Format   string // FormatText or FormatJSON
	Matches  []Match
}

// ErrSettings is what ParseSettings wraps.
var ErrSettings = errors.New("cannot read log settings")

// Encode returns s as one line without a newline, whatever bytes the names
// hold: words KEY=VALUE, values percent-encoded.
func (s Settings) Encode() string {
	b := make([]byte, 0, 160)
	word := func(key, value string) {
		if len(b) > 0 {
			b = append(b, ' ')
		}
		b = append(b, key...)
		b = append(b, '=')
		b = appendEscaped(b, value, isPlain)
	}
	word("service", s.Service)
	word("instance", s.Instance)
	word("stream", s.Stream)
	word("dir", s.Dir)
	word("max_size", strconv.FormatUint(s.MaxSize, 10))
	word("keep", strconv.Itoa(s.Keep))
	word("compress", strconv.FormatBool(s.Compress))
	word("rate", strconv.FormatUint(s.Rate, 10))
	word("file", strconv.FormatBool(s.ToFile))
	word("stdout", strconv.FormatBool(s.ToStdout))
	word("format", s.Format)
	for _, m := range s.Matches {
		word("match", m.word())
	}
	return string(b)
}

// ParseSettings reads what Encode wrote. Unknown keys are passed over, so that
// an older nines-log can be told more by a newer supervisor; a missing key
// leaves its field zero, but for service and instance, without which a line
// belongs to nobody.
func ParseSettings(line string) (Settings, error) {
	var s Settings
	if len(line) > maxSettings {
		return s, fmt.Errorf("%w: %d bytes, more than %d", ErrSettings, len(line), maxSettings)
	}
	for word := range strings.SplitSeq(line, " ") {
		if word == "" {
			continue
		}
		key, raw, ok := strings.Cut(word, "=")
		if !ok {
			return Settings{}, fmt.Errorf("%w: %q is not KEY=VALUE", ErrSettings, word)
		}
		value, err := unescape(raw)
		if err == nil {
			err = s.set(key, value)
		}
		if err != nil {
			return Settings{}, fmt.Errorf("%w: %s: %w", ErrSettings, key, err)
		}
	}
	if s.Service == "" || s.Instance == "" {
		return Settings{}, fmt.Errorf("%w: no service or no instance", ErrSettings)
	}
	if s.ToFile && s.Dir == "" {
		return Settings{}, fmt.Errorf("%w: to a file, but no dir", ErrSettings)
	}
	if s.Stream == "" {
		s.Stream = Out
	}
	if s.Format == "" {
		s.Format = FormatText
	}
	return s, nil
}

func (s *Settings) set(key, value string) (err error) {
	switch key {
	case "service":
		s.Service = value
	case "instance":
		s.Instance = value
	case "stream":
		s.Stream = value
	case "dir":
		if strings.IndexByte(value, 0) >= 0 {
			return errors.New("a path cannot hold a NUL byte")
		}
		s.Dir = value
	case "max_size":
		s.MaxSize, err = strconv.ParseUint(value, 10, 64)
	case "keep":
		if s.Keep, err = strconv.Atoi(value); err == nil && (s.Keep < 0 || s.Keep > maxKeep) {
			err = fmt.Errorf("%d is not within 0 to %d", s.Keep, maxKeep)
		}
	case "compress":
		s.Compress, err = strconv.ParseBool(value)
	case "rate":
		s.Rate, err = strconv.ParseUint(value, 10, 64)
	case "file":
		s.ToFile, err = strconv.ParseBool(value)
	case "stdout":
		s.ToStdout, err = strconv.ParseBool(value)
	case "format":
		s.Format = value
	case "match":
		if len(s.Matches) == MaxMatches {
			return fmt.Errorf("there are more than %d", MaxMatches)
		}
		var m Match
		if m, err = parseMatch(value); err == nil {
			s.Matches = append(s.Matches, m)
		}
	}
	return err
}

// maxKeep bounds the renames of one rotation.
const maxKeep = 10000

func (s *Settings) key() sinkKey { return sinkKey{s.Service, s.Instance, s.Stream} }

// path returns the file of these settings. Names are escaped so that no name,
// however odd, leads out of Dir or onto another's file.
func (s Settings) path() string {
	index := s.Instance
	if service, i, ok := strings.Cut(s.Instance, "/"); ok && service == s.Service {
		index = i
	}
	name := fileName(index)
	if s.Stream == Err {
		name += ".err"
	}
	return filepath.Join(s.Dir, fileName(s.Service), name+".log")
}

// fileName turns any name into one path element that is neither hidden nor
// holds a dot or a slash: dots separate the parts that are added to it.
func fileName(name string) string {
	return string(appendEscaped(nil, name, func(c byte) bool {
		return isAlnum(c) || c == '_' || c == '-'
	}))
}

func isAlnum(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

func isPlain(c byte) bool {
	return isAlnum(c) || c == '/' || c == '.' || c == '_' || c == '-' || c == ':' || c == ','
}

func appendEscaped(b []byte, s string, plain func(byte) bool) []byte {
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		if c := s[i]; plain(c) {
			b = append(b, c)
		} else {
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return b
}

func unescape(s string) (string, error) {
	if strings.IndexByte(s, '%') < 0 {
		return s, nil
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b = append(b, s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", errors.New("unfinished %-escape")
		}
		c, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
		if err != nil {
			return "", fmt.Errorf("%q is not a %%-escape", s[i:i+3])
		}
		b = append(b, byte(c))
		i += 2
	}
	return string(b), nil
}
