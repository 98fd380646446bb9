package alert

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"nines/spec"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is Alerts with what they tell and run.
type rig struct {
	*Alerts
	mu     sync.Mutex
	failed []string
	runs   []Command
	run    func(ctx context.Context, n int) error // the n-th, from 1
}

func newRig(run func(ctx context.Context, n int) error, alerts ...spec.Alert) *rig {
	r := &rig{run: run}
	r.Alerts = New(Config{
		Host: "db1", Log: slog.New(slog.DiscardHandler),
		Failed: func(alert, text string) {
			r.mu.Lock()
			r.failed = append(r.failed, text)
			r.mu.Unlock()
			r.Event(Event{Kind: FailedKind, Message: text, Fields: map[string]string{"alert": alert}})
		},
		Run: func(ctx context.Context, c Command) error {
			r.mu.Lock()
			r.runs = append(r.runs, c)
			n := len(r.runs)
			r.mu.Unlock()
			return r.run(ctx, n)
		},
	})
	r.Set(alerts)
	return r
}

func (r *rig) ran() []Command { r.mu.Lock(); defer r.mu.Unlock(); return r.runs }

func (r *rig) said() string { r.mu.Lock(); defer r.mu.Unlock(); return strings.Join(r.failed, "\n") }

func fine(context.Context, int) error { return nil }

func TestCommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(fine, spec.Alert{Name: "page", On: []string{"crash_loop", "held"}, Command: []string{"/bin/page", "x"}}, spec.Alert{Name: "other", On: []string{"ready"}, Command: []string{"/bin/other"}})
		at := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.FixedZone("", 3600))
		r.Event(Event{Kind: "starting"})
		r.Event(Event{Seq: 7, Time: at, Kind: "crash_loop", Service: "web", Instance: "web/0", Revision: 3, Message: "5 ends <\x00\n", Fields: map[string]string{"pid": "9"}})
		synctest.Wait()
		runs := r.ran()
		if len(runs) != 1 || runs[0].Alert != "page" || fmt.Sprint(runs[0].Argv) != "[/bin/page x]" {
			t.Fatalf("%+v", runs)
		}
		want := `{"seq":7,"time":"2026-01-02T02:04:05.000006Z","kind":"crash_loop","service":"web","instance":"web/0","revision":3,"message":"5 ends <\u0000\n","fields":{"pid":"9"},"host":"db1","alert":"page"}` + "\n"
		if got := string(runs[0].Stdin); got != want {
			t.Errorf("stdin %s", got)
		}
		env := strings.Join(runs[0].Env, "|")
		if env != "NINES_ALERT=page|NINES_EVENT_SEQ=7|NINES_EVENT_TIME=2026-01-02T02:04:05.000006Z|NINES_EVENT_KIND=crash_loop|NINES_EVENT_SERVICE=web|NINES_EVENT_INSTANCE=web/0|NINES_EVENT_REVISION=3|NINES_EVENT_MESSAGE=5 ends <\n|NINES_EVENT_HOST=db1" {
			t.Errorf("env %q", env)
		}
		if !r.Wants("held") || r.Wants("starting") {
			t.Error("it wants something else than was named")
		}
		if r.Busy() || r.said() != "" {
			t.Errorf("busy, or failed: %s", r.said())
		}
		r.Close()
	})
}

// One that exits badly is not run again; one that was not started is.
func TestCommandFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(func(ctx context.Context, n int) error {
			switch {
			case n == 1:
				return errors.New("it exited with code 3")
			case n == 2:
				<-ctx.Done()
				return errors.New("it did not end within 30s")
			case n < 5:
				return fmt.Errorf("%w: no memory", ErrNotStarted)
			}
			return nil
		}, spec.Alert{Name: "page", On: []string{"held"}, Command: []string{"x"}})
		begin := time.Now()
		r.Event(Event{Kind: "held", Time: begin})
		synctest.Wait()
		if got := r.said(); !strings.Contains(got, `alert "page": held of 2000-01-01T00:00:00Z was not delivered: it exited with code 3`) || len(r.ran()) != 1 {
			t.Errorf("%d runs, said %q", len(r.ran()), got)
		}
		r.Event(Event{Kind: "held", Time: begin})
		time.Sleep(CommandTimeout)
		synctest.Wait()
		if got := r.said(); !strings.Contains(got, "within 30s") || len(r.ran()) != 2 {
			t.Errorf("%d runs, said %q", len(r.ran()), got)
		}
		r.Event(Event{Kind: "held"})
		time.Sleep(4 * FirstPause)
		synctest.Wait()
		if len(r.ran()) != 5 || strings.Count(r.said(), "\n") != 1 || r.Busy() {
			t.Errorf("%d runs, said %q", len(r.ran()), r.said())
		}
		r.Close()
	})
}

// A receiver that hangs holds up its own alert; what is too much is dropped, the
// oldest first, and told. Others get theirs.
func TestQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		r := newRig(nil, spec.Alert{Name: "slow", On: []string{"held"}, Command: []string{"slow"}}, spec.Alert{Name: "quick", On: []string{"held"}, Command: []string{"quick"}})
		r.cfg.Run = func(_ context.Context, c Command) error {
			if c.Argv[0] == "slow" {
				<-release
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			r.runs = append(r.runs, c)
			return nil
		}
		for i := range MaxQueue + 11 {
			r.Event(Event{Kind: "held", Seq: uint64(i)})
			synctest.Wait()
		}
		if n := len(r.ran()); n != MaxQueue+11 {
			t.Errorf("quick got %d", n)
		}
		close(release)
		synctest.Wait()
		var slow []string
		for _, c := range r.ran() {
			if c.Argv[0] == "slow" {
				slow = append(slow, c.Env[1])
			}
		}
		if len(slow) != MaxQueue+1 || slow[0] != "NINES_EVENT_SEQ=0" || slow[1] != "NINES_EVENT_SEQ=11" {
			t.Errorf("slow got %d: %v", len(slow), slow)
		}
		if got := r.said(); got != `alert "slow": 10 events were dropped: more came than could be delivered` {
			t.Errorf("said %q", got)
		}
		r.Close()
	})
}

// Alerts about alerts go to others, and end there.
func TestAlertsAboutAlerts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(func(context.Context, int) error { return errors.New("broken") },
			spec.Alert{Name: "a", On: []string{"held", FailedKind}, Command: []string{"a"}}, spec.Alert{Name: "b", On: []string{FailedKind}, Command: []string{"b"}})
		r.Event(Event{Kind: "held"})
		synctest.Wait()
		if runs := r.ran(); len(runs) != 2 || runs[0].Alert != "a" || runs[1].Alert != "b" || strings.Count(r.said(), "\n") != 0 {
			t.Errorf("%v, said %q", runs, r.said())
		}
		r.Close()
	})
}

// An apply that leaves an alert as it is leaves its queue; one that is gone
// delivers what it had, and gets nothing more.
func TestSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		keep, gone := spec.Alert{Name: "keep", On: []string{"held"}, Command: []string{"keep"}}, spec.Alert{Name: "gone", On: []string{"held"}, Command: []string{"gone"}}
		r := newRig(func(context.Context, int) error { <-release; return nil }, keep, gone)
		r.Event(Event{Kind: "held", Seq: 1})
		r.Event(Event{Kind: "held", Seq: 2})
		synctest.Wait()
		r.Set([]spec.Alert{keep})
		r.Event(Event{Kind: "held", Seq: 3})
		if !r.Busy() {
			t.Error("not busy")
		}
		close(release)
		synctest.Wait()
		n := map[string]int{}
		for _, c := range r.ran() {
			n[c.Alert]++
		}
		if n["keep"] != 3 || n["gone"] != 2 {
			t.Errorf("%v", n)
		}
		r.Close()
		r.Event(Event{Kind: "held"}) // closed: nothing happens
		if r.Busy() {
			t.Error("busy after the end")
		}
	})
}

// The end does not wait for a receiver.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		idle := 0
		r := newRig(func(ctx context.Context, _ int) error { <-ctx.Done(); return ctx.Err() }, spec.Alert{Name: "a", On: []string{"held"}, Command: []string{"a"}})
		r.cfg.Idle = func() { idle++ }
		r.Event(Event{Kind: "held"})
		r.Event(Event{Kind: "held"})
		synctest.Wait()
		r.Close()
		if r.said() != "" || r.Busy() || idle != 1 {
			t.Errorf("said %q, idle %d", r.said(), idle)
		}
	})
}

// answers is a transport without a network: the clock is the test's.
type answers func(n int, r *http.Request) (int, error)

type transport struct {
	mu sync.Mutex
	n  int
	at []time.Duration
	by answers
	t0 time.Time
}

func (x *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	x.mu.Lock()
	x.n++
	n := x.n
	x.at = append(x.at, time.Since(x.t0))
	x.mu.Unlock()
	code, err := x.by(n, r)
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: code, Body: io.NopCloser(strings.NewReader("x")), Header: http.Header{"Location": {"http://elsewhere/"}}, Request: r}, nil
}

func TestWebhookRetries(t *testing.T) {
	for _, tc := range []struct {
		name  string
		by    answers
		tries int
		said  string
	}{
		{"at once", func(int, *http.Request) (int, error) { return 204, nil }, 1, ""},
		{"the third time", func(n int, _ *http.Request) (int, error) { return map[int]int{1: 503, 2: 429, 3: 200}[n], nil }, 3, ""},
		{"never", func(int, *http.Request) (int, error) { return 500, nil }, Attempts, "the webhook at hook.example answered 500 Internal Server Error (6 attempts)"},
		{"refused", func(int, *http.Request) (int, error) { return 404, nil }, 1, "answered 404 Not Found"},
		{"redirected", func(int, *http.Request) (int, error) { return 302, nil }, 1, "answered 302 Found"},
		{"unreachable", func(int, *http.Request) (int, error) { return 0, errors.New("connection refused") }, Attempts, "cannot reach the webhook at hook.example: connection refused (6 attempts)"},
		{"hung", func(_ int, r *http.Request) (int, error) { <-r.Context().Done(); return 0, r.Context().Err() }, Attempts, "no answer within 10s"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := &transport{by: tc.by, t0: time.Now()}
				r := newRig(fine, spec.Alert{Name: "hook", On: []string{"held"}, Webhook: "https://hook.example/secret?token=secret"})
				r.client = newClient(x)
				r.Event(Event{Kind: "held"})
				time.Sleep(5 * time.Minute)
				synctest.Wait()
				if x.n != tc.tries || !strings.Contains(r.said(), tc.said) || (r.said() == "") != (tc.said == "") || strings.Contains(r.said(), "secret") {
					t.Errorf("%d attempts at %v, said %q", x.n, x.at, r.said())
				}
				for i := 2; tc.name == "never" && i < len(x.at); i++ {
					if a, b := x.at[i-1]-x.at[i-2], x.at[i]-x.at[i-1]; b < a {
						t.Errorf("pauses %s, then %s", a, b)
					}
				}
				r.Close()
			})
		})
	}
}

// Over a real connection: what is posted; and a certificate that nobody vouches
// for is not taken.
func TestWebhook(t *testing.T) {
	got := make(chan Event, 1)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var e Event
		if err := json.NewDecoder(r.Body).Decode(&e); err != nil || r.Method != "POST" || r.Header.Get("Content-Type") != "application/json" || r.URL.Query().Get("t") != "1" {
			w.WriteHeader(400)
			return
		}
		got <- e
	})
	plain := httptest.NewServer(handler)
	defer plain.Close()
	secure := httptest.NewUnstartedServer(handler)
	secure.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	secure.StartTLS()
	defer secure.Close()
	r := newRig(fine)
	defer r.Close()
	e := &Event{Kind: "held", Seq: 5, Alert: "x"}
	if again, err := r.post(t.Context(), plain.URL+"/?t=1", e); again || err != nil {
		t.Fatal(err)
	}
	if g := <-got; g.Seq != 5 || g.Fields == nil {
		t.Errorf("%+v", g)
	}
	if again, err := r.post(t.Context(), plain.URL, e); again || err == nil || !strings.Contains(err.Error(), "400 Bad Request") {
		t.Errorf("%v", err)
	}
	if again, err := r.post(t.Context(), secure.URL+"/?t=1", e); !again || err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("%v", err)
	}
	if again, err := r.post(t.Context(), "http://\x7f", e); again || err == nil {
		t.Errorf("%v", err)
	}
}
