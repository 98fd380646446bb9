package ipc

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

func (s *Server) getStatus(r *request) error {
	st, err := s.cfg.Backend.Status(r.Context())
	if err != nil {
		return err
	}
	r.sendAppended(func(b []byte) []byte { return appendStatus(b, st) }, instances(st.Services...))
	return nil
}

func (s *Server) getService(r *request) error {
	svc, err := s.service(r.Context(), r.arg)
	if err != nil {
		return err
	}
	r.sendAppended(func(b []byte) []byte { return appendService(b, svc) }, instances(*svc))
	return nil
}

// service returns one service, or no_such_service.
func (s *Server) service(ctx context.Context, name string) (*Service, error) {
	st, err := s.cfg.Backend.Status(ctx)
	if err != nil {
		return nil, err
	}
	return findService(st, name)
}

func findService(st *Status, name string) (*Service, error) {
	for i := range st.Services {
		if st.Services[i].Name == name {
			return &st.Services[i], nil
		}
	}
	return nil, &Error{
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
	st, err := s.cfg.Backend.Status(ctx)
	if err != nil {
		return err
	}
	for _, name := range q.Services {
		if _, err := findService(st, name); err != nil {
			return err
		}
	}
	for _, id := range q.Instances {
		name, _, _ := strings.Cut(id, "/")
		svc, err := findService(st, name)
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

// sendAppended answers with what add appends; parts says how much to expect.
func (r *request) sendAppended(add func([]byte) []byte, parts int) {
	const each = 400 // bytes, roughly
	r.send(http.StatusOK, append(add(make([]byte, 0, 1024+parts*each)), '\n'))
}

func (r *request) sendJSON(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("cannot encode the answer: %w", err)
	}
	r.send(http.StatusOK, append(b, '\n'))
	return nil
}
