package program

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"nines/testdata/testkit"
)

// program makes the smallest ELF file: a header, program headers, and 100 bytes.
func program(machine elf.Machine, wide bool, o binary.ByteOrder, interp string) []byte {
	var b bytes.Buffer
	ident := [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS32), byte(elf.ELFDATA2LSB), 1}
	if o == binary.ByteOrder(binary.BigEndian) {
		ident[elf.EI_DATA] = byte(elf.ELFDATA2MSB)
	}
	w := func(v any) {
		if err := binary.Write(&b, o, v); err != nil {
			panic(err)
		}
	}
	body := append([]byte(interp+"\x00"), make([]byte, 100)...)
	if wide {
		ident[elf.EI_CLASS] = byte(elf.ELFCLASS64)
		w(elf.Header64{Ident: ident, Type: uint16(elf.ET_EXEC), Machine: uint16(machine), Version: 1, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 2})
		w(elf.Prog64{Type: uint32(elf.PT_LOAD), Off: 0, Filesz: uint64(64 + 112 + len(body))})
		p := elf.Prog64{Type: uint32(elf.PT_INTERP), Off: 64 + 112, Filesz: uint64(len(interp) + 1)}
		if interp == "" {
			p = elf.Prog64{Type: uint32(elf.PT_NOTE)}
		}
		w(p)
	} else {
		w(elf.Header32{Ident: ident, Type: uint16(elf.ET_EXEC), Machine: uint16(machine), Version: 1, Phoff: 52, Ehsize: 52, Phentsize: 32, Phnum: 2})
		w(elf.Prog32{Type: uint32(elf.PT_LOAD), Off: 0, Filesz: uint32(52 + 64 + len(body))})
		p := elf.Prog32{Type: uint32(elf.PT_INTERP), Off: 52 + 64, Filesz: uint32(len(interp) + 1)}
		if interp == "" {
			p = elf.Prog32{Type: uint32(elf.PT_NOTE)}
		}
		w(p)
	}
	b.Write(body)
	return b.Bytes()
}

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	self := filepath.Join(dir, "self")
	whole := program(elf.EM_X86_64, true, binary.LittleEndian, "")
	if err := os.WriteFile(self, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	binfmt := filepath.Join(dir, "binfmt")
	if err := os.MkdirAll(binfmt, 0o700); err != nil {
		t.Fatal(err)
	}
	c := checker{self: self, binfmt: binfmt}
	for _, name := range []string{"register", "status"} {
		if err := os.WriteFile(filepath.Join(binfmt, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	shared := bytes.Clone(whole)
	binary.LittleEndian.PutUint16(shared[16:], uint16(elf.ET_REL))
	sections := bytes.Clone(whole)
	binary.LittleEndian.PutUint64(sections[40:], uint64(len(whole)))
	binary.LittleEndian.PutUint16(sections[58:], 64)
	binary.LittleEndian.PutUint16(sections[60:], 1)
	debug := append(bytes.Clone(sections), make([]byte, 64+50)...) // one section of 50 bytes at the end
	binary.LittleEndian.PutUint32(debug[len(whole)+4:], uint32(elf.SHT_PROGBITS))
	binary.LittleEndian.PutUint64(debug[len(whole)+24:], uint64(len(whole)+64))
	binary.LittleEndian.PutUint64(debug[len(whole)+32:], 50)
	empty := bytes.Clone(debug)
	binary.LittleEndian.PutUint32(empty[len(whole)+4:], uint32(elf.SHT_NOBITS))
	headers := bytes.Clone(whole)
	binary.LittleEndian.PutUint16(headers[56:], 60000)
	for _, tc := range []struct {
		name string
		body []byte
		mode fs.FileMode
		want string // "": it can be executed
		is   error
	}{
		{"whole", whole, 0o755, "", nil},
		{"of the family", program(elf.EM_386, false, binary.LittleEndian, ""), 0o755, "", nil},
		{"interpreter", program(elf.EM_X86_64, true, binary.LittleEndian, "/bin/sh"), 0o755, "", nil},
		{"no interpreter", program(elf.EM_X86_64, true, binary.LittleEndian, "/lib/ld-musl-none.so.1"), 0o755, "its interpreter /lib/ld-musl-none.so.1 does not exist: install it, or", nil},
		{"cut off", whole[:len(whole)-1], 0o755, "it is no whole program: it is cut off", ErrCutOff},
		{"cut in the header", whole[:40], 0o755, "it is cut off", ErrCutOff},
		{"cut in the wide header", whole[:60], 0o755, "it is cut off", ErrCutOff},
		{"cut in the table", whole[:100], 0o755, "it is cut off", ErrCutOff},
		{"sections cut off", sections, 0o755, "it is cut off", ErrCutOff},
		{"sections there", append(bytes.Clone(sections), make([]byte, 64)...), 0o755, "", nil},
		{"a section there", debug, 0o755, "", nil},
		{"a section cut off", debug[:len(debug)-1], 0o755, "it is cut off", ErrCutOff},
		{"a section without content", empty[:len(empty)-1], 0o755, "", nil},
		{"arm", program(elf.EM_AARCH64, true, binary.LittleEndian, ""), 0o755, "it is for aarch64, this machine is x86_64", ErrMachine},
		{"s390", program(elf.EM_S390, true, binary.BigEndian, ""), 0o755, "it is for s390x, this machine is x86_64", ErrMachine},
		{"mips", program(elf.EM_MIPS, false, binary.BigEndian, ""), 0o755, "it is for EM_MIPS ELFCLASS32, this", ErrMachine},
		{"object", shared, 0o755, "it cannot be executed, being ET_REL", nil},
		{"headers", headers, 0o755, "its ELF header is damaged", nil},
		{"mode", whole, 0o644, "it is not executable: chmod +x", nil},
		{"empty", nil, 0o755, "it is empty", ErrCutOff},
		{"script", []byte("#!/bin/sh -e\n"), 0o755, "", nil},
		{"spaced script", []byte("#! \t/bin/sh\t-e\n"), 0o755, "", nil},
		{"relative script", []byte("#!bin/x\n"), 0o755, "", nil},
		{"script without", []byte("#!/no/such/python3 -u\n"), 0o755, "its interpreter /no/such/python3 does not exist", nil},
		{"script of a folder", []byte("#!/usr\n"), 0o755, "its interpreter /usr is not executable", nil},
		{"windows", []byte("#!/bin/sh\r\necho\r\n"), 0o755, "dos2unix", nil},
		{"nameless", []byte("#!  \n"), 0o755, "its first line names no interpreter", nil},
		{"text", []byte("echo hello\n"), 0o755, "a script begins with #!", nil},
		{"data", []byte("PK\x03\x04\x00"), 0o755, "it is no program of a format that is known here", nil},
	} {
		path := filepath.Join(dir, "file")
		if err := os.WriteFile(path, tc.body, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, tc.mode); err != nil {
			t.Fatal(err)
		}
		err := c.check(path)
		if tc.want == "" {
			if err != nil {
				t.Errorf("%s: %v", tc.name, err)
			}
			continue
		}
		var e *Error
		if !errors.As(err, &e) || e.Path != path || !strings.HasPrefix(err.Error(), "cannot execute "+path+": ") || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", tc.name, err)
		}
		if tc.is != nil && !errors.Is(err, tc.is) {
			t.Errorf("%s: %v is no %v", tc.name, err, tc.is)
		}
	}
	// Where the kernel was taught more, it may know better.
	if err := os.WriteFile(filepath.Join(binfmt, "qemu-aarch64"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, body := range [][]byte{program(elf.EM_AARCH64, true, binary.LittleEndian, ""), []byte("PK\x03\x04\x00")} {
		if err := os.WriteFile(filepath.Join(dir, "file"), body, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := c.check(filepath.Join(dir, "file")); err != nil {
			t.Error(err)
		}
	}
	for path, want := range map[string]string{dir: "it is a folder", os.DevNull: "no regular file", dir + "/no": "no such file"} {
		if err := c.check(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestReal: what runs here can be executed.
func TestReal(t *testing.T) {
	for _, path := range []string{"/proc/self/exe", "/bin/sh", "/bin/ls"} {
		if err := Check(path); err != nil {
			t.Error(err)
		}
	}
}

// TestNoexec: where nothing can be executed, that is said. /dev/shm and /proc are
// mounted so on some machines; here it is made sure.
func TestNoexec(t *testing.T) {
	if !testkit.InNamespace(t) {
		return
	}
	dir := testkit.Disk(t, "1m")
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_NOEXEC, ""); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/web", []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Check(dir + "/web"); err == nil || !strings.Contains(err.Error(), "its filesystem is mounted noexec") {
		t.Error(err)
	}
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT, ""); err != nil {
		t.Fatal(err)
	}
	if err := Check(dir + "/web"); err != nil {
		t.Error(err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(program(elf.EM_X86_64, true, binary.LittleEndian, "/bin/sh"))
	f.Add(program(elf.EM_MIPS, false, binary.BigEndian, "/bin/sh"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := Read(bytes.NewReader(b), int64(len(b)))
		if err == nil && (h.Name() == "" || !h.Runs(h) || len(h.Interpreter) > pathMax) {
			t.Errorf("%+v", h)
		}
	})
}
