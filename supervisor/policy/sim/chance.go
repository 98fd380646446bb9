package sim

import (
	"math/bits"
	"time"
)

// chance is a source of chance that depends on nothing but its key: the
// behaviour of web/0's fourth incarnation is the same whatever the rest of the
// world does. So a shrunk history (a service fewer, a command fewer) still
// meets the behaviour that broke the invariant, and so the order in which the
// world asks can never change what it gets.
type chance struct{ state uint64 }

// key returns the chance that belongs to the parts, in order.
func key(parts ...uint64) chance {
	h := uint64(0x9e3779b97f4a7c15)
	for _, p := range parts {
		h = mix(h ^ p)
	}
	return chance{h}
}

// mix is the finalizer of splitmix64: a bijection without visible structure.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb
	return x ^ (x >> 31)
}

// hash is FNV-1a of a name, so that a key does not depend on the service's
// place in the spec, which shrinking changes.
func hash(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

func (c *chance) next() uint64 {
	c.state += 0x9e3779b97f4a7c15
	return mix(c.state)
}

// below returns 0…n-1.
func (c *chance) below(n int) int { return int(c.next() % uint64(n)) }

// of says yes in permille of 1000 cases.
func (c *chance) of(permille int) bool { return c.below(1000) < permille }

// between returns a duration, uniformly.
func (c *chance) between(lo, hi time.Duration) time.Duration {
	if hi <= lo {
		return lo
	}
	return lo + time.Duration(c.next()%uint64(hi-lo+1))
}

// spread returns a duration of any order of magnitude between lo and hi: most
// faults live at the edges between "at once" and "far too late", which a
// uniform draw would hardly ever visit.
func (c *chance) spread(lo, hi time.Duration) time.Duration {
	if hi <= lo {
		return lo
	}
	lo = max(lo, time.Microsecond)
	octaves := bits.Len64(uint64(hi / lo)) // integers alone: the same on every architecture
	x := lo << c.below(octaves)
	return min(c.between(x, 2*x), hi)
}

// pick returns one of the choices.
func pick[T any](c *chance, choices ...T) T { return choices[c.below(len(choices))] }
