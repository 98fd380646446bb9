package proc

import (
	"errors"
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nines/cgroups"
)

// TestHeld: what a process and its children hold is told, in a cgroup and without
// one; what is mapped from files is not counted.
func TestHeld(t *testing.T) {
	const size = 64 << 20
	for _, level := range []string{"none", "cgroup"} {
		t.Run(level, func(t *testing.T) {
			in := startInstance(t, func(c *Command, tr *Tree) {
				if level == "cgroup" {
					g, fd, err := cgroupTree(t).Create("web/0.1")
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { unix.Close(fd) })
					tr.Group, c.CgroupFD = g, fd
				}
			}, []string{"leak", strconv.Itoa(size), strconv.Itoa(size)})
			r := NewMemoryReader()
			var held uint64
			until(t, "it holds what it took", func() bool {
				var err error
				if held, err = r.Held(&in.Tree, 0); err != nil {
					t.Fatal(err)
				}
				return held >= size
			})
			if held > size+32<<20 {
				t.Errorf("it holds %d", held)
			}
			if n := testing.AllocsPerRun(20, func() {
				if _, err := r.Held(&in.Tree, 0); err != nil {
					t.Error(err)
				}
			}); level == "cgroup" && n > 0 {
				t.Errorf("%v allocations a sample", n)
			}
		})
	}
	t.Run("no longer alone", func(t *testing.T) {
		gate := t.TempDir() + "/gate"
		if err := unix.Mkfifo(gate, 0o600); err != nil {
			t.Fatal(err)
		}
		in := startInstance(t, func(c *Command, _ *Tree) {
			c.Argv = append([]string{"/bin/sh", "-c", `read x < "$0"; "$@" & wait`, gate}, c.Argv...)
		}, []string{"leak", strconv.Itoa(size), strconv.Itoa(size)})
		r := NewMemoryReader()
		until(t, "it is looked at as one process", func() bool {
			if _, err := r.Held(&in.Tree, 0); err != nil {
				t.Fatal(err)
			}
			return in.Tree.alone > 0
		})
		if err := os.WriteFile(gate, []byte("\n"), 0); err != nil {
			t.Fatal(err)
		}
		until(t, "what it starts counts", func() bool {
			held, err := r.Held(&in.Tree, 0)
			if err != nil {
				t.Fatal(err)
			}
			return held >= size
		})
	})
	t.Run("nothing left", func(t *testing.T) {
		pid, exit := launch(t, spawner(t), command("exit", "0"))
		wait(t, exit)
		if _, err := NewMemoryReader().Held(&Tree{PID: pid}, 0); !errors.Is(err, unix.ESRCH) {
			t.Errorf("%v", err)
		}
		if _, err := NewMemoryReader().Held(&Tree{PID: pid, Group: cgroupTree(t).Group("web/none.1")}, 0); !errors.Is(err, unix.ENOENT) {
			t.Errorf("%v", err)
		}
	})
}

func TestParseStatm(t *testing.T) {
	for text, want := range map[string]uint64{
		"1000 300 100 50 0 70 0\n": 200,
		"1000 300 400 50 0 70 0\n": 0, // out of step
		"0 0 0 0 0 0 0\n":          0, // a zombie
	} {
		if got, ok := parseStatm([]byte(text)); !ok || got != want {
			t.Errorf("%q: %d, %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "1000", "1000 300", "1000 300 100", "1000 x 100 50", "1000 300 x 50", "1000  300 100 5"} {
		if got, ok := parseStatm([]byte(text)); ok {
			t.Errorf("%q: %d", text, got)
		}
	}
}

// BenchmarkHeld is one sample of a thousand instances with a process each.
func BenchmarkHeld(b *testing.B) {
	const instances = 1000
	for _, level := range []string{"none", "cgroup"} {
		b.Run(level, func(b *testing.B) {
			s := spawner(b)
			var t *cgroups.Tree
			if level == "cgroup" {
				t = cgroupTree(b)
			}
			trees := make([]*Tree, instances)
			for i := range trees {
				c := &Command{Argv: []string{"/bin/sleep", "1000"}, Stdout: -1, Stderr: -1, CgroupFD: -1}
				tr := &Tree{}
				if t != nil {
					var err error
					if tr.Group, c.CgroupFD, err = t.Create("web/" + strconv.Itoa(i) + ".1"); err != nil {
						b.Fatal(err)
					}
				}
				pid, _, err := s.Start(c)
				if err != nil {
					b.Fatal(err)
				}
				if t != nil {
					unix.Close(c.CgroupFD)
				}
				tr.PID = pid
				trees[i] = tr
				b.Cleanup(func() {
					unix.Kill(pid, unix.SIGKILL)
					unix.Wait4(pid, nil, 0, nil)
				})
			}
			r := NewMemoryReader()
			b.ReportAllocs()
			before := cpu(b)
			for b.Loop() {
				for _, tr := range trees {
					if held, err := r.Held(tr, 0); err != nil || held == 0 {
						b.Fatal(held, err)
					}
				}
			}
			b.ReportMetric(float64((cpu(b)-before)/time.Duration(b.N))/1e6, "cpu-ms/round")
		})
	}
}
