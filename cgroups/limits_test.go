package cgroups

import (
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestCPUMax(t *testing.T) {
	for processors, want := range map[float64]string{1.5: "150000 100000", 0.2: "20000 100000", 0.01: "1000 100000", 0.005: "5000 1000000", 0.00001: "1000 1000000", 64: "6400000 100000"} {
		if got := cpuMax(processors); got != want {
			t.Errorf("%v: %s, want %s", processors, got, want)
		}
	}
}

// TestSet: what the kernel gives a group is set and read back; what it does not
// give is ENOENT, and a value that it does not take its own error.
func TestSet(t *testing.T) {
	tree := open(t)
	g, fd := create(t, tree, "web/0.1")
	unix.Close(fd)
	size := uint64(64 << 20)
	l := Limits{MemoryLow: &size, MemoryHigh: &size, MemoryMax: &size, SwapMax: new(uint64), OOMGroup: true, CPUMax: 0.5, CPUWeight: 200, PidsMax: 50, IOWeight: 300}
	for _, s := range l.Settings() {
		err := g.Set(s)
		if slices.Contains(tree.Controllers(), s.Controller) {
			got, rerr := os.ReadFile(g.Path() + "/" + s.File)
			if s.Controller != "io" && (err != nil || rerr != nil || strings.TrimSpace(string(got)) != s.Value) {
				t.Errorf("%v: %v; it is %q, %v", s, err, got, rerr)
			}
			continue
		}
		if !errors.Is(err, unix.ENOENT) || err.Error() != "cannot set "+s.File+" = "+s.Value+" of cgroup "+g.Path()+": no such file or directory (ENOENT)" {
			t.Errorf("%v: %v", s, err)
		}
	}
	if err := g.Set(Setting{"", "cgroup.freeze", "x"}); !errors.Is(err, unix.EINVAL) {
		t.Errorf("%v", err)
	}
	if killed, err := g.OOMKilled(); killed || err != nil {
		t.Errorf("%v, %v", killed, err)
	}
	if killed, err := tree.Group("web/none.1").OOMKilled(); killed || err != nil {
		t.Errorf("%v, %v", killed, err)
	}
}

// TestWritesFail: each error comes out with the operation and the errno's name.
func TestWritesFail(t *testing.T) {
	tree := open(t)
	g, fd := create(t, tree, "web/0.1")
	unix.Close(fd)
	for _, errno := range []unix.Errno{unix.EACCES, unix.EROFS, unix.EBUSY, unix.EINVAL} {
		tree.fault = func(name, _ string) error {
			if !strings.HasPrefix(name, "web/0.1/") {
				t.Errorf("a write to %s", name)
			}
			return errno
		}
		for op, err := range map[string]error{
			"set memory.max = 1 of": g.Set(Setting{"memory", "memory.max", "1"}), "set io.weight = 5 of": g.Set(Setting{"io", "io.weight", "5"}),
			"kill": g.Kill(), "freeze": g.Freeze(within(t)), "thaw": g.Thaw(within(t)),
		} {
			var e *Error
			if !errors.As(err, &e) || e.Op != op || !errors.Is(err, errno) || !strings.HasSuffix(err.Error(), "("+unix.ErrnoName(errno)+")") {
				t.Errorf("%s: %v", op, err)
			}
		}
	}
	// ENOENT is a group that is gone: to kill it is done.
	tree.fault = func(string, string) error { return unix.ENOENT }
	if err := g.Kill(); err != nil {
		t.Error(err)
	}
	if err := g.Set(Setting{"pids", "pids.max", "1"}); !errors.Is(err, unix.ENOENT) {
		t.Error(err)
	}
	tree.fault = nil
}

// TestWeightOfEither: a disk scheduler has one of two files.
func TestWeightOfEither(t *testing.T) {
	tree := open(t)
	g, fd := create(t, tree, "web/0.1")
	unix.Close(fd)
	for missing, want := range map[string]error{"io.weight": nil, "io.bfq.weight": nil, "io.": unix.ENOENT} {
		wrote := ""
		tree.fault = func(name, value string) error {
			file := strings.TrimPrefix(name, "web/0.1/")
			if strings.HasPrefix(file, missing) {
				return unix.ENOENT
			}
			wrote = file + "=" + value
			return errDone
		}
		err := g.Set(Setting{"io", "io.weight", "2000"})
		if errors.Is(err, errDone) {
			err = nil
		}
		if !errors.Is(err, want) {
			t.Errorf("without %s: %v", missing, err)
		}
		if missing == "io.weight" && wrote != "io.bfq.weight=1000" {
			t.Errorf("wrote %s", wrote)
		}
	}
	tree.fault = nil
}

// errDone stands for a write that was made, of a file that is not there.
var errDone = errors.New("done")

func TestGive(t *testing.T) {
	const all = "cpuset cpu io memory pids\n"
	for name, c := range map[string]struct {
		have, given, refused string // refused "all": processes live there
		want                 []string
		err                  string
	}{
		"all":       {all, "", "", []string{"memory", "cpu", "io", "pids"}, ""},
		"some":      {"cpu memory\n", "", "", []string{"memory", "cpu"}, ""},
		"given":     {all, "memory pids cpu io\n", "memory", []string{"memory", "pids", "cpu", "io"}, ""},
		"busy":      {all, "pids\n", "all", []string{"pids"}, "cannot enable the memory controller below cgroup DIR/a: device or resource busy (EBUSY)"},
		"one fails": {all, "", "+io", []string{"memory", "cpu", "pids"}, "cannot enable the io controller below cgroup DIR/a: device or resource busy (EBUSY)"},
	} {
		h := fake(t, "/a", "a/cgroup.controllers="+c.have, "a/cgroup.subtree_control="+c.given)
		n := 0
		if c.refused == "all" {
			h = fake(t, "/a", "a/cgroup.controllers="+c.have, "a/cgroup.subtree_control="+c.given, "a/cgroup.type=domain\n", "a/cgroup.procs=7\n")
		}
		h.fault = func(file string) error {
			n++
			if want := []string{"+memory", "+cpu", "+io", "+pids"}; c.refused != "" && want[n-1] == c.refused {
				return unix.EBUSY
			}
			return nil
		}
		given, err := h.give(h.Mount + "/a")
		text := ""
		if err != nil {
			text = err.Error()
		}
		if !slices.Equal(given, c.want) || text != strings.ReplaceAll(c.err, "DIR", h.Mount) {
			t.Errorf("%s: %q, %s", name, given, text)
		}
	}
}

// TestVacate: our own processes go into a leaf; those of others are left where
// they are, and named.
func TestVacate(t *testing.T) {
	self := strconv.Itoa(os.Getpid())
	files := func(procs string) []string {
		return []string{"a/cgroup.type=domain\n", "a/cgroup.controllers=memory\n", "a/cgroup.procs=" + procs, "a/supervisor/cgroup.procs="}
	}
	mine := func(pid int) bool { return pid != 1 }
	h := fake(t, "/a", files(self+"\n1\n")...)
	err := h.Vacate(mine)
	if err == nil || !strings.Contains(err.Error(), "also holds processes that are not ours, such as 1 (") {
		t.Errorf("%v", err)
	}
	if b, _ := os.ReadFile(h.Mount + "/a/supervisor/cgroup.procs"); len(b) > 0 {
		t.Errorf("moved %s", b)
	}
	h = fake(t, "/a", files("0\n")...)
	if err := h.Vacate(mine); err == nil || !strings.Contains(err.Error(), "such as 0:") {
		t.Errorf("a process that we do not see: %v", err)
	}
	h = fake(t, "/a", files("7\n")...)
	h.fault = func(file string) error { // the kernel takes it out of the list
		return os.WriteFile(h.Mount+"/a/cgroup.procs", nil, 0o644)
	}
	if err := h.Vacate(mine); err != nil {
		t.Error(err)
	}
	if b, _ := os.ReadFile(h.Mount + "/a/supervisor/cgroup.procs"); string(b) != "7" {
		t.Errorf("moved %q", b)
	}
	// Ended meanwhile; refused; and forking faster than we look.
	for errno, want := range map[unix.Errno]unix.Errno{unix.ESRCH: unix.EBUSY, unix.EACCES: unix.EACCES, unix.EROFS: unix.EROFS} {
		h = fake(t, "/a", files("7\n")...)
		h.fault = func(string) error { return errno }
		if err := h.Vacate(mine); !errors.Is(err, want) {
			t.Errorf("%v: %v", errno, err)
		}
	}
	// The true root, and a cgroup without controllers: nothing to do.
	for _, files := range [][]string{{"a/cgroup.controllers=memory\n", "a/cgroup.procs=7\n"}, {"a/cgroup.type=domain\n", "a/cgroup.controllers=\n", "a/cgroup.procs=7\n"}} {
		if err := fake(t, "/a", files...).Vacate(mine); err != nil {
			t.Error(err)
		}
	}
}

func TestUnleaf(t *testing.T) {
	h := fake(t, "/", "a/cgroup.procs=", "a/cgroup.controllers=memory\n", "a/supervisor/cgroup.procs=")
	for own, want := range map[string]string{"/a/supervisor": "/a", "/a": "/a", "/a/x": "/a/x", "/none/b/supervisor": "/none/b/supervisor"} {
		h.Own = own
		if got := h.unleaf(own); got != want {
			t.Errorf("%s: %s, want %s", own, got, want)
		}
	}
}

// TestPass: a new folder gets at once what the tree has, and where that fails one
// by one.
func TestPass(t *testing.T) {
	h := fake(t, "/", "nines/web/cgroup.subtree_control=")
	tree := &Tree{h: h, dir: h.Mount + "/nines", controllers: []string{"memory", "cpu"}}
	file := h.Mount + "/nines/web/cgroup.subtree_control"
	tree.pass("web")
	if b, err := os.ReadFile(file); err != nil || string(b) != "+memory +cpu" {
		t.Errorf("%q, %v", b, err)
	}
	writes := 0
	h.fault = func(string) error {
		writes++
		return unix.EBUSY
	}
	tree.pass("web")
	if writes != 3 {
		t.Errorf("%d writes", writes)
	}
	tree.controllers = nil
	if tree.pass("web"); writes != 3 {
		t.Error("written without a controller")
	}
}
