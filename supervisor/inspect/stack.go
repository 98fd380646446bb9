package inspect

import (
	"encoding/binary"
	"io"
	"runtime"
	"slices"
	"strconv"
)

// Frame is one frame of a user stack. Sure says that it was found by the chain of
// frame pointers or is where the thread stands; else it was found by looking for
// return addresses on the stack, and may be left of a call that is over.
type Frame struct {
	PC       uint64 `json:"pc"`
	Function string `json:"function"` // "": the file has no symbol there
	Offset   uint64 `json:"offset"`   // from its beginning
	File     string `json:"file"`     // the mapped file
	Sure     bool   `json:"sure"`
}

// String is "main.serve+0x1c (/usr/bin/web)", with "?" where it is not sure.
func (f Frame) String() string {
	s := "0x" + strconv.FormatUint(f.PC, 16)
	if f.Function != "" {
		s = f.Function + "+0x" + strconv.FormatUint(f.Offset, 16)
	}
	if f.File != "" {
		s += " (" + f.File + ")"
	}
	if !f.Sure {
		s = "? " + s
	}
	return s
}

// The bounds of a walk.
const (
	maxStack  = 256 << 10
	maxFrames = 64
	maxLoose  = 16 // frames that are not sure, before the chain
)

// stack is a piece of a thread's stack and what the walk needs beside it.
type stack struct {
	mem  io.ReaderAt
	maps []Mapping
	base uint64 // address of b[0]
	b    []byte
}

// walk finds the frames of a thread from what is on its stack. Most programs are
// compiled with frame pointers, Go's always: from the first return address above
// which such a chain begins, it is followed. What lies before it, and all of it
// where there is no chain, is told by the return addresses that there are.
func walk(mem io.ReaderAt, maps []Mapping, r *registers, name func(*Mapping, uint64) Frame) []Frame {
	frames := []Frame{}
	if m := find(maps, r.pc); m != nil {
		f := name(m, r.pc)
		f.Sure = true
		frames = append(frames, f)
	}
	on := find(maps, r.sp)
	if on == nil {
		return frames
	}
	s := &stack{mem: mem, maps: maps, base: r.sp, b: make([]byte, min(on.end-r.sp, maxStack))}
	n, err := mem.ReadAt(s.b, int64(s.base))
	if err != nil && n == 0 {
		return frames
	}
	s.b = s.b[:n&^7]
	at := s.base
	for ; at+8 <= s.base+uint64(len(s.b)) && len(frames) < maxLoose; at += 8 {
		v, _ := s.word(at)
		m := s.returns(v)
		if m == nil {
			continue
		}
		if s.chained(at) {
			return s.follow(at, frames, name)
		}
		if f := name(m, v); f.Function != "" {
			frames = append(frames, f)
		}
	}
	return frames
}

// follow takes the frames of the chain that begins at the return address at.
func (s *stack) follow(at uint64, frames []Frame, name func(*Mapping, uint64) Frame) []Frame {
	for len(frames) < maxFrames {
		v, ok := s.word(at)
		m := s.returns(v)
		if !ok || m == nil {
			break
		}
		f := name(m, v)
		f.Sure = true
		frames = append(frames, f)
		saved, ok := s.word(at - 8)
		if !ok || saved <= at {
			break
		}
		at = saved + 8
	}
	return frames
}

// chained says whether the return address at stands above a saved frame pointer
// that leads to another.
func (s *stack) chained(at uint64) bool {
	saved, ok := s.word(at - 8)
	if !ok || saved <= at {
		return false
	}
	v, ok := s.word(saved + 8)
	return ok && s.returns(v) != nil
}

// word is what is at an address of the stack.
func (s *stack) word(at uint64) (uint64, bool) {
	if at < s.base || at-s.base+8 > uint64(len(s.b)) || at%8 != 0 {
		return 0, false
	}
	return binary.LittleEndian.Uint64(s.b[at-s.base:]), true
}

// returns is the mapping that v returns to: code that follows a call; else nil.
func (s *stack) returns(v uint64) *Mapping {
	m := find(s.maps, v)
	if m == nil || m.Perms[2] != 'x' {
		return nil
	}
	var before [7]byte
	if v-m.Start < uint64(len(before)) {
		return nil
	}
	if _, err := s.mem.ReadAt(before[:], int64(v)-int64(len(before))); err != nil {
		return nil
	}
	if !isCall(before) {
		return nil
	}
	return m
}

// isCall says whether these bytes end with a call instruction.
func isCall(b [7]byte) bool {
	switch runtime.GOARCH {
	case "amd64":
		if b[2] == 0xe8 { // call rel32
			return true
		}
		// call r/m64: ff /2, with a register, no, a short or a long displacement,
		// and without a SIB byte or with one.
		for _, length := range []int{2, 3, 4, 6, 7} {
			at := len(b) - length
			mod, reg, rm := b[at+1]>>6, b[at+1]>>3&7, b[at+1]&7
			if b[at] != 0xff || reg != 2 {
				continue
			}
			want := map[byte]int{0: 2, 1: 3, 2: 6, 3: 2}[mod]
			if mod != 3 && rm == 4 {
				want++
			}
			if mod == 0 && rm == 5 {
				want = 6
			}
			if want == length {
				return true
			}
		}
		return false
	case "arm64":
		ins := binary.LittleEndian.Uint32(b[3:])
		return ins>>26 == 0b100101 || ins&0xfffffc1f == 0xd63f0000 // bl, blr
	}
	return false
}

// find is the mapping that an address is in, or nil.
func find(maps []Mapping, at uint64) *Mapping {
	i, ok := slices.BinarySearchFunc(maps, at, func(m Mapping, at uint64) int {
		switch {
		case m.end <= at:
			return -1
		case m.Start > at:
			return 1
		}
		return 0
	})
	if !ok {
		return nil
	}
	return &maps[i]
}
