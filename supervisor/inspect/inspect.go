// Package inspect tells what can be seen of processes from outside, as evidence:
// threads and where they are, open files and sockets, memory, limits, the names
// of the environment, and a core. It reads /proc alone: it does not attach, signal
// or wake anything, so that what stands still goes on standing still. The pids are
// the caller's to vouch for; of what ends meanwhile less is told, and Notes say so.
//
// What cannot be had that way: the registers of a thread other than its program
// counter, stack pointer and the arguments of the system call that it is in. And the
// kernel's stack of a frozen thread is that of the freezer; Syscall says which call
// it was in before.
package inspect

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// The bounds of one inspection, whatever the processes are like.
const (
	MaxProcesses = 64
	maxThreads   = 256 // of a process
	maxFiles     = 4096
	maxLargest   = 12      // mappings that are listed
	maxText      = 4 << 20 // bytes of one file of /proc
)

// Process is one process.
type Process struct {
	PID        int       `json:"pid"`
	Parent     int       `json:"parent_pid"`
	Name       string    `json:"name"`
	State      string    `json:"state"` // "S (sleeping)"
	Exe        string    `json:"exe"`
	ExeDeleted bool      `json:"exe_deleted"` // the file has been replaced or removed
	Cwd        string    `json:"cwd"`
	UID        string    `json:"uid"` // real, effective, saved, file system
	EnvNames   []string  `json:"env_names"`
	Limits     []Limit   `json:"limits"`
	Threads    []Thread  `json:"threads"`
	Files      []File    `json:"files"`
	Memory     Memory    `json:"memory"`
	Largest    []Mapping `json:"largest_mappings"`
	Mappings   int       `json:"mappings"`
	Notes      []string  `json:"notes"` // what could not be read, and why
}

// Limit is a resource limit, as the kernel words it.
type Limit struct {
	Name string `json:"name"`
	Soft string `json:"soft"`
	Hard string `json:"hard"`
	Unit string `json:"unit"`
}

// Memory is what the process holds, in bytes. What is shared counts in PSS by its
// share.
type Memory struct {
	RSS          uint64 `json:"rss_bytes"`
	PSS          uint64 `json:"pss_bytes"`
	PrivateDirty uint64 `json:"private_dirty_bytes"`
	Anonymous    uint64 `json:"anonymous_bytes"`
	Swap         uint64 `json:"swap_bytes"`
}

// inspector reads the folder of one process.
type inspector struct {
	dir     string // "/proc/42"
	p       *Process
	symbols *symbols
}

// Inspect tells of the processes that have these pids, the first MaxProcesses of
// them, in this order.
func Inspect(pids []int) []Process {
	var list []Process
	sym := newSymbols()
	defer sym.close()
	for _, pid := range pids[:min(len(pids), MaxProcesses)] {
		p := Process{PID: pid, EnvNames: []string{}, Limits: []Limit{}, Threads: []Thread{}, Files: []File{}, Largest: []Mapping{}, Notes: []string{}}
		in := inspector{dir: "/proc/" + strconv.Itoa(pid), p: &p, symbols: sym}
		if !in.status() {
			continue // it has ended
		}
		in.places()
		in.environment()
		in.limits()
		in.memory()
		in.threads()
		in.files()
		list = append(list, p)
	}
	return list
}

// note says what could not be read.
func (in *inspector) note(what string, err error) {
	if why := cause(err); len(in.p.Notes) < 32 {
		in.p.Notes = append(in.p.Notes, "cannot read "+what+": "+why)
	}
}

// cause is an error without the path that it names.
func cause(err error) string {
	var p *os.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	switch {
	case errors.Is(err, os.ErrPermission):
		return "not permitted (inspecting a process of another user takes root)"
	case errors.Is(err, os.ErrNotExist):
		return "this kernel does not give it, or the process has ended"
	}
	return err.Error()
}

// readFile reads a file of /proc, at most maxText of it.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxText))
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return b, err
}

// field is the value of "KEY:" in a file such as status; "" if it is not there.
func field(b []byte, key string) string {
	for line := range bytes.Lines(b) {
		if v, ok := bytes.CutPrefix(line, []byte(key+":")); ok {
			return strings.Join(strings.Fields(string(v)), " ")
		}
	}
	return ""
}

func (in *inspector) status() bool {
	b, err := readFile(in.dir + "/status")
	if err != nil {
		return false
	}
	in.p.Name, in.p.State, in.p.UID = field(b, "Name"), field(b, "State"), field(b, "Uid")
	if n, err := strconv.Atoi(field(b, "PPid")); err == nil {
		in.p.Parent = n
	}
	return true
}

func (in *inspector) places() {
	for _, link := range []struct {
		name string
		into *string
	}{{"exe", &in.p.Exe}, {"cwd", &in.p.Cwd}} {
		path, err := os.Readlink(filepath.Join(in.dir, link.name))
		if err != nil {
			in.note(link.name, err)
			continue
		}
		*link.into = path
	}
	in.p.Exe, in.p.ExeDeleted = strings.CutSuffix(in.p.Exe, " (deleted)")
}

// environment takes the names alone: the values are nobody's business.
func (in *inspector) environment() {
	b, err := readFile(in.dir + "/environ")
	if err != nil {
		in.note("the environment", err)
		return
	}
	for entry := range bytes.SplitSeq(b, []byte{0}) {
		// Without a "=" it is not an entry of an environment: a program may have
		// written anything there.
		if name, _, ok := bytes.Cut(entry, []byte("=")); ok && validName(name) {
			in.p.EnvNames = append(in.p.EnvNames, string(name))
		}
	}
	slices.Sort(in.p.EnvNames)
	in.p.EnvNames = slices.Compact(in.p.EnvNames)
}

// validName says whether b is what a shell would take for the name of a variable.
func validName(b []byte) bool {
	for i, c := range b {
		if c != '_' && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return len(b) > 0 && len(b) <= 128
}

// limits reads a table whose columns are at fixed places.
func (in *inspector) limits() {
	b, err := readFile(in.dir + "/limits")
	if err != nil {
		in.note("the limits", err)
		return
	}
	const name, soft, hard = 26, 47, 68
	for line := range strings.Lines(string(b)) {
		if len(line) <= hard || strings.HasPrefix(line, "Limit ") {
			continue
		}
		in.p.Limits = append(in.p.Limits, Limit{
			Name: strings.TrimSpace(line[:name]), Soft: strings.TrimSpace(line[name:soft]),
			Hard: strings.TrimSpace(line[soft:hard]), Unit: strings.TrimSpace(line[hard:]),
		})
	}
}

func (in *inspector) memory() {
	b, err := readFile(in.dir + "/smaps_rollup")
	if err != nil {
		in.note("what its memory holds", err)
	}
	for key, into := range map[string]*uint64{
		"Rss": &in.p.Memory.RSS, "Pss": &in.p.Memory.PSS, "Private_Dirty": &in.p.Memory.PrivateDirty,
		"Anonymous": &in.p.Memory.Anonymous, "Swap": &in.p.Memory.Swap,
	} {
		if n, err := strconv.ParseUint(strings.TrimSuffix(field(b, key), " kB"), 10, 64); err == nil {
			*into = n << 10
		}
	}
	maps, err := readMaps(in.dir)
	if err != nil {
		in.note("the memory map", err)
		return
	}
	in.p.Mappings = len(maps)
	slices.SortStableFunc(maps, func(a, b Mapping) int { return int(max(-1, min(1, int64(b.size())-int64(a.size())))) })
	for _, m := range maps[:min(len(maps), maxLargest)] {
		m.Size = m.size()
		in.p.Largest = append(in.p.Largest, m)
	}
}

// Mapping is one mapping of a process's memory.
type Mapping struct {
	Start  uint64 `json:"start"`
	Size   uint64 `json:"size_bytes"`
	Perms  string `json:"perms"` // "rw-p"
	Path   string `json:"path"`  // "": anonymous
	end    uint64
	offset uint64
	device string
}

func (m *Mapping) size() uint64 { return m.end - m.Start }

// readMaps reads the memory map, in the order of addresses.
func readMaps(dir string) ([]Mapping, error) {
	b, err := readFile(dir + "/maps")
	if err != nil {
		return nil, err
	}
	var maps []Mapping
	for line := range strings.Lines(string(b)) {
		var m Mapping
		rest := strings.TrimSuffix(line, "\n")
		var span, offset string
		span, rest, _ = strings.Cut(rest, " ")
		m.Perms, rest, _ = strings.Cut(rest, " ")
		offset, rest, _ = strings.Cut(rest, " ")
		m.device, rest, _ = strings.Cut(rest, " ")
		_, rest, _ = strings.Cut(rest, " ") // inode
		m.Path = strings.TrimLeft(rest, " ")
		start, end, _ := strings.Cut(span, "-")
		var errs [3]error
		m.Start, errs[0] = strconv.ParseUint(start, 16, 64)
		m.end, errs[1] = strconv.ParseUint(end, 16, 64)
		m.offset, errs[2] = strconv.ParseUint(offset, 16, 64)
		if errors.Join(errs[:]...) != nil || m.end < m.Start || len(m.Perms) != 4 {
			return maps, fmt.Errorf("a line of an unknown form: %.80q", line)
		}
		maps = append(maps, m)
	}
	return maps, nil
}
