package ipc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"time"
)

// Limits bound what callers can take. A zero field is its default.
type Limits struct {
	MaxConns      int           // connections at once: 256
	MaxOtherConns int           // of these, by others than root and our own user: a quarter
	MaxWaits      int           // requests that wait or stream, at once: half of MaxConns
	MaxHeader     int           // bytes of a request's header: 64 KiB
	MaxBody       int64         // bytes of a request's body: 64 KiB
	MaxSpec       int64         // … of one that brings a specification: 16 MiB
	MaxSpecs      int           // such requests that are read at once: 2
	ReadTimeout   time.Duration // for a request's header, and then for its body: 5 s
	IdleTimeout   time.Duration // between requests of one connection: 15 s
	WriteTimeout  time.Duration // for an answer, or for one write of a stream: 10 s
}

func (l Limits) withDefaults() Limits {
	def(&l.MaxConns, 256)
	def(&l.MaxOtherConns, max(1, l.MaxConns/4))
	def(&l.MaxWaits, max(1, l.MaxConns/2))
	def(&l.MaxHeader, 64<<10)
	def(&l.MaxBody, 64<<10)
	def(&l.MaxSpec, 16<<20)
	def(&l.MaxSpecs, 2)
	def(&l.ReadTimeout, 5*time.Second)
	def(&l.IdleTimeout, 15*time.Second)
	def(&l.WriteTimeout, 10*time.Second)
	return l
}

func def[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// ServerConfig is what a Server needs.
type ServerConfig struct {
	Backend Backend
	Path    string // of the socket, for messages
	Mode    uint32 // of the socket: others may read if they have the read bit
	Group   string // control.group: its members may do all; "" = no group
	UID     uint32 // our own user: may do all
	Log     *slog.Logger
	Limits  Limits

	// credentials replaces SO_PEERCRED in tests.
	credentials func(net.Conn) (*credentials, error)
}

// Server answers the control API on a listener made by Listen.
type Server struct {
	cfg    ServerConfig
	limits Limits
	table  []route
	log    *slog.Logger
	waits  chan struct{}
	specs  chan struct{}
	http   *http.Server

	done     chan struct{} // closed when Shutdown begins
	doneOnce sync.Once
}

// NewServer makes a Server. A control group that does not exist lets nobody in
// and is logged: a wrong group must not keep the supervisor from being
// controlled by root.
func NewServer(cfg ServerConfig) *Server {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.credentials == nil {
		cfg.credentials = readCredentials
	}
	l := cfg.Limits.withDefaults()
	s := &Server{
		cfg: cfg, limits: l, table: routes(), log: cfg.Log,
		waits: make(chan struct{}, l.MaxWaits),
		specs: make(chan struct{}, l.MaxSpecs),
		done:  make(chan struct{}),
	}
	s.http = &http.Server{
		Handler:           s,
		ReadHeaderTimeout: l.ReadTimeout, // not ReadTimeout: that would also end a request that waits
		IdleTimeout:       l.IdleTimeout,
		MaxHeaderBytes:    l.MaxHeader,
		ErrorLog:          slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if pc, ok := c.(*peerConn); ok {
				return withPeer(ctx, pc.peer)
			}
			return ctx
		},
	}
	return s
}

// Serve answers until Shutdown; it then returns nil.
func (s *Server) Serve(l net.Listener) error {
	g := &gate{
		Listener: l,
		policy:   s.accessPolicy(),
		creds:    s.cfg.credentials,
		max:      int64(s.limits.MaxConns),
		maxOther: int64(s.limits.MaxOtherConns),
		onError:  func(err error) { s.log.Warn("control connection refused", "error", err) },
	}
	err := s.http.Serve(g)
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("cannot serve the control socket %s: %w", s.cfg.Path, err)
}

func (s *Server) accessPolicy() accessPolicy {
	a := accessPolicy{uid: s.cfg.UID, mode: s.cfg.Mode, gid: uint32(os.Getegid())}
	if s.cfg.Group == "" {
		return a
	}
	gid, err := lookupGroup(s.cfg.Group)
	if err != nil {
		s.log.Error("control.group gives no access", "error", err)
		return a
	}
	a.group, a.gid, a.hasGroup = gid, gid, true
	return a
}

// Shutdown stops accepting, ends streams, waits for the answers under way
// until ctx ends, and then closes what is left.
func (s *Server) Shutdown(ctx context.Context) error {
	s.doneOnce.Do(func() { close(s.done) })
	if err := s.http.Shutdown(ctx); err != nil {
		return errors.Join(err, s.http.Close())
	}
	return nil
}

// request is one request on its way through a handler.
type request struct {
	*http.Request
	w       http.ResponseWriter
	rc      *http.ResponseController
	srv     *Server
	arg     string // what {} stood for
	started bool   // the answer's header has left (or will: no error can)
}

// ServeHTTP finds the row, checks access, and turns errors into answers.
func (s *Server) ServeHTTP(w http.ResponseWriter, hr *http.Request) {
	r := &request{Request: hr, w: w, rc: http.NewResponseController(w), srv: s}
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			panic(v) // net/http's own way to drop the connection
		}
		s.log.Error("panic in a control request", "path", clip(hr.URL.Path), "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		if r.started {
			panic(http.ErrAbortHandler)
		}
		r.fail(&Error{Code: CodeInternal, Message: "cannot answer: a bug in the supervisor", Hint: "see its log"})
	}()
	if err := s.serve(r); err != nil {
		if r.started {
			panic(http.ErrAbortHandler)
		}
		r.fail(asError(err))
	}
}

func (s *Server) serve(r *request) error {
	p := peerFrom(r.Context())
	if p.access == accessNone { // the gate let nobody through without access; this is the second lock
		return forbiddenError()
	}
	row, arg, allow := find(s.table, r.Method, r.URL.EscapedPath())
	if row == nil {
		return r.notFound(allow)
	}
	if row.access == accessNone || p.access < row.access {
		s.log.Info("control request refused", "uid", p.UID, "pid", p.PID, "path", clip(r.URL.Path))
		return forbiddenError()
	}
	if row.waits {
		select {
		case s.waits <- struct{}{}:
			defer func() { <-s.waits }()
		default:
			return &Error{Code: CodeBusy, Message: "cannot wait: too many requests are waiting", Hint: "try again, or send no_wait"}
		}
	}
	r.arg = arg
	return row.handle(s, r)
}

// notFound answers a path that is not in the table, or not with this method.
func (r *request) notFound(allow []string) error {
	if len(allow) == 0 {
		return &Error{Code: CodeNotFound, Message: "cannot find " + clip(r.URL.Path), Hint: "see GET /v1/status"}
	}
	methods := strings.Join(allow, ", ")
	r.w.Header().Set("Allow", methods)
	return &Error{Code: CodeMethod, Message: "cannot " + clip(r.Method) + " " + clip(r.URL.Path), Hint: "use " + methods}
}

// body reads the whole body within its limits.
func (r *request) body() ([]byte, error) { return r.bodyUpTo(r.srv.limits.MaxBody) }

func (r *request) bodyUpTo(most int64) ([]byte, error) {
	l := r.srv.limits
	if r.ContentLength > most {
		return nil, tooLarge(most)
	}
	if err := r.rc.SetReadDeadline(time.Now().Add(l.ReadTimeout)); err != nil {
		return nil, fmt.Errorf("cannot bound the read: %w", err)
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, most+1))
	if err != nil {
		// Half a request: what follows on this connection cannot be trusted.
		r.w.Header().Set("Connection", "close")
		return nil, badRequest("", "cannot read the request's body: %v", err)
	}
	if int64(len(b)) > most {
		return nil, tooLarge(most)
	}
	// Else the deadline would end the request while it waits.
	if err := r.rc.SetReadDeadline(time.Time{}); err != nil {
		return nil, fmt.Errorf("cannot lift the bound of the read: %w", err)
	}
	return b, nil
}

func tooLarge(most int64) *Error {
	return &Error{Code: CodeTooLarge, Message: fmt.Sprintf("cannot read the request: its body is larger than %d bytes", most)}
}

// fail answers with an error.
func (r *request) fail(e *Error) {
	if e.Code == CodeTooLarge {
		r.w.Header().Set("Connection", "close") // rather than read the rest
	}
	r.send(e.Code.HTTPStatus(), errorJSON(e))
}

// send writes a whole answer.
func (r *request) send(status int, body []byte) {
	r.started = true
	h := r.w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", fmt.Sprint(len(body)))
	// Both fail only when the connection is gone: nobody is left to tell.
	_ = r.rc.SetWriteDeadline(time.Now().Add(r.srv.limits.WriteTimeout))
	r.w.WriteHeader(status)
	_, _ = r.w.Write(body)
}
