package ipc

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// maxLine bounds one line of a stream.
const maxLine = 16 << 20

// Events calls fn for each event until there are no more, ctx ends, or fn
// fails (whose error is then returned).
func (c *Client) Events(ctx context.Context, q EventQuery, fn func(Event) error) error {
	v := url.Values{}
	setSince(v, q.Since)
	setFollow(v, q.Follow)
	if q.After > 0 {
		v.Set("after", strconv.FormatUint(q.After, 10))
	}
	if q.Service != "" {
		v.Set("service", q.Service)
	}
	return streamLines(ctx, c, "/v1/events", v, fn)
}

// LogRequest is which lines Client.Logs asks for. Without Services and
// Instances: those of all.
type LogRequest struct {
	Services  []string
	Instances []string // ids: "web/0"
	Lines     int      // the last so many of each instance; < 0: all that is kept
	Follow    bool
	Since     time.Time
}

// Logs calls fn for each line until there are no more, ctx ends, or fn fails
// (whose error is then returned).
func (c *Client) Logs(ctx context.Context, q LogRequest, fn func(LogLine) error) error {
	v := url.Values{"lines": {strconv.Itoa(q.Lines)}}
	if len(q.Services) > 0 {
		v["service"] = q.Services
	}
	if len(q.Instances) > 0 {
		v["instance"] = q.Instances
	}
	setSince(v, q.Since)
	setFollow(v, q.Follow)
	return streamLines(ctx, c, "/v1/logs", v, fn)
}

func setSince(v url.Values, t time.Time) {
	if !t.IsZero() {
		v.Set("since", t.UTC().Format(time.RFC3339Nano))
	}
}

func setFollow(v url.Values, follow bool) {
	if follow {
		v.Set("follow", "1")
	}
}

// streamLines reads an NDJSON answer. A last line {"error":…} is an error.
func streamLines[T any](ctx context.Context, c *Client, path string, v url.Values, fn func(T) error) error {
	if q := v.Encode(); q != "" {
		path += "?" + q
	}
	x, err := c.begin(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer x.close()
	sc := bufio.NewScanner(x.resp.Body)
	sc.Buffer(make([]byte, 0, 64<<10), maxLine)
	for sc.Scan() {
		if len(sc.Bytes()) == 0 {
			continue
		}
		var line struct {
			errorBody
			value T
		}
		if err := json.Unmarshal(sc.Bytes(), &line.value); err != nil {
			return misunderstood(err)
		}
		if isErrorLine(sc.Bytes()) {
			if err := json.Unmarshal(sc.Bytes(), &line.errorBody); err == nil && line.Error != nil {
				return line.Error
			}
		}
		if err := fn(line.value); err != nil {
			return err
		}
	}
	if err := sc.Err(); err != nil {
		return x.broken(err)
	}
	return ctx.Err()
}

// isErrorLine tells {"error":…}, which begins no event or log line.
func isErrorLine(b []byte) bool {
	const prefix = `{"error":`
	return len(b) > len(prefix) && string(b[:len(prefix)]) == prefix
}

// goneTimeout is how long a socket at which nobody listens is taken for a
// supervisor that crashed and is being started again, rather than for the end.
const goneTimeout = 5 * time.Second

// Shutdown asks for the end of everything. With NoWait it returns when that was
// accepted; else when the supervisor is gone: its socket was removed, or nobody
// has listened at it for a while. If the supervisor crashes meanwhile, its
// successor is asked to go on.
func (c *Client) Shutdown(ctx context.Context, r ShutdownRequest) (Result, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return Result{}, &Error{Code: CodeInternal, Message: "cannot encode the request: " + err.Error()}
	}
	var last Result
	asked := false
	var silent time.Time // since when nobody has listened
	for {
		res, err := c.shutdownOnce(ctx, r.NoWait, body)
		var none *ErrNoSupervisor
		var lost *ErrLost
		switch {
		case err == nil:
			last, asked, silent = res, true, time.Time{}
			if r.NoWait {
				return last, nil
			}
		case errors.As(err, &lost) && !r.NoWait:
			asked, silent = true, time.Time{}
			if res.Message != "" {
				last = res
			}
		case errors.As(err, &none) && asked:
			if !none.Stale {
				return last, nil
			}
			if silent.IsZero() {
				silent = time.Now()
			}
			if time.Since(silent) > goneTimeout {
				return last, nil
			}
		default:
			return last, err
		}
		select {
		case <-time.After(20 * time.Millisecond): // no event tells of a socket that is not there
		case <-ctx.Done():
			return last, ctx.Err()
		}
	}
}

// shutdownOnce sends one request and reads its connection to the end.
func (c *Client) shutdownOnce(ctx context.Context, noWait bool, body []byte) (Result, error) {
	x, err := c.begin(ctx, http.MethodPost, "/v1/shutdown", body)
	if err != nil {
		return Result{}, err
	}
	defer x.close()
	if noWait {
		var res Result
		b, err := readAnswer(x.resp)
		if err != nil {
			return res, x.broken(err)
		}
		return res, unmarshal(b, &res)
	}
	var res Result
	d := json.NewDecoder(x.resp.Body)
	if err := d.Decode(&res); err != nil {
		return res, x.broken(err)
	}
	if _, err := io.Copy(io.Discard, x.resp.Body); err != nil {
		return res, x.broken(err)
	}
	return res, nil
}

// NotReady is a service that Ready found wanting.
type NotReady struct {
	Service string
	State   string
	Ready   int
	Desired int
	Reason  string
}

// Ready returns those of the named services that are not ready; without names,
// of all that are wanted. A task is ready when it has completed.
func (c *Client) Ready(ctx context.Context, names ...string) ([]NotReady, error) {
	st, err := c.Status(ctx)
	if err != nil {
		return nil, err
	}
	var not []NotReady
	if len(names) == 0 {
		for i := range st.Services {
			if svc := &st.Services[i]; svc.Desired == "running" && !svc.IsReady() {
				not = append(not, svc.notReady())
			}
		}
		return not, nil
	}
	for _, name := range names {
		svc, err := findService(st, name)
		if err != nil {
			return nil, err
		}
		if !svc.IsReady() {
			not = append(not, svc.notReady())
		}
	}
	return not, nil
}

// ReadyInstances counts instances that are ready (or standing by).
func (s *Service) ReadyInstances() int {
	n := 0
	for i := range s.Instances {
		switch s.Instances[i].State {
		case "ready", "standby":
			n++
		}
	}
	return n
}

// IsReady says whether a service does what it is for: all its instances are
// ready, or, for what runs to completion, it has completed.
func (s *Service) IsReady() bool {
	switch {
	case s.State == "completed":
		return true
	case s.Type == "task" || s.Desired != "running":
		return false
	}
	return s.ReadyInstances() >= s.InstancesDesired
}

func (s *Service) notReady() NotReady {
	return NotReady{Service: s.Name, State: s.State, Ready: s.ReadyInstances(), Desired: s.InstancesDesired, Reason: s.Reason}
}
