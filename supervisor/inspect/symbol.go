package inspect

import (
	"debug/elf"
	"fmt"
	"os"
	"slices"
	"strings"
)

// The symbols of a file are somebody else's words: what is read of them is bounded.
const (
	maxSymbolBytes = 64 << 20
	maxSymbolFiles = 32
)

// symbols names addresses by the symbol tables of the files that are mapped. They
// are read once an inspection.
type symbols struct {
	files map[string]*symbolFile // by path in a process
}

type symbolFile struct {
	loads []elf.ProgHeader
	list  []elf.Symbol // functions, by address
}

func newSymbols() *symbols { return &symbols{files: map[string]*symbolFile{}} }

// close lets go of what was read.
func (s *symbols) close() { s.files = nil }

// frame names an address in a mapping.
func (s *symbols) frame(dir string, m *Mapping, pc uint64) Frame {
	f := Frame{PC: pc, File: m.Path}
	if m.Path == "" || m.Path[0] != '/' {
		return f
	}
	file := s.files[m.Path]
	if file == nil {
		if len(s.files) >= maxSymbolFiles {
			return f
		}
		file = readSymbols(fmt.Sprintf("%s/map_files/%x-%x", dir, m.Start, m.end), dir+"/root"+m.Path)
		s.files[m.Path] = file
	}
	for _, l := range file.loads {
		off := pc - m.Start + m.offset
		if off < l.Off || off-l.Off >= l.Filesz {
			continue
		}
		at := off - l.Off + l.Vaddr
		i, ok := slices.BinarySearchFunc(file.list, at, func(y elf.Symbol, at uint64) int {
			switch {
			case y.Value < at:
				return -1
			case y.Value > at:
				return 1
			}
			return 0
		})
		if !ok {
			i--
		}
		// A function without a size is one in assembler: the next one bounds it.
		if i >= 0 && (file.list[i].Size == 0 || at-file.list[i].Value <= file.list[i].Size) {
			f.Function, f.Offset = file.list[i].Name, at-file.list[i].Value
		}
		break
	}
	return f
}

// readSymbols reads the symbols of a file under the first of these names that can
// be opened: the kernel's own link to what is mapped, which is right also where the
// file was replaced, or its path as the process sees it.
func readSymbols(names ...string) (file *symbolFile) {
	file = &symbolFile{}
	defer func() {
		// debug/elf is not made for files that lie; nothing here is worth an end.
		if recover() != nil {
			file = &symbolFile{}
		}
	}()
	for _, name := range names {
		st, err := os.Stat(name)
		if err != nil || !st.Mode().IsRegular() {
			continue
		}
		f, err := elf.Open(name)
		if err != nil {
			continue
		}
		defer func() { _ = f.Close() }() // read only: nothing is lost
		for _, p := range f.Progs {
			if p.Type == elf.PT_LOAD {
				file.loads = append(file.loads, p.ProgHeader)
			}
		}
		table, strs := f.Section(".symtab"), f.Section(".strtab")
		read := f.Symbols
		if table == nil {
			table, strs, read = f.Section(".dynsym"), f.Section(".dynstr"), f.DynamicSymbols
		}
		if table == nil || strs == nil || table.Size > maxSymbolBytes || strs.Size > maxSymbolBytes {
			return file
		}
		list, err := read()
		if err != nil {
			return file
		}
		for _, y := range list {
			if elf.ST_TYPE(y.Info) == elf.STT_FUNC && y.Value != 0 {
				y.Name = strings.Clone(y.Name) // not the whole table of names
				file.list = append(file.list, y)
			}
		}
		slices.SortStableFunc(file.list, func(a, b elf.Symbol) int {
			if a.Value != b.Value {
				if a.Value < b.Value {
					return -1
				}
				return 1
			}
			return 0
		})
		return file
	}
	return file
}
