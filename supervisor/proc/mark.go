package proc

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// MarkVariable is the environment variable by which what a start has brought
// about is found again.
const MarkVariable = "NINES_INCARNATION"

// Marked is a process that carries a mark.
type Marked struct {
	PID   int
	Start uint64
	Mark  string // the value of MarkVariable
}

// FindMarked finds every living process but ourselves whose mark begins with
// prefix: what a supervisor that died has left. It reads the environment of
// every process that we may read, so it is not for every day. A process that
// ends while we look is left out.
func FindMarked(prefix string) ([]Marked, error) {
	pids, err := allPIDs()
	if err != nil {
		return nil, err
	}
	var found []Marked
	var r markReader
	for _, pid := range pids {
		if pid == os.Getpid() {
			continue
		}
		mark, ok := r.settled(pid)
		if !ok || len(mark) < len(prefix) || mark[:len(prefix)] != prefix {
			continue
		}
		// The start time after the mark: if the pid has changed hands in
		// between, the mark is looked at again under the new one.
		st, err := readStat(pid)
		if err != nil || !st.lives() {
			continue
		}
		if again, ok := r.settled(pid); !ok || again != mark {
			continue
		}
		found = append(found, Marked{PID: pid, Start: st.start, Mark: mark})
	}
	return found, nil
}

// MarkOf is the mark of a process, as FindMarked sees it; "": it has none, or we
// may not see it.
func MarkOf(pid int) string {
	var r markReader
	mark, _ := r.mark(pid)
	return mark
}

// allPIDs lists /proc.
func allPIDs() ([]int, error) {
	d, err := os.Open("/proc")
	if err != nil {
		return nil, errors.New("cannot list processes: " + err.Error())
	}
	names, err := d.Readdirnames(-1)
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, errors.New("cannot list processes: " + err.Error())
	}
	pids := make([]int, 0, len(names))
	for _, name := range names {
		if name[0] < '1' || name[0] > '9' {
			continue
		}
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// environMax bounds what is read of one environment: the kernel allows no
// more than 6 MiB.
const environMax = 6 << 20

// markReader reads marks with one buffer.
type markReader struct{ buf []byte }

// marking is what is known of a process's mark.
type marking int

const (
	markNone    marking = iota // it has none, or we may not read its environment
	markFound                  //
	markUnclear                // it has not finished its exec: what reads is not yet its own environment
)

// mark is the mark of a process.
func (r *markReader) mark(pid int) (string, marking) {
	if r.buf == nil {
		r.buf = make([]byte, 0, 16<<10)
	}
	for again := false; ; again = true {
		b, err := readSmall("/proc/"+strconv.Itoa(pid)+"/environ", r.buf[:0])
		for err == nil && len(b) == cap(r.buf) && cap(r.buf) < environMax { // it was cut off
			r.buf = make([]byte, 0, 8*cap(r.buf))
			b, err = readSmall("/proc/"+strconv.Itoa(pid)+"/environ", r.buf)
		}
		if err != nil {
			return "", markNone
		}
		if mark, ok := findMark(b); ok {
			return mark, markFound
		}
		st, ok := readExecState(pid)
		// A child shares the memory of the supervisor that starts it until its exec:
		// ours, or one that has died over it.
		child := ok && (st.parent == os.Getpid() || hasEntry(b, supervisorVariable))
		switch {
		case !ok, again, len(b) > 0 && !child:
			return "", markNone
		case st.inExec(), child && st.beforeExec():
			return "", markUnclear
		}
		// Its exec is over, perhaps only since we looked; what reads now is its own.
	}
}

// An exec takes microseconds, but may wait for a disk.
const (
	execPause    = 200 * time.Microsecond
	execPatience = 200 * time.Millisecond
)

// settled is mark, waiting for the end of an exec.
func (r *markReader) settled(pid int) (string, bool) {
	for waited := time.Duration(0); ; waited += execPause {
		mark, m := r.mark(pid)
		if m != markUnclear || waited >= execPatience {
			return mark, m == markFound
		}
		time.Sleep(execPause) // nothing tells the end of another's exec
	}
}

// supervisorVariable is in the environment of every supervisor that a keeper
// started, and never in a service's.
const supervisorVariable = "NINES_KEEPER_FD"

// Flags of a process in /proc/PID/stat (PF_ in the kernel's linux/sched.h).
const (
	pfForkNoExec = 0x40
	pfKthread    = 0x200000
)

// execState is what of /proc/PID/stat tells how far an exec is.
type execState struct {
	parent                 int
	flags, codeEnd, envEnd uint64
}

// beforeExec says whether it has never executed anything.
func (s execState) beforeExec() bool { return s.flags&pfForkNoExec != 0 }

// inExec says whether a process is in the middle of an exec. The kernel says
// where the environment ends before it knows, so that its end alone says little;
// the end of the code comes last.
func (s execState) inExec() bool {
	return s.flags&pfKthread == 0 && (s.envEnd == 0 || s.codeEnd == 0)
}

// readExecState reads that of a living process.
func readExecState(pid int) (f execState, ok bool) {
	var space [statMax]byte
	b, err := readSmall("/proc/"+strconv.Itoa(pid)+"/stat", space[:0])
	if err != nil {
		return f, false
	}
	st, ok := parseStat(b)
	if !ok || !st.lives() {
		return f, false
	}
	f.parent = st.parent
	i := 3 // as proc(5) counts: the state
	for field := range bytes.FieldsSeq(b[bytes.LastIndexByte(b, ')')+1:]) {
		switch i {
		case 9:
			f.flags, ok = digits(field)
		case 27:
			f.codeEnd, ok = digits(field)
		case 51:
			f.envEnd, ok = digits(field)
		}
		if !ok {
			return f, false
		}
		i++
	}
	return f, i > 51
}

// hasEntry says whether an environment has a variable.
func hasEntry(b []byte, name string) bool {
	return bytes.HasPrefix(b, []byte(name+"=")) || bytes.Contains(b, []byte("\x00"+name+"="))
}

// findMark finds the mark in an environment whose entries end in NUL; one that
// is cut off is none.
func findMark(b []byte) (string, bool) {
	const entry = MarkVariable + "="
	for len(b) > 0 {
		if bytes.HasPrefix(b, []byte(entry)) {
			v, _, whole := bytes.Cut(b[len(entry):], []byte{0})
			return string(v), whole
		}
		i := bytes.Index(b, []byte("\x00"+entry))
		if i < 0 {
			return "", false
		}
		b = b[i+1:]
	}
	return "", false
}

// childrenOf appends the children of one thread of a process, or of all of its
// threads. ok is false when the kernel does not tell (CONFIG_PROC_CHILDREN).
func childrenOf(dst []int, pid int, allThreads bool) (pids []int, ok bool) {
	base := "/proc/" + strconv.Itoa(pid) + "/task/"
	if !allThreads {
		return threadChildren(dst, base+strconv.Itoa(pid)+"/children")
	}
	d, err := os.Open(base)
	if err != nil {
		return dst, true // it has ended: no children
	}
	names, err := d.Readdirnames(-1)
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return dst, true
	}
	for _, name := range names {
		if dst, ok = threadChildren(dst, base+name+"/children"); !ok {
			return dst, false
		}
	}
	return dst, true
}

func threadChildren(dst []int, file string) ([]int, bool) {
	b, err := readAll(file)
	if err != nil {
		// No such file, although the thread is there: the kernel has none.
		if errors.Is(err, unix.ENOENT) && unix.Access(file[:len(file)-len("children")], unix.F_OK) == nil {
			return dst, false
		}
		return dst, true
	}
	for field := range bytes.FieldsSeq(b) {
		if pid, ok := digits(field); ok {
			dst = append(dst, int(pid))
		}
	}
	return dst, true
}

// readAll reads a file of /proc however long it is.
func readAll(file string) ([]byte, error) {
	buf := make([]byte, 0, 1024)
	for {
		b, err := readSmall(file, buf)
		if err != nil || len(b) < cap(buf) {
			return b, err
		}
		buf = make([]byte, 0, 8*cap(buf))
	}
}
