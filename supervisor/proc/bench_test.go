package proc

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nines/cgroups"
)

// reapOne takes the child's exit without the reaper of the tests, which would
// be measured too.
func reapOne(b *testing.B, pid int) {
	if _, err := unix.Wait4(pid, nil, 0, nil); err != nil && err != unix.ECHILD {
		b.Fatal(err)
	}
}

// cpu is what we and our children have used: on a machine with other work, the
// only figure that means something.
func cpu(b *testing.B) time.Duration {
	var sum time.Duration
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		if err := unix.Getrusage(who, &u); err != nil {
			b.Fatal(err)
		}
		sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return sum
}

// least is the least program there is: so that starting is measured, and not
// what is started.
func least(b *testing.B) string {
	if runtime.GOARCH != "amd64" {
		return "/bin/true"
	}
	const base = 0x400000
	code := []byte{0x31, 0xff, 0xb8, 60, 0, 0, 0, 0x0f, 0x05} // exit(0)
	h := elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: 1,
		Entry: base + 120, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1,
	}
	p := elf.Prog64{
		Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Vaddr: base, Paddr: base,
		Filesz: uint64(120 + len(code)), Memsz: uint64(120 + len(code)), Align: 4096,
	}
	var buf bytes.Buffer
	for _, part := range []any{h, p, code} {
		if err := binary.Write(&buf, binary.LittleEndian, part); err != nil {
			b.Fatal(err)
		}
	}
	file := b.TempDir() + "/least"
	if err := os.WriteFile(file, buf.Bytes(), 0o755); err != nil {
		b.Fatal(err)
	}
	return file
}

func benchmarkStart(b *testing.B, tree *cgroups.Tree, prepare func(*Command)) {
	s := spawner(b)
	c := &Command{Argv: []string{least(b)}, Stdout: -1, Stderr: -1, CgroupFD: -1}
	prepare(c)
	signal.Reset(unix.SIGCHLD)
	b.Cleanup(func() { theReaper = newReaper() })
	b.ReportAllocs()
	before := cpu(b)
	defer func() { b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-µs/op") }()
	for b.Loop() {
		var g *cgroups.Group
		if tree != nil {
			var err error
			if g, c.CgroupFD, err = tree.Create("web/0.1"); err != nil {
				b.Fatal(err)
			}
		}
		pid, confirm, err := s.Start(c)
		if err == nil && confirm != nil {
			err = confirm()
		}
		if err != nil {
			b.Fatal(err)
		}
		reapOne(b, pid)
		if tree != nil {
			closeAll(c.CgroupFD)
			if err := g.Remove(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkForkExec is the floor: what the runtime's own call costs.
func BenchmarkForkExec(b *testing.B) {
	program := least(b)
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer null.Close()
	signal.Reset(unix.SIGCHLD)
	b.Cleanup(func() { theReaper = newReaper() })
	b.ReportAllocs()
	before := cpu(b)
	defer func() { b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-µs/op") }()
	for b.Loop() {
		pid, err := syscall.ForkExec(program, []string{program}, &syscall.ProcAttr{
			Files: []uintptr{null.Fd(), null.Fd(), null.Fd()},
			Sys:   &syscall.SysProcAttr{Setsid: true},
		})
		if err != nil {
			b.Fatal(err)
		}
		reapOne(b, pid)
	}
}

func BenchmarkStartDirect(b *testing.B) { benchmarkStart(b, nil, func(*Command) {}) }

func BenchmarkStartCgroup(b *testing.B) { benchmarkStart(b, cgroupTree(b), func(*Command) {}) }

func BenchmarkStartShim(b *testing.B) {
	umask := uint32(0o22)
	benchmarkStart(b, nil, func(c *Command) { c.Umask = &umask })
}

// BenchmarkEmpty is what each exit of a service costs at level none and core.
func BenchmarkEmpty(b *testing.B) {
	for _, level := range []string{"none", "core"} {
		b.Run(level, func(b *testing.B) {
			tr := &Tree{PID: 1 << 21, Mark: "x", KeeperPID: os.Getpid()}
			if level == "core" {
				g, fd, err := cgroupTree(b).Create("web/0.1")
				if err != nil {
					b.Fatal(err)
				}
				closeAll(fd)
				tr.Group = g
			}
			b.ReportAllocs()
			before := cpu(b)
			defer func() { b.ReportMetric(float64((cpu(b)-before).Nanoseconds())/1000/float64(b.N), "cpu-µs/op") }()
			for b.Loop() {
				if empty, err := tr.Empty(); err != nil || !empty {
					b.Fatal(empty, err)
				}
			}
		})
	}
}

func BenchmarkReadStat(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, _, _, err := ReadStat(os.Getpid()); err != nil {
			b.Fatal(err)
		}
	}
}
