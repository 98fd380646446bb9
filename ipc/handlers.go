package ipc

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"time"
)

// answer is the status at one moment, for all who asked for it.
type answer struct {
	*Status
	body  func() []byte              // as it travels
	index func() map[string]*Service // by name
}

// buildStatus makes the answer that a share gives out.
func (s *Server) buildStatus(ctx context.Context) (a *answer, err error) {
	defer func() {
		if v := recover(); v != nil {
			s.log.Error("panic in a control request", "path", "/v1/status", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			err = bugError()
		}
	}()
	st, err := s.cfg.Backend.Status(ctx)
	if err != nil {
		return nil, err
	}
	return &answer{
		Status: st,
		body: sync.OnceValue(func() []byte {
			return appended(func(b []byte) []byte { return appendStatus(b, st) }, instances(st.Services...))
		}),
		index: sync.OnceValue(func() map[string]*Service {
			byName := make(map[string]*Service, len(st.Services))
			for i := range st.Services {
				byName[st.Services[i].Name] = &st.Services[i]
			}
			return byName
		}),
	}, nil
}

// stateTimeout bounds how long the state is waited for: longer than the loop
// ever takes, unless it hangs and is about to be ended by the keeper.
const stateTimeout = 30 * time.Second

// state returns the status as it is, or for a reader, as it was a moment ago.
func (s *Server) state(ctx context.Context) (*answer, error) {
	age := time.Duration(0)
	if peerFrom(ctx).access < accessWrite {
		age = s.limits.ReaderAge
	}
	// net/http takes a caller who has closed his sending side for gone. He may
	// still be reading (`… | nc -N -U`), and there is nothing to save by not
	// answering: what he waits for is being made anyway.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stateTimeout)
	defer cancel()
	return s.status.get(ctx, age)
}

func (s *Server) getStatus(r *request) error {
	a, err := s.state(r.Context())
	if err != nil {
		return err
	}
	return r.answer(a.body())
}

func (s *Server) getService(r *request) error {
	a, err := s.state(r.Context())
	if err != nil {
		return err
	}
	svc, err := a.service(r.arg)
	if err != nil {
		return err
	}
	return r.answer(appended(func(b []byte) []byte { return appendService(b, svc) }, instances(*svc)))
}

// service returns one service, or no_such_service.
func (a *answer) service(name string) (*Service, error) {
	if svc := a.index()[name]; svc != nil {
		return svc, nil
	}
	return nil, noSuchService(name)
}

func findService(st *Status, name string) (*Service, error) {
	for i := range st.Services {
		if st.Services[i].Name == name {
			return &st.Services[i], nil
		}
	}
	return nil, noSuchService(name)
}

func noSuchService(name string) *Error {
	return &Error{
		Code:    CodeNoSuchService,
		Message: fmt.Sprintf("cannot find service %q", clip(name)),
		Hint:    `"nines status" lists them`,
	}
}

// do returns the handler of one verb.
func do(verb string) func(*Server, *request) error {
	return func(s *Server, r *request) error {
		body, err := r.body()
		if err != nil {
			return err
		}
		c, err := decodeCommand(verb, body)
		if err != nil {
			return err
		}
		by := peerFrom(r.Context()).Caller
		s.log.Info("command", "verb", verb, "service", clip(r.arg), "uid", by.UID, "pid", by.PID)
		res, err := s.cfg.Backend.Do(r.Context(), by, r.arg, verb, c)
		if err != nil {
			return err
		}
		return r.sendJSON(res)
	}
}

func (s *Server) getEvents(r *request) error {
	p := parseParams(r.URL.RawQuery, "since", "after", "service", "follow")
	q := EventQuery{Since: p.since(time.Now()), After: p.uint("after"), Service: p.one("service"), Follow: p.bool("follow")}
	if p.err != nil {
		return p.err
	}
	return r.stream(func(ctx context.Context, st *stream) error {
		return s.cfg.Backend.Events(ctx, q, func(e Event) error { return st.send(&e) })
	})
}

func (s *Server) getIncidents(r *request) error {
	list, err := s.cfg.Backend.Incidents(r.Context(), r.arg)
	if err != nil {
		return err
	}
	return r.sendJSON(incidentsAnswer{list})
}

// incidentsAnswer is what GET /v1/services/NAME/incidents answers.
type incidentsAnswer struct {
	Incidents []Incident `json:"incidents"`
}

func (s *Server) getLogs(r *request) error {
	p := parseParams(r.URL.RawQuery, "instance", "service", "lines", "follow", "since")
	q := LogQuery{Lines: p.int("lines", -1), Follow: p.bool("follow"), Since: p.since(time.Now())}
	if p.err != nil {
		return p.err
	}
	q.Services, q.Instances = p.values["service"], p.values["instance"]
	if err := s.checkLogQuery(r.Context(), q); err != nil {
		return err
	}
	return r.stream(func(ctx context.Context, st *stream) error {
		return s.cfg.Backend.Logs(ctx, q, func(l LogLine) error { return st.send(&l) })
	})
}

// checkLogQuery refuses what does not exist. The log process would only say
// that there are no lines.
func (s *Server) checkLogQuery(ctx context.Context, q LogQuery) error {
	if len(q.Services)+len(q.Instances) == 0 {
		return nil
	}
	st, err := s.state(ctx)
	if err != nil {
		return err
	}
	for _, name := range q.Services {
		if _, err := st.service(name); err != nil {
			return err
		}
	}
	for _, id := range q.Instances {
		name, _, _ := strings.Cut(id, "/")
		svc, err := st.service(name)
		if err != nil {
			return err
		}
		if svc.Instance(id) == nil {
			return &Error{
				Code:    CodeNoSuchInstance,
				Message: fmt.Sprintf("cannot find instance %q", clip(id)),
				Hint:    fmt.Sprintf(`"nines status %s" lists them`, name),
			}
		}
	}
	return nil
}

// Instance returns the instance of that id ("web/0"), or nil.
func (s *Service) Instance(id string) *Instance {
	for i := range s.Instances {
		if s.Instances[i].ID == id {
			return &s.Instances[i]
		}
	}
	return nil
}

// postShutdown answers when the backend has; then, unless the caller does not
// want to wait, it keeps the connection open to the end, so that the caller
// sees by its closing that the supervisor is gone.
func (s *Server) postShutdown(r *request) error {
	body, err := r.body()
	if err != nil {
		return err
	}
	req, err := decodeShutdown(body)
	if err != nil {
		return err
	}
	by := peerFrom(r.Context()).Caller
	s.log.Info("shutdown", "action", req.Action, "uid", by.UID, "pid", by.PID)
	res, err := s.cfg.Backend.Shutdown(r.Context(), by, req)
	if err != nil {
		return err
	}
	if req.NoWait {
		return r.sendJSON(res)
	}
	return r.stream(func(ctx context.Context, st *stream) error {
		if err := st.send(res); err != nil {
			return err
		}
		<-ctx.Done()
		return nil
	})
}

// instances counts what the size of an answer depends on.
func instances(services ...Service) int {
	n := 0
	for i := range services {
		n += 1 + len(services[i].Instances)
	}
	return n
}

// appended is a document that add appends; parts says how much to expect.
func appended(add func([]byte) []byte, parts int) []byte {
	const each = 400 // bytes, roughly
	return append(add(make([]byte, 0, 1024+parts*each)), '\n')
}

// answer sends a document that may be long. Those that others than the owner
// are slow to read take memory, and are bounded.
func (r *request) answer(body []byte) error {
	if p := peerFrom(r.Context()); !p.owner {
		n := int64(len(body))
		defer r.srv.held.Add(-n)
		if r.srv.held.Add(n) > max(r.srv.limits.MaxHeld, n) {
			return &Error{Code: CodeBusy, Message: "cannot answer: too many answers were not read yet", Hint: "try again"}
		}
	}
	r.send(http.StatusOK, body)
	return nil
}

func (r *request) sendJSON(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("cannot encode the answer: %w", err)
	}
	r.send(http.StatusOK, append(b, '\n'))
	return nil
}
