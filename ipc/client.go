package ipc

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// dialPatience is how long a full backlog (EAGAIN) is waited for: the
	// supervisor is there and accepts, but many are before us.
	dialPatience = 3 * time.Second
	dialPause    = 5 * time.Millisecond
	// maxAnswer bounds what the client reads as one answer.
	maxAnswer = 256 << 20
)

// Client talks to a supervisor. It holds no connection: each call makes one.
// (http.Transport would pool them, with two goroutines each, and would lose
// the answer of a server that turns a connection away unread.) Its errors are
// *Error, *ErrNoSupervisor, *ErrLost, or ctx's.
type Client struct {
	socket string
}

// NewClient returns a client of the supervisor at a socket. It does not
// connect.
func NewClient(socket string) *Client { return &Client{socket: socket} }

// Socket is the path that the client connects to.
func (c *Client) Socket() string { return c.socket }

// Status returns everything.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	b, err := c.StatusJSON(ctx)
	if err != nil {
		return nil, err
	}
	st, err := decodeStatus(b)
	return st, misunderstood(err)
}

// StatusJSON returns everything, as the document it travels as.
func (c *Client) StatusJSON(ctx context.Context) ([]byte, error) {
	return c.call(ctx, http.MethodGet, "/v1/status", nil)
}

// Service returns one service.
func (c *Client) Service(ctx context.Context, name string) (*Service, error) {
	b, err := c.ServiceJSON(ctx, name)
	if err != nil {
		return nil, err
	}
	svc, err := decodeService(b)
	return svc, misunderstood(err)
}

// ServiceJSON returns one service, as the document it travels as.
func (c *Client) ServiceJSON(ctx context.Context, name string) ([]byte, error) {
	return c.call(ctx, http.MethodGet, servicePath(name), nil)
}

// Incidents returns those of a service, the oldest first; also of one that there
// is no more.
func (c *Client) Incidents(ctx context.Context, service string) ([]Incident, error) {
	b, err := c.call(ctx, http.MethodGet, servicePath(service)+"/incidents", nil)
	if err != nil {
		return nil, err
	}
	var a incidentsAnswer
	err = unmarshal(b, &a)
	return a.Incidents, err
}

// Do carries out verb (VerbStart, …) and returns when it is done, or with
// NoWait when it was accepted. If ctx ends first it goes on.
func (c *Client) Do(ctx context.Context, service, verb string, cmd Command) (Result, error) {
	var res Result
	body, err := json.Marshal(encodeCommand(verb, cmd))
	if err != nil {
		return res, fmt.Errorf("cannot encode the request: %w", err)
	}
	b, err := c.call(ctx, http.MethodPost, servicePath(service)+"/"+url.PathEscape(verb), body)
	if err != nil {
		return res, err
	}
	return res, unmarshal(b, &res)
}

func servicePath(name string) string { return "/v1/services/" + url.PathEscape(name) }

// call makes one request and returns the body of its answer.
func (c *Client) call(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	x, err := c.begin(ctx, method, path, body)
	if err != nil {
		return nil, err
	}
	defer x.close()
	b, err := readAnswer(x.resp)
	if err != nil {
		return nil, x.broken(err)
	}
	return b, nil
}

// exchange is one request under way on a connection of its own.
type exchange struct {
	ctx  context.Context
	conn net.Conn
	stop func() bool
	resp *http.Response
}

func (x *exchange) close() {
	x.stop()
	_ = x.conn.Close() // everything that was wanted of it has been read
}

// broken says why reading failed: ctx ended, or the connection broke.
func (x *exchange) broken(err error) error {
	if cerr := x.ctx.Err(); cerr != nil {
		return cerr
	}
	return &ErrLost{Err: err}
}

// begin sends a request and reads the head of its answer. An answer that is an
// error is returned as *Error.
func (c *Client) begin(ctx context.Context, method, path string, body []byte) (*exchange, error) {
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	x := &exchange{ctx: ctx, conn: conn}
	// A deadline in the past wakes reads and writes under way.
	x.stop = context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	// A server that turns us away answers and closes without reading, so that
	// our write may fail although there is an answer.
	_, werr := conn.Write(requestBytes(method, path, body))
	resp, err := http.ReadResponse(bufio.NewReaderSize(conn, 64<<10), nil)
	if err != nil {
		defer x.close()
		return nil, x.broken(errors.Join(werr, err))
	}
	x.resp = resp
	if resp.StatusCode/100 == 2 {
		return x, nil
	}
	defer x.close()
	b, err := readAnswer(resp)
	if err != nil {
		return nil, x.broken(err)
	}
	var eb errorBody
	if err := json.Unmarshal(b, &eb); err != nil || eb.Error == nil {
		return nil, &Error{Code: CodeInternal, Message: fmt.Sprintf("cannot understand the answer: %s %s", resp.Status, clip(strings.TrimSpace(string(b))))}
	}
	return nil, eb.Error
}

func requestBytes(method, path string, body []byte) []byte {
	b := fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: nines\r\nConnection: close\r\n", method, path)
	if body != nil {
		b = fmt.Appendf(b, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	}
	return append(append(b, "\r\n"...), body...)
}

func readAnswer(resp *http.Response) ([]byte, error) {
	if n := resp.ContentLength; n > maxAnswer {
		return nil, fmt.Errorf("cannot read an answer of %d bytes", n)
	} else if n >= 0 {
		b := make([]byte, n)
		_, err := io.ReadFull(resp.Body, b)
		return b, err
	}
	return io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
}

// dial connects, waiting a little where the supervisor is there but behind.
func (c *Client) dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	end := time.Now().Add(dialPatience)
	for {
		conn, err := d.DialContext(ctx, "unix", c.socket)
		if err == nil {
			return conn, nil
		}
		if cerr := ctx.Err(); cerr != nil {
			return nil, cerr
		}
		switch {
		case errors.Is(err, unix.EAGAIN):
			if time.Now().After(end) {
				return nil, &Error{Code: CodeBusy, Message: "cannot connect to the supervisor: too many others do", Hint: "try again"}
			}
			select {
			case <-time.After(dialPause):
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		case errors.Is(err, os.ErrPermission):
			e := forbiddenError()
			e.Message = fmt.Sprintf("cannot open %s: not permitted", c.socket)
			return nil, e
		default:
			return nil, &ErrNoSupervisor{Socket: c.socket, Err: err, Stale: errors.Is(err, unix.ECONNREFUSED)}
		}
	}
}

func unmarshal(b []byte, v any) error { return misunderstood(json.Unmarshal(b, v)) }

// misunderstood is the error for an answer that is not what it should be.
func misunderstood(err error) error {
	if err == nil {
		return nil
	}
	return &Error{Code: CodeInternal, Message: "cannot understand the answer: " + err.Error()}
}
