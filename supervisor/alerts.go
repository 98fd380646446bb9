package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

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

// giveUpAlerts ends the commands that still run; the loop calls it, as its last.
func (s *Supervisor) giveUpAlerts() {
	for r := range s.sideRuns {
		s.killSide(r)
	}
	// Not waited for: who waits for the loop there waits for our end.
	go s.alerts.Close()
}

// runAlert runs a command to its end, or to that of ctx. An alert calls it, in a
// goroutine of its own.
func (s *Supervisor) runAlert(ctx context.Context, c alert.Command) error {
	name := alertGroup + "/" + c.Alert + "." + strconv.FormatUint(s.sideSeq.Add(1), 10)
	r := newSideRun("alert", "its command", name, alert.CommandTimeout, func(*resolver) (*proc.Command, error) {
		return &proc.Command{Argv: c.Argv, Env: s.alertEnv(c.Env, name)}, nil
	})
	err := s.runSide(ctx, r, c.Stdin)
	var failed *proc.Error
	if errors.Is(err, errPipe) || errors.As(err, &failed) && failed.Again() {
		return fmt.Errorf("%w: %w", alert.ErrNotStarted, err)
	}
	return err
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
