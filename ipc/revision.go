package ipc

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// Revision is one entry of GET /v1/services/NAME/history: `nines history --json`.
// States: candidate, current, previous, good, bad, superseded.
type Revision struct {
	Revision  int       `json:"revision"`
	State     string    `json:"state"`
	CreatedAt time.Time `json:"created_at"`
	By        string    `json:"by"`     // "uid 0", "watch"; "": the specification at the start
	Digest    string    `json:"digest"` // of what its processes run with
	Change    string    `json:"change"` // what differs from the one before: names, no values
	Reason    string    `json:"reason"` // why it was left

	// Rollback: it is what a rollback goes back to, and a revert.
	Rollback bool `json:"rollback,omitempty"`
	// Data is the copy of its data that was taken when it was left; nil: there is none.
	Data *RevisionData `json:"data,omitempty"`
}

// RevisionData is the copy of the data of a revision.
type RevisionData struct {
	Snapshot  string    `json:"snapshot"`
	TakenAt   time.Time `json:"taken_at"`
	SizeBytes int64     `json:"size_bytes"`
	Restored  bool      `json:"restored"` // going back to it puts them back, and moves what is there aside
}

// DeployRequest is the body of POST /v1/services/NAME/deploy.
type DeployRequest struct {
	Path   string `json:"path"` // absolute, as the supervisor sees it
	Force  bool   `json:"force,omitempty"`
	NoWait bool   `json:"no_wait,omitempty"`
}

// RollbackRequest is the body of POST /v1/services/NAME/rollback.
type RollbackRequest struct {
	Revision int  `json:"revision,omitempty"` // 0: the newest good one, or the one before
	NoWait   bool `json:"no_wait,omitempty"`
}

// Reviser is the part of a Backend that knows of revisions.
type Reviser interface {
	// History is the revisions of a service, the newest first.
	History(ctx context.Context, service string) ([]Revision, error)
	// Deploy and Rollback return when all of the service runs the revision, or it was
	// reverted (CodeFailed).
	Deploy(ctx context.Context, by Caller, service string, r DeployRequest) (Result, error)
	Rollback(ctx context.Context, by Caller, service string, r RollbackRequest) (Result, error)
}

func (s *Server) getHistory(r *request) error {
	list, err := s.cfg.Backend.History(r.Context(), r.arg)
	if err != nil {
		return err
	}
	if list == nil {
		list = []Revision{}
	}
	return r.sendJSON(list)
}

func (s *Server) postDeploy(r *request) error {
	body, err := r.body()
	if err != nil {
		return err
	}
	var req DeployRequest
	if err := decodeJSON(body, &req); err != nil {
		return err
	}
	if len(req.Path) < 2 || req.Path[0] != '/' {
		return badRequest(`send {"path":"/…"}`, "cannot deploy: no absolute path")
	}
	by := peerFrom(r.Context()).Caller
	s.log.Info("deploy", "service", clip(r.arg), "path", clip(req.Path), "uid", by.UID, "pid", by.PID)
	res, err := s.cfg.Backend.Deploy(r.Context(), by, r.arg, req)
	if err != nil {
		return err
	}
	return r.sendJSON(res)
}

func (s *Server) postRollback(r *request) error {
	body, err := r.body()
	if err != nil {
		return err
	}
	var req RollbackRequest
	if err := decodeJSON(body, &req); err != nil {
		return err
	}
	if req.Revision < 0 {
		return badRequest("revisions count from 1", "cannot roll back to revision %d", req.Revision)
	}
	by := peerFrom(r.Context()).Caller
	s.log.Info("rollback", "service", clip(r.arg), "revision", req.Revision, "uid", by.UID, "pid", by.PID)
	res, err := s.cfg.Backend.Rollback(r.Context(), by, r.arg, req)
	if err != nil {
		return err
	}
	return r.sendJSON(res)
}

// History returns the revisions of a service, the newest first.
func (c *Client) History(ctx context.Context, service string) ([]Revision, error) {
	b, err := c.call(ctx, http.MethodGet, servicePath(service)+"/history", nil)
	if err != nil {
		return nil, err
	}
	var list []Revision
	return list, unmarshal(b, &list)
}

// Deploy makes what is at a path a new revision of a service, and waits as r says.
func (c *Client) Deploy(ctx context.Context, service string, r DeployRequest) (Result, error) {
	return c.revise(ctx, service, "deploy", r)
}

// Rollback brings an earlier revision of a service back, and waits as r says.
func (c *Client) Rollback(ctx context.Context, service string, r RollbackRequest) (Result, error) {
	return c.revise(ctx, service, "rollback", r)
}

func (c *Client) revise(ctx context.Context, service, verb string, r any) (Result, error) {
	var res Result
	body, err := json.Marshal(r)
	if err != nil {
		return res, fmt.Errorf("cannot encode the request: %w", err)
	}
	b, err := c.call(ctx, http.MethodPost, servicePath(service)+"/"+verb, body)
	if err != nil {
		return res, err
	}
	return res, unmarshal(b, &res)
}
