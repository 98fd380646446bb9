package cgroups

import (
	"errors"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Level says how much of cgroup v2 can be used.
type Level string

// The levels.
const (
	Full Level = "full" // memory, cpu, io and pids controllers too
	Core Level = "core" // kill, freeze, events
	None Level = "none"
)

// controllers are those that level full asks for.
func controllers() []string { return []string{"memory", "cpu", "io", "pids"} }

// Hierarchy is the place of this process in the cgroup v2 hierarchy.
type Hierarchy struct {
	Mount       string   // "/sys/fs/cgroup"; "" when there is none
	Own         string   // our cgroup, relative to Mount, as it was before Vacate: "/system.slice/x"
	Controllers []string // available in Own
	Level       Level    // what can be used below Own
	Why         string   // why not more, in plain words; "" at full

	fault func(file string) error // for tests: fails a write
}

// Detect looks where this process is and what can be done there. It never
// fails: what goes wrong makes the level lower and is said in Why.
func Detect() *Hierarchy {
	cgroup, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return &Hierarchy{Level: None, Why: "cannot read /proc/self/cgroup: " + errnoText(err)}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return &Hierarchy{Level: None, Why: "cannot read /proc/self/mountinfo: " + errnoText(err)}
	}
	h := locate(string(cgroup), string(mounts))
	if h.Level == None {
		return h
	}
	h.Own = h.unleaf(h.Own)
	h.Controllers = readWords(h.dir(h.Own) + "/cgroup.controllers")
	h.Level, h.Why = h.inspect(h.Own)
	if h.Level != None {
		if err := probeClone(); err != nil {
			h.Level = None
			h.Why = "the kernel, or a seccomp filter, does not let processes be started in a cgroup (clone3 with CLONE_INTO_CGROUP, Linux 5.7): " + errnoText(err)
		}
	}
	return h
}

// Base is the cgroup for a tree called name: override if that is not empty,
// else Own/name. Both are relative to Mount.
func (h *Hierarchy) Base(override, name string) string {
	if override != "" {
		return path.Join("/", override)
	}
	return path.Join("/", h.Own, name)
}

// dir is the folder of a cgroup.
func (h *Hierarchy) dir(cgroup string) string { return path.Join(h.Mount, cgroup) }

// locate finds the mount and our cgroup in the texts of /proc/self/cgroup and
// /proc/self/mountinfo. The level it returns is None, or "" when both were
// found.
func locate(cgroup, mountinfo string) *Hierarchy {
	own, ok := "", false
	for line := range strings.Lines(cgroup) {
		if own, ok = strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::"); ok {
			break
		}
	}
	if !ok {
		return &Hierarchy{Level: None, Why: "the kernel has no cgroup v2"}
	}
	// A process whose cgroup was removed under it is in "/x (deleted)"; one
	// that was moved out of its namespace's root is in "/../x".
	if strings.HasSuffix(own, " (deleted)") {
		return &Hierarchy{Level: None, Why: "our own cgroup " + own + " was removed"}
	}
	if own == "/.." || strings.HasPrefix(own, "/../") {
		return &Hierarchy{Level: None, Why: "our cgroup " + own + " is outside our cgroup namespace"}
	}
	best := &Hierarchy{Level: None, Why: "no cgroup2 filesystem is mounted"}
	for line := range strings.Lines(mountinfo) {
		m, ok := parseMount(line)
		if !ok {
			continue
		}
		rel, ok := below(m.root, own)
		if !ok {
			if best.Mount == "" {
				best.Why = "the cgroup2 filesystem at " + m.point + " does not show our cgroup " + own
			}
			continue
		}
		h := &Hierarchy{Mount: m.point, Own: rel}
		if !m.readOnly {
			return h
		}
		best = h
		best.Level = None
		best.Why = "the cgroup2 filesystem at " + m.point + " is mounted read-only"
	}
	return best
}

type mount struct {
	root, point string
	readOnly    bool
}

// parseMount reads a line of mountinfo; ok is false unless it is a cgroup2
// mount:
//
//	36 25 0:30 /root /mount/point rw,nosuid shared:9 - cgroup2 cgroup2 rw
func parseMount(line string) (m mount, ok bool) {
	front, back, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " - ")
	if !ok {
		return m, false
	}
	f, b := strings.Fields(front), strings.Fields(back)
	if len(f) < 6 || len(b) < 1 || b[0] != "cgroup2" {
		return m, false
	}
	m.root, m.point = unescape(f[3]), unescape(f[4])
	// Read-only either for this mount or for the filesystem as a whole.
	m.readOnly = slices.Contains(strings.Split(f[5], ","), "ro") ||
		len(b) > 2 && slices.Contains(strings.Split(b[2], ","), "ro")
	return m, true
}

// unescape undoes the kernel's \040 for blanks and the like.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// below is cgroup seen from root, if it lies there.
func below(root, cgroup string) (string, bool) {
	if root == "/" {
		return cgroup, true
	}
	rest, ok := strings.CutPrefix(cgroup, root)
	if !ok || rest != "" && rest[0] != '/' {
		return "", false
	}
	return path.Join("/", rest), true
}

// inspect says what can be done in a cgroup that exists, or, where it does
// not, in the nearest above it that does.
func (h *Hierarchy) inspect(cgroup string) (Level, string) {
	for cgroup != "/" && unix.Access(h.dir(cgroup), unix.F_OK) == unix.ENOENT {
		cgroup = path.Dir(cgroup)
	}
	dir := h.dir(cgroup)
	if err := unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
		return None, "the cgroup " + dir + " is not ours to write: " + errnoText(err)
	}
	// Being born in another cgroup is a migration in all but cost: the kernel
	// asks for the right to write cgroup.procs where the two paths meet.
	meet := h.dir(common(h.Own, cgroup)) + "/cgroup.procs"
	if err := unix.Faccessat(unix.AT_FDCWD, meet, unix.W_OK, unix.AT_EACCESS); err != nil {
		return None, meet + " is not ours to write: " + errnoText(err)
	}
	// The true root has no cgroup.type; everywhere else it is "domain" where
	// processes may live below.
	kind := strings.Join(readWords(dir+"/cgroup.type"), " ")
	if strings.Contains(kind, "threaded") || strings.Contains(kind, "invalid") {
		return None, "the cgroup " + dir + " is of type " + kind
	}
	have := readWords(dir + "/cgroup.controllers")
	var missing []string
	for _, c := range controllers() {
		if !slices.Contains(have, c) {
			missing = append(missing, c)
		}
	}
	if len(missing) > 0 {
		return Core, "not available in the cgroup " + dir + ": " + list(missing)
	}
	return h.inspectDelegation(dir, kind)
}

// inspectDelegation says whether dir can give its controllers to children.
func (h *Hierarchy) inspectDelegation(dir, kind string) (Level, string) {
	given := readWords(dir + "/cgroup.subtree_control")
	missing := slices.DeleteFunc(controllers(), func(c string) bool { return slices.Contains(given, c) })
	if len(missing) == 0 {
		return Full, ""
	}
	if err := unix.Faccessat(unix.AT_FDCWD, dir+"/cgroup.subtree_control", unix.W_OK, unix.AT_EACCESS); err != nil {
		return Core, dir + "/cgroup.subtree_control is not ours to write: " + errnoText(err)
	}
	// No internal processes: but for the true root, a cgroup with processes of
	// its own cannot give away memory, io or pids.
	procs, err := os.ReadFile(dir + "/cgroup.procs")
	if err != nil {
		return Core, "cannot read " + dir + "/cgroup.procs: " + errnoText(err)
	}
	if kind != "" && len(procs) > 0 {
		return Core, "the cgroup " + dir + " holds processes itself, so it cannot give " + list(missing) + " to its children"
	}
	return Full, ""
}

// common is the nearest cgroup above (or at) both.
func common(a, b string) string {
	for a != "/" {
		if _, ok := below(a, b); ok {
			return a
		}
		a = path.Dir(a)
	}
	return "/"
}

// list is "the memory, cpu and io controllers".
func list(names []string) string {
	if len(names) == 1 {
		return "the " + names[0] + " controller"
	}
	last := len(names) - 1
	return "the " + strings.Join(names[:last], ", ") + " and " + names[last] + " controllers"
}

// readWords is the words of a small file; none when it cannot be read, which
// for the files it is used for means that the kernel does not offer them.
func readWords(file string) []string {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	return strings.Fields(string(b))
}

// probeClone asks the kernel for a clone into a cgroup whose descriptor cannot
// exist. One that can do it says EBADF, and there is no child; older kernels
// say EINVAL or ENOSYS, seccomp filters ENOSYS or EPERM.
func probeClone() error {
	const noSuchDescriptor = 1<<31 - 1
	_, err := syscall.ForkExec("/", []string{"/"}, &syscall.ProcAttr{
		Sys: &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: noSuchDescriptor},
	})
	if errors.Is(err, unix.EBADF) {
		return nil
	}
	return err
}
