package vm

import (
	"archive/tar"
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

//go:embed guest/lib.sh
var guestLibrary string

// End is how a machine ended.
type End string

const (
	PowerOff End = "power-off"
	Reboot   End = "reboot"
	Panic    End = "panic"    // of the kernel; that PID 1 ended is one
	Watchdog End = "watchdog" // the hardware's
	Cut      End = "cut"      // by VM.Cut
	TimedOut End = "timeout"
	Failed   End = "failed" // QEMU did; Result.Console has why
)

// Result is what a machine left.
type Result struct {
	End     End
	Exit    int    // the script's exit status; -1: it did not end
	Output  string // of the script
	Console string
	Files   map[string][]byte // what /out held, by path below it
	Took    time.Duration     // from QEMU's start to its end
	CPU     time.Duration     // what QEMU used of the host's processors
}

// VM is a machine that runs.
type VM struct {
	machine         Machine
	t               testing.TB
	dir             string
	cmd             *exec.Cmd
	started         time.Time
	output, console *stream
	qmp             *monitor
	stderr          bytes.Buffer
	done            chan struct{} // closed once QEMU is reaped and all is read
	err             error         // of QEMU, once done
	reading         sync.WaitGroup
	mu              sync.Mutex // guards what follows
	timedOut, cut   bool
	result          *Result
}

// Run starts a machine, waits for its end, and fails the test unless the script
// exited with 0 and the machine was then powered off.
func Run(t testing.TB, m Machine) Result {
	t.Helper()
	r := Start(t, m).Wait()
	if r.Exit != 0 || r.End != PowerOff {
		r.Fatal(t, "the script's exit status is %d, the machine's end: %s", r.Exit, r.End)
	}
	return r
}

// Fatal ends the test with all that the machine said.
func (r Result) Fatal(t testing.TB, format string, args ...any) {
	t.Helper()
	t.Fatalf("%s (after %.1fs)\n--- console\n%s\n--- output\n%s", fmt.Sprintf(format, args...), r.Took.Seconds(), r.Console, r.Output)
}

// Need returns the kernel, or skips the test, saying why, where there can be no
// machine. NINES_VM=require makes that a failure, NINES_VM=off skips always.
func Need(t testing.TB) *Kernel {
	t.Helper()
	want := os.Getenv("NINES_VM")
	if want == "off" {
		t.Skip("skipped: NINES_VM=off")
	}
	_, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		err = errors.New("cannot find qemu-system-x86_64: apt-get install --no-install-recommends qemu-system-x86")
	}
	var k *Kernel
	if err == nil {
		k, err = Fetch()
	}
	if err != nil {
		if want == "require" {
			t.Fatal(err)
		}
		t.Skipf("skipped: %v", err)
	}
	return k
}

// Start starts a machine, which ends with the test if not before.
func Start(t testing.TB, m Machine) *VM {
	t.Helper()
	v, err := start(m, Need(t), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	v.t = t
	t.Cleanup(func() { v.Cut(); v.Wait() })
	return v
}

// start starts QEMU; dir is for what it reads and writes.
func start(m Machine, k *Kernel, dir string) (*VM, error) {
	if m.Timeout == 0 {
		m.Timeout = 4 * time.Minute
	}
	if err := m.initramfs(filepath.Join(dir, "initramfs"), k); err != nil {
		return nil, err
	}
	v := &VM{machine: m, dir: dir, done: make(chan struct{}), started: time.Now()}
	v.cmd = exec.Command("qemu-system-x86_64", m.qemu(dir, k)...)
	v.cmd.Stdout, v.cmd.Stderr = &v.stderr, &v.stderr
	// A test that is killed takes its machine with it.
	v.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var ours []*os.File
	for range 3 { // fdConsole, fdOutput, fdQMP
		fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
		if err != nil {
			return nil, os.NewSyscallError("socketpair", err)
		}
		theirs := os.NewFile(uintptr(fds[1]), "qemu")
		ours = append(ours, os.NewFile(uintptr(fds[0]), "vm"))
		v.cmd.ExtraFiles = append(v.cmd.ExtraFiles, theirs)
	}
	err := v.cmd.Start()
	for _, f := range v.cmd.ExtraFiles {
		f.Close() // so that ours end when QEMU does
	}
	if err != nil {
		return nil, fmt.Errorf("cannot start QEMU: %w", err)
	}
	v.console, v.output = newStream(ours[0]), newStream(ours[1])
	v.qmp = newMonitor(ours[2])
	for _, read := range []func(){v.console.read, v.output.read, v.qmp.read} {
		v.reading.Go(read)
	}
	go v.wait()
	if err := v.qmp.do("qmp_capabilities", nil); err != nil {
		<-v.done // QEMU ended at once; Wait says why
	}
	return v, nil
}

func (v *VM) wait() {
	ctx, cancel := context.WithTimeout(context.Background(), v.machine.Timeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		v.mu.Lock()
		v.timedOut = true
		v.mu.Unlock()
		v.kill()
	})
	v.err = v.cmd.Wait()
	stop()
	v.reading.Wait() // QEMU is gone: each socket ends
	close(v.done)
}

// kill is SIGKILL: nothing that QEMU has in its memory reaches a disk.
func (v *VM) kill() {
	if err := v.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		fmt.Fprintln(os.Stderr, "cannot kill QEMU:", err)
	}
}

// Cut takes the power away, at once: nothing is flushed.
func (v *VM) Cut() {
	v.mu.Lock()
	select {
	case <-v.done:
	default:
		v.cut = true
	}
	v.mu.Unlock()
	v.kill()
}

// Wait waits for the end of the machine, however it comes.
func (v *VM) Wait() Result {
	<-v.done
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.result == nil {
		r := Result{Exit: -1, Output: v.output.text(), Console: v.console.text(), Files: map[string][]byte{}, Took: time.Since(v.started)}
		r.End = v.end(&r)
		v.readFiles(&r)
		r.CPU = v.cmd.ProcessState.UserTime() + v.cmd.ProcessState.SystemTime()
		v.result = &r
		if v.t != nil {
			v.t.Logf("%s after %.1fs, with %.1fs of the processors", r.End, r.Took.Seconds(), r.CPU.Seconds())
		}
	}
	return *v.result
}

func (v *VM) end(r *Result) End {
	reason, watchdog := v.qmp.ended()
	switch {
	case v.timedOut:
		return TimedOut
	case v.cut:
		return Cut
	case watchdog:
		return Watchdog
	case strings.Contains(r.Console, "Kernel panic"):
		return Panic
	case v.err == nil && reason == "guest-shutdown":
		return PowerOff
	case v.err == nil && reason == "guest-reset":
		return Reboot
	}
	r.Console += fmt.Sprintf("\nQEMU: %v (%s)\n%s", v.err, reason, v.stderr.String())
	return Failed
}

// readFiles reads what the guest packed: /out, and then the exit status. It is
// cut off where the machine ended before that.
func (v *VM) readFiles(r *Result) {
	f, err := os.Open(filepath.Join(v.dir, "files.tar"))
	if err != nil {
		return // QEMU did not begin
	}
	defer f.Close()
	for tr := tar.NewReader(f); ; {
		h, err := tr.Next()
		if err != nil {
			return
		}
		body, err := io.ReadAll(tr)
		if err != nil {
			return
		}
		if h.Name == "exit" {
			if code, err := strconv.Atoi(string(body)); err == nil {
				r.Exit = code
			}
		} else if name, ok := strings.CutPrefix(h.Name, "out/"); ok && h.Typeflag == tar.TypeReg {
			r.Files[name] = body
		}
	}
}

// Expect waits until the script has printed text, and fails the test if the
// machine ends first. What was there at an earlier call counts too.
func (v *VM) Expect(text string) { v.t.Helper(); v.expect(v.output, "output", text) }

// ExpectConsole is Expect for the console.
func (v *VM) ExpectConsole(text string) { v.t.Helper(); v.expect(v.console, "console", text) }

func (v *VM) expect(s *stream, name, text string) {
	v.t.Helper()
	if !s.wait(text) {
		r := v.Wait()
		r.Fatal(v.t, "%q never came on the %s; the machine's end: %s", text, name, r.End)
	}
}

// Send writes to the script's standard input, Type to the console.
func (v *VM) Send(text string) { v.t.Helper(); v.write(v.output, text) }
func (v *VM) Type(text string) { v.t.Helper(); v.write(v.console, text) }

func (v *VM) write(s *stream, text string) {
	v.t.Helper()
	if _, err := io.WriteString(s.conn, text); err != nil {
		v.t.Fatalf("cannot write to the machine: %v", err)
	}
}

// CtrlAltDel presses these keys.
func (v *VM) CtrlAltDel() {
	v.t.Helper()
	type key struct {
		Type string `json:"type"`
		Data string `json:"data"`
	}
	v.QMP("send-key", map[string]any{"keys": []key{{"qcode", "ctrl"}, {"qcode", "alt"}, {"qcode", "delete"}}})
}

// PowerButton presses it. The guest sees it once modules button and evdev are
// loaded and the event device is open.
func (v *VM) PowerButton() { v.t.Helper(); v.QMP("system_powerdown", nil) }

// QMP gives QEMU a command and waits for its answer (qemu-qmp-ref(7)).
func (v *VM) QMP(command string, arguments any) {
	v.t.Helper()
	if err := v.qmp.do(command, arguments); err != nil {
		v.t.Fatal(err)
	}
}
