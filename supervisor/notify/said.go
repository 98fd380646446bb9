package notify

import (
	"bytes"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
	"unsafe"
)

// Keys of sd_notify that only services use.
const (
	KeyWatchdogUsec = "WATCHDOG_USEC"
	KeyFDPoll       = "FDPOLL" // "0": a descriptor that hangs up is kept
)

// MaxStatus bounds, in bytes, what is kept of a STATUS.
const MaxStatus = 256

// Said is what a service says in one datagram, as sd_notify(3) has it. What is
// not said is zero. Of a key that stands there twice the last one counts.
type Said struct {
	Ready, Reloading, Stopping bool
	Beat, Trigger              bool // WATCHDOG=1, WATCHDOG=trigger
	Store, Unstore             bool // FDSTORE=1, FDSTOREREMOVE=1
	KeepHungUp                 bool // FDPOLL=0
	Barrier                    bool
	HasStatus                  bool
	Status                     string // one line, printable, at most MaxStatus bytes
	Errno                      int    // ERRNO
	MainPID                    int
	Monotonic                  time.Duration // MONOTONIC_USEC: on CLOCK_MONOTONIC
	Extend                     time.Duration // EXTEND_TIMEOUT_USEC
	Watchdog                   time.Duration // WATCHDOG_USEC
	FDName                     string        // as it can be one (see FDNameOr)
}

// ParseSaid reads one datagram. As in systemd, what it does not understand it
// passes over: services send to many managers. It never fails, and what it
// returns shares no memory with b.
func ParseSaid(b []byte) Said {
	var s Said
	rest := unsafe.String(unsafe.SliceData(b), len(b))
	for rest != "" {
		var line string
		line, rest, _ = strings.Cut(rest, "\n")
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			continue
		}
		switch key {
		case KeyReady:
			s.Ready = value == "1"
		case KeyReloading:
			s.Reloading = value == "1"
		case KeyStopping:
			s.Stopping = value == "1"
		case KeyWatchdog:
			s.Beat, s.Trigger = value == "1", value == "trigger"
		case KeyFDStore:
			s.Store = value == "1"
		case KeyFDStoreRemove:
			s.Unstore = value == "1"
		case KeyFDPoll:
			s.KeepHungUp = value == "0"
		case KeyBarrier:
			s.Barrier = value == "1"
		case KeyStatus:
			s.Status, s.HasStatus = statusLine(value), true
		case KeyErrno:
			s.Errno = number(value, 4095)
		case KeyMainPID:
			s.MainPID = number(value, 1<<30)
		case KeyMonotonic:
			s.Monotonic = usec(value)
		case KeyExtendTimeout:
			s.Extend = usec(value)
		case KeyWatchdogUsec:
			s.Watchdog = usec(value)
		case KeyFDName:
			s.FDName = strings.Clone(FDNameOr(value))
		}
	}
	return s
}

// Light says whether nothing in it has to be known by a successor: a sign of
// life, a line for people, or nothing that is understood.
func (s *Said) Light() bool {
	return !s.Ready && !s.Reloading && !s.Stopping && !s.Trigger && !s.Store && !s.Unstore && !s.Barrier &&
		s.MainPID == 0 && s.Extend == 0 && s.Watchdog == 0
}

// IsLight is Light of a datagram, without what ParseSaid costs for the most
// frequent one.
func IsLight(b []byte) bool {
	if bytes.Equal(bytes.TrimSuffix(b, []byte{'\n'}), []byte("WATCHDOG=1")) {
		return true
	}
	s := ParseSaid(b)
	return s.Light()
}

// defaultFDName is what systemd calls a descriptor that has no name.
const defaultFDName = "stored"

// FDNameOr is name, if it can be one in LISTEN_FDNAMES, else "stored".
func FDNameOr(name string) string {
	if name == "" || len(name) > 255 {
		return defaultFDName
	}
	for i := range len(name) {
		if c := name[i]; c <= ' ' && c != ' ' || c >= 0x7f || c == ':' {
			return defaultFDName
		}
	}
	return name
}

func number(value string, most int) int {
	n, err := strconv.ParseUint(value, 10, 31)
	if err != nil || int(n) > most {
		return 0
	}
	return int(n)
}

// maxUsec is some 290 years, which is all that a Duration holds.
const maxUsec = uint64(1<<63-1) / 1000

func usec(value string) time.Duration {
	n, err := strconv.ParseUint(value, 10, 64)
	if err != nil && n == 0 {
		return 0
	}
	return time.Duration(min(n, maxUsec)) * time.Microsecond
}

// statusLine is what can be shown of a status: it goes to people's terminals.
func statusLine(value string) string {
	out := make([]byte, 0, min(len(value), MaxStatus))
	for _, r := range value {
		if r == utf8.RuneError || r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == '\u2028' || r == '\u2029' || r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069' {
			r = ' ' // controls, and what turns the direction of writing
		}
		if len(out)+utf8.RuneLen(r) > MaxStatus {
			break
		}
		out = utf8.AppendRune(out, r)
	}
	return string(bytes.TrimSpace(out))
}
