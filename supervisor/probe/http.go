package probe

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"nines/spec"
)

// HTTPRule is an http block, as all instances of a service share it.
type HTTPRule struct {
	c       *Client
	block   spec.CheckHTTP
	request http.Request   // says to what an answer belongs: the method
	headers string         // as they are sent, but for Host and Authorization
	host    string         // Host, if the block gives it
	auth    bool           // the block gives Authorization
	match   *regexp.Regexp // nil: any body
	roots   roots
}

// HTTPRule makes what the probes of one http block share. The error is for a
// block that spec/load would have refused.
func (c *Client) HTTPRule(block *spec.CheckHTTP) (*HTTPRule, error) {
	r := &HTTPRule{c: c, block: *block, request: http.Request{Method: block.Method}, roots: roots{file: block.CAFile}}
	if block.BodyMatch != "" {
		var err error
		if r.match, err = regexp.Compile(block.BodyMatch); err != nil {
			return nil, fmt.Errorf("cannot use body_match %q: %w", block.BodyMatch, err)
		}
	}
	r.writeHeaders()
	return r, nil
}

// writeHeaders prepares what is sent with each request. What says how long the
// request is, and that the connection ends with it, is ours to say.
func (r *HTTPRule) writeHeaders() {
	given := map[string]bool{}
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(r.block.Headers)) {
		value := strings.TrimSpace(r.block.Headers[name])
		key := textproto.CanonicalMIMEHeaderKey(name)
		switch key {
		case "Host":
			r.host = value
			continue
		case "Connection", "Content-Length", "Transfer-Encoding", "Upgrade", "Expect", "Te", "Trailer":
			continue
		case "Authorization":
			r.auth = true
		}
		given[key] = true
		b.WriteString(name + ": " + value + "\r\n")
	}
	for _, d := range [][2]string{{"User-Agent", "nines"}, {"Accept", "*/*"}} {
		if !given[d[0]] {
			b.WriteString(d[0] + ": " + d[1] + "\r\n")
		}
	}
	switch r.block.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch:
		b.WriteString("Content-Length: 0\r\n")
	}
	b.WriteString("Connection: close\r\n\r\n")
	r.headers = b.String()
}

// HTTP asks one instance over HTTP/1.1. It passes when the status is in the
// range, the body matches and all of it, or MaxBody bytes, came within
// max_latency; see the package's doc on redirects.
type HTTP struct {
	rule    *HTTPRule
	network string // tcp or unix
	address string
	name    string // of the TLS server; "": no TLS
	shown   string // the URL as people see it
	request []byte
}

// At makes the probe of an instance: its url, and where that is to be asked over
// a unix socket, its path.
func (r *HTTPRule) At(rawURL, socket string) (*HTTP, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil, errors.New("cannot ask a url that is not of the form http://HOST:PORT/PATH")
	}
	h := &HTTP{rule: r, network: "tcp", shown: shownURL(u)}
	port := u.Port()
	if u.Scheme == "https" {
		h.name = u.Hostname()
	}
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	h.address = net.JoinHostPort(u.Hostname(), port)
	if socket != "" {
		h.network, h.address = "unix", socket
		h.shown += " on " + socket
	}
	host := r.host
	if host == "" {
		host = strings.TrimSuffix(u.Host, ":")
	}
	var b bytes.Buffer
	b.WriteString(r.block.Method + " " + u.RequestURI() + " HTTP/1.1\r\nHost: " + host + "\r\n")
	if u.User != nil && !r.auth {
		password, _ := u.User.Password()
		b.WriteString("Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(u.User.Username()+":"+password)) + "\r\n")
	}
	b.WriteString(r.headers)
	h.request = b.Bytes()
	return h, nil
}

// shownURL leaves out where secrets are kept.
func shownURL(u *url.URL) string {
	return u.Scheme + "://" + u.Host + u.EscapedPath()
}

// Probe makes one attempt.
func (h *HTTP) Probe(ctx context.Context) Result {
	start := time.Now()
	s := h.rule.c.borrow()
	defer h.rule.c.giveBack(s)
	output, err := h.attempt(ctx, start, s)
	r := Result{Output: output, Took: time.Since(start)}
	switch {
	case err != nil:
		r.Err = err
	case h.rule.block.MaxLatency > 0 && r.Took > h.rule.block.MaxLatency:
		r.Err = &Error{Cause: Slow, Text: fmt.Sprintf("%s answered after %s, later than %s (max_latency)", h.shown, round(r.Took), h.rule.block.MaxLatency)}
	}
	return r
}

func (h *HTTP) attempt(ctx context.Context, start time.Time, s *scratch) (output string, _ *Error) {
	resp, release, failure := h.open(ctx, start, s, framing*MaxBody)
	if failure != nil {
		return "", failure
	}
	defer release()
	var err error
	s.body, err = readBody(resp.Body, s.body[:0], MaxBody)
	text, cut := h.rule.judge(resp, s.body, err)
	switch {
	case text != "":
		return excerpt(s.body), &Error{Cause: Wrong, Text: h.shown + " " + text}
	case cut:
		return excerpt(s.body), failed(ctx, start, "read the whole answer of "+h.shown, err)
	}
	return "", nil
}

// open sends the request and reads the head of the answer; of what comes behind
// it, no more than limit bytes will be read.
func (h *HTTP) open(ctx context.Context, start time.Time, s *scratch, limit int64) (*http.Response, func(), *Error) {
	conn, release, failure := h.connect(ctx, start)
	if failure != nil {
		return nil, nil, failure
	}
	resp, err := ask(conn, h.request, &h.rule.request, s, limit)
	if err != nil {
		release()
		return nil, nil, failed(ctx, start, "get an answer from "+h.shown, err)
	}
	return resp, release, nil
}

// judge says what is wrong with an answer ("": nothing), and otherwise whether
// it ended too early: err is what ended the reading of the body.
func (r *HTTPRule) judge(resp *http.Response, body []byte, err error) (wrong string, cut bool) {
	if wrong := r.status(resp.StatusCode); wrong != "" {
		return wrong, false
	}
	if r.match != nil && !r.match.Match(body) {
		if err != nil {
			return "", true
		}
		return "answered with a body that does not match " + strconv.Quote(r.block.BodyMatch) + " (body_match)", false
	}
	return "", err != nil
}

// status says what is wrong with that status, or "".
func (r *HTTPRule) status(code int) string {
	if code >= r.block.StatusLow && code <= r.block.StatusHigh {
		return ""
	}
	wanted := strconv.Itoa(r.block.StatusLow)
	if r.block.StatusHigh > r.block.StatusLow {
		wanted += " to " + strconv.Itoa(r.block.StatusHigh)
	}
	// Of the text beside the number, what is usual: theirs may be anything.
	return strings.TrimSpace("answered "+strconv.Itoa(code)+" "+http.StatusText(code)) + ", not " + wanted
}

// connect is the way to the server, through TLS where the URL says https.
func (h *HTTP) connect(ctx context.Context, start time.Time) (net.Conn, func(), *Error) {
	var config *tls.Config
	if h.name != "" {
		pool, err := h.rule.roots.get()
		if err != nil {
			return nil, nil, &Error{Cause: Unable, Text: err.Error(), Err: err}
		}
		config = &tls.Config{ServerName: h.name, RootCAs: pool, InsecureSkipVerify: h.rule.block.Insecure, NextProtos: []string{"http/1.1"}}
	}
	conn, release, err := h.rule.c.dial(ctx, h.network, h.address)
	if err != nil {
		return nil, nil, failed(ctx, start, "connect to "+h.address, err)
	}
	if config == nil {
		return conn, release, nil
	}
	secure := tls.Client(conn, config)
	if err := secure.Handshake(); err != nil {
		release()
		var unverified *tls.CertificateVerificationError
		if errors.As(err, &unverified) {
			h.rule.roots.forget()
			return nil, nil, &Error{Cause: Broken, Text: "cannot trust " + h.shown + ": " + unverified.Err.Error(), Err: err}
		}
		return nil, nil, failed(ctx, start, "agree on TLS with "+h.shown, err)
	}
	return secure, release, nil
}

// framing is how much longer a body may be on the wire than what it holds, when
// it comes in chunks of a byte each: "1\r\nx\r\n".
const framing = 6

// maxInterim bounds the 1xx answers before the one that counts.
const maxInterim = 8

// ask sends a request and reads the head of its answer. Of what comes behind it
// no more than limit bytes will be read.
func ask(conn net.Conn, request []byte, of *http.Request, s *scratch, limit int64) (*http.Response, error) {
	if _, err := conn.Write(request); err != nil {
		return nil, err
	}
	s.limit = io.LimitedReader{R: conn, N: MaxHead}
	s.br.Reset(&s.limit)
	resp, err := readHead(s.br, of)
	if err != nil && s.limit.N <= 0 {
		return nil, fmt.Errorf("its head is longer than %d bytes", MaxHead)
	}
	s.limit.N = limit
	return resp, err
}

func readHead(br *bufio.Reader, of *http.Request) (*http.Response, error) {
	for range maxInterim {
		resp, err := http.ReadResponse(br, of)
		if err != nil {
			return nil, err
		}
		if resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols {
			return resp, nil
		}
	}
	return nil, errors.New("too many 1xx answers")
}

// readBody appends a body to b, at most limit bytes. That there is more is no
// error.
func readBody(body io.Reader, b []byte, limit int) ([]byte, error) {
	for len(b) < limit {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := body.Read(b[len(b):min(cap(b), limit)])
		b = b[:len(b)+n]
		if err == io.EOF {
			return b, nil
		}
		if err != nil {
			return b, err
		}
	}
	return b, nil
}

func round(d time.Duration) time.Duration {
	if d >= time.Second {
		return d.Round(10 * time.Millisecond)
	}
	return d.Round(10 * time.Microsecond)
}

// roots are the certificates that a ca_file holds. It is read when it is first
// needed, and again after a server could not be verified: it may have been
// renewed with the server's.
type roots struct {
	file string

	mu   sync.Mutex
	pool *x509.CertPool
}

// get returns nil, which means the system's, where there is no file.
func (r *roots) get() (*x509.CertPool, error) {
	if r.file == "" {
		return nil, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pool != nil {
		return r.pool, nil
	}
	pem, err := os.ReadFile(r.file)
	if err != nil {
		return nil, fmt.Errorf("cannot read ca_file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("cannot use ca_file " + r.file + ": it holds no certificate in PEM form")
	}
	r.pool = pool
	return pool, nil
}

func (r *roots) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pool = nil
}
