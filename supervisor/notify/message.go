// Package notify speaks sd_notify: newline-separated KEY=VALUE datagrams with
// descriptors beside them (SCM_RIGHTS), and the AF_UNIX connection that
// carries them, SOCK_SEQPACKET between the keeper and its two children,
// SOCK_DGRAM where a service notifies.
//
// # The contract
//
//   - One datagram is one message: at most MaxMessage bytes, MaxFields fields
//     and MaxFDs descriptors. Reading never panics and allocates no more than a
//     fixed multiple of what arrived; keys nobody knows are kept, in order, for
//     the reader to skip.
//   - Every descriptor received is CLOEXEC and belongs to the caller of Receive.
//     If Receive returns an error there is none to close.
//   - A Conn is nonblocking and parked in Go's netpoller: waiting costs no
//     thread. One goroutine may receive while others send.
//   - A peer that is gone is ErrClosed on sending and io.EOF on receiving, and
//     io.EOF comes only after everything that it had sent.
//
// It imports nothing beyond golang.org/x/sys/unix and the lowest part of the
// standard library, because PID 1 links it.
package notify

import (
	"bytes"
	"strconv"
	"strings"
	"unsafe"
)

// Limits of one message. A sender that stays below them is never refused.
const (
	MaxMessage = 64 << 10 // bytes
	MaxFields  = 1024
	MaxFDs     = 64
)

// Keys of sd_notify that nines uses, and its own (X_NINES_…).
const (
	KeyReady         = "READY"     // "1"
	KeyReloading     = "RELOADING" // "1"
	KeyStopping      = "STOPPING"  // "1"
	KeyWatchdog      = "WATCHDOG"  // "1", or "trigger"
	KeyStatus        = "STATUS"    // one line for people
	KeyMainPID       = "MAINPID"   // decimal
	KeyErrno         = "ERRNO"     // decimal
	KeyExtendTimeout = "EXTEND_TIMEOUT_USEC"
	KeyMonotonic     = "MONOTONIC_USEC"
	KeyBarrier       = "BARRIER"         // "1" and one descriptor
	KeyFDStore       = "FDSTORE"         // "1": the descriptors beside it are to be kept
	KeyFDStoreRemove = "FDSTOREREMOVE"   // "1": those named by FDName are to be dropped
	KeyFDName        = "FDNAME"          // one line per descriptor, in order
	KeyLog           = "X_NINES_LOG"     // after an FDName: it is a log pipe, with these settings
	KeyValue         = "X_NINES_VALUE"   // "key value"; an empty value deletes
	KeyStore         = "X_NINES_STORE"   // StoreEnd: all of the store has been handed back
	KeyEnd           = "X_NINES_END"     // an exit code: the exit that follows is meant
	KeyUpgrade       = "X_NINES_UPGRADE" // "WITHIN PROBATION PATH" (ms) with the new supervisor's file, maybe the new log process's
	KeyReexec        = "X_NINES_REEXEC"  // the path of the new keeper, with its file
	KeyExit          = "X_NINES_EXIT"    // "pid starttime status": the keeper reaped an orphan
)

// StoreEnd is the value of KeyStore that ends the hand-back.
const StoreEnd = "end"

// Field is one KEY=VALUE line.
type Field struct{ Key, Value string }

// Ready says that the sender is up.
func Ready() Field { return Field{KeyReady, "1"} }

// Stopping says that the sender is about to end.
func Stopping() Field { return Field{KeyStopping, "1"} }

// Watchdog says that the sender is alive.
func Watchdog() Field { return Field{KeyWatchdog, "1"} }

// Status is one line for people about what the sender does.
func Status(text string) Field { return Field{KeyStatus, text} }

// FDStore asks that the descriptors of the message be kept, one FDName each.
func FDStore() Field { return Field{KeyFDStore, "1"} }

// FDStoreRemove asks that the descriptors named by the FDName fields be dropped.
func FDStoreRemove() Field { return Field{KeyFDStoreRemove, "1"} }

// FDName names a descriptor.
func FDName(name string) Field { return Field{KeyFDName, name} }

// Log follows an FDName: that descriptor is a log pipe with these settings.
func Log(settings string) Field { return Field{KeyLog, settings} }

// Value keeps value under key; an empty value deletes the key. A key holds no
// space and no newline, a value no newline.
func Value(key, value string) Field { return Field{KeyValue, key + " " + value} }

// StoreDone ends the hand-back of the store.
func StoreDone() Field { return Field{KeyStore, StoreEnd} }

// End says that the exit that follows is meant, and with which code all ends.
func End(code int) Field { return Field{KeyEnd, strconv.Itoa(code)} }

// SplitValue takes the value of a KeyValue field apart. Without a space (ok is
// false) all of it is the key.
func SplitValue(s string) (key, value string, ok bool) { return strings.Cut(s, " ") }

// ParseEnd reads the value of a KeyEnd field: an exit code, 0 to 255.
func ParseEnd(s string) (code int, ok bool) {
	n, err := strconv.ParseUint(s, 10, 8)
	return int(n), err == nil
}

// Message is the fields of one datagram, in order. Keys may repeat.
type Message []Field

// A SyntaxError says why a datagram is no message.
type SyntaxError struct {
	Line   int // from 1; 0: the message as a whole
	Reason string
}

func (e *SyntaxError) Error() string {
	s := "cannot read the message: "
	if e.Line > 0 {
		s += "line " + strconv.Itoa(e.Line) + ": "
	}
	return s + e.Reason
}

// Parse reads one datagram. Empty lines are skipped, unknown keys kept. The
// fields share no memory with b, but all share one string: clone what you keep.
func Parse(b []byte) (Message, error) {
	if len(b) > MaxMessage {
		return nil, tooLong()
	}
	lines := bytes.Count(b, []byte{'\n'}) + 1
	return parse(make(Message, 0, min(lines, MaxFields)), string(b))
}

// ParseInPlace is Parse without memory of its own: it appends to m, and the
// fields are parts of b, valid while b does not change. Clone what you keep.
func ParseInPlace(m Message, b []byte) (Message, error) {
	if len(b) > MaxMessage {
		return nil, tooLong()
	}
	return parse(m, unsafe.String(unsafe.SliceData(b), len(b)))
}

func tooLong() error {
	return &SyntaxError{0, "it is longer than " + strconv.Itoa(MaxMessage) + " bytes"}
}

func parse(m Message, s string) (Message, error) {
	for n := 1; s != ""; n++ {
		var line string
		line, s, _ = strings.Cut(s, "\n")
		if line == "" {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		switch {
		case !ok:
			return nil, &SyntaxError{n, "it has no '='"}
		case key == "":
			return nil, &SyntaxError{n, "it has no key before '='"}
		case len(m) == MaxFields:
			return nil, &SyntaxError{n, "it has more than " + strconv.Itoa(MaxFields) + " fields"}
		}
		m = append(m, Field{key, value})
	}
	return m, nil
}

// Get returns the value of the last field with that key, as systemd reads it.
func (m Message) Get(key string) (string, bool) {
	for i := len(m) - 1; i >= 0; i-- {
		if m[i].Key == key {
			return m[i].Value, true
		}
	}
	return "", false
}

// Append writes the message to dst as Parse reads it. A newline inside a field
// would begin another one, of somebody else's making: it becomes a space.
func (m Message) Append(dst []byte) []byte {
	for i, f := range m {
		if i > 0 {
			dst = append(dst, '\n')
		}
		dst = f.Append(dst)
	}
	return dst
}

// Append writes the one field to dst, without a newline at its end.
func (f Field) Append(dst []byte) []byte {
	dst = appendLine(dst, f.Key)
	dst = append(dst, '=')
	return appendLine(dst, f.Value)
}

// Len is how many bytes Append writes.
func (f Field) Len() int { return len(f.Key) + 1 + len(f.Value) }

func appendLine(dst []byte, s string) []byte {
	from := len(dst)
	dst = append(dst, s...)
	for i := from; i < len(dst); i++ {
		if dst[i] == '\n' {
			dst[i] = ' '
		}
	}
	return dst
}
