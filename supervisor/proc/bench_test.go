package proc

import (
	"os"
	"os/signal"
	"testing"

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

func benchmarkStart(b *testing.B, tree *cgroups.Tree, prepare func(*Command)) {
	s := spawner(b)
	c := &Command{Argv: []string{bin + "/true"}, Stdout: -1, Stderr: -1, CgroupFD: -1}
	if _, err := os.Stat(c.Argv[0]); err != nil {
		c.Argv[0] = "/bin/true"
	}
	prepare(c)
	signal.Reset(unix.SIGCHLD)
	b.Cleanup(func() { theReaper = newReaper() })
	b.ReportAllocs()
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
