package ipc

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// UpgradeRequest is the body of POST /v1/upgrade: another program in place of
// the running supervisor or keeper. Root and the supervisor's own user alone may
// ask for it: it runs with its rights.
type UpgradeRequest struct {
	Path        string `json:"path"` // absolute: the program, or a folder that it is in
	Keeper      bool   `json:"keeper,omitempty"`
	TimeoutMS   int64  `json:"timeout_ms,omitempty"`   // to become ready; 0: 30 s
	ProbationMS *int64 `json:"probation_ms,omitempty"` // to stay so; nil: 10 s
}

// Upgrade is how the last upgrade stands: GET /v1/upgrade, with ?wait=1 not
// before it is decided. States: asked, trying, done, reverted; "": there was none.
type Upgrade struct {
	ID    uint64 `json:"id"`   // grows by one with each
	What  string `json:"what"` // supervisor, keeper
	State string `json:"state"`
	From  string `json:"from"` // version
	Path  string `json:"path"`
	Why   string `json:"why"`
}

// Times returns what the request says, or what it defaults to.
func (r *UpgradeRequest) Times() (timeout, probation time.Duration) {
	timeout, probation = 30*time.Second, 10*time.Second
	if r.TimeoutMS != 0 {
		timeout = time.Duration(r.TimeoutMS) * time.Millisecond
	}
	if r.ProbationMS != nil {
		probation = time.Duration(*r.ProbationMS) * time.Millisecond
	}
	return timeout, probation
}

func (s *Server) postUpgrade(r *request) error {
	by := peerFrom(r.Context())
	if !by.owner {
		return &Error{Code: CodeForbidden, Message: "cannot upgrade: not permitted", Hint: "only root and the supervisor's own user may replace its program"}
	}
	body, err := r.body()
	if err != nil {
		return err
	}
	var req UpgradeRequest
	if err := decodeJSON(body, &req); err != nil {
		return err
	}
	const most = int64(time.Hour / time.Millisecond)
	if req.Path == "" || req.TimeoutMS < 0 || req.TimeoutMS > most || req.ProbationMS != nil && (*req.ProbationMS < 0 || *req.ProbationMS > most) {
		return badRequest(`send {"path":"/…"}; times are from 0 to an hour`, "cannot upgrade: no path, or a time out of bounds")
	}
	s.log.Info("upgrade", "path", clip(req.Path), "keeper", req.Keeper, "uid", by.UID, "pid", by.PID)
	u, err := s.cfg.Backend.Upgrade(r.Context(), req)
	if err != nil {
		return err
	}
	return r.sendJSON(u)
}

func (s *Server) getUpgrade(r *request) error {
	p := parseParams(r.URL.RawQuery, "wait")
	wait := p.bool("wait")
	if p.err != nil {
		return p.err
	}
	u, err := s.cfg.Backend.UpgradeState(r.Context(), wait)
	if err != nil {
		return err
	}
	return r.sendJSON(u)
}

// Upgrade asks for another program, and returns when it is being tried.
func (c *Client) Upgrade(ctx context.Context, r UpgradeRequest) (Upgrade, error) {
	var u Upgrade
	body, err := json.Marshal(r)
	if err != nil {
		return u, fmt.Errorf("cannot encode the request: %w", err)
	}
	b, err := c.call(ctx, http.MethodPost, "/v1/upgrade", body)
	if err != nil {
		return u, err
	}
	return u, unmarshal(b, &u)
}

// UpgradeState returns how the last upgrade stands, if wait not before it is
// decided. The supervisor that is asked may make way meanwhile (*ErrLost).
func (c *Client) UpgradeState(ctx context.Context, wait bool) (Upgrade, error) {
	var u Upgrade
	path := "/v1/upgrade"
	if wait {
		path += "?wait=1"
	}
	b, err := c.call(ctx, http.MethodGet, path, nil)
	if err != nil {
		return u, err
	}
	return u, unmarshal(b, &u)
}
