package cgroups

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	unifiedMount = "35 24 0:30 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
	hybridMount  = "30 24 0:26 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n" +
		"35 24 0:30 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
	readOnlyMount  = "35 24 0:30 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw\n"
	containerMount = "35 24 0:30 /docker/abc /sys/fs/cgroup rw,nosuid - cgroup2 cgroup rw\n"
	oddMount       = `35 24 0:30 / /mnt/a\040b rw - cgroup2 x rw` + "\n"
)

func TestLocate(t *testing.T) {
	for name, c := range map[string]struct {
		cgroup, mounts  string
		mount, own, why string
	}{
		"unified":       {"0::/system.slice/nines.service\n", unifiedMount, "/sys/fs/cgroup", "/system.slice/nines.service", ""},
		"root":          {"0::/\n", unifiedMount, "/sys/fs/cgroup", "/", ""},
		"hybrid":        {"4:memory:/x\n0::/y\n", hybridMount, "/sys/fs/cgroup/unified", "/y", ""},
		"container":     {"0::/docker/abc/x\n", containerMount, "/sys/fs/cgroup", "/x", ""},
		"its root":      {"0::/docker/abc\n", containerMount, "/sys/fs/cgroup", "/", ""},
		"not below":     {"0::/docker/abcd\n", containerMount, "", "", "the cgroup2 filesystem at /sys/fs/cgroup does not show our cgroup /docker/abcd"},
		"blank":         {"0::/\n", oddMount, "/mnt/a b", "/", ""},
		"second better": {"0::/x\n", readOnlyMount + hybridMount, "/sys/fs/cgroup/unified", "/x", ""},
		"read-only":     {"0::/x\n", readOnlyMount, "/sys/fs/cgroup", "/x", "the cgroup2 filesystem at /sys/fs/cgroup is mounted read-only"},
		"v1 alone":      {"4:memory:/x\n", hybridMount, "", "", "the kernel has no cgroup v2"},
		"not mounted":   {"4:memory:/x\n0::/\n", "30 24 0:26 / /sys rw - sysfs sysfs rw\n", "", "", "no cgroup2 filesystem is mounted"},
		"removed":       {"0::/x (deleted)\n", unifiedMount, "", "", "our own cgroup /x (deleted) was removed"},
		"outside":       {"0::/../x\n", unifiedMount, "", "", "our cgroup /../x is outside our cgroup namespace"},
		"empty":         {"", "", "", "", "the kernel has no cgroup v2"},
		"damaged":       {"0::/\n", "cgroup2\n - cgroup2\n1 2 3 - cgroup2\n", "", "", "no cgroup2 filesystem is mounted"},
	} {
		h := locate(c.cgroup, c.mounts)
		level := Level("")
		if c.why != "" {
			level = None
		}
		if h.Mount != c.mount || h.Own != c.own || h.Why != c.why || h.Level != level {
			t.Errorf("%s: %+v", name, h)
		}
	}
}

// fake makes a hierarchy of plain files; each text is "path=content".
func fake(t *testing.T, own string, files ...string) *Hierarchy {
	t.Helper()
	dir := t.TempDir()
	for _, f := range files {
		name, text, _ := strings.Cut(f, "=")
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return &Hierarchy{Mount: dir, Own: own}
}

func TestLevels(t *testing.T) {
	const all = "cpuset cpu io memory hugetlb pids\n"
	for name, c := range map[string]struct {
		own   string
		files []string
		level Level
		why   string
	}{
		"the true root": {"/", []string{"cgroup.controllers=" + all, "cgroup.subtree_control=", "cgroup.procs=1\n2\n"}, Full, ""},
		"a cgroup with processes": {"/a", []string{"cgroup.procs=", "a/cgroup.type=domain\n", "a/cgroup.controllers=" + all, "a/cgroup.subtree_control=cpu pids\n", "a/cgroup.procs=7\n"},
			Core, "the cgroup DIR/a holds processes itself, so it cannot give the memory and io controllers to its children"},
		"one without":        {"/a", []string{"a/cgroup.type=domain\n", "a/cgroup.controllers=" + all, "a/cgroup.subtree_control=\n", "a/cgroup.procs="}, Full, ""},
		"given already":      {"/a", []string{"a/cgroup.type=domain\n", "a/cgroup.controllers=" + all, "a/cgroup.subtree_control=" + all, "a/cgroup.procs=7\n"}, Full, ""},
		"some are missing":   {"/", []string{"cgroup.controllers=cpu memory\n", "cgroup.procs="}, Core, "not available in the cgroup DIR: the io and pids controllers"},
		"all but one":        {"/", []string{"cgroup.controllers=cpu memory io\n", "cgroup.procs="}, Core, "not available in the cgroup DIR: the pids controller"},
		"none at all":        {"/", []string{"cgroup.controllers=\n", "cgroup.procs="}, Core, "not available in the cgroup DIR: the memory, cpu, io and pids controllers"},
		"threaded":           {"/a", []string{"a/cgroup.type=threaded\n", "a/cgroup.procs="}, None, "the cgroup DIR/a is of type threaded"},
		"below threaded":     {"/a", []string{"a/cgroup.type=domain invalid\n", "a/cgroup.procs="}, None, "the cgroup DIR/a is of type domain invalid"},
		"not a cgroup":       {"/a", []string{"a/x="}, None, "DIR/a/cgroup.procs is not ours to write: no such file or directory (ENOENT)"},
		"no subtree_control": {"/", []string{"cgroup.controllers=" + all, "cgroup.procs="}, Core, "DIR/cgroup.subtree_control is not ours to write: no such file or directory (ENOENT)"},
	} {
		h := fake(t, c.own, c.files...)
		level, why := h.inspect(c.own)
		if level != c.level || why != strings.ReplaceAll(c.why, "DIR", h.Mount) {
			t.Errorf("%s: %s, %q", name, level, why)
		}
	}
}

// TestLevelElsewhere: a base that is not below our own cgroup, and not there
// yet, is judged by what is.
func TestLevelElsewhere(t *testing.T) {
	h := fake(t, "/a/b", "a/b/cgroup.procs=", "a/b/cgroup.controllers=", "c/cgroup.controllers=cpu\n")
	if level, why := h.inspect("/c/d/e"); level != None || why != h.Mount+"/cgroup.procs is not ours to write: no such file or directory (ENOENT)" {
		t.Errorf("%s, %s", level, why)
	}
	if err := os.WriteFile(h.Mount+"/cgroup.procs", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if level, why := h.inspect("/c/d/e"); level != Core || !strings.Contains(why, h.Mount+"/c: the memory, io and pids") {
		t.Errorf("%s, %s", level, why)
	}
}

func TestBase(t *testing.T) {
	h := &Hierarchy{Own: "/a/b"}
	for _, c := range []struct{ override, name, want string }{
		{"", "nines", "/a/b/nines"},
		{"", "nines-12345678", "/a/b/nines-12345678"},
		{"x/y", "nines", "/x/y"},
		{"/x/../../y", "nines", "/y"},
	} {
		if got := h.Base(c.override, c.name); got != c.want {
			t.Errorf("%q, %q: %s, want %s", c.override, c.name, got, c.want)
		}
	}
}

// TestDetectHere: what it says of this machine agrees with what can be done.
func TestDetectHere(t *testing.T) {
	h := Detect()
	t.Logf("%+v", *h)
	if !slices.Contains([]Level{Full, Core, None}, h.Level) || (h.Why == "") != (h.Level == Full) {
		t.Errorf("%+v", *h)
	}
	tree, err := h.Open(h.Base("", "nines-test-detect-"+strconv.Itoa(os.Getpid())))
	if (err == nil) != (h.Level != None) {
		t.Errorf("level %s, but %v", h.Level, err)
	}
	if err != nil {
		return
	}
	if level, why := tree.Level(); level != h.Level || why != h.Why {
		t.Errorf("the tree is at %s, %s", level, why)
	}
	if err := tree.Remove(within(t)); err != nil {
		t.Error(err)
	}
	if err := tree.Close(); err != nil {
		t.Error(err)
	}
}
