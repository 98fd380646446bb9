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
	"nines/supervisor/alert"
	"nines/supervisor/journal"
	"nines/supervisor/proc"
)

// alertGroup is the folder of the cgroups of alerts' commands: no service has
// that name.
const alertGroup = "alert:"

// alertPatience is how long the end waits for alerts that are not delivered: the
// end itself may be what they are about.
const alertPatience = 3 * time.Second

// alertOutput is how much of what a command says is looked at for a reason.
const alertOutput = 4 << 10

// alertRun is one run of an alert's command, in a cgroup of its own. A goroutine
// of the alert waits for it; the loop starts it, by way of the spawner, and reaps
// it. It outlives neither its time nor the supervisor.
type alertRun struct {
	name  string // "alert:/page.7": cgroup and mark
	cmd   *proc.Command
	begun chan struct{} // the spawner has answered
	ended chan struct{} // it was reaped

	// Written by the loop, before it closes begun or ended.
	pid    int
	group  *cgroups.Group
	err    *proc.Error // there is no process
	reaped bool
	status proc.Status
}

// newAlerts makes what tells people of events, and has the journal tell it. Where
// the machine's name is not known, it is empty.
func (s *Supervisor) newAlerts() *alert.Alerts {
	host, err := os.Hostname()
	if err != nil {
		s.log.Warn("alerts do not say which machine they are of", "err", err)
	}
	a := alert.New(alert.Config{
		Host: host, Log: s.log, Run: s.runAlert,
		Failed: func(name, text string) {
			s.note(journal.Entry{Kind: journal.KindAlertFailed, Text: text}.WithField("alert", name))
		},
		Idle: func() { s.box.put(func() {}) }, // a loop that lingers looks again
	})
	a.Set(s.cfg.Spec.Alerts)
	s.journal.Watch(func(e journal.Entry) {
		if !a.Wants(string(e.Kind)) {
			return
		}
		a.Event(alert.Event{
			Seq: e.Seq, Time: e.Time, Kind: string(e.Kind), Service: e.Service, Instance: e.Instance,
			Revision: e.Revision, Message: e.Message(), Fields: e.Fields(),
		})
	})
	return a
}

// lingers says, when all is done, whether the end waits for alerts.
func (s *Supervisor) lingers() bool {
	if !s.alerts.Busy() {
		return false
	}
	if s.lingerUntil == 0 {
		s.lingerUntil = s.clock.now().Add(alertPatience)
	}
	return s.clock.now() < s.lingerUntil
}

// giveUpAlerts ends what of alerts still runs; the loop calls it, as its last.
func (s *Supervisor) giveUpAlerts() {
	for r := range s.alertRuns {
		s.killAlert(r)
	}
	// Not waited for: who waits for the loop there waits for our end.
	go s.alerts.Close()
}

// runAlert runs a command to its end, or to that of ctx. An alert calls it, in a
// goroutine of its own.
func (s *Supervisor) runAlert(ctx context.Context, c alert.Command) error {
	r := &alertRun{
		name:  alertGroup + "/" + c.Alert + "." + strconv.FormatUint(s.alertSeq.Add(1), 10),
		begun: make(chan struct{}), ended: make(chan struct{}),
	}
	stdin, toStdin, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("%w: %w", alert.ErrNotStarted, err)
	}
	output, toOutput, err := os.Pipe()
	if err != nil {
		stdin.Close()
		toStdin.Close()
		return fmt.Errorf("%w: %w", alert.ErrNotStarted, err)
	}
	defer output.Close()
	defer toStdin.Close()
	r.cmd = &proc.Command{Argv: c.Argv, Env: s.alertEnv(c.Env, r.name), Stdin: int(stdin.Fd()), CgroupFD: -1}
	r.cmd.Stdout = int(toOutput.Fd())
	r.cmd.Stderr = r.cmd.Stdout
	s.box.put(func() { s.beginAlert(r) })
	select {
	case <-r.begun:
	case <-s.ended:
		return s.ctxErr(ctx)
	}
	// The child's ends. Not before: the spawner passes their numbers on.
	stdin.Close()
	toOutput.Close()
	if r.err != nil {
		if r.err.Again() {
			return fmt.Errorf("%w: %w", alert.ErrNotStarted, r.err)
		}
		return r.err
	}
	end, _ := ctx.Deadline()
	written := make(chan struct{})
	go func() {
		defer close(written)
		// A command that does not read gets no more than it takes: an error of
		// these says that it has gone, and that is waited for below.
		_ = toStdin.SetWriteDeadline(end)
		_, _ = toStdin.Write(c.Stdin)
		toStdin.Close()
	}()
	said := make(chan string, 1)
	go func() { said <- tailOf(output) }()
	late := false
	select {
	case <-r.ended:
	case <-ctx.Done():
		late = true
		s.box.put(func() { s.killAlert(r) })
		select {
		case <-r.ended:
		case <-s.ended:
		}
	case <-s.ended:
		late = true
	}
	<-written
	s.endAlert(r)
	// What got away from its cgroup, where there is none, may hold the pipe.
	_ = output.SetReadDeadline(time.Now().Add(time.Second)) // fails only when it has been read to its end
	text := lastOf(<-said)
	switch {
	case late:
		err = errors.New("its command did not end within " + short(alert.CommandTimeout))
	case r.status.Signal != "":
		err = errors.New("its command was killed by " + r.status.Signal)
	case r.status.Code != 0:
		err = errors.New("its command exited with code " + strconv.Itoa(r.status.Code))
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

// alertEnv is what a command gets beside the event: what the supervisor itself
// was started with, and the mark by which what it leaves behind is found.
func (s *Supervisor) alertEnv(event []string, name string) []string {
	environ := s.spawner.resolve.environ
	env := make([]string, 0, len(environ)+len(event)+2)
	for k, v := range environ {
		env = append(env, k+"="+v)
	}
	if environ["PATH"] == "" {
		env = append(env, "PATH="+defaultPath)
	}
	return append(append(env, event...), proc.MarkVariable+"="+s.mark+name)
}

// beginAlert hands a run to the spawner; the loop calls it.
func (s *Supervisor) beginAlert(r *alertRun) {
	s.alertRuns[r] = true
	s.inFlight++
	s.spawner.put(batch{alerts: []*alertRun{r}})
}

// startAlert starts one; the spawner calls it.
func (sp *spawner) startAlert(r *alertRun, slow *time.Timer) {
	l := &launch{alert: r, name: r.name, cmd: r.cmd, ready: -1}
	if t := sp.s.cfg.Cgroups; t != nil {
		var err error
		if l.group, l.cmd.CgroupFD, err = t.Create(r.name); err != nil {
			l.err = &proc.Error{Step: proc.StepCgroup, Path: r.name, Err: err}
		}
	}
	sp.startOne(l, slow)
}

// alertSpawned is the spawner's answer.
func (s *Supervisor) alertSpawned(r *alertRun, pid int, group *cgroups.Group, err *proc.Error) {
	s.inFlight--
	r.group = group
	if err != nil {
		s.failedExec(pid)
		s.janitor.remove(group)
		delete(s.alertRuns, r)
		r.err = err
	} else {
		r.pid = pid
		s.pids[pid] = owner{alert: r}
	}
	close(r.begun)
}

// alertEnded: its main process was reaped.
func (s *Supervisor) alertEnded(r *alertRun) {
	delete(s.alertRuns, r)
	close(r.ended)
}

// killAlert ends a run that has not ended; the loop calls it, in which alone its
// pid cannot have been used again.
func (s *Supervisor) killAlert(r *alertRun) {
	if r.pid == 0 || r.reaped {
		return
	}
	if r.group != nil {
		if err := r.group.Kill(); err != nil {
			s.log.Warn("cannot kill", "alert", r.name, "err", err)
		}
	}
	if err := proc.KillMain(r.pid); err != nil {
		s.log.Warn("cannot kill", "alert", r.name, "err", err)
	}
}

// endAlert ends what a run has left behind.
func (s *Supervisor) endAlert(r *alertRun) {
	t := &proc.Tree{Group: r.group, Mark: s.mark + r.name, KeeperPID: s.cfg.KeeperPID}
	if empty, err := t.Empty(); err != nil || !empty {
		ctx, cancel := context.WithTimeout(context.Background(), killPatience)
		defer cancel()
		if err := t.Kill(ctx); err != nil {
			s.log.Warn("cannot end everything of", "alert", r.name, "err", err)
			return
		}
	}
	s.janitor.remove(r.group)
}

// tailOf reads f to its end, and returns the last of it.
func tailOf(f *os.File) string {
	var last []byte
	buf := make([]byte, alertOutput)
	for {
		n, err := f.Read(buf)
		last = append(last, buf[:n]...)
		last = last[max(0, len(last)-alertOutput):]
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
