package shim

import (
	"errors"
	"strings"
)

// Settings is what nines-exec sets before it execs. A nil pointer leaves
// things as they are.
type Settings struct {
	Credential  *Credential
	Umask       *uint32
	Nice        *int
	OOMScoreAdj *int
	Rlimits     []Rlimit
	// Listen is how many listening sockets come behind StatusFD. They become 3
	// and those that follow, and LISTEN_PID is added to Env, with the pid that
	// the service has: the other variables of sd_listen_fds(3) are in Env.
	Listen int
	// Ready is the number that the descriptor behind those gets; 0: there is none.
	// It is not below what the sockets get.
	Ready int
	// Watchdog adds WATCHDOG_PID to Env, with the pid that the service has.
	Watchdog  bool
	Dir       string // "": where we are
	Path      string // what is executed; relative to Dir
	Argv, Env []string
}

// Credential is who to become.
type Credential struct {
	UID, GID uint32
	Groups   []uint32
}

// Rlimit is one resource limit, the resource as the kernel numbers it.
type Rlimit struct {
	Resource   uint32
	Soft, Hard uint64
}

// Limits of the format. The kernel takes at most 6 MiB of arguments and
// environment.
const (
	MaxSize      = 8 << 20
	maxGroups    = 65536
	maxResources = 16
	// MaxListen is the most listening sockets that one service may be given.
	MaxListen = 256
	// MaxReady is the highest number of a descriptor to say ready on.
	MaxReady = 1023
)

// magic ends in the version: another version is another magic.
const magic = "NEX3"

const (
	hasCredential = 1 << iota
	hasUmask
	hasNice
	hasOOMScoreAdj
	hasListen
	hasReady
	hasWatchdog
	allFlags = 1<<iota - 1
)

// ErrSettings says that settings are not ones that nines-exec takes.
var ErrSettings = errors.New("not settings of this version of nines-exec")

// Encode gives the settings as nines-exec reads them. The format is not for
// storing: both ends come from one build.
//
//	magic  flags  uid gid groups…  umask  nice  oom_score_adj
//	listen  ready  (resource soft hard)…  dir  path  argv…  env…
//
// Numbers are little endian, of 32 bits but for soft and hard; lists and
// strings have their length in front.
func (s *Settings) Encode() ([]byte, error) {
	if s.Path == "" || len(s.Argv) == 0 {
		return nil, errors.New("cannot start nothing: the command is empty")
	}
	size := 256 + len(s.Dir) + len(s.Path)
	for _, list := range [][]string{s.Argv, s.Env} {
		for _, v := range list {
			size += len(v) + 4
		}
	}
	b := make([]byte, 0, min(size, MaxSize))
	b = append(b, magic...)
	at := len(b)
	b = appendUint32(b, 0)
	flags := uint32(0)
	if c := s.Credential; c != nil {
		flags |= hasCredential
		b = appendUint32(b, c.UID)
		b = appendUint32(b, c.GID)
		b = appendUint32(b, uint32(len(c.Groups)))
		for _, g := range c.Groups {
			b = appendUint32(b, g)
		}
	}
	if s.Umask != nil {
		flags |= hasUmask
		b = appendUint32(b, *s.Umask)
	}
	if s.Nice != nil {
		flags |= hasNice
		b = appendUint32(b, uint32(int32(*s.Nice)))
	}
	if s.OOMScoreAdj != nil {
		flags |= hasOOMScoreAdj
		b = appendUint32(b, uint32(int32(*s.OOMScoreAdj)))
	}
	if s.Listen != 0 {
		flags |= hasListen
		b = appendUint32(b, uint32(s.Listen))
	}
	if s.Ready != 0 {
		flags |= hasReady
		b = appendUint32(b, uint32(s.Ready))
	}
	if s.Watchdog {
		flags |= hasWatchdog
	}
	b = appendUint32(b, uint32(len(s.Rlimits)))
	for _, r := range s.Rlimits {
		b = appendUint32(b, r.Resource)
		b = appendUint64(b, r.Soft)
		b = appendUint64(b, r.Hard)
	}
	b = appendString(b, s.Dir)
	b = appendString(b, s.Path)
	b = appendStrings(b, s.Argv)
	b = appendStrings(b, s.Env)
	putUint32(b[at:], flags)
	if len(b) > MaxSize {
		return nil, errors.New("cannot start: the arguments and environment are longer than 8 MiB")
	}
	return b, nil
}

// Decode reads what Encode wrote. The strings are copies of nothing: b must
// not be changed any more.
func Decode(b []byte) (*Settings, error) {
	if len(b) > MaxSize {
		return nil, ErrSettings
	}
	r := reader{rest: string(b)}
	if r.bytes(len(magic)) != magic {
		return nil, ErrSettings
	}
	s := &Settings{}
	flags := r.uint32()
	if flags&^uint32(allFlags) != 0 {
		return nil, ErrSettings
	}
	if flags&hasCredential != 0 {
		c := &Credential{UID: r.uint32(), GID: r.uint32()}
		if n := r.count(4, maxGroups); n > 0 {
			c.Groups = make([]uint32, n)
			for i := range c.Groups {
				c.Groups[i] = r.uint32()
			}
		}
		s.Credential = c
	}
	if flags&hasUmask != 0 {
		v := r.uint32()
		r.must(v <= 0o777)
		s.Umask = &v
	}
	if flags&hasNice != 0 {
		v := int(int32(r.uint32()))
		r.must(v >= -20 && v <= 19)
		s.Nice = &v
	}
	if flags&hasOOMScoreAdj != 0 {
		v := int(int32(r.uint32()))
		r.must(v >= -1000 && v <= 1000)
		s.OOMScoreAdj = &v
	}
	if flags&hasListen != 0 {
		v := r.uint32()
		r.must(v >= 1 && v <= MaxListen)
		s.Listen = int(v)
	}
	if flags&hasReady != 0 {
		v := r.uint32()
		r.must(v >= uint32(SettingsFD+s.Listen) && v <= MaxReady)
		s.Ready = int(v)
	}
	s.Watchdog = flags&hasWatchdog != 0 && !r.bad
	if n := r.count(20, maxResources); n > 0 {
		s.Rlimits = make([]Rlimit, n)
		for i := range s.Rlimits {
			s.Rlimits[i] = Rlimit{Resource: r.uint32(), Soft: r.uint64(), Hard: r.uint64()}
			r.must(s.Rlimits[i].Resource < maxResources)
		}
	}
	s.Dir = r.string()
	s.Path = r.string()
	s.Argv = r.strings()
	s.Env = r.strings()
	r.must(s.Path != "" && len(s.Argv) > 0 && r.rest == "")
	if r.bad {
		return nil, ErrSettings
	}
	return s, nil
}

// reader takes values off the front of a text. After something that does not
// fit, bad is set and every value is zero.
type reader struct {
	rest string
	bad  bool
}

func (r *reader) must(ok bool) {
	if !ok {
		r.bad, r.rest = true, ""
	}
}

func (r *reader) bytes(n int) string {
	if n < 0 || n > len(r.rest) {
		r.must(false)
		return ""
	}
	v := r.rest[:n]
	r.rest = r.rest[n:]
	return v
}

func (r *reader) uint32() uint32 {
	v := r.bytes(4)
	if r.bad {
		return 0
	}
	return uint32(v[0]) | uint32(v[1])<<8 | uint32(v[2])<<16 | uint32(v[3])<<24
}

func (r *reader) uint64() uint64 {
	low := r.uint32()
	return uint64(low) | uint64(r.uint32())<<32
}

// count is the length of a list whose items take at least size bytes each, so
// that no list is made longer than what is there to fill it.
func (r *reader) count(size, most int) int {
	n := r.uint32()
	if uint64(n) > uint64(most) || uint64(n)*uint64(size) > uint64(len(r.rest)) {
		r.must(false)
		return 0
	}
	return int(n)
}

// string refuses what cannot be given to the kernel: it would end at the NUL.
func (r *reader) string() string {
	v := r.bytes(r.count(1, MaxSize))
	r.must(strings.IndexByte(v, 0) < 0)
	if r.bad {
		return ""
	}
	return v
}

func (r *reader) strings() []string {
	n := r.count(4, MaxSize)
	if n == 0 {
		return nil
	}
	v := make([]string, n)
	for i := range v {
		v[i] = r.string()
	}
	return v
}

func appendUint32(b []byte, v uint32) []byte {
	return append(b, byte(v), byte(v>>8), byte(v>>16), byte(v>>24))
}

func appendUint64(b []byte, v uint64) []byte {
	return appendUint32(appendUint32(b, uint32(v)), uint32(v>>32))
}

func putUint32(b []byte, v uint32) {
	b[0], b[1], b[2], b[3] = byte(v), byte(v>>8), byte(v>>16), byte(v>>24)
}

func uint32At(b []byte) uint32 {
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}

func appendString(b []byte, v string) []byte {
	return append(appendUint32(b, uint32(len(v))), v...)
}

func appendStrings(b []byte, list []string) []byte {
	b = appendUint32(b, uint32(len(list)))
	for _, v := range list {
		b = appendString(b, v)
	}
	return b
}
