package cgroups

import (
	"errors"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestParseStats(t *testing.T) {
	var st Stats
	for part, text := range map[Part]string{
		MemoryPart: "4096\n", SwapPart: "max\n", PidsPart: "7\n", PidsEventsPart: "max 3\n",
		MemoryEventsPart: "low 1\nhigh 2\nmax 3\noom 4\noom_kill 5\noom_group_kill 6\nfuture 7\n",
		MemoryStatPart:   "anon 1000\nfile 500\nkernel 300\nshmem 100\nslab_reclaimable 50\n",
		CPUPart:          "usage_usec 1500000\nuser_usec 1000000\nsystem_usec 500000\nnr_periods 4\nnr_throttled 3\nthrottled_usec 2000\n",
	} {
		if !st.parse(part, []byte(text)) {
			t.Errorf("%s: %q refused", part.file(), text)
		}
	}
	want := Stats{Memory: 4096, Swap: 1<<64 - 1, Pids: 7, PidsMax: 3, MemoryEvents: MemoryEvents{1, 2, 3, 4, 5, 6}, MemoryStat: MemoryStat{1000, 500, 100, 50},
		CPU: CPUStats{1500 * time.Millisecond, time.Second, 500 * time.Millisecond, 4, 3, 2 * time.Millisecond}}
	if st != want {
		t.Errorf("%+v\nwant %+v", st, want)
	}
	for part, texts := range map[Part][]string{
		MemoryPart: {"", "x", "-1\n", "1 2\n", "\n", "1x\n"}, MemoryEventsPart: {"", "oom_kill", "oom_kill \n", "oom_kill x\n", " oom_kill 1\n"},
		CPUPart: {"", "usage_usec -1\n"}, PidsEventsPart: {"", "max\n"},
	} {
		for _, text := range texts {
			if st.parse(part, []byte(text)) {
				t.Errorf("%s: %q taken", part.file(), text)
			}
		}
	}
}

func FuzzStats(f *testing.F) {
	f.Add([]byte("low 1\nhigh 2\nmax 3\noom 4\noom_kill 5\noom_group_kill 6\n"))
	f.Add([]byte("usage_usec 99999999999999999999999\nuser_usec 1\n"))
	f.Add([]byte("18446744073709551616\n"))
	f.Add([]byte("max\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var st Stats
		for part := MemoryPart; part < endOfParts; part <<= 1 {
			st.parse(part, b)
		}
		if st.CPU.Usage < 0 || st.CPU.User < 0 || st.CPU.System < 0 || st.CPU.Throttled < 0 {
			t.Errorf("negative time: %+v", st.CPU)
		}
		if v, err := strconv.ParseUint(string(b), 10, 64); err == nil && b[0] != '+' {
			if got, ok := value(b); !ok || got != v {
				t.Errorf("%q is %d, %v", b, got, ok)
			}
		}
	})
}

func TestSample(t *testing.T) {
	tree := open(t)
	g, fd := create(t, tree, "web/0.1")
	cmd := start(t, fd, "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo; exec sleep 1000")
	unix.Close(fd)
	defer func() { _ = g.Kill(); _ = cmd.Wait() }()
	s := NewSampler()
	var st Stats
	const all = MemoryPart | SwapPart | MemoryEventsPart | CPUPart | PidsPart | PidsEventsPart | MemoryStatPart
	if err := s.Read(g, all, &st); err != nil {
		t.Fatal(err)
	}
	if st.Has&CPUPart == 0 || st.CPU.Usage <= 0 {
		t.Errorf("%+v", st)
	}
	if st.Has&MemoryPart != 0 && (st.Memory == 0 || st.Pids == 0) {
		t.Errorf("%+v", st)
	}
	if n := testing.AllocsPerRun(100, func() {
		if err := s.Read(g, all, &st); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a sample", n)
	}
	if err := s.Read(tree.Group("web/none.1"), CPUPart, &st); !errors.Is(err, unix.ENOENT) {
		t.Errorf("a group that does not exist: %v", err)
	}
	pids, err := s.Procs(g, nil)
	if err != nil || !slices.Equal(pids, []int{cmd.Process.Pid}) {
		t.Errorf("processes %v, %v; want %d", pids, err, cmd.Process.Pid)
	}
	if n := testing.AllocsPerRun(100, func() { pids, err = s.Procs(g, pids[:0]) }); n != 0 || err != nil {
		t.Errorf("%v allocations a list, %v", n, err)
	}
	// One that was put into a group below counts too.
	_, fd = create(t, tree, "web/0.1/below")
	child := start(t, fd, "echo; exec sleep 1000")
	unix.Close(fd)
	defer func() { _ = g.Kill(); _ = child.Wait() }()
	if pids, err = s.Procs(g, pids[:0]); err != nil || len(pids) != 2 || !slices.Contains(pids, child.Process.Pid) {
		t.Errorf("processes %v, %v; want %d too", pids, err, child.Process.Pid)
	}
	if pids, err = s.Procs(tree.Group("web/none.1"), nil); len(pids) != 0 || !errors.Is(err, unix.ENOENT) {
		t.Errorf("a group that does not exist: %v, %v", pids, err)
	}
	if err := s.Read(g, 0, &st); err != nil || st != (Stats{}) {
		t.Errorf("nothing wanted: %+v, %v", st, err)
	}
}

// BenchmarkSample is one sample of a thousand groups: "memory" what a growth
// rule needs, "usage" what a status shows. At level core memory.current is not
// there, so that its figure is that of a file which does not open.
func BenchmarkSample(b *testing.B) {
	tree := open(b)
	groups := make([]*Group, 1000)
	for i := range groups {
		g, fd := create(b, tree, "web/"+strconv.Itoa(i)+".1")
		unix.Close(fd)
		groups[i] = g
	}
	for name, want := range map[string]Part{"memory": MemoryPart, "cpu": CPUPart, "usage": MemoryPart | CPUPart} {
		b.Run(name, func(b *testing.B) {
			s := NewSampler()
			b.ReportAllocs()
			var before, after unix.Rusage
			if err := unix.Getrusage(unix.RUSAGE_SELF, &before); err != nil {
				b.Fatal(err)
			}
			n := 0
			for b.Loop() {
				var st Stats
				for _, g := range groups {
					if err := s.Read(g, want, &st); err != nil {
						b.Fatal(err)
					}
				}
				n++
			}
			if err := unix.Getrusage(unix.RUSAGE_SELF, &after); err != nil {
				b.Fatal(err)
			}
			used := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
			b.ReportMetric(float64(used)/float64(n)/1e6, "cpu-ms/op")
		})
	}
}

// TestHeld: only what can be given back is left out.
func TestHeld(t *testing.T) {
	for _, c := range []struct {
		st   Stats
		want uint64
	}{
		{Stats{Memory: 1000, MemoryStat: MemoryStat{Anon: 500, File: 300, Shmem: 100, SlabReclaimable: 50}, Swap: 7}, 757},
		{Stats{Memory: 100, MemoryStat: MemoryStat{File: 300}}, 0}, // it grew in between
		{Stats{Memory: 100, MemoryStat: MemoryStat{Shmem: 300}}, 100},
	} {
		if got := c.st.Held(); got != c.want {
			t.Errorf("%+v: %d, want %d", c.st, got, c.want)
		}
	}
}
