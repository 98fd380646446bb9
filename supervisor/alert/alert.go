package alert

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"time"

	"nines/spec"
)

// Bounds of a delivery.
const (
	MaxQueue       = 64 // events that wait, for each alert
	Attempts       = 6
	CommandTimeout = 30 * time.Second
	WebhookTimeout = 10 * time.Second
	FirstPause     = time.Second
)

// FailedKind is the kind of the event that tells of what was not delivered.
const FailedKind = "alert_failed"

// Event is what is told, as a receiver gets it: an event as in the API, with the
// machine and the alert that tells it.
type Event struct {
	Seq      uint64            `json:"seq"`
	Time     time.Time         `json:"time"`
	Kind     string            `json:"kind"`
	Service  string            `json:"service"`
	Instance string            `json:"instance"`
	Revision int               `json:"revision"`
	Message  string            `json:"message"`
	Fields   map[string]string `json:"fields"`
	Host     string            `json:"host"`
	Alert    string            `json:"alert"`
}

// Command is one run of an alert's command.
type Command struct {
	Alert string
	Argv  []string
	Env   []string // NINES_EVENT_… and NINES_ALERT, beside what a command gets anyway
	Stdin []byte   // the event as JSON, and a newline
}

// ErrNotStarted is wrapped by an error of Config.Run when the command may be
// tried again: nothing of it has run.
var ErrNotStarted = errors.New("not started")

// Config is what Alerts work with.
type Config struct {
	Host      string                                     // name of this machine
	Run       func(ctx context.Context, c Command) error // runs a command to its end, or to that of ctx
	Failed    func(alert, text string)                   // an event was not delivered. It must not block
	Transport http.RoundTripper                          // of webhooks; nil: one that verifies TLS
	Idle      func()                                     // nothing is left to deliver; nil: nobody asks
	Log       *slog.Logger
}

// Alerts delivers events. Its methods may be called from any goroutine.
type Alerts struct {
	cfg    Config
	client http.Client
	ctx    context.Context
	cancel context.CancelFunc

	mu      sync.Mutex
	senders []*sender
	busy    int // senders at work, also of alerts that are no more
	done    sync.WaitGroup
}

// sender is one alert. queue, dropped and working are under Alerts.mu.
type sender struct {
	a       *Alerts
	spec    spec.Alert
	queue   []Event
	dropped int
	working bool
}

// New makes Alerts without any.
func New(cfg Config) *Alerts {
	a := &Alerts{cfg: cfg}
	a.client = newClient(cfg.Transport)
	a.ctx, a.cancel = context.WithCancel(context.Background())
	return a
}

// Set makes these the alerts. What one that is no more had taken, it delivers.
func (a *Alerts) Set(specs []spec.Alert) {
	a.mu.Lock()
	defer a.mu.Unlock()
	old := a.senders
	a.senders = make([]*sender, 0, len(specs))
	for i := range specs {
		k := slices.IndexFunc(old, func(s *sender) bool { return reflect.DeepEqual(s.spec, specs[i]) })
		if k >= 0 {
			a.senders = append(a.senders, old[k])
		} else {
			a.senders = append(a.senders, &sender{a: a, spec: specs[i]})
		}
	}
}

// Wants says whether an alert names that kind: what nobody wants need not be made.
func (a *Alerts) Wants(kind string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.ContainsFunc(a.senders, func(s *sender) bool { return slices.Contains(s.spec.On, kind) })
}

// Event takes an event to those alerts that name its kind. It does not wait.
func (a *Alerts) Event(e Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.senders {
		if !slices.Contains(s.spec.On, e.Kind) || e.Kind == FailedKind && e.Fields["alert"] == s.spec.Name || a.ctx.Err() != nil {
			continue
		}
		e.Host, e.Alert = a.cfg.Host, s.spec.Name
		if len(s.queue) == MaxQueue {
			s.queue = slices.Delete(s.queue, 0, 1)
			s.dropped++
		}
		s.queue = append(s.queue, e)
		if !s.working {
			s.working = true
			a.busy++
			a.done.Go(s.work)
		}
	}
}

// Busy says whether there is something to deliver.
func (a *Alerts) Busy() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.busy > 0
}

// Close gives up what is not delivered, and waits until nothing is at work.
func (a *Alerts) Close() {
	a.cancel()
	a.done.Wait()
}

// work delivers what there is.
func (s *sender) work() {
	for {
		s.a.mu.Lock()
		dropped := s.dropped
		s.dropped = 0
		if len(s.queue) == 0 || s.a.ctx.Err() != nil {
			s.queue, s.working = nil, false
			s.a.busy--
			idle := s.a.busy == 0
			s.a.mu.Unlock()
			if dropped > 0 {
				s.failed(strconv.Itoa(dropped) + " events were dropped: more came than could be delivered")
			}
			if idle && s.a.cfg.Idle != nil {
				s.a.cfg.Idle()
			}
			return
		}
		e := s.queue[0]
		s.queue = slices.Delete(s.queue, 0, 1)
		s.a.mu.Unlock()
		if dropped > 0 {
			s.failed(strconv.Itoa(dropped) + " events were dropped: more came than could be delivered")
		}
		if err := s.deliver(&e); err != nil && s.a.ctx.Err() == nil {
			text := fmt.Sprintf("%s of %s was not delivered: %s", e.Kind, e.Time.UTC().Format(time.RFC3339), err)
			if e.Kind == FailedKind {
				s.a.cfg.Log.Warn("an alert about an alert failed", "alert", s.spec.Name, "err", text)
			} else {
				s.failed(text)
			}
		}
	}
}

func (s *sender) failed(text string) {
	s.a.cfg.Failed(s.spec.Name, "alert "+strconv.Quote(s.spec.Name)+": "+text)
}

// deliver tells one event, as often as it takes.
func (s *sender) deliver(e *Event) (err error) {
	pause := FirstPause
	for attempt := 1; ; attempt++ {
		var again bool
		if again, err = s.once(e); err == nil || !again {
			return err
		}
		if attempt == Attempts {
			return fmt.Errorf("%w (%d attempts)", err, attempt)
		}
		// By chance, so that many machines do not come back in step.
		timer := time.NewTimer(time.Duration(float64(pause) * (0.75 + 0.5*rand.Float64())))
		select {
		case <-timer.C:
		case <-s.a.ctx.Done():
			timer.Stop()
			return s.a.ctx.Err()
		}
		pause *= 2
	}
}

// once makes one attempt, and says whether another may help.
func (s *sender) once(e *Event) (again bool, err error) {
	if s.spec.Webhook != "" {
		ctx, cancel := context.WithTimeout(s.a.ctx, WebhookTimeout)
		defer cancel()
		return s.a.post(ctx, s.spec.Webhook, e)
	}
	ctx, cancel := context.WithTimeout(s.a.ctx, CommandTimeout)
	defer cancel()
	body, err := encode(e)
	if err != nil {
		return false, err
	}
	err = s.a.cfg.Run(ctx, Command{Alert: s.spec.Name, Argv: s.spec.Command, Env: environment(e), Stdin: append(body, '\n')})
	return errors.Is(err, ErrNotStarted), err
}
