package alert

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// encode is an event as JSON.
func encode(e *Event) ([]byte, error) {
	c := *e
	if c.Fields == nil {
		c.Fields = map[string]string{}
	}
	c.Time = c.Time.UTC()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(&c); err != nil {
		return nil, fmt.Errorf("cannot encode the event: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// environment is an event as variables.
func environment(e *Event) []string {
	env := []string{
		"NINES_ALERT=" + e.Alert,
		"NINES_EVENT_SEQ=" + strconv.FormatUint(e.Seq, 10),
		"NINES_EVENT_TIME=" + e.Time.UTC().Format(time.RFC3339Nano),
		"NINES_EVENT_KIND=" + e.Kind,
		"NINES_EVENT_SERVICE=" + e.Service,
		"NINES_EVENT_INSTANCE=" + e.Instance,
		"NINES_EVENT_REVISION=" + strconv.Itoa(e.Revision),
		"NINES_EVENT_MESSAGE=" + e.Message,
		"NINES_EVENT_HOST=" + e.Host,
	}
	for i := range env {
		env[i] = strings.ReplaceAll(env[i], "\x00", "") // which an environment cannot hold
	}
	return env
}

// newClient is what posts. It keeps no connection: alerts are rare.
func newClient(transport http.RoundTripper) http.Client {
	if transport == nil {
		transport = &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10, ForceAttemptHTTP2: true}
	}
	return http.Client{
		Transport: transport,
		Timeout:   WebhookTimeout,
		// A POST would become a GET, or go to a host that nobody named.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// maxReply is how much of a webhook's answer is read.
const maxReply = 4 << 10

// post makes one attempt, and says whether another may help.
func (a *Alerts) post(ctx context.Context, to string, e *Event) (again bool, _ error) {
	body, err := encode(e)
	if err != nil {
		return false, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return false, errors.New("cannot ask the webhook: its URL is wrong")
	}
	host := req.URL.Host
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "nines")
	resp, err := a.client.Do(req)
	if err != nil {
		// What it wraps holds no URL.
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		if errors.Is(err, context.DeadlineExceeded) {
			return true, fmt.Errorf("cannot reach the webhook at %s: no answer within %s", host, WebhookTimeout)
		}
		return true, fmt.Errorf("cannot reach the webhook at %s: %w", host, err)
	}
	defer resp.Body.Close()
	// So that it can write all of it; what it says is of no use.
	_, _ = io.CopyN(io.Discard, resp.Body, maxReply)
	if resp.StatusCode/100 == 2 {
		return false, nil
	}
	switch code := resp.StatusCode; {
	case code == http.StatusRequestTimeout, code == http.StatusTooEarly, code == http.StatusTooManyRequests, code >= 500:
		again = true
	}
	return again, errors.New(strings.TrimSpace("the webhook at " + host + " answered " + strconv.Itoa(resp.StatusCode) + " " + http.StatusText(resp.StatusCode)))
}
