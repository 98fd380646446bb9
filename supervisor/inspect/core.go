package inspect

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// Core is a core of a process, as the kernel would dump it: an ELF file with its
// writable memory, its threads and what is mapped where. As no thread is attached
// to, of their registers there are the program counter, the stack pointer and the
// arguments of the system call; all others are 0. Mapped files are not in it but
// for their first page, which has the build id: a debugger reads them itself.
type Core struct {
	pid   int
	mem   *os.File
	head  []byte // all before the memory
	loads []Mapping
	Size  int64 // in bytes
	Lost  int64 // of these, what could not be read and is written as zeros; known after WriteTo
}

const (
	page        = 4096
	maxSegments = 0xfff0 // what an ELF file can count, but for some
)

// OpenCore prepares the core of a process that stands still; its owner closes it.
func OpenCore(pid int) (*Core, error) {
	dir := "/proc/" + strconv.Itoa(pid)
	fail := func(err error) (*Core, error) {
		return nil, fmt.Errorf("cannot write a core of process %d: %s", pid, cause(err))
	}
	if runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
		return fail(errors.New("it is not known how on " + runtime.GOARCH))
	}
	maps, err := readMaps(dir)
	if err != nil {
		return fail(err)
	}
	p := Process{PID: pid}
	in := inspector{dir: dir, p: &p, symbols: newSymbols()}
	if !in.status() {
		return fail(os.ErrNotExist)
	}
	in.threads()
	auxv, err := readFile(dir + "/auxv")
	if err != nil {
		return fail(err)
	}
	mem, err := os.Open(dir + "/mem")
	if err != nil {
		return fail(err)
	}
	c := &Core{pid: pid, mem: mem}
	c.layout(&p, maps[:min(len(maps), maxSegments)], auxv)
	return c, nil
}

// Close lets go of the process.
func (c *Core) Close() error { return c.mem.Close() }

// stored is how much of a mapping is in a core, as the kernel has it by default
// (core(5), coredump_filter 0x33).
func (m *Mapping) stored() uint64 {
	switch {
	case m.Perms[0] != 'r' || m.Path == "[vvar]" || m.Path == "[vvar_vclock]" || m.Path == "[vsyscall]" || strings.HasPrefix(m.Path, "/dev/") && m.Path != "/dev/zero (deleted)":
		return 0
	case m.Perms[1] == 'w' && (m.Perms[3] == 'p' || m.Path == "" || strings.HasSuffix(m.Path, " (deleted)")), m.Path == "", m.Path[0] == '[':
		return m.size()
	case m.offset == 0:
		return min(m.size(), page)
	}
	return 0
}

// layout makes everything before the memory.
func (c *Core) layout(p *Process, maps []Mapping, auxv []byte) {
	notes := c.notes(p, maps, auxv)
	const header, segment = 64, 56
	c.loads = maps
	count := 1 + len(maps)
	at := uint64(header + segment*count)
	memory := (at + uint64(len(notes)) + page - 1) / page * page
	var b bytes.Buffer
	put := func(v any) {
		// A bytes.Buffer and values of fixed size: it cannot fail.
		_ = binary.Write(&b, binary.LittleEndian, v)
	}
	h := elf.Header64{
		Type: uint16(elf.ET_CORE), Machine: uint16(elfMachine()), Version: uint32(elf.EV_CURRENT),
		Phoff: header, Ehsize: header, Phentsize: segment, Phnum: uint16(count),
	}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA], h.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)
	put(&h)
	put(&elf.Prog64{Type: uint32(elf.PT_NOTE), Off: at, Filesz: uint64(len(notes)), Align: 4})
	off := memory
	for i := range maps {
		m := &maps[i]
		l := elf.Prog64{Type: uint32(elf.PT_LOAD), Off: off, Vaddr: m.Start, Filesz: m.stored(), Memsz: m.size(), Align: page}
		for k, flag := range []elf.ProgFlag{elf.PF_R, elf.PF_W, elf.PF_X} {
			if m.Perms[k] != '-' {
				l.Flags |= uint32(flag)
			}
		}
		put(&l)
		off += l.Filesz
	}
	b.Write(notes)
	b.Write(make([]byte, memory-at-uint64(len(notes))))
	c.head, c.Size = b.Bytes(), int64(off)
}

// elfMachine is ours.
func elfMachine() elf.Machine {
	if runtime.GOARCH == "arm64" {
		return elf.EM_AARCH64
	}
	return elf.EM_X86_64
}

// The kinds of notes (linux/elf.h).
const (
	notePrStatus = 1
	notePrPsInfo = 3
	noteAuxv     = 6
	noteFile     = 0x46494c45
)

func (c *Core) notes(p *Process, maps []Mapping, auxv []byte) []byte {
	var b []byte
	note := func(kind uint32, desc []byte) {
		b = binary.LittleEndian.AppendUint32(b, uint32(len("CORE")+1))
		b = binary.LittleEndian.AppendUint32(b, uint32(len(desc)))
		b = binary.LittleEndian.AppendUint32(b, kind)
		b = append(b, "CORE\x00\x00\x00\x00"...)
		b = append(b, desc...)
		b = append(b, make([]byte, (4-len(desc)%4)%4)...)
	}
	for i := range p.Threads {
		note(notePrStatus, prStatus(&p.Threads[i], p.Parent))
		if i == 0 {
			note(notePrPsInfo, prPsInfo(p))
			note(noteAuxv, auxv)
			note(noteFile, fileNote(maps))
		}
	}
	return b
}

// prStatus is struct elf_prstatus of the machine.
func prStatus(t *Thread, parent int) []byte {
	const pid, ppid, regs = 32, 36, 112
	size, r := 336, &t.regs
	var words [34]uint64
	n := 27
	switch runtime.GOARCH {
	case "amd64": // struct user_regs_struct
		words[10] = ^uint64(37) // rax: -ENOSYS, as at the entry of a call
		words[15] = ^uint64(0)
		words[16], words[19] = r.pc, r.sp
		words[17], words[20] = 0x33, 0x2b // cs, ss of user code
		if r.complete {
			words[14], words[13], words[12], words[7], words[9], words[8] = r.args[0], r.args[1], r.args[2], r.args[3], r.args[4], r.args[5]
			words[15] = uint64(r.number)
		}
	case "arm64": // struct user_pt_regs: x0 to x30, sp, pc, pstate
		size, n = 392, 34
		copy(words[:6], r.args[:])
		words[8], words[31], words[32] = uint64(r.number), r.sp, r.pc
	}
	b := make([]byte, size)
	binary.LittleEndian.PutUint32(b[pid:], uint32(t.TID))
	binary.LittleEndian.PutUint32(b[ppid:], uint32(parent))
	for i, w := range words[:n] {
		binary.LittleEndian.PutUint64(b[regs+8*i:], w)
	}
	return b
}

// prPsInfo is struct elf_prpsinfo; its arguments stay empty: a debugger needs the
// name alone.
func prPsInfo(p *Process) []byte {
	const state, pid, ppid, name, size, nameLen = 1, 24, 28, 40, 136, 16
	b := make([]byte, size)
	if p.State != "" {
		b[state] = p.State[0]
	}
	binary.LittleEndian.PutUint32(b[pid:], uint32(p.PID))
	binary.LittleEndian.PutUint32(b[ppid:], uint32(p.Parent))
	copy(b[name:name+nameLen-1], p.Name)
	return b
}

// fileNote says which files are mapped where.
func fileNote(maps []Mapping) []byte {
	var spans, names []byte
	count := uint64(0)
	for i := range maps {
		m := &maps[i]
		if m.Path == "" || m.Path[0] != '/' {
			continue
		}
		count++
		for _, v := range []uint64{m.Start, m.end, m.offset / page} {
			spans = binary.LittleEndian.AppendUint64(spans, v)
		}
		names = append(append(names, m.Path...), 0)
	}
	b := binary.LittleEndian.AppendUint64(nil, count)
	b = binary.LittleEndian.AppendUint64(b, page)
	return append(append(b, spans...), names...)
}

// WriteTo writes Size bytes.
func (c *Core) WriteTo(w io.Writer) (n int64, err error) {
	put := func(b []byte) bool {
		var k int
		k, err = w.Write(b)
		n += int64(k)
		return err == nil
	}
	if !put(c.head) {
		return n, err
	}
	buf := make([]byte, 256<<10)
	for i := range c.loads {
		m := &c.loads[i]
		for off, end := uint64(0), m.stored(); off < end; {
			b := buf[:min(uint64(len(buf)), end-off)]
			got, rerr := c.mem.ReadAt(b, int64(m.Start+off))
			if rerr != nil && got < len(b) {
				// A page that cannot be had (it is behind a file's end, or poisoned)
				// must not shift what follows.
				next := min(len(b), (got/page+1)*page)
				clear(b[got:next])
				c.Lost += int64(next - got)
				b = b[:next]
			}
			if !put(b) {
				return n, err
			}
			off += uint64(len(b))
		}
	}
	return n, nil
}
