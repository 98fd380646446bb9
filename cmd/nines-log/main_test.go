package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
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

func start(t testing.TB, binary, runtime string, stdout io.Writer, env ...string) *process {
	t.Helper()
	a, b, err := notify.Pair()
	check(t, err)
	end := os.NewFile(uintptr(b), "keeper")
	p := &process{t: t, cmd: exec.Command(binary)}
	p.cmd.ExtraFiles = []*os.File{end}
	p.cmd.Env = append(append(os.Environ(), "NINES_KEEPER_FD=3", "NINES_RUNTIME_DIR="+runtime), env...)
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
