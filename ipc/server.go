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
	"sync/atomic"
	"time"
)

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
	status *share[*answer] // what GET /v1/status says
	pace   *pacer
	held   atomic.Int64 // bytes of answers on their way to others than the owner
	told   refusals

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
		pace:  newPacer(l.ReaderPace, l.ReaderBurst),
		done:  make(chan struct{}),
	}
	s.status = newShare(s.buildStatus)
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
		limits:   s.limits,
		onError: func(err error) {
			if n := s.told.now(time.Now()); n > 0 {
				s.log.Warn("control connection refused", "error", err, "times", n)
			}
		},
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
	read    bool   // the body was read to its end, or there is none
}

// ServeHTTP finds the row, checks access, and turns errors into answers.
func (s *Server) ServeHTTP(w http.ResponseWriter, hr *http.Request) {
	r := &request{Request: hr, w: w, rc: http.NewResponseController(w), srv: s, read: hr.ContentLength == 0}
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
		r.fail(bugError())
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
	if p.access < accessWrite {
		if err := s.pace.wait(r.Context(), s.done, p.UID); err != nil {
			return err
		}
	}
	row, arg, allow := find(s.table, r.Method, r.URL.EscapedPath())
	if row == nil {
		return r.notFound(allow)
	}
	if row.access == accessNone || p.access < row.access {
		if n := s.told.now(time.Now()); n > 0 {
			s.log.Info("control request refused", "uid", p.UID, "pid", p.PID, "path", clip(r.URL.Path), "times", n)
		}
		return forbiddenError()
	}
	if r.Method == http.MethodGet && r.ContentLength != 0 {
		return badRequest("send none", "cannot read the request: GET takes no body")
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

func bugError() *Error {
	return &Error{Code: CodeInternal, Message: "cannot answer: a bug in the supervisor", Hint: "see its log"}
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
	r.read = true
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
	if !r.read {
		// net/http would read the rest of the body first, for as long as the
		// caller likes to send it.
		r.w.Header().Set("Connection", "close")
		// It fails only when the connection is gone.
		_ = r.rc.SetReadDeadline(time.Unix(1, 0))
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
