package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// childrenOf lists the children of a process, and those of them that are zombies.
func childrenOf(t *testing.T, pid int) (all, zombies int) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it is gone
		}
		fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		if fields[1] == strconv.Itoa(pid) {
			all++
			if fields[0] == "Z" {
				zombies++
			}
		}
	}
	return all, zombies
}

// Two thousand orphans die at once: none is left, and nobody was taken for one
// of the two.
func TestOrphansAreReaped(t *testing.T) {
	const n = 2000
	w := start(t)
	sup, log := w.both()
	sup.handedBack()
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	// Each waits to open the fifo, as a child of a shell that is gone.
	sup.do("run %q", fmt.Sprintf("i=0; while [ $i -lt %d ]; do (read x <%s &) >/dev/null 2>&1; i=$((i+1)); done", n, fifo))
	pid := w.cmd.Process.Pid
	w.until("all are its children", func() bool { all, _ := childrenOf(t, pid); return all == n+2 })
	f, err := os.OpenFile(fifo, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	// Some may open it only now: they too must read its end.
	w.until("no orphan and no zombie is left", func() bool {
		if f, err := os.OpenFile(fifo, os.O_WRONLY|unix.O_NONBLOCK, 0); err == nil {
			f.Close()
		}
		all, zombies := childrenOf(t, pid)
		return all == 2 && zombies == 0
	})
	sup.send("READY=1")
	w.says("nines supervise is ready")
	w.none("nines")
	w.none("nines-log")
	w.end(sup, log, 0)
}

func TestAsPID1(t *testing.T) {
	w := newWorld(t)
	w.asPID1()
	w.run()
	sup, log := w.both()
	sup.handedBack()
	if sup.keeper != "1" {
		t.Errorf("the keeper is pid %s", sup.keeper)
	}
	// Orphans of the whole namespace are its own.
	sup.do("run %q", "i=0; while [ $i -lt 50 ]; do (true &) >/dev/null 2>&1; i=$((i+1)); done")
	w.until("no zombie is left", func() bool {
		sup.order("run %q", "! grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null")
		return <-sup.lines == `done ""`
	})
	log.do("kill %s SIGKILL", strconv.Itoa(sup.pid))
	sup.gone()
	sup = w.next("nines")
	sup.handedBack()
	// To PID 1 a signal without a handler is nothing: it has one.
	sup.do("catch")
	sup.send("READY=1")
	w.says("nines supervise is ready")
	log.do("kill 1 SIGTERM")
	sup.want("signal SIGTERM")
	log.do("kill 1 SIGKILL") // nothing, from within
	w.end(sup, log, 5)
}

func TestAsAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("skipped: needs root to become another user")
	}
	const uid = 54321
	w := newWorld(t)
	tmp := fmt.Sprintf("/tmp/nines-%d", uid)
	if err := os.RemoveAll(tmp); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(tmp) })
	w.cmd.Args = []string{w.cmd.Args[0], "-v"} // the default place
	w.cmd.Env = append(w.cmd.Env, "XDG_RUNTIME_DIR=", "NINES_RUNTIME_DIR=")
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL, Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	w.run()
	sup, log := w.both()
	sup.handedBack()
	if sup.runtime != tmp {
		t.Errorf("its runtime directory is %s", sup.runtime)
	}
	fi, err := os.Stat(tmp)
	if err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
	// The limit of processes is reached: no supervisor can be started. The
	// keeper goes on, and starts it when there is room again.
	limitProcesses := func(soft string) {
		t.Helper()
		// As that user: root in a container may not change another's limits.
		cmd := exec.Command("prlimit", "--pid", strconv.Itoa(w.cmd.Process.Pid), "--nproc="+soft+":")
		cmd.SysProcAttr = w.cmd.SysProcAttr
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NPROC, &limit); err != nil {
		t.Fatal(err)
	}
	limitProcesses("1")
	sup.killed(unix.SIGKILL)
	w.says("resource temporarily unavailable: tried again; there are too many processes")
	soft := "unlimited"
	if limit.Cur != unix.RLIM_INFINITY {
		soft = strconv.FormatUint(limit.Cur, 10)
	}
	limitProcesses(soft)
	sup = w.next("nines")
	sup.handedBack()
	w.end(sup, log, 0)

	// The next user's folder of that name is not taken.
	if err := os.Chown(tmp, uid+1, uid+1); err != nil {
		t.Fatal(err)
	}
	other := newWorld(t)
	other.cmd.Args = []string{other.cmd.Args[0]}
	other.cmd.Env = append(other.cmd.Env, "XDG_RUNTIME_DIR=", "NINES_RUNTIME_DIR=")
	other.cmd.SysProcAttr = w.cmd.SysProcAttr
	other.run()
	other.ends(1)
	if want := "cannot use the runtime directory " + tmp; !strings.Contains(other.stderr.String(), want) {
		t.Errorf("it says %q, want %q", other.stderr, want)
	}
}

func TestRuntimeDirectoryThatCannotBe(t *testing.T) {
	for dir, want := range map[string]string{
		"/proc/nines": "cannot make the runtime directory /proc/nines: ",
		"/dev/null":   "cannot use the runtime directory /dev/null: not a directory",
		"/tmp":        "cannot use the runtime directory /tmp: everyone may write to it: give --runtime-dir a folder of its own",
	} {
		w := newWorld(t)
		w.cmd.Args[3] = dir
		w.run()
		w.ends(1)
		if !strings.Contains(w.stderr.String(), "nines-init: "+want) {
			t.Errorf("%s: it says %q, want %q", dir, w.stderr, want)
		}
		w.none("nines")
	}
}

// At the limit of open files what does not fit is refused, and the rest works.
func TestLimitOfOpenFiles(t *testing.T) {
	w := newWorld(t)
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	w.cmd.Path, w.cmd.Args = sh, append([]string{"sh", "-c", `ulimit -n 160; exec "$@"`, "sh"}, w.cmd.Args...)
	w.run()
	sup, log := w.both()
	sup.handedBack()
	w.says("the limit of 160 open files allows 32 instances")
	var names strings.Builder
	for i := range 40 {
		fmt.Fprintf(&names, "\nFDNAME=web/%d.1:out\nX_NINES_LOG=a", i)
	}
	sup.do("sendpipes %q 40", "FDSTORE=1"+names.String())
	w.says("cannot keep descriptor web/39.1:out: 32 are kept already: raise the limit of open files")
	n := 0
	for n < 32 {
		var fds int
		if _, err := fmt.Sscanf(<-log.lines, "got %d ", &fds); err != nil {
			t.Fatal(err)
		}
		n += fds
	}
	for range 3 {
		sup.killed(unix.SIGKILL)
		sup = w.next("nines")
		sup.handedBack()
	}
	w.end(sup, log, 0)
}

// What the keeper may cost: little with a hundred instances, little more after
// thousands of restarts, and the threads that it made at start.
func TestMemoryAndThreads(t *testing.T) {
	w := newWorld(t)
	w.cmd.Args = slices.DeleteFunc(w.cmd.Args, func(s string) bool { return s == "-v" })
	w.run()
	sup, log := w.both()
	sup.handedBack()
	log.send("READY=1")
	sup.send("READY=1")
	const instances, batch, restarts = 100, 50, 30
	store := func(from, to, incarnation int) {
		t.Helper()
		names, values := "FDSTORE=1", ""
		for i := from; i < to; i++ {
			names += fmt.Sprintf("\nFDNAME=web/%d.%d:out\nX_NINES_LOG=service=web instance=web%%2F%d dir=%%2Fvar%%2Flog%%2Fnines file=true max_size=10485760 keep=5", i, incarnation, i)
			values += fmt.Sprintf("X_NINES_VALUE=web/%d pid=%d start=%d incarnation=%d revision=1\n", i, 1000+i, 1000000*incarnation+i, incarnation)
		}
		sup.do("sendpipes %q %d", names, to-from)
		sup.send(values)
		for n := from; n < to; {
			line := <-log.lines
			var fds int
			if _, err := fmt.Sscanf(line, "got %d ", &fds); err != nil {
				t.Fatal(line)
			}
			n += fds
		}
	}
	check := func(when string, limit int) {
		t.Helper()
		rss, threads := w.status("VmRSS"), w.status("Threads")
		t.Logf("%s: resident %d KiB (%d anonymous), %d threads", when, rss, w.status("RssAnon"), threads)
		if rss > limit {
			t.Errorf("%s: %d KiB resident, more than %d", when, rss, limit)
		}
		if threads < 16 || threads > 22 {
			t.Errorf("%s: %d threads", when, threads)
		}
	}
	for i := 0; i < instances; i += batch {
		store(i, i+batch, 0)
	}
	// The keeper has answered, so it has done all that came before.
	log.do("drop")
	w.until("all is kept", func() bool { return w.descriptors() >= instances })
	// Its 2 MiB of text are let go of once the supervisor is ready; what is needed on
	// comes back, 64 KiB a fault.
	check("a hundred instances", 3<<10)
	for r := 1; r <= restarts; r++ {
		for i := range instances {
			store(i, i+1, r)
			log.send(fmt.Sprintf("FDSTOREREMOVE=1\nFDNAME=web/%d.%d:out", i, r-1))
		}
		sup.do("drop")
		log.do("drop")
	}
	w.until("the ended pipes are dropped", func() bool { return w.descriptors() < instances+30 })
	check("after 3,000 restarts", 4<<10+192)
	w.end(sup, log, 0)
}

// systemd's socket hears of readiness and of the end; no child inherits it.
func TestUnderAServiceManager(t *testing.T) {
	w := newWorld(t)
	address := filepath.Join(w.bin, "notify")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: address}); err != nil {
		t.Fatal(err)
	}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: int64(patience.Seconds())}); err != nil {
		t.Fatal(err)
	}
	hears := func(want string) {
		t.Helper()
		buf := make([]byte, 1024)
		n, err := unix.Read(fd, buf)
		if err != nil || string(buf[:n]) != want {
			t.Errorf("the manager hears %q, %v; want %q", buf[:max(n, 0)], err, want)
		}
	}
	w.cmd.Env = append(w.cmd.Env, "NOTIFY_SOCKET="+address)
	w.run()
	sup, log := w.both()
	sup.handedBack()
	if sup.keeper != strconv.Itoa(w.cmd.Process.Pid) {
		t.Errorf("NOTIFY_SOCKET was left in the environment: %s", sup.keeper)
	}
	sup.send("STATUS=reading the spec")
	hears("STATUS=reading the spec")
	sup.send("READY=1")
	hears("READY=1")
	sup.send("X_NINES_END=0")
	sup.order("exit 0")
	hears("STOPPING=1")
	log.wantGot(0, "STOPPING=1")
	log.order("exit 0")
	w.ends(0)
}
