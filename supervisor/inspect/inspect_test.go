package inspect

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestAddress(t *testing.T) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("skipped: these lines were written by a little-endian machine")
	}
	for in, want := range map[string]string{
		"0100007F:1F90": "127.0.0.1:8080", "00000000:0000": "0.0.0.0:0", "00000000000000000000000001000000:0050": "[::1]:80",
		"x:1": "x:1", "0100007F:FFFFF": "0100007F:FFFFF", "": "",
	} {
		if got := address(in); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
}

func TestIsCall(t *testing.T) {
	for code, want := range map[string]bool{
		"\x90\x90\xe8\x01\x02\x03\x04": true,  // call rel32
		"\x90\x90\x90\x90\x90\xff\xd0": true,  // call *%rax
		"\x90\x90\x90\x90\xff\x50\x08": true,  // call *8(%rax)
		"\x90\x90\x90\xff\x54\x24\x08": true,  // call *8(%rsp)
		"\x90\xff\x15\x01\x02\x03\x04": true,  // call *x(%rip)
		"\xff\x94\x24\x01\x02\x03\x04": true,  // call *x(%rsp)
		"\x90\x90\x90\x90\x90\xff\xe0": false, // jmp *%rax
		"\x90\x90\x90\x90\x90\x90\x90": false,
	} {
		if got := isCall([7]byte([]byte(code))); got != want && elfMachine() == elf.EM_X86_64 {
			t.Errorf("% x: %t", code, got)
		}
	}
}

// TestWalk: a chain of frame pointers is followed; what lies before it is not sure.
func TestWalk(t *testing.T) {
	if elfMachine() != elf.EM_X86_64 {
		t.Skip("skipped: the code of this test is for amd64")
	}
	const code, sp = 0x1000, 0x8000
	mem := make([]byte, 0x9000)
	for _, at := range []int{0x1100, 0x1200, 0x1300} {
		mem[at-5] = 0xe8
	}
	put := func(at int, v uint64) { binary.LittleEndian.PutUint64(mem[at:], v) }
	put(sp+8, 0x1100)     // a return address without a chain
	put(sp+0x18, sp+0x30) // a saved frame pointer,
	put(sp+0x20, 0x1200)  // and above it where that returns to
	put(sp+0x38, 0x1300)  // the next one; the chain ends
	maps := []Mapping{{Start: code, end: 0x2000, Perms: "r-xp"}, {Start: 0x7000, end: 0x9000, Perms: "rw-p"}}
	var at []uint64
	var sure []bool
	for _, f := range walk(bytes.NewReader(mem), maps, &registers{sp: sp, pc: 0x1010, known: true}, func(_ *Mapping, pc uint64) Frame {
		return Frame{PC: pc, Function: "f"}
	}) {
		at, sure = append(at, f.PC), append(sure, f.Sure)
	}
	if !slices.Equal(at, []uint64{0x1010, 0x1100, 0x1200, 0x1300}) || !slices.Equal(sure, []bool{true, false, true, true}) {
		t.Errorf("frames %#x, sure %v", at, sure)
	}
	for _, r := range []registers{{sp: ^uint64(0), pc: ^uint64(0)}, {sp: 0x8ff9, pc: 0}, {}} {
		walk(bytes.NewReader(mem), maps, &r, func(*Mapping, uint64) Frame { return Frame{} }) // must not panic
	}
}

func TestKernelStack(t *testing.T) {
	got := kernelStack("[<0>] do_freezer_trap+0x5a/0x80\n[<0>] get_signal+0x1/0x2\ngarbage\n")
	if !slices.Equal(got, []string{"do_freezer_trap+0x5a/0x80", "get_signal+0x1/0x2"}) {
		t.Error(got)
	}
}

// TestSelf: of a process that runs, what can be had is right, and a variable's value
// is nowhere.
func TestSelf(t *testing.T) {
	t.Setenv("UNUSED", "x") // the kernel shows the environment at exec alone
	list := Inspect([]int{os.Getpid(), 1 << 22})
	if len(list) != 1 {
		t.Fatalf("%d processes", len(list))
	}
	p := list[0]
	if p.PID != os.Getpid() || p.Parent != os.Getppid() || len(p.Threads) == 0 || p.Memory.RSS == 0 || p.Mappings == 0 || len(p.Limits) < 10 {
		t.Errorf("%+v", p)
	}
	if !slices.ContainsFunc(p.Limits, func(l Limit) bool { return l.Name == "Max open files" && l.Soft != "" && l.Unit == "files" }) {
		t.Errorf("limits: %+v", p.Limits)
	}
	for _, name := range p.EnvNames {
		if strings.Contains(name, "=") || !validName([]byte(name)) {
			t.Errorf("%q is no name", name)
		}
	}
}

// TestCoreLayout: the core is as long as it says, and every reader of ELF files
// reads it.
func TestCoreLayout(t *testing.T) {
	c, err := OpenCore(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var b bytes.Buffer
	n, err := c.WriteTo(&b)
	if err != nil || n != c.Size || int64(b.Len()) != c.Size {
		t.Fatalf("%d bytes of %d: %v", n, c.Size, err)
	}
	f, err := elf.NewFile(bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if f.Type != elf.ET_CORE || f.Machine != elfMachine() || len(f.Progs) < 2 || f.Progs[0].Type != elf.PT_NOTE {
		t.Errorf("%+v", f.FileHeader)
	}
	for _, p := range f.Progs[1:] {
		if p.Filesz > p.Memsz || p.Off+p.Filesz > uint64(c.Size) {
			t.Errorf("a segment outside of the file: %+v", p.ProgHeader)
		}
	}
	if _, err := OpenCore(1 << 22); err == nil {
		t.Error("a process that is not there has a core")
	}
}

func FuzzParsers(f *testing.F) {
	f.Add("0 0x1 0x2 0x3 0x4 0x5 0x6 0x7 0x8\n")
	f.Add("[<0>] a+0x1\n")
	f.Fuzz(func(t *testing.T, text string) {
		address(text)
		kernelStack(text)
		openFlags(text)
		field([]byte(text), "Name")
		var b [7]byte
		copy(b[:], text)
		isCall(b)
	})
}
