package supervisor

import (
	"context"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"

	"nines/cgroups"
	"nines/supervisor/journal"
	"nines/supervisor/policy"
	"nines/supervisor/probe"
	"nines/supervisor/proc"
)

// execRun is one run of an exec check. It runs in a cgroup beside the instance's,
// never inside: a clone into one that is frozen or throttled hangs, and what it
// eats is not the instance's. A worker waits for it; the loop starts it, by way
// of the spawner, and reaps it.
type execRun struct {
	t    *attempt
	name string // "web/0.17.check-alive"

	mainPID int // of the instance: $MAINPID, as for a hook

	out   *os.File // the read end of its output; set before begun is closed
	begun chan struct{}
	ended chan struct{} // it was reaped, or never was
	gone  chan struct{} // nothing lives of it, and its cgroup is removed; where it had to be killed

	// Written by the loop, before it closes begun or ended.
	pid     int
	group   *cgroups.Group
	err     *proc.Error // there is no process
	dropped bool        // the instance had ended: nothing was started
	reaped  bool
	status  proc.Status
}

// tailSize is how much of the end of its output is kept, and shown.
const tailSize = probe.MaxOutput

// drainPatience is how long, after all that ran is dead, the rest of its output
// may take.
const drainPatience = time.Second

// What a run started and has to be killed is gone at once, or is stuck in the kernel.
const (
	endPatience  = time.Second            // then it is said
	lastPatience = 100 * time.Millisecond // of the next attempt: its worker is not to be held for long
)

// exec makes one attempt of an exec check, in a worker. While something of the run
// before is stuck there is no other, or they would become more and more.
func (t *attempt) exec(ctx context.Context) outcome {
	s := t.c.s
	if !t.waitGone(lastPatience) {
		return outcome{failed: true, reason: "the run before cannot be ended, so there is no other"}
	}
	asked := time.Now()
	r := &execRun{t: t, name: t.group(), begun: make(chan struct{}), ended: make(chan struct{}), gone: make(chan struct{})}
	s.box.put(func() { s.beginExec(r) })
	select {
	case <-r.begun:
	case <-t.c.quit:
		return outcome{unheard: true}
	}
	o := outcome{waited: time.Since(asked)}
	switch {
	case r.dropped:
		o.unheard = true
		return o
	case r.err != nil:
		s.janitor.removeNow(r.group)
		if r.out != nil {
			_ = r.out.Close() // nothing was written to it
		}
		o.failed, o.reason = true, oneLine(r.err.Error())
		if r.err.Again() {
			o.excuse = policy.ExcuseUnable
		}
		return o
	}
	tail := readTail(r.out)
	limit := time.NewTimer(t.block.Timing.Timeout)
	defer limit.Stop()
	late := false
	select {
	case <-r.ended:
	case <-limit.C:
		late = true
	case <-ctx.Done():
		o.unheard = true
	case <-t.c.quit:
		o.unheard = true
	}
	o.took = time.Since(asked) - o.waited
	if late { // that is said at once, however long its end may take
		o.output = printable(tail.now())
		t.late = r
	} else {
		t.endExec(r)
		t.waitGone(endPatience)
		o.output = printable(tail.wait())
	}
	switch {
	case o.unheard:
	case late:
		o.failed, o.reason = true, "it did not end within "+short(t.block.Timing.Timeout)
	case r.status.Signal != "":
		o.failed, o.reason = true, "killed by "+r.status.Signal
	case r.status.Code != 0:
		o.failed, o.reason = true, "exited with code "+strconv.Itoa(r.status.Code)
	default:
		return outcome{}
	}
	if line := lastLine(o.output); line != "" {
		o.reason = oneLine(o.reason + ": " + line)
	}
	return o
}

// group is the name of the cgroup, and the mark, of a run. There is one at a time,
// and the one before is removed when it begins.
func (t *attempt) group() string {
	if t.ready {
		return t.in.name + ".ready"
	}
	return t.in.name + ".check-" + t.block.Name
}

// beginExec hands a run to the spawner; the loop calls it.
func (s *Supervisor) beginExec(r *execRun) {
	in := r.t.in
	if s.current(in.ref) != in || in.reaped || s.exit != nil {
		r.dropped = true
		close(r.begun)
		return
	}
	r.mainPID = in.pid
	s.inFlight++
	s.spawner.put(batch{execs: []*execRun{r}})
}

// execSpawned is the spawner's answer for a run.
func (s *Supervisor) execSpawned(r *execRun, pid int, group *cgroups.Group, err *proc.Error) {
	s.inFlight--
	if err != nil {
		s.failedExec(pid)
		r.err, r.group = err, group
	} else {
		r.pid, r.group = pid, group
		s.pids[pid] = owner{exec: r}
	}
	close(r.begun)
}

// endExec has all that lives of a run ended; r.gone is closed when that is so.
func (t *attempt) endExec(r *execRun) {
	s := t.c.s
	select {
	case <-r.ended:
		empty, err := s.execTree(r).Empty()
		if err == nil && empty {
			s.janitor.removeNow(r.group)
			return
		}
	default:
		// The loop kills the main process, since only there its pid cannot have
		// been used again.
		s.box.put(func() {
			if !r.reaped {
				if err := proc.KillMain(r.pid); err != nil {
					s.log.Warn("cannot kill", "check", r.name, "err", err)
				}
			}
		})
	}
	t.last = r
	go s.outlast(r, "something of check "+strconv.Quote(t.block.Name)+" still lives "+short(endPatience)+" after SIGKILL; it is not run again until that has ended: ")
}

// outlast ends what lives of a run, however long that takes, and says once when
// that is long. There is one for each check at most.
func (s *Supervisor) outlast(r *execRun, text string) {
	for patience := endPatience; ; patience = killPatience {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		err := s.execTree(r).Kill(ctx)
		cancel()
		if err == nil {
			break
		}
		if patience == endPatience {
			in := r.t.in
			s.note(journal.Entry{Kind: policy.KindStuck, Service: in.svc.Name, Instance: in.id, Revision: in.revision, Text: text + oneLine(err.Error())})
		}
		select {
		case <-s.checks.quit:
			return // the next supervisor finds it
		default:
		}
	}
	select {
	case <-r.ended:
	case <-s.checks.quit:
	}
	s.janitor.removeNow(r.group)
	close(r.gone)
}

// waitGone waits until nothing lives of the run before, and says whether that is
// so.
func (t *attempt) waitGone(patience time.Duration) bool {
	if t.last == nil {
		return true
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-t.last.gone:
		t.last = nil
		return true
	case <-late.C:
	case <-t.c.quit:
	}
	return false
}

// execTree is all that a run started.
func (s *Supervisor) execTree(r *execRun) *proc.Tree {
	return &proc.Tree{Group: r.group, Mark: s.mark + r.name, KeeperPID: s.cfg.KeeperPID}
}

// tail is the end of what a run says.
type tail struct {
	file *os.File
	done chan struct{}
	text []byte // when done is closed
}

// readTail reads until the end of a run's output: also what is not kept, lest the
// run stops at a full pipe.
func readTail(f *os.File) *tail {
	t := &tail{file: f, done: make(chan struct{})}
	go func() {
		defer close(t.done)
		buf := make([]byte, 2*tailSize)
		n := 0
		for {
			if n == len(buf) {
				n = copy(buf, buf[n-tailSize:])
			}
			m, err := f.Read(buf[n:])
			n += m
			if err != nil {
				break // its end, or nobody waits any more
			}
		}
		t.text = buf[max(0, n-tailSize):n]
	}()
	return t
}

// wait is what was said. Something that got away from its run may hold the pipe
// open; that is not waited for.
func (t *tail) wait() []byte {
	late := time.AfterFunc(drainPatience, func() {
		// It only ends the read; the close below says the rest.
		_ = t.file.SetReadDeadline(time.Unix(1, 0))
	})
	<-t.done
	late.Stop()
	// It was only read: nothing is lost.
	_ = t.file.Close()
	return t.text
}

// now is what was said so far.
func (t *tail) now() []byte {
	_ = t.file.SetReadDeadline(time.Unix(1, 0)) // it only ends the read
	return t.wait()
}

// printable is text that is safe to show on a terminal.
func printable(b []byte) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, strings.ToValidUTF8(string(b), "?")))
}

// lastLine is the last line of a text.
func lastLine(s string) string {
	return strings.TrimSpace(s[strings.LastIndexByte(s, '\n')+1:])
}
