package ipc

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Limits bound what callers can take. A zero field is its default. The owner is
// root and our own user; a reader is who may only read.
type Limits struct {
	MaxConns       int           // connections at once: 256
	MaxOtherConns  int           // of these, by others than the owner: a quarter
	MaxReaderConns int           // of the others', by readers: half
	MaxUserConns   int           // by one user other than the owner: half of MaxOtherConns; if a reader, half of that
	MaxWaits       int           // requests that wait or stream, at once: half of MaxConns
	MaxHeader      int           // bytes of a request's header: 64 KiB
	MaxBody        int64         // bytes of a request's body: 64 KiB
	MaxSpec        int64         // … of one that brings a specification: 16 MiB
	MaxSpecs       int           // such requests that are read at once: 2
	MaxHeld        int64         // bytes of answers that others than the owner have not read yet: 64 MiB
	ReadTimeout    time.Duration // for a request's header, and then for its body: 5 s
	IdleTimeout    time.Duration // between requests of one connection: 15 s
	WriteTimeout   time.Duration // for an answer, or for one write of a stream: 10 s
	ReaderPace     time.Duration // between the requests of one reading user, on average: 50 ms
	ReaderBurst    int           // of these requests, how many may come at once: 20
	ReaderAge      time.Duration // how old the status that a reader sees may be: 250 ms
}

func (l Limits) withDefaults() Limits {
	def(&l.MaxConns, 256)
	def(&l.MaxOtherConns, max(1, l.MaxConns/4))
	def(&l.MaxReaderConns, max(1, l.MaxOtherConns/2))
	def(&l.MaxUserConns, max(1, l.MaxOtherConns/2))
	def(&l.MaxWaits, max(1, l.MaxConns/2))
	def(&l.MaxHeader, 64<<10)
	def(&l.MaxBody, 64<<10)
	def(&l.MaxSpec, 16<<20)
	def(&l.MaxSpecs, 2)
	def(&l.MaxHeld, 64<<20)
	def(&l.ReadTimeout, 5*time.Second)
	def(&l.IdleTimeout, 15*time.Second)
	def(&l.WriteTimeout, 10*time.Second)
	def(&l.ReaderPace, 50*time.Millisecond)
	def(&l.ReaderBurst, 20)
	def(&l.ReaderAge, 250*time.Millisecond)
	return l
}

func def[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

const (
	// ownDescriptors are kept for what the supervisor is there for: its own, and
	// those of the starts under way.
	ownDescriptors = 128
	// connDescriptors is what a connection takes at most: itself, and one to the
	// log process.
	connDescriptors = 2
	fewestConns     = 8
)

// FitDescriptors returns the defaults, with no more connections than leave the
// process the descriptors that it needs to start services, however low
// RLIMIT_NOFILE is.
func FitDescriptors() (Limits, error) {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return Limits{}, fmt.Errorf("cannot read the limit of open files: %w", err)
	}
	return fit(r.Cur), nil
}

func fit(descriptors uint64) Limits {
	var l Limits
	room := (int64(min(descriptors, 1<<30)) - ownDescriptors) / connDescriptors
	l.MaxConns = int(max(fewestConns, min(room, 256)))
	return l.withDefaults()
}
