package ipc

import (
	"context"
	"encoding/json"
	"math"
	"net/http"
	"time"
)

// MaxConfirm bounds how long an apply may wait for its confirmation.
const MaxConfirm = 30 * 24 * time.Hour

// readSpec reads a body that brings a specification. Few are read at once: they
// may be large.
func (r *request) readSpec(v any) error {
	select {
	case r.srv.specs <- struct{}{}:
		defer func() { <-r.srv.specs }()
	default:
		return &Error{Code: CodeBusy, Message: "cannot read the request: others bring specifications", Hint: "try again"}
	}
	body, err := r.bodyUpTo(r.srv.limits.MaxSpec)
	if err != nil {
		return err
	}
	return decodeJSON(body, v)
}

func checkFiles(what string, files []SpecFile) error {
	if len(files) == 0 {
		return badRequest(`send {"files":[{"name":"web.hcl","text":"…"}]}`, "cannot %s: there are no files", what)
	}
	return nil
}

func (s *Server) postPlan(r *request) error {
	var req PlanRequest
	if err := r.readSpec(&req); err != nil {
		return err
	}
	if err := checkFiles("plan", req.Files); err != nil {
		return err
	}
	p, err := s.cfg.Backend.Plan(r.Context(), req)
	if err != nil {
		return err
	}
	return r.sendJSON(p)
}

func (s *Server) postApply(r *request) error {
	var req ApplyRequest
	if err := r.readSpec(&req); err != nil {
		return err
	}
	if err := checkFiles("apply", req.Files); err != nil {
		return err
	}
	if c := req.ConfirmSeconds; math.IsNaN(c) || c < 0 || c > MaxConfirm.Seconds() {
		return badRequest("", "cannot apply: confirm_seconds is not between 0 and %.0f", MaxConfirm.Seconds())
	}
	by := peerFrom(r.Context()).Caller
	s.log.Info("apply", "uid", by.UID, "pid", by.PID)
	res, err := s.cfg.Backend.Apply(r.Context(), by, req)
	if err != nil {
		return err
	}
	return r.sendJSON(res)
}

func (s *Server) postConfirm(r *request) error {
	body, err := r.body()
	if err != nil {
		return err
	}
	if err := decodeJSON(body, &struct{}{}); err != nil {
		return err
	}
	by := peerFrom(r.Context()).Caller
	s.log.Info("confirm", "uid", by.UID, "pid", by.PID)
	res, err := s.cfg.Backend.Confirm(r.Context(), by)
	if err != nil {
		return err
	}
	return r.sendJSON(res)
}

// Plan says what Apply would do.
func (c *Client) Plan(ctx context.Context, r PlanRequest) (*Plan, error) {
	var p Plan
	return &p, c.post(ctx, "/v1/plan", r, &p)
}

// Apply makes another specification the one that runs, and waits as r says. If
// ctx ends first it goes on.
func (c *Client) Apply(ctx context.Context, r ApplyRequest) (Result, error) {
	var res Result
	err := c.post(ctx, "/v1/apply", r, &res)
	return res, err
}

// Confirm keeps what was applied to be confirmed.
func (c *Client) Confirm(ctx context.Context) (Result, error) {
	var res Result
	err := c.post(ctx, "/v1/confirm", struct{}{}, &res)
	return res, err
}

func (c *Client) post(ctx context.Context, path string, body, answer any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return &Error{Code: CodeInternal, Message: "cannot encode the request: " + err.Error()}
	}
	b, err = c.call(ctx, http.MethodPost, path, b)
	if err != nil {
		return err
	}
	return unmarshal(b, answer)
}
