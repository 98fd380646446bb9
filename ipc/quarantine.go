package ipc

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// What POST /v1/quarantine/ID/VERB is asked for. The ID is one segment of the path:
// "web%2F0.17".
const (
	VerbInspect = "inspect"
	VerbKill    = "kill"
	VerbResume  = "resume"
	VerbCore    = "core"
)

// Core is a core as it is about to be sent.
type Core interface {
	io.WriterTo
	io.Closer
	Length() int64 // in bytes, of what WriteTo writes
}

// Quarantined lists the instances in quarantine, service by service.
func (c *Client) Quarantined(ctx context.Context) ([]Quarantined, error) {
	b, err := c.QuarantinedJSON(ctx)
	if err != nil {
		return nil, err
	}
	var list []Quarantined
	return list, unmarshal(b, &list)
}

// QuarantinedJSON is the same as the document it travels as.
func (c *Client) QuarantinedJSON(ctx context.Context) ([]byte, error) {
	return c.call(ctx, http.MethodGet, "/v1/quarantine", nil)
}

// Quarantine carries out VerbKill or VerbResume.
func (c *Client) Quarantine(ctx context.Context, id, verb string) (Result, error) {
	var res Result
	b, err := c.call(ctx, http.MethodPost, quarantinePath(id, verb), []byte("{}"))
	if err != nil {
		return res, err
	}
	return res, unmarshal(b, &res)
}

// InspectJSON is the evidence of one in quarantine, as Backend.Inspect makes it.
func (c *Client) InspectJSON(ctx context.Context, id string) ([]byte, error) {
	return c.call(ctx, http.MethodPost, quarantinePath(id, VerbInspect), []byte("{}"))
}

// Core writes the core of the main process of one in quarantine to w, and returns
// how long it is. It holds all that the process has in its memory.
func (c *Client) Core(ctx context.Context, id string, w io.Writer) (int64, error) {
	x, err := c.begin(ctx, http.MethodPost, quarantinePath(id, VerbCore), []byte("{}"))
	if err != nil {
		return 0, err
	}
	defer x.close()
	r := &brokenReader{r: x.resp.Body}
	n, err := io.Copy(w, r)
	switch {
	case r.err != nil:
		return n, x.broken(r.err)
	case err != nil:
		return n, err // w's
	case n != x.resp.ContentLength:
		return n, x.broken(io.ErrUnexpectedEOF)
	}
	return n, nil
}

// brokenReader tells an error of reading from one of writing.
type brokenReader struct {
	r   io.Reader
	err error
}

func (b *brokenReader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
}

func quarantinePath(id, verb string) string {
	return "/v1/quarantine/" + url.PathEscape(id) + "/" + verb
}

func (s *Server) getQuarantine(r *request) error {
	a, err := s.state(r.Context())
	if err != nil {
		return err
	}
	list := []Quarantined{}
	for i := range a.Services {
		list = append(list, a.Services[i].Quarantine...)
	}
	return r.sendJSON(list)
}

// quarantine returns the handler of one verb about one in quarantine.
func quarantine(verb string) func(*Server, *request) error {
	return func(s *Server, r *request) error {
		body, err := r.body()
		if err != nil {
			return err
		}
		if err := decodeJSON(body, &struct{}{}); err != nil {
			return err
		}
		by := peerFrom(r.Context()).Caller
		s.log.Info("quarantine", "verb", verb, "id", clip(r.arg), "uid", by.UID, "pid", by.PID)
		switch verb {
		case VerbInspect:
			doc, err := s.cfg.Backend.Inspect(r.Context(), r.arg)
			if err != nil {
				return err
			}
			return r.answer(append(doc, '\n'))
		case VerbCore:
			core, err := s.cfg.Backend.Core(r.Context(), r.arg)
			if err != nil {
				return err
			}
			return r.sendCore(core)
		}
		res, err := s.cfg.Backend.Quarantine(r.Context(), by, r.arg, verb)
		if err != nil {
			return err
		}
		return r.sendJSON(res)
	}
}

// sendCore sends a core; a reader that does not read is dropped. It says its
// length before, so that one that broke off is not taken for a whole one.
func (r *request) sendCore(core Core) error {
	defer func() { _ = core.Close() }() // read only: nothing is lost
	r.started = true
	h := r.w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Length", fmt.Sprint(core.Length()))
	r.w.WriteHeader(http.StatusOK)
	_, err := core.WriteTo(&boundedWriter{r})
	return err
}

// boundedWriter gives each write of an answer its time.
type boundedWriter struct{ r *request }

func (w *boundedWriter) Write(p []byte) (int, error) {
	if err := w.r.rc.SetWriteDeadline(time.Now().Add(w.r.srv.limits.WriteTimeout)); err != nil {
		return 0, err
	}
	return w.r.w.Write(p)
}

// Quarantiner is the part of a Backend that is about the quarantine.
type Quarantiner interface {
	// Quarantine carries out VerbKill or VerbResume, and waits until it is done.
	Quarantine(ctx context.Context, by Caller, id, verb string) (Result, error)
	// Inspect is the evidence: an object with what Quarantined has, and "processes",
	// "cgroup", "log" and "notes".
	Inspect(ctx context.Context, id string) (json.RawMessage, error)
	// Core is the core of the main process; the caller closes it.
	Core(ctx context.Context, id string) (Core, error)
}
