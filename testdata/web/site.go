package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

// maxWork bounds /work, so that no request outlives -drain for long.
const maxWork = 30 * time.Second

// site is the pages and what they count.
type site struct {
	instance string
	started  time.Time
	served   atomic.Uint64
	log      *slog.Logger
}

// page is what / answers.
type page struct {
	Version  int     `json:"version"`
	Instance string  `json:"instance"`
	PID      int     `json:"pid"`
	Uptime   float64 `json:"uptime_seconds"`
	Served   uint64  `json:"served"` // requests so far, this one included
}

func newSite(instance string, log *slog.Logger) *site {
	return &site{instance: instance, started: time.Now(), log: log}
}

func (s *site) handler() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("GET /{$}", s.index)
	m.HandleFunc("GET /healthz", s.health)
	m.HandleFunc("GET /work", s.work)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.served.Add(1)
		begin := time.Now()
		m.ServeHTTP(w, r)
		s.log.Info("request", "method", r.Method, "path", r.URL.Path, "ms", time.Since(begin).Milliseconds())
	})
}

// index says who answers: that a restart happened can be seen from outside.
func (s *site) index(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	p := page{Version: version, Instance: s.instance, PID: os.Getpid(), Uptime: time.Since(s.started).Seconds(), Served: s.served.Load()}
	if err := json.NewEncoder(w).Encode(p); err != nil {
		s.log.Error("cannot answer", "path", r.URL.Path, "error", err)
	}
}

func (s *site) health(w http.ResponseWriter, r *http.Request) {
	if _, err := fmt.Fprintln(w, "ok"); err != nil {
		s.log.Error("cannot answer", "path", r.URL.Path, "error", err)
	}
}

// work takes ?for=DURATION: a request that is in flight when the service is
// told to stop.
func (s *site) work(w http.ResponseWriter, r *http.Request) {
	d, err := time.ParseDuration(r.URL.Query().Get("for"))
	if err != nil || d < 0 || d > maxWork {
		http.Error(w, fmt.Sprintf("cannot work: for must be a duration up to %s", maxWork), http.StatusBadRequest)
		return
	}
	select {
	case <-time.After(d):
	case <-r.Context().Done():
		return // the client has gone
	}
	if _, err := fmt.Fprintln(w, "done"); err != nil {
		s.log.Error("cannot answer", "path", r.URL.Path, "error", err)
	}
}
