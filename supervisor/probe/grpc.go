package probe

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// GRPC asks grpc.health.v1.Health/Check over HTTP/2 without TLS, and passes when
// the answer is SERVING.
//
// The two messages of that call are written and read here (a string, an enum):
// a gRPC library would be a third of the program for them. net/http speaks the
// HTTP/2.
type GRPC struct {
	c       *Client
	address string
	service string
	url     url.URL
	request []byte
}

// GRPC makes a probe of the health service at "HOST:PORT", asked about that
// service of it ("": the server as a whole).
func (c *Client) GRPC(address, service string) *GRPC {
	message := []byte(nil)
	if service != "" {
		message = append(binary.AppendUvarint(append(message, fieldService), uint64(len(service))), service...)
	}
	request := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))) // 0: not compressed
	return &GRPC{
		c: c, address: address, service: service,
		url:     url.URL{Scheme: "http", Host: address, Path: "/grpc.health.v1.Health/Check"},
		request: append(request, message...),
	}
}

// Tags of the fields: number 1 of either message, a string (wire type 2) and an
// enum (wire type 0).
const (
	fieldService = 1<<3 | 2
	fieldStatus  = 1 << 3
)

// newTransport speaks HTTP/2 at once, without TLS or asking first. It is used
// for single connections, so that it keeps none.
func (c *Client) newTransport() *http.Transport {
	t := &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := c.dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			if end, ok := ctx.Deadline(); ok {
				if err := conn.SetDeadline(end); err != nil {
					conn.Close()
					return nil, err
				}
			}
			return conn, nil
		},
		MaxResponseHeaderBytes: MaxHead,
		HTTP2:                  &http.HTTP2Config{MaxReceiveBufferPerConnection: 64 << 10, MaxReceiveBufferPerStream: 64 << 10},
		Protocols:              new(http.Protocols),
	}
	t.Protocols.SetUnencryptedHTTP2(true)
	return t
}

// Probe makes one attempt.
func (g *GRPC) Probe(ctx context.Context) Result {
	start := time.Now()
	err := g.attempt(ctx, start)
	r := Result{Took: time.Since(start)}
	if err != nil {
		r.Err = err
	}
	return r
}

func (g *GRPC) attempt(ctx context.Context, start time.Time) *Error {
	conn, err := g.c.transport.NewClientConn(ctx, "http", g.address)
	if err != nil {
		return failed(ctx, start, "connect to "+g.address, err)
	}
	// Its error could only say that the other side has gone.
	defer func() { _ = conn.Close() }()
	request := &http.Request{
		Method: http.MethodPost, URL: &g.url, Proto: "HTTP/2.0", ProtoMajor: 2,
		Header:        http.Header{"Content-Type": {"application/grpc+proto"}, "Te": {"trailers"}, "User-Agent": {"nines"}},
		Body:          io.NopCloser(bytes.NewReader(g.request)),
		ContentLength: int64(len(g.request)),
	}
	if end, ok := ctx.Deadline(); ok {
		request.Header["Grpc-Timeout"] = []string{strconv.FormatInt(min(max(time.Until(end).Milliseconds(), 1), 99999999), 10) + "m"}
	}
	resp, err := conn.RoundTrip(request.WithContext(ctx))
	if err != nil {
		return failed(ctx, start, "get an answer from "+g.address, err)
	}
	defer resp.Body.Close()
	body, err := readBody(resp.Body, nil, maxHealth)
	if err != nil {
		return failed(ctx, start, "read the whole answer of "+g.address, err)
	}
	wrong, cause := g.judge(resp, body)
	if wrong == "" {
		return nil
	}
	return &Error{Cause: cause, Text: g.address + " " + wrong}
}

// maxHealth is more than an answer with one number needs.
const maxHealth = 1 << 10

// judge says what is wrong with an answer, or "".
func (g *GRPC) judge(resp *http.Response, body []byte) (wrong string, _ Cause) {
	if resp.StatusCode != http.StatusOK {
		return strings.TrimSpace("answered HTTP status "+strconv.Itoa(resp.StatusCode)+" "+http.StatusText(resp.StatusCode)) + ": it is no gRPC server", Broken
	}
	// In an answer without a message it stands in the headers.
	code := resp.Trailer.Get("Grpc-Status")
	message := resp.Trailer.Get("Grpc-Message")
	if code == "" {
		code, message = resp.Header.Get("Grpc-Status"), resp.Header.Get("Grpc-Message")
	}
	switch code {
	case "0":
	case "":
		return "answered without a gRPC status: it is no gRPC server", Broken
	case "5":
		return "does not know the service " + strconv.Quote(g.service) + " (NOT_FOUND)", Wrong
	case "12":
		return "has no health service grpc.health.v1.Health (UNIMPLEMENTED)", Wrong
	default:
		wrong = "answered with gRPC status " + statusName(code)
		if message, err := url.PathUnescape(message); err == nil && message != "" {
			wrong += ": " + excerpt([]byte(message))
		}
		return wrong, Wrong
	}
	status, err := healthStatus(body)
	if err != nil {
		return "answered with what cannot be read: " + err.Error(), Broken
	}
	switch status {
	case 1:
		return "", ""
	case 0:
		wrong = "UNKNOWN"
	case 2:
		wrong = "NOT_SERVING"
	case 3:
		wrong = "SERVICE_UNKNOWN"
	default:
		wrong = strconv.FormatUint(status, 10)
	}
	wrong = "says " + wrong
	if g.service != "" {
		wrong += " of " + strconv.Quote(g.service)
	}
	return wrong + ", not SERVING", Wrong
}

// statusName is the name of a gRPC status code.
func statusName(code string) string {
	names := [...]string{"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
		"RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"}
	if n, err := strconv.Atoi(code); err == nil && n >= 0 && n < len(names) {
		return names[n]
	}
	return strconv.Quote(code)
}

// healthStatus is the status in a framed HealthCheckResponse; what else is in the
// message is passed over.
func healthStatus(frame []byte) (status uint64, _ error) {
	if len(frame) < 5 {
		return 0, errors.New("its message is cut")
	}
	if frame[0] != 0 {
		return 0, errors.New("its message is compressed, which was not asked for")
	}
	n := binary.BigEndian.Uint32(frame[1:])
	b := frame[5:]
	if uint64(n) != uint64(len(b)) {
		return 0, fmt.Errorf("its message is of %d bytes, not the %d that it says", len(b), n)
	}
	for len(b) > 0 {
		tag, used := binary.Uvarint(b)
		if used <= 0 {
			return 0, errNotProto
		}
		b = b[used:]
		switch tag & 7 {
		case 0:
			v, used := binary.Uvarint(b)
			if used <= 0 {
				return 0, errNotProto
			}
			if tag == fieldStatus {
				status = v
			}
			b = b[used:]
		case 1, 5:
			size := 8
			if tag&7 == 5 {
				size = 4
			}
			if len(b) < size {
				return 0, errNotProto
			}
			b = b[size:]
		case 2:
			size, used := binary.Uvarint(b)
			if used <= 0 || size > uint64(len(b)-used) {
				return 0, errNotProto
			}
			b = b[used+int(size):]
		default:
			return 0, errNotProto
		}
	}
	return status, nil
}

var errNotProto = errors.New("its message is not in protobuf form")
