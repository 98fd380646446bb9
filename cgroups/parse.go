package cgroups

import (
	"bytes"
	"math"
)

// number reads a decimal number at the start of b, and where it ends: n is 0
// when there is none. What does not fit is the largest number.
func number(b []byte) (v uint64, n int) {
	for n < len(b) && b[n] >= '0' && b[n] <= '9' {
		d := uint64(b[n] - '0')
		if v > (math.MaxUint64-d)/10 {
			v = math.MaxUint64
		} else {
			v = v*10 + d
		}
		n++
	}
	return v, n
}

// value reads a file that holds one number, or "max", which is the largest.
func value(b []byte) (uint64, bool) {
	b = bytes.TrimRight(b, "\n")
	if string(b) == "max" {
		return math.MaxUint64, true
	}
	v, n := number(b)
	return v, n > 0 && n == len(b)
}

// entry is the first line of a flat keyed file ("key value\n" lines) and what
// follows it. A line that is not of that form has no key.
func entry(b []byte) (key []byte, v uint64, rest []byte) {
	line, rest, _ := bytes.Cut(b, []byte{'\n'})
	i := bytes.IndexByte(line, ' ')
	if i <= 0 {
		return nil, 0, rest
	}
	v, n := number(line[i+1:])
	if n == 0 || i+1+n != len(line) {
		return nil, 0, rest
	}
	return line[:i], v, rest
}
