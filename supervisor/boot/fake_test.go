package boot

import (
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a machine made of tables. It notes what is done to it.
type fake struct {
	mu       sync.Mutex
	log      []string
	files    map[string]string
	mounts   []string            // "fstype target", in order
	exist    []string            // programs
	procs    map[int]*fakeProc   // by pid
	fails    map[string]error    // by what is logged
	hangs    map[string]bool     // by what is logged
	release  chan struct{}       // ends what hangs
	busy     map[string][]string // target -> what must be unmounted before
	ended    []int               // to be reaped
	onShell  func()              // once a shell was started
	loops    []string
	rebooted chan struct{}
}

type fakeProc struct {
	process
	ignores bool // SIGTERM
	stuck   bool // SIGKILL
	stopped bool
}

func newFake(t *testing.T) *fake {
	t.Helper()
	f := &fake{files: map[string]string{"/proc/cmdline": "quiet\n", "/etc/hostname": "beacon\n"}, procs: map[int]*fakeProc{},
		fails: map[string]error{}, hangs: map[string]bool{}, release: make(chan struct{}), busy: map[string][]string{}, rebooted: make(chan struct{}, 8)}
	return f
}

// did notes an act, and fails or hangs as the test wants it.
func (f *fake) did(parts ...string) error {
	act := strings.Join(parts, " ")
	f.mu.Lock()
	f.log = append(f.log, act)
	err, hangs := f.fails[act], f.hangs[act]
	f.mu.Unlock()
	if hangs {
		<-f.release
	}
	return err
}

func (f *fake) mkdir(path string, _ uint32) error { return f.did("mkdir", path) }
func (f *fake) symlink(to, path string) error     { return f.did("symlink", to, path) }
func (f *fake) sync()                             { _ = f.did("sync") }
func (f *fake) swapoff(path string) error         { return f.did("swapoff", path) }
func (f *fake) detachLoop(path string) error      { return f.did("detach", path) }
func (f *fake) setHostname(name string) error     { return f.did("hostname", name) }
func (f *fake) hostname() (string, error)         { return "(none)", nil }
func (f *fake) loopbackUp() error                 { return f.did("loopback") }
func (f *fake) console(bool) error                { return f.did("console") }
func (f *fake) exists(path string) bool           { return slices.Contains(f.exist, path) }
func (f *fake) loopDevices() ([]string, error)    { return f.loops, nil }
func (f *fake) limitFiles(n uint64) (bool, error) {
	return true, f.did("limit", strconv.FormatUint(n, 10))
}

func (f *fake) readFile(path string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if path == "/proc/self/mountinfo" {
		text := ""
		for i, m := range f.mounts {
			kind, target, _ := strings.Cut(m, " ")
			target, options, _ := strings.Cut(target, " ")
			if options == "" {
				options = "rw"
			}
			text += strconv.Itoa(i+20) + " 1 0:" + strconv.Itoa(i) + " / " + target + " rw,relatime shared:1 - " + kind + " source " + options + "\n"
		}
		return text, nil
	}
	text, ok := f.files[path]
	if !ok {
		return "", &fs.PathError{Op: "open", Path: path, Err: os.ErrNotExist}
	}
	return text, nil
}

func (f *fake) find(target string) int {
	return slices.IndexFunc(f.mounts, func(m string) bool { return strings.Fields(m)[1] == target })
}

func (f *fake) isMount(path string) (bool, error) {
	if strings.HasPrefix(path, "/missing") {
		return false, unix.ENOENT
	}
	return f.find(path) >= 0, f.fails["stat "+path]
}

func (f *fake) mount(_, target, fstype string, flags uintptr, data string) error {
	if flags&unix.MS_REMOUNT != 0 {
		if err := f.did("readonly", target); err != nil {
			return err
		}
		f.mu.Lock()
		f.mounts[f.find(target)] += " ro"
		f.mu.Unlock()
		return nil
	}
	if err := f.did("mount", fstype, target, data); err != nil {
		return err
	}
	f.mounts = append(f.mounts, fstype+" "+target)
	return nil
}

func (f *fake) unmount(target string, flags int) error {
	act := "umount"
	if flags&unix.MNT_DETACH != 0 {
		act = "detach"
	}
	if err := f.did(act, target); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, b := range f.busy[target] {
		if f.find(b) >= 0 {
			return unix.EBUSY
		}
	}
	if i := f.find(target); i >= 0 {
		f.mounts = slices.Delete(f.mounts, i, i+1)
	}
	return nil
}

func (f *fake) spawnShell(argv, _ []string) (int, error) {
	if err := f.did("shell", argv[0]); err != nil {
		return 0, err
	}
	if f.onShell != nil {
		f.onShell()
	}
	return 77, nil
}

func (f *fake) processes(each func(process)) error {
	f.mu.Lock()
	var all []process
	for _, p := range f.procs {
		all = append(all, p.process)
	}
	f.mu.Unlock()
	slices.SortFunc(all, func(a, b process) int { return a.pid - b.pid })
	for _, p := range all {
		each(p)
	}
	return f.fails["processes"]
}

func (f *fake) kill(pid int, sig unix.Signal) error {
	if pid != -1 {
		_ = f.did("kill", strconv.Itoa(pid), unix.SignalName(sig))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.procs {
		switch {
		case pid != -1 && p.pid != pid, p.kernel:
		case sig == unix.SIGSTOP:
			p.stopped = true
		case sig == unix.SIGCONT:
			p.stopped = false
		case sig == unix.SIGTERM && !p.ignores, sig == unix.SIGKILL && !p.stuck:
			delete(f.procs, p.pid)
			f.ended = append(f.ended, p.pid)
		}
	}
	return nil
}

func (f *fake) reap() (int, unix.WaitStatus) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.ended) == 0 {
		return 0, 0
	}
	pid := f.ended[0]
	f.ended = f.ended[1:]
	return pid, 0
}

func (f *fake) reboot(cmd int) error {
	names := map[int]string{unix.LINUX_REBOOT_CMD_HALT: "halt", unix.LINUX_REBOOT_CMD_POWER_OFF: "poweroff", unix.LINUX_REBOOT_CMD_RESTART: "restart",
		unix.LINUX_REBOOT_CMD_KEXEC: "kexec", unix.LINUX_REBOOT_CMD_CAD_OFF: "cad-off"}
	err := f.did("reboot", names[cmd])
	if cmd != unix.LINUX_REBOOT_CMD_CAD_OFF && err == nil {
		<-f.release // the machine is gone: nothing goes on
	}
	return err
}

// acts are those that begin with one of the words.
func (f *fake) acts(words ...string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var some []string
	for _, act := range f.log {
		if word, _, _ := strings.Cut(act, " "); slices.Contains(words, word) {
			some = append(some, act)
		}
	}
	return some
}

type fakeDog struct {
	mu       sync.Mutex
	interval time.Duration
	pets     int
	disarmed bool
}

func (d *fakeDog) Interval() time.Duration { return d.interval }

func (d *fakeDog) Pet() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pets++
	return nil
}

func (d *fakeDog) Close(disarm bool) error {
	d.disarmed = disarm
	return nil
}

// rig is a Machine on the fake.
type rig struct {
	*Machine
	f   *fake
	dog *fakeDog

	mu   sync.Mutex
	said []string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{f: newFake(t), dog: &fakeDog{}}
	r.Machine = &Machine{sys: r.f, dog: r.dog, signals: make(chan os.Signal, 16), say: func(line string) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.said = append(r.said, line)
	}}
	return r
}

func (r *rig) wantSaid(t *testing.T, part string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.ContainsFunc(r.said, func(s string) bool { return strings.Contains(s, part) }) {
		t.Errorf("nobody said %q, only:\n%s", part, strings.Join(r.said, "\n"))
	}
}

// ends runs the end in virtual time, until the kernel has the machine, and
// returns how long that took.
func (r *rig) ends(t *testing.T, action Action) (took time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r.f.release = make(chan struct{})
		began := time.Now()
		over := make(chan struct{})
		go func() {
			defer close(over)
			r.end(action)
		}()
		for {
			synctest.Wait()
			if len(r.f.acts("reboot")) > 0 {
				break
			}
			if time.Since(began) > 2*endBound {
				t.Error("the machine does not end")
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		took = time.Since(began)
		close(r.f.release) // so that what hangs ends with the test
		<-over
	})
	return took
}
