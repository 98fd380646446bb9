package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nines/supervisor/signals"
)

// asPID1 has the world that is not started yet be PID 1 of a namespace of its own.
func (w *world) asPID1() {
	w.t.Helper()
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		w.t.Fatal(err)
	}
	args := []string{"unshare", "-mpf", "--mount-proc", "--kill-child"}
	if os.Geteuid() != 0 {
		args = append(args, "-Ur")
	}
	w.cmd.Path, w.cmd.Args = unshare, append(args, w.cmd.Args...)
}

// keeperPID is the pid that nines-init has outside.
func (w *world) keeperPID() int {
	w.t.Helper()
	pid := w.cmd.Process.Pid
	if filepath.Base(w.cmd.Path) != "unshare" {
		return pid
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err == nil {
		pid, err = strconv.Atoi(strings.TrimSpace(string(b)))
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return pid
}

// hears reads what the process says until each of these has been said, in any
// order. Other lines are passed over.
func (p *proc) hears(parts ...string) {
	p.t.Helper()
	left := map[string]bool{}
	for _, part := range parts {
		left[part] = true
	}
	deadline := time.After(patience)
	var said []string
	for len(left) > 0 {
		select {
		case line, ok := <-p.lines:
			if !ok {
				p.t.Fatalf("%s (pid %d) ended; %v was not said", p.role, p.pid, left)
			}
			if said = append(said, line); len(said) > 20 {
				said = said[1:]
			}
			for part := range left {
				if strings.Contains(line, part) {
					delete(left, part)
				}
			}
		case <-deadline:
			p.t.Fatalf("%s (pid %d) does not say %v; at last it said %q", p.role, p.pid, left, said)
		}
	}
}

// Signals that come while a keeper becomes another program, at whatever moment, are
// there for one of the two, and end neither: not where it is PID 1, which Go's runtime
// would have exit, nor where it is not. NINES_REEXECS is how often it is tried.
func TestSignalsOverReexec(t *testing.T) {
	rounds := 25
	if s := os.Getenv("NINES_REEXECS"); s != "" {
		var err error
		if rounds, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	for _, pid1 := range []bool{false, true} {
		t.Run("pid1="+strconv.FormatBool(pid1), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if pid1 {
				w.asPID1()
			}
			w.run()
			sup, log := w.both()
			sup.handedBack()
			sup.do("catch")
			sup.send("READY=1")
			log.send("READY=1")
			keeper := w.keeperPID()
			took := 30 * time.Millisecond
			for range rounds {
				began := time.Now()
				sup.order("reexec %q", filepath.Join(w.bin, "nines-init"))
				over := make(chan struct{})
				var senders sync.WaitGroup
				calm := sync.OnceFunc(func() {
					close(over)
					senders.Wait()
				})
				t.Cleanup(calm)
				storm := 0
				senders.Go(func() { // of these some merge
					pace := time.NewTicker(20 * time.Microsecond)
					defer pace.Stop()
					for {
						select {
						case <-over:
							return
						case <-pace.C:
							if err := unix.Kill(keeper, unix.SIGHUP); err != nil {
								t.Error(err)
								return
							}
							storm++
						}
					}
				})
				// One of each of these, which must arrive.
				for _, sig := range []unix.Signal{unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2} {
					at := rand.N(took)
					senders.Go(func() {
						<-time.After(at) // at whatever moment of it
						if err := unix.Kill(keeper, sig); err != nil {
							t.Error(err)
						}
					})
				}
				sup.hears("is now v1.2.3", "signal SIGQUIT", "signal SIGUSR1", "signal SIGUSR2")
				calm()
				took = (took + time.Since(began)) / 2
				if t.Failed() {
					t.FailNow()
				}
				if storm == 0 {
					t.Fatal("there was no storm")
				}
				// What is sent now comes after all that was sent before.
				if err := unix.Kill(keeper, unix.SIGUSR1); err != nil {
					t.Fatal(err)
				}
				sup.hears("signal SIGUSR1")
			}
			// The order to stop, at such a moment.
			sup.order("reexec %q", filepath.Join(w.bin, "nines-init"))
			<-time.After(rand.N(took))
			if err := unix.Kill(keeper, unix.SIGTERM); err != nil {
				t.Fatal(err)
			}
			sup.hears("signal SIGTERM")
			sup.order(`send "X_NINES_END=0"`)
			sup.order("exit 0")
			log.hears("STOPPING=1")
			log.order("exit 0")
			w.ends(0)
		})
	}
}

// Signals are held in every thread of a keeper, and the children of one that was
// executed anew begin with the signals blocked that were so for the first.
func TestMaskOverReexec(t *testing.T) {
	w := start(t)
	w.next("nines-log").send("READY=1")
	for range 2 {
		sup := w.next("nines")
		sup.hears("X_NINES_STORE=end")
		sup.order("send %q", "READY=1")
		// In all threads: one of the supervisor's may block what it handles elsewhere.
		if got, want := blocked(t, sup.pid), blocked(t, os.Getpid()); got != want {
			t.Errorf("blocked in the supervisor: %x, want %x", got, want)
		}
		if got := blocked(t, w.cmd.Process.Pid); got&signals.Held != signals.Held {
			t.Errorf("blocked in the keeper: %x: Go's runtime has another table of signals than nines_start knows", got)
		}
		sup.order("reexec %q", filepath.Join(w.bin, "nines-init"))
		sup.hears("is now v1.2.3")
		sup.order("exit 0")
	}
}

// blocked are the signals that all threads of a process block.
func blocked(t *testing.T, pid int) uint64 {
	t.Helper()
	all := ^uint64(0)
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(threads) == 0 {
		t.Fatal(threads, err)
	}
	for _, thread := range threads {
		b, err := os.ReadFile(thread)
		if err != nil {
			continue // it has ended meanwhile
		}
		_, rest, _ := strings.Cut(string(b), "SigBlk:\t")
		text, _, _ := strings.Cut(rest, "\n")
		mask, err := strconv.ParseUint(text, 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		all &= mask
	}
	return all
}
