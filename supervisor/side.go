package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"nines/cgroups"
	"nines/supervisor/proc"
)

// sideRun is one run of a command that belongs to no instance: of an alert, or of a
// service's data. It has a cgroup of its own. A goroutine waits for it; the loop starts
// it, by way of the spawner, and reaps it. It outlives neither its time nor the
// supervisor.
type sideRun struct {
	kind    string // what it is of, for our log: "alert", "data"
	what    string // what people know it by: "its command", "before_update"
	name    string // "alert:/page.7", "web/data-3": cgroup and mark
	timeout time.Duration
	prepare func(*resolver) (*proc.Command, error) // the spawner calls it

	stdin, stdout int           // the child's, of the pipes that runSide makes
	begun         chan struct{} // the spawner has answered
	ended         chan struct{} // it was reaped

	// Written by the loop, before it closes begun or ended.
	pid    int
	group  *cgroups.Group
	err    *proc.Error // there is no process
	reaped bool
	status proc.Status
}

// sideOutput is how much of what a command says is looked at for a reason.
const sideOutput = 4 << 10

// errPipe says that there is no descriptor for a command's pipes.
var errPipe = errors.New("cannot make a pipe")

func newSideRun(kind, what, name string, timeout time.Duration, prepare func(*resolver) (*proc.Command, error)) *sideRun {
	return &sideRun{kind: kind, what: what, name: name, timeout: timeout, prepare: prepare, begun: make(chan struct{}), ended: make(chan struct{})}
}

// runSide runs r to its end, or to that of ctx or of its time; then all that lives of
// it is ended. The error is a *proc.Error where there was no process, or tells how it
// ended, with the last line that it said.
func (s *Supervisor) runSide(ctx context.Context, r *sideRun, input []byte) error {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	stdin, toStdin, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("%w: %w", errPipe, err)
	}
	output, toOutput, err := os.Pipe()
	if err != nil {
		stdin.Close()
		toStdin.Close()
		return fmt.Errorf("%w: %w", errPipe, err)
	}
	defer output.Close()
	defer toStdin.Close()
	r.stdin, r.stdout = int(stdin.Fd()), int(toOutput.Fd())
	s.box.put(func() { s.beginSide(r) })
	select {
	case <-r.begun:
	case <-s.ended:
		return s.ctxErr(ctx)
	}
	// The child's ends. Not before: the spawner passes their numbers on.
	stdin.Close()
	toOutput.Close()
	if r.err != nil {
		return r.err
	}
	end, _ := ctx.Deadline()
	written := make(chan struct{})
	go func() {
		defer close(written)
		// A command that does not read gets no more than it takes: an error of
		// these says that it has gone, and that is waited for below.
		_ = toStdin.SetWriteDeadline(end)
		_, _ = toStdin.Write(input)
		toStdin.Close()
	}()
	said := make(chan string, 1)
	go func() { said <- tailOf(output) }()
	late := false
	select {
	case <-r.ended:
	case <-ctx.Done():
		late = true
		s.box.put(func() { s.killSide(r) })
		select {
		case <-r.ended:
		case <-s.ended:
		case <-time.After(killPatience): // it is in the kernel, and what it was for goes on without
		}
	case <-s.ended:
		late = true
	}
	<-written
	s.endSide(r)
	// What got away from its cgroup, where there is none, may hold the pipe.
	_ = output.SetReadDeadline(time.Now().Add(time.Second)) // fails only when it has been read to its end
	text := lastOf(<-said)
	switch {
	case late:
		err = errors.New(r.what + " did not end within " + short(r.timeout))
	case r.status.Signal != "":
		err = errors.New(r.what + " was killed by " + r.status.Signal)
	case r.status.Code != 0:
		err = errors.New(r.what + " exited with code " + strconv.Itoa(r.status.Code))
	default:
		return nil
	}
	if text != "" {
		err = fmt.Errorf("%w: %s", err, text)
	}
	return err
}

// ctxErr is why there was no answer.
func (s *Supervisor) ctxErr(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return ErrEnded
}

// beginSide hands a run to the spawner; the loop calls it.
func (s *Supervisor) beginSide(r *sideRun) {
	s.sideRuns[r] = true
	s.inFlight++
	s.spawner.put(batch{sides: []*sideRun{r}})
}

// startSide starts one; the spawner calls it.
func (sp *spawner) startSide(r *sideRun, slow *time.Timer) {
	l := &launch{side: r, name: r.name, ready: -1}
	if l.cmd, l.err = r.prepare(sp.resolve); l.err != nil {
		sp.answer(l, 0)
		return
	}
	l.cmd.Stdin, l.cmd.Stdout, l.cmd.Stderr, l.cmd.CgroupFD = r.stdin, r.stdout, r.stdout, -1
	if t := sp.s.cfg.Cgroups; t != nil {
		var err error
		if l.group, l.cmd.CgroupFD, err = t.Create(r.name); err != nil {
			l.err = &proc.Error{Step: proc.StepCgroup, Path: r.name, Err: err}
		}
	}
	sp.startOne(l, slow)
}

// sideSpawned is the spawner's answer.
func (s *Supervisor) sideSpawned(r *sideRun, pid int, group *cgroups.Group, err *proc.Error) {
	s.inFlight--
	r.group = group
	if err != nil {
		s.failedExec(pid)
		s.janitor.remove(group)
		delete(s.sideRuns, r)
		r.err = err
	} else {
		r.pid = pid
		s.pids[pid] = owner{side: r}
	}
	close(r.begun)
}

// sideEnded: its main process was reaped.
func (s *Supervisor) sideEnded(r *sideRun) {
	delete(s.sideRuns, r)
	close(r.ended)
}

// killSide ends a run that has not ended; the loop calls it, in which alone its
// pid cannot have been used again.
func (s *Supervisor) killSide(r *sideRun) {
	if r.pid == 0 || r.reaped {
		return
	}
	if r.group != nil {
		if err := r.group.Kill(); err != nil {
			s.log.Warn("cannot kill", r.kind, r.name, "err", err)
		}
	}
	if err := proc.KillMain(r.pid); err != nil {
		s.log.Warn("cannot kill", r.kind, r.name, "err", err)
	}
}

// endSide ends what a run has left behind.
func (s *Supervisor) endSide(r *sideRun) {
	t := &proc.Tree{Group: r.group, Mark: s.mark + r.name, KeeperPID: s.cfg.KeeperPID}
	if empty, err := t.Empty(); err != nil || !empty {
		ctx, cancel := context.WithTimeout(context.Background(), killPatience)
		defer cancel()
		if err := t.Kill(ctx); err != nil {
			s.log.Warn("cannot end everything of", r.kind, r.name, "err", err)
			return
		}
	}
	s.janitor.remove(r.group)
}

// tailOf reads f to its end, and returns the last of it.
func tailOf(f *os.File) string {
	var last []byte
	buf := make([]byte, sideOutput)
	for {
		n, err := f.Read(buf)
		last = append(last, buf[:n]...)
		last = last[max(0, len(last)-sideOutput):]
		if err != nil {
			return string(last)
		}
	}
}

// lastOf is the last line of a text.
func lastOf(text string) string {
	text = strings.ToValidUTF8(strings.TrimSpace(text), "?")
	return strings.TrimSpace(text[strings.LastIndexByte(text, '\n')+1:])
}
