package ipc

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// FuzzCommand: whatever the body, it is refused with an error of ours or it is
// a command that its verb allows.
func FuzzCommand(f *testing.F) {
	for _, s := range []string{"", "{}", `{"instance":0}`, `{"instances":3}`, `{"signal":"HUP"}`, `{"no_wait":true}`, `{"x":1}`, `[`, "null", `{"instance":1e400}`, `{"instances":null}`} {
		f.Add(uint8(0), []byte(s))
		f.Add(uint8(4), []byte(s))
		f.Add(uint8(5), []byte(s))
	}
	verbs := []string{VerbStart, VerbStop, VerbRestart, VerbReload, VerbScale, VerbSignal}
	f.Fuzz(func(t *testing.T, v uint8, body []byte) {
		verb := verbs[int(v)%len(verbs)]
		c, err := decodeCommand(verb, body)
		if err != nil {
			if e := asError(err); e.Code != CodeBadRequest || !strings.HasPrefix(e.Message, "cannot ") {
				t.Fatalf("%s %q: %+v", verb, body, e)
			}
			return
		}
		switch {
		case c.Instance != nil && *c.Instance < 0,
			c.Instances < 0, c.Instances > MaxScale,
			c.Instances != 0 && verb != VerbScale,
			(c.Signal != "") != (verb == VerbSignal):
			t.Fatalf("%s %q: %+v", verb, body, c)
		}
	})
}

// FuzzRequest: whatever a caller sends, what the HTTP server makes of it is
// answered once, with JSON, and errors as the table says.
func FuzzRequest(f *testing.F) {
	for _, s := range []string{
		"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /v1/services/s0?x HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /v1/events?since=5m&follow=0 HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /v1/logs?instance=s0/0&lines=-1 HTTP/1.1\r\nHost: x\r\n\r\n",
		"POST /v1/services/%2e%2e/scale HTTP/1.1\r\nHost: x\r\nContent-Length: 15\r\n\r\n{\"instances\":1}",
		"POST /v1/shutdown HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "CONNECT x:1 HTTP/1.1\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		hr, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
		if err != nil {
			return
		}
		s := NewServer(ServerConfig{Backend: &fake{status: sampleStatus(1)}})
		close(s.done) // so that nothing waits
		w := &deadlined{ResponseRecorder: httptest.NewRecorder()}
		hr = hr.WithContext(withPeer(t.Context(), &peer{access: accessWrite}))
		s.ServeHTTP(w, hr)
		resp := w.Result()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		switch resp.StatusCode {
		case 200:
			return
		case 400, 404, 405, 413:
		default:
			t.Fatalf("%q: %d %s", raw, resp.StatusCode, body)
		}
		if e := errorOf(t, string(body)); e.Code.HTTPStatus() != resp.StatusCode {
			t.Fatalf("%q: %d %+v", raw, resp.StatusCode, e)
		}
	})
}

// deadlined is a recorder that takes deadlines, as a connection does.
type deadlined struct{ *httptest.ResponseRecorder }

func (*deadlined) SetReadDeadline(time.Time) error  { return nil }
func (*deadlined) SetWriteDeadline(time.Time) error { return nil }
