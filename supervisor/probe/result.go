package probe

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds of what is read and kept, in bytes.
const (
	MaxOutput = 4 << 10  // Result.Output
	MaxHead   = 32 << 10 // status line and headers of an answer
	MaxBody   = 64 << 10 // of a body, what is read and what body_match sees
	MaxScrape = 16 << 20 // of an exposition of metrics
)

// Result is what one attempt came to.
type Result struct {
	Err    error         // nil: passed; else *Error
	Output string        // what the other side said, or what was measured
	Took   time.Duration // from the beginning to the verdict
}

// Cause says in what way an attempt failed.
type Cause string

// The causes. The first two say nothing about the instance.
const (
	Canceled    Cause = "canceled"    // the caller gave it up before its deadline
	Unable      Cause = "unable"      // we could not ask: no descriptor, no memory, no port, no certificates
	Timeout     Cause = "timeout"     // no whole answer before the deadline
	Unreachable Cause = "unreachable" // nothing accepts there, or the name is not known
	Broken      Cause = "broken"      // the connection ended early, or what came is not an answer
	Wrong       Cause = "wrong"       // an answer that is not the wanted one
	Slow        Cause = "slow"        // the wanted answer, later than max_latency
	Bound       Cause = "bound"       // what was measured has passed its bound
)

// Error is a failed attempt.
type Error struct {
	Cause Cause
	Text  string // a sentence for people, without a full stop
	Err   error  // what lies beneath, or nil
}

func (e *Error) Error() string { return e.Text }

func (e *Error) Unwrap() error { return e.Err }

// failed makes the error of an attempt that did not get through. what is what
// could not be done: "connect to 127.0.0.1:80". It began at start; ctx says
// whether it was given up, or its time was over.
func failed(ctx context.Context, start time.Time, what string, err error) *Error {
	cause, why := Broken, ""
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		cause, why = Canceled, "it was given up"
	case ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded):
		cause, why = Timeout, "no answer within "+patience(ctx, start)
	case ours(err):
		cause, why = Unable, reason(err)
	case unreachable(err):
		cause, why = Unreachable, reason(err)
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		why = "the connection was closed before the answer was whole"
	default:
		why = reason(err)
	}
	return &Error{Cause: cause, Text: "cannot " + what + ": " + why, Err: err}
}

// patience is the time that there was.
func patience(ctx context.Context, start time.Time) string {
	end, ok := ctx.Deadline()
	if !ok {
		end = time.Now()
	}
	d := end.Sub(start)
	switch {
	case d >= time.Second:
		d = d.Round(10 * time.Millisecond)
	case d >= time.Millisecond:
		d = d.Round(time.Millisecond)
	}
	return d.String()
}

// ours says that an errno is about this process or this machine.
func ours(err error) bool {
	var no syscall.Errno
	if !errors.As(err, &no) {
		return false
	}
	switch no {
	case syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOBUFS, syscall.EADDRNOTAVAIL, syscall.EADDRINUSE, syscall.EPERM:
		return true
	}
	return false
}

// unreachable says that nobody was there to answer.
func unreachable(err error) bool {
	var op *net.OpError
	var name *net.DNSError
	return errors.As(err, &name) || errors.As(err, &op) && op.Op == "dial"
}

// reason is the innermost error in words: what stands around it (the operation,
// the addresses) has been said.
func reason(err error) string {
	var no syscall.Errno
	var name *net.DNSError
	switch {
	case errors.Is(err, syscall.EAGAIN): // of connect on a unix socket
		return "its queue of connections is full"
	case errors.As(err, &no):
		return no.Error()
	case errors.As(err, &name):
		if name.IsNotFound {
			return "no such host"
		}
		return name.Err
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		return op.Err.Error()
	}
	return err.Error()
}

// excerpt is the beginning of what was read, as people may see it on a terminal.
func excerpt(b []byte) string {
	if len(b) > MaxOutput {
		b = b[:MaxOutput]
		// Not in the middle of a character.
		for i := 1; i < utf8.UTFMax && i <= len(b); i++ {
			if c := b[len(b)-i]; utf8.RuneStart(c) {
				if !utf8.FullRune(b[len(b)-i:]) {
					b = b[:len(b)-i]
				}
				break
			}
		}
	}
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || r != utf8.RuneError && unicode.IsPrint(r) {
			return r
		}
		return '?' // one byte: it does not grow
	}, string(b))
}
