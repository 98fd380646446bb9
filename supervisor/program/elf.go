package program

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

const (
	magic = elf.ELFMAG
	// maxProgs is the kernel's: 64 KiB of program headers.
	maxProgs = 1170
	pathMax  = 4096
)

// Header is what the beginning of an ELF file says.
type Header struct {
	Machine     elf.Machine
	Class       elf.Class
	Data        elf.Data
	Interpreter string // of a dynamically linked program
}

// ReadFile is Read of a file.
func ReadFile(path string) (Header, error) {
	f, err := os.Open(path)
	if err != nil {
		return Header{}, err
	}
	defer f.Close() // was only read
	fi, err := f.Stat()
	if err != nil {
		return Header{}, err
	}
	return Read(f, fi.Size())
}

// Read reads the header of a program, all of whose parts must be within size: what
// the kernel looks at, and the sections. A file whose last part is debug
// information runs without it, but one that lacks it has not been copied whole.
func Read(r io.ReaderAt, size int64) (Header, error) {
	var h Header
	b := make([]byte, 64)
	n, err := r.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return h, err
	}
	if !strings.HasPrefix(string(b[:n]), magic) {
		return h, errors.New("it is no ELF file")
	}
	if n < 52 {
		return h, ErrCutOff
	}
	h.Class, h.Data = elf.Class(b[elf.EI_CLASS]), elf.Data(b[elf.EI_DATA])
	wide := h.Class == elf.ELFCLASS64
	if wide && n < 64 {
		return h, ErrCutOff
	}
	var o binary.ByteOrder = binary.LittleEndian
	if h.Data == elf.ELFDATA2MSB {
		o = binary.BigEndian
	}
	if !wide && h.Class != elf.ELFCLASS32 || h.Data != elf.ELFDATA2MSB && h.Data != elf.ELFDATA2LSB {
		return h, errors.New("its ELF header is damaged")
	}
	h.Machine = elf.Machine(o.Uint16(b[18:]))
	if t := elf.Type(o.Uint16(b[16:])); t != elf.ET_EXEC && t != elf.ET_DYN {
		return h, errors.New("it cannot be executed, being " + t.String())
	}
	var phoff, shoff uint64
	var phnum, shentsize, shnum, phentsize uint16
	if wide {
		phoff, shoff = o.Uint64(b[32:]), o.Uint64(b[40:])
		phentsize, phnum, shentsize, shnum = o.Uint16(b[54:]), o.Uint16(b[56:]), o.Uint16(b[58:]), o.Uint16(b[60:])
	} else {
		phoff, shoff = uint64(o.Uint32(b[28:])), uint64(o.Uint32(b[32:]))
		phentsize, phnum, shentsize, shnum = o.Uint16(b[42:]), o.Uint16(b[44:]), o.Uint16(b[46:]), o.Uint16(b[48:])
	}
	if wide && phentsize != 56 || !wide && phentsize != 32 || phnum == 0 || phnum > maxProgs {
		return h, errors.New("its ELF header is damaged")
	}
	if !within(phoff, uint64(phentsize)*uint64(phnum), size) || shoff != 0 && !within(shoff, uint64(shentsize)*uint64(shnum), size) {
		return h, ErrCutOff
	}
	if shoff != 0 && (wide && shentsize == 64 || !wide && shentsize == 40) {
		if err := sections(r, shoff, int(shentsize)*int(shnum), wide, o, size); err != nil {
			return h, err
		}
	}
	table := make([]byte, int(phentsize)*int(phnum))
	if n, err := r.ReadAt(table, int64(phoff)); n < len(table) {
		return h, err
	}
	for ; len(table) > 0; table = table[phentsize:] {
		var off, filesz uint64
		if wide {
			off, filesz = o.Uint64(table[8:]), o.Uint64(table[32:])
		} else {
			off, filesz = uint64(o.Uint32(table[4:])), uint64(o.Uint32(table[16:]))
		}
		t := elf.ProgType(o.Uint32(table))
		if t != elf.PT_LOAD && t != elf.PT_INTERP {
			continue
		}
		if !within(off, filesz, size) {
			return h, ErrCutOff
		}
		if t == elf.PT_INTERP && h.Interpreter == "" {
			if h.Interpreter, err = name(r, off, filesz); err != nil {
				return h, err
			}
		}
	}
	return h, nil
}

// sections looks whether each section that takes room in the file is within it.
// The table has n bytes, 4 MiB at most.
func sections(r io.ReaderAt, off uint64, n int, wide bool, o binary.ByteOrder, size int64) error {
	table := make([]byte, n)
	if got, err := r.ReadAt(table, int64(off)); got < n {
		return err
	}
	entry := 40
	if wide {
		entry = 64
	}
	for ; len(table) > 0; table = table[entry:] {
		if t := elf.SectionType(o.Uint32(table[4:])); t == elf.SHT_NULL || t == elf.SHT_NOBITS {
			continue
		}
		off, n := uint64(o.Uint32(table[16:])), uint64(o.Uint32(table[20:]))
		if wide {
			off, n = o.Uint64(table[24:]), o.Uint64(table[32:])
		}
		if !within(off, n, size) {
			return ErrCutOff
		}
	}
	return nil
}

func name(r io.ReaderAt, off, n uint64) (string, error) {
	if n < 2 || n > pathMax {
		return "", errors.New("the name of its interpreter is damaged")
	}
	b := make([]byte, n)
	if got, err := r.ReadAt(b, int64(off)); got < len(b) {
		return "", err
	}
	s, _, ok := strings.Cut(string(b), "\x00")
	if !ok || s == "" {
		return "", errors.New("the name of its interpreter is damaged")
	}
	return s, nil
}

// within says whether n bytes at off are, without any sum that overflows.
func within(off, n uint64, size int64) bool {
	return off <= uint64(size) && n <= uint64(size)-off
}

// Runs says whether a machine that runs programs like h may run other: one that
// runs 64 bits mostly runs the 32 of its family.
func (h Header) Runs(other Header) bool {
	family := func(m elf.Machine) elf.Machine {
		switch m {
		case elf.EM_386:
			return elf.EM_X86_64
		case elf.EM_ARM:
			return elf.EM_AARCH64
		case elf.EM_PPC:
			return elf.EM_PPC64
		}
		return m
	}
	return family(h.Machine) == family(other.Machine) && h.Data == other.Data
}

// Name is the machine as uname says it, where that is another word.
func (h Header) Name() string {
	switch h.Machine {
	case elf.EM_X86_64:
		return "x86_64"
	case elf.EM_386:
		return "i386"
	case elf.EM_AARCH64:
		return "aarch64"
	case elf.EM_ARM:
		return "arm"
	case elf.EM_RISCV:
		return "riscv" + strings.TrimPrefix(h.Class.String(), "ELFCLASS")
	case elf.EM_S390:
		return "s390x"
	case elf.EM_PPC64:
		if h.Data == elf.ELFDATA2LSB {
			return "ppc64le"
		}
		return "ppc64"
	}
	return fmt.Sprint(h.Machine, " ", h.Class)
}
