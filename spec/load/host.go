package load

import (
	"fmt"
	"math"
	"os"
	"path"
	"runtime"
	"strconv"
	"strings"
)

// ThisHost reads host.* from this machine: the name, the CPUs and the memory
// that a program here may use, so those of the container where it limits them.
func ThisHost() (*Host, error) {
	name, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("cannot read the name of the host: %w", err)
	}
	memory, err := totalMemory("/proc/meminfo")
	if err != nil {
		return nil, err
	}
	h := &Host{Name: name, CPUs: runtime.NumCPU(), Memory: memory}
	h.limit("/sys/fs/cgroup", "/proc/self/cgroup")
	return h, nil
}

func totalMemory(file string) (uint64, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return 0, fmt.Errorf("cannot read how much memory there is: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			kib, err := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("cannot read how much memory there is: %s: %w", file, err)
			}
			return kib << 10, nil
		}
	}
	return 0, fmt.Errorf("cannot read how much memory there is: %s has no line MemTotal", file)
}

// limit lowers CPUs and memory to what the cgroup v2 limits of this process
// and of those above it allow. A file that is not there is no limit: at the
// root, in a container without cgroups and under cgroup v1 there is none.
func (h *Host) limit(root, self string) {
	own := "/"
	if data, err := os.ReadFile(self); err == nil {
		for line := range strings.Lines(string(data)) {
			if p, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
				own = p
			}
		}
	}
	for dir := path.Clean("/" + own); ; dir = path.Dir(dir) {
		h.limitBy(path.Join(root, dir))
		if dir == "/" {
			return
		}
	}
}

func (h *Host) limitBy(dir string) {
	if data, err := os.ReadFile(path.Join(dir, "memory.max")); err == nil {
		if n, err := strconv.ParseUint(strings.TrimSpace(string(data)), 10, 64); err == nil && n > 0 {
			h.Memory = min(h.Memory, n)
		}
	}
	if data, err := os.ReadFile(path.Join(dir, "cpu.max")); err == nil {
		fields := strings.Fields(string(data))
		if len(fields) != 2 {
			return
		}
		quota, err1 := strconv.ParseFloat(fields[0], 64)
		period, err2 := strconv.ParseFloat(fields[1], 64)
		if err1 == nil && err2 == nil && quota > 0 && period > 0 {
			h.CPUs = min(h.CPUs, max(1, int(math.Ceil(quota/period))))
		}
	}
}
