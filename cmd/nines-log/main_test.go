package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"nines/supervisor/logs"
	"nines/supervisor/notify"
)

// TestMain is also the flood, when started so: SIZE-byte lines, one write
// each, for so long; then it says on stderr how many it wrote.
func TestMain(m *testing.M) {
	if v := os.Getenv("NINES_LOG_TEST_FLOOD"); v != "" {
		if err := flood(v); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

func flood(arg string) error {
	size, d, _ := strings.Cut(arg, ",")
	n, err := strconv.Atoi(size)
	if err != nil {
		return err
	}
	t, err := time.ParseDuration(d)
	if err != nil {
		return err
	}
	line := bytes.Repeat([]byte{'x'}, n)
	line[n-1] = '\n'
	lines := 0
	start := time.Now()
	for time.Since(start) < t {
		for range 64 {
			// Raw, as a program in C writes: the scheduler has nothing else to do.
			if k, _, e := unix.RawSyscall(unix.SYS_WRITE, 1, uintptr(unsafe.Pointer(&line[0])), uintptr(n)); e != 0 || int(k) != n {
				return fmt.Errorf("write: %d: %w", k, e)
			}
			lines++
		}
	}
	_, err = fmt.Fprintln(os.Stderr, lines, time.Since(start).Nanoseconds())
	return err
}

// binary builds nines-log.
func binary(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "nines-log")
	cmd := exec.Command("go", "build", "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}

// process is a nines-log whose keeper we are.
type process struct {
	t      testing.TB
	cmd    *exec.Cmd
	keeper *notify.Conn
	said   bytes.Buffer // valid after wait
}

func start(t testing.TB, binary, runtime string, stdout io.Writer) *process {
	t.Helper()
	return startCmd(t, exec.Command(binary), runtime, stdout)
}

func startAs(t testing.TB, binary, runtime string, stdout io.Writer, as *syscall.Credential) *process {
	t.Helper()
	cmd := exec.Command(binary)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	return startCmd(t, cmd, runtime, stdout)
}

func startCmd(t testing.TB, cmd *exec.Cmd, runtime string, stdout io.Writer) *process {
	t.Helper()
	a, b, err := notify.Pair()
	check(t, err)
	end := os.NewFile(uintptr(b), "keeper")
	p := &process{t: t, cmd: cmd}
	p.cmd.ExtraFiles = []*os.File{end}
	p.cmd.Env = append(os.Environ(), "NINES_KEEPER_FD=3", "NINES_RUNTIME_DIR="+runtime)
	p.cmd.Stdout, p.cmd.Stderr = stdout, &p.said
	check(t, p.cmd.Start())
	check(t, end.Close())
	p.keeper, err = notify.NewConn(a)
	check(t, err)
	if m := p.receive(); m[0] != notify.Ready() {
		t.Fatalf("first message: %v", m)
	}
	return p
}

func (p *process) receive() notify.Message {
	p.t.Helper()
	buf := make([]byte, notify.MaxMessage)
	n, _, err := p.keeper.Receive(buf)
	check(p.t, err)
	m, err := notify.Parse(buf[:n])
	check(p.t, err)
	return m
}

func (p *process) hand(name string, s logs.Settings, fd int) {
	p.t.Helper()
	m := notify.Message{notify.FDStore(), notify.FDName(name), notify.Log(s.Encode())}
	check(p.t, p.keeper.Send(m.Append(nil), []int{fd}))
}

// end closes the keeper's side and waits for an orderly exit.
func (p *process) end() {
	p.t.Helper()
	check(p.t, p.keeper.Close())
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("nines-log: %v: %s", err, p.said.String())
	}
}

func (p *process) rss() int {
	p.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	check(p.t, err)
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	check(p.t, err)
	return kib
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits for a condition that nothing announces.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func settings(dir, id string) logs.Settings {
	service, _, _ := strings.Cut(id, "/")
	return logs.Settings{Service: service, Instance: id, Stream: logs.Out, Dir: dir, MaxSize: 10 << 20, Keep: 1000, ToFile: true, Format: logs.FormatText}
}

func newPipe(t testing.TB) (r int, w *os.File) {
	t.Helper()
	var fds [2]int
	check(t, unix.Pipe2(fds[:], unix.O_CLOEXEC))
	return fds[0], os.NewFile(uintptr(fds[1]), "pipe")
}

// pour runs the flood into w and returns the lines, the bytes a second, and the
// writer's CPU time a line in ns, which other load on the machine sways less.
func pour(t testing.TB, w *os.File, size int, d time.Duration) (lines int, rate, cpu float64) {
	t.Helper()
	self, err := os.Executable()
	check(t, err)
	var said bytes.Buffer
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), fmt.Sprintf("NINES_LOG_TEST_FLOOD=%d,%s", size, d))
	cmd.Stdout, cmd.Stderr = w, &said
	if err := cmd.Run(); err != nil {
		t.Fatalf("flood: %v: %s", err, said.String())
	}
	var ns int64
	if _, err := fmt.Sscan(said.String(), &lines, &ns); err != nil {
		t.Fatalf("flood said %q", said.String())
	}
	cpu = float64(cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime()) / float64(lines)
	return lines, float64(lines) * float64(size) / float64(ns) * 1e9, cpu
}

func countLines(t testing.TB, dir string) int {
	t.Helper()
	files, err := filepath.Glob(dir + "/*.log*")
	check(t, err)
	n := 0
	for _, f := range files {
		b, err := os.ReadFile(f)
		check(t, err)
		n += bytes.Count(b, []byte{'\n'})
	}
	return n
}

// TestKilled: nines-log is killed in a flood, and started again with the same
// pipe. The bytes it had not read are read by the next; of what it had, at most
// one buffer is gone.
func TestKilled(t *testing.T) {
	bin, dir, runtime := binary(t), t.TempDir(), t.TempDir()
	r, w := newPipe(t)
	p := start(t, bin, runtime, nil)
	p.hand("flood/0.1:out", settings(dir, "flood/0"), r)
	poured := make(chan int, 1)
	var over atomic.Bool
	go func() {
		lines, _, _ := pour(t, w, 100, time.Second)
		over.Store(true)
		poured <- lines
	}()
	const kills = 3
	for range kills {
		before := countLines(t, filepath.Join(dir, "flood"))
		// On a busy machine the flood may be over before the last kill.
		eventually(t, "more lines", func() bool { return over.Load() || countLines(t, filepath.Join(dir, "flood")) >= before+1000 })
		check(t, p.cmd.Process.Kill())
		if err := p.cmd.Wait(); err == nil {
			t.Error("killed, but it ended well")
		}
		check(t, p.keeper.Close())
		p = start(t, bin, runtime, nil) // over the stale socket
		p.hand("flood/0.1:out", settings(dir, "flood/0"), r)
	}
	lines := <-poured
	check(t, w.Close())
	if m := p.receive(); m[0] != notify.FDStoreRemove() || m[1] != notify.FDName("flood/0.1:out") {
		t.Error(m)
	}
	got := countLines(t, filepath.Join(dir, "flood"))
	if lost := lines - got; lost > kills*(64<<10)/100+kills || lost < -kills {
		t.Errorf("%d lines written, %d in files", lines, got)
	}
	check(t, unix.Close(r))
	p.end()
}

// TestUnwritable: without the right to write there, output is kept in memory,
// one message says why, and files are written once they can be.
func TestUnwritable(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("skipped: needs root, to run nines-log as another user")
	}
	bin := binary(t)
	top, err := os.MkdirTemp("/tmp", "nines-log")
	check(t, err)
	t.Cleanup(func() { check(t, os.RemoveAll(top)) })
	check(t, os.Chmod(top, 0o755))
	check(t, os.Rename(bin, top+"/nines-log"))
	dir, runtime := top+"/log", top+"/run"
	check(t, os.Mkdir(dir, 0o755))
	check(t, os.Mkdir(runtime, 0o700))
	const nobody = 65534
	check(t, os.Chown(runtime, nobody, nobody))
	r, w := newPipe(t)
	p := startAs(t, top+"/nines-log", runtime, nil, &syscall.Credential{Uid: nobody, Gid: nobody})
	p.hand("web/0.1:out", settings(dir, "web/0"), r)
	check(t, unix.Close(r))
	_, err = w.WriteString("one\ntwo\n")
	check(t, err)
	lines := func() (got []string) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		check(t, logs.Read(ctx, filepath.Join(runtime, logs.SocketName), logs.Query{Lines: -1}, func(l logs.Line) error {
			got = append(got, l.Line)
			return nil
		}))
		return got
	}
	eventually(t, "two lines in memory", func() bool { return len(lines()) == 2 })
	check(t, os.Chown(dir, nobody, nobody))
	n := 2
	eventually(t, "a line in the file", func() bool {
		n++
		_, err = w.WriteString("more\n")
		check(t, err)
		return countLines(t, filepath.Join(dir, "web")) > 0
	})
	check(t, w.Close())
	if m := p.receive(); m[0] != notify.FDStoreRemove() {
		t.Error(m)
	}
	if got := lines(); len(got) < n {
		t.Errorf("%d of %d lines in memory", len(got), n)
	}
	b, err := os.ReadFile(filepath.Join(dir, "web", "0.log"))
	check(t, err)
	if !bytes.Contains(b, []byte("lines lost: permission denied")) {
		t.Errorf("the file: %q", b)
	}
	p.end()
	said := p.said.String()
	if strings.Count(said, "cannot write") != 1 || !strings.Contains(said, "permission denied") || !strings.Contains(said, "written again") {
		t.Errorf("said %q", said)
	}
}

// TestFileLimit: the kernel refuses to write on (RLIMIT_FSIZE); it is said, and
// nines-log lives.
func TestFileLimit(t *testing.T) {
	bin, dir, runtime := binary(t), t.TempDir(), t.TempDir()
	script := "ulimit -f 8; exec " + bin
	p := startCmd(t, exec.Command("/bin/sh", "-c", script), runtime, nil)
	r, w := newPipe(t)
	s := settings(dir, "web/0")
	s.MaxSize = 0
	p.hand("web/0.1:out", s, r)
	check(t, unix.Close(r))
	for range 2000 {
		_, err := w.WriteString("a line that fills the file\n")
		check(t, err)
	}
	check(t, w.Close())
	if m := p.receive(); m[0] != notify.FDStoreRemove() {
		t.Error(m)
	}
	p.end()
	if said := p.said.String(); !strings.Contains(said, "file too large") {
		t.Errorf("said %q", said)
	}
}

// TestSmall: a thousand idle pipes cost little memory, and no wake-up.
func TestSmall(t *testing.T) {
	bin, dir, runtime := binary(t), t.TempDir(), t.TempDir()
	p := start(t, bin, runtime, nil)
	const n = 1000
	var ws []*os.File
	for i := range n {
		r, w := newPipe(t)
		p.hand(fmt.Sprintf("web/%d.1:out", i), settings(dir, fmt.Sprintf("web/%d", i)), r)
		check(t, unix.Close(r))
		_, err := w.WriteString("started\n")
		check(t, err)
		ws = append(ws, w)
	}
	eventually(t, "all lines", func() bool {
		files, err := filepath.Glob(dir + "/web/*.log")
		check(t, err)
		return len(files) == n
	})
	rss := p.rss()
	// Wakes after the last activity die out; then there must be none for a second.
	since, last := time.Now(), p.switches()
	eventually(t, "no wake-ups", func() bool {
		if now := p.switches(); now != last {
			since, last = time.Now(), now
		}
		return time.Since(since) > time.Second
	})
	t.Logf("%d KiB resident with %d idle pipes", rss, n)
	if rss > 16<<10 {
		t.Errorf("%d KiB resident with %d idle pipes", rss, n)
	}
	for _, w := range ws {
		check(t, w.Close())
	}
	for range n {
		p.receive()
	}
	p.end()
}

// switches is how often its threads have slept and woken.
func (p *process) switches() (n int) {
	p.t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", p.cmd.Process.Pid))
	check(p.t, err)
	for _, f := range files {
		b, err := os.ReadFile(f)
		check(p.t, err)
		_, rest, _ := strings.Cut(string(b), "\nvoluntary_ctxt_switches:")
		k, err := strconv.Atoi(strings.Fields(rest)[0])
		check(p.t, err)
		n += k
	}
	return n
}

func TestByHand(t *testing.T) {
	out, err := exec.Command(binary(t)).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "started by nines-init") {
		t.Errorf("%v: %s", err, out)
	}
}

// BenchmarkBeside floods nines-log and then `cat >file`, in the same way.
func BenchmarkBeside(b *testing.B) {
	bin := binary(b)
	for _, size := range []int{64, 1024} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			var ours, cats, cpu, writer, catWriter float64
			lost := 0
			for b.Loop() {
				dir, err := os.MkdirTemp("/dev/shm", "nines-log")
				check(b, err)
				p := start(b, bin, b.TempDir(), nil)
				r, w := newPipe(b)
				p.hand("flood/0.1:out", settings(dir, "flood/0"), r)
				check(b, unix.Close(r))
				lines, rate, wcpu := pour(b, w, size, time.Second)
				check(b, w.Close())
				if m := p.receive(); m[0] != notify.FDStoreRemove() {
					b.Fatal(m)
				}
				p.end()
				cpu += float64(p.cmd.ProcessState.UserTime()+p.cmd.ProcessState.SystemTime()) / 1e6 / (float64(lines*size) / 1e6)
				lost += lines - countLines(b, filepath.Join(dir, "flood"))
				ours += rate
				writer += wcpu

				out, err := os.Create(filepath.Join(dir, "cat"))
				check(b, err)
				pr, pw, err := os.Pipe()
				check(b, err)
				cat := exec.Command("cat")
				cat.Stdin, cat.Stdout = pr, out
				check(b, cat.Start())
				check(b, pr.Close())
				_, rate, catw := pour(b, pw, size, time.Second)
				check(b, pw.Close())
				check(b, cat.Wait())
				check(b, out.Close())
				cats += rate
				catWriter += catw
				check(b, os.RemoveAll(dir))
			}
			n := float64(b.N)
			b.ReportMetric(ours/n/1e6, "MB/s")
			b.ReportMetric(cats/n/1e6, "cat-MB/s")
			b.ReportMetric(ours/cats, "×cat")
			b.ReportMetric(cpu/n, "cpu-ms/MB")
			b.ReportMetric(float64(lost), "lost")
			b.ReportMetric(writer/n, "writer-ns/line")
			b.ReportMetric(catWriter/n, "cat-writer-ns/line")
		})
	}
}
